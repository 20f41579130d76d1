"""The rules of `auditing`: each kind of finding is a row, with when it is sure and what would mend it.

A rule holds where nothing is wrong.  It is sure where all that it rests on was told; what is missing from a listing
that may have a part missing, or what was not said, is at most likely.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from imagevol_core.auditing.evidence import glance_shown
from imagevol_core.auditing.facts import (
    AuditRule,
    AuditSettings,
    Entry,
    Held,
    Repair,
    RepairAction,
    RepairStep,
    Sharing,
    Subject,
    Templated,
    Watched,
)
from imagevol_core.caching import FreshnessOutcome, decide_freshness
from imagevol_core.sentences import answered, duration, listed, quoted
from imagevol_core.sizing import GIB
from imagevol_core.verdicts import Policy

__all__ = [
    "ANOTHER_GLANCE",
    "ATTACHMENT_RULES",
    "ENTRY_RULES",
    "IMAGE_RULES",
    "IN_THE_MAKING",
    "SHARING_RULES",
    "TEMPLATE_RULES",
    "certain",
    "may_run",
    "step",
    "volumes_unseen",
]


ANOTHER_GLANCE = "another Glance may have it in that project: if none has, pass --only-glance"
IN_THE_MAKING = ("queued", "saving", "uploading", "importing")


# An image.


def _not_stuck(watched: Watched) -> tuple[bool, str]:
    image, settings = watched.image, watched.settings
    if image.status not in IN_THE_MAKING:
        return True, f"it is {quoted(image.status)}"
    if image.updated_at is None:
        return False, f"it is {image.status}, and it is not known since when"
    age = settings.now - image.updated_at
    return age <= settings.stuck_after, f"it is {image.status} and was last touched {duration(age)} before the audit"


def _touched(watched: Watched) -> datetime | None:
    return watched.image.updated_at


# A volume of several images, attachments, what is kept to be cloned.


def _in_one_image(sharing: Sharing) -> tuple[bool, str]:
    return len(sharing.image_ids) < 2, f"it is a location of {listed(sharing.image_ids)}"


def _separate(sharing: Sharing) -> Repair:
    """The image that the volume was written for keeps it; deleting any of them would take it from all."""
    if sharing.recorded not in sharing.image_ids:
        return ()
    steps: list[RepairStep] = []
    for claim in sharing.claims:
        if claim.image_id != sharing.recorded:
            steps.append(step(RepairAction.CLONE_VOLUME, Subject("volume", sharing.volume_id), image=claim.image_id))
            steps.append(
                step(RepairAction.SET_LOCATION, Subject("image", claim.image_id), url=claim.url, to="the clone")
            )
    return tuple(steps)


def _in_use(held: Held) -> tuple[bool, str]:
    alive = answered(held.attachment.alive, "its process runs", "its process has ended")
    if held.volume_gone:
        return False, f"its volume {held.attachment.volume_id} is not among the volumes"
    if not held.holds_image:
        return True, "its volume is not known to hold an image, or to be filled with one"
    text = f"{alive}; host {quoted(held.attachment.host)}"
    if held.attachment.alive is not None or held.attachment.attached_at is None:
        return held.attachment.alive is True, text
    age = held.settings.now - held.attachment.attached_at
    return age <= held.settings.stuck_after, f"{text}; it was attached {duration(age)} before the audit"


def _has_volume(entry: Entry) -> tuple[bool, str]:
    partly = "" if entry.settings.volumes_complete else " that were listed"
    return entry.listed, f"its volume is {'' if entry.listed else 'not '}among the volumes{partly}"


def _template_fresh(templated: Templated) -> tuple[bool, str]:
    making = templated.template.being_made_for
    if making is not None:
        stuck = making > templated.settings.stuck_after
        return not stuck, f"it has been in the making for {duration(making)}" if stuck else "it is being made"
    if templated.image is None:
        partly = "" if templated.settings.images_complete else " that were listed"
        return False, f"its image {templated.template.entry.image_id} is not among the images{partly}"
    freshness = decide_freshness(templated.image, entry=templated.template.entry)
    return freshness.fresh, freshness.because


def _stale_perhaps(templated: Templated) -> str:
    if templated.template.being_made_for is not None:
        return may_run(templated)
    if templated.image is None:
        return _image_perhaps(templated)
    other = decide_freshness(templated.image, entry=templated.template.entry).outcome is FreshnessOutcome.OTHER_BYTES
    return "" if other else "the data of the image may be the same"


def _image_perhaps(templated: Templated) -> str:
    if not templated.settings.images_complete:
        return "the credentials do not show all images"
    if not glance_shown(templated.settings):
        return "no image of this Glance has a volume in a trusted project of this Cinder: check --os-region-name"
    return "" if templated.settings.only_glance else ANOTHER_GLANCE


def _renew(templated: Templated) -> Repair:
    if templated.template.being_made_for is not None:
        return ()  # Cinder deletes no volume that it is creating: a person resets its state
    old = step(RepairAction.DELETE_VOLUME, Subject("volume", templated.template.entry.volume_id))
    if templated.image is None:
        return (old,) if glance_shown(templated.settings) and templated.settings.only_glance else ()
    return (step(RepairAction.CREATE_TEMPLATE, Subject("image", templated.image.id)), old)


def _changed(templated: Templated) -> datetime | None:
    """Of an image that is gone it is not known when it went."""
    making = templated.template.being_made_for
    if making is not None:
        now = templated.settings.now
        in_the_calendar = making <= now - datetime.min.replace(tzinfo=now.tzinfo)
        return now - making if in_the_calendar else None
    return templated.image.updated_at if templated.image else None


def _of_size(templated: Templated) -> int:
    return templated.template.entry.size_gib * GIB


def volumes_unseen(settings: AuditSettings) -> str:
    """Say why a volume that was not listed may be there."""
    return "" if settings.volumes_complete else "the credentials do not show all volumes"


def _entry_perhaps(entry: Entry) -> str:
    return volumes_unseen(entry.settings)


def _attached(held: Held) -> datetime | None:
    return held.attachment.attached_at


def _claimants(held: Held) -> tuple[Subject, ...]:
    return tuple(Subject("image", image_id) for image_id in held.claimants)


def _detach(held: Held) -> Repair:
    attachment = _of_attachment(held)[0]
    if held.volume_gone:
        return (step(RepairAction.DELETE_ATTACHMENT, attachment),)
    return step(RepairAction.DISCONNECT, attachment), step(RepairAction.DELETE_ATTACHMENT, attachment)


def _left_perhaps(held: Held) -> str:
    known = held.volume_gone or held.attachment.alive is not None
    return "" if known else "this host cannot tell whether its process runs"


def _delete_entry(entry: Entry) -> Repair:
    return (step(RepairAction.DELETE_CACHE_ENTRY, _of_entry(entry)[0]),)


def _delete_image(watched: Watched) -> Repair:
    return (step(RepairAction.DELETE_IMAGE, _of_image(watched)[0]),)


# What findings name, and the words that the sentences are made of.


def step(action: RepairAction, subject: Subject, **arguments: str) -> RepairStep:
    """Make a step of a repair."""
    return RepairStep(action, subject, tuple(arguments.items()))


def certain(_facts: object) -> str:
    """Say that a finding is sure whatever the facts are."""
    return ""


def may_run(_facts: object) -> str:
    """Say that a finding is never sure."""
    return "no service tells whether a process is still at work"


def _of_attachment(held: Held) -> tuple[Subject, ...]:
    return Subject("attachment", held.attachment.id), Subject("volume", held.attachment.volume_id)


def _of_entry(entry: Entry) -> tuple[Subject, ...]:
    return (Subject("cache-entry", entry.entry.volume_id),)


def _of_template(templated: Templated) -> tuple[Subject, ...]:
    entry = templated.template.entry
    return Subject("volume", entry.volume_id), Subject("image", entry.image_id)


def _of_sharing(sharing: Sharing) -> tuple[Subject, ...]:
    return Subject("volume", sharing.volume_id), *(Subject("image", image_id) for image_id in sharing.image_ids)


def _of_image(watched: Watched) -> tuple[Subject, ...]:
    return (Subject("image", watched.image.id),)


# The tables.
IMAGE_RULES: Mapping[Policy, tuple[AuditRule[Watched], ...]] = {
    Policy.STRICT: (
        AuditRule(
            id="image-stuck",
            text="it is not in the making for longer than an image may be",
            source="[store]",
            holds=_not_stuck,
            subjects=_of_image,
            doubt=may_run,
            repair=_delete_image,
            since=_touched,
        ),
    ),
}
SHARING_RULES: Mapping[Policy, tuple[AuditRule[Sharing], ...]] = {
    Policy.STRICT: (
        AuditRule(
            id="volume-in-two-images",
            text="it is a location of one image only",
            source="[store]",
            holds=_in_one_image,
            subjects=_of_sharing,
            doubt=certain,
            repair=_separate,
        ),
    ),
}
ATTACHMENT_RULES: Mapping[Policy, tuple[AuditRule[Held], ...]] = {
    Policy.STRICT: (
        AuditRule(
            id="attachment-left-behind",
            text="its volume exists, and if that holds an image, or is being filled with one, its process runs",
            source="[store], CVE-2023-2088",
            holds=_in_use,
            subjects=_of_attachment,
            doubt=_left_perhaps,
            repair=_detach,
            since=_attached,
            related=_claimants,
        ),
    ),
}
ENTRY_RULES: Mapping[Policy, tuple[AuditRule[Entry], ...]] = {
    Policy.STRICT: (
        AuditRule(
            id="cache-entry-without-volume",
            text="its volume exists",
            source="[template]",
            holds=_has_volume,
            subjects=_of_entry,
            doubt=_entry_perhaps,
            repair=_delete_entry,
        ),
    ),
}
TEMPLATE_RULES: Mapping[Policy, tuple[AuditRule[Templated], ...]] = {
    Policy.STRICT: (
        AuditRule(
            id="template-stale",
            text="its image exists and is still what it holds, or it is being made, for no longer than an image may be",
            source="[template]",
            holds=_template_fresh,
            subjects=_of_template,
            doubt=_stale_perhaps,
            repair=_renew,
            since=_changed,
            reclaims=_of_size,
        ),
    ),
}
