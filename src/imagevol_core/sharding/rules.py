"""Which worker takes a shard, when its lease is lost, and when a shard is set aside."""

from __future__ import annotations

from collections.abc import Mapping

from imagevol_core.sentences import amount, duration, listed, quoted, said
from imagevol_core.sharding.facts import AttemptFacts, ClaimFacts, LeaseFacts, LeaseState, ShardNext, ShardState
from imagevol_core.verdicts import Choice, Policy, Requirement

__all__ = ["ATTEMPT_RULES", "CLAIMING_RULES", "LEASE_RULES", "pause_seconds"]

_OURS = "imagevol"
_FIRST_PAUSE_SECONDS = 30.0
_LONGEST_PAUSE_SECONDS = 600.0
_DOUBLINGS = 5  # after which the pause is the longest


def pause_seconds(in_use: int) -> float:
    """Give how long a shard is left alone after an attempt that found its volume in use.

    Args:
        in_use: how many attempts have found it in use; 0 for no pause.

    >>> [pause_seconds(count) for count in (0, 1, 2, 5, 6, 10)]
    [0.0, 30.0, 60.0, 480.0, 600.0, 600.0]
    """
    if in_use < 1:
        return 0.0
    # Any program can write the number, and a power of it would not fit into the memory.
    return min(_FIRST_PAUSE_SECONDS * 2.0 ** min(in_use - 1, _DOUBLINGS), _LONGEST_PAUSE_SECONDS)


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


def _rested(facts: ClaimFacts) -> tuple[bool, str]:
    record, host = facts.record, facts.host
    if not record.in_use:
        return True, "no attempt found the volume in use"
    if host is not None and host == record.left_on:
        return True, f"the volume is in use, and a worker that ended on this host, {said(host)}, may have it attached"
    pause = pause_seconds(record.in_use)
    rested = facts.unchanged_seconds >= pause
    over = "is over" if rested else "is not over"
    return rested, f"{_found_in_use(record.in_use)}, and the pause of {duration(pause)} {over}"


def _given_back(facts: AttemptFacts) -> tuple[bool, str]:
    return facts.given_back, "the worker gave it back" if facts.given_back else _failed(facts)


def _in_use_again(facts: AttemptFacts) -> tuple[bool, str]:
    return facts.is_in_use and facts.in_use < facts.most_in_use, _in_use(facts)


def _in_use_too_long(facts: AttemptFacts) -> tuple[bool, str]:
    if not facts.is_in_use:
        return False, _in_use(facts)
    return True, f"{_found_in_use(facts.in_use)}, and no other is made: {said(facts.reason)}"


def _in_use(facts: AttemptFacts) -> str:
    if not facts.is_in_use:
        return "the attempt did not find the volume in use"
    return f"{_found_in_use(facts.in_use)}, of {facts.most_in_use} at most: {said(facts.reason)}"


def _found_in_use(attempts: int) -> str:
    return f"{amount(attempts, 'attempt')} found the volume in use"


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
            text="if a worker names the backends that its host can attach, it names each one that the shard needs",
            source=_OURS,
            holds=_attaches,
        ),
        Requirement(
            id="volume-rested",
            text="a volume that was in use is tried again after a pause, or at once on the host that may have left it "
            "attached",
            source=_OURS,
            holds=_rested,
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
            id="in-use-again",
            text="try it again after a pause: the volume is in use, which is no failure of the shard",
            source=_OURS,
            applies=_in_use_again,
            outcome=ShardNext.AGAIN,
        ),
        Choice(
            id="in-use-too-long",
            text="set it aside: as many attempts as the limit found the volume in use",
            source=_OURS,
            applies=_in_use_too_long,
            outcome=ShardNext.SET_ASIDE,
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
