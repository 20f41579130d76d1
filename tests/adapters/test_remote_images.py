"""An image that is converted while it stays in Glance: the bytes are right, and no file of its size is made."""

from __future__ import annotations

import hashlib
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest

from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.disk_files import disk_file, disk_of
from imagevol_adapters.engine import Limits
from imagevol_adapters.qemu.converter import QemuConverter
from imagevol_adapters.transfers import remote_image
from imagevol_adapters.transfers.filling import fill_device
from imagevol_adapters.transfers.remote_image import NoRanges, RemoteImage
from imagevol_core import (
    ContentMismatch,
    ConversionFailed,
    Digest,
    Image,
    SourceFailed,
    SourceStalled,
    TransferCancelled,
    UnsafeImage,
)

MIB = 1 << 20


@attrs.define
class Served:
    """Data that is given from an offset on, and what was asked for."""

    data: bytes
    asked: list[int] = attrs.field(factory=list)
    given: int = 0
    open: int = 0

    def __call__(self, offset: int) -> Iterator[bytes]:
        self.asked.append(offset)
        return self._given(offset)

    def _given(self, offset: int) -> Iterator[bytes]:
        self.open += 1
        try:
            for at in range(offset, len(self.data), 65536):
                self.given += len(self.data[at : at + 65536])
                yield self.data[at : at + 65536]
        finally:
            self.open -= 1

    @property
    def digest(self) -> Digest:
        return Digest("sha512", hashlib.sha512(self.data).hexdigest())


def opened(
    served: Served, *, digest: Digest | None = None, limits: Limits | None = None, more_bytes: int = 0
) -> AbstractContextManager[RemoteImage]:
    size_bytes = len(served.data) + more_bytes
    return RemoteImage.open(
        served, size_bytes=size_bytes, digest=digest or served.digest, what="image 7", limits=limits
    )


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_image, "_CACHED_BLOCKS", 4)
    monkeypatch.setattr(remote_image, "_NEAR_BLOCKS", 2)


@pytest.fixture
def served() -> Served:
    return Served(random.Random(7).randbytes(50 * MIB + 4711))


@pytest.fixture(scope="module")
def disk() -> bytes:
    """A disk with data at its beginning, in its middle and at its end."""
    rng, disk = random.Random(8), bytearray(48 * MIB)
    for at in (0, 20 * MIB + 512, 48 * MIB - 70000):
        disk[at : at + 70000] = rng.randbytes(70000)
    disk[25 * MIB : 37 * MIB] = rng.randbytes(12 * MIB)
    return bytes(disk)


