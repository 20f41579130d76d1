"""An image into a file, in steps: a command that is stopped keeps what it has, and the next one goes on from there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.engine import Digests, Limits, Progress, StreamWriter
from imagevol_adapters.file_deadline import opened_in_time
from imagevol_adapters.ports import VolumeService
from imagevol_adapters.transfers.attaching import refuse_encrypted
from imagevol_adapters.transfers.keeping import STEP_BYTES, Step, read_again, write_in_steps
from imagevol_adapters.transfers.kept_part import PartFile, finish_whole, part_file
from imagevol_adapters.transfers.recording import believed_record, image_bytes
from imagevol_core import GIB, ContentMismatch, Image, ImageVolumeMetadata, ZeroHandling
from imagevol_core.recorded import decide_judge
from imagevol_core.resuming import ReadImage

__all__ = ["fetch_image", "image_in_volume"]

From = Callable[[int], AbstractContextManager[Iterable[bytes]]]
"""Opens the data of an image from a byte on."""


def image_in_volume(volume_id: str, *, volumes: VolumeService, image: Image | None = None) -> ReadImage:
    """Say what there is to read in an image volume, and by which of its digests it is verified.

    Args:
        volume_id: the image volume.
        volumes: where it is.
        image: whose data it should hold, as Glance shows the image; its multihash comes before what the volume records.

    Raises:
        RequestRefused: the volume is encrypted.
        InvalidMetadata: what the volume says of its image makes no sense.
        ImagevolError: whatever else the port raises.
    """
    volume = volumes.get(volume_id)
    refuse_encrypted(volume)
    record = ImageVolumeMetadata.from_volume(volume.metadata)
    size_bytes = image_bytes(record, image, volume_bytes=volume.size_gib * GIB)
    believed = believed_record(volume, volumes=volumes, record=False, image=image)
    glance = image.digest if image else None
    judge = decide_judge(glance=glance, blake3=believed.blake3, multihash=record.digest)
    return ReadImage(source=f"volume {volume.id}", size_bytes=size_bytes, digest=judge.digest)


def fetch_image(
    image: ReadImage,
    target: Path,
    *,
    data: From,
    tell: Callable[[str], object],
    progress: Progress | None = None,
    limits: Limits | None = None,
    step_bytes: int = STEP_BYTES,
) -> bool:
    """Read an image into a new file, from where an earlier call was stopped ([store]).

    A file beside the target keeps what was read, and a journal how far that is on the storage.  What is kept is read
    again, and counts as far as it has the digests of the journal.  The target appears when the whole has the digest of
    the image.  If this call is stopped, file and journal stay, unless the data was wrong.

    Args:
        image: what is read.
        target: a file that must not exist.
        data: opens the data of the image from a byte on.
        tell: is told in a sentence where it goes on, that an earlier part is not used, or that none can be kept.
        progress: told how far it is.
        limits: how fast it may go, and what ends it.
        step_bytes: how much data is read before it is written down how far that is.

    Returns:
        Whether the file is there; if not, the image has no digest, so that no part of it can be kept.

    Raises:
        RequestRefused: the target exists, or cannot be written, or another user could write to what is kept.
        InUse: another process or thread reads to this file.
        InvalidFact: the digest's algorithm is not known here; nothing is begun.
        ContentMismatch: the data is not that of the digest; nothing is kept.
        ImagevolError: whatever else `data` and the engine raise; what was read is kept.
    """
    Digests([image.digest.algorithm] if image.digest else [])  # one that is not known here can never be verified
    unhurried = _unhurried(limits or Limits())
    if finish_whole(target, image, lambda path: _is_image(image, path, progress, unhurried)):
        return True
    with part_file(target, image, tell=tell) as part:
        if part is None:
            return False
        _read(image, part, data, tell, progress, limits or Limits(), step_bytes)
        part.finish()
    return True


def _is_image(image: ReadImage, path: Path, progress: Progress | None, limits: Limits) -> bool:
    """Read a file that should be the whole image, and tell whether it is."""
    if image.digest is None:
        return False
    digests, total = {image.digest.algorithm: image.digest}, image.size_bytes
    with _open_in_time(path, writable=False) as device:
        if device.size_bytes != total:
            return False
        whole = Step(position=total, digests=digests)
        found = read_again(device, [whole], algorithms=digests, progress=progress, total_bytes=total, limits=limits)
    return found.digests.values() == digests


def _open_in_time(path: Path, *, writable: bool) -> AbstractContextManager[PathDevice]:
    return opened_in_time(lambda: PathDevice.open(path, writable=writable), path)


def _unhurried(limits: Limits) -> Limits:
    """Limits without the rate, which is for what is read from the storage."""
    return Limits(cancelled=limits.cancelled, stall_seconds=limits.stall_seconds)


def _read(
    image: ReadImage,
    part: PartFile,
    data: From,
    tell: Callable[[str], object],
    progress: Progress | None,
    limits: Limits,
    step_bytes: int,
) -> None:
    algorithms = [image.digest.algorithm] if image.digest else []
    total = image.size_bytes
    with _open_in_time(part.data_path, writable=True) as device:
        kept = read_again(
            device,
            part.steps,
            algorithms=algorithms,
            progress=progress,
            total_bytes=total,
            limits=_unhurried(limits),
        )
        if part.steps:
            tell(f"Going on at byte {kept.position} of {total}.")
        part.cut(kept.position, total)
        with (
            data(kept.position) if kept.position < total else nullcontext(()) as parts,
            StreamWriter(
                parts, size_bytes=total, progress=progress, limits=limits, begun=kept.digests, position=kept.position
            ) as writer,
        ):
            write_in_steps(writer, device, zeros=ZeroHandling.SKIP, keep=part.keep, step_bytes=step_bytes)
            actual = writer.report().digests
    if image.digest and actual[image.digest.algorithm] != image.digest:
        part.discard()
        raise ContentMismatch(image.source, expected=str(image.digest), actual=str(actual[image.digest.algorithm]))
