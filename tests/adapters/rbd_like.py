"""An image of librbd on bytes in memory; `tests/rbd` holds the real one to the same."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

OBJECT_BYTES = 4096


class RbdError(Exception):
    """librbd's, which is no OSError."""


class RbdLike:
    """It takes bytes only, refuses whatever is beyond its end, and knows which of its objects were written."""

    def __init__(self, size_bytes: int) -> None:
        self.content = bytearray(size_bytes)
        self.fault: Exception | None = None
        self.flushed = 0
        self._written: set[int] = set()

    @property
    def handle(self) -> SimpleNamespace:
        """What os-brick gives."""
        return SimpleNamespace(rbd_image=self)

    def size(self) -> int:
        self._check()
        return len(self.content)

    def read(self, offset: int, length: int, /) -> bytes:
        self._check(offset + length)
        return bytes(self.content[offset : offset + length])

    def write(self, data: bytes, offset: int, /) -> int:
        self._check(offset + len(data))
        assert type(data) is bytes, "librbd takes bytes only"
        self.content[offset : offset + len(data)] = data
        self._written |= set(range(offset // OBJECT_BYTES, -(-(offset + len(data)) // OBJECT_BYTES)))
        return len(data)

    def write_zeroes(self, offset: int, length: int, /) -> int:
        self._check(offset + length)
        self.content[offset : offset + length] = bytes(length)
        self._written -= set(range(-(-offset // OBJECT_BYTES), (offset + length) // OBJECT_BYTES))
        return length

    def flush(self) -> None:
        self._check()
        self.flushed += 1

    def diff_iterate(
        self,
        offset: int,
        length: int,
        from_snapshot: str | None,
        iterate_cb: Callable[[int, int, bool], object],
        include_parent: bool = True,
        whole_object: bool = False,
    ) -> None:
        self._check(offset + length)
        assert (from_snapshot, include_parent, whole_object) == (None, True, False)
        for number in sorted(self._written):
            start = max(offset, number * OBJECT_BYTES)
            stop = min(offset + length, (number + 1) * OBJECT_BYTES)
            if start < stop:
                iterate_cb(start, stop - start, True)

    def _check(self, end: int = 0) -> None:
        if self.fault:
            raise self.fault
        if end > len(self.content):
            raise RbdError("beyond the image")
