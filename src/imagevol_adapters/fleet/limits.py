"""Limits for all workers together, kept on a board: attachments of a backend at once, and bytes a second.

A worker writes down each attachment before it makes it.  Those of a dead worker are free after its lease; the core says
how that is known.  Bytes are booked on the board, some at a time, and moved when they are due.  If the service does not
answer, nothing new is begun.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress

import attrs

from imagevol_adapters.fleet.limit_records import (
    flow_of,
    holders_of,
    is_limit_record,
    key_of_limit,
    limit_of,
    text_of_flow,
    text_of_holders,
    text_of_limit,
)
from imagevol_adapters.fleet.recorded import key_of_worker
from imagevol_adapters.ports import ShardBoard, Slot
from imagevol_core import DeadlineExceeded, ImagevolError, LockLost, ServiceFailed
from imagevol_core.sentences import said
from imagevol_core.sharding import (
    Flow,
    Sighting,
    SlotFacts,
    WorkerLimit,
    are_silent,
    book,
    decide_slot,
    look_again,
)

__all__ = ["EVERY_BACKEND", "BoardLimits", "remove_unreadable_limits"]

EVERY_BACKEND = "*"
"""The name under which all backends together have a limit."""

LOG = logging.getLogger(__name__)

_LOOKS = 10  # in a lease, while a worker waits
_LONGEST_PAUSE_SECONDS = 1.0
_BOOKED_SECONDS = 0.1  # of the rate, at once: so a worker that is killed wastes little
_KNOWN_SECONDS = 5.0  # after which a limit is read again


@attrs.define(eq=False)
class BoardLimits:
    """The limits of all workers, as one worker has them: `WorkerLimits`.

    Args:
        board: keeps the limits and what is used of them, and nothing else.
        beats: the board of the workers.
        worker: the name of this worker, which must be present while it attaches.
        lease_seconds: tells for how long a worker can say nothing and live.
        clock: tells the time in seconds, and never goes back.
    """

    board: ShardBoard
    beats: ShardBoard
    worker: str
    lease_seconds: Callable[[], float] = attrs.field(kw_only=True)
    clock: Callable[[], float] = attrs.field(default=time.monotonic, kw_only=True, repr=False)
    pause: Callable[[float], object] = attrs.field(default=time.sleep, kw_only=True, repr=False)
    _guard: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)
    _mine: set[str] = attrs.field(factory=set, init=False, repr=False)
    _sightings: dict[str, Sighting] = attrs.field(factory=dict, init=False, repr=False)
    _rates: dict[str, _Rate] = attrs.field(factory=dict, init=False, repr=False)

    def limits(self) -> Mapping[str, WorkerLimit]:
        """Give the limit of each backend that has one; see `WorkerLimits.limits`."""
        return dict(sorted(limit_of(text) for key, text in self.board.all().items() if key.startswith("limit/")))

    def limit(self, backend: str, limit: WorkerLimit) -> None:
        """Set the limit of a backend; see `WorkerLimits.limit`."""
        key, new = key_of_limit("limit", backend), None
        if limit != WorkerLimit():
            new = text_of_limit(backend, limit)
        while True:
            old = self.board.get(key)
            if old is None and new is None:
                return
            if self.board.create(key, str(new)) if old is None else self.board.replace(key, old, new):
                return

    @contextmanager
    def attachment(self, backend: str, *, wait_seconds: float = math.inf) -> Iterator[Slot]:
        """Have one of the attachments of a backend while the context lasts; see `WorkerLimits.attachment`."""
        until = self.clock() + wait_seconds
        while True:
            with ExitStack() as having:
                if (slots := self._taken(sorted({backend, EVERY_BACKEND}), having)) is not None:
                    yield _Slots(slots)
                    return
            left = until - self.clock()
            if left <= 0:
                raise DeadlineExceeded(
                    f"all attachments that the workers may have of {said(backend)} are in use", seconds=wait_seconds
                )
            pause = self.lease_seconds() / _LOOKS or _LONGEST_PAUSE_SECONDS
            self.pause(min(left, pause, _LONGEST_PAUSE_SECONDS))

    def pace(self, backends: Iterable[str]) -> Callable[[int], float]:
        """Give what tells how long to wait before bytes are moved; see `WorkerLimits.pace`."""
        names = sorted({*backends, EVERY_BACKEND})
        with self._guard:
            rates = [self._rates.setdefault(name, _Rate(self, name)) for name in names]
        return lambda size_bytes: max(rate.take(size_bytes) for rate in rates)

    def read_limit(self, backend: str) -> WorkerLimit:
        """Give the limit of a backend, or of all together."""
        text = self.board.get(key_of_limit("limit", backend))
        return WorkerLimit() if text is None else limit_of(text)[1]  # one that cannot be read lets nothing be done

    def replaced(self, key: str, old: str | None, new: str) -> bool:
        """Write a text if there still is the old one, or none."""
        return self.board.create(key, new) if old is None else self.board.replace(key, old, new)

    def _given_back(self, slot: _Slot) -> None:
        """Leave an attachment to others."""
        self._mine.discard(slot.id)
        try:
            while (text := self.board.get(slot.key)) is not None:
                holders = _holders(text)
                if holders.pop(slot.id, None) is None or self.board.replace(slot.key, text, text_of_holders(holders)):
                    return
        except ImagevolError as error:  # this worker gives it back when it asks for another, and else with its lease
            LOG.warning("An attachment of %s counts for a while longer: %s", slot.backend, error)

    def _taken(self, backends: list[str], having: ExitStack) -> list[_Slot] | None:
        """Take one of the attachments of each; None if one has none left."""
        slots = []
        for backend in backends:
            most = self.read_limit(backend).attachments
            if most is None:
                continue
            slot = _Slot(self, backend, str(uuid.uuid4()))
            self._mine.add(slot.id)  # before others can see it
            having.callback(self._given_back, slot)
            if not self._written(slot, most):
                return None
            slots.append(slot)
        return slots

    def _written(self, slot: _Slot, most: int) -> bool:
        """Write an attachment down, if there is one left."""
        while True:
            text = self.board.get(slot.key)
            # What this process does not know of its own worker is left from a call that failed, or from a process that
            # is dead.
            holders = {
                each: worker for each, worker in _holders(text).items() if worker != self.worker or each in self._mine
            }
            full = len(holders) >= most
            facts = SlotFacts(
                backend=slot.backend,
                worker=self.worker,
                listed=self.beats.get(key_of_worker(self.worker)) is not None,
                holders=tuple(holders.values()),
                dead=self._dead(slot.backend, set(holders.values())) if full else frozenset(),
                most=most,
            )
            if not decide_slot(facts).allowed:
                return False
            after = {each: worker for each, worker in holders.items() if worker not in facts.dead}
            if self.replaced(slot.key, text, text_of_holders({**after, slot.id: self.worker})):
                return True

    def _dead(self, backend: str, names: set[str]) -> frozenset[str]:
        """Look at the workers that have attachments, and give those that are known to be dead by now."""
        with self._guard:
            asked_at, lease_seconds = self.clock(), self.lease_seconds()
            beats = self.beats.all()
            sighting = self._sightings[backend] = look_again(
                self._sightings.get(backend),
                {name: beats.get(key_of_worker(name)) for name in names - {self.worker}},
                asked_at=asked_at,
                answered_at=self.clock(),
                lease_seconds=lease_seconds,
            )
            return are_silent(sighting, lease_seconds=lease_seconds)


def remove_unreadable_limits(board: ShardBoard) -> int:
    """Take away what cannot be read, and give how many records that were.

    A limit among them is none any more, until a worker that has it is started again.

    Args:
        board: of the limits, and nothing else.

    Raises:
        ServiceUnreachable: the board does not answer.
        ServiceFailed: it answers with an error.

    >>> from imagevol_adapters.fleet import LocalBoard
    >>> board = LocalBoard()
    >>> board.create("limit/host%40fast", "junk"), remove_unreadable_limits(board), list(board.all())
    (True, 1, [])
    """
    texts = board.all().items()
    return sum(not is_limit_record(key, text) and board.replace(key, text, None) for key, text in texts)


def _holders(text: str | None) -> dict[str, str]:
    """Give the attachments that are written down; what cannot be read is written anew, or nothing would go on."""
    with suppress(ServiceFailed):
        if text is not None:
            return dict(holders_of(text))
    return {}


def _flow(text: str | None) -> Flow | None:
    """Give what is booked; what cannot be read is written anew, too."""
    with suppress(ServiceFailed):
        if text is not None:
            return flow_of(text)
    return None


@attrs.define(eq=False)
class _Slot:
    """One of the attachments of a backend."""

    limits: BoardLimits
    backend: str
    id: str

    @property
    def key(self) -> str:
        return key_of_limit("slots", self.backend)

    def ensure_held(self) -> None:
        text = self.limits.board.get(self.key)
        if self.id not in _holders(text):
            raise LockLost(f"attachment of {self.backend}")


@attrs.frozen
class _Slots:
    """An attachment, under the limit of its backend and under that of all: `Slot`."""

    slots: list[_Slot]

    def ensure_held(self) -> None:
        """Ask whether it still is this worker's; see `Slot.ensure_held`."""
        for slot in self.slots:
            slot.ensure_held()


