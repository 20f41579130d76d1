"""Real threads, also if eventlet has replaced Python's, and waits that let other greenlets run.

In a process that eventlet has patched, as cinder-volume, `threading` makes greenlets: all of them share one core, and a
write that blocks stops each of them.  Here a thread is one of the operating system's in any process.  It may not touch
what eventlet has patched, such as a socket, a lock or the log: these belong to the thread of their hub.

A greenlet that waits for such a thread waits in its hub, so that other greenlets go on.

A `Patience` says for how long a thread is waited for.  A thread that hangs longer is left to itself.  It ends with the
process, or when its call returns.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty
from typing import Any, Generic, TypeVar, cast

from imagevol_adapters.engine.starting import Thread, unpatched
from imagevol_core import TransferStalled

__all__ = [
    "GivingWay",
    "Inbox",
    "Patience",
    "Signal",
    "Stopped",
    "Workers",
    "afterwards",
    "background",
    "forever",
    "green_timer",
    "in_thread",
    "is_patched",
    "lock",
    "pause",
    "threads_left",
]

T = TypeVar("T")

Patience = Callable[[], float | None]
"""Gives the seconds to wait before it is asked again, None for any number; raises `TransferStalled` once it is over."""

_postponed: dict[int, list[Callable[[], object]]] = {}  # by the thread that may not do it

_SLICE_SECONDS = 0.05  # in which a pause notices that it is over
_LOOK_SECONDS = 0.5  # in which an interrupt is noticed that came right before a wait
_TURN_SECONDS = 0.001  # how long a greenlet may work before others have their turn
_LEAVING_SECONDS = 0.2  # for the threads that do not hang, once one does
_left: list[Thread] = []  # threads that did not return in time


class Stopped(Exception):
    """The stream is not wanted any more."""


class _Over(Exception):
    """A moment is over."""


def forever() -> None:
    """Be patient without end."""


def threads_left() -> bool:
    """Tell whether a thread was left to itself and has not ended yet."""
    _left[:] = [thread for thread in _left if thread.is_alive()]
    return bool(_left)


def is_patched() -> bool:
    """Tell whether eventlet has replaced the threads of this process."""
    patcher = sys.modules.get("eventlet.patcher")
    return patcher is not None and bool(patcher.is_monkey_patched("thread"))


@contextmanager
def green_timer(patience: Patience) -> Iterator[None]:
    """Raise what a patience raises in this greenlet, while the context lasts; in any other thread do nothing."""
    hub = _hub()
    if hub is None:
        yield
        return
    greenlet = sys.modules["greenlet"].getcurrent()
    timers: list[Any] = []

    def look() -> None:
        timers.clear()
        try:
            seconds = patience()
        except TransferStalled as error:
            greenlet.throw(error)
        else:
            timers.append(hub.schedule_call_global(_SLICE_SECONDS if seconds is None else seconds, look))

    look()
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()


def lock() -> Any:
    """Give a lock that real threads and greenlets can share.

    Hold it for moments only: a greenlet that waits for it blocks its hub.
    """
    return unpatched("threading").Lock()


def pause(seconds: float, over: Callable[[], bool]) -> None:
    """Wait so long, or until it is over.

    >>> pause(60, lambda: True)
    """
    until = time.monotonic() + seconds
    sleep = unpatched("time").sleep if _hub() is None else sys.modules["eventlet.greenthread"].sleep
    while not over() and (left := until - time.monotonic()) > 0:
        sleep(min(left, _SLICE_SECONDS))


def afterwards(action: Callable[[], object]) -> None:
    """Do what a real thread may not, such as log, in the thread that waits for it, once it has ended.

    Outside of the threads that are made here it is done at once.
    """
    postponed = _postponed.get(unpatched("threading").get_ident())
    if postponed is None:
        action()
    else:
        postponed.append(action)


def background(work: Callable[[], None], *, name: str) -> None:
    """Start a real thread that nothing waits for, and that ends with the process.

    Args:
        work: what it does; it may not touch what eventlet has patched.
        name: of the thread.

    Raises:
        ThreadFailed: it could not begin.
    """
    Thread(work, name=name).start()


class Signal:
    """An event that a greenlet can set, and that a real thread waits for."""

    def __init__(self) -> None:
        """Begin unset."""
        self._event = unpatched("threading").Event()

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

    _signal: int | None = None  # what a hub waits for; made when it first must

    def __init__(self) -> None:
        """Begin empty."""
        self._items = unpatched("queue").SimpleQueue()

    def put(self, item: T) -> None:
        """Add an item; this never blocks."""
        self._items.put(item)
        if self._signal is not None:
            os.eventfd_write(self._signal, 1)

    def empty(self) -> bool:
        """Tell whether there is nothing in it now."""
        return bool(self._items.empty())

    def get(self, patience: Patience = forever) -> T:
        """Take the oldest item out, as soon as there is one.

        Raises:
            TransferStalled: the patience is over.
        """
        if _hub() is None:
            while True:
                with suppress(Empty):
                    return cast("T", self._items.get(timeout=_looking(patience())))
        while True:
            with suppress(Empty):
                return cast("T", self._items.get_nowait())
            if self._signal is None:  # look again: what came before there was a signal has not given one
                self._signal = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                continue
            with suppress(Empty):
                wait = sys.modules["eventlet.hubs"].trampoline
                wait(self._signal, read=True, timeout=patience(), timeout_exc=Empty)
            with suppress(BlockingIOError):
                os.eventfd_read(self._signal)

    def __del__(self) -> None:
        """Close its descriptor once no thread has it any more, as when one was left to itself."""
        self.close()

    def close(self) -> None:
        """Close its descriptor; nothing may be put in any more."""
        if self._signal is not None:
            os.close(self._signal)
            self._signal = None


class Workers:
    """Real threads that are waited for together."""

    def __init__(self, failed: Callable[[BaseException], object] = lambda _: None) -> None:
        """Begin without any.

        Args:
            failed: given, in the thread, what its work raises.
        """
        self._failed = failed
        self._threads: list[Thread] = []
        self._postponed: list[Callable[[], object]] = []
        self._news: Inbox[None] = Inbox()

    def start(self, work: Callable[[], object]) -> None:
        """Let a thread of its own do some work.

        If this is interrupted, the thread is one of those that `end` waits for, or it never does the work.

        Raises:
            ThreadFailed: the thread could not begin.
        """

        def run() -> None:
            ident = unpatched("threading").get_ident()
            try:
                _postponed[ident] = self._postponed
                work()
            finally:
                _postponed.pop(ident, None)

        thread = Thread(run, name="imagevol-engine", failed=self._failed, ended=lambda: self._news.put(None))
        try:
            self._threads.append(thread)
            thread.start()
        except BaseException:
            thread.give_up()
            raise

    @property
    def ended(self) -> bool:
        """Whether every thread has ended."""
        return all(thread.has_ended for thread in self._threads)

    def end(self, *, close: Callable[[], object], stop: Callable[[], object], patience: Patience = forever) -> None:
        """Return when every thread has ended, whatever happens, unless the patience is over.

        An interrupt meanwhile is raised when they have: the caller closes the device next, and no thread may use it
        then.  (`Thread.join` does not hold that: once interrupted, it takes a thread that runs for one that has ended.)

        Args:
            close: tells the threads that nothing more comes.
            stop: tells them to leave what they have not begun; called when this is interrupted.
            patience: with the threads that have not ended.

        Raises:
            TransferStalled: the patience is over, and a thread still runs.  What it uses must stay open.
        """
        interrupt: BaseException | None = None
        stalled: TransferStalled | None = None
        while True:
            try:
                close()
                while not self.ended:
                    self._news.get(patience)
                break
            except TransferStalled as error:
                stalled = error
                stop()
                if self._ended_soon():
                    break
                self._leave()
                break
            except BaseException as error:  # noqa: BLE001 - raised below
                interrupt = interrupt or error
                stop()
        if self.ended:
            for thread in self._threads:
                thread.join()
            self._news.close()
        while self._postponed:
            self._postponed.pop(0)()
        if interrupt is not None:
            if stalled is not None:
                interrupt.add_note(str(stalled))
            raise interrupt
        if stalled is not None:
            raise stalled

    def _ended_soon(self) -> bool:
        """Wait a moment for the threads that do not hang, and tell whether all have ended."""
        until = time.monotonic() + _LEAVING_SECONDS

        def briefly() -> float:
            if (left := until - time.monotonic()) <= 0:
                raise _Over
            return left

        with suppress(_Over):
            while not self.ended:
                self._news.get(briefly)
        return self.ended

    def _leave(self) -> None:
        """Leave the threads that hang to themselves."""
        _left.extend(thread for thread in self._threads if not thread.has_ended)


def in_thread(work: Callable[[], T], *, stop: Callable[[], object] = lambda: None, patience: Patience = forever) -> T:
    """Do what blocks, in a real thread if it would block other greenlets or may hang, and give what it gives.

    Args:
        work: what is done; it may not touch what eventlet has patched.
        stop: lets it end early.  Called when this is interrupted, which is raised when the work has ended.
        patience: with the work.

    Raises:
        TransferStalled: the patience is over.
        ThreadFailed: the thread could not begin.

    >>> in_thread(lambda: 2 + 2)
    4
    """
    if _hub() is None and patience is forever:
        return work()
    outcome: list[T] = []
    failure: list[BaseException] = []

    workers = Workers(failure.append)
    try:
        workers.start(lambda: outcome.append(work()))
        workers.end(close=lambda: None, stop=stop, patience=patience)
    except TransferStalled:
        raise
    except BaseException:  # also an interrupt right as it is called, before it can wait
        stop()
        with suppress(TransferStalled):
            workers.end(close=lambda: None, stop=stop, patience=patience)
        raise
    for error in failure:
        raise error
    return outcome[0]


def _looking(seconds: float | None) -> float | None:
    return None if seconds is None else min(seconds, _LOOK_SECONDS)


def _hub() -> Any:
    """Give the hub of this thread; None if it has none, or is in it, so that no greenlet could run meanwhile."""
    hubs = sys.modules.get("eventlet.hubs")
    hub = getattr(getattr(hubs, "_threadlocal", None), "hub", None)
    if hub is None or sys.modules["greenlet"].getcurrent() is hub.greenlet:
        return None
    return hub
