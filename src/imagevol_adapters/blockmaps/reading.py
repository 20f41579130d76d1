"""Reads the tables of an image, and keeps where the last thing that they name ends."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from typing import BinaryIO

__all__ = ["SECTOR_BYTES", "TableError", "TableReader"]

SECTOR_BYTES = 512
_ENTRIES = 1 << 16  # of a table, at once


class TableError(Exception):
    """A table that cannot be what it says."""


class TableReader:
    """The tables of one file, read by their places; what lies after the end of the file is left out.

    Attributes:
        size_bytes: how long the file is.
        needed_bytes: how long it must be for all that was read or named until now.
    """

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        """Take the file, of which nothing is read yet."""
        self._file = file
        self.size_bytes = size_bytes
        self.needed_bytes = 0

    def need(self, end: int) -> None:
        """Note that something ends there."""
        self.needed_bytes = max(self.needed_bytes, end)

    def read(self, offset: int, length: int) -> bytes:
        """Give these bytes, as far as the file has them, and note that they are needed."""
        if offset < 0:
            raise TableError("a place before the file")
        self.need(offset + length)
        length = min(length, self.size_bytes - offset)
        if length <= 0:
            return b""
        self._file.seek(offset)
        return self._file.read(length)

    def entries(self, offset: int, count: int, *, code: str, big: bool) -> Iterator[array[int]]:
        """Give the entries of a table, many at once.

        Args:
            offset: where it begins.
            count: how many it has.
            code: of one entry, as `array` calls it: `I` for 4 bytes, `Q` for 8.
            big: whether the most significant byte comes first.
        """
        width = array(code).itemsize
        for first in range(0, count, _ENTRIES):
            part = min(_ENTRIES, count - first)
            data = self.read(offset + first * width, part * width)
            if not data:
                self.need(offset + count * width)
                return
            entries = array(code)
            entries.frombytes(data[: len(data) // width * width])
            if big is (sys.byteorder == "little"):
                entries.byteswap()
            yield entries
