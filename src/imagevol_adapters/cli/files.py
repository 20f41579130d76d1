"""Files that a command reads and writes."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from errno import EEXIST, EINVAL, EISDIR, EOPNOTSUPP
from pathlib import Path
from typing import BinaryIO

from imagevol_adapters.opening import open_file
from imagevol_adapters.temporary_files import in_use
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
    from imagevol_adapters.inspection.in_time import closed_in_time

    with ExitStack() as stack:
        try:
            opened_file = os.fdopen(open_file(path, block_devices=True), "rb")
            file = stack.enter_context(closed_in_time(opened_file))
            size_bytes = file.seek(0, os.SEEK_END)
            file.seek(0)
        except OSError as error:
            raise SourceFailed(f"{path} cannot be read: {error.strerror}; {hint}") from error
        yield file, size_bytes


def _unnamed(directory: Path, stack: ExitStack) -> Path | None:
    """A new file without a name, which is gone with its last user, however that ends; None if there can be none."""
    try:
        descriptor = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (EOPNOTSUPP, EISDIR):  # of the file system, or of an old kernel
            return None
        raise
    stack.callback(os.close, descriptor)
    partial = Path(f"/proc/self/fd/{descriptor}")
    return partial if partial.exists() else None


@contextmanager
def _directory(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A new, empty file that gets its name when the context ends without an error; its mode follows the umask.

    Raises:
        RequestRefused: a file of that name exists, or it cannot be created.
    """
    with ExitStack() as stack:
        try:
            if "\0" in str(path):
                raise OSError(EINVAL, "a file name cannot have a NUL in it")
            if path.exists():
                raise FileExistsError(EEXIST, os.strerror(EEXIST))
            partial = _unnamed(path.parent, stack)
            if partial is None:
                partial = path.parent / f".imagevol-{secrets.token_hex(8)}"  # however long the name is
                os.close(os.open(partial, _NEW_FILE, 0o666))
                stack.callback(partial.unlink, missing_ok=True)
                stack.enter_context(in_use(partial))
                yield partial
                path.touch(exist_ok=False)  # who came before keeps the name
                partial.replace(path)
            else:
                yield partial
                with _directory(Path("/")) as anywhere:  # with a directory, Python lets the kernel follow the link
                    os.link(partial, path, src_dir_fd=anywhere)
        except ImagevolError:
            raise  # some are the operating system's errors too
        except FileExistsError as error:
            raise RequestRefused(f"{path} exists already: give the name of a new file") from error
        except OSError as error:
            raise RequestRefused(
                f"{path} cannot be written: {error.strerror}; give a new file in a directory with room for it"
            ) from error
