"""An image onto a device that is open: as a stream, or converted straight out of a file."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import attrs

from imagevol_adapters.blockmaps.contents import MAPPED, contents
from imagevol_adapters.closing import closing
from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.engine import (
    BLAKE3,
    PART_BYTES,
    Limits,
    StreamWriter,
    TransferReport,
    clear_device,
    clear_rest,
    has_blake3,
    verified,
    verify_device,
    write_stream,
)
from imagevol_adapters.engine.threads import in_thread
from imagevol_adapters.inspection.held_file import HeldFile
from imagevol_adapters.inspection.inspector import ImageInspector, check
from imagevol_adapters.opening import open_file
from imagevol_adapters.ports import Converter, Device
from imagevol_core import (
    Cleared,
    ContentMismatch,
    CopyMethod,
    CopyPlan,
    CopySource,
    CopyTarget,
    DeviceFailed,
    Digest,
    DriverGuarantee,
    Image,
    ImagevolError,
    Inspection,
    RequestRefused,
    SafetySettings,
    SourceFailed,
    ZeroHandling,
    ZeroProof,
    decide_zeros,
    needs_conversion,
    plan_copy,
)

__all__ = ["CheckedFile", "Examination", "Proof", "fill_device", "opened", "zeros_for"]

Proof = Callable[[str], ZeroProof]
"""Makes of a device's path the proof that it reads as zeros."""

_GROWTH_BYTES = 1 << 28  # of a file under a stream of unknown length; what is not written takes no room


class Examination:
    """Inspects a stream while it passes, and ends it as soon as it is known that a rule refuses it."""

    def __init__(self, declared_format: str, what: str, settings: SafetySettings | None = None) -> None:
        """Take the declared format, the name of the data in an error, and what the operator allows."""
        self._inspector = ImageInspector()
        self._declared_format = declared_format
        self._what = what
        self._settings = settings
        self._decided = False

    def __call__(self, data: memoryview) -> None:
        """Look at the next piece.

        Raises:
            UnsafeImage: a rule refuses what has come so far.
        """
        self._inspector.update(data)
        if self._inspector.decided and not self._decided:
            self._decided = True
            self._check(self._inspector.inspection(ended=False))

    def end(self) -> None:
        """Judge what came.

        Raises:
            UnsafeImage: a rule refuses it.
        """
        self._check(self._inspector.inspection())

    def _check(self, inspection: Inspection) -> None:
        check(
            inspection,
            declared_format=self._declared_format,
            size_gib=None,
            what=self._what,
            settings=self._settings,
        )


