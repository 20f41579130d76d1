"""Locks in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from imagevol_adapters.ports import Lock
from imagevol_core import DeadlineExceeded, LockLost, ServiceUnreachable

__all__ = ["MemoryLock", "MemoryLocks"]


@attrs.define(eq=False)
class MemoryLock:
    """A lock that was taken: `Lock`."""

    name: str
    _locks: MemoryLocks = attrs.field(repr=False)

    def ensure_held(self) -> None:
        """Look whether it is still held."""
        self._locks.reach()
        if self._locks.taken.get(self.name) is not self:
            raise LockLost(self.name)


@attrs.define(eq=False)
class MemoryLocks:
    """Locks of the threads of one process: `Locks`.

    Attributes:
        taken: the locks that are held, by name.  A lock that a test removes is lost, and free for others.
        reachable: whether the service answers.
        lease_seconds: 0 by default, because no holder can be killed.

    >>> locks = MemoryLocks()
    >>> with locks.held("template", wait_seconds=0) as lock:
    ...     del locks.taken["template"]
    ...     lock.ensure_held()
    Traceback (most recent call last):
    imagevol_core.errors.LockLost: lock 'template' was lost: another may hold it now, ...
    """

    taken: dict[str, MemoryLock] = attrs.field(factory=dict, init=False)
    reachable: bool = attrs.field(default=True, kw_only=True)
    lease_seconds: float = attrs.field(default=0, kw_only=True)
    _changed: threading.Condition = attrs.field(factory=threading.Condition, init=False, repr=False)

    @contextmanager
    def held(self, name: str, *, wait_seconds: float) -> Iterator[Lock]:
        """Hold a lock while the context lasts."""
        lock = MemoryLock(name, self)
        until = time.monotonic() + wait_seconds
        with self._changed:
            self.reach()
            while name in self.taken:
                left = until - time.monotonic()
                if left <= 0:
                    raise DeadlineExceeded(f"lock {name!r} is held by another", seconds=wait_seconds)
                self._changed.wait(min(left, 0.1))  # a test that takes one out notifies no thread
                self.reach()
            self.taken[name] = lock
        try:
            yield lock
        except BaseException:
            self._let_go(lock)
            raise
        self.reach()
        if not self._let_go(lock):
            raise LockLost(name)

    def reach(self) -> None:
        """Answer, or do not."""
        if not self.reachable:
            raise ServiceUnreachable("lock service memory: no answer")

    def _let_go(self, lock: MemoryLock) -> bool:
        with self._changed:
            held = self.taken.get(lock.name) is lock
            if held:
                del self.taken[lock.name]
                self._changed.notify_all()
            return held
