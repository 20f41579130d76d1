"""Shards and workers in memory, whose board and lock service can be out of reach, and whose leases a test can end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import attrs

from imagevol_adapters.fleet import LeasedShards, LeasedWorkers, LocalBoard
from imagevol_adapters.fleet.recorded import key_of_worker
from imagevol_adapters.ports import Claim
from imagevol_adapters.testing.memory.locks import MemoryLocks
from imagevol_core import ServiceUnreachable
from imagevol_core.sharding import Worker

__all__ = ["MemoryBoard", "MemoryShards", "MemoryWorkers"]


@attrs.define(eq=False)
class MemoryBoard:
    """Texts in memory: `ShardBoard`.

    Attributes:
        reachable: whether the service answers.
        most_texts: how many there were at once, at most.
    """

    reachable: bool = attrs.field(default=True, kw_only=True)
    most_texts: int = attrs.field(default=0, init=False)
    _texts: LocalBoard = attrs.field(factory=LocalBoard, init=False, repr=False)

    def all(self) -> Mapping[str, str]:
        """Give every text by its key."""
        self.reach()
        return self._texts.all()

    def get(self, key: str) -> str | None:
        """Give one text; None if there is none."""
        self.reach()
        return self._texts.get(key)

    def create(self, key: str, text: str) -> bool:
        """Write a text if there is none of this key."""
        self.reach()
        created = self._texts.create(key, text)
        self.most_texts = max(self.most_texts, len(self._texts.all()))
        return created

    def replace(self, key: str, old: str, new: str | None) -> bool:
        """Write another text, or take it away, if it still is the old one."""
        self.reach()
        return self._texts.replace(key, old, new)

    def reach(self) -> None:
        """Answer, or do not."""
        if not self.reachable:
            raise ServiceUnreachable("board memory: no answer")


class MemoryShards(LeasedShards):
    """Shards of the threads of one process: `Shards`.

    >>> from imagevol_core.sharding import Shard, Worker
    >>> shards, worker = MemoryShards(), Worker(name="one", kinds=frozenset({"deep"}))
    >>> shards.submit(Shard(job="audit", id="7ad3", kind="deep"))
    True
    >>> claim = shards.claim(worker)
    >>> shards.lose(claim)
    >>> claim.ensure_held()
    Traceback (most recent call last):
    imagevol_adapters.fleet.leased.ShardLost: shard audit/7ad3 was lost: ...
    """

    board: MemoryBoard
    locks: MemoryLocks

    def __init__(
        self, *, most_failures: int = 3, lease_seconds: float = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin with no shards.

        Args:
            most_failures: at how many failed attempts a shard is set aside.
            lease_seconds: how long a lease is said to be; 0 by default, because no worker can be killed.
            clock: tells the time in seconds, and never goes back.
        """
        locks = MemoryLocks(lease_seconds=lease_seconds)
        super().__init__(MemoryBoard(), locks, most_failures=most_failures, clock=clock)

    def lose(self, claim: Claim) -> None:
        """End the lease of a claim, as a lock service does when it is not renewed."""
        for name in [name for name in self.locks.taken if name.endswith(f"/{claim.shard.id}")]:
            del self.locks.taken[name]


class MemoryWorkers(LeasedWorkers):
    """Workers of the threads of one process: `Workers`.

    >>> from imagevol_core.sharding import Worker
    >>> workers, one = MemoryWorkers(), Worker(name="one", kinds=frozenset({"deep"}))
    >>> with workers.present(one, host="node-1", jobs=4):
    ...     before = [each.host for each in workers.workers()]
    ...     workers.lose(one)
    ...     before, workers.workers()
    (['node-1'], ())
    """

    board: MemoryBoard
    locks: MemoryLocks

    def __init__(self, *, renew_seconds: float = 3600, lease_seconds: float = 0) -> None:
        """Begin with no workers.

        Args:
            renew_seconds: how often a worker says that it lives; so rarely by default that no lost lease comes back.
            lease_seconds: how long a lease is said to be; 0 by default, because no worker can be killed.
        """
        super().__init__(MemoryBoard(), MemoryLocks(lease_seconds=lease_seconds), renew_seconds=renew_seconds)

    def lose(self, worker: Worker) -> None:
        """End the lease of a worker, as a lock service does when it is not renewed."""
        del self.locks.taken[f"worker-{key_of_worker(worker.name)}"]
