"""Images of other formats onto a device that no command can open: qemu-img writes it through sockets."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imagevol_adapters.devices import PlainDevice
from imagevol_adapters.engine import Limits
from imagevol_adapters.qemu.converter import QemuConverter
from imagevol_adapters.transfers.checked_file import CheckedFile
from imagevol_core import DeviceFailed, DeviceStalled, FreshThin, ZeroProof
from tests.adapters.inspecting import SIZE, needed, qemu_img

MIB = 1 << 20
DISK = b"disk" * (MIB // 8) + bytes(MIB) + b"end." * (MIB // 8)
assert len(DISK) == SIZE


class Device(PlainDevice):
    """A device in memory that holds what somebody left."""

    path = "/7ad3"
    size_bytes = SIZE + 3 * MIB

    def __init__(self, old: bytes = b"\xff") -> None:
        self.content = bytearray(old * self.size_bytes)
        self.written: list[int] = []
        self.flushed = False

    def readinto(self, offset: int, buffer: memoryview) -> int:
        data = self.content[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        return len(data)

    def write(self, offset: int, data: memoryview) -> int:
        self.content[offset : offset + len(data)] = data
        self.written.append(len(data))
        return len(data)

    def flush(self) -> None:
        self.flushed = True


@pytest.fixture
def image(tmp_path: Path) -> Callable[[str], Path]:
    needed()
    raw = tmp_path / "raw"
    raw.write_bytes(DISK)

    def of(name: str) -> Path:
        path = tmp_path / name
        qemu_img("convert", "-f", "raw", "-O", name, raw, path)
        return path

    return of


def convert(path: Path, device: Device, *, proof: ZeroProof | None = None, stall_seconds: float = 60) -> None:
    converter = QemuConverter(stall_seconds=stall_seconds)
    with CheckedFile.check(path, disk_format=path.name, converter=converter, digest=None, what="image i") as checked:
        checked.convert_onto(
            device,
            converter=converter,
            proof=(lambda _: proof) if proof else None,
            limits=Limits(stall_seconds=stall_seconds),
        )


@pytest.mark.parametrize("name", ["qcow2", "vmdk", "vdi"])
def test_a_device_that_held_something_holds_the_disk_and_then_zeros(image: Callable[[str], Path], name: str) -> None:
    device = Device()
    convert(image(name), device)
    assert device.content == DISK + bytes(3 * MIB)
    assert device.flushed


def test_no_zeros_are_written_to_a_device_that_is_proven_to_hold_none(image: Callable[[str], Path]) -> None:
    device = Device(b"\0")
    convert(image("qcow2"), device, proof=FreshThin(path=device.path))
    assert device.content == DISK + bytes(3 * MIB)
    assert sum(device.written) < SIZE - MIB // 2


def test_what_the_device_fails_with_is_the_error(image: Callable[[str], Path]) -> None:
    class Failing(Device):
        def write(self, offset: int, data: memoryview) -> int:
            raise DeviceFailed(f"writing at byte {offset} failed: {errno.errorcode[errno.EIO]}")

    with pytest.raises(DeviceFailed, match="writing at byte 0 failed: EIO"):
        convert(image("qcow2"), Failing())


def test_a_device_that_hangs_is_named_in_time(image: Callable[[str], Path]) -> None:
    over = threading.Event()

    class Hanging(Device):
        look_at = "look at the lamp on its front"

        def write(self, offset: int, data: memoryview) -> int:
            over.wait(30)
            return super().write(offset, data)

    started = time.monotonic()
    try:
        with pytest.raises(DeviceStalled, match=r"device /7ad3 stalled: .* 0.5 seconds; look at the lamp on its front"):
            convert(image("qcow2"), Hanging(), stall_seconds=0.5)
        assert time.monotonic() - started < 20
    finally:
        over.set()
