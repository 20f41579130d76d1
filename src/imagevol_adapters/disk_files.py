"""A disk that is read at any place, and that is no file, as a file."""

from __future__ import annotations

import io
import os
from typing import BinaryIO, Protocol, cast

__all__ = ["Disk", "disk_file", "disk_of"]


class Disk(Protocol):
    """What can be read at any place."""

    @property
    def size_bytes(self) -> int:
        """How large it is."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Give these bytes, all of them that there are."""


def disk_file(disk: Disk) -> BinaryIO:
    """Give a disk as a file to be read; it has no descriptor.

    >>> from types import SimpleNamespace
    >>> data = SimpleNamespace(size_bytes=4, read_at=lambda offset, length: b"data"[offset : offset + length])
    >>> file = disk_file(data)
    >>> file.seek(2), file.read()
    (2, b'ta')
    """
    return cast("BinaryIO", io.BufferedReader(_DiskFile(disk), buffer_size=4096))


def disk_of(file: BinaryIO | None) -> Disk | None:
    """Give the disk that a file is one of; None of every other file."""
    raw = getattr(file, "raw", None)
    return raw.disk if isinstance(raw, _DiskFile) else None


class _DiskFile(io.RawIOBase):
    """The file without a buffer."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self.disk.size_bytes}[whence]
        self._place = max(0, base + offset)
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self.disk.read_at(self._place, len(view))
        view[: len(data)] = data
        self._place += len(data)
        return len(data)
