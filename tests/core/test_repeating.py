"""A request is sent again only if the service has surely not carried it out, or it does no harm twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core import Policy, Result
from imagevol_core.resuming import REPEAT_RULES, FailedRequest, decide_request_repeat

READ = FailedRequest(method="GET", path="/v3/p/volumes/7ad3", status=503)
CREATED = FailedRequest(method="POST", path="/v3/p/volumes")
ACTION = FailedRequest(method="POST", path="/v3/p/volumes/7ad3/action")


@pytest.mark.parametrize("status", [None, 500, 502, 503, 504, 408, 425, 429])
@pytest.mark.parametrize(
    "request_",
    [
        READ,
        replace(READ, method="HEAD"),
        replace(READ, method="PUT"),
        replace(READ, method="DELETE"),
        replace(CREATED, path="/v3/auth/tokens"),
        replace(CREATED, path="/v3/p/volumes/7ad3/metadata"),
        replace(CREATED, path="/v2/images/7ad3/actions/deactivate"),
        replace(ACTION, action="os-update_readonly_flag"),
        replace(ACTION, action="os-complete"),
    ],
)
def test_what_does_the_same_twice_is_sent_again_after_a_failure_that_passes(
    request_: FailedRequest, status: int | None
) -> None:
    assert decide_request_repeat(replace(request_, status=status)).again


@pytest.mark.parametrize("status", [None, 500, 502, 503, 504])
@pytest.mark.parametrize(
    "request_", [CREATED, replace(ACTION, action="os-extend"), ACTION, replace(READ, method="PATCH")]
)
def test_what_could_be_done_twice_is_sent_again_only_if_it_was_not_done(
    request_: FailedRequest, status: int | None
) -> None:
    decision = decide_request_repeat(replace(request_, status=status))
    assert (decision.again, decision.done, decision.wait_seconds) == (False, False, 0)
    assert decision.reason.endswith(f"{request_.method} could do it twice")
    for not_done in (replace(request_, arrived=False), replace(request_, status=429)):
        assert decide_request_repeat(not_done).again


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 501])
def test_a_refusal_is_an_answer(status: int) -> None:
    decision = decide_request_repeat(replace(READ, status=status))
    assert (decision.again, decision.done, decision.reason) == (False, False, f"the service answered {status}")


def test_what_an_earlier_attempt_has_deleted_is_done() -> None:
    gone = replace(READ, method="DELETE", status=404)
    assert not decide_request_repeat(gone).done
    assert decide_request_repeat(replace(gone, failures=2)).done
    assert not decide_request_repeat(replace(gone, failures=2, method="GET")).done


def test_the_service_says_how_long_to_wait_and_a_limit_on_requests_is_no_quota() -> None:
    assert decide_request_repeat(replace(READ, retry_after_seconds=7)).wait_seconds == 7
    assert decide_request_repeat(replace(CREATED, status=413, retry_after_seconds=7)).wait_seconds == 7
    assert not decide_request_repeat(replace(CREATED, status=413, retry_after_seconds=0)).again


def test_the_pauses_grow() -> None:
    pauses = [decide_request_repeat(replace(READ, failures=failures)).wait_seconds for failures in range(1, 5)]
    assert pauses == [0.5, 1, 2, 4]


@pytest.mark.parametrize(
    "failed, reason",
    [
        (replace(READ, failures=5), "the service answered 503, in 5 attempts"),
        (replace(READ, failures=2, status=500), "the service answered 500, in 2 attempts"),
        (replace(READ, waited_seconds=60), "the service answered 503, for 1 minute"),
        (replace(READ, retry_after_seconds=61), "the service asks to wait 61 seconds"),
        (replace(READ, replayable=False), "the service answered 503, and the data cannot be sent again"),
        (replace(READ, arrived=False, status=None, failures=5), "there was no connection, in 5 attempts"),
    ],
)
def test_it_is_not_sent_for_ever(failed: FailedRequest, reason: str) -> None:
    decision = decide_request_repeat(failed)
    assert (decision.again, decision.reason) == (False, reason)


@pytest.mark.parametrize(
    "failed, rule, text",
    [
        (READ, "deleted-before", "the service answered 503 to GET, in 1 attempt"),
        (replace(READ, failures=2), "deleted-before", "the service answered 503 to GET, in 2 attempts"),
        (replace(READ, status=None), "request-refused", "no answer came"),
        (READ, "data-gone", "the service answered 503, and the data can be sent again"),
        (READ, "could-be-done", "the service answered 503, and GET does the same twice"),
        (READ, "pause-too-long", "the service does not say how long to wait"),
        (READ, "request-passing", "the service answered 503"),
    ],
)
def test_each_rule_on_the_way_to_sending_it_again_says_what_it_has_seen(
    failed: FailedRequest, rule: str, text: str
) -> None:
    decision = decide_request_repeat(failed)
    assert [verdict.text for verdict in decision.verdicts if verdict.rule == rule] == [text]
    applies = [verdict.result is Result.APPLIES for verdict in decision.verdicts]
    assert applies == [*[False] * (len(applies) - 1), True]


def test_a_pause_that_the_service_asks_for_may_last_as_long_as_is_left() -> None:
    late = replace(READ, waited_seconds=50)
    assert decide_request_repeat(replace(late, retry_after_seconds=10)).wait_seconds == 10
    assert not decide_request_repeat(replace(late, retry_after_seconds=11)).again
    assert decide_request_repeat(replace(late, retry_after_seconds=0)).wait_seconds == 0


def test_keystoneauth_sends_anything_again_that_got_no_answer() -> None:
    assert decide_request_repeat(CREATED, policy=Policy.UPSTREAM).again
    assert not decide_request_repeat(replace(CREATED, failures=5), policy=Policy.UPSTREAM).again
    assert not decide_request_repeat(READ, policy=Policy.UPSTREAM).again


FAILED = st.builds(
    FailedRequest,
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]),
    path=st.sampled_from(["/v3/p/volumes", "/v3/auth/tokens", "/v3/p/volumes/7ad3/action"]),
    action=st.sampled_from([None, "os-extend", "os-complete"]),
    failures=st.integers(1, 9),
    waited_seconds=st.floats(0, 100),
    arrived=st.booleans(),
    status=st.none() | st.integers(400, 599),
    retry_after_seconds=st.none() | st.floats(0, 100),
    replayable=st.booleans(),
)


@given(FAILED, st.sampled_from(list(REPEAT_RULES)))
def test_a_request_is_sent_a_bounded_number_of_times_with_bounded_pauses(failed: FailedRequest, policy: Policy) -> None:
    decision = decide_request_repeat(failed, policy=policy)
    assert not (decision.again and decision.done)
    if decision.again:
        assert failed.failures < failed.attempts
        assert 0 <= decision.wait_seconds <= failed.patience_seconds


@given(FAILED)
def test_each_rule_says_why(failed: FailedRequest) -> None:
    for policy, rules in REPEAT_RULES.items():
        decision: Any = decide_request_repeat(failed, policy=policy)
        assert decision.verdicts[-1].rule in {rule.id for rule in rules}
        assert "None" not in decision.reason
