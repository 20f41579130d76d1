"""A range that is called cleared is zero, whatever a device says of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.devices.block_stack import LONG_CLEAR_BYTES
from imagevol_adapters.engine import Hole, Limits, StreamWriter, clear_device, clear_rest, write_stream
from imagevol_adapters.engine.clearing import Believed, requests
from imagevol_adapters.ports import CLEAR_BYTES
from imagevol_adapters.testing.faults import FaultyDevice
from imagevol_adapters.testing.memory import MemoryDevice
from imagevol_core import DeviceFailed, TransferCancelled, ZeroHandling

KIB, MIB = 1 << 10, 1 << 20
SIZE_BYTES = 100 * MIB
DATA = b"data" * KIB * 256
SOURCE: list[bytes | Hole] = [DATA, Hole(33 * MIB), DATA]
IMAGE_BYTES = 35 * MIB

# Given the number of a request and its length, how much of it the device zeroes before it answers that all is zero.
LIES: dict[str, Callable[[int, int], int]] = {
    "a count of 16 bits, of blocks of 512 bytes": lambda _, length: length % (32 * MIB),
    "the first 32 MiB": lambda _, length: min(length, 32 * MIB),
    "a count of 14 bits": lambda _, length: length % (8 * MIB),
    "the first 8 MiB": lambda _, length: min(length, 8 * MIB),
    "nothing": lambda *_: 0,
    "all but the last page": lambda _, length: length - 4096,
    "from the fourth request on nothing": lambda number, length: length if number < 3 else 0,
    "the first half of every second request": lambda number, length: length // 2 if number % 2 else length,
}


def device_of(size_bytes: int = SIZE_BYTES, *, path: str = "/memory", clear_bytes: int = CLEAR_BYTES) -> MemoryDevice:
    """A device full of another tenant's data."""
    device = MemoryDevice(size_bytes, path=path, clear_bytes=clear_bytes)
    for at in range(0, size_bytes, MIB):
        device.write(at, memoryview(b"\xff" * min(MIB, size_bytes - at)))
    return device


def is_the_image_and_zeros(device: MemoryDevice) -> bool:
    wanted = DATA + bytes(33 * MIB) + DATA + bytes(SIZE_BYTES - IMAGE_BYTES)
    return device.read(0, SIZE_BYTES) == wanted


class TestLies:
    @pytest.mark.parametrize("lie", LIES)
    def test_a_device_that_clears_less_than_it_says_holds_the_image_and_zeros(self, lie: str) -> None:
        memory = device_of()
        device = FaultyDevice(memory, zeroed=LIES[lie])
        report = write_stream(SOURCE, device, size_bytes=IMAGE_BYTES, algorithms=())
        assert is_the_image_and_zeros(memory)
        assert (report.written_bytes or 0) + report.zeroed_bytes == SIZE_BYTES

    @given(
        st.lists(st.sampled_from([DATA[:4096], Hole(4096), Hole(64 * KIB), Hole(130 * KIB + 1)]), max_size=8),
        st.lists(st.integers(0, 200 * KIB), min_size=1, max_size=5),
    )
    def test_old_data_never_shows_wherever_the_device_stops_clearing(
        self, source: list[bytes | Hole], stops: list[int]
    ) -> None:
        data = b"".join(bytes(piece.length) if isinstance(piece, Hole) else piece for piece in source)
        memory = device_of(MIB)
        device = FaultyDevice(memory, zeroed=lambda number, length: min(length, stops[number % len(stops)]))
        write_stream(source, device, size_bytes=len(data), algorithms=())
        assert memory.read(0, MIB) == data + bytes(MIB - len(data))

    @pytest.mark.parametrize("direct_io", [True, False])
    def test_old_data_never_shows_if_the_places_that_are_looked_at_were_zero(self, direct_io: bool) -> None:
        memory = device_of(4 * CLEAR_BYTES)
        memory.clear(0, CLEAR_BYTES)
        for end in range(2 * CLEAR_BYTES, 4 * CLEAR_BYTES + 1, CLEAR_BYTES):
            memory.clear(end - MIB, MIB)
        device = WriteBack(memory, direct_io=direct_io, zeroed=LIES["the first 8 MiB"])
        write_stream([], device, size_bytes=0, algorithms=())
        assert memory.read(0, memory.size_bytes) == bytes(memory.size_bytes)

    def test_a_device_that_lied_is_asked_no_more_and_one_line_says_so(self, caplog: pytest.LogCaptureFixture) -> None:
        device = FaultyDevice(device_of(path="/dev/nvme0n1"), zeroed=LIES["the first 8 MiB"])
        with caplog.at_level(logging.WARNING):
            write_stream(SOURCE, device, size_bytes=IMAGE_BYTES, algorithms=())
        assert device.cleared == [(MIB, 15 * MIB)]
        assert not device.can_clear
        (message,) = caplog.messages
        assert "/dev/nvme0n1" in message
        assert f"{15 * MIB} bytes at byte {MIB} " in message


