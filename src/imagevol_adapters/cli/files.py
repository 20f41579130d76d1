"""Files that a command reads and writes."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from errno import EEXIST
from pathlib import Path
from typing import BinaryIO

from imagevol_core import ImagevolError, RequestRefused, SourceFailed

__all__ = ["STANDARD_STREAM", "appearing", "opened"]

STANDARD_STREAM = Path("-")

_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


@contextmanager
def opened(path: Path, hint: str = "give an image file") -> Iterator[tuple[BinaryIO, int | None]]:
    """A file or block device and its size in bytes; or the standard input, whose size is unknown.

    Args:
        path: of the file, or `STANDARD_STREAM`.
        hint: what to do if it cannot be read.

    Raises:
        SourceFailed: it cannot be read, or is neither a file nor a block device.
    """
    if path == STANDARD_STREAM:
        yield sys.stdin.buffer, None
        return
    try:
        file = open(path, "rb", opener=_at_once)  # noqa: SIM115 - it is closed below
    except OSError as error:
        raise SourceFailed(f"{path} cannot be read: {error.strerror}; {hint}") from error
    with file:
        mode = os.fstat(file.fileno()).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise SourceFailed(f"{path} is no file with a size; {hint}")
        size_bytes = file.seek(0, os.SEEK_END)
        file.seek(0)
        yield file, size_bytes


def _at_once(path: str, flags: int) -> int:
    """Open what is there without waiting: a FIFO has no other end."""
    return os.open(path, flags | os.O_NONBLOCK)


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A new, empty file that gets its name when the context ends without an error; its mode follows the umask.

    Raises:
        RequestRefused: a file of that name exists, or it cannot be created.
    """
    with ExitStack() as stack:
        try:
            if path.exists():
                raise FileExistsError(EEXIST, os.strerror(EEXIST))
            partial = path.parent / f".imagevol-{secrets.token_hex(8)}"  # however long the name is
            os.close(os.open(partial, _NEW_FILE, 0o666))
            stack.callback(partial.unlink, missing_ok=True)
            yield partial
            path.touch(exist_ok=False)  # who came before keeps the name
            partial.replace(path)
        except ImagevolError:
            raise  # some are the operating system's errors too
        except OSError as error:
            raise RequestRefused(
                f"{path} cannot be written: {error.strerror}; give a new file in a directory with room for it"
            ) from error