@attrs.define(eq=False)
class _Rate:
    """The bytes a second of a backend, of which this process has booked some."""

    limits: BoardLimits
    backend: str
    _guard: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _left_bytes: float = attrs.field(default=0, init=False)
    _due: float = attrs.field(default=-math.inf, init=False)
    _ahead_seconds: float | None = attrs.field(default=None, init=False)
    _limit: WorkerLimit = attrs.field(factory=WorkerLimit, init=False)
    _read_at: float = attrs.field(default=-math.inf, init=False)
    _count: int = attrs.field(default=0, init=False)

    def take(self, size_bytes: int) -> float:
        """Take so many bytes, and tell how many seconds to wait before they are moved."""
        with self._guard:
            now = self.limits.clock()
            if now - self._read_at >= _KNOWN_SECONDS:
                self._limit, self._read_at = self.limits.read_limit(self.backend), now
            rate = self._limit.bytes_per_second
            if rate is None:
                return 0.0
            if self._left_bytes < size_bytes:
                self._book(max(size_bytes - self._left_bytes, _BOOKED_SECONDS * rate), rate)
            self._left_bytes -= size_bytes
            return max(0.0, self._due - self.limits.clock())

    def _book(self, size_bytes: float, rate: float) -> None:
        board, key = self.limits.board, key_of_limit("flow", self.backend)
        while True:
            text = board.get(key)
            now = self.limits.clock()
            booking = book(
                _flow(text),
                size_bytes,
                bytes_per_second=rate,
                now=now,
                ahead_seconds=self._ahead_seconds,
            )
            self._ahead_seconds = booking.ahead_seconds
            self._count += 1  # so that no two bookings have the same text
            new = text_of_flow(booking.flow, f"{self.limits.worker}-{self._count}")
            if self.limits.replaced(key, text, new):
                self._due = now + booking.wait_seconds
                self._left_bytes += size_bytes
                return
