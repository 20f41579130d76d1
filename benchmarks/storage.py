"""Block devices to measure on, and images to move: made in memory, and gone afterwards."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB, GIB = 1 << 20, 1 << 30
BLKFLSBUF, BLKZEROOUT = 0x1261, 0x127F  # linux/fs.h


def in_private(*arguments: str) -> None:
    """Go on in a namespace of mounts that ends with this process, however that ends; returns when this is it."""
    if os.geteuid() != 0:
        sys.exit("the transfers are measured on loop devices, which need root")
    if os.environ.get("IMAGEVOL_BENCH_MOUNTS") != "private":
        environment = {**os.environ, "IMAGEVOL_BENCH_MOUNTS": "private"}
        command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "benchmarks", *arguments]
        os.execvpe(command[0], command, environment)


@contextmanager
def memory() -> Iterator[Path]:
    """A directory in memory, which is no disk's speed; nobody else sees it.

    It is a ramfs: a file there cannot be punched, and so a loop device over it has no write-zeroes, like many LUNs.
    """
    place = Path("/mnt")
    subprocess.run(["mount", "-t", "ramfs", "ramfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


class LoopDevice:
    """A loop device over a file."""

    def __init__(self, backing: Path, size_bytes: int) -> None:
        self.backing = backing
        self.size_bytes = size_bytes
        with backing.open("wb") as file:
            file.truncate(size_bytes)
        command = ["losetup", "--find", "--show", str(backing)]
        self.path = Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
        self._open = self.path.open("rb")
        # It goes when it is closed for the last time, which is when this process ends, however that happens.
        subprocess.run(["losetup", "--detach", str(self.path)], check=True)

    def renew(self) -> None:
        """Let it be as a volume that was just made: zero all over, and nothing of it in the page cache.

        What holds it stays in memory: on a virtual machine, memory that is taken anew can cost more than the transfer.
        """
        with self.path.open("r+b") as device:
            fcntl.ioctl(device, BLKFLSBUF)
            fcntl.ioctl(device, BLKZEROOUT, struct.pack("QQ", 0, self.size_bytes))
            os.fsync(device.fileno())

    def forget(self) -> None:
        """Let nothing of it be in the page cache."""
        with self.path.open("rb") as device:
            os.fsync(device.fileno())
            fcntl.ioctl(device, BLKFLSBUF)

    @property
    def written_bytes(self) -> int:
        """How much was ever written to it, as the block layer counts."""
        return int(Path("/sys/block", self.path.name, "stat").read_text().split()[6]) * 512

    def close(self) -> None:
        """Take it away."""
        self._open.close()
        self.backing.unlink()


@contextmanager
def loop_device(directory: Path, size_bytes: int) -> Iterator[LoopDevice]:
    """A loop device while the context lasts."""
    device = LoopDevice(directory / "device", size_bytes)
    try:
        yield device
    finally:
        device.close()


class Image:
    """An image of which one part in so many is data, in extents of 1 MiB.

    The data are of a few mebibytes over and over, so that making them costs next to nothing.
    """

    _DATA = tuple(os.urandom(MIB) for _ in range(8))

    def __init__(self, size_bytes: int, *, one_in: int = 1) -> None:
        self.size_bytes = size_bytes
        self._one_in = one_in

    def __iter__(self) -> Iterator[bytes]:
        for number in range(self.size_bytes // MIB):
            yield ZEROS if number % self._one_in else self._DATA[number % len(self._DATA)]

    def file(self) -> ImageFile:
        """Give it as Glance gives it to a store driver."""
        return ImageFile(iter(self))

    def write(self, path: Path) -> None:
        """Make a file of it, sparse as files of images are."""
        with path.open("wb") as file:
            file.truncate(self.size_bytes)
            for number, data in enumerate(self):
                if number % self._one_in == 0:
                    file.seek(number * MIB)
                    file.write(data)


class ImageFile:
    """What a store driver reads."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._rest = memoryview(b"")

    def read(self, length: int) -> bytes:
        """Give the next bytes, none at the end."""
        self._rest = self._rest or memoryview(next(self._parts, b""))
        data, self._rest = self._rest[:length], self._rest[length:]
        return bytes(data)


ZEROS = bytes(MIB)
