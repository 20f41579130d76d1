"""The seam to a large job in shards; `imagevol_adapters.ports` gives these protocols with all others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from imagevol_core.sharding import Shard, ShardRecord, ShardState, Worker, WorkerLimit, WorkerRecord

__all__ = ["Claim", "ShardBoard", "Shards", "Slot", "WorkerLimits", "Workers"]


class Claim(Protocol):
    """A shard that this worker has: no other worker has it, as long as this process runs and renews its lease."""

    @property
    def shard(self) -> Shard:
        """Which shard."""

    @property
    def attempt(self) -> int:
        """The number of this attempt; an earlier one with another number can write nothing any more."""

    def ensure_held(self) -> None:
        """Ask whether this worker still has the shard.  To be called right before each change.

        Raises:
            LockLost: it has not: another worker may have it, or it was withdrawn.
            ServiceUnreachable: the lock service does not answer, so it is not known.
            ServiceFailed: the lock service answers with an error.
        """

    def done(self, outcome: Mapping[str, Any]) -> None:
        """Write what was found, and give the shard up.

        Args:
            outcome: as JSON has it; without credentials.

        Raises:
            LockLost: another worker has claimed the shard since, or it was withdrawn; nothing was written.
            ServiceUnreachable: it is not known whether it was written.
            ServiceFailed: the same.
        """

    def failed(self, reason: str) -> ShardState:
        """Write why this attempt failed, give the shard up, and tell whether it is tried again or set aside.

        Raises:
            LockLost: another worker has claimed the shard since, or it was withdrawn; nothing was written.
            ServiceUnreachable: it is not known whether it was written.
            ServiceFailed: the same.
        """

    def in_use(self, reason: str) -> ShardState:
        """Write that the volume is in use elsewhere, and give the shard up: this attempt is no failure.

        The shard is offered again after a pause, which grows, or set aside if the volume stays in use for too long.
        Gives which of these it is.

        Raises:
            LockLost: another worker has claimed the shard since, or it was withdrawn; nothing was written.
            ServiceUnreachable: it is not known whether it was written.
            ServiceFailed: the same.
        """

    def give_back(self) -> None:
        """Leave the shard to others; this attempt does not count.  After an end, this does nothing.

        Raises:
            ServiceUnreachable: it is free when its lease ends.
            ServiceFailed: the same.
        """


class Shards(Protocol):
    """Shards of large jobs, and what became of them.

    Each method raises `ServiceUnreachable` or `ServiceFailed` if the service that keeps them does not answer.
    """

    @property
    def lease_seconds(self) -> float:
        """How long at most the shard of a killed worker stays taken; 0 where it ends with the process."""

    def submit(self, shard: Shard) -> bool:
        """Offer a shard to the workers; False if the job has one of this id, which then stays as it is."""

    def claim(self, worker: Worker) -> Claim | None:
        """Take a shard that this worker can do; None if there is none that is free.

        A shard is set aside, and not taken, if too many workers ended while they had it.
        """

    def records(self, job: str | None = None) -> tuple[ShardRecord, ...]:
        """Give what is known of each shard of a job, in the order of their ids; of all jobs if none is named."""

    def retry(self, shard: Shard) -> bool:
        """Offer a shard again that was set aside; False if it is not set aside."""

    def withdraw(self, shard: Shard) -> bool:
        """Take a shard away with what was found; a worker that has it loses it.  False if there is none."""


class Workers(Protocol):
    """The workers that live now, as all programs see them."""

    @property
    def lease_seconds(self) -> float:
        """How long at most a killed worker is still listed; 0 where it ends with the process."""

    def present(self, worker: Worker, *, host: str, jobs: int) -> AbstractContextManager[None]:
        """List a worker while the context lasts; a thread says again and again that it lives.

        If its lease ends meanwhile, because the service or the process stood still, it is listed again afterwards.

        Args:
            worker: this process.
            host: the name of this host.
            jobs: how many shards it does at once, at most.

        Raises:
            DeadlineExceeded: another process has this name, also after one lease.
            ServiceUnreachable: the service does not answer.
            ServiceFailed: it answers with an error.
            ThreadFailed: the thread could not begin.
        """

    def workers(self) -> tuple[WorkerRecord, ...]:
        """Give the workers that live, in the order of their names.

        Raises:
            ServiceUnreachable: the service does not answer.
            ServiceFailed: it answers with an error, or another release wrote what is there.
        """


class Slot(Protocol):
    """One of the attachments that all workers together may have."""

    def ensure_held(self) -> None:
        """Ask whether it still is this worker's.  To be called right before the volume is attached.

        Raises:
            LockLost: it is not: this worker stood still for a lease, and another one may have it.
            ServiceUnreachable: the service does not answer, so it is not known.
            ServiceFailed: it answers with an error.
        """


class WorkerLimits(Protocol):
    """What all workers together may use of each backend, as one worker has it.

    Each method raises `ServiceUnreachable` or `ServiceFailed` if the service that keeps it does not answer.
    """

    def limits(self) -> Mapping[str, WorkerLimit]:
        """Give the limit of each backend that has one, as `host@backend`; `*` is the one of all together."""

    def limit(self, backend: str, limit: WorkerLimit) -> None:
        """Set the limit of a backend, or of all together as `*`; all workers follow it within a few seconds.

        What is attached already stays.
        """

    def attachment(self, backend: str, *, wait_seconds: float = math.inf) -> AbstractContextManager[Slot]:
        """Have one of the attachments of a backend while the context lasts.  The worker must be present.

        Args:
            backend: of the volume.
            wait_seconds: how long to wait for one.

        Raises:
            DeadlineExceeded: all are used.
        """

    def pace(self, backends: Iterable[str]) -> Callable[[int], float]:
        """Give what takes bytes, and tells how many seconds to wait before they are moved.

        Args:
            backends: from which or to which they are moved.
        """


class ShardBoard(Protocol):
    """Texts by key, of which each change is made whole or not at all, for all programs that use the same service.

    Each method raises `ServiceUnreachable` or `ServiceFailed`.
    """

    def all(self) -> Mapping[str, str]:
        """Give every text by its key."""

    def get(self, key: str) -> str | None:
        """Give one text; None if there is none."""

    def create(self, key: str, text: str) -> bool:
        """Write a text if there is none of this key; False if there is."""

    def replace(self, key: str, old: str, new: str | None) -> bool:
        """Write another text, or take it away, if it still is the old one; False if it is not."""
