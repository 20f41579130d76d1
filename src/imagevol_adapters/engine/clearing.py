"""Ranges that are cleared: a device is believed that they read as zeros only as far as they were read back.

A kernel can answer that it has zeroed a range when the device has zeroed a part of it: a count of blocks that has 16
bits in the protocol and 32 in the kernel loses the upper ones.  What is left then is another tenant's data.
"""

from __future__ import annotations

import logging
import mmap
from collections.abc import Iterator
from functools import partial

from imagevol_adapters.engine.limits import Limits, Pace, Throttle
from imagevol_adapters.engine.parts import ALIGNED_ZEROS, ALIGNMENT_BYTES, PART_BYTES, ZEROS
from imagevol_adapters.engine.threads import afterwards, in_thread
from imagevol_adapters.ports import CLEAR_BYTES, Device
from imagevol_core import DeviceFailed

__all__ = ["Clearing", "clear_device", "requests", "write_all"]

_LOG = logging.getLogger(__name__)

_LONG_REQUESTS = 256  # that a range must have room for: the first long one costs that it is read back as a whole
_END_BYTES = 16 * ALIGNMENT_BYTES  # of a range, that are read back in any case
_MARK = memoryview(mmap.mmap(-1, ALIGNMENT_BYTES))
_MARK[:] = b"\xa5" * ALIGNMENT_BYTES


class Clearing:
    """Clears ranges of one device, and reads back what it says of them.

    A range that is longer than any before is marked at its beginning and its end, so that it cannot be zero already,
    and read back as a whole.  Of all others the end is read back, which is marked too where it is the device's.
    """

    def __init__(self, device: Device) -> None:
        """Begin with a device of which nothing is known."""
        self._device = device
        self._proven_bytes = 0
        self._memory: memoryview | None = None

    def clear(self, offset: int, length: int) -> bool:
        """Clear a range, as `Device.clear` does, but for this: where it says so, the range does read as zeros.

        Returns:
            Whether it was cleared.  If not, zeros must be written; the next range may be cleared by another way.

        Raises:
            DeviceFailed: it could not be read back.
        """
        device, end = self._device, offset + length
        if not device.can_clear:
            return False
        proven = length <= self._proven_bytes
        if not proven:
            self._mark(offset, end - ALIGNMENT_BYTES)
        elif end > device.size_bytes - ALIGNMENT_BYTES:
            self._mark(end - ALIGNMENT_BYTES)
        cleared = device.clear(offset, length)
        if cleared and self._reads_as_zeros(max(offset, end - _END_BYTES) if proven else offset, end):
            self._proven_bytes = max(self._proven_bytes, length)
            return True
        self._proven_bytes = 0  # of the next way nothing is known
        if cleared:
            afterwards(
                partial(
                    _LOG.warning,
                    "Device %s reported %d bytes at byte %d as cleared, and they still hold old data. "
                    "This way of clearing is not used again, and zeros are written instead.",
                    *(device.path, length, offset),
                )
            )
            device.distrust()
        return False

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
                raise DeviceFailed(f"the device ends at byte {at}, and was cleared up to byte {end}")
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
        TransferCancelled: it was.
    """
    over: list[bool] = []
    pace = Throttle(limits or Limits()).until(lambda: bool(over))
    return in_thread(lambda: _cleared(device, pace), stop=lambda: over.append(True))


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
            raise DeviceFailed(f"the device takes no more data at byte {offset}")
        offset += written
        data = data[written:]
