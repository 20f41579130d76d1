"""Threads that have begun once they are started, so that a caller never waits for one that died before.

Python does not tell it: `Thread.start` returns as soon as there is a thread.  It can still end before it does anything.
In Python 3.11 that happens when two threads begin at once in a process that traces its threads, for one.  Memory that
runs out is another reason.

To start a thread takes longer than a line of a journal, or a request to Redis on the same host.  A `KeptThread` is for
such short work: it is one of the operating system's that has just ended other work of this kind, if there is one.  An
executor of the standard library keeps threads too; but a program cannot end before those that hang.
"""

from __future__ import annotations

import importlib
import os
import queue
import sys
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context
from typing import Any, Self, TypeVar

from imagevol_core import ImagevolError

__all__ = ["KeptThread", "Thread", "ThreadFailed", "Threads", "unpatched"]

T = TypeVar("T")

_LOOK_SECONDS = 0.05  # in which a thread that died is noticed
_IDLE_SECONDS = 1  # that a thread is kept for other work
_IDLE_NAME = "idle thread of imagevol"


class ThreadFailed(ImagevolError, RuntimeError):
    """A thread of this process could not begin.

    >>> print(ThreadFailed("imagevol-engine", "it ended before it began"))
    Cannot start thread imagevol-engine: it ended before it began. Look at the standard error of this process, at its \
limits of threads and memory, and at programs that trace it, and try again.
    """

    def __init__(self, name: str, reason: str) -> None:
        """Name the thread and the reason."""
        super().__init__(
            f"Cannot start thread {name}: {reason}. Look at the standard error of this process, at its limits of "
            "threads and memory, and at programs that trace it, and try again."
        )


def unpatched(name: str) -> Any:
    """Give a module of the standard library as it is without eventlet."""
    patcher = sys.modules.get("eventlet.patcher")
    if patcher is None or not patcher.is_monkey_patched("time" if name == "time" else "thread"):
        return importlib.import_module(name)
    return patcher.original(name)


class Thread:
    """A thread that does its work once it is started, or that raises where it is started.

    >>> done = []
    >>> thread = Thread(lambda: done.append("work"), name="example")
    >>> thread.start()
    >>> thread.join()
    >>> done
    ['work']
    """

    def __init__(
        self,
        work: Callable[[], object],
        *,
        name: str,
        failed: Callable[[BaseException], object] | None = None,
        ended: Callable[[], object] = lambda: None,
        green: bool = False,
        daemon: bool = True,
    ) -> None:
        """Take what it does.

        Args:
            work: what it does.
            name: of the thread.
            failed: given what the work raises, also if that was raised from outside; None to let the thread raise it.
            ended: called at its end in each case, if it has begun.
            green: whether it is a greenlet in a process that eventlet has patched.
            daemon: whether the process ends without waiting for it.
        """
        self._threading = importlib.import_module("threading") if green else unpatched("threading")
        self._name, self._daemon = name, daemon
        self._work, self._failed, self._ended = work, failed, ended
        # Lists, because an append is one step: each side says what it does, and only then looks at the other one.
        self._begun, self._given_up, self._over = list[bool](), list[bool](), list[bool]()
        self._signal = self._threading.Event()
        self._thread: Any = None

    @property
    def has_ended(self) -> bool:
        """Whether it does nothing any more, or never will."""
        return bool(self._over)

    def start(self) -> None:
        """Return once it has begun.

        If this is interrupted, it has begun, or it never does the work.

        Raises:
            ThreadFailed: it ended before, or there can be no more threads.
        """
        try:
            self._start()
        except BaseException:
            self._given_up.append(True)
            if not self._begun:
                self._over.append(True)
            raise

    def join(self, seconds: float | None = None) -> None:
        """Wait until it has ended, for so long at most."""
        if self._thread is not None and self._thread.ident is not None:  # else it was never started
            self._thread.join(seconds)

    def is_alive(self) -> bool:
        """Tell whether it runs."""
        return self._thread is not None and bool(self._thread.is_alive())

    def _start(self) -> None:
        self._begin(self._run)

    def _begin(self, run: Callable[[], object]) -> None:
        self._thread = self._threading.Thread(target=run, name=self._name, daemon=self._daemon)
        try:
            self._thread.start()
        except RuntimeError as error:
            raise ThreadFailed(self._name, str(error)) from error
        while not self._signal.wait(_LOOK_SECONDS):
            if not self._thread.is_alive() and not self._begun:
                raise ThreadFailed(self._name, "it ended before it began")

    def _run(self) -> None:
        try:
            self._begun.append(True)
            self._signal.set()
            if not self._given_up:
                self._work()
        except BaseException as error:
            if self._failed is None:
                raise
            self._failed(error)
        finally:
            self._over.append(True)
            self._ended()


