"""The command line `imagevol`: credentials as for every OpenStack client, one line for every error.

A command collects arguments, calls one procedure or one decision, and shows the answer; it decides nothing.
"""

from __future__ import annotations

import atexit
import gc
import os
import resource
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import UnsupportedOperation

__all__ = ["main", "no_timers_left"]

_INTERRUPTED = 130  # what a shell gives a command that Ctrl-C ended
_NEW_OBJECTS = 200_000  # after which Python looks for garbage; some 100 MB of them at the most


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    The exit status is 0, 1 after an error, 2 after a wrong option, 3 when something was found that has to be mended,
    130 when interrupted.

    Args:
        argv: the arguments; those of the process when None.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was begun is undone
    _leave_no_core()
    with _few_collections(), no_timers_left():
        status = _run(argv)
    if argv is None:
        # Nothing is left to undo: a signal ends the process, and Python does not show where that was.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        _leave_threads(status)
    return status


def _leave_no_core() -> None:
    """Let a crash of this process, and of those that it starts, write no core dump: a password is in its memory.

    With a limit of 1 byte, Linux starts no program that collects dumps either.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    least = 1 if hard == resource.RLIM_INFINITY else min(1, hard)
    if soft != least:
        resource.setrlimit(resource.RLIMIT_CORE, (least, hard))


def _leave_threads(status: int) -> None:
    """End the process at once if a thread hangs: Python's own end could wait for a lock that the thread has."""
    threads = sys.modules.get("imagevol_adapters.engine.threads")
    if threads is None or not threads.threads_left():
        return
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


@contextmanager
def _few_collections() -> Iterator[None]:
    """Let Python look for garbage less often.

    What is imported stays to the end.  To look at all of it for garbage, again and again, takes a sixth of the time of
    a short command, and once more when it ends.
    """
    before = gc.get_threshold()
    gc.set_threshold(_NEW_OBJECTS)
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def no_timers_left() -> Iterator[None]:
    """End the timers of programs that os-brick ran when it was interrupted; each would keep the process for minutes."""
    try:
        yield
    finally:
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer) and str(thread.function.__module__).startswith("os_brick."):
                thread.cancel()


def _run(argv: Sequence[str] | None) -> int:
    if not sys.warnoptions:  # what libraries deprecate is not for the operator to read
        warnings.simplefilter("ignore")
    try:
        from imagevol_adapters.cli.app import Imagevol  # only now, or its imports warn
        from imagevol_adapters.cli.output import flushed, usable_streams

        usable_streams()
        arguments = list(sys.argv[1:] if argv is None else argv)
        try:
            return flushed(Imagevol(arguments).run(arguments))
        except SystemExit as end:  # argparse: help, or a wrong option
            raise SystemExit(flushed(int(end.code or 0))) from None
        except OSError as error:  # a file of the installation; what a command raises is told by cliff
            if "--debug" in arguments or isinstance(error, UnsupportedOperation):
                raise
            place = f"{error.filename} cannot be read: " if error.filename else ""
            print(
                f"imagevol cannot start: {place}{error.strerror or error}. Check the disk, or install imagevol again.",
                file=sys.stderr,
            )
            return 1
    except UnsupportedOperation as error:  # help, for a closed output
        print(f"the standard output cannot be written: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as missing:  # the script is installed also without its extra
        from imagevol_core import MissingDependency

        print(MissingDependency(str(missing.name), "cli"), file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before or after the command; during it cliff gives that status
        return _INTERRUPTED
