"""The temporary files of our procedures on this host: those that a killed process left are locked by nothing."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from imagevol_adapters.temporary_files import LOOK
from imagevol_core import InUse, RequestRefused
from imagevol_core.auditing import LeftFile
from imagevol_core.sentences import said

__all__ = ["delete_left_file", "file_of_this_host", "left_file", "left_files"]

_NAME = re.compile(r"imagevol-[a-z0-9_]{8}(?:[.][a-z0-9]+)?|[.]imagevol-(?:[0-9a-f]{16}|[a-z0-9_]{8})", re.ASCII)
_BLOCK = 512  # in which st_blocks counts


def left_files(directories: Iterable[Path]) -> Iterator[LeftFile]:
    """Give the temporary files in some directories of this host, those in use too; what cannot be listed has none.

    Args:
        directories: where our procedures keep files.
    """
    for directory in dict.fromkeys(directories):
        with suppress(OSError):
            for name in sorted(os.listdir(directory)):  # noqa: PTH208 - which gives the names alone
                if found := left_file(directory.absolute() / name):
                    yield found


def left_file(path: Path) -> LeftFile | None:
    """Look at a temporary file; None if there is none of such a name, or it is another user's in a shared directory.

    Args:
        path: of the file.
    """
    with suppress(OSError):
        found, directory = os.lstat(path), os.stat(path.parent)  # noqa: PTH116
        ours = found.st_uid in (directory.st_uid, os.geteuid())
        if ours and stat.S_ISREG(found.st_mode) and _NAME.fullmatch(path.name):
            return LeftFile(
                host=socket.gethostname(),
                path=str(path),
                size_bytes=found.st_blocks * _BLOCK,
                changed_at=datetime.fromtimestamp(found.st_mtime, UTC),
                in_use=_locked(path),
            )
    return None


def file_of_this_host(name: str) -> LeftFile | None:
    """Look at the temporary file that a finding names; None if it is gone, or a file of another host.

    Args:
        name: the host and the path, as `LeftFile.subject` has them.
    """
    host, _, path = name.partition(":")
    return left_file(Path(path)) if host == socket.gethostname() else None


def delete_left_file(path: Path) -> None:
    """Delete a temporary file that no process uses.

    Args:
        path: of the file.

    Raises:
        InUse: a process uses it.
        RequestRefused: it cannot be deleted, or is not what it was.
    """
    try:
        descriptor = os.open(path, LOOK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if left_file(path) is None or not os.path.samestat(os.fstat(descriptor), os.lstat(path)):
                raise RequestRefused(f"file {said(path)} is not the temporary file that was found: audit again")
            os.unlink(path)  # noqa: PTH108
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return
    except BlockingIOError as error:
        raise InUse(f"file {said(path)} is used by a process") from error
    except OSError as error:
        raise RequestRefused(f"file {said(path)} cannot be deleted: {error.strerror}; do it as root") from error


def _locked(path: Path) -> bool | None:
    """Whether a process has the file locked; None where that cannot be told."""
    try:
        descriptor = os.open(path, LOOK)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False