@pytest.fixture(scope="module")
def qcow2(disk: bytes, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    directory = tmp_path_factory.mktemp("images")
    (directory / "raw").write_bytes(disk)
    subprocess.run(["qemu-img", "convert", "-q", "-O", "qcow2", "raw", "qcow2"], cwd=directory, check=True)
    return (directory / "qcow2").read_bytes()


def image_of(served: Served, *, digest: Digest | None = None, disk_format: str = "qcow2") -> Image:
    return Image(
        id="7",
        disk_format=disk_format,
        container_format="bare",
        size_bytes=len(served.data),
        digest=digest or served.digest,
        updated_at=datetime.now(UTC),
    )


def filled(served: Served, directory: Path, **facts: object) -> bytes:
    """Fill a device that holds something else, and give what is on it then."""
    target = directory / "target"
    target.write_bytes(b"\xff" * 49 * MIB)
    directory = directory / "conversion"
    directory.mkdir()
    with PathDevice.open(target, writable=True) as device:
        fill_device(
            served,
            device,
            image=image_of(served, **facts),  # type: ignore[arg-type]
            converter=QemuConverter(),
            directory=directory,
        )
    return target.read_bytes()


def test_a_qcow2_becomes_a_disk_without_a_file_of_its_own(
    qcow2: bytes, disk: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagevol_adapters.transfers.filling._downloaded", lambda *_, **__: pytest.fail("a file"))
    served = Served(qcow2)
    assert filled(served, tmp_path) == disk.ljust(49 * MIB, b"\0")
    assert served.open == 0
    assert served.given < 2 * len(qcow2) + 10 * MIB


def test_other_data_than_the_digest_was_made_of_is_noticed(qcow2: bytes, tmp_path: Path) -> None:
    changed = bytearray(qcow2)
    changed[len(qcow2) // 2] ^= 1
    with pytest.raises(ContentMismatch, match="image 7"):
        filled(Served(bytes(changed)), tmp_path, digest=Served(qcow2).digest)


def test_a_range_that_gives_other_bytes_than_the_whole_is_refused(served: Served) -> None:
    with opened(served) as image:
        image.read_through()
        image.read_at(45 * MIB, 10)
        served.data = bytes(len(served.data))
        with pytest.raises(ContentMismatch, match="block 1 of image 7"):
            image.read_at(MIB, 10)


def test_bytes_that_were_read_ahead_are_compared_when_the_whole_passes(served: Served) -> None:
    right = served.data
    served.data = right[: 40 * MIB] + bytes(MIB) + right[41 * MIB :]
    with opened(served, digest=Served(right).digest) as image:
        assert image.read_at(40 * MIB, 4) == bytes(4)
        served.data = right
        with pytest.raises(ContentMismatch, match="block 40"):
            image.refuse_changed()


def test_reads_in_any_order_give_the_bytes_of_the_image(served: Served) -> None:
    rng = random.Random(9)
    with opened(served) as image:
        for step in range(40):
            if step == 20:
                image.read_through()
            at, length = rng.randrange(len(served.data)), rng.randrange(1, 3 * MIB)
            assert image.read_at(at, length) == served.data[at : at + length]
        assert image.read_at(len(served.data), 1) == b""
        image.refuse_changed()
    assert served.open == 0


def test_reads_in_order_need_the_whole_only_once(served: Served) -> None:
    with opened(served) as image:
        for at in range(0, len(served.data), 2 * MIB):
            image.read_at(at, 2 * MIB)
        image.refuse_changed()
    assert served.asked == [0]
    assert served.given == len(served.data)


@pytest.mark.parametrize("wrong, reason", [(-1, "has more than"), (1, "ends at byte")])
def test_an_image_of_another_length_is_refused(served: Served, wrong: int, reason: str) -> None:
    with pytest.raises(SourceFailed, match=reason), opened(served, more_bytes=wrong) as image:
        image.refuse_changed()
    assert served.open == 0


def test_an_image_that_is_read_here_and_there_is_kept_in_a_file_instead(
    qcow2: bytes, disk: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_image, "_LEAST_RANGES", 0)
    monkeypatch.setattr(remote_image, "_BLOCKS_A_RANGE", 1 << 30)
    served = Served(qcow2)
    assert filled(served, tmp_path) == disk.ljust(49 * MIB, b"\0")
    assert list((tmp_path / "conversion").iterdir()) == []


@pytest.mark.parametrize("after_bytes", [0, 5 * MIB])
def test_a_glance_that_gives_no_ranges_gives_the_whole(
    qcow2: bytes, disk: bytes, tmp_path: Path, after_bytes: int
) -> None:
    served = Served(qcow2)

    class WithoutRanges(Served):
        def __call__(self, offset: int) -> Iterator[bytes]:
            if offset and self.given >= after_bytes:
                raise NoRanges("Glance gives no ranges")
            return super().__call__(offset)

    served = WithoutRanges(qcow2)
    assert filled(served, tmp_path) == disk.ljust(49 * MIB, b"\0")


def test_what_a_rule_refuses_is_not_written(qcow2: bytes, tmp_path: Path) -> None:
    cut = Served(qcow2[: len(qcow2) // 2])
    with pytest.raises(UnsafeImage, match="not-truncated"):
        filled(cut, tmp_path)
    assert (tmp_path / "target").read_bytes() == b"\xff" * 49 * MIB
    assert cut.open == 0


def test_a_connection_that_breaks_is_the_error_that_is_raised(qcow2: bytes, tmp_path: Path) -> None:
    class Breaking(Served):
        def _given(self, offset: int) -> Iterator[bytes]:
            for chunk in super()._given(offset):
                if self.given > 10 * MIB:
                    raise SourceFailed("the connection to Glance broke")
                yield chunk

    with pytest.raises(SourceFailed, match="connection to Glance broke") as failure:
        filled(Breaking(qcow2), tmp_path)
    assert isinstance(failure.value.__cause__, ConversionFailed)


def test_a_transfer_that_is_cancelled_reads_no_further(served: Served) -> None:
    limits = Limits()
    with opened(served, limits=limits) as image:
        image.read_at(0, 10)
        limits.cancelled.set()
        with pytest.raises(TransferCancelled):
            image.read_at(5 * MIB, 10)
    assert served.open == 0


def test_only_what_is_no_file_is_asked_for_in_ranges(served: Served, tmp_path: Path) -> None:
    with opened(served) as image:
        assert disk_of(disk_file(image)) is image
    (tmp_path / "file").touch()
    with (tmp_path / "file").open("rb") as file:
        assert disk_of(file) is None
    assert disk_of(None) is None


@attrs.define
class Hanging(Served):
    """Hangs before it gives anything from an offset on, until it is let go."""

    hangs_from: int = 0
    reached: threading.Event = attrs.field(factory=threading.Event)
    go: threading.Event = attrs.field(factory=threading.Event)

    def _given(self, offset: int) -> Iterator[bytes]:
        for chunk in Served._given(self, offset):
            if offset >= self.hangs_from:
                self.reached.set()
                self.go.wait(30)
            yield chunk


@contextmanager
def hanging(data: bytes, hangs_from: int = 0) -> Iterator[Hanging]:
    """Let it go at the end: then its own thread closes what it reads."""
    before = set(threading.enumerate())
    served = Hanging(data, hangs_from=hangs_from)
    try:
        yield served
    finally:
        served.go.set()
        for thread in set(threading.enumerate()) - before:
            thread.join(10)
    assert served.open == 0


SOON = Limits(stall_seconds=0.1)
DATA = bytes(8 * MIB)


@pytest.mark.parametrize("place", [0, 5 * MIB], ids=["the inspection", "a range aside"])
def test_a_glance_that_stops_is_named_at_the_deadline_and_closed_by_its_own_thread(place: int) -> None:
    with hanging(DATA, place) as served, opened(served, limits=SOON) as image:
        with pytest.raises(SourceStalled, match="image 7"):
            image.read_at(place, 10)
        with pytest.raises(SourceStalled, match="image 7"):  # it is not waited for again
            image.read_at(place, 10)


def test_pieces_without_a_byte_are_no_progress() -> None:
    closed = threading.Event()

    def empty(_: int) -> Iterator[bytes]:
        until = time.monotonic() + 5
        try:
            while time.monotonic() < until:
                time.sleep(0.001)
                yield b""
        finally:
            closed.set()

    about = RemoteImage.open(empty, size_bytes=9, digest=None, what="image 7", limits=SOON)
    with pytest.raises(SourceStalled), about as image:
        image.read_at(0, 9)
    assert closed.wait(2)


@pytest.mark.parametrize("place", [0, 5 * MIB], ids=["the inspection", "a range aside"])
def test_a_transfer_is_cancelled_while_glance_gives_nothing(place: int) -> None:
    limits = Limits(stall_seconds=30)
    with hanging(DATA, place) as served, opened(served, limits=limits) as image:

        def cancel() -> None:
            served.reached.wait()
            limits.cancelled.set()

        threading.Thread(target=cancel).start()
        with pytest.raises(TransferCancelled):
            image.read_at(place, 10)
        assert not served.go.is_set()


def test_an_interrupt_while_a_thread_waits_for_a_range_is_what_is_raised() -> None:
    failed: list[BaseException] = []

    def read(image: RemoteImage) -> None:
        try:
            image.read_at(5 * MIB, 10)
        except BaseException as error:  # noqa: BLE001 - looked at below
            failed.append(error)

    def interrupted(served: Hanging) -> None:
        with opened(served) as image:
            threading.Thread(target=read, args=(image,)).start()
            served.reached.wait()
            raise KeyboardInterrupt

    with hanging(DATA, MIB) as served:
        with pytest.raises(KeyboardInterrupt) as caught:
            interrupted(served)
        assert getattr(caught.value, "__notes__", []) == []
    assert [type(error) for error in failed] == [TransferCancelled]


@pytest.mark.parametrize("disk_format", ["raw", "qcow2", "vmdk"])
@pytest.mark.parametrize("answers", [True, False], ids=["after its answer", "before its answer"])
def test_a_glance_that_gives_nothing_ends_the_filling_of_a_device(
    qcow2: bytes, tmp_path: Path, disk_format: str, answers: bool
) -> None:
    target = tmp_path / "target"
    target.write_bytes(bytes(49 * MIB))
    with hanging(qcow2) as served, PathDevice.open(target, writable=True) as device:

        def ranges(offset: int) -> Iterator[bytes]:
            if not answers:
                served.go.wait(30)
            return served(offset)

        with pytest.raises(SourceStalled) as caught:
            fill_device(
                ranges,
                device,
                image=image_of(served, disk_format=disk_format),
                converter=QemuConverter(),
                directory=tmp_path,
                limits=SOON,
            )
        assert getattr(caught.value, "__notes__", []) == []
        assert list(tmp_path.iterdir()) == [target]


def test_a_glance_that_stops_while_qemu_img_waits_ends_the_conversion(qcow2: bytes, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(bytes(49 * MIB))

    with hanging(qcow2) as served, PathDevice.open(target, writable=True) as device:

        def ranges(offset: int) -> Iterator[bytes]:
            given = 0
            for chunk in Served(served.data)(offset):
                if given >= 6 * MIB:
                    served.go.wait(30)
                given += len(chunk)
                yield chunk

        with pytest.raises(SourceStalled):
            fill_device(
                ranges,
                device,
                image=image_of(served),
                converter=QemuConverter(),
                directory=tmp_path,
                limits=Limits(stall_seconds=0.5),
            )
