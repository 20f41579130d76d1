"""A file whose storage may hang: opened, looked at and closed within a deadline.

A read that hangs in the kernel cannot be ended, and a file that is being read cannot be closed.  So each is done by a
thread of its own, which is left to itself at the deadline.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from imagevol_adapters.disk_files import disk_of
from imagevol_adapters.engine.limits import Limits
from imagevol_adapters.engine.threads import green_timer, in_thread, is_patched
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
    call = partial(_called, watch, what)

    def inspect() -> Inspection:
        with ExitStack() as stack:
            opened = file
            if isinstance(opened, (str, Path)):
                descriptor = _opened(watch, what, partial(open_file, Path(opened), block_devices=True))
                opened = stack.enter_context(os.fdopen(descriptor, "rb"))
            return inspect_file(cast("BinaryIO", _Watched(opened, call)))

    with reading(what):
        if is_patched():  # the inspectors log, and a real thread must not take a lock of eventlet's
            return inspect()
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
    with reading(what):
        return _opened(watch, what, opening)


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


def _opened(watch: Watch, what: str, opening: Callable[[], T]) -> T:
    """Open a file; a greenlet does it itself, because eventlet's own `open` tells its hub."""

    def opened() -> T:
        with watch.during(what):
            return opening()

    if is_patched():
        with green_timer(watch.patience):
            return opened()
    return in_thread(opened, patience=watch.patience)


def _called(watch: Watch, what: str, call: Callable[[], T]) -> T:
    """Let a call of the file be measured; of a greenlet, it runs in a real thread."""

    def measured() -> T:
        with watch.during(what):
            return call()

    return in_thread(measured, patience=watch.patience) if is_patched() else measured()


class _Watched:
    """A file, each of whose reads is measured."""

    def __init__(self, file: BinaryIO, call: Callable[[Callable[[], Any]], Any]) -> None:
        self._file = file
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int = -1) -> bytes:
        return cast("bytes", self._call(partial(self._file.read, size)))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return cast("int", self._call(partial(self._file.seek, offset, whence)))
