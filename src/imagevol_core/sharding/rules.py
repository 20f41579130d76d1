"""Which worker takes a shard, when its lease is lost, and when a shard is set aside."""

from __future__ import annotations

from collections.abc import Mapping

from imagevol_core.sentences import amount, listed, quoted, said
from imagevol_core.sharding.facts import AttemptFacts, ClaimFacts, LeaseFacts, LeaseState, ShardNext, ShardState
from imagevol_core.verdicts import Choice, Policy, Requirement

__all__ = ["ATTEMPT_RULES", "CLAIMING_RULES", "LEASE_RULES"]

_OURS = "imagevol"


def _open(facts: ClaimFacts) -> tuple[bool, str]:
    state = facts.record.state
    return state is ShardState.OPEN, f"the shard is {state.value}"


def _kind(facts: ClaimFacts) -> tuple[bool, str]:
    kind, known = facts.record.shard.kind, facts.worker.kinds
    if kind in known:
        return True, f"the worker does work of kind {quoted(kind)}"
    return False, f"the shard is of kind {quoted(kind)}, and the worker does {listed(sorted(known))}"


def _attaches(facts: ClaimFacts) -> tuple[bool, str]:
    needs, backends = facts.record.shard.needs, facts.worker.backends
    if not needs:
        return True, "the shard needs no backend"
    if backends is None:
        return True, "the worker does not say which backends its host can attach, so it tries all"
    if missing := needs - backends:
        return False, f"the host cannot attach volumes of {listed(sorted(missing))}"
    return True, f"the host can attach volumes of {listed(sorted(needs))}"


def _given_back(facts: AttemptFacts) -> tuple[bool, str]:
    return facts.given_back, "the worker gave it back" if facts.given_back else _failed(facts)


def _failures_left(facts: AttemptFacts) -> tuple[bool, str]:
    return facts.failures < facts.most_failures, _failed(facts)


def _failures_used(facts: AttemptFacts) -> tuple[bool, str]:
    return True, f"{amount(facts.failures, 'attempt')} failed, and no other is made: {said(facts.reason)}"


def _failed(facts: AttemptFacts) -> str:
    return f"{amount(facts.failures, 'attempt')} failed, of {facts.most_failures} at most: {said(facts.reason)}"


def _lock_lost(facts: LeaseFacts) -> tuple[bool, str]:
    held = "still says" if facts.lock_held else "does not say any more"
    return not facts.lock_held, f"the lock service {held} that the worker holds the lock"


def _withdrawn(facts: LeaseFacts) -> tuple[bool, str]:
    gone = facts.record is None
    return gone, "the shard was withdrawn" if gone else "the shard is on the board"


def _ended(facts: LeaseFacts) -> tuple[bool, str]:
    state = facts.record.state if facts.record else ShardState.OPEN
    return state is not ShardState.OPEN, f"the shard is {state.value}"


def _claimed_again(facts: LeaseFacts) -> tuple[bool, str]:
    latest = facts.record.attempt if facts.record else facts.attempt
    return latest != facts.attempt, f"this is attempt {facts.attempt}, and the latest one is {latest}"


def _held(facts: LeaseFacts) -> tuple[bool, str]:
    return True, f"attempt {facts.attempt} has the shard"


CLAIMING_RULES: Mapping[Policy, tuple[Requirement[ClaimFacts], ...]] = {
    Policy.STRICT: (
        Requirement(id="shard-open", text="the shard is not done and not set aside", source=_OURS, holds=_open),
        Requirement(id="worker-does-kind", text="the worker can do this kind of work", source=_OURS, holds=_kind),
        Requirement(
            id="worker-attaches",
            text="a worker that says which backends its host can attach says each that the shard needs",
            source=_OURS,
            holds=_attaches,
        ),
    )
}

ATTEMPT_RULES: Mapping[Policy, tuple[Choice[AttemptFacts, ShardNext], ...]] = {
    Policy.STRICT: (
        Choice(
            id="given-back",
            text="try it again: the worker was told to end, and the attempt does not count",
            source=_OURS,
            applies=_given_back,
            outcome=ShardNext.AGAIN,
        ),
        Choice(
            id="failures-left",
            text="try it again: fewer attempts than the limit failed",
            source=_OURS,
            applies=_failures_left,
            outcome=ShardNext.AGAIN,
        ),
        Choice(
            id="failures-used",
            text="set it aside: as many attempts as the limit failed",
            source=_OURS,
            applies=_failures_used,
            outcome=ShardNext.SET_ASIDE,
        ),
    )
}

LEASE_RULES: Mapping[Policy, tuple[Choice[LeaseFacts, LeaseState], ...]] = {
    Policy.STRICT: (
        Choice(
            id="lease-lock-lost",
            text="lost: the lock service gave up the lock",
            source=_OURS,
            applies=_lock_lost,
            outcome=LeaseState.LOST,
        ),
        Choice(
            id="shard-withdrawn",
            text="lost: the shard is not on the board any more",
            source=_OURS,
            applies=_withdrawn,
            outcome=LeaseState.LOST,
        ),
        Choice(
            id="shard-ended",
            text="lost: another attempt ended the shard",
            source=_OURS,
            applies=_ended,
            outcome=LeaseState.LOST,
        ),
        Choice(
            id="claimed-again",
            text="lost: another worker has claimed the shard since",
            source=_OURS,
            applies=_claimed_again,
            outcome=LeaseState.LOST,
        ),
        Choice(
            id="lease-held",
            text="held: no other worker has the shard",
            source=_OURS,
            applies=_held,
            outcome=LeaseState.HELD,
        ),
    )
}
