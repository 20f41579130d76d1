"""A file whose storage may hang: opened, looked at and closed within a deadline.

A read that hangs in the kernel cannot be ended, and a file that is being read cannot be closed.  So each is done by a
thread of its own, which is left to itself at the deadline.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from imagevol_adapters.disk_files import disk_of
from imagevol_adapters.engine.limits import Limits
from imagevol_adapters.engine.threads import in_thread
from imagevol_adapters.engine.watching import Watch, bounded
from imagevol_adapters.error_text import one_line
from imagevol_adapters.inspection.inspector import inspect_file
from imagevol_adapters.opening import open_file
from imagevol_core import STALL_SECONDS, ImagevolError, Inspection, SourceFailed, TransferStalled

__all__ = ["closed_in_time", "inspect_in_time", "opened_in_time", "reading"]

T = TypeVar("T")

_CLOSING_SECONDS = 1  # for a file that was only read: nothing is lost if it is closed later


def inspect_in_time(file: str | Path | BinaryIO, *, what: str, stall_seconds: float = STALL_SECONDS) -> Inspection:
    """Do as `inspect_file`, unless the file gives no data for too long.

    Args:
        file: its path, or itself, opened to be read.
        what: names it in an error.
        stall_seconds: how long a read can take.

    Raises:
        SourceFailed: it cannot be read.
        SourceStalled: a read takes longer.  A thread may still read the file: close it by `closed_in_time`.

    >>> import io
    >>> inspect_in_time(io.BytesIO(bytes(1 << 20)), what="the image").formats
    ('raw',)
    """
    if not isinstance(file, (str, Path)) and disk_of(file) is not None:
        with reading(what):
            return inspect_file(file)  # its reads have a deadline of their own
    watch = Limits(stall_seconds=stall_seconds).source_watch()

    def inspect() -> Inspection:
        with ExitStack() as stack:
            opened = file
            if isinstance(opened, (str, Path)):
                with watch.during(what):
                    descriptor = open_file(Path(opened), block_devices=True)
                opened = stack.enter_context(os.fdopen(descriptor, "rb"))
            return inspect_file(cast("BinaryIO", _Watched(opened, watch, what)))

    with reading(what):
        return in_thread(inspect, patience=watch.patience)


def opened_in_time(opening: Callable[[], T], *, what: str, stall_seconds: float = STALL_SECONDS) -> T:
    """Open a file, unless that takes too long.

    Args:
        opening: opens it.
        what: names it in an error.
        stall_seconds: how long that can take.

    Raises:
        SourceFailed: it cannot be opened.
        SourceStalled: it takes longer.
    """
    watch = Limits(stall_seconds=stall_seconds).source_watch()

    def opened() -> T:
        with watch.during(what):
            return opening()

    with reading(what):
        return in_thread(opened, patience=watch.patience)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Make every error of a file that is read one of ours that names it.

    Raises:
        SourceFailed: it cannot be read.
    """
    try:
        yield
    except ImagevolError:
        raise  # of an image that is read out of a service, or of one that hangs
    except OSError as error:
        raise SourceFailed(f"{what} cannot be read: {error.strerror or one_line(error)}") from error
    except Exception as error:
        raise SourceFailed(f"{what} cannot be read: {one_line(error)}") from error


@contextmanager
def closed_in_time(file: BinaryIO) -> Iterator[BinaryIO]:
    """Close a file that was only read at the end of the context; if that hangs, it is closed later."""
    try:
        yield file
    finally:
        with suppress(TransferStalled):
            bounded(file.close, what="the file", doing="closing", seconds=_CLOSING_SECONDS)


class _Watched:
    """A file, each of whose reads is measured."""

    def __init__(self, file: BinaryIO, watch: Watch, what: str) -> None:
        self._file = file
        self._watch = watch
        self._what = what

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int = -1) -> bytes:
        with self._watch.during(self._what):
            return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with self._watch.during(self._what):
            return self._file.seek(offset, whence)
