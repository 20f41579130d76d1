"""The BLAKE3 in the metadata of an image volume: whether it is believed here, and how it gets there."""

from __future__ import annotations

import logging
from collections.abc import Collection

import attrs

from imagevol_adapters.engine import BLAKE3, has_blake3
from imagevol_adapters.ports import VolumeService
from imagevol_core import Digest, Image, ImagevolError, ImageVolumeMetadata, MissingDependency, Volume, read_metadata
from imagevol_core.recorded import decide_recorded

__all__ = ["BelievedRecord", "believed_record", "image_bytes", "record_blake3"]

_LOG = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class BelievedRecord:
    """What of a volume's record can be used here.

    Attributes:
        blake3: the BLAKE3 that is believed and can be computed here; None if there is none.
        to_be_recorded: whether a BLAKE3 must be made and recorded.
        unverified: what "the volume …" does, so that its data cannot be verified if it records no multihash either.
        unrecorded: why "the volume …" gets no BLAKE3 although one is wanted; empty if it gets one, or none is wanted.
        multihash: the multihash that is recorded and believed; None if there is none.
    """

    blake3: Digest | None
    to_be_recorded: bool
    unverified: str
    unrecorded: str = ""
    multihash: Digest | None = None


def believed_record(
    volume: Volume,
    *,
    volumes: VolumeService,
    record: bool,
    image: Image | None = None,
    trusted_projects: Collection[str] | None = None,
) -> BelievedRecord:
    """Say which of the digests that a volume records are believed, and whether a BLAKE3 must be recorded.

    The record of a clone is not believed.  If the image is known, the record of the volume that it was cloned from is
    asked instead.

    Args:
        volume: the image volume.
        volumes: where it is.
        record: whether a BLAKE3 is wanted in its metadata.
        image: whose data it is said to hold, where Glance was asked.
        trusted_projects: in which no user can write a volume's metadata; when None, the project of the credentials.

    Raises:
        MissingDependency: a BLAKE3 must be recorded, and its package is not installed.
    """
    installed = has_blake3()
    if record and not installed:
        raise MissingDependency(BLAKE3, BLAKE3)
    told = read_metadata(volume.metadata)
    there, multihash = (told.blake3, told.digest) if isinstance(told, ImageVolumeMetadata) else (None, None)
    source_id = volume.source_volume_id if image and installed else None
    if there is None and multihash is None and not record and source_id is None:
        return BelievedRecord(blake3=None, to_be_recorded=False, unverified="records no digest")
    if trusted_projects is None:
        trusted_projects = frozenset(filter(None, [volumes.project_id]))
    decision = decide_recorded(volume, trusted_projects=trusted_projects, image=image)
    _LOG.debug("Volume %s: its record is %sbelieved: %s", volume.id, "" if decision.believed else "not ", decision)
    for source in volumes.find([source_id]) if source_id else ():
        # A clone must hold what its source was recorded with, whatever its own metadata says.
        of_source = decide_recorded(source, trusted_projects=trusted_projects, image=image)
        if of_source.blake3:
            unrecorded = "is a clone, and the volume that it was cloned from records one" if record else ""
            return BelievedRecord(blake3=of_source.blake3, to_be_recorded=False, unverified="", unrecorded=unrecorded)
    believed = decision.believed
    multihash = multihash if believed else None
    if there is None:
        refused = f"is one whose record is not believed, because {'; '.join(decision.reasons)}"
        return BelievedRecord(
            blake3=None,
            to_be_recorded=record and believed,
            multihash=multihash,
            unverified="records no digest",
            unrecorded=refused if record and not believed else "",
        )
    if not installed:
        reason = f"records a BLAKE3 only, and {MissingDependency(BLAKE3, BLAKE3)}"
    else:
        reason = f"records a BLAKE3 that is not believed, because {'; '.join(decision.reasons)}"
    return BelievedRecord(
        blake3=decision.blake3 if installed else None,
        multihash=multihash,
        to_be_recorded=False,
        unverified=reason,
        unrecorded=("records one already" if believed else reason) if record else "",
    )


def image_bytes(record: ImageVolumeMetadata, image: Image | None, *, volume_bytes: int) -> int:
    """Say how large the image in a volume is: by Glance, or else by the volume's record, or else as the volume."""
    if image is not None and image.size_bytes is not None:
        return image.size_bytes
    return volume_bytes if record.size_bytes is None else record.size_bytes


def record_blake3(volumes: VolumeService, volume_id: str, blake3: Digest, *, multihash: Digest | None = None) -> None:
    """Write a BLAKE3 into the metadata of a volume whose data was just verified; a failure is logged and no more.

    Args:
        volumes: where the volume is.
        volume_id: the volume.
        blake3: of all of its image's bytes.
        multihash: by which they were verified, if that is not in the metadata yet.
    """
    written = ImageVolumeMetadata(digest=multihash, blake3=blake3).to_volume()
    try:
        volumes.set_metadata(volume_id, written)
    except ImagevolError as error:
        _LOG.warning("Volume %s was verified, and its BLAKE3 is not recorded: %s", volume_id, error)
