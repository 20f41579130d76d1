"""Real images of many formats, sound and hostile, each with the rules that refuse it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import struct
import subprocess
import tarfile
import uuid
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

MIB = 1 << 20
SIZE = 2 * MIB


def needed() -> None:
    """Skip where a real image cannot be made or looked at."""
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu-img is not installed; the Debian package is qemu-utils")
    if find_spec("oslo_utils") is None:
        pytest.skip("oslo.utils is not installed; the extra `qemu` brings it")


def qemu_img(*arguments: str | Path) -> str:
    """Run it, and give what it says."""
    return subprocess.run(["qemu-img", *arguments], check=True, capture_output=True, text=True).stdout


def made(name: str, *options: str) -> Callable[[Path], None]:
    """An empty image of this format."""
    return lambda path: void(qemu_img("create", "-q", "-f", name, *options, path, str(SIZE)))


def void(_: object) -> None:
    """Nothing."""


def raw(path: Path) -> None:
    path.write_bytes(b"data" + bytes(SIZE - 4))


def stream_optimized(path: Path) -> None:
    plain = path.with_suffix(".plain")
    raw(plain)
    qemu_img("convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", plain, path)


def backed(path: Path) -> None:
    plain = path.with_suffix(".plain")
    raw(plain)
    qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", plain, path)


def with_data_file(path: Path) -> None:
    made("qcow2", "-o", f"data_file={path.with_suffix('.plain')}")(path)


def gpt(path: Path, *, bootable: int = 0, kind: int = 0xEE) -> None:
    """A disk with the MBR that protects a GPT, and room for one."""
    raw(path)
    entry = struct.pack("<B3sB3sII", bootable, b"\x00\x02\x00", kind, b"\xff\xff\xff", 1, SIZE // 512 - 1)
    written(path, 446, entry + bytes(48) + b"\x55\xaa" + b"EFI PART")


def iso(path: Path) -> None:
    """No more of one than its first descriptor."""
    raw(path)
    blocks = struct.pack("<I", SIZE // 2048) + struct.pack(">I", SIZE // 2048)
    written(path, 32768, b"\x01CD001\x01\x00" + bytes(72) + blocks + bytes(40) + struct.pack("<H", 2048))


def written(path: Path, offset: int, data: bytes | bytearray) -> None:
    """Let the file have these bytes there."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def luks(path: Path) -> None:
    """As much of a LUKS header as says what it is."""
    raw(path)
    written(path, 0, b"LUKS\xba\xbe" + struct.pack(">H", 1) + b"aes".ljust(32, b"\0") + b"xts-plain64".ljust(32, b"\0"))
    written(path, 72, b"sha256".ljust(32, b"\0") + struct.pack(">II", 4096, 32))


def qcow2_and(offset: int, data: bytes) -> Callable[[Path], None]:
    """A qcow2 that is of another format too."""

    def make(path: Path) -> None:
        made("qcow2")(path)
        written(path, offset, data)

    return make


def unknown_features(path: Path) -> None:
    made("qcow2")(path)
    written(path, 72, b"\xff")


def part(whole: Callable[[Path], None], length: int) -> Callable[[Path], None]:
    """The beginning of another image."""

    def make(path: Path) -> None:
        whole(path)
        os.truncate(path, length)

    return make


def without_end(whole: Callable[[Path], None], length: int) -> Callable[[Path], None]:
    """All of another image but its last bytes."""

    def make(path: Path) -> None:
        whole(path)
        os.truncate(path, path.stat().st_size - length)

    return make


def changed(whole: Callable[[Path], None], *changes: tuple[int, bytes]) -> Callable[[Path], None]:
    """Another image that has these bytes there."""

    def make(path: Path) -> None:
        whole(path)
        for offset, data in changes:
            written(path, offset, data)

    return make


def containing(whole: Callable[[Path], None], offset: int) -> Callable[[Path], None]:
    """A raw disk in which another image begins there."""

    def make(path: Path) -> None:
        whole(path)
        inner = path.read_bytes()
        path.write_bytes(bytes(offset) + inner)

    return make


def holding(data: bytes) -> Callable[[Path], None]:
    """A file with these bytes."""
    return lambda path: void(path.write_bytes(data))


def descriptor(*lines: str) -> bytes:
    """The text of a VMDK."""
    return "\n".join(["# Disk DescriptorFile", "version=1", "CID=fffffffe", "parentCID=ffffffff", *lines, ""]).encode()


