"""The standard output: tried before a command changes anything, and not the only place for what the command made."""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import select
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from cliff.display import DisplayCommandBase

from imagevol_adapters.error_text import one_line
from imagevol_core import ImagevolError, RequestRefused

__all__ = ["Named", "check_output", "flushed", "output_lost", "usable_streams"]

_NOWHERE = Path(os.devnull)
_FULL = os.makedev(1, 7)  # /dev/full
_LOST = "the standard output cannot be written: {reason}"
_ADVICE = "redirect it to a file in a directory with room, or to /dev/null"


if TYPE_CHECKING:
    _Displaying = DisplayCommandBase[Any]
else:
    _Displaying = DisplayCommandBase


class Named(_Displaying):
    """A command that makes or changes something and shows what.

    It is refused before it does anything if the standard output is closed, read-only, full or a pipe that nothing
    reads.  If the output is lost later, the answer is shown on the standard error.
    """

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Check the output first."""
        check_output(sys.stdout)
        return super().run(parsed_args)

    def produce_output(self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Any) -> int:
        """Show the answer, with all of its columns if it is shown on the standard error."""
        kept = data if isinstance(data, tuple) else list(data)
        try:
            shown = super().produce_output(parsed_args, column_names, kept)  # type: ignore[safe-super]
            sys.stdout.flush()
        except (OSError, ValueError) as error:
            drop(sys.stdout)
            self.app.stdout = sys.stderr
            parsed_args.columns = []
            super().produce_output(parsed_args, column_names, kept)  # type: ignore[safe-super]
            text = f"{_LOST.format(reason=_reason(error))}. The command has done what is shown above"
            raise ImagevolError(text) from error
        return shown


def output_lost(error: Exception) -> ImagevolError:
    """Give the error for an output that cannot be written.

    Args:
        error: what it said.

    >>> output_lost(OSError(28, "No space left on device"))
    ImagevolError('the standard output cannot be written: No space left on device')
    """
    return ImagevolError(_LOST.format(reason=_reason(error)))


def check_output(stream: TextIO) -> None:
    """Refuse an output that takes nothing.

    Args:
        stream: the output; one that is no file of the operating system is not looked at.

    Raises:
        RequestRefused: it is closed, read-only, full, or a pipe that nothing reads.
    """
    try:
        if stream.closed or not stream.writable():
            raise RequestRefused(f"{_LOST.format(reason='it is closed')}; {_ADVICE}")
        descriptor = stream.fileno()
    except io.UnsupportedOperation:
        return
    if fault := _fault(descriptor):
        raise RequestRefused(f"{_LOST.format(reason=fault)}; {_ADVICE}")


def _fault(descriptor: int) -> str | None:
    """What is wrong with an output, as far as it shows without writing anything."""
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        return "it is open for reading only"
    found = os.fstat(descriptor)
    if stat.S_ISCHR(found.st_mode) and found.st_rdev == _FULL:
        return "no space is left"
    if stat.S_ISREG(found.st_mode):
        room = os.fstatvfs(descriptor)
        free = room.f_bfree if os.geteuid() == 0 else room.f_bavail
        return "no space is left" if room.f_blocks and not free else None
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    lost = select.POLLERR | select.POLLHUP | select.POLLNVAL
    return "nothing reads it" if any(event & lost for _, event in poll.poll(0)) else None


def usable_streams() -> None:
    """Replace the standard streams that are closed, so that no file or device gets the number of one.

    What is written to a closed standard output is an error; what is written to a closed standard error is dropped.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which gets the lowest number that is free
    if sys.stdin is None:
        sys.stdin = _NOWHERE.open()  # for as long as the process runs
    if sys.stdout is None:
        sys.stdout = _NOWHERE.open()  # to be read, so that a write is an error
    if sys.stderr is None:
        sys.stderr = _NOWHERE.open("w")


def flushed(status: int) -> int:
    """Flush the standard output at the end of a command, and give the exit status: 1 if what was shown is lost."""
    if sys.stdout.closed:  # by the pager of the help, whose reader has all that it wants
        return status
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        drop(sys.stdout)
        if not status and not isinstance(error, BrokenPipeError):  # `imagevol … | head` has all that it wants
            print(_LOST.format(reason=_reason(error)), file=sys.stderr)
        return status or (0 if isinstance(error, BrokenPipeError) else 1)
    return status


def drop(stream: TextIO) -> None:
    """Let what is still in the buffer of an output go nowhere, or Python complains of it at the end."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or one_line(error)
