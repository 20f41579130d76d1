"""Real images of many formats, sound and hostile, and what oslo.utils and qemu-img tell of them."""

from __future__ import annotations

import contextlib
import json
import shutil
import struct
import subprocess
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from imagevol_core import Inspection

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


def written(path: Path, offset: int, data: bytes) -> None:
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


def inspect(path: Path) -> Inspection:
    """Fill the facts: from the inspector first, and from qemu-img only of one format that passed.

    A format that could not be read to its end is no match to the inspector, so that the file is raw to it; a file that
    ends within a header that began is told by the inspector's refusal to check it.
    """
    inspector = import_module("oslo_utils.imageutils.format_inspector")
    wrapper = inspector.InspectWrapper(path.open("rb"))
    with contextlib.closing(wrapper):
        while wrapper.read(64 << 10):
            pass
    formats = wrapper.formats
    names = tuple(map(str, formats))
    parses, checks = True, set()
    for each in formats:
        try:
            each.safety_check()
        except inspector.ImageFormatError:
            parses = False
        except inspector.SafetyCheckFailed as error:
            checks |= set(error.failures)
    backing = "backing_file" in checks if "qcow2" in names else None
    data_file = "data_file" in checks if "qcow2" in names else None
    size, subformat, text_only = path.stat().st_size, None, None
    if names == ("vmdk",):
        text_only = not formats[0].has_region("header")
        subformat = formats[0].vmdktype
    if names in (("qcow2",), ("vmdk",), ("vdi",), ("vhd",), ("vhdx",)) and parses and not checks:
        info = json.loads(qemu_img("info", "-f", {"vhd": "vpc"}.get(names[0], names[0]), "--output=json", path))
        size = info["virtual-size"]
        backing = "backing-filename" in info
        subformat = info.get("format-specific", {}).get("data", {}).get("create-type", subformat)
    elif set(names) - {"raw", "gpt"}:
        size = formats[0].virtual_size
    return Inspection(
        formats=names,
        header_parses=parses,
        virtual_size_bytes=size,
        has_backing_file=backing,
        has_data_file=data_file,
        subformat=subformat,
        text_only=text_only,
        failed_checks=frozenset(checks - {"backing_file", "data_file"}),
    )


# What makes each, how it is declared, and the rules that refuse it; sound ones first.
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
    "ploop": (made("parallels"), "ploop", ["content-as-declared"]),
    "fixed-vhd": (made("vpc", "-o", "subformat=fixed"), "vhd", ["content-as-declared"]),
    "backed": (backed, "qcow2", ["no-backing-file"]),
    "data-file": (with_data_file, "qcow2", ["no-data-file"]),
    "unknown-features": (unknown_features, "qcow2", ["checks-passed"]),
    "flat": (
        made("vmdk", "-o", "subformat=monolithicFlat"),
        "vmdk",
        ["no-backing-file", "vmdk-subformat", "checks-passed"],
    ),
    "extents": (
        made("vmdk", "-o", "subformat=twoGbMaxExtentSparse"),
        "vmdk",
        ["no-backing-file", "vmdk-subformat", "checks-passed"],
    ),
    "bootable-gpt": (lambda path: gpt(path, bootable=0x7F), "raw", ["partition-table-sound"]),
    "qed": (made("qed"), "raw", ["content-as-declared", "checks-passed"]),
    "qcow2-and-iso": (qcow2_and(32768, b"\x01CD001\x01"), "qcow2", ["one-format"]),
    "luks-as-raw": (luks, "raw", ["luks-not-raw"]),
}
