"""A volume that is filled: it is marked as the image's, and one that was marked before is held to the journal."""

from __future__ import annotations

from collections.abc import Mapping

from imagevol_adapters.engine import BLAKE3, Limits, Progress, TransferReport
from imagevol_adapters.ports import AccessMode
from imagevol_adapters.transfers.attaching import attached
from imagevol_adapters.transfers.keeping import read_again
from imagevol_adapters.transfers.put_targets import Put
from imagevol_adapters.transfers.storing import StoredImage
from imagevol_core import FINISHED, GIB, Digest, ImageVolumeMetadata, RequestRefused, Volume

__all__ = ["finished", "held_to"]

_CHECKSUM = "md5"


def finished(put: Put, volume_id: str, report: TransferReport) -> StoredImage:
    """Mark a volume, which is read-only, as the image's: the last step names the image."""
    record = _record(put, report.size_bytes, report.digests)
    put.volumes.set_metadata(volume_id, {**record.to_volume(), **FINISHED})
    return StoredImage(volume=put.volumes.get(volume_id), record=record, report=report)


def held_to(
    put: Put,
    volume: Volume,
    size_bytes: int,
    digest: Digest | None,
    *,
    believed: bool,
    progress: Progress | None,
    limits: Limits | None,
) -> StoredImage:
    """Hold a volume that says that it is filled to the journal, because others in its project can say that of it too.

    Args:
        put: what the steps share.
        volume: which volume.
        size_bytes: how long the file is.
        digest: what it must have.
        believed: whether it was told before that all is done, so that the data is not read again.
        progress: told how far it is.
        limits: how fast it may go, and what ends it.

    Raises:
        RequestRefused: the journal does not say that all was written, or there is something else in the volume.
    """
    state = put.journal.state
    last = state.steps[-1] if state.steps else None
    if last is None or last.position != size_bytes or (digest and last.digests.get(digest.algorithm) != digest):
        raise _other(volume, "the journal does not say that the whole file was written to it")
    digests = last.digests
    report = _nothing(size_bytes, digests)
    if believed:
        record, found = _record(put, size_bytes, digests), ImageVolumeMetadata.from_volume(volume.metadata)
        if any(volume.metadata.get(key) != value for key, value in record.to_volume().items()):
            raise _other(volume, "its metadata has another record than the journal")
        return StoredImage(volume=volume, record=found, report=report)
    if not volume.readonly:
        put.volumes.set_readonly(volume.id, readonly=True)
    put.tell(f"Reading volume {volume.id} again.")
    with attached(
        volume.id,
        mode=AccessMode.READ,
        volumes=put.volumes,
        attacher=put.attacher,
        size_bytes=volume.size_gib * GIB,
    ) as device:
        verified = read_again(
            device,
            state.steps,
            algorithms=state.algorithms,
            progress=progress,
            total_bytes=size_bytes,
            limits=limits,
        )
    put.volumes.wait(volume.id)
    if verified.position != size_bytes:
        raise _other(volume, f"its data differs from the file after byte {verified.position}")
    return finished(put, volume.id, report)


def _record(put: Put, size_bytes: int, digests: Mapping[str, Digest]) -> ImageVolumeMetadata:
    state, settings = put.journal.state, put.settings
    return ImageVolumeMetadata(
        image_id=state.image_id,
        image_owner=state.image_owner,
        size_bytes=size_bytes,
        digest=digests[settings.hash_algorithm] if settings.hash_algorithm else None,
        checksum=digests[_CHECKSUM].value if settings.checksum else None,
        blake3=digests.get(BLAKE3),
    )


def _other(volume: Volume, why: str) -> RequestRefused:
    return RequestRefused(
        f"volume {volume.id} says that it is filled, but {why}: delete it with `imagevol rm {volume.id}`, and begin "
        f"anew, with another journal"
    )


def _nothing(size_bytes: int, digests: Mapping[str, Digest]) -> TransferReport:
    """The report of a volume that was filled before."""
    return TransferReport(
        read_bytes=0,
        written_bytes=0,
        zeroed_bytes=0,
        skipped_bytes=0,
        size_bytes=size_bytes,
        seconds=0.0,
        digests=digests,
        earlier_bytes=size_bytes,
    )
