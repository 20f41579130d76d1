"""A file that is opened once, and that is noticed to change for as long as it is read.

Between two looks at a path, another file can be put there.  Between two looks at one file, its content can change, and
through a mapping in memory even without a new modification time.  So everything reads through one descriptor, and the
kernel is asked for a lease, which it gives only while no process has the file open for writing.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import attrs

from imagevol_adapters.inspection.in_time import closed_in_time, opened_in_time
from imagevol_core import STALL_SECONDS, SourceFailed

__all__ = ["HeldFile"]


@attrs.frozen
class HeldFile:
    """A file that is open to be read.

    Attributes:
        file: it.
        what: names it in an error.
    """

    file: BinaryIO
    what: str
    _identity: tuple[int, ...]
    _leased: bool

    @classmethod
    @contextmanager
    def open(cls, path: Path, *, what: str, stall_seconds: float = STALL_SECONDS) -> Iterator[HeldFile]:
        """Open a file while the context lasts.

        Raises:
            SourceFailed: it cannot be opened, or another process has it open for writing.
            SourceStalled: opening it takes longer than `stall_seconds`.
        """
        file = opened_in_time(lambda: path.open("rb"), what=what, stall_seconds=stall_seconds)
        with closed_in_time(file):
            leased = _lease(file.fileno(), what)
            yield cls(file, what, _identity(file.fileno()), leased)

    @property
    def descriptor(self) -> int:
        """Its descriptor."""
        return self.file.fileno()

    @property
    def size_bytes(self) -> int:
        """How long it is; a block device tells by its end only."""
        return self.file.seek(0, os.SEEK_END)

    def read_through(self) -> None:
        """Be ready for whatever is read next, as a file always is."""

    def refuse_changed(self) -> None:
        """Refuse it if it may be another than when it was opened.

        Raises:
            SourceFailed: it was changed, or a process has tried to open it for writing.
        """
        changed = _identity(self.descriptor) != self._identity
        if changed or (self._leased and fcntl.fcntl(self.descriptor, fcntl.F_GETLEASE) != fcntl.F_RDLCK):
            raise SourceFailed(f"{self.what} was changed while it was read, or opened to be changed: try it again")


def _lease(descriptor: int, what: str) -> bool:
    """Ask for a lease; some file systems and containers give none, and block devices have none."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            raise SourceFailed(
                f"{what} is open for writing in another process: wait until it is complete, or copy it first"
            ) from error
        return False
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, 0)  # or the kernel sends a signal, which ends us, when it takes it away
    return True


def _identity(descriptor: int) -> tuple[int, ...]:
    """What is another as soon as the file is written to, by the usual ways."""
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
