"""Whether a request to a service that failed is sent again, and when ([store]).

A service that is restarted, a proxy that cuts a connection or a limit on requests passes in a moment.  A request that
the service has surely not carried out is sent again, and so is one that does the same if it is carried out twice.  Of
any other request the caller looks up what the service has done with it: sent again, it could create a second volume.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from imagevol_core.resuming.pauses import asks_to_wait, asks_too_long, pause_seconds
from imagevol_core.sentences import amount, duration, said
from imagevol_core.verdicts import Choice, Policy, Verdict, first_match, table_of

__all__ = ["REPEAT_RULES", "FailedRequest", "RepeatOutcome", "RequestRepeat", "decide_request_repeat"]

_FAILURES = (500, 502, 503, 504)  # of the service, and of a proxy before it
_NOT_DONE = (408, 425, 429)  # the service has not begun to carry it out
_FAILED_INSIDE, _TWICE = 500, 2  # by a defect, and not because it is restarted: it would fail each time
_TOO_LARGE = 413  # with a time to wait: too many requests, of old services; without one, it is for good
_GONE = 404
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_SAME_TWICE = frozenset({"PUT", "DELETE"})
# What sets a value, or gives a token beside another one.
_SAME_TWICE_BY_PATH = re.compile(r"/auth/tokens|/volumes/[^/]+/metadata|/images/[^/]+/actions/(de|re)activate")
_SAME_TWICE_BY_ACTION = frozenset({"os-update_readonly_flag", "os-complete"})


class RepeatOutcome(Enum):
    """What to do: `GIVE_UP`, `DONE` before, `WAIT_AS_ASKED` by the service, or `BACK_OFF` for a moment."""

    GIVE_UP = "give-up"
    DONE = "done"
    WAIT_AS_ASKED = "wait-as-asked"
    BACK_OFF = "back-off"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRequest:
    """A request that a service refused, or did not answer.

    Args:
        method: of HTTP.
        path: of the URL.
        action: the name of the action in the body, if the request is one.
        failures: how many times it was sent in vain, this time among them.
        attempts: how many times it is sent at most.
        waited_seconds: how long ago it was sent first.
        patience_seconds: for how long it is sent again.
        arrived: whether the service may have received it; False if there was no connection.
        status: the HTTP status of the answer; None if no answer came, or one that cannot be read.
        retry_after_seconds: how long the service asks to wait; None if it does not say.
        replayable: whether its data can be sent again.
    """

    method: str
    path: str
    action: str | None = None
    failures: int = 1
    attempts: int = 5
    waited_seconds: float = 0.0
    patience_seconds: float = 60.0
    arrived: bool = True
    status: int | None = None
    retry_after_seconds: float | None = None
    replayable: bool = True

    @property
    def same_twice(self) -> bool:
        """Whether it does the same if it is carried out twice."""
        return (
            self.method in _READING
            or self.method in _SAME_TWICE
            or bool(_SAME_TWICE_BY_PATH.search(self.path))
            or self.action in _SAME_TWICE_BY_ACTION
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRepeat:
    """Whether to send a request again.

    Attributes:
        again: whether to send it.
        done: whether an earlier attempt has done what was asked for.
        wait_seconds: how long to wait before it is sent.
        verdicts: each rule that was looked at, up to the one that applies.
    """

    again: bool
    done: bool
    wait_seconds: float
    verdicts: tuple[Verdict, ...]

    @property
    def reason(self) -> str:
        """Why, as a sentence."""
        return self.verdicts[-1].text


def decide_request_repeat(failed: FailedRequest, *, policy: Policy = Policy.STRICT) -> RequestRepeat:
    """Say whether a request that failed is sent again, and when ([store]).

    Args:
        failed: what is known of the request.
        policy: whose rules.  Under `UPSTREAM`, those of keystoneauth 5.18 with `connect_retries`, which sends any
            request again that got no answer, so that Cinder may create two volumes.

    >>> decide_request_repeat(FailedRequest(method="GET", path="/v3/volumes/7ad3", status=503)).wait_seconds
    0.5
    >>> lost = decide_request_repeat(FailedRequest(method="POST", path="/v3/volumes"))
    >>> lost.again, lost.reason
    (False, 'no answer came, and POST could do it twice')
    >>> decide_request_repeat(FailedRequest(method="POST", path="/v3/volumes", status=429, retry_after_seconds=7)).again
    True
    """
    outcome, verdicts = first_match(table_of(REPEAT_RULES, policy), failed)
    waits = {
        RepeatOutcome.WAIT_AS_ASKED: failed.retry_after_seconds or 0.0,
        RepeatOutcome.BACK_OFF: pause_seconds(failed.failures),
    }
    return RequestRepeat(
        again=outcome in waits,
        done=outcome is RepeatOutcome.DONE,
        wait_seconds=waits.get(outcome, 0.0),
        verdicts=verdicts,
    )


def _gone(failed: FailedRequest) -> tuple[bool, str]:
    gone = failed.method == "DELETE" and failed.status == _GONE and failed.failures > 1
    return gone, f"{_answered(failed)} to {failed.method}, in {amount(failed.failures, 'attempt')}"


def _refused(failed: FailedRequest) -> tuple[bool, str]:
    refused = failed.status not in (None, *_FAILURES, *_NOT_DONE) and not _is_limit(failed)
    return refused, _answered(failed)


def _data_gone(failed: FailedRequest) -> tuple[bool, str]:
    can = "can" if failed.replayable else "cannot"
    return not failed.replayable, f"{_answered(failed)}, and the data {can} be sent again"


def _often_enough(failed: FailedRequest) -> tuple[bool, str]:
    return failed.failures >= failed.attempts, f"{_answered(failed)}, in {amount(failed.failures, 'attempt')}"


def _failed_twice(failed: FailedRequest) -> tuple[bool, str]:
    twice = failed.status == _FAILED_INSIDE and failed.failures >= _TWICE
    return twice, f"{_answered(failed)}, in {amount(failed.failures, 'attempt')}"


def _long_enough(failed: FailedRequest) -> tuple[bool, str]:
    over = failed.waited_seconds >= failed.patience_seconds
    return over, f"{_answered(failed)}, for {duration(failed.waited_seconds)}"


def _could_be_done(failed: FailedRequest) -> tuple[bool, str]:
    surely_not = not failed.arrived or failed.status in _NOT_DONE or _is_limit(failed)
    twice = "does the same twice" if failed.same_twice else "could do it twice"
    return not surely_not and not failed.same_twice, f"{_answered(failed)}, and {said(failed.method)} {twice}"


def _otherwise(failed: FailedRequest) -> tuple[bool, str]:
    return True, _answered(failed)


def _has_answer(failed: FailedRequest) -> tuple[bool, str]:
    return failed.status is not None, _answered(failed)


def _is_limit(failed: FailedRequest) -> bool:
    return failed.status == _TOO_LARGE and bool(failed.retry_after_seconds)


def _answered(failed: FailedRequest) -> str:
    if not failed.arrived:
        return "there was no connection"
    return "no answer came" if failed.status is None else f"the service answered {said(failed.status)}"


_SPEC = "[store]"

REPEAT_RULES: Mapping[Policy, tuple[Choice[FailedRequest, RepeatOutcome], ...]] = {
    Policy.STRICT: (
        Choice(
            id="deleted-before",
            text="it is done: an earlier attempt has deleted it",
            source=_SPEC,
            applies=_gone,
            outcome=RepeatOutcome.DONE,
        ),
        Choice(
            id="request-refused",
            text="give up: the service refuses",
            source=_SPEC,
            applies=_refused,
            outcome=RepeatOutcome.GIVE_UP,
        ),
        Choice(
            id="data-gone",
            text="give up: the data of the request cannot be sent again",
            source=_SPEC,
            applies=_data_gone,
            outcome=RepeatOutcome.GIVE_UP,
        ),
        Choice(
            id="could-be-done",
            text="give up, and look up what the service has done: the request could do it twice",
            source=_SPEC,
            applies=_could_be_done,
            outcome=RepeatOutcome.GIVE_UP,
        ),
        Choice(
            id="often-enough",
            text="give up: it was sent often enough",
            source=_SPEC,
            applies=_often_enough,
            outcome=RepeatOutcome.GIVE_UP,
        ),
        Choice(
            id="failed-twice",
            text="give up: the service failed at it twice",
            source=_SPEC,
            applies=_failed_twice,
            outcome=RepeatOutcome.GIVE_UP,
        ),
        Choice(
            id="long-enough",
            text="give up: it was sent for long enough",
            source=_SPEC,
            applies=_long_enough,
            outcome=RepeatOutcome.GIVE_UP,
        ),
        Choice(
            id="pause-too-long",
            text="give up: the service asks to wait for too long",
            source=_SPEC,
            applies=asks_too_long,
            outcome=RepeatOutcome.GIVE_UP,
        ),
        Choice(
            id="pause-as-asked",
            text="send it again, after the time that the service names in Retry-After",
            source=_SPEC,
            applies=asks_to_wait,
            outcome=RepeatOutcome.WAIT_AS_ASKED,
        ),
        Choice(
            id="request-passing",
            text="send it again, after a pause that grows with each failure",
            source=_SPEC,
            applies=_otherwise,
            outcome=RepeatOutcome.BACK_OFF,
        ),
    ),
    Policy.UPSTREAM: (
        Choice(
            id="answered-at-all",
            text="give up: the service answered",
            source="keystoneauth1.session.Session._send_request",
            applies=_has_answer,
            outcome=RepeatOutcome.GIVE_UP,
        ),
        Choice(
            id="often-enough",
            text="give up: it was sent often enough",
            source="keystoneauth1.session.Session._send_request",
            applies=_often_enough,
            outcome=RepeatOutcome.GIVE_UP,
        ),
        Choice(
            id="any-request",
            text="send it again, whatever it does",
            source="keystoneauth1.session.Session._send_request",
            applies=_otherwise,
            outcome=RepeatOutcome.BACK_OFF,
        ),
    ),
}
