"""An image of a real Ceph through the handle that os-brick gives, and the stand-in of the other tests beside it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from imagevol_adapters.devices.ceph import RbdDevice
from imagevol_adapters.engine import Hole, read_device, write_stream
from imagevol_core import DeviceFailed, Digest, ZeroHandling
from tests.adapters.rbd_like import RbdLike
from tests.adapters.reading import read

MIB = 1 << 20
SIZE_BYTES = 64 * MIB

Made = Callable[[], RbdDevice]


@pytest.fixture
def real(ceph: Path) -> Iterator[RbdDevice]:
    """A new image, opened as os-brick's RBD connector opens one."""
    linuxrbd, rbd = import_module("os_brick.initiator.linuxrbd"), import_module("rbd")
    name = str(uuid.uuid4())
    with linuxrbd.RBDClient("admin", "fast", conffile=str(ceph)) as client:
        rbd.RBD().create(client.ioctx, name, SIZE_BYTES)
        image = rbd.Image(client.ioctx, name)
        handle = linuxrbd.RBDVolumeIOWrapper(linuxrbd.RBDImageMetadata(image, "fast", "admin", str(ceph)))
        try:
            yield RbdDevice(image=handle.rbd_image, path=f"/{name}")
        finally:
            handle.close()
            rbd.RBD().remove(client.ioctx, name)


@pytest.fixture(params=["real", "stand-in"])
def device(request: pytest.FixtureRequest) -> RbdDevice:
    if request.param == "stand-in":
        return RbdDevice(image=RbdLike(SIZE_BYTES), path="/7")
    found: RbdDevice = request.getfixturevalue("real")
    return found


def test_written_data_is_there_and_nothing_after_the_end_of_the_device(device: RbdDevice) -> None:
    assert device.size_bytes == SIZE_BYTES
    assert device.write(SIZE_BYTES - 2, memoryview(b"abcd")) == 2
    with pytest.raises(DeviceFailed, match=f"ends at byte {SIZE_BYTES}"):
        device.write(SIZE_BYTES, memoryview(b"x"))
    device.flush()
    assert read(device, SIZE_BYTES - 3, 9) == b"\0ab"
    assert read(device, SIZE_BYTES, 9) == b""


def test_a_cleared_range_reads_as_zeros_and_its_neighbors_do_not(device: RbdDevice) -> None:
    device.write(0, memoryview(b"x" * 16384))
    assert device.clear(4096, 8192)
    assert read(device, 0, 16384) == b"x" * 4096 + bytes(8192) + b"x" * 4096
    assert device.clear(0, SIZE_BYTES)
    assert read(device, 0, 16384) == bytes(16384)


def test_all_data_is_among_the_extents_and_ranges_that_were_never_written_are_not(device: RbdDevice) -> None:
    assert list(device.extents(0, SIZE_BYTES)) == [(0, SIZE_BYTES, False)]
    device.write(20 * MIB, memoryview(b"x" * MIB))
    found = list(device.extents(0, SIZE_BYTES))
    assert [start for start, _, _ in found] == [0, *(stop for _, stop, _ in found)][:-1]
    assert found[-1][1] == SIZE_BYTES
    data = [(start, stop) for start, stop, is_data in found if is_data]
    assert all(start <= 20 * MIB and stop >= 21 * MIB for start, stop in data)
    assert sum(stop - start for start, stop in data) <= 8 * MIB


@pytest.mark.parametrize("zeros", [ZeroHandling.SKIP, ZeroHandling.PUNCH])
def test_an_image_that_is_written_to_rbd_comes_back(device: RbdDevice, zeros: ZeroHandling) -> None:
    source: list[bytes | Hole] = [b"begin", bytes(3 * MIB), b"x" * 100_000, Hole(30 * MIB), b"end"]
    data = b"".join(bytes(piece.length) if isinstance(piece, Hole) else piece for piece in source)
    if zeros is ZeroHandling.PUNCH:
        device.write(5 * MIB, memoryview(b"old" * MIB))
    report = write_stream(source, device, size_bytes=len(data), zeros=zeros)
    assert (report.written_bytes or 0) <= MIB
    digest = Digest("sha512", hashlib.sha512(data).hexdigest())
    assert b"".join(read_device(device, length=len(data), digest=digest)) == data
    assert not any(any(part) for part in read_device(device, offset=len(data), length=SIZE_BYTES - len(data)))
