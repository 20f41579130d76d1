"""The deadline of files that a person names: storage that hangs, as that of an NFS server that is gone, is an error.

A call that hangs in the kernel cannot be ended.  So a thread of its own makes it, and is left to itself at the
deadline.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import TypeVar

from imagevol_core import STALL_SECONDS, RequestRefused
from imagevol_core.sentences import duration, said
from imagevol_core.stalls import TransferStalled

__all__ = ["in_time", "is_there", "opened_in_time", "set_file_deadline", "written_in_time"]

T = TypeVar("T")

_HURRY_SECONDS = 1  # for more calls of what has hung, as those that clean up
_ENDING_SECONDS = 5  # for a call that a person has interrupted, and that should rather end
_seconds: ContextVar[float] = ContextVar("imagevol_file_seconds", default=STALL_SECONDS)
_hung: set[Path] = set()  # directories


def set_file_deadline(seconds: float) -> None:
    """Let each call of a file in this context take so long at most."""
    _seconds.set(seconds)


def in_time(call: Callable[[], T], path: Path, *, late: Callable[[T], object] = lambda _: None) -> T:
    """Do what may hang on the storage of a file, and give what it gives.

    In a call that has a deadline already, that one counts.

    Args:
        call: what is done.
        path: of the file.
        late: undoes it if it returns after the deadline, such as closing what it opened.

    Raises:
        TimeoutError: it takes too long.  `strerror` says so, as of each error of the operating system.

    >>> in_time(lambda: 2 + 2, Path("/tmp/file"))
    4
    """
    from imagevol_adapters.engine.threads import Stopped, green_timer, in_thread, is_patched  # noqa: PLC0415 - not to start
    from imagevol_adapters.engine.watching import Watch, is_watched  # noqa: PLC0415 - as above

    if is_watched():
        return call()
    seconds, directory = _seconds.get(), path.parent
    watch = Watch(
        min(seconds, _HURRY_SECONDS) if directory in _hung else seconds,
        lambda _, waited: TransferStalled(str(path), what=str(path), seconds=waited),
    )

    def called() -> T:
        with watch.during(""):
            result = call()
        if watch.over:
            late(result)
            raise Stopped
        return result

    try:
        if is_patched():  # eventlet's own calls of files tell its hub
            with green_timer(watch.patience):
                return called()
        result = in_thread(called, stop=partial(watch.hurry, _ENDING_SECONDS), patience=watch.patience)
    except TransferStalled as stalled:
        _hung.add(directory)
        why = f"its storage did not answer in {duration(stalled.seconds)}"
        raise OSError(errno.ETIMEDOUT, why, os.fspath(path)) from stalled
    _hung.discard(directory)
    return result


@contextmanager
def opened_in_time(opening: Callable[[], AbstractContextManager[T]], path: Path) -> Iterator[T]:
    """Open something in time, and close it in time at the end of the context.

    Raises:
        TimeoutError: opening it takes too long, or closing it does and nothing else has failed.
    """
    opened = in_time(opening, path, late=lambda late: late.__exit__(None, None, None))
    try:
        yield opened.__enter__()
    except BaseException as error:
        with suppress(TimeoutError):
            in_time(partial(opened.__exit__, type(error), error, error.__traceback__), path)
        raise
    in_time(partial(opened.__exit__, None, None, None), path)


def written_in_time(call: Callable[[], T], path: Path) -> T:
    """Do what writes a file, or looks whether it can be written, and give what it gives.

    Raises:
        RequestRefused: it takes too long.
    """
    try:
        return in_time(call, path)
    except TimeoutError as error:
        raise RequestRefused(
            f"{said(path)} cannot be written: {error.strerror}; give a file on other storage"
        ) from error


def is_there(path: Path) -> bool:
    """Tell whether there is a file of that name, or a link.

    Raises:
        RequestRefused: its storage does not answer in time.

    >>> is_there(Path("/proc/self"))
    True
    """
    return written_in_time(lambda: os.path.lexists(path), path)
