"""A program is run to its end, or ended: when it is cancelled, and when it makes no progress.

Progress is whatever the kernel counts for the program: bytes that it read or wrote, and the time that it computed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from imagevol_adapters.engine.threads import Signal, Stopped, background, in_thread, is_patched
from imagevol_adapters.engine.watching import Watch
from imagevol_adapters.translation import Table, translated
from imagevol_core import (
    STALL_SECONDS,
    ConversionFailed,
    DeviceStalled,
    SourceStalled,
    TransferCancelled,
    TransferStalled,
)
from imagevol_core.sentences import duration

__all__ = ["LONGEST_COMPLAINT", "SOURCE", "TARGET", "ended"]

LONGEST_COMPLAINT = 1 << 16
"""How many bytes of what a program complains of are kept."""

SOURCE = "the source"
TARGET = "the target"

_QEMU_IMG = "qemu-img"
_STARTING: Table = ((Exception, ConversionFailed, ""),)
_POLL_SECONDS = 0.2  # in which a cancellation is noticed
_LOOKS = 10  # at the progress, within the deadline
_LEAST_LOOK_SECONDS = 0.02
_STARTING_SECONDS = 2  # at the least, on a host that is busy
_ENDING_SECONDS = 1  # for a killed program, which ends at once unless it hangs in the kernel


def ended(
    command: Sequence[str],
    cancelled: Callable[[], bool],
    inherited: Iterable[int] = (),
    *,
    stall_seconds: float = STALL_SECONDS,
    names: Mapping[str, str] | None = None,
) -> tuple[int, str, str]:
    """Run a command to its end, or end it, with all that it started, before anything else happens.

    Args:
        command: what is run.
        cancelled: asked now and then whether to end it.
        inherited: the descriptors that it gets.
        stall_seconds: how long it may make no progress.
        names: of the files that it works with, `SOURCE` and `TARGET` among them.

    Returns:
        Its exit status, what it said and what it complained of.

    Raises:
        ConversionFailed: it cannot be started.
        TransferCancelled: it was.
        TransferStalled: it made no progress; `process_id` is set if it hangs in the kernel and cannot be ended.
    """
    over = Signal()
    with os.fdopen(os.memfd_create(_QEMU_IMG), "w+b") as complaints, _set_at_the_end(over):
        start = partial(
            subprocess.Popen,
            command,
            cwd="/",
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,  # not a pipe: of a file, the limit on its size is one on what is kept
            start_new_session=True,
            user=os.geteuid(),  # with which Python does not use vfork, in which every thread waits for the program
            pass_fds=tuple(inherited),
            encoding="utf-8",
            errors="replace",
        )
        with translated(_STARTING, doing="qemu-img cannot be run"):
            process = _started(start, stall_seconds, over)
        progress = _Progress(process.pid, stall_seconds)
        try:
            while not cancelled():
                try:
                    said, _ = process.communicate(timeout=progress.look_seconds)
                except Exception as error:
                    if not _is_timeout(error):
                        raise
                else:
                    return process.returncode, said, _end_of(complaints)
                if progress.is_overdue():
                    raise _stalled(process.pid, names or {}, stall_seconds)
            raise TransferCancelled("the conversion was cancelled")
        except BaseException as failure:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if not _has_ended(process) and isinstance(failure, TransferStalled):
                failure.process_id = process.pid
                failure.leftovers += (f"process {process.pid}, which cannot be ended",)
            raise
        finally:
            if process.stdout is not None:
                process.stdout.close()


@contextmanager
def _set_at_the_end(over: Signal) -> Iterator[None]:
    try:
        yield
    finally:
        over.set()


def _started(start: Callable[[], subprocess.Popen[str]], stall_seconds: float, over: Signal) -> subprocess.Popen[str]:
    """Start a program, unless that hangs: it closes its copies of our descriptors, which a file system may wait for.

    The thread that starts it lives until it is `over`: `setpriv --pdeathsig` has the kernel kill a program when the
    thread ends that started it, and not when the process does.

    Raises:
        TransferStalled: it hangs; it is killed, which ends it as soon as it does not hang any more.
    """
    if is_patched():  # a program of eventlet's is started by its greenlet
        return start()
    begun = Signal()
    threads: list[int] = []
    processes: list[subprocess.Popen[str]] = []
    failures: list[BaseException] = []
    watch = Watch(max(stall_seconds, _STARTING_SECONDS), lambda _, seconds: _without_progress(seconds))

    def started() -> None:
        threads.append(threading.get_native_id())
        with watch.during(_QEMU_IMG):
            process = start()
        if watch.over:  # it is not waited for any more
            with process:
                process.kill()
            raise Stopped
        processes.append(process)

    def keep() -> None:
        try:
            started()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            failures.append(error)
        begun.set()
        over.wait()

    background(keep, name="imagevol-qemu-img")
    try:
        in_thread(begun.wait, patience=watch.patience)
    except TransferStalled as stalled:
        for pid in _children(Path(f"/proc/self/task/{threads[0]}")):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            stalled.process_id = pid
            stalled.leftovers += (f"process {pid}, which cannot be ended",)
        raise
    except BaseException:  # an interrupt
        for process in processes:
            with process:
                process.kill()
        raise
    for failure in failures:
        raise failure
    return processes[0]


class _Progress:
    """What the kernel counts for a process and its children, and since when that has not changed."""

    def __init__(self, pid: int, stall_seconds: float) -> None:
        self._pid = pid
        self._stall_seconds = stall_seconds
        self._counted: object = None
        self._since = time.monotonic()
        self.look_seconds = min(_POLL_SECONDS, max(_LEAST_LOOK_SECONDS, stall_seconds / _LOOKS))

    def is_overdue(self) -> bool:
        """Look, and tell whether nothing has changed for too long."""
        counted, now = [_counted(each) for each in _family(self._pid)], time.monotonic()
        if counted != self._counted:
            self._counted, self._since = counted, now
        return now - self._since >= self._stall_seconds


def _family(pid: int) -> list[int]:
    """Give a process and all that it started, as far as they run."""
    found = [pid]
    for each in found:
        for task in _tasks(each):
            found += _children(task)
    return found


def _children(task: Path) -> list[int]:
    """Give what a thread has started."""
    with suppress(OSError, ValueError):
        return list(map(int, (task / "children").read_text(encoding="ascii").split()))
    return []


def _tasks(pid: int) -> list[Path]:
    with suppress(OSError):
        return sorted(Path(f"/proc/{pid}/task").iterdir())
    return []


def _counted(pid: int) -> tuple[str, list[str]]:
    """Give the bytes that a process has moved, if that can be read, and the time that it has computed."""
    moved, computed = "", list[str]()
    with suppress(OSError):
        moved = Path(f"/proc/{pid}/io").read_text(encoding="ascii")
    with suppress(OSError):
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        computed = status.rpartition(")")[2].split()[11:15]
    return moved, computed


def _stalled(pid: int, names: Mapping[str, str], seconds: float) -> TransferStalled:
    """Name the side at which a thread waits in the kernel, if that can be seen."""
    waited_at = {file for each in _family(pid) for task in _tasks(each) if (file := _waits_at(each, task))}
    at = {name: path for path, name in names.items() if any(file.endswith(path) for file in waited_at)}
    if TARGET in at:
        return DeviceStalled(f"device {at[TARGET]}", doing="qemu-img", seconds=seconds)
    if at:
        return SourceStalled(next(iter(at)), seconds=seconds)
    return _without_progress(seconds)


def _without_progress(seconds: float) -> TransferStalled:
    return TransferStalled(
        f"qemu-img stalled: it made no progress for {duration(seconds)}; look at the storage of the image and of the "
        "volume",
        what="qemu-img",
        seconds=seconds,
    )


def _waits_at(pid: int, task: Path) -> str | None:
    """Give the file that a thread waits for: the first argument of its system call is the descriptor, or no file."""
    with suppress(OSError, ValueError, IndexError):
        number = int((task / "syscall").read_text(encoding="ascii").split()[1], 16)
        return os.readlink(f"/proc/{pid}/fd/{number}")  # noqa: PTH115 - the link may be to no path
    return None


def _has_ended(process: subprocess.Popen[str]) -> bool:
    """Wait a moment for a process that was killed; one that hangs in the kernel is waited for by a thread."""
    try:
        process.wait(_ENDING_SECONDS)
    except Exception as error:
        if not _is_timeout(error):
            raise
        background(partial(_reap, process), name="imagevol-reaper")
        return False
    return True


def _reap(process: subprocess.Popen[str]) -> None:
    """Wait for a process that was killed, so that the kernel does not keep it."""
    with suppress(ChildProcessError):
        os.waitid(os.P_PID, process.pid, os.WEXITED)  # of what waits, eventlet has not patched this
    process.returncode = -signal.SIGKILL


def _is_timeout(error: Exception) -> bool:
    # Under eventlet, as in Cinder, it is a class of that name in eventlet's own copy of the module.
    return type(error).__name__ == subprocess.TimeoutExpired.__name__


def _end_of(complaints: BinaryIO) -> str:
    """The last lines of what a program complained of."""
    complaints.seek(max(0, complaints.seek(0, os.SEEK_END) - LONGEST_COMPLAINT))
    return complaints.read().decode(errors="replace")


def _environment() -> dict[str, str]:
    """What it needs and no more; one arena, since threads with one each map more memory than they may."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {"LC_ALL": "C", "MALLOC_ARENA_MAX": "1"} | kept
