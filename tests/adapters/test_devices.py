"""Devices on this host: files, a loop device where there can be one, and a handle as Ceph's."""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from imagevol_adapters.brick_opening import open_device
from imagevol_adapters.devices import device as devices
from imagevol_adapters.devices.calls import Calls
from imagevol_adapters.devices.ceph import RbdDevice
from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.engine import Hole, read_device, write_stream
from imagevol_core import DeviceFailed, DeviceStalled, ZeroHandling
from tests.adapters.rbd_like import RbdError, RbdLike
from tests.adapters.reading import read

KIB, MIB = 1 << 10, 1 << 20
SIZE_BYTES = 1 << 20
OLD = b"\xff" * SIZE_BYTES


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "volume"
    path.write_bytes(OLD)
    return path


@pytest.fixture
def loop(file: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("not root: a loop device needs it")
    if not Path("/dev/loop-control").exists():
        pytest.skip("no loop devices on this machine")
    command = ["losetup", "--find", "--show", str(file)]
    path = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield Path(path)
    finally:
        subprocess.run(["losetup", "--detach", path], check=True)


@pytest.fixture(params=["file", "loop"])
def path(request: pytest.FixtureRequest) -> Path:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Path)
    return found


def aligned(data: bytes) -> memoryview:
    """Bytes where direct I/O can take them from."""
    memory = memoryview(mmap.mmap(-1, len(data)))
    memory[:] = data
    return memory


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def contents(path: Path) -> bytes:
    with PathDevice.open(path, writable=False, direct=False) as device:
        return b"".join(read_device(device, length=device.size_bytes))


def test_what_is_called_when_no_call_is_under_way_may_fail_as_it_likes() -> None:
    with pytest.raises(IndexError):
        Calls().when_none([].pop)