@attrs.frozen(kw_only=True)
class CheckedFile:
    """An image file that was inspected, and may be converted.

    Attributes:
        path: of the file.
        what: names it in an error.
        source: what is known of it.
        size_bytes: of the disk in it.
    """

    path: Path
    what: str
    source: CopySource
    size_bytes: int
    _held: HeldFile

    @classmethod
    @contextmanager
    def check(
        cls,
        path: Path,
        *,
        disk_format: str,
        converter: Converter,
        digest: Digest | None,
        what: str,
        safety: SafetySettings | None = None,
    ) -> Iterator[CheckedFile]:
        """Open a file while the context lasts, and look at it before anything is made of it.

        Args:
            path: of the file.
            disk_format: what it is declared to be.
            converter: inspects it.
            digest: what it must have; when None nothing is compared.
            what: names it in an error.
            safety: what the operator allows.

        Raises:
            UnsafeImage: a rule refuses it.
            ContentMismatch: it has another digest.
            SourceFailed: it cannot be read, or another process has it open for writing.
        """
        with HeldFile.open(path, what=what) as held:
            file = held.file
            if digest:
                data = verified(iter(lambda: file.read(PART_BYTES), b""), digest, what, given=True)
                in_thread(lambda: deque(data, maxlen=0))
            inspection = converter.examine(
                str(path), declared_format=disk_format, size_gib=None, what=what, safety=safety, file=file
            )
            size_bytes = inspection.virtual_size_bytes or 0
            source = CopySource(
                path=str(path.absolute()),
                format=inspection.formats[0],
                size_bytes=held.size_bytes,
                virtual_size_bytes=size_bytes,
                block_map=inspection.formats[0] in MAPPED,
            )
            yield cls(path=path, what=what, source=source, size_bytes=size_bytes, held=held)

    def convert_onto(self, device: Device, *, converter: Converter, proof: Proof | None, limits: Limits) -> None:
        """Convert it onto a device, let the rest read as zeros, and flush it.

        Raises:
            RequestRefused: the device is no file here, or the plan is refused.
            ConversionFailed: qemu-img could not convert it.
            SourceFailed: the file was changed meanwhile.
            DeviceFailed: the rest could not be cleared.
        """
        target = _target(device, proof)
        plan = plan_copy(self.source, target=target)
        if plan.refused:
            raise RequestRefused(f"{self.what}: {'; '.join(verdict.text for verdict in plan.refused)}")
        if plan.method is CopyMethod.BLOCKS and plan.zeros is not None:
            self._copy_blocks(device, plan.zeros, limits)
        else:
            self._run(plan, device, target, converter, limits)

    def _copy_blocks(self, device: Device, zeros: ZeroHandling, limits: Limits) -> None:
        """Copy the blocks that the file's own table names, and make the rest of the device read as zeros."""
        data = contents(self._held.file, disk_bytes=self.size_bytes)
        write_stream(data, device, size_bytes=self.size_bytes, zeros=zeros, algorithms=(), limits=limits)
        self._held.refuse_changed()

    def _run(self, plan: CopyPlan, device: Device, target: CopyTarget, converter: Converter, limits: Limits) -> None:
        """Run the command of a plan, and make the rest of the device read as zeros."""
        if device.block_device is None:
            raise RequestRefused(f"{device.path} is no file on this host: convert {self.path} to raw first")
        if plan.clear_first and clear_device(device, limits=limits):
            zero = Cleared(path=device.path, size_bytes=device.size_bytes)
            plan = plan_copy(self.source, target=replace(target, zero=zero))
        converter.convert(plan, size_bytes=self.size_bytes, cancelled=limits.cancelled.is_set, file=self._held.file)
        self._held.refuse_changed()
        if plan.zeros is not None and plan.zero_from_bytes is not None:
            clear_rest(device, offset=plan.zero_from_bytes, zeros=plan.zeros, limits=limits)
        in_thread(device.flush)


def fill_device(
    data: Iterable[bytes],
    device: Device,
    *,
    image: Image,
    converter: Converter,
    directory: Path,
    suffix: str = "",
    proof: Proof | None = None,
    limits: Limits | None = None,
    safety: SafetySettings | None = None,
) -> Digest | None:
    """Write an image onto a device, as a disk, and make sure that it is there.

    The data is held to the image's format, length and multihash, wherever these are known.  What was streamed is read
    back and compared again, since a template is cloned many times: with a BLAKE3 of the stream if the package is
    installed, else with the multihash.  Of what was converted no digest is known.

    Args:
        data: the image's, as Glance gives them; closed at the end, as a response must be.
        device: as large as the disk at the least.
        image: what is known of it.
        converter: inspects and converts what is no plain disk.
        directory: where such a one is kept meanwhile.
        suffix: the end of its name there, by which a service knows its own files when it starts again.
        proof: what proves that the device reads as zeros.
        limits: how fast it may go, and what ends it.
        safety: what the operator allows.

    Returns:
        The BLAKE3 of what was streamed and read back; None if there is none.

    Raises:
        UnsafeImage: a rule refuses it.
        ContentMismatch: the data is not the image's, or the device did not keep it.
        WrongLength: there are fewer data or more.
        ImagevolError: whatever else is in the way; what the device holds then is nothing to be used.
    """
    with closing(data):
        kept = partial(_downloaded, directory=directory, suffix=suffix)
        return _fill(data, device, image, converter, kept, proof, limits or Limits(), safety)


