"""Ranges of a device are cleared.  That they now read as zeros is believed only of what was read back.

A kernel can answer that it has zeroed a range when the device has zeroed a part of it: a count of blocks that has 16
bits in the protocol and 32 in the kernel loses the upper ones.  What is left then is another tenant's data.

A device may clear the first requests and lie later.  So what was not read back as a whole is remembered, and is written
with zeros as soon as one lie is noticed.
"""

from __future__ import annotations

import logging
import mmap
from array import array
from collections.abc import Iterator
from functools import partial

from imagevol_adapters.engine.limits import Limits, Pace, Throttle
from imagevol_adapters.engine.parts import ALIGNED_ZEROS, ALIGNMENT_BYTES, PART_BYTES, ZEROS
from imagevol_adapters.engine.threads import afterwards, in_thread
from imagevol_adapters.engine.watching import watched_device
from imagevol_adapters.ports import CLEAR_BYTES, Device
from imagevol_core import DeviceFailed

__all__ = ["Believed", "Clearing", "clear_device", "requests", "write_all"]

_LOG = logging.getLogger(__name__)

_LONG_REQUESTS = 256  # that a range must have room for: the first long one costs that it is read back as a whole
_END_BYTES = 16 * ALIGNMENT_BYTES  # of a range, that are read back in any case
_PLACES = 4  # inside a range, that are read back too: one in each quarter
_MARK_EVERY = 16  # requests one of these places is marked, which costs far more than to read it
_STRIDE = 7919  # a prime number of pages, by which the places move on from range to range
_MOST_BELIEVED = 1 << 16  # ranges that are remembered, in 16 bytes each
_MARK = memoryview(mmap.mmap(-1, ALIGNMENT_BYTES))
_MARK[:] = b"\xa5" * ALIGNMENT_BYTES


class Believed:
    """Ranges that a device reported as cleared and that were read back in part, in ascending order.

    Two are merged only if one begins where the other ends: between any others there can be data.

    >>> believed = Believed()
    >>> [believed.add(offset, 10) for offset in (0, 10, 30)]
    [True, True, True]
    >>> list(believed.take()), list(believed.take())
    ([(0, 20), (30, 10)], [])
    """

    def __init__(self, most: int = _MOST_BELIEVED) -> None:
        """Begin empty, with room for `most` ranges."""
        self._most = most
        self._bounds: array[int] = array("Q")

    def add(self, offset: int, length: int) -> bool:
        """Remember a range after all others; False if there is no room for it."""
        if self._bounds and self._bounds[-1] == offset:
            self._bounds[-1] += length
            return True
        if len(self._bounds) >= 2 * self._most:
            return False
        self._bounds.extend((offset, offset + length))
        return True

    def total_bytes(self) -> int:
        """Give the length of all ranges together."""
        return sum(self._bounds[1::2]) - sum(self._bounds[::2])

    def take(self) -> Iterator[tuple[int, int]]:
        """Give the offset and the length of each range, and forget all of them."""
        bounds, self._bounds = self._bounds, array("Q")
        return ((start, end - start) for start, end in zip(bounds[::2], bounds[1::2], strict=True))