def sparse(text: bytes, *, sectors: int = SIZE // 512, described: int = 20) -> Callable[[Path], None]:
    """A VMDK with this text in it, which its header says is so many sectors long."""
    fields = (b"KDMV", 1, 3, sectors, 128, 1, described, 512, 21, 26, 128)
    return holding((struct.pack("<4sIIQQQQIQQQ", *fields).ljust(512, b"\0") + text).ljust(256 << 10, b"\0"))


def with_footer(sectors: int) -> Callable[[Path], None]:
    """A stream-optimised VMDK with a footer, which counts, and which says that the disk has so many sectors."""

    def make(path: Path) -> None:
        stream_optimized(path)
        image = path.read_bytes()
        header = image[:12] + struct.pack("<Q", sectors) + image[20:512]
        marker = struct.pack("<QII", 1, 0, 3).ljust(512, b"\0")
        path.write_bytes(image[:56] + b"\xff" * 8 + image[64:] + marker + header + bytes(512))

    return make


def vhdx_region_at(offset: int) -> Callable[[Path], None]:
    """A VHDX that says its metadata are there, and has none."""
    guid = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
    region = struct.pack("<4sIII", b"regi", 0, 1, 0) + guid + struct.pack("<QII", offset, 1 << 20, 1)
    return holding(b"vhdxfile" + bytes((192 << 10) - 8) + region + bytes(2 * MIB))


def fixed_vhd(disk: Callable[[Path], None], creator: bytes | None = None) -> Callable[[Path], None]:
    """A VHD that is this disk and a footer, which names the program that made it."""

    def make(path: Path) -> None:
        plain = path.with_suffix(".plain")
        disk(plain)
        qemu_img("convert", "-f", "raw", "-O", "vpc", "-o", "subformat=fixed", plain, path)
        footer = bytearray(path.read_bytes()[-512:])
        footer[28:32] = creator or footer[28:32]
        footer[64:68] = bytes(4)
        footer[64:68] = struct.pack(">I", ~sum(footer) & 0xFFFFFFFF)
        written(path, path.stat().st_size - 512, footer)

    return make


def differencing(path: Path) -> None:
    """A VHD that says in both footers that it has a parent."""
    made("vpc")(path)
    footer = bytearray(path.read_bytes()[:512])
    footer[60:68] = struct.pack(">II", 4, 0)
    footer[64:68] = struct.pack(">I", ~sum(footer) & 0xFFFFFFFF)
    written(path, 0, footer)
    written(path, path.stat().st_size - 512, footer)


def packed(name: str) -> Callable[[Path], None]:
    """A disk that was compressed, or that is in an archive."""

    def make(path: Path) -> None:
        raw(path)
        path.write_bytes(PACKED[name](path.read_bytes()))

    return make


def archived(disk: bytes) -> bytes:
    """A tar archive of a disk."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("disk.raw")
        member.size = len(disk)
        archive.addfile(member, io.BytesIO(disk))
    return buffer.getvalue()


def zipped(disk: bytes) -> bytes:
    """A zip archive of a disk."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("disk.raw", disk)
    return buffer.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "tar": archived,
    "zip": zipped,
    # No module of Python 3.11 makes these: a frame of no compressed data.
    "zstd": lambda disk: b"\x28\xb5\x2f\xfd\x24\x04\x21\0\0" + disk[:1000],
    "lz4": lambda disk: b"\x04\x22\x4d\x18\x64\x40\xa7" + disk[:1000],
    "7z": lambda disk: b"7z\xbc\xaf\x27\x1c\0\4" + disk[:1000],
}
PASSWD = "/etc/passwd"
ONE_FILE = 'RW 4096 SPARSE "image"'
BACKED_HEADER = struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 104, 11, 16, SIZE, *(0,) * 10, 4, 104)
# A file beside the image, for which no slash is needed, in a list of extents that only qemu-img takes for one: it reads
# `createType`, and the inspector whichever comes first in any case.  An embedded descriptor is such a list where the
# header says that the disk has no size.
SIBLING = descriptor('createtype="monolithicSparse"', 'createType="monolithicFlat"', 'RW 4096 FLAT "image.plain" 0')
PARENT = descriptor('createType="monolithicSparse"', f'parentFileNameHint="{PASSWD}"', ONE_FILE)
PARENT_BEHIND = descriptor('createType="monolithicSparse"', ONE_FILE).ljust(512) + PARENT[20:]

# What makes each, how it is declared, and the rules that refuse it; sound ones first.
# Like what a flat extent's descriptor says, without the extent: what follows keeps oslo.utils from recognizing it.
TEXT = b'# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
BOCHS = struct.pack("<32s16s16sI", b"Bochs Virtual HD Image", b"Redolog", b"Growing", 0x20000).ljust(MIB, b"\0")
CLOOP = b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n" + bytes(4096)

