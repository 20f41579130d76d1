"""What must hold of each image volume."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from imagevol_core.auditing.evidence import place_of
from imagevol_core.auditing.facts import AuditRule, ImageVolume, Repair, RepairAction, Subject
from imagevol_core.auditing.rules import ANOTHER_GLANCE, certain, may_run, step
from imagevol_core.custody import HOLD
from imagevol_core.remains import VolumeOrigin
from imagevol_core.sentences import amount, answered, duration, quoted, said
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
    if held.importing and not held.settled:
        return True, f"Glance is copying image {quoted(held.recorded)}"
    if not held.image_known:
        if _put_on_purpose(held):
            return True, "`imagevol put` made it of a file, and no image was asked for"
        partly = "" if held.settings.images_complete else " that were listed"
        return False, f"it names image {quoted(held.recorded)}, which is not among the images{partly}"
    return not held.image_settled, f"it names image {quoted(held.recorded)}, whose locations are known and are others"


def _put_on_purpose(held: ImageVolume) -> bool:
    """`put --register` says that it is procedure `register`."""
    origin = VolumeOrigin.from_volume(held.volume.metadata)
    return origin is not None and origin.finished and origin.procedure == "put"


def _orphan_perhaps(held: ImageVolume) -> str:
    """A volume is deleted for it: so the record must be no user's, nothing in flight, and every location read.

    Cinder clones a user's volume into its internal tenant with the user's metadata.  Glance may keep a deleted image's
    volume for a time, and gives the image back until then.
    """
    volume, settings = held.volume, held.settings
    doubts = {
        f"the users of project {said(volume.project_id)} can write what the volume says": not _trusted(held),
        f"it is a clone of volume {said(volume.source_volume_id)} and may have the metadata of that volume": (
            volume.source_volume_id is not None
        ),
        f"no image of this Glance names a volume of type {quoted(volume.volume_type)} in that project: check that it "
        "is the Glance of these volumes, and --os-region-name": _trusted(held) and not _shown(held),
        ANOTHER_GLANCE: _trusted(held) and _shown(held) and not settings.only_glance,
        f"its status is {quoted(volume.status)}": volume.status not in _AT_REST,
        "the credentials do not show all images": not settings.images_complete,
        "a location of an image could not be read, and may name it": not held.all_read,
        "with delayed_delete, Glance can give the image back for a time": (
            settings.delayed_delete and not held.image_known
        ),
        "Glance may still be copying the image": held.importing,
        _youth(held): not held.settled,
    }
    return " and ".join(doubt for doubt, applies in doubts.items() if applies)


def _youth(held: ImageVolume) -> str:
    return "its age is not known" if held.age is None else f"it was created {duration(held.age)} before the audit"


def _trusted(held: ImageVolume) -> bool:
    return held.volume.project_id in held.settings.trusted_projects


def _shown(held: ImageVolume) -> bool:
    """Another Glance may have its volumes in the same project."""
    return place_of(held.volume) in held.settings.shown


def _not_unfinished(held: ImageVolume) -> tuple[bool, str]:
    origin = VolumeOrigin.from_volume(held.volume.metadata)
    if origin is None or origin.finished or held.kept or held.volume.status == "deleting":
        return True, "no procedure is creating it"
    if held.claimed:
        return True, "an image's location names it, so that it is whole"
    if held.age is None:
        return False, f"procedure {said(origin.procedure)} has not finished, and its age is not known"
    return not held.settled, f"procedure {said(origin.procedure)} has not finished {duration(held.age)} after it began"


def _unfinished_perhaps(held: ImageVolume) -> str:
    """An image of another Glance may name it by now."""
    another = f" and {ANOTHER_GLANCE}" if _trusted(held) and not held.settings.only_glance else ""
    return f"{may_run(held)}{another}"


def _delete_trusted(held: ImageVolume) -> Repair:
    """Elsewhere a user may have written it, and of another Glance no image is seen that names it."""
    return _delete_volume(held) if _trusted(held) and held.settings.only_glance else ()


def _delete_orphan(held: ImageVolume) -> Repair:
    return _delete_trusted(held) if _shown(held) else ()


def _let_go(held: ImageVolume) -> tuple[bool, str]:
    """What a killed migration or repair holds outlives its images."""
    holder = held.volume.metadata.get(HOLD)
    if not holder:
        return True, "no operation holds it"
    unchanged = held.unchanged_for
    if unchanged is None:
        return False, f"journal {said(holder)} holds it, and it is not known since when"
    text = f"journal {said(holder)} holds it, and Cinder changed it {duration(unchanged)} before the audit"
    return unchanged <= held.settings.stuck_after, text


def _held_perhaps(_held: ImageVolume) -> str:
    return "no service tells whether its journal is still at work: if you have it, resume or undo it"


def _release(held: ImageVolume) -> Repair:
    """If two locations name it, it must stay held while one of them goes."""
    if not _trusted(held) or held.named > 1:
        return ()
    return (step(RepairAction.RELEASE_HOLD, _of_volume(held)[0], holder=held.volume.metadata[HOLD]),)


def _changed_at(held: ImageVolume) -> datetime | None:
    return held.volume.updated_at or held.volume.created_at


def _read_only(held: ImageVolume) -> tuple[bool, str]:
    if not held.claimed and not held.kept:
        return True, "nothing depends on its content"
    readonly = held.volume.readonly
    return readonly is True, answered(readonly, "it is read-only", "it is not read-only")


def _tail_zero(held: ImageVolume) -> tuple[bool, str]:
    if held.check is None or held.check.tail_is_zero is None:
        return True, "its tail was not read"
    return held.check.tail_is_zero, f"what comes after the first {amount(held.check.size_bytes, 'byte')} was read"


def _record_agrees(held: ImageVolume) -> tuple[bool, str]:
    """If an image names it, its data is compared for that image."""
    if held.claimed:
        return True, "an image's location names it"
    if held.check is None or held.check.recorded is None:
        return True, "its data was not compared with what it records"
    read, recorded = held.check.digest, held.check.recorded
    return read == recorded, f"its digest is {said(read)}, and it records {said(recorded)}"


def _by_a_person(_held: ImageVolume) -> Repair:
    """Which of data and record is right, only its owner can say."""
    return ()


def _zero(held: ImageVolume) -> Repair:
    about = _of_volume(held)[0]
    return (
        step(RepairAction.SET_WRITABLE, about),
        step(RepairAction.ZERO_TAIL, about, from_bytes=str(held.read.size_bytes)),
        step(RepairAction.SET_READ_ONLY, about),
    )


def _read_only_perhaps(held: ImageVolume) -> str:
    return "" if held.volume.readonly is not None else "Cinder does not tell"


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
            doubt=_orphan_perhaps,
            repair=_delete_orphan,
            since=_created,
            reclaims=_size,
        ),
        AuditRule(
            id="left-unfinished",
            text="no procedure has been creating it for longer than an image may be in the making",
            source="[store]",
            holds=_not_unfinished,
            subjects=_of_volume,
            doubt=_unfinished_perhaps,  # on its host, `imagevol unfinished` tells whether the process runs
            repair=_delete_trusted,
            since=_created,
            reclaims=_size,
        ),
        AuditRule(
            id="hold-left",
            text="no migration or repair has held it for longer than an image may be in the making",
            source="[multi]",
            holds=_let_go,
            subjects=_of_volume,
            doubt=_held_perhaps,
            repair=_release,
            since=_changed_at,
            related=_claimants,
        ),
        AuditRule(
            id="not-read-only",
            text="it is read-only, if anything is read or cloned from it",
            source="[store]",
            holds=_read_only,
            subjects=_of_volume,
            doubt=_read_only_perhaps,
            repair=_set_read_only,
            since=_created,
            related=_claimants,
        ),
        AuditRule(
            id="record-differs",
            text="what was read from it has the digest that it records, if no image names it",
            source="[store]",
            holds=_record_agrees,
            subjects=_of_volume,
            doubt=certain,
            repair=_by_a_person,
            since=_created,
        ),
        AuditRule(
            id="tail-not-zero",
            text="after the image it is zero: a clone has the tail too",
            source="[clone]",
            holds=_tail_zero,
            subjects=_of_volume,
            doubt=certain,
            repair=_zero,
            since=_created,
            related=_claimants,
        ),
    ),
}
