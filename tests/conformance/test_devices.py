"""The devices of this host, and those of the pages and of memory, pass one suite; a device with a defect does not."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from imagevol_adapters.devices import PathDevice, RbdDevice
from imagevol_adapters.ports import AccessMode, Device
from imagevol_adapters.testing.conformance import DeviceConformance
from imagevol_adapters.testing.conformance.devices import OpenDevice
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryVolumes
from imagevol_core import GIB
from tests.adapters.rbd_like import RbdLike

ROOT = Path(__file__).parents[2]
MIB = 1 << 20


class TestMemoryDevice(DeviceConformance):
    @pytest.fixture
    def opening(self) -> OpenDevice:
        volumes = MemoryVolumes()
        attacher, volume = MemoryAttacher(volumes=volumes), volumes.create(size_gib=1, name="volume")

        @contextmanager
        def opening(writable: bool) -> Iterator[Device]:
            mode = AccessMode.WRITE if writable else AccessMode.READ
            volumes.wait(volume.id)
            attachment = volumes.attach(volume.id, connector=attacher.connector(), mode=mode)
            with attacher.open(attachment, mode=mode) as device:
                assert device.size_bytes == GIB
                yield device
            volumes.detach(attachment)

        return opening


class TestFile(DeviceConformance):
    grows: ClassVar[bool] = True
    direct: ClassVar[bool] = True

    @pytest.fixture
    def opening(self, tmp_path: Path) -> OpenDevice:
        file = tmp_path / "volume"
        file.write_bytes(bytes(MIB))
        return lambda writable: PathDevice.open(file, writable=writable, direct=self.direct)


class TestFileThroughThePageCache(TestFile):
    direct: ClassVar[bool] = False


class TestBlockDevice(DeviceConformance):
    @pytest.fixture
    def opening(self, tmp_path: Path) -> Iterator[OpenDevice]:
        if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
            pytest.skip("a loop device needs root, and a kernel that has them")
        file = tmp_path / "volume"
        file.write_bytes(b"\xff" * MIB)
        command = ["losetup", "--find", "--show", str(file)]
        path = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        try:
            yield lambda writable: PathDevice.open(Path(path), writable=writable)
        finally:
            subprocess.run(["losetup", "--detach", path], check=True)


class TestRbdDevice(DeviceConformance):
    @pytest.fixture
    def opening(self) -> OpenDevice:
        image = RbdLike(MIB)

        @contextmanager
        def opening(writable: bool) -> Iterator[Device]:
            yield RbdDevice(image=image, path="/pool/image", writable=writable)

        return opening


@attrs.frozen
class Handle:
    """What a vendor's library gives for an open volume."""

    fd: int
    size: int = MIB

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self.fd, length, offset)

    def write(self, offset: int, data: bytes) -> int:
        return os.pwrite(self.fd, data, offset)

    def flush(self) -> None:
        os.fsync(self.fd)


def acme_device() -> Any:
    """The class of the page for authors of drivers."""
    spec = importlib.util.spec_from_file_location("acme_device", ROOT / "docs/_examples/acme_device.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.AcmeDevice


class TestDeviceOfThePage(DeviceConformance):
    @pytest.fixture
    def opening(self, tmp_path: Path) -> OpenDevice:
        file, make = tmp_path / "volume", self.made()
        file.write_bytes(bytes(MIB))

        @contextmanager
        def opening(writable: bool) -> Iterator[Device]:
            fd = os.open(file, os.O_RDWR)
            try:
                yield make(Handle(fd), name="volume", writable=writable)
            finally:
                os.close(fd)

        return opening

    def made(self) -> Callable[..., Device]:
        made: Callable[..., Device] = acme_device()
        return made
