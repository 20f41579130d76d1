"""Whether a read that broke off is asked for again, and when ([store]).

A service that is restarted, or a proxy that cuts connections, is back in a moment.  The rest of the data is then asked
for as a part, from the first byte that did not come.  A refusal stays one, and a service that gives no bytes for
a while is not asked for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from imagevol_core.resuming.pauses import asks_to_wait, asks_too_long, pause_seconds
from imagevol_core.sentences import amount, duration, said
from imagevol_core.verdicts import Choice, Policy, Verdict, first_match, table_of

__all__ = ["RETRY_RULES", "BrokenRead", "ReadRetry", "RetryOutcome", "decide_read_retry"]

_REFUSALS = range(400, 500)
_PASSING = (408, 425, 429)  # of the refusals: the same request may be answered later


class RetryOutcome(Enum):
    """What to do after a read broke off: `GIVE_UP`, `WAIT_AS_ASKED` by the service, or `BACK_OFF` for a moment."""

    GIVE_UP = "give-up"
    WAIT_AS_ASKED = "wait-as-asked"
    BACK_OFF = "back-off"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenRead:
    """A read from a service that ended before its last byte.

    Args:
        begun: whether any data came before.
        failures: how many attempts have failed since the last byte came, this one among them.
        waited_seconds: how long ago the last byte came.
        status: the HTTP status by which the service refused; None if the connection broke.
        retry_after_seconds: how long the service asks to wait; None if it does not say.
        ranges: whether the service gives a part of the data; None if it was not asked for one.
        patience_seconds: how long to ask without a byte coming.
    """

    begun: bool = True
    failures: int
    waited_seconds: float
    status: int | None = None
    retry_after_seconds: float | None = None
    ranges: bool | None = None
    patience_seconds: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRetry:
    """Whether to ask for the rest.

    Attributes:
        again: whether to ask.
        wait_seconds: how long to wait before that.
        verdicts: each rule that was looked at, up to the one that applies.
    """

    again: bool
    wait_seconds: float
    verdicts: tuple[Verdict, ...]

    @property
    def reason(self) -> str:
        """Why, as a sentence."""
        return self.verdicts[-1].text


def decide_read_retry(broken: BrokenRead, *, policy: Policy = Policy.STRICT) -> ReadRetry:
    """Say whether the rest of the data is asked for after a read broke off, and when ([store]).

    Args:
        broken: what is known of the read.
        policy: whose rules.  Under `UPSTREAM`, those of python-glanceclient 4.13, which never asks again.

    >>> decide_read_retry(BrokenRead(failures=3, waited_seconds=1.5)).wait_seconds
    2.0
    >>> decide_read_retry(BrokenRead(failures=1, waited_seconds=0, status=503, retry_after_seconds=7)).wait_seconds
    7
    >>> gone = decide_read_retry(BrokenRead(failures=1, waited_seconds=0, status=404))
    >>> gone.again, gone.reason
    (False, 'the service answered 404')
    """
    outcome, verdicts = first_match(table_of(RETRY_RULES, policy), broken)
    waits = {
        RetryOutcome.GIVE_UP: 0.0,
        RetryOutcome.WAIT_AS_ASKED: broken.retry_after_seconds or 0.0,
        RetryOutcome.BACK_OFF: pause_seconds(broken.failures),
    }
    return ReadRetry(again=outcome is not RetryOutcome.GIVE_UP, wait_seconds=waits[outcome], verdicts=verdicts)


def _no_ranges(broken: BrokenRead) -> tuple[bool, str]:
    if broken.ranges is False:
        return True, "the service gives no part of the data"
    return False, "the service gives a part of the data, or was not asked for one"


def _refused(broken: BrokenRead) -> tuple[bool, str]:
    refused = broken.status in _REFUSALS and broken.status not in _PASSING
    return refused, _answered(broken)


def _no_progress(broken: BrokenRead) -> tuple[bool, str]:
    over = broken.waited_seconds >= broken.patience_seconds
    return over, f"no data came for {duration(broken.waited_seconds)}, in {amount(broken.failures, 'attempt')}"


def _not_begun(broken: BrokenRead) -> tuple[bool, str]:
    return not broken.begun, f"{_answered(broken)}, {'after data' if broken.begun else 'before any data'} came"


def _otherwise(broken: BrokenRead) -> tuple[bool, str]:
    return True, _answered(broken)


def _answered(broken: BrokenRead) -> str:
    return "the connection broke" if broken.status is None else f"the service answered {said(broken.status)}"


_SPEC = "[store]"

RETRY_RULES: Mapping[Policy, tuple[Choice[BrokenRead, RetryOutcome], ...]] = {
    Policy.STRICT: (
        Choice(
            id="no-ranges",
            text="give up: the service gives no part of the data",
            source=_SPEC,
            applies=_no_ranges,
            outcome=RetryOutcome.GIVE_UP,
        ),
        Choice(
            id="refused",
            text="give up: the service refuses",
            source=_SPEC,
            applies=_refused,
            outcome=RetryOutcome.GIVE_UP,
        ),
        Choice(
            id="no-progress",
            text="give up: no data came for too long",
            source=_SPEC,
            applies=_no_progress,
            outcome=RetryOutcome.GIVE_UP,
        ),
        Choice(
            id="asks-too-long",
            text="give up: the service asks to wait for too long",
            source=_SPEC,
            applies=asks_too_long,
            outcome=RetryOutcome.GIVE_UP,
        ),
        Choice(
            id="asks-to-wait",
            text="ask again, after the time that the service names in Retry-After",
            source=_SPEC,
            applies=asks_to_wait,
            outcome=RetryOutcome.WAIT_AS_ASKED,
        ),
        Choice(
            id="not-begun",
            text="give up: the service was not reached at all",
            source=_SPEC,
            applies=_not_begun,
            outcome=RetryOutcome.GIVE_UP,
        ),
        Choice(
            id="passing",
            text="ask again, after a pause that grows with each failure",
            source=_SPEC,
            applies=_otherwise,
            outcome=RetryOutcome.BACK_OFF,
        ),
    ),
    Policy.UPSTREAM: (
        Choice(
            id="never-again",
            text="give up: a read is not asked for again",
            source="glanceclient.v2.images.Controller.data",
            applies=_otherwise,
            outcome=RetryOutcome.GIVE_UP,
        ),
    ),
}
