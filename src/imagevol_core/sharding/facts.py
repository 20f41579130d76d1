"""What is known of a shard, of a worker, and of the lease that ties them together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any

__all__ = [
    "MOST_IN_USE",
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

MOST_IN_USE = 10
"""At how many attempts that find its volume in use a shard is set aside; with the pauses between them, that is after 55
minutes at least: long enough for a host to start again, and for an operator to be called."""


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
        host: the name of the host of the latest attempt; None if that is not known.
        left_on: the host of a worker that ended while it had the shard, which may have left its volume attached there;
            None if there is none, or if a later worker of that host could not take the volume back.
        in_use: how many attempts ended because the volume was in use; they are no failures.
        outcome: what was found, as JSON has it, of a shard that is done.
        reason: why the latest attempt failed.
    """

    shard: Shard
    state: ShardState = ShardState.OPEN
    attempt: int = 0
    failures: int = 0
    holder: str | None = None
    host: str | None = None
    left_on: str | None = None
    in_use: int = 0
    outcome: Mapping[str, Any] | None = field(default=None, hash=False)
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimFacts:
    """A worker, and a shard that it could take.

    Args:
        record: of the shard.
        worker: that has nothing to do.
        host: the name of its host; None if that is not known.
        unchanged_seconds: for how long the worker has seen the record as it is, by its own clock.
    """

    record: ShardRecord
    worker: Worker
    host: str | None = None
    unchanged_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFacts:
    """An attempt that did not complete its shard.

    Args:
        failures: how many attempts have failed, this one included if it counts.
        most_failures: at how many the shard is set aside.
        given_back: whether the worker gave the shard back, because it was told to end.
        reason: why it failed.
        is_in_use: whether it ended because the volume is in use.
        in_use: how many attempts ended so, this one included if it did.
        most_in_use: at how many the shard is set aside.
    """

    failures: int
    most_failures: int
    given_back: bool
    reason: str | None = None
    is_in_use: bool = False
    in_use: int = 0
    most_in_use: int = MOST_IN_USE


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
