"""Whether a volume that Cinder refuses to attach is worth waiting for, and for how long ([store]).

A volume that is not multiattach serves one attachment at a time, and one of any type is reserved for a moment while it
is attached or detached.  Such refusals pass.  Others last until a person acts: to wait for them delays the error only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from imagevol_core.errors import InvalidFact
from imagevol_core.facts import Volume
from imagevol_core.sentences import said
from imagevol_core.verdicts import Choice, Policy, Verdict, first_match, table_of

__all__ = ["ATTACH_RULES", "AttachRetry", "decide_attach_retry", "patience_seconds"]

_GROWING_PAUSES_SECONDS = (2.0, 4.0, 8.0)
_LONGEST_PAUSE_SECONDS = 10.0  # glance_store's `wait_exponential_max`
_FOR_EVER = 10**12  # of these pauses; a number that a float holds
_LEAVING = frozenset({"deleting"})
_HELD = frozenset({"maintenance", "awaiting-transfer"})  # an administrator, or another project, ends these


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachRetry:
    """Whether to ask again after Cinder refused an attachment.

    Attributes:
        again: whether to ask again.
        verdicts: each rule that was looked at, up to the one that applies.
    """

    again: bool
    verdicts: tuple[Verdict, ...]


def decide_attach_retry(volume: Volume, *, policy: Policy = Policy.STRICT) -> AttachRetry:
    """Say whether to ask again for an attachment that Cinder has just refused ([store]).

    Args:
        volume: as Cinder shows it after the refusal; it may be free again by then.
        policy: whose rules.  Under `UPSTREAM`, those of glance_store 5.7.0, which also waits for a volume that is
            being deleted.

    >>> decide_attach_retry(Volume(id="7ad3", size_gib=1, status="in-use")).again
    True
    >>> decision = decide_attach_retry(Volume(id="7ad3", size_gib=1, status="deleting"))
    >>> decision.again, decision.verdicts[-1].text
    (False, 'its status is deleting')
    """
    again, verdicts = first_match(table_of(ATTACH_RULES, policy), volume, subject=volume.id)
    return AttachRetry(again=again, verdicts=verdicts)


def patience_seconds(attempts: int) -> float:
    """Give the seconds for which glance_store 5.7.0 asks for an attachment with that many attempts.

    It pauses for 2, 4, 8 seconds and then always for 10.

    Args:
        attempts: the value of its option `cinder_attachment_retry_attempts`, 1 or more.

    Raises:
        InvalidFact: there are fewer attempts than 1.

    >>> [patience_seconds(attempts) for attempts in (1, 2, 5, 6)]
    [0.0, 2.0, 24.0, 34.0]
    """
    if attempts < 1:
        raise InvalidFact("attempts", f"is {attempts}: give 1 or more")
    growing = _GROWING_PAUSES_SECONDS[: attempts - 1]
    longest = min(attempts - 1 - len(growing), _FOR_EVER)
    return sum(growing) + longest * _LONGEST_PAUSE_SECONDS


def _in_error(volume: Volume) -> tuple[bool, str]:
    return str(volume.status).startswith("error"), _status(volume)


def _being_deleted(volume: Volume) -> tuple[bool, str]:
    return volume.status in _LEAVING, _status(volume)


def _held(volume: Volume) -> tuple[bool, str]:
    return volume.status in _HELD, _status(volume)


def _otherwise(volume: Volume) -> tuple[bool, str]:
    return True, _status(volume)


def _status(volume: Volume) -> str:
    return f"its status is {said(volume.status)}"


_SPEC = "[store]"
_RETRY = "glance_store.common.cinder_utils._retry_on_bad_request"

ATTACH_RULES: Mapping[Policy, tuple[Choice[Volume, bool], ...]] = {
    Policy.STRICT: (
        Choice(id="in-error", text="give up: the volume failed", source=_SPEC, applies=_in_error, outcome=False),
        Choice(
            id="being-deleted",
            text="give up: the volume is being deleted",
            source=_SPEC,
            applies=_being_deleted,
            outcome=False,
        ),
        Choice(id="held", text="give up: a person must release the volume", source=_SPEC, applies=_held, outcome=False),
        Choice(
            id="passing",
            text="ask again: the volume is attached, or Cinder is changing it",
            source=_SPEC,
            applies=_otherwise,
            outcome=True,
        ),
    ),
    Policy.UPSTREAM: (
        Choice(id="in-error", text="give up: the volume failed", source=_RETRY, applies=_in_error, outcome=False),
        Choice(
            id="passing",
            text="ask again: whatever the volume's status is",
            source=_RETRY,
            applies=_otherwise,
            outcome=True,
        ),
    ),
}
