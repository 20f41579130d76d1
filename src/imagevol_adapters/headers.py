"""What the beginning of an image says, that oslo.utils' inspectors look at and do not tell."""

from __future__ import annotations

import struct

from imagevol_core import PartitionEntry

__all__ = ["packed_as", "partitions", "qcow_features", "qcow_version"]

_ENTRIES = range(446, 510, 16)  # of an MBR
_FEATURES = ("dirty", "corrupt", "data_file", "compression_type", "extended_l2")  # by the number of their bit
_GZIP_RESERVED = 0xE0  # of the flags: no gzip has them
_PACKED = {
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf\x27\x1c": "7z",
}
_BZIP2 = (b"1AY&SY", b"\x17rE8P\x90")  # how its first block begins, or how it ends without one
_TAR = slice(257, 262)


def partitions(head: bytes) -> tuple[PartitionEntry, ...]:
    """Give the entries of an MBR, by the sector that it is.

    >>> len(partitions(bytes(512)))
    4
    """
    entries = []
    for at in _ENTRIES:
        boot, start_head, sector, cylinder, kind, start_lba = struct.unpack_from("<5B3xI", head, at)
        start = (cylinder | (sector & 0xC0) << 2, start_head, sector & 0x3F)
        entries.append(PartitionEntry(boot=boot, kind=kind, start=start, start_lba=start_lba))
    return tuple(entries)


def qcow_version(head: bytes) -> int:
    """Give the version of a qcow or qcow2, by its header."""
    return int.from_bytes(head[4:8], "big")


def qcow_features(head: bytes) -> frozenset[str]:
    """Give the features of a qcow2 that its readers must know, by its header; only version 3 can have them."""
    if qcow_version(head) < 3:
        return frozenset()
    bits = int.from_bytes(head[72:80], "big")
    named = dict(enumerate(_FEATURES))
    return frozenset(named.get(bit, f"bit {bit}") for bit in range(64) if bits >> bit & 1)


def packed_as(head: bytes) -> str | None:
    r"""Tell with what data was compressed, or which archive it is, by its beginning; None for anything else.

    >>> packed_as(b"\x28\xb5\x2f\xfd"), packed_as(bytes(512))
    ('zstd', None)
    """
    if len(head) > 3 and head.startswith(b"\x1f\x8b\x08") and not head[3] & _GZIP_RESERVED:
        return "gzip"
    if head.startswith(b"BZh") and head[4:10] in _BZIP2:
        return "bzip2"
    if head[_TAR] == b"ustar":
        return "tar"
    return next((name for magic, name in _PACKED.items() if head.startswith(magic)), None)
