"""The data plane: the exact bytes and zeros behind them, or an error; never one byte too many."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import itertools
import os
import signal
import tarfile
from collections.abc import Iterator
from heapq import heappop, heappush
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.engine import (
    PART_BYTES,
    POOL_BYTES,
    Digests,
    Hole,
    Limits,
    StreamWriter,
    TransferProgress,
    TransferReport,
    pieces,
    read_device,
    verified,
    write_stream,
)
from imagevol_adapters.engine.limits import Throttle
from imagevol_adapters.engine.parts import Crew
from imagevol_adapters.engine.writing import _Sink
from imagevol_adapters.engine.zeros import runs
from imagevol_adapters.testing.faults import FaultyDevice
from imagevol_adapters.testing.memory import MemoryDevice
from imagevol_core import (
    ContentMismatch,
    DeviceFailed,
    Digest,
    ImagevolError,
    InvalidFact,
    InvalidSize,
    ServiceFailed,
    SourceFailed,
    TransferCancelled,
    WrongLength,
    ZeroHandling,
)
from tests.adapters.unpatched import threading

KIB = 1 << 10
MIB = 1 << 20
PARTS = st.lists(st.binary(max_size=40), max_size=12)
SCRIPT = st.lists(st.integers(1, 9) | st.none(), max_size=30)
PATIENCE_SECONDS = 30  # for a thread to get somewhere; passed only when something hangs

# Lengths about the places where blocks and pages begin and end.
EDGES = st.sampled_from([1, 511, 4095, 4096, 4097, 8192, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 130 * KIB])
PIECES = st.lists(
    st.builds(lambda byte, length: byte * length, st.sampled_from([b"\0", b"x"]), EDGES)
    | st.builds(Hole, EDGES)
    | st.just(b""),
    max_size=6,
)


def joined(source: list[bytes | Hole]) -> bytes:
    return b"".join(bytes(piece.length) if isinstance(piece, Hole) else piece for piece in source)


def device_of(size_bytes: int, *, byte: bytes = b"\xff", can_clear: bool = True) -> MemoryDevice:
    """A device on which somebody left something."""
    device = MemoryDevice(size_bytes, can_clear=can_clear)
    if byte != b"\0" and size_bytes:
        device.write(0, memoryview(byte * size_bytes))
    return device


def content(device: MemoryDevice) -> bytes:
    return device.read(0, device.size_bytes)


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("imagevol")] == []


class TestWriting:
    @given(
        PIECES,
        st.lists(st.integers(1, 100_000), max_size=5),
        st.lists(st.booleans(), max_size=5),
        EDGES | st.just(0),
        st.booleans(),
        st.sampled_from([ZeroHandling.PUNCH, ZeroHandling.WRITE]),
    )
    def test_the_device_holds_the_stream_and_then_zeros_whatever_it_held_before(
        self,
        source: list[bytes | Hole],
        writes: list[int],
        clears: list[bool],
        room: int,
        can_clear: bool,
        zeros: ZeroHandling,
    ) -> None:
        data = joined(source)
        memory = device_of(len(data) + room, can_clear=can_clear)
        device = FaultyDevice(memory, writes=writes, clears=clears)
        told: list[TransferProgress] = []
        report = write_stream(
            source, device, size_bytes=len(data), zeros=zeros, algorithms=("md5", "sha256"), progress=told.append
        )
        assert content(memory) == data + bytes(room)
        assert report.digests == {
            "md5": Digest("md5", hashlib.md5(data).hexdigest()),
            "sha256": Digest("sha256", hashlib.sha256(data).hexdigest()),
        }
        assert report.size_bytes == told[-1].done_bytes == told[-1].total_bytes == len(data)
        assert report.read_bytes == sum(len(piece) for piece in source if isinstance(piece, bytes))
        assert (report.written_bytes or 0) + report.zeroed_bytes == len(data) + room
        assert report.skipped_bytes == 0
        assert [each.done_bytes for each in told] == sorted(each.done_bytes for each in told)

    @given(PIECES, EDGES | st.just(0))
    def test_on_a_device_that_is_proven_zero_no_zeros_are_written(self, source: list[bytes | Hole], room: int) -> None:
        data = joined(source)
        memory = device_of(len(data) + room, byte=b"\0")
        report = write_stream(source, memory, size_bytes=len(data), zeros=ZeroHandling.SKIP)
        assert content(memory) == data + bytes(room)
        assert (report.written_bytes or 0) + report.skipped_bytes == len(data) + room
        assert (report.written_bytes or 0) <= sum(len(run) + 128 * KIB for run in data.split(b"\0") if run)
        assert report.zeroed_bytes == 0

    @given(PARTS, SCRIPT, st.integers(0, 20))
    def test_the_device_holds_the_stream_however_little_it_takes_at_once(
        self, parts: list[bytes], script: list[int | None], room: int
    ) -> None:
        data = b"".join(parts)
        memory = device_of(len(data) + room)
        write_stream(
            parts, FaultyDevice(memory, writes=[most or 1000 for most in script]), size_bytes=len(data), algorithms=()
        )
        assert content(memory) == data + bytes(room)

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
            write_stream(parts, device, size_bytes=len(data), zeros=ZeroHandling.SKIP)
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
        with pytest.raises(DeviceFailed, match="has 4 bytes, and 5 must be written"):
            write_stream(source, MemoryDevice(4), size_bytes=5)
        assert list(source) == [b"bytes"]

    def test_a_flush_that_fails_is_an_error(self) -> None:
        fault = DeviceFailed("the cable is out")
        with pytest.raises(DeviceFailed) as caught:
            write_stream([b"bytes"], FaultyDevice(MemoryDevice(9), flushes=[fault]), size_bytes=5)
        assert caught.value is fault

    def test_zeros_behind_the_image_that_cannot_be_written_are_an_error(self) -> None:
        fault = DeviceFailed("no space left")
        device = FaultyDevice(MemoryDevice(9, can_clear=False), writes=[5, fault])
        with pytest.raises(DeviceFailed) as caught:
            write_stream([b"bytes"], device, size_bytes=5)
        assert caught.value is fault

    def test_an_algorithm_that_is_not_known_is_refused_before_a_byte_is_read(self) -> None:
        source = iter([b"bytes"])
        with pytest.raises(InvalidFact, match="'rot13' is not known here"):
            write_stream(source, MemoryDevice(9), size_bytes=5, algorithms=["rot13"])
        assert list(source) == [b"bytes"]

    def test_an_error_of_the_progress_is_raised(self) -> None:
        def broken(_: TransferProgress) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            write_stream([b"bytes"], MemoryDevice(9), size_bytes=5, progress=broken)

    def test_zeros_in_many_parts_are_cleared_in_one_go(self) -> None:
        cleared: list[tuple[int, int]] = []

        class Clearing(MemoryDevice):
            def clear(self, offset: int, length: int) -> bool:
                cleared.append((offset, length))
                return super().clear(offset, length)

        device = Clearing(12 * MIB)
        source: list[bytes | Hole] = [b"x" * MIB, *[bytes(MIB)] * 3, Hole(5 * MIB), b"x" * MIB]
        report = write_stream(source, device, size_bytes=10 * MIB, algorithms=())
        assert cleared == [(MIB, 8 * MIB), (10 * MIB, 2 * MIB)]
        assert (report.read_bytes, report.written_bytes, report.zeroed_bytes) == (5 * MIB, 2 * MIB, 10 * MIB)

    def test_after_a_failure_nothing_more_is_written(self) -> None:
        writer = StreamWriter([b"x" * 100])
        with pytest.raises(DeviceFailed):
            writer.write(FaultyDevice(MemoryDevice(100), writes=[DeviceFailed("gone")]))
        with pytest.raises(InvalidFact, match="a write failed before"):
            writer.write(MemoryDevice(100))

    @pytest.mark.parametrize("end", ["cancel", "interrupt", "source"])
    def test_zeros_that_must_be_written_do_not_hold_up_an_end(self, end: str) -> None:
        limits = Limits()

        class Slow(MemoryDevice):
            def write(self, offset: int, data: memoryview) -> int:
                if offset > 10 * PART_BYTES:
                    {"cancel": limits.cancelled.set, "interrupt": stop.set, "source": stop.set}[end]()
                    stopped.wait(0.01)
                return super().write(offset, data)

        def source() -> Iterator[bytes | Hole]:
            yield Hole(400 * PART_BYTES)
            yield b"x" * PART_BYTES
            assert stop.wait(PATIENCE_SECONDS) or end == "cancel"
            if end != "cancel":
                raise KeyboardInterrupt if end == "interrupt" else OSError("gone")
            yield b"more"

        stop, stopped = threading.Event(), threading.Event()
        threading.Timer(0.2, stop.set).start() if end == "cancel" else None
        device = Slow(500 * PART_BYTES, can_clear=False)
        with pytest.raises((TransferCancelled, KeyboardInterrupt, SourceFailed)):
            write_stream(source(), device, size_bytes=401 * PART_BYTES + 4, algorithms=(), limits=limits)
        assert sum(stop - start for start, stop, is_data in device.extents(0, device.size_bytes) if is_data) < (
            350 * PART_BYTES
        )

    def test_the_rest_behind_the_image_can_be_cancelled_too(self) -> None:
        limits = Limits()

        class Cancelling(MemoryDevice):
            def write(self, offset: int, data: memoryview) -> int:
                if offset > 5 * PART_BYTES:
                    limits.cancelled.set()
                return super().write(offset, data)

        device = Cancelling(50 * PART_BYTES, can_clear=False)
        with pytest.raises(TransferCancelled):
            write_stream([b"data"], device, size_bytes=4, algorithms=(), limits=limits)

    def test_zeros_are_held_to_the_rate_when_they_are_written(self) -> None:
        clock = Clock()
        throttle = clock.throttle(MIB)
        sink = _Sink(MemoryDevice(10 * MIB, can_clear=False), ZeroHandling.PUNCH, 0, pace=throttle.take)
        sink.clear_rest()
        assert clock.now == pytest.approx(10, rel=0.05)

    def test_an_interrupt_at_the_end_waits_for_the_write_under_way(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stop, stopped = Crew.stop, threading.Event()

        def stopping(crew: Crew, error: BaseException | None = None) -> None:
            stop(crew, error)
            stopped.set()

        class Slow(MemoryDevice):
            writing = False

            def write(self, offset: int, data: memoryview) -> int:
                self.writing = True
                if not offset:
                    os.kill(os.getpid(), signal.SIGINT)  # for the main thread, which waits for this one by now
                    assert stopped.wait(30)
                    threading.Event().wait(0.1)
                written = super().write(offset, data)
                self.writing = False
                return written

        monkeypatch.setattr(Crew, "stop", stopping)
        device = Slow(4 * PART_BYTES)
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                write_stream([b"x" * PART_BYTES] * 4, device, size_bytes=4 * PART_BYTES, algorithms=())
        finally:
            signal.signal(signal.SIGINT, before)
        assert not device.writing
        assert device.read(0, 1) == b"x"
        assert device.read(PART_BYTES, 1) == b"\0"

    def test_a_thread_that_cannot_be_started_leaves_no_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        start, started = threading.Thread.start, itertools.count()

        def starting(thread: threading.Thread) -> None:
            if next(started) == 1:
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", starting)
        with pytest.raises(RuntimeError, match="can't start"):
            write_stream([b"data"], MemoryDevice(9), size_bytes=4)


class TestUnknownLength:
    def test_a_device_that_is_smaller_than_what_was_written_is_an_error(self) -> None:
        writer = StreamWriter([b"x" * 5000])
        assert not writer.write(MemoryDevice(4096))
        with pytest.raises(DeviceFailed, match="has 512 bytes, and 4096 must be written"):
            writer.write(MemoryDevice(512))

    @given(PIECES, st.lists(EDGES, min_size=1, max_size=4))
    def test_a_stream_goes_on_where_the_smaller_device_ended(
        self, source: list[bytes | Hole], steps: list[int]
    ) -> None:
        data = joined(source)
        writer = StreamWriter(source, algorithms=("sha256",))
        memory = device_of(0)
        used = 0
        for size_bytes in itertools.accumulate([*steps, len(data)]):
            grown = device_of(size_bytes)
            grown.write(0, memoryview(content(memory))) if memory.size_bytes else None
            memory = grown
            used += 1
            if writer.write(memory):
                break
            assert writer.position == size_bytes
        else:
            pytest.fail("the last device has room for all of it")
        assert content(memory) == data + bytes(memory.size_bytes - len(data))
        assert used == 1 or memory.size_bytes - ([*steps, len(data)][used - 1]) < len(data)
        report = writer.report()
        assert (report.size_bytes, report.digests["sha256"].value) == (len(data), hashlib.sha256(data).hexdigest())

    def test_an_empty_stream_ends_at_once(self) -> None:
        device = device_of(4096)
        writer = StreamWriter([])
        assert writer.write(device)
        assert (writer.position, content(device)) == (0, bytes(4096))


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


class TestFiles:
    def test_a_file_is_given_from_where_it_stands(self) -> None:
        file = io.BytesIO(bytes(3) + bytes(PART_BYTES) + b"end")
        file.seek(3)
        assert list(pieces(file)) == [bytes(PART_BYTES), b"end"]

    @pytest.mark.parametrize("start", [0, 5, 3 * MIB])
    def test_the_holes_of_a_file_are_not_read(self, tmp_path: Path, start: int) -> None:
        path = tmp_path / "sparse"
        with path.open("wb") as file:
            file.truncate(8 * MIB)
            file.seek(2 * MIB)
            file.write(b"x" * 4096)
            file.seek(6 * MIB)
            file.write(b"y" * 4096)
        with path.open("rb") as file:
            file.seek(start)
            found = list(pieces(file))
        assert joined(found) == path.read_bytes()[start:]
        if path.stat().st_blocks * 512 > MIB:
            pytest.skip("the file system of the temporary directory keeps no holes")
        assert sum(len(piece) for piece in found if isinstance(piece, bytes)) <= 256 * KIB

    @pytest.mark.parametrize("buffering", [0, 4096, 128 << 10, 1 << 20])
    def test_the_bytes_are_those_of_the_file_however_it_is_buffered(self, tmp_path: Path, buffering: int) -> None:
        path = tmp_path / "sparse"
        with path.open("wb") as file:
            for start, stop in ((0, 64 * KIB), (128 * KIB, 2 * MIB), (3 * MIB, 4 * MIB)):
                file.seek(start)
                file.write(os.urandom(stop - start))
        with path.open("rb", buffering=buffering) as file:
            assert joined(list(pieces(file))) == path.read_bytes()

    def test_a_file_that_is_unpacked_while_it_is_read_has_no_holes(self, tmp_path: Path) -> None:
        data = b"text that packs well " * 80_000
        path = tmp_path / "disk.gz"
        with gzip.open(path, "wb") as file:
            file.write(data)
        with gzip.open(path, "rb") as file:
            assert joined(list(pieces(file))) == data  # type: ignore[arg-type]
        with tarfile.open(tmp_path / "disk.tar", "w") as tar:
            tar.add(path, "disk.gz")
        with tarfile.open(tmp_path / "disk.tar") as tar:
            member = tar.extractfile("disk.gz")
            assert member is not None
            assert joined(list(pieces(member))) == path.read_bytes()  # type: ignore[arg-type]

    def test_a_file_that_ends_in_a_hole_and_becomes_shorter_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"x" * MIB)
        os.truncate(path, 4 * MIB)
        with path.open("r+b") as file:
            found = pieces(file)
            next(found)
            os.truncate(path, MIB)
            with pytest.raises(SourceFailed, match="it was longer when it was opened"):
                list(found)

    def test_a_hole_is_not_less_than_nothing(self) -> None:
        with pytest.raises(InvalidSize, match="give 0 or more"):
            Hole(-1)

    def test_a_file_that_becomes_shorter_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"x" * 3 * MIB)
        with path.open("r+b") as file:
            found = pieces(file)
            next(found)
            os.truncate(path, MIB)
            with pytest.raises(SourceFailed, match="it was longer when it was opened"):
                list(found)


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


class TestMemory:
    def test_a_reader_runs_ahead_of_a_stalled_device_by_so_many_bytes_and_no_more(self) -> None:
        piece = b"x" * PART_BYTES
        count = 4 * POOL_BYTES // PART_BYTES
        device = StalledDevice(count * PART_BYTES)
        read = 0
        behind = threading.Event()

        def source() -> Iterator[bytes]:
            nonlocal read
            for _ in range(count):
                read += 1
                yield piece

        def watch() -> None:
            assert device.reached.wait(PATIENCE_SECONDS)
            while read < POOL_BYTES // PART_BYTES:
                behind.wait(0.001)
            behind.wait(0.2)  # whoever would read on has had time to
            seen.append(read)
            device.go.set()

        seen: list[int] = []
        watcher = threading.Thread(target=watch)
        watcher.start()
        report = write_stream(source(), device, size_bytes=device.size_bytes, algorithms=())
        watcher.join()
        assert seen == [POOL_BYTES // PART_BYTES]
        assert report.written_bytes == device.size_bytes

    def test_a_device_that_fails_lets_go_a_reader_that_waits_for_it(self) -> None:
        device = StalledDevice(100 * PART_BYTES, fault=DeviceFailed("gone"))
        read = 0

        def source() -> Iterator[bytes]:
            nonlocal read
            for _ in range(100):
                read += 1
                if read == 3:
                    threading.Timer(0.05, device.go.set).start()
                yield b"x" * PART_BYTES

        with pytest.raises(DeviceFailed, match="gone"):
            write_stream(source(), device, size_bytes=device.size_bytes, algorithms=())
        assert read < 100

    def test_an_interrupt_waits_for_the_write_under_way_and_for_no_other(self) -> None:
        device = StalledDevice(3 * PART_BYTES)

        def source() -> Iterator[bytes]:
            yield b"1" * PART_BYTES
            yield b"2" * PART_BYTES
            assert device.reached.wait(PATIENCE_SECONDS)
            threading.Timer(0.05, device.go.set).start()
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write_stream(source(), device, size_bytes=3 * PART_BYTES)
        assert content(device) == b"1" * PART_BYTES + bytes(2 * PART_BYTES)


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
            with pytest.raises(DeviceFailed, match="device /memory ends at byte"):
                b"".join(read_device(device, offset=offset, length=length))

    def test_a_device_that_fails_is_an_error_behind_what_could_be_read(self) -> None:
        device = FaultyDevice(device_of(9, byte=b"x"), reads=[4, DeviceFailed("bad sector")])
        parts = read_device(device, length=9)
        assert next(parts) == b"xxxx"
        with pytest.raises(DeviceFailed, match="bad sector"):
            next(parts)

    def test_no_piece_is_large_and_all_but_the_first_read_begin_where_direct_io_can(self) -> None:
        size_bytes = 4 * PART_BYTES + 1
        device = device_of(size_bytes, byte=b"x")
        lengths = [len(part) for part in read_device(device, offset=3, length=size_bytes - 3)]
        assert lengths == [PART_BYTES, PART_BYTES, PART_BYTES, PART_BYTES - 3, 1]

    @given(st.binary(min_size=1), st.data())
    def test_any_altered_byte_is_told_and_only_at_the_end(self, data: bytes, draw: st.DataObject) -> None:
        at = draw.draw(st.integers(0, len(data) - 1))
        altered = data[:at] + bytes([data[at] ^ draw.draw(st.integers(1, 255))]) + data[at + 1 :]
        digest = Digest("sha1", hashlib.sha1(data).hexdigest())
        memory = MemoryDevice(len(data))
        memory.write(0, memoryview(data))
        assert b"".join(read_device(memory, length=len(data), digest=digest)) == data
        memory.write(0, memoryview(altered))
        parts = read_device(memory, length=len(data), digest=digest, what="volume 7")
        assert next(parts) == altered
        with pytest.raises(ContentMismatch, match="volume 7 has been altered") as caught:
            next(parts)
        assert caught.value.expected == str(digest)

    @given(PIECES)
    def test_holes_are_given_as_zeros_and_are_not_read(self, source: list[bytes | Hole]) -> None:
        data = joined(source)
        memory = device_of(len(data), byte=b"\0")
        write_stream(source, memory, size_bytes=len(data), zeros=ZeroHandling.SKIP, algorithms=())
        device = FaultyDevice(memory, reads=[DeviceFailed("not to be read")] if not any(data) else [])
        digest = Digest("md5", hashlib.md5(data).hexdigest())
        assert b"".join(read_device(device, length=len(data), digest=digest)) == data

    @pytest.mark.parametrize("told", [[], [(20, 40, True)], [(0, 40, True)], [(0, 40, True), (50, 100, True)]])
    def test_a_device_that_does_not_say_where_all_is_is_an_error(self, told: list[tuple[int, int, bool]]) -> None:
        class Silent(MemoryDevice):
            def extents(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
                return iter(told)

        with pytest.raises(DeviceFailed, match=r"device .* (ends at byte|does not say what is at byte)"):
            b"".join(read_device(Silent(100), length=100))

    def test_whoever_stops_in_the_middle_leaves_no_thread(self) -> None:
        parts = read_device(MemoryDevice(100 * PART_BYTES), length=100 * PART_BYTES, digest=Digest("md5", "00"))
        next(parts)
        parts.close()

    def test_an_algorithm_that_is_not_known_is_refused_at_once(self) -> None:
        with pytest.raises(InvalidFact, match="'rot13' is not known here"):
            read_device(MemoryDevice(9), length=9, digest=Digest("rot13", "00"))


class TestZeros:
    @given(PIECES)
    def test_the_runs_cover_all_and_what_is_called_zero_is(self, source: list[bytes | Hole]) -> None:
        data = joined(source)
        end = 0
        for start, stop, is_data in runs(memoryview(data)):
            assert start == end < stop
            assert is_data or not any(data[start:stop])
            end = stop
        assert end == len(data)

    @given(st.lists(st.sampled_from([b"\0", b"x"]), max_size=8))
    def test_every_block_of_zeros_is_found(self, blocks: list[bytes]) -> None:
        data = b"".join(block * (64 * KIB) for block in blocks)
        found = sum(stop - start for start, stop, is_data in runs(memoryview(data)) if not is_data)
        assert found == data.count(0)

    def test_a_run_of_data_loses_the_pages_of_zeros_at_its_ends(self) -> None:
        data = bytes(70 * KIB) + b"x" + bytes(200 * KIB)
        written = [(start, stop) for start, stop, is_data in runs(memoryview(data)) if is_data]
        assert written == [(68 * KIB, 72 * KIB)]


class TestDigests:
    @given(PARTS)
    def test_a_stream_with_its_digest_passes_unaltered(self, parts: list[bytes]) -> None:
        digest = Digest("sha1", hashlib.sha1(b"".join(parts)).hexdigest())
        assert list(verified(parts, digest, "it")) == parts

    def test_a_stream_with_another_digest_is_refused(self) -> None:
        with pytest.raises(ContentMismatch, match="it has been altered"):
            list(verified([b"data"], Digest("md5", "00"), "it"))

    def test_without_a_recorded_digest_nothing_is_checked(self) -> None:
        assert list(verified([b"data"], None, "it")) == [b"data"]

    @pytest.mark.parametrize("name", ["", "rot13", "shake_128"])
    def test_an_algorithm_without_a_digest_is_refused(self, name: str) -> None:
        with pytest.raises(InvalidFact, match="digest algorithm"):
            Digests([name])

    def test_the_digest_of_what_came_so_far_is_known(self) -> None:
        digests = Digests(["md5"])
        digests.update(b"da")
        assert digests.values() == {"md5": Digest("md5", hashlib.md5(b"da").hexdigest())}
        digests.update(b"ta")
        assert digests.values() == {"md5": Digest("md5", hashlib.md5(b"data").hexdigest())}


class TestLimits:
    @pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
    def test_a_rate_at_which_nothing_moves_is_refused(self, rate: float) -> None:
        with pytest.raises(InvalidFact, match="is no rate; give None for no limit"):
            Limits(bytes_per_second=rate)

    @given(st.integers(1, 10**11))
    def test_a_slow_transfer_has_small_parts(self, rate: int) -> None:
        part_bytes = Limits(bytes_per_second=rate).part_bytes()
        assert part_bytes % 4096 == 0
        assert 4096 <= part_bytes <= PART_BYTES
        assert part_bytes <= max(4096, rate / 20)

    @given(
        st.lists(st.tuples(st.floats(0, 1), st.integers(1, PART_BYTES)), min_size=1, max_size=60),
        st.integers(1 << 20, 1 << 30),
    )
    def test_no_more_bytes_are_moved_in_any_time_than_the_rate_allows(
        self, steps: list[tuple[float, int]], rate: int
    ) -> None:
        clock = Clock()
        throttle = clock.throttle(rate)
        moved: list[tuple[float, int]] = []
        for idle, size_bytes in steps:
            clock.now += idle
            throttle.take(size_bytes)
            moved.append((clock.now, size_bytes))
        for first, (began, _) in enumerate(moved):
            for ended, _ in moved[first + 1 :]:
                inside = sum(size for when, size in moved[first + 1 :] if when <= ended)
                assert inside <= rate * (ended - began + 0.1) + PART_BYTES

    def test_bytes_within_the_rate_go_at_once(self) -> None:
        clock = Clock()
        throttle = clock.throttle(100 * MIB)
        for _ in range(1000):
            throttle.take(MIB)
        assert clock.now == pytest.approx(10, rel=0.05)

    @pytest.mark.parametrize(
        "jobs",
        [
            [[400 * MIB]],
            [[100 * MIB], [100 * MIB], [100 * MIB], [100 * MIB]],
            [[391 * MIB], [MIB], [MIB, MIB], [5 * MIB]],
            [[40 * MIB] * 5, [10 * MIB] * 20],
        ],
        ids=["one job", "as long as each other", "one is left at the end", "of several transfers each"],
    )
    def test_several_jobs_with_one_limit_move_what_it_allows_and_no_more(self, jobs: list[list[int]]) -> None:
        assert seconds_of(jobs, rate=100 * MIB) == pytest.approx(4, rel=0.1)

    @pytest.mark.parametrize("rate", [None, 1e12])
    def test_a_transfer_that_is_cancelled_ends_at_its_next_part(self, rate: float | None) -> None:
        limits = Limits(bytes_per_second=rate)

        def cancel(_: TransferProgress) -> None:
            limits.cancelled.set()

        with pytest.raises(TransferCancelled):
            write_stream(
                [b"x" * PART_BYTES] * 3, MemoryDevice(MIB * 3), size_bytes=3 * MIB, progress=cancel, limits=limits
            )
        with pytest.raises(TransferCancelled):
            next(read_device(MemoryDevice(9), length=9, limits=limits))

    def test_a_transfer_that_waits_for_its_rate_can_be_cancelled(self) -> None:
        limits = Limits(bytes_per_second=1)
        threading.Timer(0.05, limits.cancelled.set).start()
        with pytest.raises(TransferCancelled):
            write_stream([b"data"], MemoryDevice(9), size_bytes=4, limits=limits)

    @pytest.mark.parametrize("rate, expected", [(None, [3.0]), (2, [3.0]), (1, [4.0])])
    def test_a_transfer_waits_also_for_what_other_processes_move(
        self, rate: float | None, expected: list[float]
    ) -> None:
        waits, taken = list[float](), list[int]()

        def shared(size_bytes: int) -> float:
            taken.append(size_bytes)
            return 3.0

        limits = Limits(bytes_per_second=rate, clock=lambda: 0.0, shared=shared)
        Throttle(limits, pause=lambda seconds, _: waits.append(seconds)).take(4)
        assert ([round(seconds) for seconds in waits], taken) == (expected, [4])


class Clock:
    """A time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def limits(self, rate: float) -> Limits:
        return Limits(bytes_per_second=rate, clock=lambda: self.now)

    def throttle(self, rate: float) -> Throttle:
        return Throttle(self.limits(rate), pause=self.pause)

    def pause(self, seconds: float, _: object) -> None:
        self.now += seconds


def seconds_of(jobs: list[list[int]], *, rate: float) -> float:
    """How long several jobs take that share one limit, each of which makes transfers of these sizes in turn."""
    clock = Clock()
    limits = clock.limits(rate)
    waits: list[float] = []
    going = [(0.0, number) for number in range(len(jobs))]
    left = [[min(MIB, size - at) for size in sizes for at in range(0, size, MIB)] for sizes in jobs]
    while going:
        clock.now, number = heappop(going)
        if left[number]:
            throttle = Throttle(limits, pause=lambda seconds, _: waits.append(seconds))
            throttle.take(left[number].pop(0))
            heappush(going, (clock.now + waits[-1], number))
    return clock.now


class TestReport:
    def test_a_report_has_a_rate_for_the_user_and_one_for_the_storage(self) -> None:
        report = TransferReport(
            read_bytes=0,
            written_bytes=4 * MIB,
            zeroed_bytes=0,
            skipped_bytes=0,
            size_bytes=40 * MIB,
            seconds=2,
            digests={},
        )
        assert (report.virtual_rate, report.data_rate) == (20, 2)
