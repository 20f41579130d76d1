"""VHD: a fixed one is the disk and a footer; a dynamic one has one table, of an entry for each block."""

from __future__ import annotations

import struct

from imagevol_adapters.blockmaps.reading import SECTOR_BYTES, TableError, TableReader

__all__ = ["FOOTER_BYTES", "fixed_disk_bytes", "visit"]

FOOTER_BYTES = SECTOR_BYTES
_COOKIE = b"conectix"
_FIXED = 2
_UNUSED = 0xFFFFFFFF


def fixed_disk_bytes(footer: bytes) -> int | None:
    """Tell how large the disk of a fixed VHD is, by the last bytes of its file; None if they are no such footer."""
    if len(footer) < FOOTER_BYTES or not footer.startswith(_COOKIE):
        return None
    disk_bytes, kind = struct.unpack_from(">Q4xI", footer, 48)
    return int(disk_bytes) if kind == _FIXED else None


def visit(image: TableReader) -> None:
    """Note where the blocks end."""
    footer = image.read(0, FOOTER_BYTES)
    if not footer.startswith(_COOKIE):
        footer = image.read(image.size_bytes - FOOTER_BYTES, FOOTER_BYTES)
        if not footer.startswith(_COOKIE):
            raise TableError("no footer")
    header_at, disk_bytes, kind = struct.unpack(">Q24xQ4xI", footer[16:64])
    if kind == _FIXED:
        image.need(disk_bytes + FOOTER_BYTES)
        return
    header = image.read(header_at, 1024)
    table, count, block = struct.unpack_from(">Q4xII", header, 16)
    if not block:
        raise TableError("blocks of no bytes")
    bitmap = -(-block // (8 * SECTOR_BYTES) // SECTOR_BYTES) * SECTOR_BYTES
    needed = -(-disk_bytes // block)
    seen, highest = 0, -1
    for entries in image.entries(table, min(count, needed), code="I", big=True):
        seen += len(entries)
        if seen == needed and entries[-1] != _UNUSED:  # of the last block only what the disk has of it
            image.need(entries.pop() * SECTOR_BYTES + bitmap + disk_bytes - (needed - 1) * block)
        highest = max(highest, max((entry for entry in entries if entry != _UNUSED), default=-1))
    if highest >= 0:
        image.need(highest * SECTOR_BYTES + bitmap + block)
