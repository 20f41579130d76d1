"""VHDX: regions, of which one holds the parameters and one a table, of an entry for each block."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator

import attrs

from imagevol_adapters.blockmaps.reading import TableError, TableReader

__all__ = ["Block", "Table", "visit"]

_MIB = 1 << 20
_REGIONS = (192 << 10, 256 << 10)
_REGION_BYTES = 64 << 10
_BAT = uuid.UUID("2dc27766-f623-4200-9d64-115e9bfd4a08").bytes_le
_METADATA = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
_PARAMETERS = uuid.UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b").bytes_le
_DISK_SIZE = uuid.UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8").bytes_le
_SECTOR_SIZE = uuid.UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f").bytes_le
_ZEROS, _PRESENT, _STATE = frozenset({0, 1, 2, 3, 5}), 6, 7
_MOST_ENTRIES = 2047


@attrs.frozen
class Block:
    """A block that is in the file.

    Attributes:
        start: where on the disk.
        length: how long, on the disk.
        offset: where in the file.
    """

    start: int
    length: int
    offset: int


def visit(image: TableReader) -> None:
    """Note where the blocks end."""
    for block in Table.of(image).blocks():
        image.need(block.offset + block.length)


@attrs.frozen
class Table:
    """The table of an image: where each block of the disk is.

    Attributes:
        disk_bytes: how large the disk is.
        block_bytes: how large a block of it is.
    """

    disk_bytes: int
    block_bytes: int
    _ratio: int
    _place: int
    _image: TableReader

    @classmethod
    def of(cls, image: TableReader) -> Table:
        """Find the table of an image.

        Raises:
            TableError: there is none.
        """
        regions = _regions(image)
        if not {_BAT, _METADATA} <= regions.keys():
            raise TableError("no regions")
        block, disk_bytes, sector = _parameters(image, regions[_METADATA])
        if not block or not sector:
            raise TableError("blocks of no bytes")
        ratio = (sector << 23) // block  # after so many blocks stands an entry for the bitmap of their sectors
        if not ratio:
            raise TableError("blocks that are too large")
        return cls(disk_bytes, block, ratio, regions[_BAT], image)

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks that the file holds, in their order on the disk; all others are zeros.

        Raises:
            TableError: a block is in a state that no reader knows, or in a parent.
        """
        count = -(-self.disk_bytes // self.block_bytes)
        entries = count + (count - 1) // self._ratio if count else 0
        index = 0
        for part in self._image.entries(self._place, entries, code="Q", big=False):
            for entry in part:
                group, within = divmod(index, self._ratio + 1)
                index += 1
                if within == self._ratio or entry & _STATE in _ZEROS:
                    continue
                if entry & _STATE != _PRESENT:
                    raise TableError(f"a block in state {entry & _STATE}")
                start = (group * self._ratio + within) * self.block_bytes
                yield Block(start, min(self.block_bytes, self.disk_bytes - start), entry >> 20 << 20)


def _regions(image: TableReader) -> dict[bytes, int]:
    """Where each region begins, by the first table that is one."""
    for place in _REGIONS:
        table = image.read(place, _REGION_BYTES)
        if table.startswith(b"regi"):
            (count,) = struct.unpack_from("<I", table, 8)
            places = range(16, 16 + 32 * min(count, _MOST_ENTRIES), 32)
            return {table[at : at + 16]: struct.unpack_from("<Q", table, at + 16)[0] for at in places}
    raise TableError("no table of the regions")


def _parameters(image: TableReader, region: int) -> tuple[int, int, int]:
    """The sizes of a block, of the disk and of a sector."""
    table = image.read(region, _REGION_BYTES)
    if not table.startswith(b"metadata"):
        raise TableError("no metadata")
    (count,) = struct.unpack_from("<H", table, 10)
    found = {}
    for at in range(32, 32 + 32 * min(count, _MOST_ENTRIES), 32):
        found[table[at : at + 16]] = struct.unpack_from("<I", table, at + 16)[0]
    if not {_PARAMETERS, _DISK_SIZE, _SECTOR_SIZE} <= found.keys():
        raise TableError("the metadata region is missing")
    (block,) = struct.unpack("<I", image.read(region + found[_PARAMETERS], 4))
    (disk_bytes,) = struct.unpack("<Q", image.read(region + found[_DISK_SIZE], 8))
    (sector,) = struct.unpack("<I", image.read(region + found[_SECTOR_SIZE], 4))
    return block, disk_bytes, sector
