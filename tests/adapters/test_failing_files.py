"""Files on storage that fails, lies or hangs: one clear error in time, and nothing is left."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest

from imagevol_adapters.brick_opening import open_device
from imagevol_adapters.engine import Limits
from imagevol_adapters.qemu.converter import QemuConverter
from imagevol_adapters.transfers.checked_file import CheckedFile
from imagevol_adapters.transfers.filling import fill_device
from imagevol_core import (
    ContentMismatch,
    ConversionFailed,
    CopyPlan,
    DeviceFailed,
    DeviceStalled,
    Digest,
    Image,
    ImagevolError,
    SourceFailed,
    SourceStalled,
    TransferStalled,
)
from tests.adapters.nbd_served import MISSING, Served, failing, lying, slow

MIB = 1 << 20
STALL_SECONDS = 0.4
MOST_SECONDS = 10  # passed only when something hangs that must not
LIMITS = Limits(stall_seconds=STALL_SECONDS)
PATIENT = Limits(stall_seconds=MOST_SECONDS)
DISK = b"".join(random.Random(18).randbytes(MIB) for _ in range(2))
IMAGE_ID = "7d1f6f0e-3c0b-4e43-9b39-0f5b0b8f4d11"

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}: apt-get install {' '.join(MISSING)}"),
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # a killed one, of the test before
    pytest.mark.skipif(os.geteuid() != 0 or not Path("/dev/fuse").exists(), reason="needs root and FUSE"),
]


@attrs.frozen
class ThenConverter(QemuConverter):
    """Does something between the inspection and the conversion."""

    then: Callable[[], object] = attrs.field(default=lambda: None, kw_only=True)

    def convert(self, plan: CopyPlan, **options: Any) -> None:
        self.then()
        QemuConverter.convert(self, plan, **options)


@pytest.fixture(scope="module")
def qcow2(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    directory = tmp_path_factory.mktemp("made")
    raw, path = directory / "raw", directory / "qcow2"
    raw.write_bytes(DISK)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path], check=True)
    return path.read_bytes()


@pytest.fixture(autouse=True)
def whole_directory(tmp_path: Path) -> Iterator[None]:
    """No process and no file of ours is left."""
    yield
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    names = [Path(f"/proc/{child}/comm").read_text().strip() for child in children if Path(f"/proc/{child}").exists()]
    assert not {"qemu-img", "nbdkit", "qemu-storage-d"}.intersection(names)
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith("imagevol-")]


def made(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def converted(
    source: Path,
    target: Path,
    *,
    then: Callable[[], object] = lambda: None,
    digest: str = "",
    limits: Limits = LIMITS,
) -> None:
    """Convert an image onto a device, as `put` does."""
    converter = ThenConverter(stall_seconds=limits.stall_seconds, then=then)
    with (
        CheckedFile.check(
            source,
            disk_format="qcow2",
            converter=converter,
            digest=Digest("sha256", digest) if digest else None,
            what="image file disk.qcow2",
            limits=LIMITS,
        ) as checked,
        open_device(str(target), writable=True, name="7ad3", seconds=limits.stall_seconds) as device,
    ):
        checked.convert_onto(device, converter=converter, proof=None, limits=limits)


def in_time(work: Callable[[], object], error: type[ImagevolError], *, names: str) -> ImagevolError:
    """Give the error of something, which comes in time, in one line, and names one side."""
    started = time.monotonic()
    with pytest.raises(error) as caught:
        work()
    assert time.monotonic() - started < MOST_SECONDS
    assert "\n" not in str(caught.value)
    assert names in str(caught.value)
    return caught.value


def test_a_conversion_onto_what_does_not_fail_is_whole(tmp_path: Path, qcow2: bytes) -> None:
    source = made(tmp_path / "source", qcow2)
    with failing(made(tmp_path / "target", bytes(8 * MIB))) as target:
        converted(source, target.path, digest=hashlib.sha256(qcow2).hexdigest())
    assert (tmp_path / "target").read_bytes() == DISK + bytes(6 * MIB)


class TestSource:
    @pytest.fixture
    def target(self, tmp_path: Path) -> Path:
        return made(tmp_path / "target", bytes(8 * MIB))

    @pytest.mark.parametrize("digest", ["", "0" * 64])
    def test_one_that_fails_while_it_is_inspected_is_one_error(
        self, tmp_path: Path, qcow2: bytes, target: Path, digest: str
    ) -> None:
        with failing(made(tmp_path / "source", qcow2)) as source:
            source.break_()
            in_time(lambda: converted(source.path, target, digest=digest), SourceFailed, names="image file disk.qcow2")

    def test_one_that_fails_while_it_is_converted_is_one_error(
        self, tmp_path: Path, qcow2: bytes, target: Path
    ) -> None:
        with failing(made(tmp_path / "source", qcow2)) as source:
            error = in_time(
                lambda: converted(source.path, target, then=source.break_), ConversionFailed, names="disk.qcow2"
            )
            assert "volume 7ad3" in str(error)

    def test_one_with_flipped_bits_is_found_by_its_digest(self, tmp_path: Path, qcow2: bytes, target: Path) -> None:
        with lying(made(tmp_path / "source", qcow2)) as source:
            source.break_()
            digest = hashlib.sha256(qcow2).hexdigest()
            in_time(
                lambda: converted(source.path, target, digest=digest, limits=PATIENT),
                ContentMismatch,
                names="disk.qcow2",
            )

    @pytest.mark.parametrize("digest", ["", "0" * 64])
    def test_one_that_is_too_slow_stalls(self, tmp_path: Path, qcow2: bytes, target: Path, digest: str) -> None:
        with slow(made(tmp_path / "source", qcow2), seconds=1) as source:
            error = in_time(lambda: converted(source.path, target, digest=digest), SourceStalled, names="disk.qcow2")
            assert error.leftovers == ()

    def test_one_that_hangs_while_it_is_converted_stalls(self, tmp_path: Path, qcow2: bytes, target: Path) -> None:
        with failing(made(tmp_path / "source", qcow2)) as source:
            in_time(lambda: converted(source.path, target, then=source.hang), TransferStalled, names="disk.qcow2")
            source.go_on()


class TestTarget:
    def test_one_that_fails_is_one_error_that_names_the_volume(self, tmp_path: Path, qcow2: bytes) -> None:
        source = made(tmp_path / "source", qcow2)
        with failing(made(tmp_path / "target", bytes(8 * MIB))) as target:
            in_time(lambda: converted(source, target.path, then=target.break_), ConversionFailed, names="volume 7ad3")

    def test_one_that_hangs_stalls_and_names_the_volume(self, tmp_path: Path, qcow2: bytes) -> None:
        source = made(tmp_path / "source", qcow2)
        with failing(made(tmp_path / "target", bytes(8 * MIB))) as target:

            def work() -> None:
                try:
                    converted(source, target.path, then=target.hang)
                finally:
                    target.go_on()  # it is closed in time by who attached it

            in_time(work, TransferStalled, names="volume 7ad3")


def filled(path: Path, data: Iterator[bytes], *, digest: str, directory: Path, limits: Limits) -> None:
    """Fill a device with an image of Glance, as a template is made."""
    image = Image(id=IMAGE_ID, disk_format="raw", size_bytes=len(DISK), digest=Digest("sha256", digest))
    with open_device(str(path), writable=True, name="7ad3", seconds=limits.stall_seconds) as device:
        fill_device(
            data,
            device,
            image=image,
            converter=QemuConverter(stall_seconds=limits.stall_seconds),
            directory=directory,
            limits=limits,
        )


class TestStream:
    """A raw image."""

    digest = hashlib.sha256(DISK).hexdigest()

    @pytest.mark.parametrize(
        "serve, fault, error",
        [(failing, "break_", DeviceFailed), (failing, "hang", DeviceStalled), (lying, "break_", ContentMismatch)],
    )
    def test_a_target_that_fails_hangs_or_lies_is_found(
        self,
        tmp_path: Path,
        serve: Callable[[Path], AbstractContextManager[Served]],
        fault: str,
        error: type[ImagevolError],
    ) -> None:
        with ExitStack() as stack:
            target = stack.enter_context(serve(made(tmp_path / "target", bytes(8 * MIB))))

            def data() -> Iterator[bytes]:
                yield DISK[:MIB]
                getattr(target, fault)()
                yield DISK[MIB:]

            names = "the copy of image" if error is ContentMismatch else "volume 7ad3"
            limits = LIMITS if fault == "hang" else PATIENT

            def work() -> None:
                try:
                    filled(target.path, data(), digest=self.digest, directory=tmp_path, limits=limits)
                finally:
                    target.go_on()

            in_time(work, error, names=names)


class TestRanges:
    """A qcow2 that is converted while it stays where it is."""

    @pytest.mark.parametrize(
        "serve, fault, error",
        [(failing, "break_", SourceFailed), (failing, "hang", SourceStalled), (lying, "break_", ContentMismatch)],
    )
    def test_a_source_that_fails_hangs_or_lies_is_found(
        self,
        tmp_path: Path,
        qcow2: bytes,
        serve: Callable[[Path], AbstractContextManager[Served]],
        fault: str,
        error: type[ImagevolError],
    ) -> None:
        target = made(tmp_path / "target", bytes(8 * MIB))
        with ExitStack() as stack:
            source = stack.enter_context(serve(made(tmp_path / "source", qcow2)))
            file = stack.enter_context(source.path.open("rb", buffering=0))
            stack.callback(source.go_on)

            brought_about = list[str]()

            def ranges(offset: int) -> Iterator[bytes]:
                while data := os.pread(file.fileno(), 65536, offset):
                    offset += len(data)
                    yield data
                    if offset > MIB and not brought_about:
                        brought_about.append(fault)
                        getattr(source, fault)()

            def work() -> None:
                image = Image(
                    id=IMAGE_ID,
                    disk_format="qcow2",
                    size_bytes=len(qcow2),
                    digest=Digest("sha256", hashlib.sha256(qcow2).hexdigest()),
                )
                with open_device(str(target), writable=True, name="7ad3", seconds=MOST_SECONDS) as device:
                    fill_device(
                        ranges,
                        device,
                        image=image,
                        converter=QemuConverter(stall_seconds=5),
                        directory=tmp_path,
                        limits=LIMITS if fault == "hang" else PATIENT,
                    )

            in_time(work, error, names=IMAGE_ID)
