"""A VHDX that is copied by its own table is the disk that qemu-img makes of it."""

from __future__ import annotations

import os
import random
import struct
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from imagevol_adapters.blockmaps.contents import contents
from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.engine import Hole, Limits
from imagevol_adapters.qemu.converter import QemuConverter
from imagevol_adapters.testing.memory import MemoryDevice
from imagevol_adapters.transfers.checked_file import CheckedFile
from imagevol_core import ConversionFailed, CopyPlan, FreshThin, ImagevolError, SourceFailed, TransferCancelled
from tests.adapters.inspecting import MIB, needed, qemu_img, written

KINDS = {
    "dynamic": (),
    "fixed": ("-o", "subformat=fixed"),
    "small blocks": ("-o", "block_size=1M"),
    "large blocks": ("-o", "block_size=64M"),
}
# The size of the disk, and where on it there is data.
DISKS = {
    "empty": (20 * MIB, []),
    "sparse": (140 * MIB, [(0, 4096), (5 * MIB - 512, 1024), (139 * MIB, MIB)]),
    "odd": (6 * MIB + 512, [(3 * MIB + 5, 1), (6 * MIB, 512)]),
    "full": (4 * MIB, [(0, 4 * MIB)]),
}
REGIONS, BAT = 192 << 10, bytes.fromhex("6677c22d23f600429d64115e9bfd4a08")


class NoConversion(QemuConverter):
    """qemu-img examines, and converts nothing."""

    def convert(self, plan: CopyPlan, **wishes: Any) -> None:
        raise AssertionError(f"it was converted by {plan.argv}")


@pytest.fixture(autouse=True)
def _needed() -> None:
    needed()


@pytest.fixture
def vhdx(tmp_path: Path) -> Callable[[str, str], Path]:
    def make(kind: str, disk: str) -> Path:
        plain, image, chance = tmp_path / "plain", tmp_path / "image", random.Random(5)
        size, pieces = DISKS[disk]
        plain.touch()
        os.truncate(plain, size)
        for offset, length in pieces:
            written(plain, offset, chance.randbytes(length))
        qemu_img("convert", "-f", "raw", "-O", "vhdx", *KINDS[kind], plain, image)
        return image

    return make


def checked(image: Path) -> AbstractContextManager[CheckedFile]:
    return CheckedFile.check(image, disk_format="vhdx", converter=NoConversion(), digest=None, what="the image")


def copied(image: Path, *, room: int = 0) -> bytes:
    """What a file that held old data holds then."""
    target = image.with_name("target")
    with checked(image) as file:
        with target.open("wb") as held:
            for _ in range(0, file.size_bytes + room, MIB):
                held.write(b"\xff" * MIB)
            held.truncate(file.size_bytes + room)
        with PathDevice.open(target, writable=True) as device:
            file.convert_onto(device, converter=NoConversion(), proof=None, limits=Limits())
    return target.read_bytes()


def as_qemu_img_says(image: Path) -> bytes | None:
    """What qemu-img makes of it; None if it refuses."""
    result = image.with_name("result")
    command = ["qemu-img", "convert", "-f", "vhdx", "-O", "raw", str(image), str(result)]
    ended = subprocess.run(command, check=False, capture_output=True).returncode
    return None if ended else result.read_bytes()


