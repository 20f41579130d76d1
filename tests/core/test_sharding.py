"""Which worker takes a shard, when it has lost it, and what becomes of the shard after each attempt."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core.sharding import (
    MOST_IN_USE,
    AttemptFacts,
    ClaimFacts,
    LeaseFacts,
    LeaseState,
    Shard,
    ShardNext,
    ShardRecord,
    ShardState,
    Worker,
    begin_attempt,
    decide_attempt,
    decide_claim,
    decide_lease,
    end_attempt,
    pause_seconds,
    try_again,
)

SHARD = Shard(job="audit", id="7ad3", kind="deep", needs=frozenset({"host@fast", "host@slow"}), work={"size": 7})
RECORD = ShardRecord(shard=SHARD)
WORKER = Worker(name="one", kinds=frozenset({"deep"}), backends=frozenset({"host@fast", "host@slow", "other@fast"}))


def test_what_a_shard_asks_for_does_not_change_with_what_it_was_made_from() -> None:
    work = {"size": 7}
    shard = replace(SHARD, work=work)
    work["size"] = 8
    assert shard.work == {"size": 7}
    assert hash(shard) == hash(SHARD)


class TestClaims:
    def test_a_worker_that_can_do_all_of_it_takes_an_open_shard(self) -> None:
        decision = decide_claim(ClaimFacts(record=RECORD, worker=WORKER))
        assert decision.allowed
        assert [(each.rule, each.subject, each.text) for each in decision.verdicts] == [
            ("shard-open", "7ad3", "the shard is open"),
            ("worker-does-kind", "7ad3", "the worker does work of kind 'deep'"),
            ("worker-attaches", "7ad3", "the host can attach volumes of 'host@fast', 'host@slow'"),
            ("volume-rested", "7ad3", "no attempt found the volume in use"),
        ]

    @pytest.mark.parametrize(
        "facts, rule, text",
        [
            (ClaimFacts(record=replace(RECORD, state=ShardState.DONE), worker=WORKER), 0, "the shard is done"),
            (
                ClaimFacts(record=replace(RECORD, state=ShardState.SET_ASIDE), worker=WORKER),
                0,
                "the shard is set-aside",
            ),
            (
                ClaimFacts(record=RECORD, worker=replace(WORKER, kinds=frozenset({"warm", "locations"}))),
                1,
                "the shard is of kind 'deep', and the worker does 'locations', 'warm'",
            ),
            (
                ClaimFacts(record=RECORD, worker=replace(WORKER, backends=frozenset({"host@fast"}))),
                2,
                "the host cannot attach volumes of 'host@slow'",
            ),
        ],
    )
    def test_each_rule_alone_keeps_a_worker_from_a_shard(self, facts: ClaimFacts, rule: int, text: str) -> None:
        decision = decide_claim(facts)
        assert not decision.allowed
        assert [each.text for each in decision.verdicts if not each.ok] == [text]
        assert not decision.verdicts[rule].ok

    def test_a_shard_that_needs_no_backend_is_for_every_host(self) -> None:
        shard = replace(SHARD, needs=frozenset())
        decision = decide_claim(ClaimFacts(record=ShardRecord(shard=shard), worker=replace(WORKER, backends=None)))
        assert decision.allowed
        assert decision.verdicts[2].text == "the shard needs no backend"

    def test_a_worker_that_names_no_backend_tries_all(self) -> None:
        decision = decide_claim(ClaimFacts(record=RECORD, worker=replace(WORKER, backends=None)))
        assert decision.allowed
        assert (
            decision.verdicts[2].text == "the worker does not say which backends its host can attach, so it tries all"
        )


class TestPauses:
    @pytest.mark.parametrize(
        "in_use, seconds", [(0, 0), (1, 30), (2, 60), (3, 120), (4, 240), (5, 480), (6, 600), (7, 600), (1 << 53, 600)]
    )
    def test_the_pause_grows_with_each_attempt_that_finds_the_volume_in_use_up_to_ten_minutes(
        self, in_use: int, seconds: float
    ) -> None:
        assert pause_seconds(in_use) == seconds

    def test_the_pauses_before_a_shard_is_set_aside_are_55_minutes_together(self) -> None:
        assert sum(map(pause_seconds, range(1, MOST_IN_USE))) == 55.5 * 60

    @pytest.mark.parametrize("seconds, allowed", [(0.0, False), (59.9, False), (60.0, True), (1e9, True)])
    def test_a_volume_that_was_in_use_is_tried_again_after_its_pause(self, seconds: float, *, allowed: bool) -> None:
        record = replace(RECORD, in_use=2, left_on="node-1")
        decision = decide_claim(ClaimFacts(record=record, worker=WORKER, host="node-2", unchanged_seconds=seconds))
        assert decision.allowed is allowed
        over = "is over" if allowed else "is not over"
        assert decision.verdicts[-1].text == f"2 attempts found the volume in use, and the pause of 1 minute {over}"
        unknown = ClaimFacts(record=replace(record, left_on=None), worker=WORKER, unchanged_seconds=seconds)
        assert decide_claim(unknown).allowed is allowed

    def test_a_worker_has_seen_a_record_for_no_time_if_it_does_not_say(self) -> None:
        assert not decide_claim(ClaimFacts(record=replace(RECORD, in_use=1), worker=WORKER)).allowed

    def test_a_worker_of_the_host_that_may_have_left_the_volume_attached_tries_at_once(self) -> None:
        record = replace(RECORD, in_use=2, left_on="node-1")
        decision = decide_claim(ClaimFacts(record=record, worker=WORKER, host="node-1"))
        assert decision.allowed
        assert decision.verdicts[-1].text == (
            "the volume is in use, and a worker that ended on this host, node-1, may have it attached"
        )


class TestAttempts:
    @pytest.mark.parametrize(
        "failures, given_back, expected, rule",
        [
            (0, True, ShardNext.AGAIN, "given-back"),
            (3, True, ShardNext.AGAIN, "given-back"),
            (2, False, ShardNext.AGAIN, "failures-left"),
            (3, False, ShardNext.SET_ASIDE, "failures-used"),
            (4, False, ShardNext.SET_ASIDE, "failures-used"),
        ],
    )
    def test_a_shard_is_tried_again_until_as_many_attempts_failed_as_the_limit(
        self, failures: int, given_back: bool, expected: ShardNext, rule: str
    ) -> None:
        decision = decide_attempt(
            AttemptFacts(failures=failures, most_failures=3, given_back=given_back, reason="no answer")
        )
        assert (decision.next, decision.verdicts[-1].rule) == (expected, rule)

    def test_the_verdicts_say_how_many_attempts_failed_and_why(self) -> None:
        facts = AttemptFacts(failures=3, most_failures=3, given_back=False, reason="no answer")
        assert [each.text for each in decide_attempt(facts).verdicts] == [
            "3 attempts failed, of 3 at most: no answer",
            "the attempt did not find the volume in use",
            "the attempt did not find the volume in use",
            "3 attempts failed, of 3 at most: no answer",
            "3 attempts failed, and no other is made: no answer",
        ]
        given = AttemptFacts(failures=0, most_failures=3, given_back=True)
        assert decide_attempt(given).verdicts[-1].text == "the worker gave it back"

    @pytest.mark.parametrize(
        "in_use, expected, rule, text",
        [
            (1, ShardNext.AGAIN, "in-use-again", "1 attempt found the volume in use, of 4 at most: attached"),
            (3, ShardNext.AGAIN, "in-use-again", "3 attempts found the volume in use, of 4 at most: attached"),
            (
                4,
                ShardNext.SET_ASIDE,
                "in-use-too-long",
                "4 attempts found the volume in use, and no other is made: attached",
            ),
        ],
    )
    def test_a_volume_that_is_in_use_is_no_failure_until_it_stays_in_use_for_too_long(
        self, in_use: int, expected: ShardNext, rule: str, text: str
    ) -> None:
        facts = AttemptFacts(
            failures=9,
            most_failures=3,
            given_back=False,
            reason="attached",
            is_in_use=True,
            in_use=in_use,
            most_in_use=4,
        )
        decision = decide_attempt(facts)
        assert (decision.next, decision.verdicts[-1].rule, decision.verdicts[-1].text) == (expected, rule, text)

    def test_attempts_that_found_the_volume_in_use_before_do_not_count_as_failures_of_this_one(self) -> None:
        facts = AttemptFacts(failures=1, most_failures=3, given_back=False, reason="no answer", in_use=9)
        assert decide_attempt(facts).verdicts[-1].rule == "failures-left"

    def test_a_shard_whose_volume_is_in_use_is_open_and_says_why(self) -> None:
        record = replace(RECORD, attempt=1, holder="one", failures=2)
        busy = end_attempt(record, reason="attached", most_failures=3, is_in_use=True)
        assert busy == replace(RECORD, attempt=1, failures=2, in_use=1, reason="attached")
        again = end_attempt(replace(busy, holder="two"), reason="attached", most_failures=3, is_in_use=True)
        assert again == replace(
            busy, in_use=2, reason=f"2 attempts found the volume in use, of {MOST_IN_USE} at most: attached"
        )
        failed = end_attempt(replace(again, holder="two"), reason="no answer", most_failures=3)
        assert (failed.state, failed.failures, failed.in_use) == (ShardState.SET_ASIDE, 3, 2)

    @pytest.mark.parametrize(
        "before, reason", [(0, "attached"), (4, "5 attempts found the volume in use, and no other is made: attached")]
    )
    def test_a_volume_that_stays_in_use_is_set_aside_with_the_reason_and_can_be_tried_again(
        self, before: int, reason: str
    ) -> None:
        record = replace(RECORD, attempt=1, holder="one", in_use=before)
        aside = end_attempt(record, reason="attached", most_failures=3, is_in_use=True, most_in_use=before + 1)
        assert aside == replace(RECORD, attempt=1, in_use=before + 1, state=ShardState.SET_ASIDE, reason=reason)
        assert try_again(aside) == replace(RECORD, attempt=1)

    def test_a_shard_that_is_given_back_was_not_found_in_use(self) -> None:
        record = replace(RECORD, attempt=1, holder="one", host="node-1", left_on="node-1")
        assert end_attempt(record, most_failures=1, is_in_use=True, most_in_use=1) == replace(record, holder=None)

    def test_the_host_of_a_worker_that_ended_is_known_until_a_worker_of_it_finds_the_volume_in_use(self) -> None:
        first = begin_attempt(RECORD, holder="one", host="node-1", most_failures=3)
        assert (first.host, first.left_on) == ("node-1", None)
        second = begin_attempt(first, holder="two", host="node-2", most_failures=3)
        assert (second.host, second.left_on) == ("node-2", "node-1")
        busy = end_attempt(second, reason="attached", most_failures=3, is_in_use=True)
        third = begin_attempt(busy, holder="three", host="node-1", most_failures=3)
        assert (third.host, third.left_on) == ("node-1", "node-1")
        assert end_attempt(third, reason="no answer", most_failures=3).left_on == "node-1"
        assert end_attempt(third, reason="attached", most_failures=3, is_in_use=True).left_on is None

    def test_an_attempt_has_a_number_of_its_own_and_names_its_worker(self) -> None:
        first = begin_attempt(RECORD, holder="one", most_failures=3)
        assert first == replace(RECORD, attempt=1, holder="one")
        given_back = end_attempt(first, most_failures=1)
        assert given_back == replace(RECORD, attempt=1)
        assert begin_attempt(given_back, holder="two", most_failures=3) == replace(RECORD, attempt=2, holder="two")

    def test_a_shard_that_is_given_back_stays_open_however_many_attempts_failed_before(self) -> None:
        record = replace(RECORD, attempt=3, holder="one", failures=2)
        assert end_attempt(record, most_failures=2) == replace(record, holder=None)

    def test_a_shard_that_is_tried_again_has_no_holder(self) -> None:
        aside = replace(RECORD, attempt=1, holder="one", failures=2, state=ShardState.SET_ASIDE, reason="no answer")
        assert try_again(aside) == replace(RECORD, attempt=1)

    def test_a_worker_that_ended_without_a_word_counts_as_a_failed_attempt(self) -> None:
        record = replace(RECORD, attempt=1, holder="dead")
        again = begin_attempt(record, holder="one", most_failures=2)
        assert (again.attempt, again.holder, again.failures) == (2, "one", 1)
        assert again.reason == "worker dead ended while it had the shard"
        aside = begin_attempt(again, holder="two", most_failures=2)
        assert (aside.state, aside.attempt, aside.holder) == (ShardState.SET_ASIDE, 2, None)
        assert aside.reason == "2 attempts failed, and no other is made: worker one ended while it had the shard"

    def test_a_shard_that_failed_keeps_its_reason_and_is_set_aside_at_the_limit(self) -> None:
        record = replace(RECORD, attempt=1, holder="one")
        failed = end_attempt(record, reason="no answer", most_failures=2)
        assert failed == replace(RECORD, attempt=1, failures=1, reason="no answer")
        aside = end_attempt(replace(failed, holder="two"), reason="no answer", most_failures=2)
        assert aside == replace(
            RECORD,
            attempt=1,
            failures=2,
            state=ShardState.SET_ASIDE,
            reason="2 attempts failed, and no other is made: no answer",
        )
        assert try_again(aside) == replace(RECORD, attempt=1)

    def test_a_shard_that_is_done_keeps_what_was_found_and_no_reason_of_earlier_attempts(self) -> None:
        record = replace(RECORD, attempt=2, holder="one", failures=1, reason="no answer")
        done = end_attempt(record, outcome={"digest": "ab"}, most_failures=3)
        assert done == replace(RECORD, attempt=2, failures=1, state=ShardState.DONE, outcome={"digest": "ab"})
        assert end_attempt(record, outcome={}, most_failures=3).state is ShardState.DONE

    @pytest.mark.parametrize("state", [ShardState.OPEN, ShardState.DONE])
    def test_only_a_shard_that_was_set_aside_is_opened_again(self, state: ShardState) -> None:
        record = replace(RECORD, state=state, failures=2, reason="no answer")
        assert try_again(record) == record

    @given(
        st.lists(st.sampled_from(["dies", "fails", "gives back", "in use"]), max_size=24),
        st.integers(1, 5),
        st.integers(1, 5),
    )
    def test_no_shard_is_tried_after_as_many_failures_as_the_limit_and_none_is_set_aside_before(
        self, ends: list[str], most: int, most_in_use: int
    ) -> None:
        record, failures, in_use = RECORD, 0, 0
        for end in ends:
            record = begin_attempt(record, holder="one", most_failures=most)
            if record.state is ShardState.SET_ASIDE:
                break
            failures += end in ("dies", "fails")
            in_use += end == "in use"
            if end == "gives back":
                record = end_attempt(record, most_failures=most)
            elif end == "fails":
                record = end_attempt(record, reason="no answer", most_failures=most)
            elif end == "in use":
                record = end_attempt(
                    record, reason="attached", most_failures=most, is_in_use=True, most_in_use=most_in_use
                )
            if record.state is ShardState.SET_ASIDE:
                break
        assert failures <= most
        assert in_use <= most_in_use
        assert record.in_use == in_use
        limits = (record.failures == most == failures, in_use == most_in_use)
        assert (record.state is ShardState.SET_ASIDE) <= any(limits)


class TestLeases:
    @pytest.mark.parametrize(
        "lock_held, record, rule, text",
        [
            (
                False,
                replace(RECORD, attempt=2),
                "lease-lock-lost",
                "the lock service does not say any more that the worker holds the lock",
            ),
            (True, None, "shard-withdrawn", "the shard was withdrawn"),
            (True, replace(RECORD, attempt=2, state=ShardState.DONE), "shard-ended", "the shard is done"),
            (True, replace(RECORD, attempt=3), "claimed-again", "this is attempt 2, and the latest one is 3"),
        ],
    )
    def test_a_lease_is_lost_with_the_lock_or_when_the_shard_went_on_without_the_worker(
        self, lock_held: bool, record: ShardRecord | None, rule: str, text: str
    ) -> None:
        decision = decide_lease(LeaseFacts(attempt=2, lock_held=lock_held, record=record))
        assert decision.state is LeaseState.LOST
        assert (decision.verdicts[-1].rule, decision.verdicts[-1].text) == (rule, text)

    def test_a_lease_is_held_as_long_as_the_latest_attempt_is_the_workers(self) -> None:
        decision = decide_lease(LeaseFacts(attempt=2, lock_held=True, record=replace(RECORD, attempt=2)))
        assert decision.state is LeaseState.HELD
        assert [each.text for each in decision.verdicts] == [
            "the lock service still says that the worker holds the lock",
            "the shard is on the board",
            "the shard is open",
            "this is attempt 2, and the latest one is 2",
            "attempt 2 has the shard",
        ]
