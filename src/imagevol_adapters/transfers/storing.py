"""An image into a new volume, as a stream or as a file of any format."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import BinaryIO

import attrs

from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.engine import (
    BLAKE3,
    Digests,
    Limits,
    Observer,
    Progress,
    Source,
    StreamWriter,
    TransferProgress,
    TransferReport,
    has_blake3,
    pieces,
    read_device,
)
from imagevol_adapters.inspection.in_time import inspect_in_time
from imagevol_adapters.inspection.inspector import check
from imagevol_adapters.ports import AccessMode, Attacher, Converter, Device, VolumeService
from imagevol_adapters.processes import origin
from imagevol_adapters.transfers.attaching import attached, delete_volume, refuse_encrypted
from imagevol_adapters.transfers.checked_file import CheckedFile, Proof, zeros_for
from imagevol_adapters.transfers.creating import answered
from imagevol_adapters.transfers.filling import Examination, opened
from imagevol_core import (
    FINISHED,
    GIB,
    ContentMismatch,
    Digest,
    Growth,
    ImageVolumeMetadata,
    SafetySettings,
    Volume,
    VolumeOrigin,
    gib_for,
    needs_conversion,
    next_size_gib,
)

__all__ = ["StoreSettings", "StoredImage", "store_image", "store_image_file"]

_CHECKSUM = "md5"  # the legacy digest that Glance keeps beside the multihash


@attrs.frozen(kw_only=True)
class StoreSettings:
    """How images are stored in volumes.

    Args:
        hash_algorithm: the algorithm of the multihash, as Glance's `hashing_algorithm`; None for no multihash, which is
            for volumes that Glance does not serve.
        checksum: whether to make the legacy md5 too, which Glance keeps.  It is slower than everything else.
        blake3: whether to make a BLAKE3 too, and record it in the volume; None to do so if the package is installed.
        zero_proof: given the device's path, gives the proof that a new volume reads as zeros, such as
            `lambda path: FreshThin(path=path)`.  Without a proof, zeros are cleared or written, so that old data on the
            storage never shows.
        growth: how a volume grows under a stream of unknown length.
        safety: which faults of a partition table an inspected image may have.
        created: called with the new volume before anything is written to it.
    """

    hash_algorithm: str | None = "sha512"
    checksum: bool = True
    blake3: bool | None = None
    zero_proof: Proof | None = None
    growth: Growth = attrs.field(factory=Growth)
    safety: SafetySettings = attrs.field(factory=SafetySettings)
    created: Callable[[Volume], object] | None = None

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The digests that are made."""
        made = {
            _CHECKSUM: self.checksum,
            self.hash_algorithm: self.hash_algorithm is not None,
            BLAKE3: has_blake3() if self.blake3 is None else self.blake3,
        }
        return tuple(name for name, wanted in made.items() if wanted and name)


@attrs.frozen(kw_only=True)
class StoredImage:
    """An image that is in a volume.

    Attributes:
        volume: the image volume, read-only and marked.
        record: what its metadata says about the image.
        report: how many bytes were moved, how, and how fast.
    """

    volume: Volume
    record: ImageVolumeMetadata
    report: TransferReport


