"""What Cinder's own format inspector makes of an image, which is not always what oslo.utils' inspectors make of it.

Cinder 29 copies an image to a volume by what its `cinder.image.format_inspector` finds.  That inspector reads the file
in parts of 512 bytes, once, and takes it for the first format of which it has seen all that it wants to see.  It takes
for raw what it cannot read: a VMDK with a footer, for example, or a file that ends before it has seen enough.
"""

from __future__ import annotations

import struct
import uuid
from typing import BinaryIO

from imagevol_adapters.blockmaps.reading import SECTOR_BYTES, TableReader
from imagevol_core import CinderInspection

__all__ = ["inspect_as_cinder"]

_PART_BYTES = SECTOR_BYTES
_VDI = (slice(64, 68), b"\x7f\x10\xda\xbe")
_QCOW2_FEATURES = 0b1011  # dirty, corrupt and compression_type are allowed; data_file and all others are not
_AT_THE_END = (1 << 64) - 1  # where a VMDK has its directory if it has a footer
_LONGEST_TEXT = (1 << 20) - 1  # of a VMDK
_EXTENT = ("rw", "rdonly", "noaccess")

_REGIONS_AT, _TABLE_BYTES = 192 << 10, 64 << 10  # of a VHDX
_MOST_ENTRIES = 2047
_METADATA = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
_VIRTUAL_SIZE = uuid.UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8").bytes_le


def inspect_as_cinder(head: bytes, file: BinaryIO, *, size_bytes: int) -> CinderInspection:
    r"""Tell what Cinder's own inspector finds in a file.

    Args:
        head: how the file begins: its first 512 bytes, or all of it if it is shorter.
        file: the file.  No more of it is read than the tables, once each.
        size_bytes: how long it is.

    >>> import io
    >>> short = b"conectix".ljust(511, b"\0")  # of a VHD it wants to see 512 bytes
    >>> inspect_as_cinder(short, io.BytesIO(short), size_bytes=511).format
    'raw'
    """
    tables = TableReader(file, size_bytes)
    name = _format(head[:_PART_BYTES], tables)
    safe: bool | None = True
    if name == "qcow2":
        backing_at, features = struct.unpack_from(">Q56xQ", head, 8)
        safe = not backing_at and not features & ~_QCOW2_FEATURES
    elif name == "vmdk":
        safe = _extents_are_safe(_text_of_vmdk(head, tables))
    return CinderInspection(format=name, safe=safe and name != "qed")


def _format(head: bytes, file: TableReader) -> str:
    """The first format of which all is there; several can end in the same part, and then the order counts."""
    if len(head) < _PART_BYTES:
        return "raw"
    place, magic = _VDI
    text_bytes = _text_bytes_of_vmdk(head)
    if head.startswith(b"QFI\xfb"):
        return "qcow2"
    if head.startswith(b"conectix"):
        return "vhd"
    if head[place] == magic and text_bytes != 0:
        return "vdi"
    if head.startswith(b"QED\0"):
        return "qed"
    if text_bytes is not None:
        return "vmdk" if _PART_BYTES + text_bytes <= file.size_bytes else "raw"
    return "vhdx" if head.startswith(b"vhdxfile") and _vhdx_is_whole(file) else "raw"


def _text_bytes_of_vmdk(head: bytes) -> int | None:
    """How long the descriptor is, which begins at sector 1; None if Cinder reads no VMDK with such a header."""
    magic, version, at, sectors, directory = struct.unpack_from("<4sI20xQQ12xQ", head)
    if magic != b"KDMV" or version not in (1, 2, 3) or directory == _AT_THE_END or at != 1:
        return None
    return int(min(sectors * SECTOR_BYTES, _LONGEST_TEXT))


def _text_of_vmdk(head: bytes, file: TableReader) -> bytes:
    return file.read(_PART_BYTES, _text_bytes_of_vmdk(head) or 0)


def _extents_are_safe(text: bytes) -> bool | None:
    """Whether the descriptor names extents, and none in another folder; None if Cinder cannot read a line of it."""
    try:
        lines = [line.strip() for line in text.rstrip(b"\0").decode("ascii").lower().split("\n")]
    except UnicodeDecodeError:
        return None
    extents = []
    for line in lines:
        key, equals, _ = line.partition("=")
        if not line or line.startswith(("#", "ddb")) or (equals and " " not in key):
            continue
        if line.split(" ")[0] not in _EXTENT:
            return None
        extents.append(line)
    return bool(extents) and not any("/" in line for line in extents)


def _vhdx_is_whole(file: TableReader) -> bool:
    """Whether Cinder sees all that it wants of a VHDX: its regions, and its virtual size if they lead to one."""
    regions = file.read(_REGIONS_AT, _TABLE_BYTES)
    if len(regions) < _TABLE_BYTES:
        return False
    magic, count = struct.unpack_from("<4s4xI", regions)
    if magic != b"regi" or count > _MOST_ENTRIES:
        return False
    entries = (regions[at : at + 32] for at in range(16, 16 + 32 * count, 32))
    entry = next((entry for entry in entries if entry.startswith(_METADATA)), None)
    if entry is None:
        return True
    (at,) = struct.unpack_from("<Q", entry, 16)
    seen = _REGIONS_AT + _TABLE_BYTES
    table = _captured(file, at, _TABLE_BYTES, seen=seen)
    if len(table) < 32:
        return False
    magic, count = struct.unpack_from("<8s2xH", table)
    if magic != b"metadata":
        return False
    table_bytes = 32 + 32 * count
    items = (table[at : at + 32] for at in range(32, table_bytes, 32))
    item = next((item for item in items if item.startswith(_VIRTUAL_SIZE)), None)
    if item is None or len(table) < table_bytes:
        return len(table) == _TABLE_BYTES
    item_at, length = struct.unpack_from("<II", item, 16)
    length = min(int(length), _TABLE_BYTES)
    seen = max(seen + 1, max(at, seen - _PART_BYTES) + table_bytes)
    return len(_captured(file, at + item_at, length, seen=seen)) == length


def _captured(file: TableReader, at: int, length: int, *, seen: int) -> bytes:
    """What Cinder gets of a range for which it begins to look in the part in which the byte before `seen` is.

    Of a range that begins before that part, it gets what comes from that part on, if it gets anything.
    """
    part_at = (seen - 1) // _PART_BYTES * _PART_BYTES
    if part_at <= at:
        return file.read(at, length)
    if at + length < part_at:
        return b""
    end = (at + length) // _PART_BYTES * _PART_BYTES + _PART_BYTES
    return file.read(part_at, min(length, end - part_at))
