"""Where the zeros are in data of which nothing is known."""

from __future__ import annotations

from collections.abc import Iterator

from imagevol_adapters.engine.parts import ALIGNMENT_BYTES, ZEROS

__all__ = ["runs"]

_BLOCK_BYTES = 1 << 16  # arrays keep data in pieces of about this size: a smaller hole saves them nothing


def runs(data: memoryview) -> Iterator[tuple[int, int, bool]]:
    """Divide data into runs of zeros and runs of anything else, and give where each begins and ends, and which it is.

    Only zeros of whole 64 KiB blocks count, as they lie; a run of data then loses the zeros at both its ends.  The
    bytes are copied out block by block to be compared: in a cache that costs less than any loop in Python.

    >>> list(runs(memoryview(bytes(65536) + b"data")))
    [(0, 65536, False), (65536, 65540, True)]
    """
    start, end = 0, 0
    for at in range(0, len(data), _BLOCK_BYTES):
        stop = min(len(data), at + _BLOCK_BYTES)
        if not _is_zero(data[at:stop]):
            if at > end:  # zeros lie before it
                yield from _data(data, start, end)
                yield end, at, False
                start = at
            end = stop
    yield from _data(data, start, end)
    if end < len(data):
        yield end, len(data), False


def _data(data: memoryview, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """Yield a run of data, without the zeros at its ends."""
    first, last = start, end
    while first + ALIGNMENT_BYTES < last and _is_zero(data[first : first + ALIGNMENT_BYTES]):
        first += ALIGNMENT_BYTES
    while (page := (last - 1) // ALIGNMENT_BYTES * ALIGNMENT_BYTES) > first and _is_zero(data[page:last]):
        last = page
    if start < first:
        yield start, first, False
    if first < last:
        yield first, last, True
    if last < end:
        yield last, end, False


def _is_zero(block: memoryview) -> bool:
    """Look at its beginning first, which is nearly always enough to see that it is not."""
    if bytes(block[:_GLANCE_BYTES]) != ZEROS[: min(_GLANCE_BYTES, len(block))]:
        return False
    return bytes(block) == (_BLOCK if len(block) == _BLOCK_BYTES else ZEROS[: len(block)])


_BLOCK = ZEROS[:_BLOCK_BYTES]
_GLANCE_BYTES = 64