FILES: dict[str, tuple[Callable[[Path], None], str, list[str]]] = {
    "raw": (raw, "raw", []),
    "gpt": (gpt, "raw", []),
    "iso": (iso, "iso", []),
    "qcow2": (made("qcow2"), "qcow2", []),
    "vmdk": (made("vmdk", "-o", "subformat=monolithicSparse"), "vmdk", []),
    "vmdk-stream": (stream_optimized, "vmdk", []),
    "vhd": (made("vpc"), "vhd", []),
    "vhdx": (made("vhdx"), "vhdx", []),
    "vdi": (made("vdi"), "vdi", []),
    "qcow2-as-raw": (made("qcow2"), "raw", ["content-as-declared"]),
    "iso-as-raw": (iso, "raw", ["content-as-declared"]),
    "raw-as-qcow2": (raw, "qcow2", ["content-as-declared"]),
    "ploop": (made("parallels"), "ploop", ["content-as-declared", "not-probed"]),
    "fixed-vhd": (fixed_vhd(raw), "vhd", []),
    "fixed-vhd-with-gpt": (fixed_vhd(gpt), "vhd", []),
    "fixed-vhd-as-raw": (fixed_vhd(raw), "raw", ["content-as-declared"]),
    "backed": (backed, "qcow2", ["no-backing-file"]),
    "data-file": (with_data_file, "qcow2", ["no-data-file"]),
    "unknown-features": (unknown_features, "qcow2", ["features-known"]),
    "flat": (
        made("vmdk", "-o", "subformat=monolithicFlat"),
        "vmdk",
        ["vmdk-subformat", "checks-passed", "virtual-size-fits", "not-truncated"],
    ),
    "extents": (
        made("vmdk", "-o", "subformat=twoGbMaxExtentSparse"),
        "vmdk",
        ["vmdk-subformat", "checks-passed", "virtual-size-fits", "not-truncated"],
    ),
    "bootable-gpt": (lambda path: gpt(path, bootable=0x7F), "raw", ["partition-table-sound"]),
    "qed": (made("qed"), "raw", ["content-as-declared", "checks-passed"]),
    "qcow2-and-iso": (qcow2_and(32768, b"\x01CD001\x01"), "qcow2", ["one-format"]),
    "luks-as-raw": (luks, "raw", ["luks-not-raw", "has-data"]),
}

