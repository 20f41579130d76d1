"""Shards whose lease is a lock, and whose record is replaced only by the claim that has it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress
from typing import Any

import attrs

from imagevol_adapters.fleet.readable import Readable
from imagevol_adapters.fleet.recorded import key_of_shard, record_of, text_of_record
from imagevol_adapters.ports import Claim, Lock, Locks, ShardBoard
from imagevol_core import DeadlineExceeded, ImagevolError, InUse, LockLost
from imagevol_core.sentences import said
from imagevol_core.sharding import (
    MOST_IN_USE,
    ClaimFacts,
    LeaseFacts,
    LeaseState,
    Shard,
    ShardRecord,
    ShardState,
    Worker,
    begin_attempt,
    decide_claim,
    decide_lease,
    end_attempt,
    try_again,
)

__all__ = ["LeasedShards", "ShardLost"]

_LOCK = "shard-"
_END_SECONDS = 60.0  # for which a worker may go on with one step of a shard that was taken away


class ShardLost(LockLost):
    """A worker lost its shard while it had it: what it found is not used."""

    def __init__(self, key: str, why: str) -> None:
        """Name the shard, and say why it was lost."""
        ImagevolError.__init__(self, f"shard {said(key)} was lost: {why}; this worker's result is not used")
        self.name = key


@attrs.define(eq=False)
class LeasedShards:
    """Shards over a board and a lock service: `Shards`.

    Args:
        board: keeps the record of each shard.
        locks: hold the lease of each shard.
        most_failures: at how many failed attempts a shard is set aside.
        most_in_use: at how many attempts that find its volume in use a shard is set aside.
        host: the name of this host; None if other programs need not know it.
        get_held: gives a text of the board and asks whether a lock is held, in one request; None if it takes two.
        clock: tells the time in seconds, and never goes back.

    Attributes:
        readable: the records that can be read.
    """

    board: ShardBoard
    locks: Locks
    most_failures: int = attrs.field(default=3, kw_only=True)
    most_in_use: int = attrs.field(default=MOST_IN_USE, kw_only=True)
    host: str | None = attrs.field(default=None, kw_only=True)
    get_held: Callable[[Lock, str], str | None] | None = attrs.field(default=None, kw_only=True, repr=False)
    clock: Callable[[], float] = attrs.field(default=time.monotonic, kw_only=True, repr=False)
    readable: Readable[ShardRecord] = attrs.field(init=False, repr=False)
    _looked_at: float = attrs.field(init=False, repr=False)
    _in_use: Mapping[str, tuple[int, float]] = attrs.field(factory=dict, init=False, repr=False)  # and since when

    def __attrs_post_init__(self) -> None:
        """Look for dead workers one lease from now."""
        self.readable = Readable(self.board, "shard", record_of, lambda record: key_of_shard(record.shard))
        self._looked_at = self.clock()

    @property
    def lease_seconds(self) -> float:
        """How long at most the shard of a killed worker stays taken; 0 where it ends with the process."""
        return self.locks.lease_seconds

    def submit(self, shard: Shard) -> bool:
        """Offer a shard to the workers; see `Shards.submit`."""
        key, text = key_of_shard(shard), text_of_record(ShardRecord(shard=shard))
        while not self.board.create(key, text):
            there = self.board.get(key)
            if there is not None:
                if self.readable.read(key, there) is not None:
                    return False
                if self.board.replace(key, there, text):  # which no worker could take
                    return True
        return True

    def claim(self, worker: Worker) -> Claim | None:
        """Take a shard that this worker can do; see `Shards.claim`."""
        records = self.readable.all()
        unchanged = self._unchanged_seconds(records)
        # That a worker is dead shows only when its lock can be taken, which costs a request for each shard that has a
        # worker.  Once a lease those are tried first, or such a shard would wait until all others are done.
        looks = self._looks()
        for key, record in sorted(records.items(), key=lambda each: (each[1].holder is None) is looks):
            facts = ClaimFacts(record=record, worker=worker, host=self.host, unchanged_seconds=unchanged.get(key, 0.0))
            if decide_claim(facts).allowed:
                claim = self._taken(key, record, worker)
                if claim is not None:
                    return claim
        return None

    def records(self, job: str | None = None) -> tuple[ShardRecord, ...]:
        """Give what is known of each shard; see `Shards.records`."""
        return tuple(record for record in self.readable.all().values() if job is None or record.shard.job == job)

    def retry(self, shard: Shard) -> bool:
        """Offer a shard again that was set aside; see `Shards.retry`."""
        key = key_of_shard(shard)
        while (text := self.board.get(key)) is not None:
            record = self.readable.read(key, text)
            if record is None or record.state is not ShardState.SET_ASIDE:
                return False
            if self.board.replace(key, text, text_of_record(try_again(record))):
                return True
        return False

    def withdraw(self, shard: Shard) -> bool:
        """Take a shard away; see `Shards.withdraw`."""
        key = key_of_shard(shard)
        while (text := self.board.get(key)) is not None:
            if self.board.replace(key, text, None):
                return True
        return False

    def let_go(self, job: str, ids: Collection[str] = (), *, wait_seconds: float | None = None) -> None:
        """Take all shards of a job away, and return when no worker has one of them any more.

        Args:
            job: its name.
            ids: of shards that may have been taken away before, and whose workers are waited for too.
            wait_seconds: how long to wait for a worker; None for two leases and a minute.

        Raises:
            InUse: a worker still has one.
            ServiceUnreachable: the board does not answer.
            ServiceFailed: it answers with an error.
        """
        if wait_seconds is None:
            wait_seconds = 2 * self.lease_seconds + _END_SECONDS
        shards = {record.shard.id: record.shard for record in self.records(job)}
        for shard in shards.values():
            self.withdraw(shard)
        for shard_id in sorted({*shards, *ids}):
            key = key_of_shard(Shard(job=job, id=shard_id, kind=""))
            try:
                with suppress(LockLost), self.locks.held(_LOCK + key, wait_seconds=wait_seconds):
                    pass
            except DeadlineExceeded as error:
                raise InUse(
                    f"shard {said(key)} still has a worker: stop that worker, and run the command again"
                ) from error

    def get_record_held(self, lock: Lock, key: str) -> ShardRecord | None:
        """Give the record of a shard; raise `LockLost` if its lock is not held any more."""
        if self.get_held is None:
            lock.ensure_held()
            return self.readable.get(key)
        text = self.get_held(lock, key)
        return None if text is None else self.readable.read(key, text)

    def _looks(self) -> bool:
        """Tell whether to look for dead workers now."""
        lease_seconds, now = self.locks.lease_seconds, self.clock()
        looks = 0 < lease_seconds <= now - self._looked_at
        if looks:
            self._looked_at = now
        return looks

    def _unchanged_seconds(self, records: Mapping[str, ShardRecord]) -> dict[str, float]:
        """Tell for how long this process has seen each shard whose volume is in use as it is."""
        now, before = self.clock(), self._in_use
        self._in_use = {
            key: seen if (seen := before.get(key)) is not None and seen[0] == record.in_use else (record.in_use, now)
            for key, record in records.items()
            if record.in_use
        }
        return {key: now - since for key, (_, since) in self._in_use.items()}

    def _taken(self, key: str, listed: ShardRecord, worker: Worker) -> LeasedClaim | None:
        """Take a shard's lock, and write that this worker has it; None if it is not to be had."""
        with ExitStack() as until:
            try:
                lock = until.enter_context(self.locks.held(_LOCK + key, wait_seconds=0))
            except DeadlineExceeded:
                return None
            text = self.board.get(key)  # as it is under the lock
            record = None if text is None else self.readable.read(key, text)
            if text is None or record is None or record.state is not ShardState.OPEN:
                return None
            if record.in_use != listed.in_use:  # another worker has found the volume in use meanwhile
                return None
            begun = begin_attempt(record, holder=worker.name, host=self.host, most_failures=self.most_failures)
            written = self.board.replace(key, text, text_of_record(begun))
            if not written or begun.state is not ShardState.OPEN:
                return None
            return LeasedClaim(key, begun, lock, until.pop_all(), self)


