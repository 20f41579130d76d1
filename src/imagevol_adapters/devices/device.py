"""Devices on this host: block devices and files by their path.

A path is read and written past the page cache where it allows that, so that moving an image does not throw out what
other programs have there.
"""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from errno import EIO, ENOSPC
from functools import partial
from pathlib import Path
from typing import Self

import attrs

from imagevol_adapters.devices.block_stack import LONG_CLEAR_BYTES, takes_long_requests
from imagevol_adapters.devices.calls import Calls
from imagevol_adapters.error_text import one_line
from imagevol_adapters.file_extents import extents
from imagevol_adapters.ports import CLEAR_BYTES
from imagevol_core import DeviceFailed, DeviceStalled

__all__ = ["PathDevice"]

_ALIGNMENT_BYTES = 4096  # of offset and length, for direct I/O
_CLOSED = (1 << 31) - 1  # no descriptor: no process may have so many
_BLKZEROOUT = 0x127F  # linux/fs.h
_PUNCH_HOLE_KEEP_SIZE = 0x02 | 0x01  # linux/falloc.h
_HINTS = {  # for errors of a block device, which say little
    EIO: "; look at the kernel's log and at the backend",
    ENOSPC: "; the device ends there, or the pool of its backend is full",
}
_LOG = logging.getLogger(__name__)
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
    what: str
    block_device: bool
    clear_bytes: int
    guarantee: str | None = None
    _fd: int
    _direct_fd: int | None
    _clearers: list[Callable[[int, int, int], None]]
    _direct: bool = attrs.field(default=attrs.Factory(lambda self: self._direct_fd is not None, True), init=False)
    _calls: Calls = attrs.field(factory=Calls, init=False, repr=False)
    left_open: bool = attrs.field(default=False, init=False)
    look_at: str = attrs.field(default=DeviceStalled.look_at, init=False, repr=False)

    @classmethod
    def open(cls, path: Path, *, writable: bool, direct: bool = True, volume_id: str | None = None) -> PathDevice:
        """Open a path that is there.

        Args:
            path: of a block device or a file.
            writable: whether it will be written.
            direct: whether to go past the page cache where that is possible.
            volume_id: the volume that it holds, which errors then name.

        Raises:
            OSError: it cannot be opened.
        """
        flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC | os.O_NONBLOCK  # of a FIFO there is no size
        fd = os.open(path, flags)
        direct_fd = None
        if direct:
            with suppress(OSError):  # no every file system can
                direct_fd = os.open(path, flags | os.O_DIRECT)
        found = os.fstat(fd)
        block_device = stat.S_ISBLK(found.st_mode)
        takes_long = not block_device or takes_long_requests(found.st_rdev)  # a file system splits them itself
        clearers: list[Callable[[int, int, int], None]] = []
        if writable:
            clearers = [_punch, _zero_out] if block_device else [_punch]
        return cls(
            path=str(path),
            what=f"volume {volume_id} at {path}" if volume_id else f"{'device' if block_device else 'file'} {path}",
            block_device=block_device,
            clear_bytes=LONG_CLEAR_BYTES if takes_long else CLEAR_BYTES,
            fd=fd,
            direct_fd=direct_fd,
            clearers=clearers,
        )

    def __enter__(self) -> Self:
        """It is open already."""
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Close it; an error that ends the context is the one that is raised, and names one of closing in a note."""
        try:
            self.close()
        except DeviceFailed as failure:
            if error is None:
                raise
            error.add_note(str(failure))

    def leave_open(self) -> None:
        """Stay open: another program uses it, and cannot be ended."""
        self.left_open = True

    def close(self) -> None:
        """Close it; if a call has not returned, it is closed when that returns.  What was not flushed may be lost.

        Raises:
            DeviceFailed: the storage reports what it could not write, as one of NFS does; it is closed all the same.
        """
        if self.left_open or self._fd == _CLOSED:
            return
        closers = ExitStack()
        closers.callback(setattr, self, "left_open", False)
        for fd in (self._fd, self._direct_fd):
            if fd is not None:
                closers.callback(os.close, fd)
        self.left_open = True  # until this has returned
        self._fd, self._direct_fd = _CLOSED, None  # for a thread that comes late
        if self._calls:
            self._calls.when_none(partial(_close_late, closers, self.what))
            return
        with _translated(self.what, "closing"):
            closers.close()

    @property
    def size_bytes(self) -> int:
        """How many bytes there are; a block device tells by its end only."""
        with self._calls, _translated(self.what, "asking for the size"):
            return os.lseek(self._fd, 0, os.SEEK_END)

    @property
    def direct_io(self) -> bool:
        """Whether it goes past the page cache."""
        return self._direct

    @property
    def can_clear(self) -> bool:
        """Whether there is a way that has not failed yet."""
        return bool(self._clearers)

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer as far as goes at once."""
        try:
            return self._moved(lambda fd, data: os.preadv(fd, [data], offset), offset, buffer)
        except OSError as error:
            raise self._failure(f"reading at byte {offset}", error) from error

    def write(self, offset: int, data: memoryview) -> int:
        """Write as much as goes at once."""
        try:
            return self._moved(lambda fd, part: os.pwrite(fd, part, offset), offset, data)
        except OSError as error:
            raise self._failure(f"writing at byte {offset}", error) from error

    def clear(self, offset: int, length: int) -> bool:
        """Let a range read as zeros by the cheapest call that has not failed; one that fails is not tried again."""
        while self._clearers:
            try:
                with self._calls:
                    self._clearers[0](self._fd, offset, length)
            except InterruptedError:
                continue
            except OSError:
                self.distrust()
                break
            return True
        return False

    def distrust(self) -> None:
        """Go on to the next call."""
        del self._clearers[:1]

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        """Yield the data of a file, and its holes; a block device tells of none."""
        with _translated(self.what, "asking for the extents"):
            found = extents(self._fd, offset, offset + length)
            while True:
                with self._calls:
                    os.fstat(self._fd)  # once it is closed, the number can be another file's
                    each = next(found, None)
                if each is None:
                    return
                yield each

    def flush(self) -> None:
        """Return when all is on the storage; what the page cache had of it is dropped."""
        try:
            with self._calls:
                os.fsync(self._fd)
                with suppress(OSError):
                    os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            raise self._failure("flushing", error) from error

    def _failure(self, doing: str, error: OSError) -> DeviceFailed:
        """Give the error of a call that failed, with what to look at next."""
        hint = _HINTS.get(error.errno or 0, "") if self.block_device else ""
        return DeviceFailed(f"{self.what}: {doing} failed: {one_line(error)}{hint}")

    def _moved(self, move: Callable[[int, memoryview], int], offset: int, data: memoryview) -> int:
        """Move what is aligned past the page cache, and the rest through it."""
        whole = len(data) // _ALIGNMENT_BYTES * _ALIGNMENT_BYTES
        with self._calls:
            direct_fd = self._direct_fd  # another thread may be closing it
            if direct_fd is not None and self._direct and whole and offset % _ALIGNMENT_BYTES == 0:
                try:
                    return move(direct_fd, data[:whole])
                except OSError:  # a real fault shows again below
                    self._direct = False  # its descriptor stays open: another thread may be reading through it
            return move(self._fd, data)


def _close_late(closers: ExitStack, what: str) -> None:
    """Close a device for which no thread waits any more."""
    try:
        closers.close()
    except OSError as error:
        _LOG.warning("%s: closing failed: %s", what, one_line(error))


def _punch(fd: int, offset: int, length: int) -> None:
    """Give the range back to the storage; a block device that cannot do that for nothing refuses."""
    if _LIBC.fallocate(fd, _PUNCH_HOLE_KEEP_SIZE, ctypes.c_int64(offset), ctypes.c_int64(length)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _zero_out(fd: int, offset: int, length: int) -> None:
    """Let the kernel write the zeros, by one command where the device has it and else from one page of them."""
    fcntl.ioctl(fd, _BLKZEROOUT, struct.pack("QQ", offset, length))


@contextmanager
def _translated(what: str, doing: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise DeviceFailed(f"{what}: {doing} failed: {one_line(error)}") from error
