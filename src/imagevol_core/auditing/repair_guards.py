"""What must be shown of a volume, and of the images that name it, before a step of a repair changes or deletes it.

A location is a user's word (OSSN-0065): an image can name any volume.  So a step is taken only on a volume of which the
facts show that it is the image's own, and nothing is deleted that an image names.
"""

from __future__ import annotations

from imagevol_core.auditing.facts import RepairAction, recorded_image
from imagevol_core.auditing.repair_facts import OF_VOLUMES, RepairStepFacts, needs_clone
from imagevol_core.facts import Image, Volume
from imagevol_core.locations import CinderLocation, read_location
from imagevol_core.sentences import duration, listed, quoted, said

__all__ = [
    "changes_of_another",
    "changes_shared_volume",
    "clones_for_another",
    "deletes_data",
    "images_unseen",
    "is_being_written",
    "is_named",
    "is_named_twice",
    "is_not_shown",
    "owner_not_recorded",
    "takes_the_last",
]

_TAKES_VOLUME = (RepairAction.DELETE_VOLUME, RepairAction.REMOVE_LOCATION)  # with which the volume is deleted
_DELETES = (*_TAKES_VOLUME, RepairAction.DELETE_IMAGE)
_OF_LOCATIONS = (RepairAction.REMOVE_LOCATION, RepairAction.SET_LOCATION)
_SERVES = ("available", "in-use", "reserved", "attaching", "detaching")
_AT_REST = ("available", "error")
_HARMLESS = frozenset({"attachment-left-behind", "hold-left", "not-read-only", "store-differs", "tail-not-zero"})


def is_not_shown(facts: RepairStepFacts) -> tuple[bool, str]:
    """Tell whether what a step changes is not shown, and this repair has not taken it away."""
    text = f"{facts.step.subject} is shown"
    if facts.begun or not _absent(facts):
        return False, f"{text}, or this repair took it away"
    return True, (
        f"{facts.step.subject} is not shown: if it is gone, nothing is left to do; if not, see whether these "
        "credentials may see it, and go on by --resume-repair"
    )


def _absent(facts: RepairStepFacts) -> bool:
    step = facts.step
    if step.action is RepairAction.LOOK_AGAIN:
        changed = {each.subject for each in facts.planned.repair if each.action is not RepairAction.LOOK_AGAIN}
        if facts.found is not None or step.subject not in changed:
            return False
    if step.subject.kind == "image":
        return facts.image is None or (step.action in _OF_LOCATIONS and not facts.urls)
    if step.subject.kind == "volume":
        return facts.volume is None
    return step.subject.kind == "attachment" and facts.attachment is None


def images_unseen(facts: RepairStepFacts) -> tuple[bool, str]:
    """Tell whether a volume would be deleted that an image may name which these credentials do not see."""
    if facts.step.action not in _TAKES_VOLUME or facts.settings.images_complete:
        return False, "every image is seen, or no volume is deleted"
    return True, "only the images of this project are seen, and another one may name the volume: use an administrator's"


def is_named(facts: RepairStepFacts) -> tuple[bool, str]:
    """Tell whether a volume would be deleted that an image names, other than the one that loses it."""
    if facts.step.action not in _DELETES:
        return False, "it deletes nothing"
    names = [image.id for image in facts.claimants if facts.image is None or image.id != facts.image.id]
    if not names:
        return False, "no other image names the volume"
    return True, f"a location of image {listed(names)} names the volume: look which image it belongs to"


def takes_the_last(facts: RepairStepFacts) -> tuple[bool, str]:
    """Tell whether a location would be removed while no other one of the image is shown to serve."""
    if facts.step.action is not RepairAction.REMOVE_LOCATION:
        return False, "it removes no location"
    removed = _volume_of(facts.url)
    serving = [each.id for each in facts.others if each.id != removed and _serves(each, facts)]
    if serving:
        return False, f"volume {serving[0]} serves the image"
    return True, (
        f"no other location of image {facts.step.subject.id} is shown to serve: run `openstack image set --deactivate "
        f"{facts.step.subject.id}`, and look which data is right"
    )


def _serves(volume: Volume, facts: RepairStepFacts) -> bool:
    """Whether a volume exists, and nothing is wrong with it that matters to a reader."""
    wrong = [
        finding.kind
        for finding in facts.findings
        for about in finding.subjects
        if (about.kind, about.id) == ("volume", volume.id) and finding.kind not in _HARMLESS
    ]
    return volume.status in _SERVES and not wrong


def deletes_data(facts: RepairStepFacts) -> tuple[bool, str]:
    """Tell whether an image would be deleted that has data."""
    if facts.step.action is not RepairAction.DELETE_IMAGE:
        return False, "it deletes no image"
    if facts.urls and all(about.kind == "image" for about in facts.planned.subjects):
        return True, f"image {facts.step.subject.id} has a location, and that its data is lost is another finding"
    for url in facts.urls:
        named = read_location(url)
        if not isinstance(named, CinderLocation):
            return True, f"image {facts.step.subject.id} has data at {named.shown}, which Glance deletes with it"
        if named.volume_id in facts.existing:
            return True, f"image {facts.step.subject.id} has data in volume {named.volume_id}, which Glance deletes too"
    return False, f"image {facts.step.subject.id} has no data"