class TestPaths:
    @pytest.mark.parametrize("direct", [False, True])
    @pytest.mark.parametrize("offset, length", [(0, 8192), (4096, 4096), (4096, 5000), (512, 4096), (3, 7), (0, 1)])
    def test_whatever_is_written_is_there_and_nothing_else_has_changed(
        self, path: Path, direct: bool, offset: int, length: int
    ) -> None:
        data = b"new." * (length // 4) + b"new."[: length % 4]
        with PathDevice.open(path, writable=True, direct=direct) as device:
            at, rest = offset, aligned(data)
            while rest:
                written = device.write(at, rest)
                at, rest = at + written, rest[written:]
            device.flush()
            assert b"".join(read_device(device, offset=offset, length=length)) == data
        assert contents(path) == OLD[:offset] + data + OLD[offset + length :]

    @pytest.mark.parametrize("memory", [aligned(b"x" * 8192), memoryview(b"x" * 8193)[1:]], ids=["aligned", "not"])
    def test_memory_that_the_disk_cannot_take_from_is_no_obstacle(self, path: Path, memory: memoryview) -> None:
        with PathDevice.open(path, writable=True) as device:
            at, rest = 0, memory
            while rest:
                written = device.write(at, rest)
                at, rest = at + written, rest[written:]
        assert contents(path) == b"x" * 8192 + OLD[8192:]

    def test_a_device_ends_where_its_volume_ends(self, path: Path) -> None:
        with PathDevice.open(path, writable=False) as device:
            assert device.size_bytes == SIZE_BYTES
            assert read(device, SIZE_BYTES - 100, 4096) == OLD[:100]
            assert read(device, SIZE_BYTES, 1) == b""

    def test_beyond_the_end_of_a_block_device_nothing_is_written(self, loop: Path) -> None:
        with (
            PathDevice.open(loop, writable=True) as device,
            pytest.raises(DeviceFailed, match=f"byte {SIZE_BYTES} failed: .*{os.strerror(errno.ENOSPC)}"),
        ):
            device.write(SIZE_BYTES, memoryview(b"y"))

    def test_a_read_that_has_begun_ends_well_if_another_thread_closes_the_device(self, path: Path) -> None:
        class Closing(int):
            """An offset: the device is closed when it is looked at, as another thread may do."""

            def __mod__(self, other: int) -> int:
                device.close()
                return super().__mod__(other)

        device, buffer = PathDevice.open(path, writable=False), aligned(bytes(4096))
        assert device.readinto(Closing(4096), buffer) == 4096
        assert (buffer == OLD[:4096], device.left_open) == (True, False)

    def test_a_closed_device_leaves_no_open_file(self, path: Path) -> None:
        before = open_files()
        with PathDevice.open(path, writable=True):
            pass
        assert open_files() == before

    def test_a_close_that_fails_is_an_error_and_leaves_nothing_open(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before, close = open_files(), os.close

        def failing(fd: int) -> None:
            close(fd)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        device = PathDevice.open(file, writable=True)
        with monkeypatch.context() as patched:
            patched.setattr(os, "close", failing)
            with pytest.raises(DeviceFailed, match="closing failed"), device:
                pass
        assert (open_files(), device.left_open) == (before, False)

    def test_a_close_that_fails_does_not_hide_the_error_before_it(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        close = os.close

        def failing(fd: int) -> None:
            close(fd)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        device = PathDevice.open(file, writable=True)
        with monkeypatch.context() as patched:
            patched.setattr(os, "close", failing)
            with pytest.raises(KeyboardInterrupt), device:
                raise KeyboardInterrupt

    def test_a_failing_device_is_an_error_at_every_call(self, file: Path) -> None:
        with PathDevice.open(file, writable=True) as device:
            pass
        for call, text in (
            (lambda: read(device, 3, 1), "reading at byte 3 failed"),
            (lambda: device.write(3, memoryview(b"x")), "writing at byte 3 failed"),
            (device.flush, "flushing failed"),
            (lambda: device.size_bytes, "asking for the size failed"),
            (lambda: list(device.extents(0, 9)), "asking for the extents failed"),
        ):
            with pytest.raises(DeviceFailed, match=text) as caught:
                call()
            assert isinstance(caught.value.__cause__, OSError)

    def test_zeros_that_are_written_are_no_reason_to_go_through_the_page_cache(self, loop: Path) -> None:
        with PathDevice.open(loop, writable=True) as device:
            assert device.direct_io
            source = [b"x" * 64 * KIB, bytes(128 * KIB), b"x" * 64 * KIB]
            write_stream(source, device, size_bytes=256 * KIB, zeros=ZeroHandling.WRITE)
            write_stream([*source, Hole(256 * KIB)], device, size_bytes=512 * KIB, zeros=ZeroHandling.WRITE)
            assert device.direct_io

    def test_a_full_device_is_an_error(self) -> None:
        with (
            PathDevice.open(Path("/dev/full"), writable=True) as device,
            pytest.raises(DeviceFailed, match=os.strerror(errno.ENOSPC)),
        ):
            device.write(0, memoryview(b"x"))

    def test_the_data_of_a_transfer_does_not_stay_in_the_page_cache(self, file: Path) -> None:
        with PathDevice.open(file, writable=True) as device:
            device.flush()
            write_stream([b"x" * SIZE_BYTES], device, size_bytes=SIZE_BYTES)
            sum(map(len, read_device(device, length=SIZE_BYTES)))
        if file_system(file) == "tmpfs":
            pytest.skip("the temporary directory is in memory, which is nothing but page cache")
        assert cached(file) == 0


def file_system(path: Path) -> str:
    """Which one a path is on."""
    return subprocess.run(["stat", "-fc", "%T", path], check=True, capture_output=True, text=True).stdout.strip()


def cached(file: Path) -> int:
    """How many bytes of a file the page cache has."""
    command = ["fincore", "--bytes", "--noheadings", "--output=RES", str(file)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


class TestClearing:
    @pytest.mark.parametrize("offset, length", [(0, SIZE_BYTES), (4096, 8192), (64 * KIB, 128 * KIB)])
    def test_a_cleared_range_reads_as_zeros_and_the_data_around_it_stays(
        self, path: Path, offset: int, length: int
    ) -> None:
        with PathDevice.open(path, writable=True) as device:
            assert device.can_clear
            assert device.clear(offset, length)
        assert contents(path) == OLD[:offset] + bytes(length) + OLD[offset + length :]

    def test_clearing_gives_the_space_back(self, file: Path) -> None:
        before = file.stat().st_blocks
        with PathDevice.open(file, writable=True) as device:
            device.clear(0, SIZE_BYTES)
        assert file.stat().st_blocks < before
        assert file.stat().st_size == SIZE_BYTES

    def test_after_a_way_of_clearing_failed_the_next_one_is_used_from_then_on(
        self, loop: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tried = 0

        def refused(*_: int) -> None:
            nonlocal tried
            tried += 1
            raise OSError(errno.EOPNOTSUPP, "not supported")

        monkeypatch.setattr(devices, "_punch", refused)
        with PathDevice.open(loop, writable=True) as device:
            assert not device.clear(0, 4096)
            assert device.can_clear
            assert device.clear(0, 4096)
            assert device.clear(8192, 4096)
        assert tried == 1
        assert contents(loop) == bytes(4096) + OLD[:4096] + bytes(4096) + OLD[12288:]

    def test_a_way_of_clearing_that_left_data_is_not_used_again_and_the_data_is_gone(
        self, loop: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        asked: list[int] = []
        punch = devices._punch

        def lying(fd: int, offset: int, length: int) -> None:
            asked.append(offset)
            punch(fd, offset, length // 2)

        monkeypatch.setattr(devices, "_punch", lying)
        with PathDevice.open(loop, writable=True) as device:
            write_stream([b"x", Hole(300 * KIB), b"x"], device, size_bytes=300 * KIB + 2)
            assert device.can_clear
        assert len(asked) == len(caplog.messages) == 1
        assert contents(loop) == b"x" + bytes(300 * KIB) + b"x" + bytes(SIZE_BYTES - 300 * KIB - 2)

    def test_without_a_way_of_clearing_nothing_is_called_cleared(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(*_: int) -> None:
            raise OSError(errno.EOPNOTSUPP, "not supported")

        monkeypatch.setattr(devices, "_punch", refused)
        with PathDevice.open(file, writable=True) as device:
            assert not device.clear(0, 4096)
            assert not device.can_clear
            write_stream([b"data", bytes(200 * KIB)], device, size_bytes=200 * KIB + 4)
        assert file.read_bytes() == b"data" + bytes(SIZE_BYTES - 4)

    def test_a_device_that_was_opened_to_be_read_is_not_cleared(self, path: Path) -> None:
        with PathDevice.open(path, writable=False) as device:
            assert not device.can_clear
            assert not device.clear(0, SIZE_BYTES)
        assert contents(path) == OLD


class TestExtents:
    def test_the_holes_of_a_file_are_told_and_what_lies_between(self, file: Path) -> None:
        os.truncate(file, 0)
        os.truncate(file, SIZE_BYTES)
        with PathDevice.open(file, writable=True) as device:
            device.write(256 * KIB, memoryview(b"x" * 4096))
            found = list(device.extents(0, SIZE_BYTES))
            assert b"".join(read_device(device, length=SIZE_BYTES)) == file.read_bytes()
        assert [start for start, _, _ in found] == [0, *(stop for _, stop, _ in found)][:-1]
        assert found[-1][1] == SIZE_BYTES
        if all(is_data for *_, is_data in found):
            pytest.skip("the file system of the temporary directory keeps no holes")
        assert all(is_data or not start <= 256 * KIB < stop for start, stop, is_data in found)

    def test_a_block_device_is_reported_as_data_throughout(self, loop: Path) -> None:
        with PathDevice.open(loop, writable=False) as device:
            assert list(device.extents(512, 1024)) == [(512, 1536, True)]


class TestRbd:
    def test_an_rbd_image_holds_what_was_written_and_ends_where_it_ends(self) -> None:
        image = RbdLike(10_000)
        device = RbdDevice(image=image, path="/7")
        assert device.size_bytes == 10_000
        assert device.write(2, memoryview(b"ab")) == 2
        assert device.write(9_998, memoryview(b"cdef")) == 2
        with pytest.raises(DeviceFailed, match=r"device .*: writing at byte .* it ends at byte 10000"):
            device.write(10_000, memoryview(b"x"))
        assert read(device, 0, 5) == b"\0\0ab\0"
        assert read(device, 9_997, 9) == b"\0cd"
        assert read(device, 10_000, 9) == read(device, 20_000, 9) == b""

    def test_a_cleared_range_of_an_rbd_image_reads_as_zeros(self) -> None:
        image = RbdLike(16_384)
        device = RbdDevice(image=image, path="/7")
        device.write(0, memoryview(b"x" * 16_384))
        assert device.clear(4096, 8192)
        assert bytes(image.content) == b"x" * 4096 + bytes(8192) + b"x" * 4096
        device.distrust()
        assert not device.can_clear

    def test_an_rbd_image_that_is_opened_to_be_read_is_not_written(self) -> None:
        image = RbdLike(16_384)
        for writable in (False, True):
            with open_device(image.handle, writable=writable, name="7") as device:
                assert device.can_clear is writable
                assert device.clear(0, 4096) is writable
                if not writable:
                    with pytest.raises(DeviceFailed, match="it is open for reading only"):
                        device.write(0, memoryview(b"x"))
                    assert not any(image.content)
                else:
                    assert device.write(0, memoryview(b"x")) == 1

    def test_an_rbd_image_tells_which_ranges_were_written(self) -> None:
        device = RbdDevice(image=RbdLike(40_000), path="/7")
        assert list(device.extents(0, 40_000)) == [(0, 40_000, False)]
        device.write(8192, memoryview(b"x"))
        device.write(20_480, memoryview(b"x" * 4097))
        assert list(device.extents(100, 30_000)) == [
            (100, 8192, False),
            (8192, 12_288, True),
            (12_288, 20_480, False),
            (20_480, 28_672, True),
            (28_672, 30_100, False),
        ]
        assert b"".join(read_device(device, length=40_000)) == bytes(8192) + b"x" + bytes(12_287) + b"x" * 4097 + bytes(
            15_423
        )

    def test_many_writes_are_on_their_way_at_once_and_no_more_than_fit_in_a_bounded_memory(self) -> None:
        image = RbdLike(96 * MIB)
        image.answering.clear()
        device = RbdDevice(image=image, path="/7")

        def answer() -> None:
            until = time.monotonic() + 60
            while image.most_begun < 8 and time.monotonic() < until:
                time.sleep(0.001)
            time.sleep(0.1)  # for one more, which there must not be
            image.answering.set()

        threading.Thread(target=answer).start()
        for at in range(0, 96 * MIB, MIB):
            device.write(at, memoryview(b"x" * MIB))
        device.flush()
        assert image.content == b"x" * (96 * MIB)
        assert image.most_begun == 8  # objects of 4 MiB

    @pytest.mark.parametrize("flushed", [False, True])
    def test_a_write_that_failed_on_its_way_ends_every_later_call(self, flushed: bool) -> None:
        image = RbdLike(64 * MIB)
        device = RbdDevice(image=image, path="/7")
        if flushed:
            device.write(0, memoryview(b"x"))
            device.flush()
        image.result = -errno.EIO
        device.write(0, memoryview(b"x" * MIB))
        with pytest.raises(DeviceFailed, match=r"writing at byte 0 failed: .*Input/output error"):
            device.flush()
        image.result = 0
        for call in (device.flush, lambda: read(device, 0, 1), lambda: device.clear(0, MIB)):
            with pytest.raises(DeviceFailed, match="writing at byte 0 failed"):
                call()

    def test_a_request_that_ceph_did_not_answer_in_time_is_a_stall_that_says_what_to_look_at(self) -> None:
        image = RbdLike(MIB)
        with open_device(image.handle, writable=True, name="7ad3", seconds=7) as device:
            image.result = -errno.ETIMEDOUT
            device.write(0, memoryview(b"x"))
            with pytest.raises(DeviceStalled, match=r"7ad3 stalled: writing .* 7 seconds; .*ceph health") as stalled:
                device.flush()
        assert stalled.value.side == "device"
        assert not device.left_open  # the request has ended

    def test_a_write_that_only_librbds_cache_took_gives_ceph_no_more_time(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        image, answered = RbdLike(48 * MIB), threading.Event()
        with open_device(image.handle, writable=True, name="7", seconds=3) as device:
            device.write(0, memoryview(b"x"))
            device.flush()
            monkeypatch.setattr(image, "flush", lambda: answered.wait(30))
            image.answering.clear()
            threading.Timer(1.7, image.answering.set).start()
            for at in range(0, 40 * MIB, MIB):
                device.write(at, memoryview(b"x" * MIB))
            assert image.options["rados_osd_op_timeout"] == "1"
            answered.set()

    @pytest.mark.parametrize("fails", [False, True])
    def test_what_is_on_its_way_when_something_else_fails_is_not_waited_for_as_if_it_were_needed(
        self, fails: bool
    ) -> None:
        image = RbdLike(MIB)
        image.answering.clear()
        try:
            with suppress(ConnectionError), open_device(image.handle, writable=True, name="7", seconds=300) as device:
                for at in (0, 8192):  # the second sends the first
                    device.write(at, memoryview(b"x"))
                if fails:
                    raise ConnectionError("of the source")
            assert image.options["rados_osd_op_timeout"] == ("1" if fails else "297")
        finally:
            image.answering.set()

    @pytest.mark.parametrize("number", [errno.EDQUOT, errno.ENOSPC])
    def test_a_full_pool_is_said_to_be_full(self, number: int) -> None:
        image = RbdLike(MIB)
        device = RbdDevice(image=image, path="/7ad3")
        image.result = -number
        device.write(0, memoryview(b"x"))
        with pytest.raises(DeviceFailed, match=r"7ad3: writing at byte 0 failed: the pool is full; .*quota"):
            device.flush()

    def test_ceph_is_told_the_deadline_of_each_request(self) -> None:
        image = RbdLike(MIB)
        with open_device(image.handle, writable=True, name="7", seconds=300):
            assert image.options == dict.fromkeys(
                ("rados_osd_op_timeout", "rados_mon_op_timeout", "client_mount_timeout"), "297"
            )

    def test_each_error_of_librbd_becomes_an_error_of_imagevol(self) -> None:
        image = RbdLike(10)
        device = RbdDevice(image=image, path="/7")
        image.fault = RbdError("[errno 108] RBD image\n is blocklisted")
        calls: list[Callable[[], object]] = [
            lambda: read(device, 3, 1),
            lambda: device.write(3, memoryview(b"x")),
            lambda: device.clear(0, 10),
            lambda: list(device.extents(0, 10)),
            device.flush,
        ]
        for call in calls:
            with pytest.raises(DeviceFailed, match=r"failed: .*is blocklisted") as caught:
                call()
            assert caught.value.__cause__ is image.fault
