"""How far each job is, and who feeds it: a record on a board, and a lock as the feeder's lease.

The board of shards has only what is offered now.  How much is done is counted by the feeder, which has the journal.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import attrs

from imagevol_adapters.fleet.readable import Readable
from imagevol_adapters.fleet.recorded import count_of, key_of_worker, name_of, read, time_of, written
from imagevol_adapters.ports import Lock, Locks, ShardBoard
from imagevol_core import (
    DeadlineExceeded,
    ImagevolError,
    InUse,
    LockLost,
    ServiceUnreachable,
    TransferCancelled,
)
from imagevol_core.sentences import said

__all__ = ["Feeding", "JobCancelled", "JobRecord", "Jobs"]

LOG = logging.getLogger(__name__)

_LOCK = "job-"
_WRITE_SECONDS = 2.0
_MORE_SECONDS = 1.0  # than one lease, for which the lock of a feeder that was killed stays taken


class JobCancelled(TransferCancelled):
    """A job was cancelled by another command."""


@attrs.frozen(kw_only=True)
class JobRecord:
    """How far a job is, as its feeder has counted.

    Attributes:
        job: its name.
        kind: of its shards.
        total: how many shards it has.
        kept: how many of them an earlier run had done.
        done: how many are done, those of an earlier run too.
        failed: how many were set aside and are not on the board any more.
        begun_at: when this run began, in seconds since 1970 by the clock of the feeder's host.
        written_at: when this was written, by the same clock.
        cancelled: whether the feeder is to end.
    """

    job: str
    kind: str
    total: int
    kept: int = 0
    done: int = 0
    failed: int = 0
    begun_at: float
    written_at: float
    cancelled: bool = False

    @property
    def rate(self) -> float | None:
        """How many shards a second were done in this run; None if that is not known, as in its first second."""
        seconds, done = self.written_at - self.begun_at, self.done + self.failed - self.kept
        return done / seconds if seconds >= 1 and done > 0 else None

    @property
    def left_seconds(self) -> float | None:
        """How long the rest takes at this rate; None if that is not known."""
        rate = self.rate
        return None if rate is None else (self.total - self.done - self.failed) / rate


@attrs.frozen(eq=False)
class Jobs:
    """The jobs that have shards on a board, or whose feeder lives.

    Args:
        board: keeps the record of each job, and nothing else.
        locks: hold the lease of each feeder.
        clock: tells the time in seconds since 1970.
        write_seconds: how often a feeder writes how far it is.

    Attributes:
        readable: the records that can be read.
    """

    board: ShardBoard
    locks: Locks
    clock: Callable[[], float] = attrs.field(default=time.time, kw_only=True, repr=False)
    write_seconds: float = attrs.field(default=_WRITE_SECONDS, kw_only=True)
    readable: Readable[JobRecord] = attrs.field(init=False, repr=False)

    @readable.default
    def _readable(self) -> Readable[JobRecord]:
        return Readable(self.board, "job", _record_of, lambda record: key_of_worker(record.job))

    @contextmanager
    def feeding(self, job: str, *, kind: str, total: int) -> Iterator[Feeding]:
        """Count what is done of a job while the context lasts.  Afterwards its record is gone if all went well.

        Args:
            job: its name.
            kind: of its shards.
            total: how many shards it has.

        Raises:
            InUse: another process feeds this job, also after one lease.
            ServiceUnreachable: the board does not answer.
            ServiceFailed: it answers with an error.
        """
        now = self.clock()
        feeding = Feeding(self, JobRecord(job=job, kind=kind, total=total, begun_at=now, written_at=now))
        with feeding.lease():
            feeding.begin()
            yield feeding
            self.remove(job)

    def records(self) -> tuple[JobRecord, ...]:
        """Give the jobs, in the order of their names.

        Raises:
            ServiceUnreachable: the board does not answer.
            ServiceFailed: it answers with an error.
        """
        return tuple(sorted(self.readable.all().values(), key=lambda record: record.job))

    def is_fed(self, job: str) -> bool:
        """Tell whether a job has a feeder that lives, or died less than a lease ago."""
        try:
            with self.locks.held(_LOCK + key_of_worker(job), wait_seconds=0):
                return False
        except DeadlineExceeded:
            return True
        except LockLost:
            return False

    def cancel(self, job: str) -> bool:
        """Tell the feeder of a job to end, or take away the record of a job that has none.

        Returns:
            Whether there is such a job.
        """
        if not self.is_fed(job):
            return self.remove(job)
        key = key_of_worker(job)
        while True:
            text, now = self.board.get(key), self.clock()
            # Its feeder hears it also where the record was forgotten, or cannot be read.
            record = None if text is None else self.readable.read(key, text)
            record = record or JobRecord(job=job, kind="", total=0, begun_at=now, written_at=now)
            new = _text_of(attrs.evolve(record, cancelled=True))
            if self.board.create(key, new) if text is None else self.board.replace(key, text, new):
                return True

    def remove(self, job: str) -> bool:
        """Take the record of a job away; False if there is none."""
        key = key_of_worker(job)
        while (text := self.board.get(key)) is not None:
            if self.board.replace(key, text, None):
                return True
        return False


@attrs.define(eq=False)
class Feeding:
    """A job that this process feeds."""

    _jobs: Jobs
    record: JobRecord
    _key: str = attrs.field(init=False)
    _lock: Lock | None = attrs.field(default=None, init=False)
    _held: ExitStack = attrs.field(factory=ExitStack, init=False)

    def __attrs_post_init__(self) -> None:
        """Name the record."""
        self._key = key_of_worker(self.record.job)

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Be the feeder of the job while the context lasts.

        Raises:
            InUse: another process feeds this job, also after one lease.
            ServiceUnreachable: the lock service does not answer.
            ServiceFailed: it answers with an error.
        """
        self._take()
        with ExitStack() as until:
            until.push(self._give_back)
            yield

    def _take(self) -> None:
        locks = self._jobs.locks
        held, wait_seconds = ExitStack(), locks.lease_seconds + _MORE_SECONDS
        try:
            self._lock = held.enter_context(locks.held(_LOCK + self._key, wait_seconds=wait_seconds))
        except DeadlineExceeded as error:
            raise InUse(f"job {said(self.record.job)} is fed by another process: let it end, or stop it") from error
        self._held = held

    def _give_back(self, *error: Any) -> bool:
        try:
            return bool(self._held.__exit__(*error))
        except LockLost:  # at the end, nothing depends on it any more
            return False

    def _keep(self) -> bool:
        """Hold the job's lock, also if the service has forgotten it; False if that is not known now."""
        try:
            if self._lock is not None:
                try:
                    self._lock.ensure_held()
                except LockLost:
                    LOG.warning("Job %s: its lock was lost, and is taken again", said(self.record.job))
                    self._lock = None
                    with suppress(ImagevolError):
                        self._held.close()
            if self._lock is None:
                self._take()
        except ServiceUnreachable:
            return False
        return True

    def begin(self) -> None:
        """Write the first record, in place of what an earlier run has left."""
        while not self._jobs.board.create(self._key, _text_of(self.record)):
            self._jobs.remove(self.record.job)

    def count(self, *, kept: int = 0, done: int = 0, failed: int = 0) -> None:
        """Count shards.

        Args:
            kept: which an earlier run had done.
            done: which are done, without those.
            failed: which were set aside.
        """
        now = self.record
        self.record = attrs.evolve(now, kept=now.kept + kept, done=now.done + kept + done, failed=now.failed + failed)

    def tell(self) -> None:
        """Write how far the job is, if it was not written for a while; take the lock again if it was lost.

        Raises:
            InUse: another process feeds this job now.
            JobCancelled: another command wants the job to end.
            ServiceUnreachable: the board does not answer.
            ServiceFailed: it answers with an error.
        """
        now = self._jobs.clock()
        if 0 <= now - self.record.written_at < self._jobs.write_seconds:
            return
        if not self._keep():
            return  # the next call tries again
        self.record = attrs.evolve(self.record, written_at=now)
        board = self._jobs.board
        while not board.create(self._key, _text_of(self.record)):
            text = board.get(self._key)
            if text is not None:
                record = self._jobs.readable.read(self._key, text)
                if record is not None and record.cancelled:
                    self._jobs.remove(self.record.job)
                    raise JobCancelled(
                        f"job {said(self.record.job)} was cancelled with `imagevol fleet cancel`: to go on, run its "
                        "command again, with --resume if it has a journal"
                    )
                if board.replace(self._key, text, _text_of(self.record)):
                    return


def _text_of(record: JobRecord) -> str:
    return written(attrs.asdict(record))


def _record_of(text: str) -> JobRecord:
    return read(text, "job", _job_record)


def _job_record(value: Any) -> JobRecord:
    return JobRecord(
        job=name_of(value["job"]),
        kind=name_of(value["kind"]),
        total=count_of(value["total"]),
        kept=count_of(value["kept"]),
        done=count_of(value["done"]),
        failed=count_of(value["failed"]),
        begun_at=time_of(value["begun_at"]),
        written_at=time_of(value["written_at"]),
        cancelled=value["cancelled"] is True,
    )