def is_being_written(facts: RepairStepFacts) -> tuple[bool, str]:
    """Tell whether an image would be deleted into whose volume a process may be writing.

    While an upload makes its volume larger, Cinder shows the volume as available for a moment.
    """
    if facts.step.action is not RepairAction.DELETE_IMAGE:
        return False, "it deletes no image"
    for volume in facts.recording:
        about = f"volume {volume.id}, which says that it holds image {facts.step.subject.id},"
        wait = "wait until its upload has ended, and run `imagevol unfinished` on the host that made it"
        if volume.status not in _AT_REST:
            return True, f"{about} is {quoted(volume.status)}: {wait}"
        changed = volume.updated_at or volume.created_at
        if changed is None:
            return True, f"{about} was changed at a time that is not known: {wait}"
        age = facts.settings.now - changed
        if age <= facts.settings.stuck_after:
            return True, f"{about} was changed {duration(age)} ago: {wait}"
    return False, "no volume is being written for the image"


def is_named_twice(facts: RepairStepFacts) -> tuple[bool, str]:
    """Tell whether a location would be removed while another one of the image names its volume."""
    if facts.step.action is not RepairAction.REMOVE_LOCATION:
        return False, "it removes no location"
    names = [named.volume_id for url in facts.urls if isinstance(named := read_location(url), CinderLocation)]
    removed = read_location(facts.url)
    twice = (
        isinstance(removed, CinderLocation)
        and names.count(removed.volume_id) > 1
        and removed.volume_id in facts.existing
    )
    return twice, "with the location Glance deletes the volume" + (
        ", which another location of the image names too: look which one is right" if twice else ""
    )


def changes_shared_volume(facts: RepairStepFacts) -> tuple[bool, str]:
    """Tell whether something would be written on a volume that several images name."""
    names = [image.id for image in facts.claimants]
    if facts.step.action not in OF_VOLUMES or len(names) < 2:
        return False, "it changes no volume that several images name"
    return True, f"images {listed(names)} name the volume: give each its own first"


def changes_of_another(facts: RepairStepFacts) -> tuple[bool, str]:
    """Tell whether a volume would be changed, or deleted with a location, that may not be the image's own."""
    volume = _taken(facts)
    if volume is None:
        return False, "it changes no volume"
    recorded, project = recorded_image(volume), volume.project_id
    text = f"volume {volume.id} lives in project {said(project)} and names image {quoted(recorded)}"
    owned = project is not None and any(image.id == recorded and image.owner == project for image in facts.claimants)
    trusted = project in facts.settings.trusted_projects
    if facts.step.action is RepairAction.REMOVE_LOCATION:
        trusted = trusted and recorded in (None, facts.step.subject.id)
    if owned or trusted:
        return False, text
    return True, f"{text}: look whether it is the image's own, or another's data"


def _taken(facts: RepairStepFacts) -> Volume | None:
    """The volume that a step changes, or takes with a location."""
    if facts.step.action is RepairAction.REMOVE_LOCATION:
        removed = _volume_of(facts.url)
        return next((each for each in facts.others if each.id == removed), None)
    return facts.volume if facts.step.action in OF_VOLUMES else None


def owner_not_recorded(facts: RepairStepFacts) -> tuple[bool, str]:
    """Tell whether a volume would get the owner of an image that it does not record."""
    if "image_owner" not in dict(facts.step.arguments) or facts.volume is None:
        return False, "it sets no owner"
    recorded = recorded_image(facts.volume)
    if recorded is not None and recorded in {image.id for image in facts.claimants}:
        return False, f"volume {facts.volume.id} names image {quoted(recorded)}, which names it"
    return True, (
        f"volume {facts.volume.id} names image {quoted(recorded)}, and not the one whose owner it would get: look "
        "which image it belongs to"
    )


def clones_for_another(facts: RepairStepFacts) -> tuple[bool, str]:
    """Tell whether an image would get a clone of the data of another owner's image, which is not public."""
    if not needs_clone(facts.step) or facts.image is None:
        return False, "no image gets a clone"
    clones = {dict(each.arguments).get("image") for each in facts.planned.repair}
    keepers = [image for image in facts.claimants if image.id not in clones]
    if any(_may_share(keeper, facts.image) for keeper in keepers):
        return False, f"image {facts.image.id} may have the data"
    return True, (
        f"image {facts.image.id} belongs to {quoted(facts.image.owner)}, and the data to another owner's image: look "
        "how the image came to name the volume"
    )


def _may_share(keeper: Image, image: Image) -> bool:
    return keeper.visibility == "public" or (keeper.owner is not None and keeper.owner == image.owner)


def _volume_of(url: str) -> str | None:
    named = read_location(url)
    return named.volume_id if isinstance(named, CinderLocation) else None
