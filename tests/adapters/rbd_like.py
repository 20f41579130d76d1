"""What os-brick gives for a volume in Ceph, on bytes in memory."""

from __future__ import annotations

import io
import os
from typing import Any


class RbdError(Exception):
    """librbd's, which is no OSError."""


class RbdLike(io.RawIOBase):
    """What os-brick gives for Ceph: it takes bytes only, says nothing of how many, and is closed by os-brick."""

    fault: Exception | None = None

    def __init__(self, size_bytes: int) -> None:
        self.content = bytearray(size_bytes)
        self.place = 0
        self.flushed = 0

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self.place = offset if whence == os.SEEK_SET else len(self.content) + offset
        return self.place

    def tell(self) -> int:
        return self.place

    def read(self, length: int = -1, /) -> bytes:
        self._check()
        data = bytes(self.content[self.place : self.place + length])
        self.place += len(data)
        return data

    def write(self, data: Any, /) -> None:
        self._check()
        assert type(data) is bytes, "librbd takes bytes only"
        if self.place + len(data) > len(self.content):
            raise RbdError("beyond the image")
        self.content[self.place : self.place + len(data)] = data
        self.place += len(data)

    def flush(self) -> None:
        self._check()
        self.flushed += 1

    def _check(self) -> None:
        if self.fault:
            raise self.fault
