"""What the beginning and the end of an image say, that oslo.utils' inspectors do not tell."""

from __future__ import annotations

import re
import struct

from imagevol_core import PartitionEntry

__all__ = ["packed_as", "partitions", "probed_as", "qcow_features", "qcow_version"]

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

# The beginnings by which qemu's drivers take a file for theirs (`bdrv_probe` in block/*.c), or a little less of them.
# The names are the inspectors', where they have one.
_PROBED = {
    b"Bochs Virtual HD Image": "bochs",
    b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop": "cloop",
    b"WithoutFreeSpace": "parallels",
    b"WithouFreSpacExt": "parallels",
    b"QFI\xfb": "qcow2",
    b"QED\0": "qed",
    b"LUKS\xba\xbe": "luks",
    b"vhdxfile": "vhdx",
    b"conectix": "vhd",
    b"COWD": "vmdk",
    b"KDMV": "vmdk",
}
_PROBED_BYTES = 512  # that qemu looks at
_VMDK_TEXT = re.compile(rb"(?:#[^\n]*\n|[ \t\r]*\n)*version=\d\r?\n")
_VDI = (slice(64, 68), b"\x7f\x10\xda\xbe")
_DMG_END = b"koly"  # of the last sector; qemu goes by the file's name, and then looks for it


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


def probed_as(head: bytes, tail: bytes = b"") -> str | None:
    r"""Tell which driver of qemu would take a file for its own if it were not told the format; None if none would.

    Args:
        head: how the file begins.
        tail: its last sector, if that is known.

    >>> probed_as(b"# \0\nversion=1\n"), probed_as(bytes(512))
    ('vmdk', None)
    """
    head = head[:_PROBED_BYTES].ljust(_PROBED_BYTES, b"\0")
    place, magic = _VDI
    if head[place] == magic:
        return "vdi"
    if _VMDK_TEXT.match(head):
        return "vmdk"
    if tail.startswith(_DMG_END):
        return "dmg"
    return next((name for magic, name in _PROBED.items() if head.startswith(magic)), None)