class Clearing:
    """Clears ranges of one device, and reads back what it says of them.

    A range that is longer than any before is marked at its beginning and its end, so that it cannot be zero already,
    and read back as a whole.  Of all others the end is read back, which is marked too where it is the device's.  Of
    long ranges, and at the device's end, a few places inside are read back as well.  At the device's end all of them
    are marked, and elsewhere one in some requests.
    """

    def __init__(self, device: Device, believed: Believed | None = None) -> None:
        """Begin with a device, and with what another `Clearing` believed of the same bytes."""
        self._device = device
        self._believed = Believed() if believed is None else believed
        self._lied = False
        self._proven_bytes = 0
        self._requests = 0
        self._memory: memoryview | None = None

    def clear(self, offset: int, length: int) -> bool:
        """Clear a range, as `Device.clear` does, and read back whether it reads as zeros.

        Ranges must come in ascending order.

        Returns:
            Whether it was cleared.  If not, zeros must be written to it and to what `disbelieved` gives; the next range
            may be cleared by another way.

        Raises:
            DeviceFailed: it could not be read back.
        """
        device, end = self._device, offset + length
        if not device.can_clear:
            return False
        proven = length <= self._proven_bytes
        last = end > device.size_bytes - ALIGNMENT_BYTES
        self._requests += 1
        inside = self._places(offset, length) if last or length > CLEAR_BYTES else []
        marks = inside if last else self._marked(inside)
        if not proven:
            marks = [offset, *marks]
        if not proven or last:
            marks = [*marks, end - ALIGNMENT_BYTES]
        if marks:
            self._mark(*marks)
        cleared = device.clear(offset, length)
        if cleared and self._holds(offset, end, inside, proven=proven):
            self._proven_bytes = max(self._proven_bytes, length)
            return True
        self._proven_bytes = 0  # of the next way nothing is known
        if cleared:
            self._disbelieve(offset, length)
        return False

    def disbelieved(self) -> Iterator[tuple[int, int]]:
        """Give each range that was called cleared and may hold old data, once: its offset and its length."""
        lied, self._lied = self._lied, False
        return self._believed.take() if lied else iter(())

    def _disbelieve(self, offset: int, length: int) -> None:
        """Say that a range holds old data, and never clear by the same way again."""
        self._lied = True
        afterwards(
            partial(
                _LOG.warning,
                "%s reported %d bytes at byte %d as cleared, and they still hold old data. "
                "This way of clearing is not used again. Zeros are written instead, "
                "also to %d bytes that were cleared before and read back only in part.",
                *(self._device.what, length, offset, self._believed.total_bytes()),
            )
        )
        self._device.distrust()

    def _places(self, offset: int, length: int) -> list[int]:
        """Give a place in each quarter of a range that is not read back as a whole, another one for each request."""
        if length <= _END_BYTES:
            return []
        quarter = length // _PLACES // ALIGNMENT_BYTES
        moved = self._requests * _STRIDE % quarter
        return [offset + (number * quarter + moved) * ALIGNMENT_BYTES for number in range(_PLACES)]

    def _marked(self, inside: list[int]) -> list[int]:
        """Give which places inside a range are marked: one of them, and that in a few requests only."""
        turn, is_other = divmod(self._requests, _MARK_EVERY)
        return [] if is_other else inside[turn % _PLACES :][:1]

    def _holds(self, offset: int, end: int, inside: list[int], *, proven: bool) -> bool:
        """Tell whether a range reads as zeros, as far as it is read back."""
        if not proven:
            return self._reads_as_zeros(offset, end)
        tail = max(offset, end - _END_BYTES)
        if not self._reads_as_zeros(tail, end):
            return False
        if not all(self._reads_as_zeros(at, min(tail, at + _END_BYTES)) for at in inside):
            return False
        return tail == offset or self._believed.add(offset, end - offset) or self._reads_as_zeros(offset, tail)

    def _mark(self, *offsets: int) -> None:
        for offset in offsets:
            write_all(self._device, offset, _MARK)
        if not self._device.direct_io:
            self._device.flush()  # or the marks are dropped from the page cache before the device has seen them

    def _reads_as_zeros(self, at: int, end: int) -> bool:
        self._memory = self._memory or memoryview(mmap.mmap(-1, PART_BYTES))
        while at < end:
            count = self._device.readinto(at, self._memory[: min(PART_BYTES, end - at)])
            if count <= 0:
                raise DeviceFailed(f"{self._device.what} ends at byte {at}, and was cleared up to byte {end}")
            if bytes(self._memory[:count]) != ZEROS[:count]:
                return False
            at += count
        return True


def clear_device(device: Device, *, limits: Limits | None = None) -> bool:
    """Let a whole device read as zeros without sending them, and flush it.

    Returns:
        Whether it does, as far as it was read back; False as soon as a part of it cannot be cleared.

    Raises:
        DeviceFailed: it could not be read back.
        DeviceStalled: it has not answered in time.
        TransferCancelled: it was.
    """
    over: list[bool] = []
    limited = limits or Limits()
    pace = Throttle(limited).until(lambda: bool(over))
    watch = limited.device_watch(device)
    watched = watched_device(device, watch)
    return in_thread(lambda: _cleared(watched, pace), stop=lambda: over.append(True), patience=watch.patience)


def _cleared(device: Device, pace: Pace) -> bool:
    clearing, end = Clearing(device), device.size_bytes
    whole = end - end % ALIGNMENT_BYTES
    for offset, length in requests(0, whole, longest=device.clear_bytes):
        pace(0)
        if not clearing.clear(offset, length):
            return False
    write_all(device, whole, ALIGNED_ZEROS[: end - whole])
    device.flush()
    return True


def requests(start: int, end: int, *, longest: int = CLEAR_BYTES) -> Iterator[tuple[int, int]]:
    """Divide a range into requests to clear: offsets and lengths.

    Requests end at multiples of `CLEAR_BYTES`, so that storage that keeps its data in blocks can free whole blocks.
    None is longer than `CLEAR_BYTES`, except that the middle of a very long range is divided into requests of
    `longest`.  There is no length between the two, because each length that is new is read back as a whole.

    Args:
        start: where the range begins.
        end: where the range ends.
        longest: the most that one request can clear, a multiple of `CLEAR_BYTES`.

    >>> [(offset >> 20, length >> 20) for offset, length in requests(10 << 20, 40 << 20)]
    [(10, 6), (16, 16), (32, 8)]
    >>> len(list(requests(0, 500 << 30))), len(list(requests(0, 500 << 30, longest=256 << 20)))
    (32000, 2000)
    """
    long = longest if end - start >= _LONG_REQUESTS * longest else CLEAR_BYTES
    while start < end:
        whole = start % long == 0 and end - start >= long
        stop = start + long if whole else min(end, (start // CLEAR_BYTES + 1) * CLEAR_BYTES)
        yield start, stop - start
        start = stop


def write_all(device: Device, offset: int, data: memoryview) -> None:
    """Write data, in as many goes as the device takes.

    Raises:
        DeviceFailed: it does not take all.
    """
    while data:
        written = device.write(offset, data)
        if written <= 0:
            raise DeviceFailed(f"{device.what} takes no more data at byte {offset}")
        offset += written
        data = data[written:]