class KeptThread(Thread):
    """A thread for short work, which there is often; it is never a greenlet, and the process ends without it.

    It is used as a `Thread` is.  That it has ended means that its work has; and once it is started it will begin, also
    if it has not yet.

    >>> done = []
    >>> for _ in range(2):
    ...     thread = KeptThread(lambda: done.append("work"), name="example")
    ...     thread.start()
    ...     thread.join()
    >>> done, thread.is_alive()
    (['work', 'work'], False)
    """

    def __init__(
        self,
        work: Callable[[], object],
        *,
        name: str,
        failed: Callable[[BaseException], object] | None = None,
        ended: Callable[[], object] = lambda: None,
    ) -> None:
        """Take what it does; see `Thread`."""
        super().__init__(work, name=name, failed=failed, ended=ended)
        self._given = False  # to a thread
        self._done = self._threading.Event()

    def join(self, seconds: float | None = None) -> None:
        """Wait until its work has ended, for so long at most."""
        if self.is_alive():
            self._done.wait(seconds)

    def is_alive(self) -> bool:
        """Tell whether it works, or is about to."""
        will_begin = self._given and not self._given_up
        return (bool(self._begun) or will_begin) and not self._done.is_set()

    def _start(self) -> None:
        self._given = True
        try:
            works = _idle.pop()
        except IndexError:
            works = unpatched("queue").SimpleQueue()
            works.put(self)
            self._begin(lambda: _work_on(works))
        else:
            works.put(self)

    def _run(self) -> None:
        try:
            super()._run()
        finally:
            self._done.set()


Works = queue.SimpleQueue[KeptThread]

_idle: list[Works] = []  # of threads that wait; each step on it is one step for all threads
os.register_at_fork(after_in_child=_idle.clear)  # such a thread stays with the parent


def _work_on(works: Works) -> None:
    """Be one thread after another, until there was no work for a while."""
    thread = unpatched("threading").current_thread()
    while (kept := _next(works)) is not None:
        thread.name = kept._name
        Context().run(kept._run)  # as in a thread that is new
        thread.name = _IDLE_NAME
        del kept  # and all that it has, while this waits
        _idle.append(works)


def _next(works: Works) -> KeptThread | None:
    try:
        return works.get(timeout=_IDLE_SECONDS)
    except queue.Empty:
        try:
            _idle.remove(works)
        except ValueError:  # work is on its way
            return works.get()
        return None


class Threads:
    """A thread for each piece of work that is given to it; at the end of the context, all have ended.

    >>> with Threads("example") as threads:
    ...     both = [threads.submit(abs, -1), threads.submit(abs, -2)]
    >>> [each.result() for each in both]
    [1, 2]
    """

    def __init__(self, name: str) -> None:
        """Begin without threads.

        Args:
            name: of each thread.
        """
        self._name = name
        self._threads: list[Thread] = []

    def __enter__(self) -> Self:
        """Nothing is started yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for all threads."""
        self.end()

    def submit(self, work: Callable[..., T], *args: Any) -> Future[T]:
        """Let a thread of its own do some work.

        Raises:
            ThreadFailed: the thread could not begin.
        """
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        thread = Thread(
            lambda: future.set_result(work(*args)),
            name=self._name,
            failed=future.set_exception,
            green=True,
            daemon=False,
        )
        self._threads = [each for each in self._threads if not each.has_ended]
        self._threads.append(thread)
        thread.start()
        return future

    def end(self) -> None:
        """Return when all threads have ended."""
        for thread in self._threads:
            thread.join()