# More of them, most of them hostile.
HOSTILE: dict[str, tuple[Callable[[Path], None], str, list[str]]] = {
    # Sound, whatever it looks like.
    "vmdk-footer": (with_footer(SIZE // 512), "vmdk", []),
    "qcow2-within-raw": (containing(made("qcow2"), MIB), "raw", []),
    "empty": (holding(b""), "raw", ["has-data"]),
    "empty-iso": (holding(b""), "iso", ["content-as-declared", "has-data"]),
    **{f"{name}-as-raw": (packed(name), "raw", ["not-packed"]) for name in PACKED},
    **{f"{name}-as-ari": (packed(name), "ari", []) for name in PACKED},
    "gzip-with-flags-that-none-has": (holding(b"\x1f\x8b\x08\xff" + bytes(600)), "raw", []),
    "bzip2-of-no-block": (holding(b"BZh9" + bytes(600)), "raw", []),
    "iso-and-gpt": (changed(iso, (510, b"\x55\xaa"), (450, b"\x17"), (447, b"\x02")), "iso", []),
    "luks-without-data": (part(luks, 1000), "luks", ["has-data"]),
    "vmdk-with-a-text-in-it": (changed(made("vmdk"), (1 << 19, b"parentFileNameHint")), "vmdk", []),
    # Reads another file.
    "backed-as-raw": (backed, "raw", ["content-as-declared", "no-backing-file"]),
    "vmdk-parent": (changed(made("vmdk"), (512, PARENT + b"\0")), "vmdk", ["no-backing-file"]),
    "vmdk-parent-behind-its-text": (
        changed(made("vmdk"), (36, struct.pack("<Q", 1)), (512, PARENT_BEHIND + b"\0")),
        "vmdk",
        ["no-backing-file"],
    ),
    "vmdk-extent": (
        sparse(descriptor('createType="monolithicSparse"', f'RW 4096 FLAT "{PASSWD}" 0'), sectors=0),
        "vmdk",
        ["checks-passed", "virtual-size-fits"],
    ),
    "vmdk-sibling": (sparse(SIBLING, sectors=0), "vmdk", ["virtual-size-fits"]),
    "vmdk-text-sibling": (holding(SIBLING), "vmdk", ["virtual-size-fits", "not-truncated"]),
    "vmdk-text-behind-a-comment": (
        holding(b"#".ljust(700 << 10, b" ") + b"\n" + SIBLING),
        "raw",
        ["content-as-declared", "virtual-size-fits"],
    ),
    "vhd-differencing": (differencing, "vhd", ["no-backing-file"]),
    # Two formats at once.
    "qcow2-and-mbr": (
        changed(made("qcow2"), (510, b"\x55\xaa")),
        "qcow2",
        ["one-format", "partition-table-sound"],
    ),
    "qcow2-and-gpt-as-raw": (
        changed(gpt, (0, BACKED_HEADER + PASSWD.encode())),
        "raw",
        ["one-format", "no-backing-file"],
    ),
    "iso-and-gpt-as-raw": (changed(gpt, (32768, b"\x01CD001\x01")), "raw", ["one-format"]),
    "iso-and-vdi": (changed(made("vdi"), (32768, b"\x01CD001\x01"), (65536, b"\0")), "vdi", ["one-format"]),
    "luks-and-mbr": (changed(luks, (510, b"\x55\xaa")), "raw", ["one-format", "luks-not-raw", "partition-table-sound"]),
    # A header that is cut short, too long, or not what it says.
    "short-qcow2": (holding(BACKED_HEADER + PASSWD.encode()), "raw", ["header-parses", "not-probed"]),
    "short-qcow2-as-qcow2": (
        holding(BACKED_HEADER),
        "qcow2",
        ["header-parses", "content-as-declared", "not-probed"],
    ),
    "short-vdi": (part(made("vdi"), 300), "raw", ["header-parses", "not-probed"]),
    "short-iso": (part(iso, 32780), "raw", ["header-parses"]),
    "short-vhd": (part(made("vpc"), 100), "vhd", ["header-parses", "virtual-size-fits"]),
    "short-vhdx": (part(made("vhdx"), 200 << 10), "vhdx", ["header-parses", "virtual-size-fits"]),
    "short-vmdk": (
        part(made("vmdk"), 600),
        "vmdk",
        ["header-parses", "vmdk-subformat", "virtual-size-fits"],
    ),
    "short-luks": (part(luks, 100), "luks", ["header-parses", "virtual-size-fits"]),
    "vmdk-without-its-end": (without_end(with_footer(SIZE // 512), 512), "vmdk", ["checks-passed", "not-truncated"]),
    "vhdx-points-nowhere": (vhdx_region_at(1 << 62), "vhdx", ["header-parses", "virtual-size-fits"]),
    "vhdx-points-to-nothing": (vhdx_region_at(MIB), "vhdx", ["header-parses", "virtual-size-fits"]),
    "qcow": (made("qcow"), "qcow2", ["format-version"]),
    "qcow-of-a-later-version": (changed(made("qcow2"), (4, struct.pack(">I", 4))), "qcow2", ["format-version"]),
    "luks2-as-raw": (changed(luks, (6, struct.pack(">H", 2))), "raw", ["luks-not-raw", "checks-passed", "has-data"]),
    "text-that-is-not-ascii": (
        holding(b"text " * 120 + "ä".encode()),
        "raw",
        ["header-parses", "content-as-declared", "vmdk-subformat", "virtual-size-fits"],
    ),
    # Unsound, and still another disk to a reader that guesses.
    "vmdk-text-with-a-nul": (holding(TEXT.replace(b"# Disk", b"# \0Disk")), "raw", ["not-probed"]),
    "vmdk-text-before-nuls": (holding(TEXT + bytes(4096)), "raw", ["not-probed"]),
    "vmdk-text-in-an-iso": (changed(iso, (0, TEXT)), "iso", ["not-probed"]),
    "vmdk-text-in-a-fixed-vhd": (fixed_vhd(holding(TEXT + bytes(8192))), "vhd", ["not-probed"]),
    "vmdk-of-version-3": (holding(b"COWD\1\0\0\0" + bytes(4096)), "raw", ["not-probed"]),
    "parallels": (made("parallels"), "raw", ["not-probed"]),
    "bochs": (holding(BOCHS), "raw", ["not-probed"]),
    "cloop": (holding(CLOOP), "raw", ["not-probed"]),
    "dmg": (holding(bytes(8192) + b"koly".ljust(512, b"\0")), "raw", ["not-probed"]),
    "huge": (changed(made("qcow2"), (24, struct.pack(">Q", 1 << 62))), "qcow2", ["virtual-size-fits", "not-truncated"]),
    "huge-vdi": (
        changed(made("vdi"), (0x170, struct.pack("<Q", 1 << 62))),
        "vdi",
        ["virtual-size-fits", "not-truncated"],
    ),
    "sizeless": (changed(made("qcow2"), (24, bytes(8))), "qcow2", ["virtual-size-fits"]),
}
