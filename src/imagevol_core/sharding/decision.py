"""What a worker may take, whether it still has it, and what becomes of a shard after each attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from imagevol_core.sentences import said
from imagevol_core.sharding.facts import (
    MOST_IN_USE,
    AttemptFacts,
    ClaimFacts,
    LeaseFacts,
    LeaseState,
    ShardNext,
    ShardRecord,
    ShardState,
)
from imagevol_core.sharding.rules import ATTEMPT_RULES, CLAIMING_RULES, LEASE_RULES
from imagevol_core.verdicts import Policy, Verdict, evaluate, first_match

__all__ = [
    "AttemptDecision",
    "ClaimDecision",
    "LeaseDecision",
    "begin_attempt",
    "decide_attempt",
    "decide_claim",
    "decide_lease",
    "end_attempt",
    "try_again",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimDecision:
    """Whether a worker may try to take a shard.

    Attributes:
        verdicts: what each rule says.
    """

    verdicts: tuple[Verdict, ...]

    @property
    def allowed(self) -> bool:
        """Whether nothing stands in the way; another worker may still hold the shard's lock."""
        return all(verdict.ok for verdict in self.verdicts)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptDecision:
    """What follows after an attempt that did not complete its shard.

    Attributes:
        next: whether it is tried again.
        verdicts: each rule that was looked at, up to the one that applies.
    """

    next: ShardNext
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseDecision:
    """Whether a worker still has its shard.

    Attributes:
        state: held or lost.
        verdicts: each rule that was looked at, up to the one that applies.
    """

    state: LeaseState
    verdicts: tuple[Verdict, ...]


def decide_claim(facts: ClaimFacts) -> ClaimDecision:
    """Say whether a worker may try to take a shard.

    >>> from imagevol_core.sharding.facts import Shard, Worker
    >>> shard = Shard(job="audit", id="7ad3", kind="deep", needs=frozenset({"host@fast"}))
    >>> worker = Worker(name="one", kinds=frozenset({"deep"}), backends=frozenset({"host@slow"}))
    >>> decision = decide_claim(ClaimFacts(record=ShardRecord(shard=shard), worker=worker))
    >>> decision.allowed, [each.text for each in decision.verdicts if not each.ok]
    (False, ["the host cannot attach volumes of 'host@fast'"])
    """
    return ClaimDecision(verdicts=evaluate(CLAIMING_RULES[Policy.STRICT], facts, subject=facts.record.shard.id))


def decide_attempt(facts: AttemptFacts) -> AttemptDecision:
    """Say whether a shard is tried again after an attempt that did not complete it.

    >>> decide_attempt(AttemptFacts(failures=3, most_failures=3, given_back=False, reason="no answer")).next
    <ShardNext.SET_ASIDE: 'set-aside'>
    """
    outcome, verdicts = first_match(ATTEMPT_RULES[Policy.STRICT], facts)
    return AttemptDecision(next=outcome, verdicts=verdicts)


def decide_lease(facts: LeaseFacts) -> LeaseDecision:
    """Say whether a worker still has its shard.

    >>> decide_lease(LeaseFacts(attempt=1, lock_held=True, record=None)).verdicts[-1].text
    'the shard was withdrawn'
    """
    outcome, verdicts = first_match(LEASE_RULES[Policy.STRICT], facts)
    return LeaseDecision(state=outcome, verdicts=verdicts)


