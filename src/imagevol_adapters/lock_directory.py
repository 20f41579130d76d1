"""A directory in which root keeps lock files, and in which no other user can put a symbolic link."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from imagevol_core import AttachFailed

__all__ = ["lock_directory"]

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_LINKS = 40  # as many as Linux follows


def lock_directory(path: Path) -> Path:
    """Give a directory for lock files, created if it is not there.

    A lock file is created by its name. If another user could write to the directory, or to one on the way to it, the
    name could be a link, and root would write to where it leads.

    Args:
        path: absolute.

    Raises:
        AttachFailed: another user can write there, or it is no directory, or it contains a symbolic link.
        OSError: it cannot be created or read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     oct(lock_directory(Path(parent, "locks")).stat().st_mode & 0o777)
    '0o700'
    """
    if not path.is_absolute():
        raise _refused(path, "it is not an absolute path")
    real = _real_parent(path) / path.name
    with suppress(FileExistsError):
        real.mkdir(mode=0o700)
    found = real.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise _refused(path, f"{real} is a symbolic link")
    if not stat.S_ISDIR(found.st_mode):
        raise _refused(path, f"{real} is not a directory")
    _expect_own(path, real, found)
    if found.st_mode & _OTHERS_WRITE:
        raise _refused(path, f"users other than its owner can write to {real} (mode {found.st_mode & 0o7777:04o})")
    with os.scandir(real) as entries:
        if link := next((entry.name for entry in entries if entry.is_symlink()), None):
            raise _refused(path, f"{real} contains the symbolic link {link!r}")
    return real


def _real_parent(path: Path) -> Path:
    """Give the directory that it is in, without links: no other user can exchange that, or one above it."""
    real, rest, links = Path("/"), list(path.parent.parts[1:]), 0
    _expect_safe(path, real)
    while rest:
        name = rest.pop(0)
        if name == "..":
            real = real.parent
            continue
        entry = real / name
        with suppress(FileExistsError):
            entry.mkdir(mode=0o755)
        if not entry.is_symlink():
            real = entry
            _expect_safe(path, real)
            continue
        links += 1
        if links > _LINKS:
            raise _refused(path, f"{entry} leads through too many symbolic links")
        _expect_own(path, entry, entry.lstat())
        target = entry.readlink()
        rest = [*target.parts[target.is_absolute() :], *rest]
        real = Path("/") if target.is_absolute() else real
    return real


def _expect_safe(path: Path, directory: Path) -> None:
    """Refuse a directory in which another user can exchange what root has put there."""
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise _refused(path, f"{directory} is not a directory")
    _expect_own(path, directory, found)
    if found.st_mode & _OTHERS_WRITE and not found.st_mode & stat.S_ISVTX:
        raise _refused(path, f"users other than its owner can write to {directory} (mode {found.st_mode & 0o7777:04o})")


def _expect_own(path: Path, what: Path, found: os.stat_result) -> None:
    if found.st_uid not in (0, os.geteuid()):
        raise _refused(path, f"{what} belongs to user {found.st_uid}")


def _refused(path: Path, reason: str) -> AttachFailed:
    return AttachFailed(
        f"os-brick cannot keep its locks in {path}: {reason}. Choose a directory that only root can write to, such as "
        "/run/imagevol"
    )
