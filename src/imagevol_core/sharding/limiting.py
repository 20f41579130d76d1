"""How much one worker may use now of what all workers share: attachments of a backend, and bytes a second.

No two clocks are compared.  What is on the board has a time of its own, which is the latest that any worker has written
there; each process knows how far that is ahead of its own clock.  A worker is dead if it was looked at for a whole
lease and said nothing, while the service answered: also after the service stood still, no attachment is given away that
is in use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from imagevol_core.errors import InvalidFact
from imagevol_core.sentences import amount, said
from imagevol_core.verdicts import Policy, Requirement, Verdict, evaluate

__all__ = [
    "SLOT_RULES",
    "Booking",
    "Flow",
    "Sighting",
    "SlotDecision",
    "SlotFacts",
    "WorkerLimit",
    "are_silent",
    "book",
    "decide_slot",
    "look_again",
]

_CREDIT_SECONDS = 0.25  # how much of a pause may be made good
_GAPS = 2  # a look counts if the last one is no longer ago than this part of a lease


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimit:
    """What all workers together may use of a backend.

    Args:
        bytes_per_second: how fast they move data; None for no limit.
        attachments: how many volumes they have attached at once; None for no limit.

    Raises:
        InvalidFact: it is a limit by which nothing would ever be done.

    >>> WorkerLimit(attachments=0)
    Traceback (most recent call last):
    imagevol_core.errors.InvalidFact: attachments: is 0: give 1 or more, or None for no limit
    """

    bytes_per_second: float | None = None
    attachments: int | None = None

    def __post_init__(self) -> None:
        """Refuse a limit by which nothing would ever be done."""
        most = self.attachments
        if self.bytes_per_second is not None:
            _ensure_rate(self.bytes_per_second)
        if most is not None and most < 1:
            raise InvalidFact("attachments", f"is {most}: give 1 or more, or None for no limit")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotFacts:
    """A worker that wants to attach a volume.

    Args:
        backend: of the volume.
        worker: the name of the worker.
        listed: whether it is among the workers that all can see.
        holders: the name of the worker of each attachment there is.
        dead: the workers that are known to be dead.
        most: how many attachments there may be; None for no limit.
    """

    backend: str
    worker: str
    listed: bool
    holders: tuple[str, ...]
    dead: frozenset[str] = frozenset()
    most: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotDecision:
    """Whether a worker may attach a volume now.

    Attributes:
        verdicts: what each rule says.
    """

    verdicts: tuple[Verdict, ...]

    @property
    def allowed(self) -> bool:
        """Whether nothing stands in the way."""
        return all(verdict.ok for verdict in self.verdicts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What all workers have booked of a backend's bytes a second.

    Args:
        owed_bytes: how many bytes are booked and not yet due; less than 0 for a pause that may be made good.
        at: when that was so, in seconds of the board's own time.
    """

    owed_bytes: float
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """What a worker has booked.

    Attributes:
        flow: as it is afterwards.
        wait_seconds: how long to wait before the bytes are moved.
        ahead_seconds: how far the board's time is ahead of this process's clock, at least.
    """

    flow: Flow
    wait_seconds: float
    ahead_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What a process has seen of the workers.

    Args:
        asked_at: when it asked last, by its own clock.
        beats: what each worker said last, None if nothing, and since when it has said the same.
    """

    asked_at: float
    beats: Mapping[str, tuple[str | None, float]]


def book(
    flow: Flow | None, size_bytes: float, *, bytes_per_second: float, now: float, ahead_seconds: float | None
) -> Booking:
    """Book bytes of those that all workers may move together.

    Args:
        flow: what is on the board; None if nothing is.
        size_bytes: how many bytes.
        bytes_per_second: how many all workers may move.
        now: the time by this process's clock.
        ahead_seconds: what the last booking of this process said; None for its first.

    Raises:
        InvalidFact: at that rate nothing would ever move.

    >>> first = book(None, 100, bytes_per_second=50, now=7, ahead_seconds=None)
    >>> first.wait_seconds
    2.0
    >>> book(first.flow, 100, bytes_per_second=50, now=1000, ahead_seconds=None).wait_seconds  # of another process
    4.0
    """
    _ensure_rate(bytes_per_second)
    if flow is None:
        flow = Flow(owed_bytes=0, at=0 if ahead_seconds is None else now + ahead_seconds)
    # The board's time goes no faster than that of the process that is farthest ahead: a wrong clock gives no bytes.
    ahead = max(flow.at - now, -math.inf if ahead_seconds is None else ahead_seconds)
    at = max(now + ahead, flow.at)
    left = max(flow.owed_bytes - (at - flow.at) * bytes_per_second, -_CREDIT_SECONDS * bytes_per_second)
    owed = left + size_bytes
    return Booking(
        flow=Flow(owed_bytes=owed, at=at), wait_seconds=max(0.0, owed / bytes_per_second), ahead_seconds=ahead
    )


def look_again(
    earlier: Sighting | None,
    beats: Mapping[str, str | None],
    *,
    asked_at: float,
    answered_at: float,
    lease_seconds: float,
) -> Sighting:
    """Take up what workers say now.

    Args:
        earlier: the last look; None for the first.
        beats: what each worker says; None for one that says nothing.
        asked_at: when it was asked, by this process's clock.
        answered_at: when the answer came.
        lease_seconds: for how long a worker can say nothing and live.

    >>> sighting = look_again(None, {"one": "7"}, asked_at=0, answered_at=1, lease_seconds=30)
    >>> look_again(sighting, {"one": "7", "two": "3"}, asked_at=9, answered_at=10, lease_seconds=30).beats
    {'one': ('7', 1), 'two': ('3', 10)}
    """
    known: Mapping[str, tuple[str | None, float]] = {}
    # Nothing is known of a time in which the service did not answer: the workers could say nothing either.
    if earlier is not None and answered_at - earlier.asked_at <= lease_seconds / _GAPS:
        known = earlier.beats
    seen: dict[str, tuple[str | None, float]] = {}
    for worker, beat in beats.items():
        same = worker in known and known[worker][0] == beat
        seen[worker] = known[worker] if same else (beat, answered_at)
    return Sighting(asked_at=asked_at, beats=seen)


def are_silent(sighting: Sighting, *, lease_seconds: float) -> frozenset[str]:
    """Give the workers that said the same for a whole lease: they are dead.

    >>> sighting = Sighting(asked_at=40, beats={"one": ("7", 10), "two": ("3", 11)})
    >>> are_silent(sighting, lease_seconds=30)
    frozenset({'one'})
    """
    return frozenset(
        worker for worker, (_, since) in sighting.beats.items() if sighting.asked_at - since >= lease_seconds
    )


def decide_slot(facts: SlotFacts) -> SlotDecision:
    """Say whether a worker may attach a volume now.

    >>> facts = SlotFacts(backend="host@fast", worker="one", listed=True, holders=("one", "two"), most=2)
    >>> decision = decide_slot(facts)
    >>> decision.allowed, decision.verdicts[-1].text
    (False, 'all workers together have 2 attachments of host@fast, of 2 at most')
    """
    return SlotDecision(verdicts=evaluate(SLOT_RULES[Policy.STRICT], facts, subject=facts.backend))


def _ensure_rate(bytes_per_second: float) -> None:
    if not 1 <= bytes_per_second < math.inf:
        raise InvalidFact("bytes_per_second", f"is {bytes_per_second}: give 1 or more, or None for no limit")


def _listed(facts: SlotFacts) -> tuple[bool, str]:
    return facts.listed, f"worker {said(facts.worker)} is {'' if facts.listed else 'not '}listed"


def _left(facts: SlotFacts) -> tuple[bool, str]:
    if facts.most is None:
        return True, f"{said(facts.backend)} has no limit of attachments"
    there = sum(holder not in facts.dead for holder in facts.holders)
    text = f"all workers together have {amount(there, 'attachment')} of {said(facts.backend)}, of {facts.most} at most"
    return there < facts.most, text


SLOT_RULES: Mapping[Policy, tuple[Requirement[SlotFacts], ...]] = {
    Policy.STRICT: (
        Requirement(
            id="attacher-listed",
            text="the worker is listed, so that others see when it is dead",
            source="imagevol",
            holds=_listed,
        ),
        Requirement(
            id="attachments-left",
            text="all workers together have fewer attachments of the backend than its limit",
            source="imagevol",
            holds=_left,
        ),
    )
}