def store_image(
    source: Source,
    *,
    image_id: str,
    image_owner: str | None,
    size_bytes: int | None,
    volumes: VolumeService,
    attacher: Attacher,
    declared_format: str | None = None,
    digest: Digest | None = None,
    volume_type: str | None = None,
    settings: StoreSettings | None = None,
    observe: Observer | None = None,
    progress: Progress | None = None,
    limits: Limits | None = None,
    made_by: VolumeOrigin | None = None,
) -> StoredImage:
    """Store an image in a new volume ([store]).

    The steps are those of the specification: create the volume in the size of the image, wait, attach, write, flush,
    detach, mark read-only, write the metadata.  Only the last step names the image; until then the metadata says that
    the volume is unfinished.  The rest of the volume reads as zeros, because it will be cloned.

    Args:
        source: the data, in pieces of any length, and holes; closed at the end, if it can be closed.
        image_id: the image that the volume will hold.
        image_owner: the project that owns the image.
        size_bytes: the length of the data; None if it is not known: the volume then grows with the data.
        volumes: where the volume is made.
        attacher: connects the volume to this host.
        declared_format: the format that the data must have; None to inspect nothing, for example because Glance has
            inspected it.
        digest: the digest that the data must have, such as Glance's multihash; None to compare nothing.
        volume_type: the type of the volume; None for Cinder's default.
        settings: how the image is stored; None to do as Glance does.
        observe: called with the data in order, for example to verify a signature.  An error that it raises ends the
            transfer.
        progress: called with a `TransferProgress`, again and again.
        limits: how fast the transfer can go, and what ends it.
        made_by: the procedure that the metadata of the unfinished volume names; None for `put`.

    Raises:
        UnsafeImage: a rule refuses the image.
        InvalidSize: the size is negative.
        WrongLength: the data does not have that length.
        ContentMismatch: the data has another digest.
        SourceFailed: the data could not be read to its end.
        RequestRefused: volumes of this type are encrypted.
        TransferCancelled: `limits.cancelled` was set.
        ImagevolError: whatever else the ports raise; in each case the volume is gone, or named in `leftovers`.
    """
    chosen = settings or StoreSettings()
    examination = Examination(declared_format, f"image {image_id}", chosen.safety) if declared_format else None
    observers = [each for each in (examination, observe) if each]

    def show(data: memoryview) -> None:
        for each in observers:
            each(data)

    writer = StreamWriter(
        source,
        size_bytes=size_bytes,
        algorithms=dict.fromkeys([*chosen.algorithms, *([digest.algorithm] if digest else [])]),
        observe=show if observers else None,
        progress=progress,
        limits=limits,
    )

    def fill(volume: Volume) -> TransferReport:
        size_gib, ended = volume.size_gib, False
        while not ended:
            with _written(volume.id, size_gib, volumes, attacher) as device:
                ended = writer.write(device, zeros=zeros_for(device, chosen.zero_proof))
            volumes.wait(volume.id)
            if not ended:
                size_gib = next_size_gib(writer.position, current_gib=size_gib, growth=chosen.growth)
                volumes.extend(volume.id, size_gib=size_gib)
        if examination:
            examination.end()
        report = writer.report()
        if digest and (actual := report.digests[digest.algorithm]) != digest:
            raise ContentMismatch("the image", expected=str(digest), actual=str(actual), given=True)
        return report

    with writer:
        return _stored(
            fill,
            size_bytes=size_bytes or 0,
            image_id=image_id,
            image_owner=image_owner,
            volumes=volumes,
            volume_type=volume_type,
            settings=chosen,
            made_by=made_by or origin("put", image_id),
        )


