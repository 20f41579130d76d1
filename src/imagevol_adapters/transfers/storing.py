"""An image into a new volume, as a stream or as a file of any format."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import attrs

from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.engine import (
    PART_BYTES,
    Digests,
    Limits,
    Observer,
    Progress,
    Source,
    StreamWriter,
    TransferProgress,
    TransferReport,
    clear_rest,
    pieces,
    read_device,
    verified,
)
from imagevol_adapters.inspection import ImageInspector, check
from imagevol_adapters.ports import AccessMode, Attacher, Converter, Device, VolumeService
from imagevol_adapters.transfers.attaching import attached, delete_volume, refuse_encrypted
from imagevol_core import (
    ContentMismatch,
    CopySource,
    CopyTarget,
    DeviceFailed,
    Digest,
    DriverGuarantee,
    Growth,
    ImageVolumeMetadata,
    RequestRefused,
    SourceFailed,
    Volume,
    ZeroHandling,
    ZeroProof,
    gib_for,
    next_size_gib,
    plan_copy,
)

__all__ = ["StoreSettings", "StoredImage", "store_image", "store_image_file"]

_STREAMED = ("raw", "iso")  # of which the file is the disk
_CHECKSUM = "md5"  # the legacy digest that Glance keeps beside the multihash


@attrs.frozen(kw_only=True)
class StoreSettings:
    """How images are stored in volumes.

    Args:
        hash_algorithm: of the multihash, as Glance's `hashing_algorithm`.
        checksum: whether to make the legacy md5 beside the multihash, which is slower than all else; Glance keeps it.
        zero_proof: makes of the device's path the proof that a new volume reads as zeros, as the class `FreshThin` does
            with `lambda path: FreshThin(path=path)`.  Without one zeros are cleared or written, so that what somebody
            else left on the storage never shows.
        growth: how a volume grows under a stream of unknown length.
    """

    hash_algorithm: str = "sha512"
    checksum: bool = True
    zero_proof: Callable[[str], ZeroProof] | None = None
    growth: Growth = attrs.field(factory=Growth)

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The digests that are made."""
        return (_CHECKSUM, self.hash_algorithm) if self.checksum else (self.hash_algorithm,)


