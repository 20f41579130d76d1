"""An image file into a new volume in steps: a process that takes over goes on with the volume of its journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from imagevol_adapters.engine import Digests, Limits, Progress, StreamWriter, TransferReport, pieces
from imagevol_adapters.inspection.in_time import inspect_in_time
from imagevol_adapters.inspection.inspector import check
from imagevol_adapters.ports import AccessMode, Attacher, Device, VolumeService
from imagevol_adapters.transfers.attaching import attached
from imagevol_adapters.transfers.checked_file import zeros_for
from imagevol_adapters.transfers.filling import Examination, opened
from imagevol_adapters.transfers.keeping import STEP_BYTES, UNKEPT_STEPS, Step, Verified, read_again, write_in_steps
from imagevol_adapters.transfers.put_finished import finished, held_to
from imagevol_adapters.transfers.put_journal import FileFacts, PutJournal
from imagevol_adapters.transfers.put_targets import (
    Put,
    Registering,
    chosen_image,
    mark_taken,
    refuse_shared,
    register,
    registration,
    taken_volume,
    undone_if_wrong,
)
from imagevol_adapters.transfers.storing import StoredImage, StoreSettings
from imagevol_core import (
    GIB,
    ContentMismatch,
    Digest,
    RequestRefused,
    UnsafeImage,
    Volume,
    WrongLength,
    gib_for,
    needs_conversion,
)
from imagevol_core.resuming import Registration

__all__ = ["Registering", "put_file"]

_WRONG_DATA = (UnsafeImage, ContentMismatch, WrongLength)  # of which no more will come right


def put_file(
    path: Path,
    *,
    journal: PutJournal,
    wishes: Mapping[str, Any],
    disk_format: str,
    image_id: str,
    image_owner: str | None,
    volumes: VolumeService,
    attacher: Attacher,
    tell: Callable[[str], object],
    registering: Registering | None = None,
    digest: Digest | None = None,
    volume_type: str | None = None,
    settings: StoreSettings | None = None,
    progress: Progress | None = None,
    limits: Limits | None = None,
    step_bytes: int = STEP_BYTES,
) -> tuple[str, StoredImage]:
    """Store an image file in a new volume, or go on where a stopped call with the same journal came to ([store]).

    What is in the volume is read again, and counts as far as it has the digests of the journal; also a volume that
    says that it is filled is read again, until the journal says that all is done.  Only wrong data is
    deleted with its volume: after any other error the volume and the image stay, and the journal names them.

    Args:
        path: of the file.
        journal: open.
        wishes: what is wished for, which must be what the journal was begun with.
        disk_format: what the file is declared to be: `raw` or `iso`.
        image_id: the image that a new volume will hold, unless it is registered.
        image_owner: the project that owns that image.
        volumes: where the volume is made.
        attacher: connects it to this host.
        tell: is told in a sentence how far the volume is filled.
        registering: how it becomes an image of Glance; it becomes none when None.
        digest: what the file must have.
        volume_type: of the volume; Cinder's default when None.
        settings: how it is stored; as Glance does when None.
        progress: told how far it is.
        limits: how fast it may go, and what ends it.
        step_bytes: how much data is written before it is written down how far that is.

    Returns:
        The id of the image, and what is stored.

    Raises:
        RequestRefused: the file was changed, the volume is not as it was left, or the format cannot be streamed.
        UnsafeImage: a rule refuses the file.
        ContentMismatch: it has another digest.
        InUse: another program has attached the volume, which can have several attachments, while it was filled.
        ImagevolError: whatever else the ports raise.
    """
    if needs_conversion(disk_format):
        raise RequestRefused(f"a file in {disk_format} is converted in one go: leave out the journal")
    chosen = settings or StoreSettings()
    put = Put(journal=journal, volumes=volumes, attacher=attacher, registering=registering, settings=chosen, tell=tell)
    limited = limits or Limits()
    with opened(path, limited) as file:
        facts = FileFacts.of(file)
        journal.check_same(file=facts, wishes=wishes)
        if not journal.state.steps:  # else it has been inspected
            what = f"image file {path}"
            found = inspect_in_time(file, what=what, stall_seconds=limited.stall_seconds)
            check(found, declared_format=disk_format, size_gib=None, what=what, settings=chosen.safety)
        chosen_image(put, disk_format, image_id, image_owner)
        taken_up = journal.state.volume_id is not None
        volume, is_finished = taken_volume(put, gib_for(facts.size_bytes), volume_type)
        left = registration(put, volume)  # before all is copied
        if is_finished or journal.is_done or (taken_up and volume.readonly):
            believed = is_finished and journal.is_done and left is not Registration.REGISTER
            stored = held_to(
                *(put, volume, facts.size_bytes, digest), believed=believed, progress=progress, limits=limits
            )
        else:
            with undone_if_wrong(put, volume.id):
                report = _fill(
                    *(put, file, volume, facts, disk_format, digest, progress, limited),
                    taken_up=taken_up,
                    step_bytes=step_bytes,
                )
            put.volumes.set_readonly(volume.id, readonly=True)
            stored = finished(put, volume.id, report)
    register(put, stored)
    if not journal.is_done:
        journal.end()
    return str(journal.state.image_id), stored


def _fill(
    put: Put,
    file: BinaryIO,
    volume: Volume,
    facts: FileFacts,
    disk_format: str,
    digest: Digest | None,
    progress: Progress | None,
    limits: Limits,
    *,
    taken_up: bool,
    step_bytes: int,
) -> TransferReport:
    """Write what is not in the volume yet, and hold the whole to its format and digest."""
    size_bytes = facts.size_bytes
    device_bytes = volume.size_gib * GIB
    with attached(
        volume.id, mode=AccessMode.WRITE, volumes=put.volumes, attacher=put.attacher, size_bytes=device_bytes
    ) as device:
        mark_taken(put, volume)
        kept = _kept(put, device, disk_format, progress, size_bytes, limits)
        file.seek(kept.verified.position)
        with StreamWriter(
            pieces(file),
            size_bytes=size_bytes,
            observe=kept.examination,
            progress=progress,
            limits=limits,
            begun=kept.verified.digests,
            position=kept.verified.position,
        ) as writer:
            _write(put, writer, device, proven=not kept.altered, taken_up=taken_up, step_bytes=step_bytes)
            kept.examination.end()
            report = writer.report()
    refuse_shared(put, volume)
    put.volumes.wait(volume.id)
    if digest and (actual := report.digests[digest.algorithm]) != digest:
        raise ContentMismatch("the image", expected=str(digest), actual=str(actual), given=True)
    return report


def _write(put: Put, writer: StreamWriter, device: Device, *, proven: bool, taken_up: bool, step_bytes: int) -> None:
    """Write the rest.

    What another process wrote after its last step may be there in part, so that nothing proves the zeros in it.
    """
    zeros = zeros_for(device, put.settings.zero_proof if proven else None)

    def keep(step: Step) -> None:
        put.journal.record(**step.to_line())

    if taken_up:
        unproven = zeros_for(device, None)
        most = UNKEPT_STEPS * step_bytes
        if write_in_steps(writer, device, zeros=unproven, keep=keep, step_bytes=step_bytes, data_bytes=most):
            return
    write_in_steps(writer, device, zeros=zeros, keep=keep, step_bytes=step_bytes)


@attrs.frozen(kw_only=True)
class _Kept:
    """What is in a volume.

    Attributes:
        verified: how far it is what was written.
        examination: has seen this.
        altered: whether there is something else in it.
    """

    verified: Verified
    examination: Examination
    altered: bool


def _kept(
    put: Put, device: Device, disk_format: str, progress: Progress | None, size_bytes: int, limits: Limits
) -> _Kept:
    state = put.journal.state
    what = f"image {state.image_id}"
    examination = Examination(disk_format, what, put.settings.safety)
    nothing = Verified(position=0, digests=Digests(state.algorithms))
    if not state.steps:
        return _Kept(verified=nothing, examination=examination, altered=False)
    try:
        verified = read_again(
            device,
            state.steps,
            algorithms=state.algorithms,
            observe=examination,
            progress=progress,
            total_bytes=size_bytes,
            limits=limits,
        )
    except UnsafeImage:  # of the file it would have been known when it was written
        verified = nothing
    put.tell(f"Going on at byte {verified.position} of {size_bytes}.")
    if verified.position == state.steps[-1].position:
        return _Kept(verified=verified, examination=examination, altered=False)
    put.journal.record(cut=0)
    examination = Examination(disk_format, what, put.settings.safety)
    return _Kept(verified=nothing, examination=examination, altered=True)