# The same of a device that clears the first requests rightly: what they prove of the later ones is wrong.
LATE_LIES: dict[str, Callable[[int, int], int]] = {
    "nothing": lambda number, length: length if number < 2 else 0,
    "a count of 13 bits, of blocks of 512 bytes": lambda number, length: length if number < 2 else length % (4 * MIB),
    "the last request of the device only": lambda number, length: 0 if number == 6 else length,
}
HOLE_BYTES = 4 * CLEAR_BYTES
LATE_SOURCE: list[bytes | Hole] = [DATA, Hole(HOLE_BYTES), DATA, Hole(CLEAR_BYTES - 2 * MIB), DATA]
LATE_BYTES = HOLE_BYTES + CLEAR_BYTES + MIB


def striped(size_bytes: int, *, clear_bytes: int = CLEAR_BYTES) -> MemoryDevice:
    """A thin device: another tenant's data in the first half of each unit, and nothing at the ends."""
    device = MemoryDevice(size_bytes, clear_bytes=clear_bytes)
    for unit in range(0, size_bytes, clear_bytes):
        for at in range(unit, min(size_bytes, unit + clear_bytes // 2), MIB):
            device.write(at, memoryview(b"\xff" * MIB))
    return device


class TestLateLies:
    """What was believed before a lie was noticed is believed no more."""

    @pytest.mark.parametrize("lie", LATE_LIES)
    def test_a_device_that_stops_clearing_later_holds_the_image_and_zeros(self, lie: str) -> None:
        memory = striped(LATE_BYTES + 15 * MIB)
        device = FaultyDevice(memory, zeroed=LATE_LIES[lie])
        report = write_stream(LATE_SOURCE, device, size_bytes=LATE_BYTES, algorithms=())
        data = b"".join(bytes(piece.length) if isinstance(piece, Hole) else piece for piece in LATE_SOURCE)
        assert not device.can_clear
        assert memory.read(0, memory.size_bytes) == data + bytes(15 * MIB)
        assert report.written_bytes == memory.size_bytes - report.zeroed_bytes
        assert report.zeroed_bytes == 15 * MIB + CLEAR_BYTES  # the ranges that were read back as a whole

    @pytest.mark.parametrize("lie", LATE_LIES)
    def test_after_the_rest_of_a_device_is_cleared_it_reads_as_zeros(self, lie: str) -> None:
        memory = striped(7 * CLEAR_BYTES)
        device = FaultyDevice(memory, zeroed=LATE_LIES[lie])
        assert clear_rest(device, offset=0, zeros=ZeroHandling.PUNCH) == 6 * CLEAR_BYTES
        assert memory.read(0, memory.size_bytes) == bytes(memory.size_bytes)

    def test_old_data_never_shows_if_more_ranges_were_cleared_than_are_remembered(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("imagevol_adapters.engine.writing.Believed", partial(Believed, 3))
        source: list[bytes | Hole] = [DATA[: 64 * KIB], Hole(192 * KIB)] * 20
        memory = MemoryDevice(5 * MIB)
        memory.write(0, memoryview(b"".join([b"\xff" * (192 * KIB), bytes(64 * KIB)] * 20)))
        device = FaultyDevice(memory, zeroed=lambda number, length: length if number < 2 else 0)
        write_stream(source, device, size_bytes=5 * MIB, algorithms=())
        assert memory.read(0, 5 * MIB) == (DATA[: 64 * KIB] + bytes(192 * KIB)) * 20

    def test_old_data_never_shows_in_ranges_that_were_believed_before_the_device_grew(self) -> None:
        source: list[bytes | Hole] = [DATA, Hole(80 * MIB - 2 * MIB), DATA]
        memory, large = striped(64 * MIB), striped(100 * MIB)
        small = FaultyDevice(memory, zeroed=lambda number, length: length if number != 2 else 0)
        with StreamWriter(source, algorithms=()) as writer:
            assert not writer.write(small)
            assert small.can_clear
            large.write(0, memoryview(memory.read(0, 64 * MIB)))
            assert writer.write(FaultyDevice(large, zeroed=lambda *_: 0))
            report = writer.report()
        assert large.read(0, 100 * MIB) == DATA + bytes(78 * MIB) + DATA + bytes(20 * MIB)
        assert (report.written_bytes or 0) + report.zeroed_bytes == 100 * MIB

    def test_the_zeros_that_are_written_then_can_be_cancelled(self) -> None:
        limits = Limits()

        class Cancelling(FaultyDevice):
            def write(self, offset: int, data: memoryview) -> int:
                if not self.can_clear and offset < 6 * CLEAR_BYTES:
                    limits.cancelled.set()
                return super().write(offset, data)

        device = Cancelling(striped(7 * CLEAR_BYTES), zeroed=LATE_LIES["nothing"])
        with pytest.raises(TransferCancelled):
            clear_rest(device, offset=0, zeros=ZeroHandling.PUNCH, limits=limits)

    def test_the_log_says_how_much_is_written_again(self, caplog: pytest.LogCaptureFixture) -> None:
        device = FaultyDevice(striped(7 * CLEAR_BYTES), zeroed=LATE_LIES["nothing"])
        with caplog.at_level(logging.WARNING):
            clear_rest(device, offset=0, zeros=ZeroHandling.PUNCH)
        (message,) = caplog.messages
        assert f" {5 * CLEAR_BYTES} bytes " in message

    def test_a_device_that_stops_clearing_later_is_not_called_zero(self) -> None:
        for lie in LATE_LIES.values():
            assert not clear_device(FaultyDevice(striped(7 * CLEAR_BYTES), zeroed=lie))


class EndsOnly(FaultyDevice):
    """A device that zeroes, from the fourth request on, both ends of a range."""

    def clear(self, offset: int, length: int) -> bool:
        if len(self.cleared) < 3:
            return super().clear(offset, length)
        self.cleared.append((offset, length))
        ends = min(length, 64 * KIB)
        return self.device.clear(offset, ends) and self.device.clear(offset + length - ends, ends)


class TestBothEnds:
    """A range is no more believed where its ends read as zeros than where its end does."""

    @pytest.fixture(autouse=True)
    def _four(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("imagevol_adapters.engine.clearing._LONG_REQUESTS", 4)

    @pytest.mark.parametrize("clear_bytes", [CLEAR_BYTES, 2 * CLEAR_BYTES])
    @pytest.mark.parametrize("make", [striped, device_of])
    def test_a_device_that_clears_only_the_ends_of_a_request_holds_the_image_and_zeros(
        self, clear_bytes: int, make: Callable[..., MemoryDevice]
    ) -> None:
        memory = make(10 * CLEAR_BYTES, clear_bytes=clear_bytes)
        write_stream([DATA], EndsOnly(memory), size_bytes=MIB, algorithms=())
        assert memory.read(0, memory.size_bytes) == DATA + bytes(memory.size_bytes - MIB)

    @pytest.mark.parametrize("clear_bytes", [CLEAR_BYTES, 2 * CLEAR_BYTES])
    def test_a_device_that_clears_only_the_ends_of_a_request_is_not_called_zero(self, clear_bytes: int) -> None:
        assert not clear_device(EndsOnly(striped(10 * CLEAR_BYTES, clear_bytes=clear_bytes)))

    @pytest.mark.parametrize("make, every", [(striped, 16), (MemoryDevice, 1)], ids=["old data", "marked"])
    def test_a_long_request_is_looked_into_before_the_device_ends(
        self, make: Callable[..., MemoryDevice], every: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("imagevol_adapters.engine.clearing._MARK_EVERY", every)
        device = EndsOnly(make(20 * CLEAR_BYTES, clear_bytes=2 * CLEAR_BYTES))
        assert not clear_device(device)
        assert len(device.cleared) == 4


class TestBelieved:
    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), max_size=30), st.integers(1, 5))
    def test_the_ranges_that_are_remembered_are_exactly_those_that_were_added(
        self, steps: list[tuple[int, int]], most: int
    ) -> None:
        believed, at, added = Believed(most), 0, set[int]()
        for gap, length in steps:
            if believed.add(at + gap, length):
                added.update(range(at + gap, at + gap + length))
            at += gap + length
        assert believed.total_bytes() == len(added)
        ranges = list(believed.take())
        assert {place for offset, length in ranges for place in range(offset, offset + length)} == added
        assert len(ranges) <= most
        assert list(believed.take()) == []


class TestLongRequests:
    """A long request is believed no more than a short one."""

    @pytest.fixture(autouse=True)
    def _four(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("imagevol_adapters.engine.clearing._LONG_REQUESTS", 4)

    @pytest.mark.parametrize("lie", [*LIES, "the first 16 MiB"])
    def test_after_long_requests_a_device_holds_the_image_and_zeros(self, lie: str) -> None:
        memory = device_of(200 * MIB, clear_bytes=2 * CLEAR_BYTES)
        lies = {**LIES, "the first 16 MiB": lambda _, length: min(length, CLEAR_BYTES)}
        device = FaultyDevice(memory, zeroed=lies[lie])
        write_stream([DATA], device, size_bytes=MIB, algorithms=())
        assert memory.read(0, memory.size_bytes) == DATA + bytes(199 * MIB)

    def test_the_first_long_request_is_read_back_whole_and_of_each_other_some_places(self) -> None:
        read: list[int] = []

        class Watched(MemoryDevice):
            def readinto(self, offset: int, buffer: memoryview) -> int:
                read.append(len(buffer))
                return super().readinto(offset, buffer)

        device = Watched(20 * CLEAR_BYTES, clear_bytes=2 * CLEAR_BYTES)
        assert clear_device(device)
        assert sum(read) == 2 * CLEAR_BYTES + 9 * (1 + 4) * 64 * KIB

    def test_a_device_that_takes_no_long_requests_gets_none(self) -> None:
        device = FaultyDevice(device_of(200 * MIB))
        assert clear_device(device)
        assert max(length for _, length in device.cleared) == CLEAR_BYTES


class WriteBack(FaultyDevice):
    """A device behind a cache, if it is no direct one: what was not flushed to a range is lost when that is cleared."""

    def __init__(self, device: MemoryDevice, *, direct_io: bool, zeroed: Callable[[int, int], int]) -> None:
        super().__init__(device, zeroed=zeroed)
        self.direct = direct_io
        self.held: list[tuple[int, bytes]] = []

    @property
    def direct_io(self) -> bool:
        return self.direct

    def write(self, offset: int, data: memoryview) -> int:
        if self.direct:
            return super().write(offset, data)
        self.held.append((offset, bytes(data)))
        return len(data)

    def clear(self, offset: int, length: int) -> bool:
        self.held = [each for each in self.held if not offset <= each[0] < offset + length]
        return super().clear(offset, length)

    def flush(self) -> None:
        for offset, data in self.held:
            self.device.write(offset, memoryview(data))
        self.held.clear()


class TestTruth:
    def test_little_is_read_back_of_a_device_that_tells_the_truth(self) -> None:
        read: list[tuple[int, int]] = []

        class Watched(MemoryDevice):
            def readinto(self, offset: int, buffer: memoryview) -> int:
                read.append((offset, len(buffer)))
                return super().readinto(offset, buffer)

        device = Watched(20 * CLEAR_BYTES)
        report = write_stream([], device, size_bytes=0, algorithms=())
        assert report.zeroed_bytes == device.size_bytes
        assert (
            sum(length for _, length in read) == CLEAR_BYTES + (19 + 4) * 64 * KIB
        )  # the first, ends, and inside the last
        for end in range(CLEAR_BYTES, device.size_bytes + 1, CLEAR_BYTES):
            assert any(offset + length == end for offset, length in read)

    @given(st.integers(0, 100 * MIB), st.integers(0, 100 * MIB))
    def test_no_request_is_longer_than_any_protocol_takes(self, start: int, length: int) -> None:
        found = list(requests(start, start + length))
        assert sum(count for _, count in found) == length
        assert all(0 < count <= CLEAR_BYTES for _, count in found)
        assert [offset for offset, _ in found] == [start, *(offset + count for offset, count in found)][: len(found)]
        assert all((offset + count) % CLEAR_BYTES == 0 for offset, count in found[:-1])

    @given(st.integers(0, 2 * LONG_CLEAR_BYTES), st.integers(0, 300 * LONG_CLEAR_BYTES))
    def test_a_very_long_range_takes_few_requests_where_the_device_takes_long_ones(
        self, start: int, length: int
    ) -> None:
        found = list(requests(start, start + length, longest=LONG_CLEAR_BYTES))
        assert sum(count for _, count in found) == length
        assert [offset for offset, _ in found] == [start, *(offset + count for offset, count in found)][: len(found)]
        long = [count for _, count in found if count > CLEAR_BYTES]
        assert set(long) <= {LONG_CLEAR_BYTES}
        assert bool(long) is (length >= 256 * LONG_CLEAR_BYTES)
        if long:
            assert len(found) <= length // LONG_CLEAR_BYTES + 2 * LONG_CLEAR_BYTES // CLEAR_BYTES

    def test_a_range_that_cannot_be_read_back_is_an_error(self) -> None:
        device = FaultyDevice(MemoryDevice(MIB), reads=[0])
        with pytest.raises(DeviceFailed, match="ends at byte 0, and was cleared up to"):
            write_stream([], device, size_bytes=0, algorithms=())


class TestWholeDevice:
    @pytest.mark.parametrize("size_bytes", [0, 4095, 4096, 3 * CLEAR_BYTES, 2 * CLEAR_BYTES + 5000])
    def test_a_device_that_was_cleared_as_a_whole_reads_as_zeros(self, size_bytes: int) -> None:
        memory = device_of(size_bytes)
        assert clear_device(memory)
        assert memory.read(0, size_bytes) == bytes(size_bytes)

    @pytest.mark.parametrize("lie", ["a count of 14 bits", "from the fourth request on nothing"])
    def test_a_device_that_does_not_clear_as_a_whole_is_not_called_zero(self, lie: str) -> None:
        assert not clear_device(FaultyDevice(device_of(), zeroed=LIES[lie]))

    def test_a_device_that_cannot_be_cleared_as_a_whole_is_not_written(self) -> None:
        memory = MemoryDevice(MIB, can_clear=False)
        memory.write(0, memoryview(DATA))
        assert not clear_device(memory)
        assert memory.read(0, MIB) == DATA

    def test_the_clearing_of_a_whole_device_can_be_cancelled(self) -> None:
        limits = Limits()
        limits.cancelled.set()
        with pytest.raises(TransferCancelled):
            clear_device(MemoryDevice(MIB), limits=limits)


def test_a_device_that_lies_is_right_where_zeros_are_written_in_any_case() -> None:
    memory = device_of()
    write_stream(SOURCE, FaultyDevice(memory, zeroed=LIES["nothing"]), size_bytes=IMAGE_BYTES, zeros=ZeroHandling.WRITE)
    assert is_the_image_and_zeros(memory)
