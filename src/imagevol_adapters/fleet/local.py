"""Shards of one process: its threads are the workers, and they end with it.

Such shards are written nowhere.  What was found is in the journal of the command, which no other process has open, and
from which the command continues after it was killed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import attrs

from imagevol_adapters.fleet.leased import LeasedShards
from imagevol_adapters.ports import Lock
from imagevol_core import DeadlineExceeded, LockLost

__all__ = ["LocalBoard", "LocalLocks", "local_shards"]


def local_shards(*, most_failures: int = 1, most_in_use: int = 1) -> LeasedShards:
    """Give a board of shards for the threads of this process.

    Args:
        most_failures: at how many failed attempts a shard is set aside.
        most_in_use: at how many attempts that find its volume in use a shard is set aside.

    >>> from imagevol_core.sharding import Shard, Worker
    >>> shards = local_shards()
    >>> shards.submit(Shard(job="audit", id="7ad3", kind="deep"))
    True
    >>> claim = shards.claim(Worker(name="thread", kinds=frozenset({"deep"})))
    >>> claim.done({"digest": "ab"})
    >>> [record.state.value for record in shards.records()]
    ['done']
    """
    return LeasedShards(LocalBoard(), LocalLocks(), most_failures=most_failures, most_in_use=most_in_use)


@attrs.define(eq=False)
class LocalBoard:
    """Texts in the memory of this process: `ShardBoard`.

    Attributes:
        texts: by key.
    """

    texts: dict[str, str] = attrs.field(factory=dict, init=False)
    _guard: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    def all(self) -> Mapping[str, str]:
        """Give every text by its key."""
        with self._guard:
            return dict(self.texts)

    def get(self, key: str) -> str | None:
        """Give one text; None if there is none."""
        with self._guard:
            return self.texts.get(key)

    def create(self, key: str, text: str) -> bool:
        """Write a text if there is none of this key."""
        with self._guard:
            if key in self.texts:
                return False
            self.texts[key] = text
            return True

    def replace(self, key: str, old: str, new: str | None) -> bool:
        """Write another text, or take it away, if it still is the old one."""
        with self._guard:
            if self.texts.get(key) != old:
                return False
            if new is None:
                del self.texts[key]
            else:
                self.texts[key] = new
            return True


@attrs.frozen(eq=False)
class _LocalLock:
    """A lock that was taken: `Lock`."""

    name: str
    _locks: LocalLocks

    def ensure_held(self) -> None:
        """Look whether it is still held."""
        if not self._locks.is_held(self):
            raise LockLost(self.name)


@attrs.define(eq=False)
class LocalLocks:
    """Locks of the threads of this process: `Locks`."""

    _taken: dict[str, _LocalLock] = attrs.field(factory=dict, init=False)
    _changed: threading.Condition = attrs.field(factory=threading.Condition, init=False, repr=False)

    @property
    def lease_seconds(self) -> float:
        """A lock ends with its process."""
        return 0

    @contextmanager
    def held(self, name: str, *, wait_seconds: float) -> Iterator[Lock]:
        """Hold a lock while the context lasts; see `Locks.held`."""
        lock = _LocalLock(name, self)
        with self._changed:
            if not self._changed.wait_for(lambda: name not in self._taken, max(wait_seconds, 0)):
                raise DeadlineExceeded(f"lock {name!r} is held by another", seconds=wait_seconds)
            self._taken[name] = lock
        try:
            yield lock
        except BaseException:
            self.let_go(lock)
            raise
        if not self.let_go(lock):
            raise LockLost(name)

    def is_held(self, lock: Lock) -> bool:
        """Tell whether a lock is the one that is held under its name."""
        with self._changed:
            return self._taken.get(lock.name) is lock

    def let_go(self, lock: Lock) -> bool:
        """Let others have a lock, and tell whether it was held until now."""
        with self._changed:
            held = self._taken.get(lock.name) is lock
            if held:
                del self._taken[lock.name]
                self._changed.notify_all()
            return held
