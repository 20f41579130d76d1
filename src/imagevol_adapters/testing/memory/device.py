"""The bytes of a volume in memory: sparse, as a volume is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import attrs

from imagevol_adapters.ports import CLEAR_BYTES
from imagevol_core import DeviceFailed, DeviceStalled

__all__ = ["MemoryDevice"]

_BLOCK_BYTES = 1 << 16
_ZEROS = memoryview(bytes(1 << 22))


@attrs.define
class MemoryDevice:
    """Bytes that take memory only where something was written: a `Device`."""

    size_bytes: int
    path: str = attrs.field(default="/memory", kw_only=True)
    guarantee: str | None = attrs.field(default=None, kw_only=True)
    block_device: None = attrs.field(default=None, init=False)
    look_at: str = attrs.field(default=DeviceStalled.look_at, kw_only=True, repr=False)
    direct_io: bool = attrs.field(default=True, init=False)
    can_clear: bool = attrs.field(default=True, kw_only=True)
    clear_bytes: int = attrs.field(default=CLEAR_BYTES, kw_only=True)
    _blocks: dict[int, bytearray] = attrs.field(factory=dict, kw_only=True, repr=False)

    @property
    def what(self) -> str:
        """How an error names it."""
        return f"device {self.path}"

    def copy(self) -> MemoryDevice:
        """Give another one with the same bytes."""
        return attrs.evolve(self, blocks={number: bytearray(block) for number, block in list(self._blocks.items())})

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer, as far as there are bytes."""
        end = min(offset + len(buffer), self.size_bytes)
        for start in range(offset, end, len(_ZEROS)):
            stop = min(end, start + len(_ZEROS))
            buffer[start - offset : stop - offset] = _ZEROS[: stop - start]
        for number, start, stop in self._held(offset, end):
            at = number * _BLOCK_BYTES
            buffer[start - offset : stop - offset] = memoryview(self._blocks[number])[start - at : stop - at]
        return max(0, end - offset)

    def read(self, offset: int, length: int) -> bytes:
        """Give up to `length` bytes."""
        data = bytearray(max(0, min(length, self.size_bytes - offset)))
        self.readinto(offset, memoryview(data))
        return bytes(data)

    def write(self, offset: int, data: memoryview) -> int:
        """Write as much as there is room for."""
        end = min(offset + len(data), self.size_bytes)
        if end <= offset and data:
            raise DeviceFailed(f"writing at byte {offset} failed: the device ends at byte {self.size_bytes}")
        for number, start, stop in _blocks(offset, end):
            part = bytes(data[start - offset : stop - offset])
            if number not in self._blocks and part.count(0) == len(part):
                continue  # it reads as zeros, and takes no memory
            block = self._blocks.setdefault(number, bytearray(_BLOCK_BYTES))
            at = number * _BLOCK_BYTES
            block[start - at : stop - at] = part
        return end - offset

    def clear(self, offset: int, length: int) -> bool:
        """Let a range read as zeros, and take no more memory, if the device can."""
        for number, start, stop in self._held(offset, min(offset + length, self.size_bytes)) if self.can_clear else ():
            if stop - start == _BLOCK_BYTES:
                del self._blocks[number]
            else:
                at = number * _BLOCK_BYTES
                self._blocks[number][start - at : stop - at] = bytes(stop - start)
        return self.can_clear

    def distrust(self) -> None:
        """Clear nothing again."""
        self.can_clear = False

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        """Yield what takes memory, and the holes between."""
        blocks = _blocks(offset, min(offset + length, self.size_bytes))
        for is_data, run in groupby(blocks, key=lambda block: block[0] in self._blocks):
            first, *others = run
            yield first[1], (others or [first])[-1][2], is_data

    def flush(self) -> None:
        """Nothing is held back."""

    def leave_open(self) -> None:
        """It has nothing that could be closed."""

    def _held(self, offset: int, end: int) -> list[tuple[int, int, int]]:
        """Each block that a range touches and that takes memory, as `_blocks` gives it."""
        touched = range(offset // _BLOCK_BYTES, -(-end // _BLOCK_BYTES))
        few, many = sorted((touched, self._blocks), key=len)
        held = [number for number in few if number in many]
        return [(at, max(offset, at * _BLOCK_BYTES), min(end, (at + 1) * _BLOCK_BYTES)) for at in held]


def _blocks(offset: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Each block that a range touches: its number, and where the range begins and ends in it."""
    while offset < end:
        number = offset // _BLOCK_BYTES
        stop = min(end, (number + 1) * _BLOCK_BYTES)
        yield number, offset, stop
        offset = stop
