"""Devices on this host: block devices and files by their path, and what os-brick gives instead of one.

A path is read and written past the page cache where it allows that, so that moving an image does not throw out what
other programs have there.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, Self

import attrs

from imagevol_core import DeviceFailed

__all__ = ["Handle", "HandleDevice", "PathDevice"]

_ALIGNMENT_BYTES = 4096  # of offset and length, for direct I/O
_BLKZEROOUT = 0x127F  # linux/fs.h
_PUNCH_HOLE_KEEP_SIZE = 0x02 | 0x01  # linux/falloc.h
_LIBC = ctypes.CDLL(None, use_errno=True)


@attrs.define(kw_only=True)
class PathDevice:
    """A block device or a file: a `Device`, and the context in which it is open.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file, PathDevice.open(Path(file.name), writable=True) as device:
    ...     device.write(0, memoryview(b"data")), device.size_bytes
    (4, 4)
    """

    path: str
    guarantee: str | None = None
    _fd: int
    _direct_fd: int | None
    _clearers: list[Callable[[int, int, int], None]]

    @classmethod
    def open(cls, path: Path, *, writable: bool, direct: bool = True) -> PathDevice:
        """Open a path that is there.

        Args:
            path: of a block device or a file.
            writable: whether it is to be written.
            direct: whether to go past the page cache where that is possible.

        Raises:
            OSError: it cannot be opened.
        """
        flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC
        fd = os.open(path, flags)
        direct_fd = None
        if direct:
            with suppress(OSError):  # no every file system can
                direct_fd = os.open(path, flags | os.O_DIRECT)
        clearers: list[Callable[[int, int, int], None]] = []
        if writable:
            clearers = [_punch, _zero_out] if stat.S_ISBLK(os.fstat(fd).st_mode) else [_punch]
        return cls(path=str(path), fd=fd, direct_fd=direct_fd, clearers=clearers)

    def __enter__(self) -> Self:
        """It is open already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it; what was not flushed may be lost."""
        if self._direct_fd is not None:
            os.close(self._direct_fd)
        os.close(self._fd)

    @property
    def size_bytes(self) -> int:
        """How many bytes there are; a block device tells by its end only."""
        return os.lseek(self._fd, 0, os.SEEK_END)

    @property
    def can_clear(self) -> bool:
        """Whether there is a way that has not failed yet."""
        return bool(self._clearers)

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer as far as goes at once."""
        try:
            return self._moved(lambda fd, data: os.preadv(fd, [data], offset), offset, buffer)
        except OSError as error:
            raise DeviceFailed(f"reading at byte {offset} failed: {error}") from error

    def write(self, offset: int, data: memoryview) -> int:
        """Write as much as goes at once."""
        try:
            return self._moved(lambda fd, part: os.pwrite(fd, part, offset), offset, data)
        except OSError as error:
            raise DeviceFailed(f"writing at byte {offset} failed: {error}") from error

    def clear(self, offset: int, length: int) -> bool:
        """Let a range read as zeros by the cheapest call that the device has; one that fails is not tried again."""
        while self._clearers:
            try:
                self._clearers[0](self._fd, offset, length)
            except OSError:
                del self._clearers[0]
            else:
                return True
        return False

    def flush(self) -> None:
        """Return when all is on the storage; what the page cache had of it is dropped."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise DeviceFailed(f"flushing failed: {error}") from error
        with suppress(OSError):
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def _moved(self, move: Callable[[int, memoryview], int], offset: int, data: memoryview) -> int:
        """Move what is aligned past the page cache, and the rest through it."""
        whole = len(data) // _ALIGNMENT_BYTES * _ALIGNMENT_BYTES
        if self._direct_fd is not None and whole and offset % _ALIGNMENT_BYTES == 0:
            try:
                return move(self._direct_fd, data[:whole])
            except OSError:  # a real fault shows again below
                os.close(self._direct_fd)
                self._direct_fd = None
        return move(self._fd, data)


def _punch(fd: int, offset: int, length: int) -> None:
    """Give the range back to the storage; a block device that cannot do that for nothing refuses."""
    if _LIBC.fallocate(fd, _PUNCH_HOLE_KEEP_SIZE, ctypes.c_int64(offset), ctypes.c_int64(length)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _zero_out(fd: int, offset: int, length: int) -> None:
    """Let the kernel write the zeros, by one command where the device has it and else from one page of them."""
    fcntl.ioctl(fd, _BLKZEROOUT, struct.pack("QQ", offset, length))


class Handle(Protocol):
    """What a `HandleDevice` uses of a file-like object."""

    def seek(self, offset: int, whence: int = 0, /) -> object:
        """Go to a place."""

    def tell(self) -> int:
        """Tell the place."""

    def read(self, length: int, /) -> bytes | None:
        """Read from the place on."""

    def write(self, data: bytes, /) -> int | None:
        """Write from the place on."""

    def flush(self) -> None:
        """Write what is held back."""


@attrs.frozen(kw_only=True)
class HandleDevice:
    """A file-like object, as os-brick gives for Ceph RBD: a `Device`.

    librbd raises its own errors, which are not of the operating system's; all are translated here.
    """

    handle: Handle
    path: str
    guarantee: str | None = None
    can_clear: bool = attrs.field(default=False, init=False)

    @property
    def size_bytes(self) -> int:
        """How many bytes there are."""
        self.handle.seek(0, os.SEEK_END)
        return self.handle.tell()

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer as far as goes at once."""
        try:
            self.handle.seek(offset)
            data = self.handle.read(len(buffer)) or b""
        except Exception as error:
            raise DeviceFailed(f"reading at byte {offset} failed: {_line(error)}") from error
        buffer[: len(data)] = data
        return len(data)

    def write(self, offset: int, data: memoryview) -> int:
        """Write all of it: librbd takes bytes only, and says nothing of how much it took because it takes all."""
        try:
            self.handle.seek(offset)
            written = self.handle.write(bytes(data))
        except Exception as error:
            raise DeviceFailed(f"writing at byte {offset} failed: {_line(error)}") from error
        return len(data) if written is None else written

    def clear(self, offset: int, length: int) -> bool:  # noqa: ARG002 - a `Device`'s signature
        """A file-like object has no such call."""
        return False

    def flush(self) -> None:
        """Return when all is on the storage."""
        try:
            self.handle.flush()
        except Exception as error:
            raise DeviceFailed(f"flushing failed: {_line(error)}") from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