@attrs.frozen(kw_only=True)
class StoredImage:
    """An image that is in a volume.

    Attributes:
        volume: the image volume, read-only and marked.
        record: what was written on it.
        report: how the bytes went.
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
) -> StoredImage:
    """Store an image in a new volume ([store]).

    In the specification's order: create at the size that holds it, wait, attach, write, flush, detach, mark read-only,
    write the metadata.  A volume is called an image only by the last step.  What of the volume is behind the image
    reads as zeros: it will be cloned.

    Args:
        source: the data, in pieces of any length, and holes.
        image_id: the image that the volume will hold.
        image_owner: the project that owns the image.
        size_bytes: how many bytes there are; of a stream of unknown length None, and the volume grows under it.
        volumes: where the volume is made.
        attacher: connects it to this host.
        declared_format: what the data are said to be, to which they are held; when None they are not inspected, as
            where Glance has done it.
        digest: what the data must have, such as the multihash of an image that comes from Glance.
        volume_type: of the volume; Cinder's default when None.
        settings: how it is stored; as Glance does when None.
        observe: shown the data in their order, such as what verifies a signature; what it raises ends it.
        progress: told how far it is.
        limits: how fast it may go, and what ends it.

    Raises:
        UnsafeImage: a rule refuses them.
        InvalidSize: the size is negative.
        WrongLength: the data are not of that length.
        ContentMismatch: they have another digest.
        SourceFailed: the data could not be read to their end.
        RequestRefused: volumes of this type are encrypted.
        TransferCancelled: it was.
        ImagevolError: whatever else the ports raise; in each case the volume is gone, or named in `leftovers`.
    """
    chosen = settings or StoreSettings()
    examination = _Examination(declared_format, f"image {image_id}") if declared_format else None
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
            with attached(volume.id, mode=AccessMode.WRITE, volumes=volumes, attacher=attacher) as device:
                if writer.position and device.size_bytes <= writer.position:
                    raise DeviceFailed(f"volume {volume.id} has {size_gib} GiB now, and its device did not grow")
                ended = writer.write(device, zeros=_zeros(device, size_bytes, chosen.zero_proof))
            volumes.wait(volume.id)
            if not ended:
                size_gib = next_size_gib(writer.position, current_gib=size_gib, growth=chosen.growth)
                volumes.extend(volume.id, size_gib=size_gib)
        if examination:
            examination.end()
        report = writer.report()
        if digest and (actual := report.digests[digest.algorithm]) != digest:
            raise ContentMismatch(f"image {image_id}", expected=str(digest), actual=str(actual))
        return report

    return _stored(
        fill,
        size_bytes=size_bytes or 0,
        image_id=image_id,
        image_owner=image_owner,
        volumes=volumes,
        volume_type=volume_type,
        settings=chosen,
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
) -> StoredImage:
    """Store an image file of any format in a new volume, as a raw image ([store]).

    A raw one is streamed, and inspected and digested on the way.  Any other is inspected first, converted straight onto
    the volume by the command that `plan_copy` gives, and read back to be digested: no temporary file in between.

    Args:
        path: of the file.
        disk_format: what it is declared to be, in Glance's words.
        image_id: the image that the volume will hold.
        image_owner: the project that owns the image.
        volumes: where the volume is made.
        attacher: connects it to this host.
        converter: inspects and converts.
        digest: what the file must have; without one, nobody notices that a qcow2 has lost its end, whose data are
            zeros to qemu-img then.
        volume_type: of the volume; Cinder's default when None.
        settings: how it is stored; as Glance does when None.
        progress: told how far it is; of a conversion, how far the reading back is.
        limits: how fast a stream may go, and what ends it.

    Raises:
        UnsafeImage: a rule refuses it.
        ContentMismatch: the file has another digest.
        RequestRefused: a volume of this type is no file or block device here that qemu-img could write.
        ConversionFailed: qemu-img could not convert it.
        ImagevolError: what `store_image` raises; in each case the volume is gone, or named in `leftovers`.
    """
    chosen, limited = settings or StoreSettings(), limits or Limits()
    if disk_format in _STREAMED:
        with _opened(path) as file:
            return store_image(
                pieces(file),
                image_id=image_id,
                image_owner=image_owner,
                size_bytes=_length(file),
                volumes=volumes,
                attacher=attacher,
                declared_format=disk_format,
                digest=digest,
                volume_type=volume_type,
                settings=chosen,
                progress=progress,
                limits=limited,
            )
    what = f"image file {path}"
    started = time.monotonic()
    digests = Digests(chosen.algorithms)
    before = _identity(path, what)
    if digest:
        with _opened(path) as file:
            deque(verified(iter(lambda: file.read(PART_BYTES), b""), digest, what), maxlen=0)
    inspection = converter.examine(str(path), declared_format=disk_format, size_gib=None, what=what)
    size_bytes = inspection.virtual_size_bytes or 0
    source = CopySource(
        path=str(path.absolute()),
        format=inspection.formats[0],
        size_bytes=path.stat().st_size,
        virtual_size_bytes=size_bytes,
    )

    def fill(volume: Volume) -> TransferReport:
        with attached(volume.id, mode=AccessMode.WRITE, volumes=volumes, attacher=attacher) as device:
            if device.block_device is None:
                raise RequestRefused(f"volume {volume.id} is no file on this host: convert {path} to raw first")
            plan = plan_copy(source, target=_target(device, chosen.zero_proof))
            if plan.refused:
                raise RequestRefused(f"{what}: {'; '.join(verdict.text for verdict in plan.refused)}")
            converter.convert(plan, size_bytes=size_bytes, cancelled=limited.cancelled.is_set)
            if _identity(path, what) != before:
                raise SourceFailed(f"{what} was changed while it was converted")
            if plan.zeros is not None and plan.zero_from_bytes is not None:
                clear_rest(device, offset=plan.zero_from_bytes, zeros=plan.zeros, limits=limited)
            device.flush()
            done = 0
            for part in read_device(device, length=size_bytes, limits=limited):
                digests.update(part)
                done += len(part)
                if progress:
                    progress(TransferProgress(done_bytes=done, skipped_bytes=0, total_bytes=size_bytes))
        volumes.wait(volume.id)
        return TransferReport(
            read_bytes=source.size_bytes or 0,
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
    )


def _stored(
    fill: Callable[[Volume], TransferReport],
    *,
    size_bytes: int,
    image_id: str,
    image_owner: str | None,
    volumes: VolumeService,
    volume_type: str | None,
    settings: StoreSettings,
) -> StoredImage:
    """Make a volume, fill it, and call it an image."""
    with ExitStack() as undo:
        created = volumes.create(size_gib=gib_for(size_bytes), name=f"image-{image_id}", volume_type=volume_type)
        undo.enter_context(undone_on_failure(f"volume {created.id}", lambda: delete_volume(volumes, created.id)))
        refuse_encrypted(volumes.wait(created.id))
        report = fill(created)
        volumes.set_readonly(created.id, readonly=True)
        record = ImageVolumeMetadata(
            image_id=image_id,
            image_owner=image_owner,
            size_bytes=report.size_bytes,
            digest=report.digests[settings.hash_algorithm],
            checksum=report.digests[_CHECKSUM].value if settings.checksum else None,
        )
        volumes.set_metadata(created.id, record.to_volume())
        return StoredImage(volume=volumes.get(created.id), record=record, report=report)


class _Examination:
    """Inspects a stream while it passes, and ends it as soon as it is known that a rule refuses it."""

    def __init__(self, declared_format: str, what: str) -> None:
        self._inspector = ImageInspector()
        self._declared_format = declared_format
        self._what = what
        self._decided = False

    def __call__(self, data: memoryview) -> None:
        self._inspector.update(data)
        if self._inspector.decided and not self._decided:
            self._decided = True
            self.end()

    def end(self) -> None:
        """Judge what came.

        Raises:
            UnsafeImage: a rule refuses it.
        """
        check(self._inspector.inspection(), declared_format=self._declared_format, size_gib=None, what=self._what)


def _zeros(device: Device, size_bytes: int | None, proof: Callable[[str], ZeroProof] | None) -> ZeroHandling:
    """Ask the core what becomes of a stream's zeros on a volume that was just made."""
    length = device.size_bytes if size_bytes is None else size_bytes
    plan = plan_copy(CopySource(path="/dev/stdin", format="raw", size_bytes=length), target=_target(device, proof))
    if plan.zeros is None:
        raise DeviceFailed(f"device {device.path}: {'; '.join(verdict.text for verdict in plan.refused)}")
    return plan.zeros


def _target(device: Device, proof: Callable[[str], ZeroProof] | None) -> CopyTarget:
    promised = DriverGuarantee(path=device.path, driver=device.guarantee) if device.guarantee else None
    return CopyTarget(
        path=device.path,
        size_bytes=device.size_bytes,
        block_device=device.block_device,
        direct_io=device.direct_io,
        can_punch=device.can_clear,
        zero=proof(device.path) if proof else promised,
    )


def _length(file: BinaryIO) -> int:
    """How many bytes a file or a block device has."""
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    return length


def _identity(path: Path, what: str) -> tuple[int, ...]:
    """What is another as soon as somebody else's hand was at the file."""
    try:
        found = path.stat()
    except OSError as error:
        raise SourceFailed(f"{what} cannot be read: {error.strerror}") from error
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise SourceFailed(f"{path} cannot be read: {error.strerror}") from error
    with file:
        yield file
