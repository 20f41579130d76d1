"""The data plane: the exact bytes, or an error; never one byte too many."""

from __future__ import annotations

import errno
import hashlib
import io
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.engine import (
    CHUNK_BYTES,
    QUEUE_BYTES,
    Digests,
    chunks,
    read_device,
    verified,
    write_stream,
)
from imagevol_adapters.testing.faults import FaultyDevice
from imagevol_adapters.testing.memory import MemoryDevice
from imagevol_core import (
    ContentMismatch,
    DeviceFailed,
    Digest,
    ImagevolError,
    InvalidFact,
    ServiceFailed,
    SourceFailed,
    WrongLength,
)

PARTS = st.lists(st.binary(max_size=40), max_size=12)
SCRIPT = st.lists(st.integers(1, 9) | st.none(), max_size=30)
PATIENCE_SECONDS = 30  # for a thread to get somewhere; passed only when something hangs


def writers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "imagevol-writer"]


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    assert writers() == []


class TestWriting:
    @given(PARTS, SCRIPT, st.integers(0, 20))
    def test_what_came_is_on_the_device_whatever_its_parts_and_however_little_goes_at_once(
        self, parts: list[bytes], script: list[int | None], room: int
    ) -> None:
        data = b"".join(parts)
        memory = MemoryDevice(len(data) + room)
        device = FaultyDevice(memory, writes=[most or 1000 for most in script])
        seen: list[int] = []
        report = write_stream(parts, device, size_bytes=len(data), algorithms=("md5", "sha256"), progress=seen.append)
        assert memory.read(0, memory.size_bytes) == data + bytes(room)
        assert report.written_bytes == sum(seen) == len(data)
        assert report.digests == {
            "md5": Digest("md5", hashlib.md5(data).hexdigest()),
            "sha256": Digest("sha256", hashlib.sha256(data).hexdigest()),
        }

    @given(PARTS, st.integers(-50, 50).filter(bool))
    def test_a_stream_of_another_length_is_an_error_and_no_byte_goes_beyond(
        self, parts: list[bytes], difference: int
    ) -> None:
        data = b"".join(parts)
        announced = max(0, len(data) + difference)
        memory = MemoryDevice(1000)
        if announced == len(data):
            return
        with pytest.raises(WrongLength) as caught:
            write_stream(parts, memory, size_bytes=announced)
        assert caught.value.expected_bytes == announced
        assert (caught.value.actual_bytes < announced) is (len(data) < announced)
        assert memory.read(announced, 1000) == bytes(1000 - announced)

    @given(PARTS, SCRIPT, st.integers(0, 30))
    def test_a_device_that_fails_is_an_error_at_whichever_write(
        self, parts: list[bytes], script: list[int | None], at: int
    ) -> None:
        data = b"".join(parts)
        memory = MemoryDevice(1000)
        fault = DeviceFailed("no space left")
        writes: list[int | BaseException] = [most or 1000 for most in (script + [None] * at)[:at]]
        device = FaultyDevice(memory, writes=[*writes, fault])
        try:
            write_stream(parts, device, size_bytes=len(data))
        except DeviceFailed as error:
            assert error is fault  # noqa: PT017 - the example decides whether its turn comes
        else:  # it was written before the fault's turn came
            assert memory.read(0, len(data)) == data
        assert memory.read(len(data), 1000) == bytes(1000 - len(data))

    def test_a_device_that_takes_nothing_is_an_error(self) -> None:
        with pytest.raises(DeviceFailed, match="takes no more data at byte 3"):
            write_stream([b"bytes"], FaultyDevice(MemoryDevice(9), writes=[3, 0]), size_bytes=5)

    def test_a_device_that_is_too_small_is_refused_before_a_byte_is_read(self) -> None:
        source = iter([b"bytes"])
        with pytest.raises(DeviceFailed, match="has 4 bytes, and 5 are to be written"):
            write_stream(source, MemoryDevice(4), size_bytes=5)
        assert list(source) == [b"bytes"]

    def test_a_flush_that_fails_is_an_error(self) -> None:
        fault = DeviceFailed("the cable is out")
        with pytest.raises(DeviceFailed) as caught:
            write_stream([b"bytes"], FaultyDevice(MemoryDevice(9), flushes=[fault]), size_bytes=5)
        assert caught.value is fault

    def test_an_algorithm_that_is_not_known_is_refused_before_a_byte_is_read(self) -> None:
        source = iter([b"bytes"])
        with pytest.raises(InvalidFact, match="'rot13' is not known here"):
            write_stream(source, MemoryDevice(9), size_bytes=5, algorithms=["rot13"])
        assert list(source) == [b"bytes"]

    def test_an_error_of_the_progress_is_raised(self) -> None:
        def broken(_: int) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            write_stream([b"bytes"], MemoryDevice(9), size_bytes=5, progress=broken)


