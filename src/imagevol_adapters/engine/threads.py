"""Real threads, also if eventlet has replaced Python's, and waits that let other greenlets run.

In a process that eventlet has patched, as cinder-volume, `threading` makes greenlets: all of them share one core, and a
write that blocks stops each of them.  Here a thread is one of the operating system's in any process.  It may not touch
what eventlet has patched, such as a socket, a lock or the log: these belong to the thread of their hub.

A greenlet that waits for such a thread waits in its hub, so that other greenlets go on.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty
from typing import Any, Generic, TypeVar, cast

__all__ = ["GivingWay", "Inbox", "Signal", "Workers", "afterwards", "background", "in_thread", "lock", "pause"]

T = TypeVar("T")

_postponed: dict[int, list[Callable[[], object]]] = {}  # by the thread that may not do it

_SLICE_SECONDS = 0.05  # in which a pause notices that it is over
_TURN_SECONDS = 0.001  # how long a greenlet may work before others have their turn


def lock() -> Any:
    """Give a lock that real threads and greenlets can share.

    Hold it for moments only: a greenlet that waits for it blocks its hub.
    """
    return _real("threading").Lock()


def pause(seconds: float, over: Callable[[], bool]) -> None:
    """Wait so long, or until it is over.

    >>> pause(60, lambda: True)
    """
    until = time.monotonic() + seconds
    sleep = _real("time").sleep if _hub() is None else sys.modules["eventlet.greenthread"].sleep
    while not over() and (left := until - time.monotonic()) > 0:
        sleep(min(left, _SLICE_SECONDS))


def afterwards(action: Callable[[], object]) -> None:
    """Do what a real thread may not, such as log, in the thread that waits for it, once it has ended.

    Outside of the threads that are made here it is done at once.
    """
    postponed = _postponed.get(_real("threading").get_ident())
    if postponed is None:
        action()
    else:
        postponed.append(action)


def background(work: Callable[[], None], *, name: str) -> None:
    """Start a real thread that nothing waits for, and that ends with the process.

    Args:
        work: what it does; it may not touch what eventlet has patched.
        name: of the thread.
    """
    _real("threading").Thread(target=work, name=name, daemon=True).start()


class Signal:
    """An event that a greenlet can set, and that a real thread waits for."""

    def __init__(self) -> None:
        """Begin unset."""
        self._event = _real("threading").Event()

    def set(self) -> None:
        """Let those go on that wait; this never blocks."""
        self._event.set()

    def clear(self) -> None:
        """Be unset again."""
        self._event.clear()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is set, for so long at most, and tell whether it is; a greenlet would block its hub."""
        return bool(self._event.wait(seconds))


class GivingWay:
    """Gives other greenlets their turn once a millisecond, if it is called more often than that."""

    def __init__(self) -> None:
        """Begin now."""
        self._due = time.monotonic() + _TURN_SECONDS

    def __call__(self) -> None:
        """Let others run, if it is their turn and there are any."""
        if time.monotonic() < self._due:
            return
        if _hub() is not None:
            sys.modules["eventlet.greenthread"].sleep(0)
        self._due = time.monotonic() + _TURN_SECONDS


class Inbox(Generic[T]):
    """A queue that any thread puts into.  The one that takes out of it may be a greenlet.

    >>> inbox = Inbox()
    >>> inbox.put("part")
    >>> inbox.get()
    'part'
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._items = _real("queue").SimpleQueue()
        self._signal: int | None = None  # what a hub waits for; made when it first must

    def put(self, item: T) -> None:
        """Add an item; this never blocks."""
        self._items.put(item)
        if self._signal is not None:
            os.eventfd_write(self._signal, 1)

    def empty(self) -> bool:
        """Tell whether there is nothing in it now."""
        return bool(self._items.empty())

    def get(self) -> T:
        """Take the oldest item out, as soon as there is one."""
        if _hub() is None:
            return cast("T", self._items.get())
        while True:
            with suppress(Empty):
                return cast("T", self._items.get_nowait())
            if self._signal is None:  # look again: what came before there was a signal has not given one
                self._signal = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                continue
            sys.modules["eventlet.hubs"].trampoline(self._signal, read=True)
            with suppress(BlockingIOError):
                os.eventfd_read(self._signal)

    def close(self) -> None:
        """Close its descriptor; nothing may be put in any more."""
        if self._signal is not None:
            os.close(self._signal)
            self._signal = None


class Workers:
    """Real threads that are waited for together."""

    def __init__(self) -> None:
        """Begin without any."""
        self._threads: list[Any] = []
        self._ended: list[list[bool]] = []  # of each thread, something once it has
        self._postponed: list[Callable[[], object]] = []
        self._news: Inbox[None] = Inbox()

    def start(self, work: Callable[[], None]) -> None:
        """Let a thread of its own do some work, which raises nothing."""
        ended: list[bool] = []

        def run() -> None:
            ident = _real("threading").get_ident()
            _postponed[ident] = self._postponed
            try:
                work()
            finally:
                del _postponed[ident]
                ended.append(True)
                self._news.put(None)

        thread = _real("threading").Thread(target=run, name="imagevol-engine", daemon=True)
        thread.start()
        self._threads.append(thread)
        self._ended.append(ended)

    @property
    def ended(self) -> bool:
        """Whether every thread has ended."""
        return all(self._ended)

    def end(self, *, close: Callable[[], object], stop: Callable[[], object]) -> None:
        """Return when every thread has ended, whatever happens.

        An interrupt meanwhile is raised when they have: the caller closes the device next, and no thread may use it
        then.  (`Thread.join` does not hold that: once interrupted, it takes a thread that runs for one that has ended.)

        Args:
            close: tells the threads that nothing more comes.
            stop: tells them to leave what they have not begun; called when this is interrupted.
        """
        interrupt: BaseException | None = None
        while True:
            try:
                close()
                while not self.ended:
                    self._news.get()
                break
            except BaseException as error:  # noqa: BLE001 - raised below
                interrupt = interrupt or error
                stop()
        for thread in self._threads:
            thread.join()
        self._news.close()
        while self._postponed:
            self._postponed.pop(0)()
        if interrupt is not None:
            raise interrupt


def in_thread(work: Callable[[], T], *, stop: Callable[[], object] = lambda: None) -> T:
    """Do what blocks, in a real thread if it would block other greenlets, and give what it gives.

    Args:
        work: what is done; it may not touch what eventlet has patched.
        stop: lets it end early.  Called when this is interrupted, which is raised when the work has ended.

    >>> in_thread(lambda: 2 + 2)
    4
    """
    if _hub() is None:
        return work()
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001 - raised below
            failure.append(error)

    workers = Workers()
    workers.start(run)
    try:
        workers.end(close=lambda: None, stop=stop)
    except BaseException:  # also an interrupt right as it is called, before it can wait
        stop()
        workers.end(close=lambda: None, stop=stop)
        raise
    for error in failure:
        raise error
    return outcome[0]


def _real(name: str) -> Any:
    """Give a module of the standard library as it is without eventlet."""
    patcher = sys.modules.get("eventlet.patcher")
    if patcher is None or not patcher.is_monkey_patched("time" if name == "time" else "thread"):
        return importlib.import_module(name)
    return patcher.original(name)


def _hub() -> Any:
    """Give the hub of this thread; None if it has none, or is in it, so that no greenlet could run meanwhile."""
    hubs = sys.modules.get("eventlet.hubs")
    hub = getattr(getattr(hubs, "_threadlocal", None), "hub", None)
    if hub is None or sys.modules["greenlet"].getcurrent() is hub.greenlet:
        return None
    return hub
