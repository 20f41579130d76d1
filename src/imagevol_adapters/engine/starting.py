"""Threads that have begun once they are started, so that a caller never waits for one that died before.

Python does not tell it: `Thread.start` returns as soon as there is a thread.  It can still end before it does anything.
In Python 3.11 that happens when two threads begin at once in a process that traces its threads, for one.  Memory that
runs out is another reason.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Self, TypeVar

from imagevol_core import ImagevolError

__all__ = ["Thread", "ThreadFailed", "Threads", "unpatched"]

T = TypeVar("T")

_LOOK_SECONDS = 0.05  # in which a thread that died is noticed


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
        threading = importlib.import_module("threading") if green else unpatched("threading")
        self._work, self._failed, self._ended = work, failed, ended
        # Lists, because an append is one step: each side says what it does, and only then looks at the other one.
        self._begun, self._given_up, self._over = list[bool](), list[bool](), list[bool]()
        self._signal = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=daemon)

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
            self.give_up()
            raise

    def give_up(self) -> None:
        """Never do the work, if it has not begun yet."""
        self._given_up.append(True)
        if not self._begun:
            self._over.append(True)

    def join(self, seconds: float | None = None) -> None:
        """Wait until it has ended, for so long at most."""
        if self._thread.ident is not None:  # else it was never started
            self._thread.join(seconds)

    def is_alive(self) -> bool:
        """Tell whether it runs."""
        return bool(self._thread.is_alive())

    def _start(self) -> None:
        try:
            self._thread.start()
        except RuntimeError as error:
            raise ThreadFailed(self._thread.name, str(error)) from error
        while not self._signal.wait(_LOOK_SECONDS):
            if not self._thread.is_alive() and not self._begun:
                raise ThreadFailed(self._thread.name, "it ended before it began")

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
