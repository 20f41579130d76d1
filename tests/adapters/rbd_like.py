"""An image of librbd on bytes in memory; `tests/rbd` holds the real one to the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

OBJECT_BYTES = 4096


class RbdError(Exception):
    """librbd's, which is no OSError."""


class _Count:
    """A number that threads change."""

    def __init__(self) -> None:
        self._lock, self._count = threading.Lock(), 0

    def add(self, number: int) -> int:
        with self._lock:
            self._count += number
            return self._count


class RbdLike:
    """It takes bytes only, refuses whatever is beyond its end, and knows which of its objects were written."""

    def __init__(self, size_bytes: int) -> None:
        self.content = bytearray(size_bytes)
        self.fault: Exception | None = None
        self.flushed = 0
        self.result = 0
        """What a request that is begun ends with: 0, or an error's number below zero."""
        self.answering = threading.Event()
        self.answering.set()
        self.most_begun = 0
        self.closed = False
        self.options: dict[str, str] = {}
        self.client = SimpleNamespace(client=SimpleNamespace(conf_set=self.options.__setitem__))
        self._open = _Count()
        self._threads = ThreadPoolExecutor(1)
        self._written: set[int] = set()

    @property
    def handle(self) -> SimpleNamespace:
        """What os-brick gives."""
        return SimpleNamespace(rbd_image=self)

    def close(self) -> None:
        self.closed = True

    def require_not_closed(self) -> None:
        assert not self.closed

    def size(self) -> int:
        self._check()
        return len(self.content)

    def read(self, offset: int, length: int, /) -> bytes:
        self._check(offset + length)
        return bytes(self.content[offset : offset + length])

    def aio_write(self, data: bytes | bytearray, offset: int, oncomplete: Callable[[Any], object], /) -> None:
        self._check(offset + len(data))
        assert type(data) in (bytes, bytearray), "librbd takes nothing else"
        self._begun(oncomplete, lambda: self._write(data, offset))

    def aio_flush(self, oncomplete: Callable[[Any], object], /) -> None:
        self._check()
        self._begun(oncomplete, self.flush)

    def _begun(self, oncomplete: Callable[[Any], object], request: Callable[[], object]) -> None:
        """End a request at some later time, in another thread, as librbd does."""
        self.most_begun = max(self.most_begun, self._open.add(1))

        def end() -> None:
            self.answering.wait()
            result = self.result
            if not result:
                request()
            self._open.add(-1)
            oncomplete(SimpleNamespace(get_return_value=lambda: result))

        self._threads.submit(end)

    def _write(self, data: bytes | bytearray, offset: int) -> None:
        self.content[offset : offset + len(data)] = data
        self._written |= set(range(offset // OBJECT_BYTES, -(-(offset + len(data)) // OBJECT_BYTES)))

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
