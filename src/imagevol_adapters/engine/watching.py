"""Notices a call that does not return: of a device, of a source, or of what connects a volume to this host.

A call that hangs in the kernel cannot be ended.  So the thread that makes it is left to itself, and the thread that
waits for it is told.  What the call uses must stay open, because the call may still return.

A watch counts only while a call is under way.  A pause for the rate, a reader that is slow, or a wait for another
thread is no stall of the side that is watched.  A wait inside a call that has a watch of its own does not count either:
the inner watch names what stalled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Self, TypeVar, cast

from imagevol_adapters.engine.threads import Patience, Stopped, green_timer, in_thread, is_patched
from imagevol_adapters.ports import Device
from imagevol_core import STALL_SECONDS, DeviceStalled, TransferStalled

__all__ = ["Watch", "all_of", "bounded", "device_watch", "elsewhere", "is_watched", "size_in_time", "watched_device"]

T = TypeVar("T")

_HURRY_SECONDS = 0.5  # for a call whose answer is not wanted any more
_LONG_HURRY_SECONDS = 5  # for what should rather end, as a volume that is being connected
_outer: ContextVar[Watch | None] = ContextVar("imagevol_watch", default=None)


class Watch:
    """Measures how long the call that is under way has taken; for the calls of one thread at a time.

    >>> watch = Watch(300, lambda doing, seconds: DeviceStalled("/dev/sdb", doing=doing, seconds=seconds))
    >>> with watch.during("writing"):
    ...     watch.patience() <= 300
    True
    """

    def __init__(
        self,
        seconds: float,
        stalled: Callable[[str, float], TransferStalled],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with no call under way.

        Args:
            seconds: how long a call may take.
            stalled: makes the error, out of what the call does and the seconds.
            clock: tells the time, in seconds.
        """
        self._seconds = seconds
        self._stalled = stalled
        self._clock = clock
        self._since: float | None = None
        self._until: float | None = None  # for a call that is not wanted any more
        self._in_call = False
        self._stop_inner: Callable[[], object] | None = None
        self._doing = ""
        self._before: Watch | None = None
        self.over = False

    def during(self, doing: str) -> Self:
        """Measure a call while the context lasts.

        Raises:
            imagevol_adapters.engine.threads.Stopped: a call before took too long, and was given up.
        """
        if self.over:
            raise Stopped
        self._doing = doing
        return self

    def __enter__(self) -> Self:
        """A call begins."""
        self._before = _outer.get()
        _outer.set(self)
        self._in_call = True
        self._since = self._clock()
        return self

    def __exit__(self, *_: object) -> None:
        """It has returned."""
        self._since = None
        self._in_call = False
        _outer.set(self._before)

    @property
    def counts(self) -> bool:
        """Whether a call is under way, and does not wait for what has a watch of its own."""
        return self._since is not None

    def hurry(self, seconds: float = _HURRY_SECONDS) -> None:
        """Wait no longer than a moment for a call whose answer is not wanted any more, and stop what it waits for."""
        if self._until is None:
            self._until = self._clock() + seconds
        if (stop := self._stop_inner) is not None:
            stop()

    def patience(self) -> float:
        """Give for how many seconds nothing can be overdue.

        Raises:
            TransferStalled: the call that is under way takes too long.
        """
        left, since, until = self._seconds, self._since, self._until
        if since is not None:
            left = since + self._seconds - self._clock()
        if until is not None and self._in_call:
            left = min(left, until - self._clock())
        if left > 0:
            return left
        self.over = True
        raise self._stalled(self._doing, self._seconds)

    @contextmanager
    def suspended(self, stop: Callable[[], object] | None) -> Iterator[None]:
        """Do not count while the context lasts; `stop` ends what it waits for."""
        counted, self._since, self._stop_inner = self._since, None, stop
        if stop is not None and self._until is not None:
            stop()
        try:
            yield
        finally:
            self._stop_inner = None
            self._since = None if counted is None else self._clock()


def all_of(*watches: Watch) -> Patience:
    """Give the patience with all of these."""
    return lambda: min(watch.patience() for watch in watches)


@contextmanager
def elsewhere(stop: Callable[[], object] | None = None) -> Iterator[None]:
    """Let the call of this thread that is being watched not count, because what it waits for has its own deadline.

    Args:
        stop: ends the wait, once the call is not wanted any more.
    """
    watch = _outer.get()
    if watch is None:
        yield
        return
    with watch.suspended(stop):
        yield


def is_watched() -> bool:
    """Tell whether the call that this thread makes has a deadline.

    >>> is_watched()
    False
    """
    watch = _outer.get()
    return watch is not None and watch.counts


def bounded(
    work: Callable[[], T],
    *,
    what: str,
    doing: str,
    seconds: float = STALL_SECONDS,
    green: bool = False,
    look_at: str = DeviceStalled.look_at,
) -> T:
    """Do what may hang, and give what it gives.

    Args:
        work: what is done, in a thread of its own that is left to itself if it hangs.
        what: names the device in the error.
        doing: what is done, for the error.
        seconds: how long it may take.
        green: whether it uses what eventlet may have patched, and so must stay in its greenlet.
        look_at: what the operator looks at if it hangs, for the error.

    Raises:
        DeviceStalled: it takes longer.

    >>> bounded(lambda: 2 + 2, what="device /dev/sdb", doing="adding")
    4
    """
    watch = Watch(seconds, lambda doing, seconds: DeviceStalled(what, doing=doing, seconds=seconds, look_at=look_at))

    def watched() -> T:
        with watch.during(doing):
            return work()

    if green and is_patched():
        with green_timer(watch.patience):
            return watched()
    with elsewhere():
        return in_thread(watched, stop=partial(watch.hurry, _LONG_HURRY_SECONDS), patience=watch.patience)


def size_in_time(device: Device, seconds: float) -> int:
    """Give how many bytes a device has.

    Raises:
        DeviceStalled: it does not answer in time.
    """
    return bounded(
        lambda: device.size_bytes,
        what=device.what,
        doing="asking for the size",
        seconds=seconds,
        look_at=device.look_at,
    )


def device_watch(device: Device, seconds: float) -> Watch:
    """Watch the calls of a device; the error names it and says what to look at."""
    what, look_at = device.what, device.look_at
    return Watch(seconds, lambda doing, seconds: DeviceStalled(what, doing=doing, seconds=seconds, look_at=look_at))


def watched_device(device: Device, watch: Watch) -> Device:
    """Give the device, with each of its calls measured."""
    return cast("Device", _Watched(device, watch))


class _Watched:
    def __init__(self, device: Device, watch: Watch) -> None:
        self._device = device
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def readinto(self, offset: int, buffer: memoryview) -> int:
        with self._watch.during(f"reading at byte {offset}"):
            return self._device.readinto(offset, buffer)

    def write(self, offset: int, data: memoryview) -> int:
        with self._watch.during(f"writing at byte {offset}"):
            return self._device.write(offset, data)

    def clear(self, offset: int, length: int) -> bool:
        with self._watch.during(f"clearing at byte {offset}"):
            return self._device.clear(offset, length)

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        found = iter(self._device.extents(offset, length))
        while True:
            with self._watch.during("asking for the extents"):
                each = next(found, None)
            if each is None:
                return
            yield each

    def flush(self) -> None:
        with self._watch.during("flushing"):
            self._device.flush()