class TestSource:
    @pytest.mark.parametrize(
        "error", [OSError(errno.EIO, "Input/output error"), ConnectionResetError("reset"), EOFError("early")]
    )
    @pytest.mark.parametrize("before", [0, 1, 3])
    def test_an_error_of_the_system_is_one_of_the_source(self, error: Exception, before: int) -> None:
        def source() -> Iterator[bytes]:
            yield from [b"x"] * before
            raise error

        with pytest.raises(SourceFailed, match=str(error).replace("[", r"\[")) as caught:
            write_stream(source(), MemoryDevice(9), size_bytes=9)
        assert caught.value.__cause__ is error

    @pytest.mark.parametrize("kind", [ServiceFailed, KeyboardInterrupt, SystemExit, ZeroDivisionError])
    def test_any_other_error_of_the_source_is_raised_as_it_is(self, kind: type[BaseException]) -> None:
        error = kind("stop")

        def source() -> Iterator[bytes]:
            yield b"x"
            raise error

        with pytest.raises(kind) as caught:
            write_stream(source(), MemoryDevice(9), size_bytes=9)
        assert caught.value is error

    def test_an_error_of_our_own_that_is_also_one_of_the_system_is_not_renamed(self) -> None:
        def source() -> Iterator[bytes]:
            raise DeviceFailed("the volume that is read from is gone")
            yield b""

        with pytest.raises(DeviceFailed, match="that is read from"):
            write_stream(source(), MemoryDevice(9), size_bytes=9)


class StalledDevice(MemoryDevice):
    """A device that takes nothing until it is let go, and then perhaps fails."""

    def __init__(self, size_bytes: int, fault: ImagevolError | None = None) -> None:
        super().__init__(size_bytes)
        self.fault = fault
        self.reached = threading.Event()
        self.go = threading.Event()

    def write(self, offset: int, data: memoryview) -> int:
        self.reached.set()
        assert self.go.wait(PATIENCE_SECONDS)
        if self.fault:
            raise self.fault
        return super().write(offset, data)


