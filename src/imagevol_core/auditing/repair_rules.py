"""The rules by which a step of a repair is taken, or not any more: the first that applies decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from imagevol_core.auditing.decision import Finding
from imagevol_core.auditing.facts import Certainty, RepairAction
from imagevol_core.auditing.repair_attachments import (
    is_connected,
    is_elsewhere,
    is_of_an_instance,
    is_reservation,
)
from imagevol_core.auditing.repair_ends import is_as_left
from imagevol_core.auditing.repair_facts import RepairStepFacts, StepOutcome, is_risky, needs_clone
from imagevol_core.auditing.repair_guards import (
    changes_of_another,
    changes_shared_volume,
    clones_for_another,
    deletes_data,
    images_unseen,
    is_being_written,
    is_named,
    is_named_twice,
    is_not_shown,
    owner_not_recorded,
    takes_the_last,
)
from imagevol_core.custody import HOLD
from imagevol_core.facts import ImageLocation, Volume
from imagevol_core.locations import CinderLocation, read_location
from imagevol_core.migration import spares_held_volume
from imagevol_core.remains import CLONE_OF_KEY, JOURNAL_KEY
from imagevol_core.sentences import listed, quoted, said
from imagevol_core.verdicts import Choice, Policy

__all__ = ["STEP_RULES"]

_AT_REST = ("available", "error")


# When a rule applies.


def _already(facts: RepairStepFacts) -> tuple[bool, str]:
    if not is_as_left(facts):
        return False, f"{facts.step.subject} is not as the step leaves it"
    if is_not_shown(facts)[0]:
        return False, f"{facts.step.subject} is not shown, which is no sign that the step was taken"
    if changes_of_another(facts)[0] or changes_shared_volume(facts)[0]:
        return False, f"{facts.step.subject} is not the image's own, so that no later step is taken either"
    return True, f"{facts.step.subject} is as the step leaves it"


def _of_another_host(facts: RepairStepFacts) -> tuple[bool, str]:
    file = facts.step.subject
    if file.kind != "file" or facts.of_this_host:
        return False, "it is about no file of another host"
    host, _, path = file.id.partition(":")
    return True, f"file {said(path)} is a file of host {said(host)}: repair it there"


def _puts_back(facts: RepairStepFacts) -> tuple[bool, str]:
    back, text = _stays_writable(facts)
    if not _closes(facts) or back:
        return False, text
    return True, f"{facts.step.subject} was made writable by this repair"


def _stays_writable(facts: RepairStepFacts) -> tuple[bool, str]:
    """What was an image's when it was made writable may be a user's by now."""
    if not _closes(facts):
        return False, f"{facts.step.subject} was not made writable by this repair"
    stays = f"{facts.step.subject} was made writable by this repair, and stays so"
    if not facts.claimants:
        return True, f"{stays}: no image names it any more; if it holds an image, make it read-only"
    for rule in (changes_of_another, changes_shared_volume):
        applies, text = rule(facts)
        if applies:
            return True, f"{stays}: {text}"
    return False, f"image {facts.claimants[0].id} names it"


def _closes(facts: RepairStepFacts) -> bool:
    return facts.opened and facts.step.action is RepairAction.SET_READ_ONLY


def _found_no_more(facts: RepairStepFacts) -> tuple[bool, str]:
    if facts.found is None:
        return True, "the finding is not there any more"
    return False, f"it is still there: {facts.found.text}"


def _now(facts: RepairStepFacts) -> Finding:
    """The finding, for the rules after the one that says that there is none."""
    return cast(Finding, facts.found)


def _less_sure(facts: RepairStepFacts) -> tuple[bool, str]:
    less = facts.planned.certainty is Certainty.SURE and _now(facts).certainty is not Certainty.SURE
    return less, f"the finding was {facts.planned.certainty.value}, and is {_now(facts).certainty.value}"


def _other_repair(facts: RepairStepFacts) -> tuple[bool, str]:
    steps = _now(facts).repair
    looks = facts.step.action is RepairAction.LOOK_AGAIN  # which is no part of it once the finding is sure
    others = {each for each in facts.planned.repair if looks and each.action is not RepairAction.LOOK_AGAIN}
    if facts.step in steps or (others and others <= set(steps)):
        return False, "the step is part of its repair"
    return True, f"its repair is another one now: {'; '.join(map(str, steps)) or 'none'}"


def _likely_still(facts: RepairStepFacts) -> tuple[bool, str]:
    likely = _now(facts).certainty is not Certainty.SURE
    return likely and is_risky(facts.step) and not facts.include_likely, (
        f"the finding is {_now(facts).certainty.value}; what is only likely is "
        f"{'' if facts.include_likely else 'not '}included"
    )


def _is(facts: RepairStepFacts, *actions: RepairAction) -> bool:
    return facts.step.action in actions


def _there(facts: RepairStepFacts) -> Volume:
    """The volume of a step that is not done, for the rules that are about one."""
    return cast(Volume, facts.volume)


def _of_a_user(facts: RepairStepFacts) -> tuple[bool, str]:
    if not _is(facts, RepairAction.DELETE_VOLUME):
        return False, "it deletes no volume"
    volume = _there(facts)
    text = f"volume {volume.id} lives in project {said(volume.project_id)}"
    if volume.project_id in facts.settings.trusted_projects:
        return False, text
    return True, f"{text}, whose users can write its metadata: ask them"


def _is_a_clone(facts: RepairStepFacts) -> tuple[bool, str]:
    if not _is(facts, RepairAction.DELETE_VOLUME):
        return False, "it deletes no volume"
    volume = _there(facts)
    if volume.source_volume_id is None:
        return False, f"volume {volume.id} is no clone, so that its metadata was written for it"
    if volume.metadata.get(CLONE_OF_KEY) == volume.source_volume_id:
        return False, f"volume {volume.id} says of which volume it is a clone, as no copy of other metadata does"
    mark = volume.metadata.get(JOURNAL_KEY)
    if mark and facts.source is not None and facts.source.metadata.get(JOURNAL_KEY) != mark:
        return False, f"volume {volume.id} is the clone of journal {said(mark)}, whose mark its source does not have"
    return True, (
        f"volume {volume.id} is a clone of volume {said(volume.source_volume_id)}, such as Cinder creates for its "
        "image cache, and may have the metadata of that volume: if nothing needs it, run "
        f"`openstack volume delete {volume.id}`"
    )


def _held(facts: RepairStepFacts) -> tuple[bool, str]:
    holder = facts.volume.metadata.get(HOLD) if facts.volume else None
    if any(each.action is RepairAction.RELEASE_HOLD for each in facts.planned.repair):
        return False, "the repair lets the volume go"
    if holder in (None, "", facts.holder):
        return False, "no other operation holds the volume"
    return True, f"volume {_there(facts).id} is held by journal {said(holder)}: resume or undo that one first"


def _not_at_rest(facts: RepairStepFacts) -> tuple[bool, str]:
    if not _is(facts, RepairAction.DELETE_VOLUME):
        return False, "it deletes no volume"
    volume = _there(facts)
    return volume.status not in _AT_REST, (
        f"volume {volume.id} is {quoted(volume.status)}, and a volume is deleted only while it is 'available' or "
        "'error'"
    )


def _attached(facts: RepairStepFacts) -> tuple[bool, str]:
    if not _is(facts, RepairAction.DELETE_VOLUME, RepairAction.RELEASE_HOLD):
        return False, "it deletes no volume, and lets none go"
    # A reservation of what held it is another finding.
    releases = _is(facts, RepairAction.RELEASE_HOLD)
    ids = [each.id for each in facts.attachments if not (releases and is_reservation(each))]
    return bool(ids), f"volume {_there(facts).id} has attachments {listed(ids)}"


def _other_project(facts: RepairStepFacts) -> tuple[bool, str]:
    if not _is(facts, RepairAction.CLONE_VOLUME):
        return False, "it clones no volume"
    volume = _there(facts)
    text = (
        f"volume {volume.id} lives in project {said(volume.project_id)}, these credentials in {said(facts.project_id)}"
    )
    if volume.project_id is not None and volume.project_id == facts.project_id:
        return False, text
    return True, f"{text}, where its clone would live: use credentials of the volume's project"


def _store_deletes(facts: RepairStepFacts) -> tuple[bool, str]:
    if not needs_clone(facts.step):
        return False, "no image's location is moved to a clone"
    if facts.settings.delayed_delete:
        return True, (
            "with the old location Glance would delete the volume later: set delayed_delete = false in "
            "glance-api.conf and restart Glance"
        )
    locations = [each for each in facts.image.locations if _names_shared(each, facts)] if facts.image else []
    if facts.catalogue and all(spares_held_volume(each, catalogue=facts.catalogue) for each in locations):
        return False, "the driver of its store lets a held volume be"
    return True, (
        "with the old location, the driver of its store deletes the volume, which another image needs: give the store "
        "the driver 'imagevol' in enabled_backends, or upload one of the images again"
    )


def _names_shared(location: ImageLocation, facts: RepairStepFacts) -> bool:
    """Tell whether a location names the volume that several images have."""
    named = read_location(location.url)
    return isinstance(named, CinderLocation) and named.volume_id == facts.planned.subjects[0].id


def _act(facts: RepairStepFacts) -> tuple[bool, str]:
    return True, str(facts.step)


_SPEC = "[store]"

STEP_RULES: Mapping[Policy, tuple[Choice[RepairStepFacts, StepOutcome], ...]] = {
    Policy.STRICT: (
        Choice(
            id="already-as-left",
            text="nothing is left to do: it is so already",
            source=_SPEC,
            applies=_already,
            outcome=StepOutcome.DONE,
        ),
        Choice(
            id="not-shown",
            text="skip it: what it changes is not shown, and this repair has not taken it away",
            source=_SPEC,
            applies=is_not_shown,
            outcome=StepOutcome.SKIP,
        ),
        Choice(
            id="file-elsewhere",
            text="refuse: the file is a file of another host",
            source=_SPEC,
            applies=_of_another_host,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="puts-back",
            text="do it: it puts back what this repair changed on the image's own volume",
            source=_SPEC,
            applies=_puts_back,
            outcome=StepOutcome.ACT,
        ),
        Choice(
            id="stays-writable",
            text="refuse: what this repair made writable is not shown to be an image's any more",
            source="OSSN-0065",
            applies=_stays_writable,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="found-no-more",
            text="skip it: the finding is not there any more",
            source=_SPEC,
            applies=_found_no_more,
            outcome=StepOutcome.GONE,
        ),
        Choice(
            id="less-sure",
            text="skip it: the finding is not as sure as it was",
            source=_SPEC,
            applies=_less_sure,
            outcome=StepOutcome.SKIP,
        ),
        Choice(
            id="other-repair",
            text="skip it: the finding has another repair now",
            source=_SPEC,
            applies=_other_repair,
            outcome=StepOutcome.SKIP,
        ),
        Choice(
            id="likely-still",
            text="refuse: the finding is only likely, and the step cannot be taken back",
            source=_SPEC,
            applies=_likely_still,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="images-unseen",
            text="refuse: an image that is not shown may name the volume",
            source=_SPEC,
            applies=images_unseen,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="named-by-an-image",
            text="refuse: an image has its data in the volume",
            source="OSSN-0065",
            applies=is_named,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="last-that-serves",
            text="refuse: no other location of the image is shown to serve",
            source="[multi]",
            applies=takes_the_last,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="shared-volume",
            text="refuse: several images name the volume, and one of them would decide for all",
            source="OSSN-0065",
            applies=changes_shared_volume,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="volume-of-another",
            text="refuse: the volume that it changes or takes is not shown to be the image's own",
            source="OSSN-0065",
            applies=changes_of_another,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="owner-not-recorded",
            text="refuse: the volume does not record the image whose owner it would get",
            source="OSSN-0065",
            applies=owner_not_recorded,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="clone-for-another-owner",
            text="refuse: the owner of the image would get a copy of another owner's data",
            source="OSSN-0065",
            applies=clones_for_another,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="of-a-user",
            text="refuse: the volume lives in a project whose users can write its metadata",
            source=_SPEC,
            applies=_of_a_user,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="is-a-clone",
            text="refuse: the volume is a clone, and its metadata may be copied from a user's volume",
            source="[clone]",
            applies=_is_a_clone,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="volume-held",
            text="refuse: another operation holds the volume",
            source="[multi]",
            applies=_held,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="not-at-rest",
            text="refuse: the volume is neither available nor in error",
            source="cinder.volume.api.API.delete",
            applies=_not_at_rest,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="has-attachments",
            text="refuse: the volume has attachments",
            source="CVE-2023-2088",
            applies=_attached,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="image-has-data",
            text="refuse: the image has data, which Glance deletes with it",
            source="glance.location.ImageProxy",
            applies=deletes_data,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="image-being-written",
            text="refuse: the data of the image may be written at this moment",
            source=_SPEC,
            applies=is_being_written,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="volume-named-twice",
            text="refuse: another location of the image names the volume, which Glance deletes",
            source="glance.location.ImageProxy",
            applies=is_named_twice,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="attachment-of-an-instance",
            text="refuse: an instance has the attachment",
            source="CVE-2023-2088",
            applies=is_of_an_instance,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="attachment-elsewhere",
            text="refuse: the attachment is of another host",
            source="CVE-2023-2088",
            applies=is_elsewhere,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="attachment-connected",
            text="refuse: the volume of the attachment is there, and would stay connected",
            source="CVE-2023-2088",
            applies=is_connected,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="clone-elsewhere",
            text="refuse: the clone would live in another project than the volume",
            source="cinder.volume.api.API.create",
            applies=_other_project,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="store-deletes",
            text="refuse: the store deletes the volume with the location, and another image needs it",
            source="[multi]",
            applies=_store_deletes,
            outcome=StepOutcome.REFUSE,
        ),
        Choice(
            id="acts",
            text="do it",
            source=_SPEC,
            applies=_act,
            outcome=StepOutcome.ACT,
        ),
    ),
}
