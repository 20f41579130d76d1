"""VDI: one table, of an entry for each block."""

from __future__ import annotations

import struct

from imagevol_adapters.blockmaps.reading import TableError, TableReader

__all__ = ["visit"]

_ALLOCATED = 0xFFFFFFFE  # all entries below it: this one is a block of zeros, and the next one no block


def visit(image: TableReader) -> None:
    """Note where the blocks end."""
    header = image.read(0, 512)
    table, data = struct.unpack_from("<II", header, 0x154)
    disk_bytes, block = struct.unpack_from("<QI", header, 0x170)
    if not block:
        raise TableError("blocks of no bytes")
    count = -(-disk_bytes // block)
    seen, highest = 0, -1
    for entries in image.entries(table, count, code="I", big=False):
        seen += len(entries)
        if seen == count and entries[-1] < _ALLOCATED:  # of the last block only what the disk has of it
            image.need(data + entries.pop() * block + disk_bytes - (count - 1) * block)
        highest = max(highest, max((entry for entry in entries if entry < _ALLOCATED), default=-1))
    if highest >= 0:
        image.need(data + (highest + 1) * block)