class TestQueue:
    def test_a_reader_runs_ahead_of_a_stalled_device_by_so_many_bytes_and_no_more(self) -> None:
        part = bytes(1 << 20)
        parts = 4 * QUEUE_BYTES // len(part)
        device = StalledDevice(parts * len(part))
        read = 0
        behind = threading.Event()

        def source() -> Iterator[bytes]:
            nonlocal read
            for _ in range(parts):
                read += 1
                yield part

        def watch() -> None:
            assert device.reached.wait(PATIENCE_SECONDS)
            # One part is with the device, the queue is full, and one waits to be put into it.
            most = 1 + QUEUE_BYTES // len(part) + 1
            while read < most:
                behind.wait(0.001)
            behind.wait(0.2)  # whoever would read on has had time to
            seen.append(read)
            device.go.set()

        seen: list[int] = []
        watcher = threading.Thread(target=watch)
        watcher.start()
        report = write_stream(source(), device, size_bytes=device.size_bytes)
        watcher.join()
        assert seen == [1 + QUEUE_BYTES // len(part) + 1]
        assert report.written_bytes == device.size_bytes

    def test_a_device_that_fails_lets_go_a_reader_that_waits_for_it(self) -> None:
        part = bytes(CHUNK_BYTES)
        device = StalledDevice(100 * len(part), fault=DeviceFailed("gone"))
        read = 0

        def source() -> Iterator[bytes]:
            nonlocal read
            for _ in range(100):
                read += 1
                if read == 3:
                    threading.Timer(0.05, device.go.set).start()
                yield part

        with pytest.raises(DeviceFailed, match="gone"):
            write_stream(source(), device, size_bytes=device.size_bytes)
        assert read < 100

    def test_an_interrupt_waits_for_the_write_under_way_and_for_no_other(self) -> None:
        device = StalledDevice(100)

        def source() -> Iterator[bytes]:
            yield b"first"
            assert device.reached.wait(PATIENCE_SECONDS)
            yield b"second"
            threading.Timer(0.05, device.go.set).start()
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write_stream(source(), device, size_bytes=100)
        assert device.read(0, 11) == b"first" + bytes(6)


class TestReading:
    @given(st.binary(max_size=200), st.integers(0, 210), st.integers(0, 210), SCRIPT)
    def test_a_range_is_given_whole_or_it_is_an_error(
        self, data: bytes, offset: int, length: int, script: list[int | None]
    ) -> None:
        memory = MemoryDevice(len(data))
        if data:
            memory.write(0, memoryview(data))
        device = FaultyDevice(memory, reads=[most or 1000 for most in script])
        if not length or offset + length <= len(data):
            assert b"".join(read_device(device, offset=offset, length=length)) == data[offset : offset + length]
        else:
            with pytest.raises(DeviceFailed, match="the device ends at byte"):
                b"".join(read_device(device, offset=offset, length=length))

    def test_a_device_that_fails_is_an_error(self) -> None:
        device = FaultyDevice(MemoryDevice(9), reads=[4, DeviceFailed("bad sector")])
        parts = read_device(device, length=9)
        assert next(parts) == bytes(4)
        with pytest.raises(DeviceFailed, match="bad sector"):
            next(parts)

    def test_no_part_is_larger_than_a_chunk(self) -> None:
        size_bytes = 2 * CHUNK_BYTES + 1
        lengths = [len(part) for part in read_device(MemoryDevice(size_bytes), length=size_bytes)]
        assert lengths == [CHUNK_BYTES, CHUNK_BYTES, 1]


class TestDigests:
    @given(PARTS)
    def test_a_stream_with_its_digest_passes_unaltered(self, parts: list[bytes]) -> None:
        digest = Digest("sha1", hashlib.sha1(b"".join(parts)).hexdigest())
        assert list(verified(parts, digest, "it")) == parts

    @given(st.binary(min_size=1), st.data())
    def test_any_altered_byte_is_told_and_only_at_the_end(self, data: bytes, draw: st.DataObject) -> None:
        at = draw.draw(st.integers(0, len(data) - 1))
        altered = data[:at] + bytes([data[at] ^ draw.draw(st.integers(1, 255))]) + data[at + 1 :]
        digest = Digest("sha1", hashlib.sha1(data).hexdigest())
        parts = verified([altered], digest, "volume 7")
        assert next(parts) == altered
        with pytest.raises(ContentMismatch, match="volume 7 has been altered") as caught:
            next(parts)
        assert caught.value.expected == str(digest)

    def test_where_nothing_is_recorded_nothing_is_checked(self) -> None:
        assert list(verified([b"data"], None, "it")) == [b"data"]

    @pytest.mark.parametrize("name", ["", "rot13", "shake_128"])
    def test_what_gives_no_digest_is_refused(self, name: str) -> None:
        with pytest.raises(InvalidFact, match="digest algorithm"):
            Digests([name])

    def test_what_came_so_far_has_a_digest_too(self) -> None:
        digests = Digests(["md5"])
        digests.update(b"da")
        assert digests.values() == {"md5": Digest("md5", hashlib.md5(b"da").hexdigest())}
        digests.update(b"ta")
        assert digests.values() == {"md5": Digest("md5", hashlib.md5(b"data").hexdigest())}


def test_a_file_is_given_from_where_it_stands() -> None:
    file = io.BytesIO(bytes(3) + bytes(CHUNK_BYTES) + b"end")
    file.seek(3)
    assert list(chunks(file)) == [bytes(CHUNK_BYTES), b"end"]
