"""qcow2: a table of tables, of an entry for each cluster, which may be compressed or lie there in parts."""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Iterable

import attrs

from imagevol_adapters.blockmaps.reading import SECTOR_BYTES, TableError, TableReader

__all__ = ["visit"]

_COMPRESSED, _ZERO = 1 << 62, 1  # flags of an entry
_OFFSET = (1 << 56) - (1 << 9)
_OTHER_COMPRESSION, _EXTENDED = 1 << 3, 1 << 4  # incompatible features
_PARTS = 32  # of a cluster, with extended entries
_MOST_TABLES_BYTES = 32 << 20  # more than qemu opens
_TRIED = 64  # so many clusters may begin in the file's last sector, or are no sound file's


@attrs.frozen
class _Shape:
    """How the tables of one image are made."""

    cluster: int
    extended: bool
    zlib: bool
    length_shift: int
    length_mask: int

    def compressed(self, entry: int) -> tuple[int, int]:
        """Where a compressed cluster begins, and where its last sector ends."""
        start = entry & ((1 << self.length_shift) - 1)
        sectors = ((entry >> self.length_shift) & self.length_mask) + 1
        return start, (start // SECTOR_BYTES + sectors) * SECTOR_BYTES


def visit(image: TableReader) -> None:
    """Note where the clusters end."""
    header = image.read(0, 112)
    version, bits, disk_bytes = struct.unpack_from(">I12xIQ", header, 4)
    tables_size, tables_at = struct.unpack_from(">IQ", header, 36)
    features = struct.unpack_from(">Q", header, 72)[0] if version > 2 else 0
    if not 9 <= bits <= 21:
        raise TableError("clusters of another size")
    shape = _Shape(
        cluster=1 << bits,
        extended=bool(features & _EXTENDED),
        zlib=not features & _OTHER_COMPRESSION or not any(header[104:105]),
        length_shift=62 - (bits - 8),
        length_mask=(1 << (bits - 8)) - 1,
    )
    width = 2 if shape.extended else 1
    per_table = shape.cluster // (8 * width)
    clusters = -(-disk_bytes // shape.cluster)
    tables = -(-clusters // per_table)
    if tables > min(tables_size, _MOST_TABLES_BYTES // 8):
        raise TableError("too few entries for the disk, or too many")
    places = array("Q")
    for part in image.entries(tables_at, tables, code="Q", big=True):
        places.extend(part)
    doubtful: set[int] = set()
    last = places.pop() & _OFFSET if len(places) == tables and tables else 0
    if any(place & _OFFSET & (shape.cluster - 1) for place in [*places, last]):  # which qemu refuses, too
        raise TableError("a table that begins within a cluster")
    for place in sorted({each & _OFFSET for each in places} - {0}):  # each once, however often it is named
        for entries in image.entries(place, per_table * width, code="Q", big=True):
            _need(image, shape, entries, doubtful)
    if last:
        count = clusters - (tables - 1) * per_table
        entries = array("Q")
        for part in image.entries(last, count * width, code="Q", big=True):
            entries.extend(part)
        if len(entries) == count * width:  # of the last cluster only what the disk has of it
            tail = entries[-width:]
            del entries[-width:]
            _need(image, shape, tail, doubtful, room=disk_bytes - (clusters - 1) * shape.cluster)
        _need(image, shape, entries, doubtful)
    if len(doubtful) > _TRIED or not all(_inflates(image, shape, entry) for entry in doubtful):
        image.need(image.size_bytes + 1)


def _need(
    image: TableReader, shape: _Shape, entries: array[int], doubtful: set[int], *, room: int | None = None
) -> None:
    """Note where the clusters of these entries end; keep those that may end right at the end of the file."""
    plain: Iterable[int]
    if shape.extended:
        pairs = zip(entries[::2], entries[1::2], strict=False)
        part = shape.cluster // _PARTS
        plain = (
            (entry & _OFFSET) + min((parts & 0xFFFFFFFF).bit_length() * part, room or shape.cluster)
            for entry, parts in pairs
            if parts & 0xFFFFFFFF and not entry & _COMPRESSED
        )
        compressed = [entry for entry in entries[::2] if entry & _COMPRESSED]
    else:
        length = room or shape.cluster
        highest = max((entry & _OFFSET for entry in entries if not entry & (_COMPRESSED | _ZERO)), default=0)
        plain = [highest + length] if highest else []
        compressed = [entry for entry in entries if entry & _COMPRESSED]
    image.need(max(plain, default=0))
    for entry in compressed:
        _, end = shape.compressed(entry)
        if image.size_bytes < end < image.size_bytes + SECTOR_BYTES and shape.zlib:
            if len(doubtful) <= _TRIED:
                doubtful.add(entry)
        else:
            image.need(end)


def _inflates(image: TableReader, shape: _Shape, entry: int) -> bool:
    """Whether a compressed cluster is whole, of which only the padding to a sector may be missing."""
    start, _ = shape.compressed(entry)
    inflater = zlib.decompressobj(-15)
    try:
        inflated = inflater.decompress(image.read(start, image.size_bytes - start), shape.cluster + 1)
    except zlib.error:
        return False
    return len(inflated) == shape.cluster and inflater.eof
