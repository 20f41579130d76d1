"""Workers that live: each has a record on a board, and a lock as its lease.

A worker is alive as long as no other program can take its lock.  So the lock service alone says when a lease ends, and
no clocks of two hosts are compared.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

import attrs

from imagevol_adapters.engine.starting import Thread
from imagevol_adapters.error_text import one_line
from imagevol_adapters.fleet.readable import Readable
from imagevol_adapters.fleet.recorded import key_of_worker, text_of_worker, worker_of
from imagevol_adapters.ports import Lock, Locks, ShardBoard
from imagevol_core import DeadlineExceeded, ImagevolError, LockLost
from imagevol_core.sentences import said
from imagevol_core.sharding import Worker, WorkerRecord

__all__ = ["LeasedWorkers"]

LOG = logging.getLogger(__name__)

_LOCK = "worker-"
_RENEWALS = 3  # in a lease
_RENEW_SECONDS = 5.0  # where a lease has no end
_LOOK_SECONDS = 1.0  # for which a program that looks whether a worker is dead may have its lock


@attrs.frozen(eq=False)
class LeasedWorkers:
    """Workers over a board and a lock service: `Workers`.

    Args:
        board: keeps the record of each worker, and nothing else.
        locks: hold the lease of each worker.
        renew_seconds: how often a worker says that it lives; None for three times in a lease.
        clock: tells the time in seconds since 1970.

    Attributes:
        readable: the records that can be read.
    """

    board: ShardBoard
    locks: Locks
    renew_seconds: float | None = attrs.field(default=None, kw_only=True)
    clock: Callable[[], float] = attrs.field(default=time.time, kw_only=True, repr=False)
    readable: Readable[WorkerRecord] = attrs.field(init=False, repr=False)

    @readable.default
    def _readable(self) -> Readable[WorkerRecord]:
        return Readable(self.board, "worker", worker_of, lambda record: key_of_worker(record.worker.name))

    @property
    def lease_seconds(self) -> float:
        """How long at most a killed worker is still listed; 0 where it ends with the process."""
        return self.locks.lease_seconds

    @contextmanager
    def present(self, worker: Worker, *, host: str, jobs: int) -> Iterator[None]:
        """List a worker while the context lasts; see `Workers.present`."""
        record = WorkerRecord(worker=worker, host=host, jobs=jobs, seen_at=self.clock())
        presence = _Presence(self, record)
        # The lock of a worker that was killed and started again is free after one lease.
        wait_seconds = self.lease_seconds + _LOOK_SECONDS
        try:
            presence.enter(wait_seconds=wait_seconds)
        except DeadlineExceeded as error:
            raise DeadlineExceeded(
                f"a worker named {said(worker.name)} still lives (give each worker a name of its own)",
                seconds=wait_seconds,
            ) from error
        renewing = Thread(presence.renew, name="imagevol-worker", green=True)
        try:
            renewing.start()
            yield
        finally:
            presence.stopping.set()
            renewing.join()
            presence.leave()

    def workers(self) -> tuple[WorkerRecord, ...]:
        """Give the workers that live; see `Workers.workers`."""
        alive = {key: text for key, text in self.board.all().items() if not self._cleared(key)}
        return tuple(sorted(self.readable.of(alive).values(), key=lambda record: record.worker.name))

    def _cleared(self, key: str) -> bool:
        """Take the record of a dead worker away; False if the worker lives."""
        try:
            with self.locks.held(_LOCK + key, wait_seconds=0):
                text = self.board.get(key)  # as it is under the lock
                if text is not None:
                    self.board.replace(key, text, None)
                return True
        except DeadlineExceeded:
            return False
        except LockLost:  # it was cleared before
            return True


@attrs.define(eq=False)
class _Presence:
    """A worker of this process."""

    workers: LeasedWorkers
    record: WorkerRecord
    stopping: threading.Event = attrs.field(factory=threading.Event, init=False)
    _lock: Lock | None = attrs.field(default=None, init=False)
    _held: ExitStack = attrs.field(factory=ExitStack, init=False)

    @property
    def key(self) -> str:
        return key_of_worker(self.record.worker.name)

    def enter(self, *, wait_seconds: float) -> None:
        """Take the lock, and write the record."""
        with ExitStack() as until:
            self._lock = until.enter_context(self.workers.locks.held(_LOCK + self.key, wait_seconds=wait_seconds))
            self._write()
            self._held = until.pop_all()

    def renew(self) -> None:
        """Say again and again that the worker lives."""
        locks, every = self.workers.locks, self.workers.renew_seconds
        if every is None:
            every = locks.lease_seconds / _RENEWALS or _RENEW_SECONDS
        told = False
        while not self.stopping.wait(every):
            try:
                self._renew()
            except Exception as error:  # noqa: BLE001 - a worker that is not listed still works
                if not told:
                    LOG.warning("Worker %s cannot be listed now: %s", self.record.worker.name, one_line(error))
                told = True
            else:
                told = False

    def leave(self) -> None:
        """Take the record away, and give the lock back."""
        try:
            if self._lock is not None:
                self._lock.ensure_held()
                text = self.workers.board.get(self.key)
                if text is not None:
                    self.workers.board.replace(self.key, text, None)
        except LockLost:
            LOG.info("Worker %s was not listed any more", self.record.worker.name)
        except ImagevolError as error:
            LOG.warning("Worker %s is listed until its lease ends: %s", self.record.worker.name, error)
        finally:
            self._give_up()

    def _renew(self) -> None:
        if self._lock is not None:
            try:
                self._lock.ensure_held()
            except LockLost:
                self._give_up()
        if self._lock is None:
            self.enter(wait_seconds=_LOOK_SECONDS)
        else:
            self._write()

    def _write(self) -> None:
        board, record = self.workers.board, self.record
        self.record = replace(record, beat=record.beat + 1, seen_at=self.workers.clock())
        text = text_of_worker(self.record)
        while not board.create(self.key, text):
            old = board.get(self.key)
            if old is not None and board.replace(self.key, old, text):
                return

    def _give_up(self) -> None:
        self._lock = None
        with suppress(ImagevolError):  # a lock that was lost, or that ends with its lease
            self._held.close()
        self._held = ExitStack()
