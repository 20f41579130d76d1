"""Which worker takes a shard, when it has lost it, and what becomes of the shard after each attempt."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core.sharding import (
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
            "3 attempts failed, of 3 at most: no answer",
            "3 attempts failed, and no other is made: no answer",
        ]
        given = AttemptFacts(failures=0, most_failures=3, given_back=True)
        assert decide_attempt(given).verdicts[-1].text == "the worker gave it back"

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

    @given(st.lists(st.sampled_from(["dies", "fails", "gives back"]), max_size=12), st.integers(1, 5))
    def test_no_shard_is_tried_after_as_many_failures_as_the_limit_and_none_is_set_aside_before(
        self, ends: list[str], most: int
    ) -> None:
        record, failures = RECORD, 0
        for end in ends:
            record = begin_attempt(record, holder="one", most_failures=most)
            if record.state is ShardState.SET_ASIDE:
                break
            failures += end != "gives back"
            if end == "gives back":
                record = end_attempt(record, most_failures=most)
            elif end == "fails":
                record = end_attempt(record, reason="no answer", most_failures=most)
                if record.state is ShardState.SET_ASIDE:
                    break
        assert failures <= most
        assert (record.state is ShardState.SET_ASIDE) <= (record.failures == most == failures)


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
