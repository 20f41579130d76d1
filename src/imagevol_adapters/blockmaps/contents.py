"""The disk in an image, read by the image's own table: qemu-img reads every zero of a format that it cannot map."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from imagevol_adapters.blockmaps.reading import TableError, TableReader
from imagevol_adapters.blockmaps.vhdx import Table
from imagevol_adapters.engine import PART_BYTES, Hole
from imagevol_core import SourceFailed
from imagevol_core.sentences import amount

__all__ = ["MAPPED", "contents"]

MAPPED = frozenset({"vhdx"})
"""The formats that `contents` reads, as the inspectors call them."""


def contents(file: BinaryIO, *, disk_bytes: int) -> Iterator[bytes | Hole]:
    """Yield the disk in a VHDX: its data in pieces, and holes for its zeros.

    The file must be one that qemu-img opened, so that its header, its log and its regions are known to be sound.

    Args:
        file: the image, a file of the operating system.
        disk_bytes: how large the disk is, as qemu-img says.

    Raises:
        SourceFailed: the table cannot be read or says something else, or the file ends before a block does.
    """
    at = 0
    try:
        table = Table.of(TableReader(file, file.seek(0, os.SEEK_END)))
        if table.disk_bytes != disk_bytes:
            raise TableError(f"a disk of {amount(table.disk_bytes, 'byte')}, where qemu-img finds {disk_bytes}")
        for block in table.blocks():
            yield Hole(block.start - at)
            yield from _data(file, block.offset, block.length)
            at = block.start + block.length
    except (TableError, struct.error) as error:
        raise SourceFailed(f"the image's table of blocks is unusable ({error}): make the image again") from error
    yield Hole(disk_bytes - at)


def _data(file: BinaryIO, at: int, length: int) -> Iterator[bytes]:
    end = at + length
    while at < end:
        data = os.pread(file.fileno(), min(PART_BYTES, end - at), at)
        if not data:
            raise SourceFailed(f"the image ends at byte {at}, within a block: it was cut short")
        at += len(data)
        yield data
