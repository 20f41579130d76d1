"""Files that a command reads and writes."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from errno import EEXIST, EINVAL, EISDIR, EOPNOTSUPP
from pathlib import Path
from typing import BinaryIO

import attrs

from imagevol_adapters.file_deadline import in_time
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
            opened_file, size_bytes = in_time(lambda: _opened(path), path, late=lambda late: late[0].close())
            file = stack.enter_context(closed_in_time(opened_file))
        except OSError as error:
            raise SourceFailed(f"{path} cannot be read: {error.strerror}; {hint}") from error
        yield file, size_bytes


def _opened(path: Path) -> tuple[BinaryIO, int]:
    with ExitStack() as stack:
        file = stack.enter_context(os.fdopen(open_file(path, block_devices=True), "rb"))
        size_bytes = file.seek(0, os.SEEK_END)
        file.seek(0)
        stack.pop_all()
    return file, size_bytes


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


@attrs.define
class _New:
    """A new file that does not have its name yet.

    Attributes:
        path: which name it gets.
        partial: by which it can be opened.
    """

    path: Path
    partial: Path
    named: bool
    _held: ExitStack

    @classmethod
    def create(cls, path: Path) -> _New:
        """Create it, without a name if the file system has such files.

        Raises:
            OSError: there is a file of that name, or none can be created.
        """
        if "\0" in str(path):
            raise OSError(EINVAL, "a file name cannot have a NUL in it")
        if path.exists():
            raise FileExistsError(EEXIST, os.strerror(EEXIST))
        with ExitStack() as stack:
            unnamed = _unnamed(path.parent, stack)
            partial = unnamed or path.parent / f".imagevol-{secrets.token_hex(8)}"  # however long the name is
            if unnamed is None:
                os.close(os.open(partial, _NEW_FILE, 0o666))
                stack.callback(partial.unlink, missing_ok=True)
                stack.enter_context(in_use(partial))
            return cls(path, partial, unnamed is None, stack.pop_all())

    def give_name(self) -> None:
        """Give it its name.

        Raises:
            OSError: there is a file of that name.
        """
        if self.named:
            self.path.touch(exist_ok=False)  # who came before keeps the name
            self.partial.replace(self.path)
            return
        anywhere = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:  # with a directory, Python lets the kernel follow the link
            os.link(self.partial, self.path, src_dir_fd=anywhere)
        finally:
            os.close(anywhere)

    def remove(self) -> None:
        """Let it go; what has no name is gone then."""
        self._held.close()


def _in_time_or_left(call: Callable[[], object], path: Path) -> None:
    """Clean up what this process would lose at its end, unless its storage hangs."""
    with suppress(TimeoutError):
        in_time(call, path)


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A new, empty file that gets its name when the context ends without an error; its mode follows the umask.

    Raises:
        RequestRefused: a file of that name exists, or it cannot be created.
    """
    with ExitStack() as stack:
        try:
            new = in_time(lambda: _New.create(path), path, late=lambda late: late.remove())
            stack.callback(_in_time_or_left, new.remove, path)
            yield new.partial
            in_time(new.give_name, path)
        except ImagevolError:
            raise  # some are the operating system's errors too
        except FileExistsError as error:
            raise RequestRefused(f"{path} exists already: give the name of a new file") from error
        except OSError as error:
            raise RequestRefused(
                f"{path} cannot be written: {error.strerror}; give a new file in a directory with room for it"
            ) from error
