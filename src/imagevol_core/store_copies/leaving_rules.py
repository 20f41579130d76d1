"""What must be so of the data that is deleted: a copy that leaves a store, a clone that is left over ([multi])."""

from __future__ import annotations

from collections.abc import Mapping

from imagevol_core.custody import HOLD
from imagevol_core.marks import ImageVolumeMetadata, read_metadata
from imagevol_core.sentences import listed, quoted, said
from imagevol_core.store_copies.facts import SHOW_LOCATIONS, CloneLeft, KeptCopy, StoreCopyFacts, volumes_in_store
from imagevol_core.verdicts import Policy, Requirement

__all__ = ["DISCARD_RULES", "leaving_held", "leaving_recorded", "leaving_seen", "leaving_shared"]

Leaving = StoreCopyFacts | KeptCopy


def leaving_seen(facts: Leaving) -> tuple[bool, str]:
    """What is deleted must be seen."""
    if facts.removed is None:
        return True, "no copy is deleted"
    if facts.locations_shown:
        return True, "Glance shows which data is deleted"
    return False, f"Glance does not show which data would be deleted: {SHOW_LOCATIONS}, and use that endpoint"


def leaving_recorded(facts: Leaving) -> tuple[bool, str]:
    """A volume of another image, or of a user, is not deleted with a location that names it."""
    for volume_id in volumes_in_store(facts.removed, facts.image.locations):
        volume = facts.volumes.get(volume_id)
        if volume is None:
            return False, (
                f"Cinder shows these credentials no volume {volume_id}, which would be deleted: use the credentials of "
                "the store, or run `imagevol audit`"
            )
        record = read_metadata(volume.metadata)
        if not isinstance(record, ImageVolumeMetadata) or record.image_id != facts.image.id:
            holds = record.image_id if isinstance(record, ImageVolumeMetadata) else None
            return False, (
                f"volume {volume_id} says that it holds image {said(holds)}, and would be deleted with this one: run "
                "`imagevol audit`"
            )
    return True, "what is deleted says that it is this image"


def leaving_held(facts: Leaving) -> tuple[bool, str]:
    """A volume that another procedure works on is not deleted."""
    for volume_id in volumes_in_store(facts.removed, facts.image.locations):
        volume = facts.volumes.get(volume_id)
        if volume is not None and HOLD in volume.metadata:
            return False, f"volume {volume_id} is held by {quoted(volume.metadata[HOLD])}: let that end first"
    return True, "nothing holds what is deleted"


def leaving_shared(facts: Leaving) -> tuple[bool, str]:
    """A volume that another image needs is not deleted."""
    for volume_id in volumes_in_store(facts.removed, facts.image.locations):
        others = [each for each in facts.named_by.get(volume_id, ()) if each != facts.image.id]
        if others:
            return False, (
                f"volume {volume_id} would be deleted, and image {listed(others)} names it as well: mend that first "
                "with `imagevol audit --repair`"
            )
    return True, "no other image names what is deleted"


def _shown(facts: CloneLeft) -> tuple[bool, str]:
    if facts.locations_shown:
        return True, "Glance shows which volumes the image has"
    return (
        False,
        f"Glance does not show the volumes of the image, and a clone may be one: {SHOW_LOCATIONS}, and use it",
    )


def _a_clone(facts: CloneLeft) -> tuple[bool, str]:
    """The mark of a journal may be copied metadata."""
    about = f"volume {facts.volume_id} has the mark of the journal, and is a clone of volume {said(facts.source)}"
    ours = facts.source is not None and facts.source in facts.cloned
    return ours, about if ours else f"{about}, which the journal has not cloned"


def _never_registered(facts: CloneLeft) -> tuple[bool, str]:
    was = "was" if facts.registered else "was never seen as"
    return not facts.registered, f"volume {facts.volume_id} {was} a location of image {facts.image_id}"


def _not_named(facts: CloneLeft) -> tuple[bool, str]:
    if facts.named_by:
        return False, f"volume {facts.volume_id} is a location of image {listed(facts.named_by)}"
    return True, f"no image names volume {facts.volume_id}"


DISCARD_RULES: Mapping[Policy, tuple[Requirement[CloneLeft], ...]] = {
    Policy.STRICT: (
        Requirement(id="discard-seen", text="Glance shows the locations", source="[clone]", holds=_shown, gate=True),
        Requirement(
            id="discard-is-clone",
            text="it is a clone of a volume that the journal has cloned",
            source="OSSN-0065",
            holds=_a_clone,
            gate=True,
        ),
        Requirement(
            id="discard-never-registered",
            text="the clone was never a location of the image",
            source="[clone]",
            holds=_never_registered,
        ),
        Requirement(id="discard-not-named", text="no image names the clone", source="[clone]", holds=_not_named),
    ),
}