def begin_attempt(record: ShardRecord, *, holder: str, most_failures: int, host: str | None = None) -> ShardRecord:
    """Give the record of a shard that a worker takes; it is set aside if too many workers ended while they had it.

    Args:
        record: of an open shard whose lock the worker holds.
        holder: the name of the worker.
        most_failures: at how many failed attempts a shard is set aside.
        host: the name of its host; None if that is not known.

    >>> from imagevol_core.sharding.facts import Shard
    >>> record = ShardRecord(shard=Shard(job="audit", id="7ad3", kind="deep"), holder="dead", failures=2)
    >>> begun = begin_attempt(record, holder="one", most_failures=3)
    >>> begun.state.value, begun.reason
    ('set-aside', '3 attempts failed, and no other is made: worker dead ended while it had the shard')
    """
    if record.holder is not None:
        why = f"worker {said(record.holder)} ended while it had the shard"
        record = _after(replace(record, left_on=record.host), why, most_failures=most_failures)
    if record.state is ShardState.SET_ASIDE:
        return record
    return replace(record, attempt=record.attempt + 1, holder=holder, host=host)


def end_attempt(
    record: ShardRecord,
    *,
    outcome: Mapping[str, Any] | None = None,
    reason: str | None = None,
    most_failures: int,
    is_in_use: bool = False,
    most_in_use: int = MOST_IN_USE,
) -> ShardRecord:
    """Give the record of a shard after an attempt.

    Args:
        record: as it is while the worker has the shard.
        outcome: what was found, if the shard is done.
        reason: why the attempt failed.  Without an outcome and a reason, the worker gave the shard back.
        most_failures: at how many failed attempts a shard is set aside.
        is_in_use: whether the reason is that the volume is in use; then the attempt did not fail.
        most_in_use: at how many such attempts a shard is set aside.

    >>> from imagevol_core.sharding.facts import Shard
    >>> record = ShardRecord(shard=Shard(job="audit", id="7ad3", kind="deep"), attempt=1, holder="one")
    >>> end_attempt(record, outcome={"digest": "ab"}, most_failures=3).state
    <ShardState.DONE: 'done'>
    >>> end_attempt(record, reason="no answer", most_failures=3).failures
    1
    >>> busy = end_attempt(record, reason="it is in use", most_failures=3, is_in_use=True)
    >>> busy.failures, busy.in_use
    (0, 1)
    """
    if outcome is not None:
        return replace(record, state=ShardState.DONE, holder=None, outcome=outcome, reason=None)
    is_in_use = is_in_use and reason is not None
    if is_in_use and record.host == record.left_on:
        record = replace(record, left_on=None)  # its own host cannot take the volume back
    return _after(record, reason, most_failures=most_failures, is_in_use=is_in_use, most_in_use=most_in_use)


def try_again(record: ShardRecord) -> ShardRecord:
    """Give the record of a shard that was set aside and that an operator wants tried again.

    >>> from imagevol_core.sharding.facts import Shard
    >>> aside = ShardRecord(shard=Shard(job="a", id="b", kind="deep"), state=ShardState.SET_ASIDE, failures=3)
    >>> try_again(aside).state, try_again(aside).failures
    (<ShardState.OPEN: 'open'>, 0)
    """
    if record.state is not ShardState.SET_ASIDE:
        return record
    return replace(record, state=ShardState.OPEN, failures=0, in_use=0, holder=None, reason=None)


def _after(
    record: ShardRecord,
    why: str | None,
    *,
    most_failures: int,
    is_in_use: bool = False,
    most_in_use: int = MOST_IN_USE,
) -> ShardRecord:
    """Give the record after an attempt that failed, or found the volume in use; without a reason it was given back."""
    failures, in_use = record.failures + (why is not None and not is_in_use), record.in_use + is_in_use
    facts = AttemptFacts(
        failures=failures,
        most_failures=most_failures,
        given_back=why is None,
        reason=why,
        is_in_use=is_in_use,
        in_use=in_use,
        most_in_use=most_in_use,
    )
    decision = decide_attempt(facts)
    state = record.state if decision.next is ShardNext.AGAIN else ShardState.SET_ASIDE
    is_first = (in_use if is_in_use else failures) == 1
    reason = record.reason if why is None else why if is_first else decision.verdicts[-1].text
    return replace(record, state=state, failures=failures, in_use=in_use, holder=None, reason=reason)
