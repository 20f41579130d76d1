"""What one worker may use now of what all workers share."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core import InvalidFact
from imagevol_core.sharding import (
    Flow,
    Sighting,
    SlotFacts,
    WorkerLimit,
    are_silent,
    book,
    decide_slot,
    look_again,
)

FACTS = SlotFacts(backend="host@fast", worker="one", listed=True, holders=("one", "two", "two"), most=4)
RATE, CREDIT_SECONDS = 64.0, 0.25


class TestAttachments:
    def test_a_worker_that_is_listed_may_attach_below_the_limit(self) -> None:
        decision = decide_slot(FACTS)
        assert decision.allowed
        assert [(each.rule, each.subject, each.text) for each in decision.verdicts] == [
            ("attacher-listed", "host@fast", "worker one is listed"),
            (
                "attachments-left",
                "host@fast",
                "all workers together have 3 attachments of host@fast, of 4 at most",
            ),
        ]

    @pytest.mark.parametrize(
        "facts, text",
        [
            (replace(FACTS, listed=False), "worker one is not listed"),
            (replace(FACTS, most=3), "all workers together have 3 attachments of host@fast, of 3 at most"),
            (
                replace(FACTS, most=1, dead=frozenset({"two"})),
                "all workers together have 1 attachment of host@fast, of 1 at most",
            ),
        ],
    )
    def test_each_rule_alone_keeps_a_worker_from_attaching(self, facts: SlotFacts, text: str) -> None:
        decision = decide_slot(facts)
        assert not decision.allowed
        assert [each.text for each in decision.verdicts if not each.ok] == [text]

    def test_the_attachments_of_dead_workers_are_free(self) -> None:
        assert decide_slot(replace(FACTS, most=2, dead=frozenset({"two"}))).allowed

    def test_without_a_limit_any_number_is_allowed(self) -> None:
        decision = decide_slot(replace(FACTS, most=None, holders=("two",) * 1000))
        assert decision.allowed
        assert decision.verdicts[-1].text == "host@fast has no limit of attachments"

    @pytest.mark.parametrize("rate", [0.5, 0, -1, math.inf, math.nan])
    def test_a_rate_by_which_nothing_moves_is_refused(self, rate: float) -> None:
        with pytest.raises(InvalidFact, match=r"^bytes_per_second: is .*give 1 or more, or None for no limit"):
            WorkerLimit(bytes_per_second=rate)

    def test_a_limit_may_be_as_low_as_one(self) -> None:
        assert WorkerLimit(bytes_per_second=1, attachments=1).attachments == 1
        with pytest.raises(InvalidFact, match=r"^attachments: is 0: give 1 or more, or None for no limit"):
            WorkerLimit(attachments=0)


class TestSilence:
    def look(self, earlier: Sighting | None, at: float, **beats: str | None) -> Sighting:
        return look_again(earlier, beats, asked_at=at, answered_at=at + 1, lease_seconds=30)

    def test_a_worker_is_silent_when_it_said_the_same_for_a_whole_lease(self) -> None:
        sighting = self.look(None, 0, one="1", two="1")
        for at, two in ((10, "2"), (20, "3"), (30, "4")):
            sighting = self.look(sighting, at, one="1", two=two)
            assert are_silent(sighting, lease_seconds=30) == frozenset()
        sighting = self.look(sighting, 31, one="1", two="4")
        assert are_silent(sighting, lease_seconds=30) == {"one"}
        assert sighting == Sighting(asked_at=31, beats={"one": ("1", 1), "two": ("4", 31)})

    def test_a_worker_that_is_not_listed_any_more_says_nothing(self) -> None:
        sighting = self.look(None, 0, one="1")
        for at in (10, 20, 30, 40):
            sighting = self.look(sighting, at, one=None)
            assert are_silent(sighting, lease_seconds=30) == frozenset()
        sighting = self.look(sighting, 41, one=None)
        assert are_silent(sighting, lease_seconds=30) == {"one"}

    def test_the_time_in_which_the_service_did_not_answer_is_no_silence(self) -> None:
        sighting = self.look(self.look(None, 0, one="1"), 14, one="1")
        assert sighting.beats == {"one": ("1", 1)}
        late = look_again(sighting, {"one": "1"}, asked_at=15, answered_at=29.5, lease_seconds=30)
        assert late.beats == {"one": ("1", 29.5)}
        rarely = look_again(sighting, {"one": "1"}, asked_at=1000, answered_at=1000, lease_seconds=30)
        assert are_silent(rarely, lease_seconds=30) == frozenset()

    def test_a_worker_that_is_seen_for_the_first_time_is_not_silent(self) -> None:
        sighting = self.look(self.look(None, 0, one="1"), 10, one="1", two="1")
        assert sighting.beats == {"one": ("1", 1), "two": ("1", 11)}

    @given(st.lists(st.floats(0.1, 10), min_size=1, max_size=60), st.floats(0, 400), st.floats(0, 120))
    def test_no_worker_that_lives_is_silent_however_long_the_service_stood_still(
        self, pauses: list[float], stopped_at: float, stopped_seconds: float
    ) -> None:
        """A worker says something three times in a lease; nothing is asked or said while the service stands still."""
        sighting, now, until = None, 0.0, stopped_at + stopped_seconds

        def said_by(at: float) -> str:
            heard = stopped_at if stopped_at <= at < until else at
            return str(math.floor((heard + 3) / 10))

        for pause in pauses:
            asked_at = now = now + pause
            if stopped_at <= now < until:
                now = until  # the answer comes afterwards, and the worker had no time yet to say anything
            sighting = look_again(
                sighting, {"one": said_by(asked_at)}, asked_at=asked_at, answered_at=now, lease_seconds=30
            )
            assert are_silent(sighting, lease_seconds=30) == frozenset()


class TestBandwidth:
    def test_bytes_are_due_when_all_that_was_booked_before_is(self) -> None:
        first = book(None, 64, bytes_per_second=RATE, now=7, ahead_seconds=None)
        assert (first.flow, first.wait_seconds, first.ahead_seconds) == (Flow(owed_bytes=64, at=0), 1.0, -7)
        second = book(first.flow, 32, bytes_per_second=RATE, now=7.5, ahead_seconds=first.ahead_seconds)
        assert (second.flow, second.wait_seconds) == (Flow(owed_bytes=64, at=0.5), 1.0)

    def test_a_pause_is_made_good_in_part_only(self) -> None:
        booking = book(Flow(owed_bytes=0, at=0), 64, bytes_per_second=RATE, now=1000, ahead_seconds=0)
        assert booking.flow == Flow(owed_bytes=48, at=1000)
        assert booking.wait_seconds == 0.75
        small = book(booking.flow, 8, bytes_per_second=RATE, now=1002, ahead_seconds=0)
        assert (small.flow.owed_bytes, small.wait_seconds) == (-8, 0)

    def test_a_board_that_was_emptied_gives_no_more_than_a_pause_does(self) -> None:
        booking = book(None, 64, bytes_per_second=RATE, now=50, ahead_seconds=-20)
        assert (booking.flow, booking.ahead_seconds) == (Flow(owed_bytes=64, at=30), -20)

    @pytest.mark.parametrize("rate", [0, -1, 0.5, math.inf, math.nan])
    def test_a_rate_by_which_nothing_moves_is_refused(self, rate: float) -> None:
        with pytest.raises(InvalidFact, match=r"^bytes_per_second: "):
            book(None, 1, bytes_per_second=rate, now=0, ahead_seconds=None)

    @given(
        st.lists(st.tuples(st.integers(0, 3), st.integers(1, 64), st.floats(0, 3)), min_size=1, max_size=60),
        st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4),
    )
    def test_all_together_never_move_more_than_the_rate_whatever_their_clocks_say(
        self, steps: list[tuple[int, int, float]], clocks: list[float]
    ) -> None:
        flow, now, moved = None, 0.0, list[tuple[float, int]]()
        ahead: dict[int, float] = {}
        for process, size, pause in steps:
            now += pause
            booking = book(
                flow, size, bytes_per_second=RATE, now=now + clocks[process], ahead_seconds=ahead.get(process)
            )
            flow, ahead[process] = booking.flow, booking.ahead_seconds
            moved.append((now + booking.wait_seconds, size))
        begun = steps[0][2]
        for at, _ in moved:
            together = sum(size for due, size in moved if due <= at)
            assert together <= RATE * (at - begun + CREDIT_SECONDS) + 1e-3

    @given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5), st.integers(1, 12))
    def test_workers_that_always_have_something_to_move_use_the_whole_rate(
        self, clocks: list[float], rounds: int
    ) -> None:
        flow = None
        due, ahead = dict.fromkeys(range(len(clocks)), 0.0), dict.fromkeys(range(len(clocks)), None)
        for _ in range(rounds * len(clocks)):
            process = min(due, key=lambda each: due[each])
            now = due[process]
            booking = book(flow, 16, bytes_per_second=RATE, now=now + clocks[process], ahead_seconds=ahead[process])
            flow, ahead[process] = booking.flow, booking.ahead_seconds
            due[process] = now + booking.wait_seconds
        assert max(due.values()) <= 16 * rounds * len(clocks) / RATE + 1e-3