@attrs.define(eq=False)
class LeasedClaim:
    """A shard that this worker has: `Claim`."""

    key: str
    record: ShardRecord
    _lock: Lock
    _until: ExitStack
    _shards: LeasedShards
    _ending: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _ended: bool = attrs.field(default=False, init=False)

    @property
    def shard(self) -> Shard:
        """Which shard."""
        return self.record.shard

    @property
    def attempt(self) -> int:
        """The number of this attempt."""
        return self.record.attempt

    def ensure_held(self) -> None:
        """Ask whether this worker still has the shard; see `Claim.ensure_held`."""
        try:
            held, record = True, self._shards.get_record_held(self._lock, self.key)
        except LockLost:
            held, record = False, self._shards.readable.get(self.key)
        decision = decide_lease(LeaseFacts(attempt=self.attempt, lock_held=held, record=record))
        if decision.state is LeaseState.LOST:
            raise ShardLost(self.key, decision.verdicts[-1].text)

    def done(self, outcome: Mapping[str, Any]) -> None:
        """Write what was found, and give the shard up; see `Claim.done`."""
        self._end(end_attempt(self.record, outcome=outcome, most_failures=self._shards.most_failures))

    def failed(self, reason: str) -> ShardState:
        """Write why this attempt failed, and give the shard up; see `Claim.failed`."""
        after = end_attempt(self.record, reason=reason, most_failures=self._shards.most_failures)
        self._end(after)
        return after.state

    def in_use(self, reason: str) -> ShardState:
        """Write that the volume is in use, and give the shard up; see `Claim.in_use`."""
        most_failures, most_in_use = self._shards.most_failures, self._shards.most_in_use
        after = end_attempt(
            self.record, reason=reason, most_failures=most_failures, is_in_use=True, most_in_use=most_in_use
        )
        self._end(after)
        return after.state

    def give_back(self) -> None:
        """Leave the shard to others; see `Claim.give_back`."""
        with suppress(LockLost):  # then it is left already
            self._end(end_attempt(self.record, most_failures=self._shards.most_failures))

    def _end(self, after: ShardRecord) -> None:
        with self._ending:
            if self._ended:
                return
            self._ended = True
        try:
            # Also if the lease ended meanwhile: only the latest claim can replace its own record.
            if not self._shards.board.replace(self.key, text_of_record(self.record), text_of_record(after)):
                raise ShardLost(self.key, "it was withdrawn, or another worker has claimed it since")
        finally:
            # The record says how it ended; a lock that cannot be given back ends with its lease.
            with suppress(ImagevolError):
                self._until.close()