def _fill(
    data: Iterable[bytes],
    device: Device,
    image: Image,
    converter: Converter,
    kept: Callable[..., AbstractContextManager[Path]],
    proof: Proof | None,
    limits: Limits,
    safety: SafetySettings | None,
) -> Digest | None:
    what = f"image {image.id}"
    if needs_conversion(image.disk_format):
        with kept(data, image=image, limits=limits) as path:
            checked = CheckedFile.check(
                path,
                disk_format=str(image.disk_format),
                converter=converter,
                digest=None,
                what=what,
                safety=safety,
            )
            with checked as file:
                file.convert_onto(device, converter=converter, proof=proof, limits=limits)
        return None
    examination = Examination(str(image.disk_format), what, safety)
    algorithms = [*([image.digest.algorithm] if image.digest else []), *([BLAKE3] if has_blake3() else [])]
    writer = StreamWriter(data, size_bytes=image.size_bytes, algorithms=algorithms, observe=examination, limits=limits)
    fits = image.size_bytes is None or image.size_bytes <= device.size_bytes
    if not (fits and writer.write(device, zeros=zeros_for(device, proof))):
        raise DeviceFailed(f"{what} is larger than the device, which has {device.size_bytes} bytes")
    examination.end()
    report = _compared(writer, image)
    blake3 = report.digests.get(BLAKE3)
    if expected := blake3 or image.digest:
        verify_device(device, length=report.size_bytes, digest=expected, what=f"the copy of {what}", limits=limits)
    return blake3


def zeros_for(device: Device, proof: Proof | None) -> ZeroHandling:
    """Ask the core what becomes of a stream's zeros on a device."""
    return decide_zeros(_target(device, proof)).zeros


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file to be read.

    Raises:
        SourceFailed: it cannot be opened.
    """
    try:
        file = os.fdopen(open_file(path, block_devices=True), "rb")
    except OSError as error:
        raise SourceFailed(f"{path} cannot be read: {error.strerror}") from error
    with file:
        yield file


@contextmanager
def _downloaded(data: Iterable[bytes], *, image: Image, limits: Limits, directory: Path, suffix: str) -> Iterator[Path]:
    """Keep an image in a file of its own while the context lasts, if it has its length and its digest."""
    algorithms = [image.digest.algorithm] if image.digest else []
    with ExitStack() as stack:
        writer = stack.enter_context(
            StreamWriter(data, size_bytes=image.size_bytes, algorithms=algorithms, limits=limits)
        )
        try:
            descriptor, name = tempfile.mkstemp(prefix="imagevol-", suffix=suffix, dir=directory)
            path = Path(name)
            stack.callback(path.unlink, missing_ok=True)
            os.close(descriptor)  # it is not converted while anything has it open for writing
            with _Passing.open(path, writable=True, direct=False) as device:
                size_bytes, ended = image.size_bytes or 0, False
                while not ended:
                    os.truncate(path, size_bytes)
                    ended = writer.write(device, zeros=ZeroHandling.SKIP)  # what is not written is a hole
                    size_bytes = 2 * size_bytes + _GROWTH_BYTES
            os.truncate(path, writer.position)
        except DeviceFailed as error:
            raise SourceFailed(f"image {image.id} cannot be kept in {directory}: {error}") from error
        except ImagevolError:
            raise  # some are the operating system's errors too
        except OSError as error:
            raise SourceFailed(f"image {image.id} cannot be kept in {directory}: {error.strerror}") from error
        _compared(writer, image)
        yield path


class _Passing(PathDevice):
    """A file that is gone before anything could lose it."""

    def flush(self) -> None:
        """Leave it to the page cache, from which it is read again."""


def _compared(writer: StreamWriter, image: Image) -> TransferReport:
    """Give the report of a stream that has the digest of its image.

    Raises:
        ContentMismatch: it has another one.
    """
    report = writer.report()
    if image.digest and (actual := report.digests[image.digest.algorithm]) != image.digest:
        raise ContentMismatch(f"image {image.id}", expected=str(image.digest), actual=str(actual))
    return report


def _target(device: Device, proof: Proof | None) -> CopyTarget:
    promised = DriverGuarantee(path=device.path, driver=device.guarantee) if device.guarantee else None
    return CopyTarget(
        path=device.path,
        size_bytes=device.size_bytes,
        block_device=device.block_device,
        direct_io=device.direct_io,
        can_punch=device.can_clear,
        zero=proof(device.path) if proof else promised,
    )
