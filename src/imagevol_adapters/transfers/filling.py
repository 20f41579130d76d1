"""An image onto a device that is open: as a stream, or converted straight out of a file."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from imagevol_adapters.closing import closing
from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.engine import (
    BLAKE3,
    Limits,
    StreamWriter,
    TransferReport,
    has_blake3,
    verify_device,
)
from imagevol_adapters.inspection.in_time import closed_in_time, opened_in_time
from imagevol_adapters.inspection.inspector import ImageInspector, check
from imagevol_adapters.opening import open_file
from imagevol_adapters.ports import Converter, Device
from imagevol_adapters.temporary_files import in_use
from imagevol_adapters.transfers.checked_file import CheckedFile, Proof, zeros_for
from imagevol_adapters.transfers.remote_image import NoRanges, Ranges, RemoteImage
from imagevol_core import (
    ContentMismatch,
    DeviceFailed,
    Digest,
    Image,
    ImagevolError,
    Inspection,
    SafetySettings,
    SourceFailed,
    ZeroHandling,
    needs_conversion,
)
from imagevol_core.copying import can_be_read_in_ranges

LOG = logging.getLogger(__name__)

__all__ = ["Examination", "fill_device", "opened"]


_IN_GLANCE = Path("/glance/images")  # where an image is no file: so its command calls it
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


def fill_device(
    data: Iterable[bytes] | Ranges,
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
        data: the image's, as Glance gives it; closed at the end, as a response must be.  Or what gives the data from an
            offset on: then a qcow2 is converted while it stays in Glance, and no file of its size is needed.
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
    kept = partial(_downloaded, directory=directory, suffix=suffix)
    limits = limits or Limits()
    if not needs_conversion(image.disk_format):
        stream = _from_the_start(data) if callable(data) else data
        with closing(None if callable(data) else data):
            return _stream(stream, device, image, proof, limits, safety)
    written = False
    if callable(data) and image.size_bytes and can_be_read_in_ranges(image.disk_format):
        converting = _Converting(device, image, converter, proof, limits, safety)
        try:
            converting.in_place(data, image.size_bytes)
        except NoRanges as error:
            LOG.info("%s; it is kept in %s while it is converted", error, directory)
            written = converting.begun
        else:
            return None
    stream = _from_the_start(data) if callable(data) else data
    with closing(None if callable(data) else data), kept(stream, image=image, limits=limits) as path:
        _Converting(device, image, converter, proof, limits, safety, written=written).file(path)
    return None


def _from_the_start(data: Ranges) -> Iterator[bytes]:
    """Ask for the data where the first of it is read: a service that hangs may do so before it answers."""
    stream = data(0)
    with closing(stream):
        yield from stream


@attrs.define
class _Converting:
    """An image that is converted onto a device.

    Attributes:
        begun: whether anything may have been written to the device.
    """

    device: Device
    image: Image
    converter: Converter
    proof: Proof | None
    limits: Limits
    safety: SafetySettings | None
    written: bool = False
    begun: bool = False

    @property
    def _how(self) -> dict[str, Any]:
        what = f"image {self.image.id}"
        return {
            "disk_format": str(self.image.disk_format),
            "converter": self.converter,
            "what": what,
            "safety": self.safety,
        }

    def file(self, path: Path) -> None:
        """Convert what was kept in a file."""
        with CheckedFile.check(path, digest=None, limits=self.limits, **self._how) as checked:
            self._onto_the_device(checked)

    def in_place(self, ranges: Ranges, size_bytes: int) -> None:
        """Convert what stays in Glance.

        Raises:
            NoRanges: it is better kept in a file.
        """
        opened = RemoteImage.open(
            ranges,
            size_bytes=size_bytes,
            digest=self.image.digest,
            what=f"image {self.image.id}",
            limits=self.limits,
        )
        with opened as remote:
            self._onto_the_device(CheckedFile.examined(remote, _IN_GLANCE / self.image.id, **self._how))

    def _onto_the_device(self, checked: CheckedFile) -> None:
        self.begun = True
        checked.convert_onto(
            self.device, converter=self.converter, proof=self.proof, limits=self.limits, written=self.written
        )


def _stream(
    data: Iterable[bytes],
    device: Device,
    image: Image,
    proof: Proof | None,
    limits: Limits,
    safety: SafetySettings | None,
) -> Digest | None:
    what = f"image {image.id}"
    examination = Examination(str(image.disk_format), what, safety)
    algorithms = [*([image.digest.algorithm] if image.digest else []), *([BLAKE3] if has_blake3() else [])]
    writer = StreamWriter(data, size_bytes=image.size_bytes, algorithms=algorithms, observe=examination, limits=limits)
    fits = image.size_bytes is None or image.size_bytes <= device.size_bytes
    if not (fits and writer.write(device, zeros=zeros_for(device, proof))):
        raise DeviceFailed(f"{what} is larger than {device.what}, which has {device.size_bytes} bytes")
    examination.end()
    report = _compared(writer, image)
    blake3 = report.digests.get(BLAKE3)
    if expected := blake3 or image.digest:
        verify_device(device, length=report.size_bytes, digest=expected, what=f"the copy of {what}", limits=limits)
    return blake3


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[BinaryIO]:
    """Open a file to be read.

    Raises:
        SourceFailed: it cannot be opened.
        SourceStalled: opening it takes too long.
    """
    opening = partial(open_file, path, block_devices=True)
    descriptor = opened_in_time(opening, what=f"image file {path}", stall_seconds=limits.stall_seconds)
    with closed_in_time(os.fdopen(descriptor, "rb")) as file:
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
            stack.enter_context(in_use(path))
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
