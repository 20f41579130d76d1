"""What must hold of each image volume."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from imagevol_core.auditing.facts import AuditRule, ImageVolume, Repair, RepairAction, Subject
from imagevol_core.auditing.rules import always, never, step
from imagevol_core.remains import VolumeOrigin
from imagevol_core.sentences import answered, quoted, said
from imagevol_core.sizing import GIB
from imagevol_core.verdicts import Policy

__all__ = ["IMAGE_VOLUME_RULES"]


_AT_REST = ("available", "error")


# An image volume.


def _has_image(held: ImageVolume) -> tuple[bool, str]:
    if held.claimed or held.kept:
        return True, "an image's location, the cache or a template names it"
    if held.volume.status == "deleting":
        return True, "Cinder is deleting it"
    if held.recorded is None:
        return True, "it names no image"
    if not held.image_known:
        partly = "" if held.settings.images_complete else " that were listed"
        return False, f"it names image {quoted(held.recorded)}, which is not among the images{partly}"
    return not held.image_settled, f"it names image {quoted(held.recorded)}, whose locations are known and are others"


def _orphan_surely(held: ImageVolume) -> bool:
    """A volume is deleted for it: so the record must be no user's, nothing in flight, and every location read.

    Cinder clones a user's volume into its internal tenant with the user's metadata.  Glance may keep a deleted image's
    volume for a time, and gives the image back until then.
    """
    trusted = held.volume.project_id in held.settings.trusted_projects and held.volume.source_volume_id is None
    still = held.volume.status in _AT_REST and held.settings.images_complete
    kept = held.settings.delayed_delete and not held.image_known
    return trusted and still and held.all_read and not kept


def _not_unfinished(held: ImageVolume) -> tuple[bool, str]:
    origin, created_at = VolumeOrigin.from_volume(held.volume.metadata), held.volume.created_at
    if origin is None or origin.finished or held.kept or held.volume.status == "deleting":
        return True, "no procedure is creating it"
    if created_at is None:
        return False, f"procedure {said(origin.procedure)} has not finished, and its age is not known"
    age = held.settings.now - created_at
    return age <= held.settings.stuck_after, f"procedure {said(origin.procedure)} has not finished {age} after it began"


def _delete_trusted(held: ImageVolume) -> Repair:
    """Elsewhere a user may have written it."""
    return _delete_volume(held) if held.volume.project_id in held.settings.trusted_projects else ()


def _read_only(held: ImageVolume) -> tuple[bool, str]:
    if not held.claimed and not held.kept:
        return True, "nothing depends on its content"
    readonly = held.volume.readonly
    return readonly is True, answered(readonly, "it is read-only", "it is not read-only")


def _tail_zero(held: ImageVolume) -> tuple[bool, str]:
    if held.check is None or held.check.tail_is_zero is None:
        return True, "its tail was not read"
    return held.check.tail_is_zero, f"what comes after the first {held.check.size_bytes} bytes was read"


def _zero(held: ImageVolume) -> Repair:
    about = _of_volume(held)[0]
    return (
        step(RepairAction.SET_WRITABLE, about),
        step(RepairAction.ZERO_TAIL, about, from_bytes=str(held.read.size_bytes)),
        step(RepairAction.SET_READ_ONLY, about),
    )


def _read_only_surely(held: ImageVolume) -> bool:
    return held.volume.readonly is not None


def _set_read_only(held: ImageVolume) -> Repair:
    return (step(RepairAction.SET_READ_ONLY, _of_volume(held)[0]),)


def _delete_volume(held: ImageVolume) -> Repair:
    return (step(RepairAction.DELETE_VOLUME, _of_volume(held)[0]),)


def _created(held: ImageVolume) -> datetime | None:
    return held.volume.created_at


def _size(held: ImageVolume) -> int:
    return held.volume.size_gib * GIB


def _claimants(held: ImageVolume) -> tuple[Subject, ...]:
    return tuple(Subject("image", image_id) for image_id in held.claimants)


def _of_volume(held: ImageVolume) -> tuple[Subject, ...]:
    return (Subject("volume", held.volume.id),)


IMAGE_VOLUME_RULES: Mapping[Policy, tuple[AuditRule[ImageVolume], ...]] = {
    Policy.STRICT: (
        AuditRule(
            id="image-volume-without-image",
            text="an image, the cache or a template names it, if it says that it holds an image",
            source="[store]",
            holds=_has_image,
            subjects=_of_volume,
            sure=_orphan_surely,
            repair=_delete_trusted,
            since=_created,
            reclaims=_size,
        ),
        AuditRule(
            id="left-unfinished",
            text="no procedure has been creating it for longer than an image may be in the making",
            source="[store]",
            holds=_not_unfinished,
            subjects=_of_volume,
            sure=never,  # on its host, `imagevol unfinished` tells whether the process runs
            repair=_delete_trusted,
            since=_created,
            reclaims=_size,
        ),
        AuditRule(
            id="not-read-only",
            text="it is read-only, if anything is read or cloned from it",
            source="[store]",
            holds=_read_only,
            subjects=_of_volume,
            sure=_read_only_surely,
            repair=_set_read_only,
            since=_created,
            related=_claimants,
        ),
        AuditRule(
            id="tail-not-zero",
            text="after the image it is zero: a clone has the tail too",
            source="[clone]",
            holds=_tail_zero,
            subjects=_of_volume,
            sure=always,
            repair=_zero,
            since=_created,
            related=_claimants,
        ),
    ),
}
