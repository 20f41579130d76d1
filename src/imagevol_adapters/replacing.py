"""Files that are written anew as a whole: a reader sees the file before or the file after, and never a part of one."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EEXIST, EINVAL
from hashlib import sha256
from pathlib import Path

from imagevol_adapters.opening import open_file
from imagevol_core import ImagevolError, RequestRefused
from imagevol_core.sentences import said

__all__ = ["check_replaceable", "replace_file"]

_LONGEST_NAME = 255  # characters that are shown
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def check_replaceable(path: Path, *, begins: bytes) -> None:
    """Refuse a name that must not be written to, before any work is done for it.

    Args:
        path: of the file.
        begins: what an earlier file of the same kind begins with; a file that begins with anything else is kept.

    Raises:
        RequestRefused: it is something else than a file, or holds something else, or has no directory.
    """
    with _refused(path):
        _target(path, begins)


def replace_file(path: Path, content: bytes, *, begins: bytes, mode: int = 0o666) -> None:
    """Write a file in one step, in place of an earlier one of the same kind.

    The content goes into a new file in the same directory, is flushed to the disk, and takes the name.  If that fails,
    the earlier file stays, and nothing else is left.  What a killed process leaves of a new file is used by the next
    one that writes a file of that name.

    Args:
        path: of the file; of a link, the file that it leads to is replaced.
        content: all of it.
        begins: what an earlier file of the same kind begins with; a file that begins with anything else is kept.
        mode: of the file; the umask takes bits away.

    Raises:
        RequestRefused: it cannot be written, or the name belongs to something else.
    """
    with _refused(path):
        target = _target(path, begins)
        partial, descriptor = _partial(target, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                partial.replace(target)  # while it is locked
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise
        _flush_directory(target.parent)


def _partial(target: Path, mode: int) -> tuple[Path, int]:
    """Open the new file: by the same name each time, or by another one if another process writes to that."""
    partial = target.parent / f".imagevol-{sha256(os.fsencode(target.name)).hexdigest()[:16]}"
    with suppress(OSError):
        descriptor = os.open(partial, _NEW_FILE, mode)
        if _is_ours(partial, descriptor):
            os.ftruncate(descriptor, 0)
            return partial, descriptor
        os.close(descriptor)
    partial = target.parent / f".imagevol-{secrets.token_hex(8)}"
    return partial, os.open(partial, _NEW_FILE | os.O_EXCL, mode)


def _is_ours(path: Path, descriptor: int) -> bool:
    """Lock an open file, and tell whether it is one of this user alone that no process uses."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until it is closed
        found = os.fstat(descriptor)
        named = os.path.samestat(found, path.stat(follow_symlinks=False))  # another process may have renamed it
        return named and stat.S_ISREG(found.st_mode) and (found.st_uid, found.st_nlink) == (os.geteuid(), 1)
    return False


def _target(path: Path, begins: bytes) -> Path:
    """Find the file that is replaced, and hold that it may be."""
    if "\0" in str(path):
        raise OSError(EINVAL, "a file name cannot have a NUL in it")
    if path.name in ("", "-"):
        raise OSError(EINVAL, "it is not the name of a file")
    target = Path(os.path.realpath(path, strict=False))
    if not os.access(target.parent, os.W_OK | os.X_OK):
        target.parent.stat()  # which says it better if there is none
        raise OSError(EINVAL, "its directory cannot be written to")
    try:
        descriptor = open_file(target)
    except FileNotFoundError:
        return target
    with os.fdopen(descriptor, "rb") as file:
        found = file.read(len(begins))
    if found and found != begins:
        raise OSError(EEXIST, "it exists and holds something else")
    return target


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Translate what the operating system says of a name."""
    try:
        yield
    except ImagevolError:
        raise  # some are the operating system's errors too
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        name = str(path) if len(str(path)) <= _LONGEST_NAME else f"{str(path)[:_LONGEST_NAME]}…"
        text = f"{said(name)} cannot be written: {said(reason)}; give a new file in a directory with room for it"
        raise RequestRefused(text) from error
