"""What is known of a shard, of a worker, and of the lease that ties them together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any

__all__ = [
    "AttemptFacts",
    "ClaimFacts",
    "LeaseFacts",
    "LeaseState",
    "Shard",
    "ShardNext",
    "ShardRecord",
    "ShardState",
    "Worker",
    "WorkerRecord",
]


class ShardState(Enum):
    """How far a shard is."""

    OPEN = "open"
    DONE = "done"
    SET_ASIDE = "set-aside"


class ShardNext(Enum):
    """What follows after an attempt that did not complete its shard."""

    AGAIN = "again"
    SET_ASIDE = "set-aside"


class LeaseState(Enum):
    """Whether a worker still has its shard."""

    HELD = "held"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A part of a job that one worker does at a time.

    Args:
        job: the job that it is a part of.
        id: its name in the job.
        kind: which work it is, such as `deep`.
        needs: the backends whose volumes its host must be able to attach, as `host@backend`.
        work: what is to do, as JSON has it; it is shown to all workers, so no credentials are in it.

    >>> Shard(job="audit", id="7ad3", kind="deep", work={"volume": "7ad3"}).work["volume"]
    '7ad3'
    """

    job: str
    id: str
    kind: str
    needs: frozenset[str] = frozenset()
    work: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Keep what is to do as it is now."""
        object.__setattr__(self, "work", MappingProxyType(dict(self.work)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A process that does shards.

    Args:
        name: of this process and of no other.
        kinds: which work it can do.
        backends: whose volumes its host can attach, as `host@backend`; None if it does not say, and tries all.
    """

    name: str
    kinds: frozenset[str]
    backends: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRecord:
    """What all programs can see of a worker.

    Args:
        worker: which, and what it can do.
        host: the name of its host.
        jobs: how many shards it does at once, at most.
        beat: how often it has said that it lives; it says so again and again.
        seen_at: when it said so last, in seconds since 1970 by the clock of its host.
    """

    worker: Worker
    host: str
    jobs: int
    beat: int = 0
    seen_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRecord:
    """What all workers can see of a shard.

    Args:
        shard: which.
        state: how far it is.
        attempt: the number of the latest attempt; each claim has a number of its own.
        failures: how many attempts failed, or ended with their worker.
        holder: the worker of the latest attempt, until it says how that ended.
        outcome: what was found, as JSON has it, of a shard that is done.
        reason: why the latest attempt failed.
    """

    shard: Shard
    state: ShardState = ShardState.OPEN
    attempt: int = 0
    failures: int = 0
    holder: str | None = None
    outcome: Mapping[str, Any] | None = field(default=None, hash=False)
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimFacts:
    """A worker, and a shard that it could take.

    Args:
        record: of the shard.
        worker: that has nothing to do.
    """

    record: ShardRecord
    worker: Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFacts:
    """An attempt that did not complete its shard.

    Args:
        failures: how many attempts have failed, this one included if it counts.
        most_failures: at how many the shard is set aside.
        given_back: whether the worker gave the shard back, because it was told to end.
        reason: why it failed.
    """

    failures: int
    most_failures: int
    given_back: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseFacts:
    """What a worker sees of the shard that it has.

    Args:
        attempt: the number of its own attempt.
        lock_held: whether the lock service says that it holds the shard's lock.
        record: of the shard; None if the shard was withdrawn.
    """

    attempt: int
    lock_held: bool
    record: ShardRecord | None