@pytest.mark.parametrize("disk", DISKS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_copied_vhdx_is_the_disk_and_then_zeros(vhdx: Callable[[str, str], Path], kind: str, disk: str) -> None:
    image = vhdx(kind, disk)
    assert copied(image, room=MIB) == (as_qemu_img_says(image) or b"") + bytes(MIB)


def table_of(image: Path) -> int:
    """Where the table of blocks begins."""
    head = image.read_bytes()[REGIONS : REGIONS + 4096]
    return int(struct.unpack_from("<Q", head, head.index(BAT) + 16)[0])


@pytest.mark.parametrize("state", range(8))
def test_a_block_in_any_state_is_what_qemu_img_reads_there(vhdx: Callable[[str, str], Path], state: int) -> None:
    image = vhdx("small blocks", "full")
    table = table_of(image)
    (entry,) = struct.unpack("<Q", image.read_bytes()[table : table + 8])
    written(image, table, struct.pack("<Q", entry & ~7 | state))
    expected = as_qemu_img_says(image)
    if expected is None:
        with pytest.raises(ImagevolError):
            copied(image)
    else:
        assert copied(image) == expected


def test_whatever_the_table_says_it_is_what_qemu_img_reads_or_refused(vhdx: Callable[[str, str], Path]) -> None:
    image, chance = vhdx("small blocks", "full"), random.Random(7)
    table, whole = table_of(image), image.read_bytes()
    same = 0
    for _ in range(40):
        image.write_bytes(whole)
        for _ in range(chance.randint(1, 3)):
            state = chance.choice((0, 1, 2, 3, 4, 5, 6, 6, 6, 7))
            offset = chance.choice((0, 1, 2, *range(4, len(whole) // MIB + 2), 1 << 30))
            written(image, table + 8 * chance.randrange(6), struct.pack("<Q", offset << 20 | state))
        expected = as_qemu_img_says(image)
        try:
            found = copied(image)
        except ImagevolError:
            continue
        assert found == expected
        same += 1
    assert same > 5


def crc32c(data: bytes | bytearray) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def add_log(image: Path) -> None:
    """Let both headers name a log, of one entry that clears the beginning of the last block."""
    data, guid = bytearray(image.read_bytes()), b"imagevol" * 2
    for place in (64 << 10, 128 << 10):
        struct.pack_into("<I", data, place + 4, 0)
        data[place + 48 : place + 64] = guid
        struct.pack_into("<I", data, place + 4, crc32c(data[place : place + 4096]))
    (log,) = struct.unpack_from("<Q", data, (64 << 10) + 72)
    entry = bytearray(4096)
    struct.pack_into("<4sIIIQIIQ", entry, 0, b"loge", 0, 4096, 0, 1, 1, 0, 0)
    entry[32:48] = guid
    struct.pack_into("<QQ", entry, 48, len(data), len(data))
    struct.pack_into("<4sIQQQ", entry, 64, b"zero", 0, 4096, len(data) - (1 << 20), 1)
    struct.pack_into("<I", entry, 4, crc32c(entry))
    data[log : log + 4096] = entry
    image.write_bytes(data)


def test_an_image_whose_log_has_changes_is_refused_with_what_to_do_until_they_are_written(
    vhdx: Callable[[str, str], Path],
) -> None:
    image = vhdx("small blocks", "full")
    add_log(image)
    examine = partial(QemuConverter().examine, declared_format="vhdx", size_gib=None, what="the image")
    with pytest.raises(ConversionFailed, match=r"the image was not closed properly.* `qemu-img check -r all COPY`"):
        examine(str(image))
    qemu_img("check", "-r", "all", image)
    assert examine(str(image)).formats == ("vhdx",)


def test_a_disk_that_is_proven_zero_is_not_zeroed(vhdx: Callable[[str, str], Path]) -> None:
    device = MemoryDevice(140 * MIB)
    device.write(MIB, memoryview(b"\xff" * 4096))
    with checked(vhdx("dynamic", "sparse")) as file:
        file.convert_onto(device, converter=NoConversion(), proof=lambda path: FreshThin(path=path), limits=Limits())
    assert device.read(MIB, 4096) == b"\xff" * 4096


def test_a_device_that_no_other_program_can_open_is_written_too(vhdx: Callable[[str, str], Path]) -> None:
    image = vhdx("dynamic", "odd")
    device = MemoryDevice(7 * MIB)
    with checked(image) as file:
        file.convert_onto(device, converter=NoConversion(), proof=None, limits=Limits())
    assert device.read(0, 6 * MIB + 512) == as_qemu_img_says(image)


def test_a_file_that_is_changed_meanwhile_is_no_image(vhdx: Callable[[str, str], Path]) -> None:
    device = MemoryDevice(140 * MIB)
    with checked(vhdx("dynamic", "sparse")) as file:
        os.utime(file.path)
        with pytest.raises(SourceFailed, match="was changed"):
            file.convert_onto(device, converter=NoConversion(), proof=None, limits=Limits())


def test_the_copy_of_a_vhdx_can_be_cancelled(vhdx: Callable[[str, str], Path]) -> None:
    limits = Limits()
    limits.cancelled.set()
    with checked(vhdx("dynamic", "sparse")) as file, pytest.raises(TransferCancelled):
        file.convert_onto(MemoryDevice(140 * MIB), converter=NoConversion(), proof=None, limits=limits)


def test_an_image_that_is_not_what_was_examined_is_an_error(vhdx: Callable[[str, str], Path]) -> None:
    image = vhdx("dynamic", "full")
    with (
        image.open("rb") as file,
        pytest.raises(SourceFailed, match="4194304 bytes, where qemu-img finds 1024"),
    ):
        list(contents(file, disk_bytes=1024))
    os.truncate(image, 9 * MIB)
    with image.open("rb") as file, pytest.raises(SourceFailed, match="ends at byte 9437184, within a block"):
        list(contents(file, disk_bytes=4 * MIB))
    image.write_bytes(b"no image")
    with image.open("rb") as file, pytest.raises(SourceFailed, match="table of blocks is unusable"):
        list(contents(file, disk_bytes=4 * MIB))


def test_the_blocks_that_the_table_names_are_data_and_the_others_are_holes(vhdx: Callable[[str, str], Path]) -> None:
    with vhdx("small blocks", "sparse").open("rb") as file:
        pieces = list(contents(file, disk_bytes=140 * MIB))
    data = sum(len(piece) for piece in pieces if isinstance(piece, bytes))
    holes = sum(piece.length for piece in pieces if isinstance(piece, Hole))
    assert (data, holes) == (4 * MIB, 136 * MIB)
