"""Opening what a person names: at once, and only what has an end.

A FIFO makes its reader wait for a writer, and a device such as `/dev/zero` never ends.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from errno import EFBIG, EINVAL
from pathlib import Path

__all__ = ["is_directory", "is_private", "open_file", "read_file", "who_else_writes"]

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISDIR, "a directory"),
)


def is_directory(path: Path) -> bool:
    """Tell whether a name is one of a directory; a name that no file can have is not.

    >>> is_directory(Path("/proc")), is_directory(Path("n" * 300))
    (True, False)
    """
    try:
        return path.is_dir()
    except OSError:
        return False


def open_file(path: Path, flags: int = os.O_RDONLY, *, block_devices: bool = False) -> int:
    """Open a file, without waiting for anything, and give its descriptor.

    Args:
        path: of the file.
        flags: how it is opened, as for `os.open`.
        block_devices: whether a block device will do too.

    Raises:
        OSError: it cannot be opened, or is something else than a file; `strerror` says why.

    >>> open_file(Path("/dev/zero"))
    Traceback (most recent call last):
    OSError: [Errno 22] it is a character device, not a file: '/dev/zero'
    """
    if "\0" in str(path):
        raise OSError(EINVAL, "a file name cannot have a NUL in it", str(path))
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or (block_devices and stat.S_ISBLK(mode)):
        return descriptor
    os.close(descriptor)
    kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
    raise OSError(EINVAL, f"it is {kind}, not a file", str(path))


def is_private(descriptor: int, *, names: int = 1) -> bool:
    """Tell whether an open file belongs to this user alone: only this user can write to it or read it.

    Args:
        descriptor: of the file.
        names: how many names it has at most; with more of them it may be another file too.
    """
    found = os.fstat(descriptor)
    return found.st_uid == os.geteuid() and not found.st_mode & 0o077 and found.st_nlink <= names


def who_else_writes(descriptor: int) -> str:
    """Say which other user can have written an open file; empty if only this user and root can.

    >>> with open("/proc/self/status") as file:
    ...     who_else_writes(file.fileno())
    ''
    """
    found = os.fstat(descriptor)
    if found.st_uid not in (os.geteuid(), 0):
        return f"it belongs to user {found.st_uid}"
    if found.st_mode & 0o022:
        return "its group or all users can write to it"
    return "it has a second name, so that it may be another file too" if found.st_nlink > 1 else ""


def read_file(path: Path, *, longest_bytes: int) -> bytes:
    """Give what is in a file.

    Args:
        path: of the file.
        longest_bytes: a longer one is refused.

    Raises:
        OSError: as `open_file`; or it cannot be read, or is longer; `strerror` says why.
    """
    with os.fdopen(open_file(path), "rb") as file:
        content = file.read(longest_bytes + 1)
    if len(content) > longest_bytes:
        raise OSError(EFBIG, f"it is longer than {longest_bytes} bytes", str(path))
    return content
