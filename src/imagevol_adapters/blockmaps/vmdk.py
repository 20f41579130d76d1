"""VMDK in one sparse file: a directory of tables, of an entry for each grain."""

from __future__ import annotations

import struct
from array import array

from imagevol_adapters.blockmaps.reading import SECTOR_BYTES, TableError, TableReader

__all__ = ["visit"]

_MAGIC = b"KDMV"
_AT_THE_END = (1 << 64) - 1  # instead of the directory's place: a footer says it
_FOOTER_BYTES = 3 * SECTOR_BYTES  # with the marker before and after it
_ZERO_GRAINS, _COMPRESSED, _MARKED = 1 << 2, 1 << 16, 1 << 17  # flags
_ZERO = 1  # the entry of a grain of zeros, if there are such
_MOST_TABLES, _MOST_ENTRIES = 1 << 21, 512  # in a table; qemu opens no more entries, and 64 TiB are enough


def visit(image: TableReader) -> None:
    """Note where the grains end."""
    header = image.read(0, SECTOR_BYTES)
    if not header.startswith(_MAGIC):
        raise TableError("no header")
    if struct.unpack_from("<Q", header, 56)[0] == _AT_THE_END:
        end = -(-image.size_bytes // SECTOR_BYTES) * SECTOR_BYTES
        header = image.read(end - _FOOTER_BYTES + SECTOR_BYTES, SECTOR_BYTES)
        if not header.startswith(_MAGIC):
            raise TableError("no footer")
    flags, sectors, grain = struct.unpack_from("<IQQ", header, 8)
    (per_table,) = struct.unpack_from("<I", header, 44)
    (directory,) = struct.unpack_from("<Q", header, 56)
    if not grain or not per_table:
        raise TableError("grains of no bytes")
    grains = -(-sectors // grain)
    tables = -(-grains // per_table)
    if tables > _MOST_TABLES or per_table > _MOST_ENTRIES:
        raise TableError("too many tables, or too long ones")
    zero = _ZERO if flags & _ZERO_GRAINS else 0
    places = array("I")
    for part in image.entries(directory * SECTOR_BYTES, tables, code="I", big=False):
        places.extend(part)
    highest, last = 0, 0
    if len(places) == tables and tables and (place := places.pop()):
        count = grains - (tables - 1) * per_table
        for entries in image.entries(place * SECTOR_BYTES, count, code="I", big=False):
            last = entries.pop() if len(entries) == count else 0
            highest = max(entries, default=0)
    for place in sorted(set(places) - {0}):  # each once, however often it is named
        for entries in image.entries(place * SECTOR_BYTES, per_table, code="I", big=False):
            highest = max(highest, max(entries, default=0))
    compressed = flags & _COMPRESSED
    if compressed:
        highest, last = max(highest, last), 0
    if highest > zero:
        image.need(_compressed_end(image, highest, flags) if compressed else (highest + grain) * SECTOR_BYTES)
    if last > zero:  # of the last grain only what the disk has of it
        image.need((last + sectors - (grains - 1) * grain) * SECTOR_BYTES)


def _compressed_end(image: TableReader, sector: int, flags: int) -> int:
    """Where a compressed grain ends; without a marker that says it, qemu notices when it decompresses."""
    start = sector * SECTOR_BYTES
    if not flags & _MARKED:
        return start + 1
    marker = image.read(start, 12)
    return start + 12 + (struct.unpack_from("<I", marker, 8)[0] if len(marker) == 12 else 1)
