"""The engine on real files and block devices: the whole device is compared, whatever it held before."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.engine import Hole, StreamWriter, pieces, read_device, write_stream
from imagevol_core import ImagevolError, SourceFailed, WrongLength, ZeroHandling

KIB = 1 << 10
SIZE_BYTES = 1024 * KIB
BLKFLSBUF = 0x1261
EDGES = st.sampled_from([1, 511, 4095, 4096, 4097, 8192, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 130 * KIB])
PIECES = st.lists(
    st.builds(lambda byte, length: byte * length, st.sampled_from([b"\0", b"x"]), EDGES) | st.builds(Hole, EDGES),
    max_size=7,
)


class Target:
    """A device over a file: what the file holds is what is on the storage."""

    def __init__(self, backing: Path, path: Path) -> None:
        self.backing = backing
        self.path = path

    def fill(self, data: bytes) -> None:
        """Let this be what somebody left on it."""
        with self.path.open("r+b") as device:
            device.write(data)
            device.flush()
            os.fsync(device.fileno())
            if self.path != self.backing:
                fcntl.ioctl(device, BLKFLSBUF)

    @property
    def content(self) -> bytes:
        return self.backing.read_bytes()


@pytest.fixture(params=["file", "loop"], scope="module")
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    backing = tmp_path_factory.mktemp("device") / "backing"
    backing.write_bytes(bytes(SIZE_BYTES))
    if request.param == "file":
        yield Target(backing, backing)
        return
    if os.geteuid() != 0:
        pytest.skip("not root: a loop device needs it")
    if not Path("/dev/loop-control").exists():
        pytest.skip("no loop devices on this machine")
    command = ["losetup", "--find", "--show", str(backing)]
    path = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield Target(backing, Path(path))
    finally:
        subprocess.run(["losetup", "--detach", path], check=True)


def joined(source: list[bytes | Hole]) -> bytes:
    return b"".join(bytes(piece.length) if isinstance(piece, Hole) else piece for piece in source)


@settings(max_examples=40)
@given(PIECES, st.sampled_from([ZeroHandling.PUNCH, ZeroHandling.WRITE]), st.booleans())
def test_a_whole_device_holds_the_stream_and_then_zeros(
    target: Target, source: list[bytes | Hole], zeros: ZeroHandling, direct: bool
) -> None:
    data = joined(source)
    target.fill(b"\xff" * SIZE_BYTES)
    with PathDevice.open(target.path, writable=True, direct=direct) as device:
        write_stream(source, device, size_bytes=len(data), zeros=zeros, algorithms=())
        assert b"".join(read_device(device, length=SIZE_BYTES)) == data + bytes(SIZE_BYTES - len(data))
    assert target.content == data + bytes(SIZE_BYTES - len(data))


@settings(max_examples=20)
@given(PIECES)
def test_on_a_device_that_is_proven_zero_only_the_data_is_written(target: Target, source: list[bytes | Hole]) -> None:
    data = joined(source)
    target.fill(bytes(SIZE_BYTES))
    with PathDevice.open(target.path, writable=True) as device:
        report = write_stream(source, device, size_bytes=len(data), zeros=ZeroHandling.SKIP, algorithms=())
    assert report.zeroed_bytes == 0
    assert target.content == data + bytes(SIZE_BYTES - len(data))


@settings(max_examples=20)
@given(PIECES, st.integers(0, 6), st.sampled_from([OSError("gone"), ConnectionResetError("reset")]))
def test_a_source_that_fails_is_an_error_and_nothing_is_called_whole(
    target: Target, source: list[bytes | Hole], at: int, fault: Exception
) -> None:
    def failing() -> Iterator[bytes | Hole]:
        yield from source[:at]
        raise fault

    target.fill(b"\xff" * SIZE_BYTES)
    with PathDevice.open(target.path, writable=True) as device, pytest.raises(SourceFailed):
        write_stream(failing(), device, size_bytes=len(joined(source[:at])) + 1, algorithms=())


@settings(max_examples=20)
@given(st.integers(SIZE_BYTES - 5000, SIZE_BYTES + 5000))
def test_a_device_that_is_full_is_an_error_and_what_fits_exactly_is_none(target: Target, size_bytes: int) -> None:
    data = b"x" * size_bytes
    target.fill(b"\xff" * SIZE_BYTES)
    with PathDevice.open(target.path, writable=True) as device:
        if size_bytes > SIZE_BYTES:
            with pytest.raises(ImagevolError, match=f"has {SIZE_BYTES} bytes"):
                write_stream([data], device, size_bytes=size_bytes)
            assert target.content == b"\xff" * SIZE_BYTES
            writer = StreamWriter([data], algorithms=())
            assert not writer.write(device)
            assert writer.position == SIZE_BYTES
        else:
            write_stream([data], device, size_bytes=size_bytes, algorithms=())
    assert target.content == data[:SIZE_BYTES] + bytes(max(0, SIZE_BYTES - size_bytes))


@settings(max_examples=20)
@given(st.integers(1, 100 * KIB), st.integers(1, 5000))
def test_not_one_byte_is_written_past_the_end_that_was_announced(target: Target, size_bytes: int, more: int) -> None:
    target.fill(b"\xff" * SIZE_BYTES)
    with PathDevice.open(target.path, writable=True) as device, pytest.raises(WrongLength):
        write_stream([b"x" * size_bytes, b"y" * more], device, size_bytes=size_bytes, algorithms=())
    assert target.content[size_bytes:] == b"\xff" * (SIZE_BYTES - size_bytes)


@settings(max_examples=20)
@given(PIECES)
def test_a_device_becomes_a_file_whose_holes_are_holes(
    target: Target, tmp_path_factory: pytest.TempPathFactory, source: list[bytes | Hole]
) -> None:
    data = joined(source)
    target.fill(data + bytes(SIZE_BYTES - len(data)))
    path = tmp_path_factory.mktemp("image") / "image"
    path.touch()
    os.truncate(path, SIZE_BYTES)
    with (
        PathDevice.open(target.path, writable=False) as device,
        PathDevice.open(path, writable=True) as file,
    ):
        write_stream(
            read_device(device, length=SIZE_BYTES), file, size_bytes=SIZE_BYTES, zeros=ZeroHandling.SKIP, algorithms=()
        )
    assert path.read_bytes() == target.content
    with path.open("rb") as image:
        held = sum(len(piece) for piece in pieces(image) if isinstance(piece, bytes))
    assert held <= sum(len(run) + 192 * KIB for run in data.split(b"\0") if run)
