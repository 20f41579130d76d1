"""Waiting: until it is so, or until the deadline, asking less and less often; no test really waits."""

from __future__ import annotations

import pytest

from imagevol_adapters.waiting import wait_until
from imagevol_core import DeadlineExceeded, VolumeFailed
from tests.adapters.conftest import Clock


def test_the_answer_is_given_as_soon_as_it_is_the_wanted_one(clock: Clock) -> None:
    answers = iter(["creating", "creating", "available", "deleted"])
    assert wait_until(lambda: next(answers), lambda a: a == "available", what="x", seconds=9) == "available"
    assert next(answers) == "deleted"


def test_a_wait_that_is_over_at_once_does_not_sleep(clock: Clock) -> None:
    assert wait_until(lambda: 7, lambda a: a == 7, what="x", seconds=0) == 7
    assert clock.slept == []


def test_a_wait_asks_less_and_less_often_and_at_least_every_five_seconds(clock: Clock) -> None:
    asked: list[float] = []
    with pytest.raises(DeadlineExceeded):
        wait_until(lambda: asked.append(clock.now), lambda _: False, what="x", seconds=60)
    assert clock.slept[0] == 0.1
    assert clock.slept == sorted(clock.slept)
    assert clock.slept[-1] == 5
    assert len(asked) == len(clock.slept) + 1


@pytest.mark.parametrize("seconds, said", [(0, "0 seconds"), (1, "1 second"), (300, "5 minutes")])
def test_a_wait_that_reaches_its_deadline_says_what_has_not_happened(clock: Clock, seconds: float, said: str) -> None:
    with pytest.raises(DeadlineExceeded, match=f"^volume 7 is still 'creating' after {said}$") as caught:
        wait_until(lambda: "creating", lambda _: False, what="volume 7 is still 'creating'", seconds=seconds)
    assert caught.value.seconds == seconds
    assert clock.now - 1000 < seconds + 5


def test_an_error_ends_the_wait_at_once(clock: Clock) -> None:
    def done(_: object) -> bool:
        raise VolumeFailed("7", status="error", wanted="available")

    with pytest.raises(VolumeFailed):
        wait_until(lambda: 7, done, what="x", seconds=9)
    assert clock.slept == []
