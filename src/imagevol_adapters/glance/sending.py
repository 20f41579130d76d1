"""The data of an image as glanceclient reads it to send it."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Reader"]


class Reader:
    """An iterable as the file that glanceclient reads; it asks for less than a part, and gets the rest later.

    Attributes:
        error: what the iterable raised.
        ended: whether all of it was read.
        given_bytes: how many bytes were read.
    """

    def __init__(self, parts: Iterable[bytes]) -> None:
        """Begin at the first part."""
        self._parts = iter(parts)
        self._rest = memoryview(b"")
        self.error: Exception | None = None
        self.ended = False
        self.given_bytes = 0

    def read(self, length: int) -> bytes:
        """Give at most so many bytes, and none at the end."""
        while not self._rest:
            part = self._next()
            if part is None:
                return b""
            self._rest = memoryview(part)
        head, self._rest = self._rest[:length], self._rest[length:]
        self.given_bytes += len(head)
        return bytes(head)

    def _next(self) -> bytes | None:
        try:
            part = next(self._parts, None)
            self.ended = part is None
            return part
        except Exception as error:
            self.error = error
            raise