def store_image_file(
    path: Path,
    *,
    disk_format: str,
    image_id: str,
    image_owner: str | None,
    volumes: VolumeService,
    attacher: Attacher,
    converter: Converter,
    digest: Digest | None = None,
    volume_type: str | None = None,
    settings: StoreSettings | None = None,
    progress: Progress | None = None,
    limits: Limits | None = None,
    made_by: VolumeOrigin | None = None,
) -> StoredImage:
    """Store an image file of any format in a new volume, as a raw image ([store]).

    A raw one is streamed, and inspected and digested on the way.  Any other is inspected first, converted straight onto
    the volume by the command that `plan_copy` gives, and read back to be digested: no temporary file in between.

    Args:
        path: the path of the file.
        disk_format: the format that the file must have, in Glance's words.
        image_id: the image that the volume will hold.
        image_owner: the project that owns the image.
        volumes: where the volume is made.
        attacher: connects the volume to this host.
        converter: inspects and converts the file.
        digest: what the file must have; when None, only what its own tables say is compared with its length.
        volume_type: the type of the volume; None for Cinder's default.
        settings: how the image is stored; None to do as Glance does.
        progress: told how far it is; of a conversion, how far the reading back is.
        limits: how fast a stream can go, and what ends it.
        made_by: the procedure that the metadata of the unfinished volume names; None for `put`.

    Raises:
        UnsafeImage: a rule refuses the file, for example because it was cut short.
        ContentMismatch: the file has another digest.
        RequestRefused: a volume of this type is no file or block device here that qemu-img could write.
        ConversionFailed: qemu-img could not convert it.
        ImagevolError: what `store_image` raises; in each case the volume is gone, or named in `leftovers`.
    """
    chosen, limited, what = settings or StoreSettings(), limits or Limits(), f"image file {path}"
    if not needs_conversion(disk_format):
        with opened(path, limited) as stream:
            found = inspect_in_time(stream, what=what, stall_seconds=limited.stall_seconds)  # before all is copied
            check(found, declared_format=disk_format, size_gib=None, what=what, settings=chosen.safety)
            return store_image(
                pieces(stream),
                image_id=image_id,
                image_owner=image_owner,
                size_bytes=_length(stream),
                volumes=volumes,
                attacher=attacher,
                declared_format=disk_format,
                digest=digest,
                volume_type=volume_type,
                settings=chosen,
                progress=progress,
                limits=limited,
                made_by=made_by,
            )
    started = time.monotonic()
    digests = Digests(chosen.algorithms)
    checked = CheckedFile.check(
        path,
        disk_format=disk_format,
        converter=converter,
        digest=digest,
        what=what,
        safety=chosen.safety,
        limits=limited,
    )
    with checked as file:
        size_bytes = file.size_bytes

        def fill(volume: Volume) -> TransferReport:
            with _written(volume.id, volume.size_gib, volumes, attacher) as device:
                file.convert_onto(device, converter=converter, proof=chosen.zero_proof, limits=limited)
                done = 0
                for part in read_device(device, length=size_bytes, limits=limited, made=digests):
                    done += len(part)
                    if progress:
                        progress(TransferProgress(done_bytes=done, skipped_bytes=0, total_bytes=size_bytes))
            volumes.wait(volume.id)
            return TransferReport(
                read_bytes=file.source.size_bytes or 0,
                written_bytes=None,
                zeroed_bytes=0,
                skipped_bytes=0,
                size_bytes=size_bytes,
                seconds=time.monotonic() - started,
                digests=digests.values(),
            )

        return _stored(
            fill,
            size_bytes=size_bytes,
            image_id=image_id,
            image_owner=image_owner,
            volumes=volumes,
            volume_type=volume_type,
            settings=chosen,
            made_by=made_by or origin("put", image_id),
        )


def _written(
    volume_id: str, size_gib: int, volumes: VolumeService, attacher: Attacher
) -> AbstractContextManager[Device]:
    """Attach a volume to be written to its end, which must be there: the rest after the image is cleared."""
    return attached(volume_id, mode=AccessMode.WRITE, volumes=volumes, attacher=attacher, size_bytes=size_gib * GIB)


def _stored(
    fill: Callable[[Volume], TransferReport],
    *,
    size_bytes: int,
    image_id: str,
    image_owner: str | None,
    volumes: VolumeService,
    volume_type: str | None,
    settings: StoreSettings,
    made_by: VolumeOrigin,
) -> StoredImage:
    """Make a volume, fill it, and call it an image."""
    with ExitStack() as undo:
        created = _created(volumes, f"image-{image_id}", gib_for(size_bytes), volume_type, made_by)
        undo.enter_context(undone_on_failure(f"volume {created.id}", lambda: delete_volume(volumes, created.id)))
        if settings.created:
            settings.created(created)
        refuse_encrypted(volumes.wait(created.id))
        report = fill(created)
        volumes.set_readonly(created.id, readonly=True)
        record = ImageVolumeMetadata(
            image_id=image_id,
            image_owner=image_owner,
            size_bytes=report.size_bytes,
            digest=report.digests[settings.hash_algorithm] if settings.hash_algorithm else None,
            checksum=report.digests[_CHECKSUM].value if settings.checksum else None,
            blake3=report.digests[BLAKE3] if BLAKE3 in settings.algorithms else None,
        )
        volumes.set_metadata(created.id, {**record.to_volume(), **FINISHED})
        return StoredImage(volume=volumes.get(created.id), record=record, report=report)


def _created(
    volumes: VolumeService, name: str, size_gib: int, volume_type: str | None, made_by: VolumeOrigin
) -> Volume:
    metadata = made_by.to_volume()
    ask = partial(volumes.create, size_gib=size_gib, name=name, volume_type=volume_type, metadata=metadata)
    return answered(ask, volumes=volumes, name=name, metadata=metadata)


def _length(file: BinaryIO) -> int:
    """How many bytes a file or a block device has."""
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    return length
