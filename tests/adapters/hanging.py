"""Devices, sources and connectors of which a call hangs, as one of the kernel does, until it is let go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from imagevol_adapters.testing.memory import MemoryDevice
from tests.adapters.unpatched import threading

__all__ = ["Hang", "Hanging", "hanging_source"]

_FOR_EVER = ("imagevol-metrics",)  # as long as its process
PATIENCE_SECONDS = 30  # passed only when something hangs that must not


class Hang:
    """Where a thread hangs, from one call on."""

    def __init__(self, call: str, *, after: int = 0) -> None:
        """Let the calls of this name hang, except for the first `after`."""
        self.call = call
        self.left = after
        self.reached, self.go = threading.Event(), threading.Event()

    def __call__(self, call: str) -> None:
        """Hang here, if this is the call."""
        if call != self.call:
            return
        self.left -= 1
        if self.left < 0:
            self.reached.set()
            assert self.go.wait(PATIENCE_SECONDS), "it was never let go"


class Hanging(MemoryDevice):
    """A device of which a call hangs."""

    def __init__(self, size_bytes: int, hang: Hang, content: bytes = b"") -> None:
        """Hold the content."""
        super().__init__(size_bytes)
        if content:
            super().write(0, memoryview(content))
        self.hang = hang

    def write(self, offset: int, data: memoryview) -> int:
        """Write, or hang."""
        self.hang("write")
        return super().write(offset, data)

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Read, or hang."""
        self.hang("readinto")
        return super().readinto(offset, buffer)

    def clear(self, offset: int, length: int) -> bool:
        """Clear, or hang."""
        self.hang("clear")
        return super().clear(offset, length)

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        """Tell of the holes, or hang."""
        self.hang("extents")
        yield from super().extents(offset, length)

    def flush(self) -> None:
        """Flush, or hang."""
        self.hang("flush")
        super().flush()


def hanging_source(data: bytes, hang: Hang, closed: list[bool]) -> Iterator[bytes]:
    """Give the data, and then hang in `next`; note when it is closed."""
    try:
        yield data
        hang("next")
    finally:
        closed.append(True)


@contextmanager
def let_go(*hangs: Hang) -> Iterator[None]:
    """Let go what hangs at the end of the context, and wait until its threads have ended."""
    try:
        yield
    finally:
        for hang in hangs:
            hang.go.set()
        for thread in threading.enumerate():
            if thread.name.startswith("imagevol") and thread.name not in _FOR_EVER:
                thread.join(PATIENCE_SECONDS)
