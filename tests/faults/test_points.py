"""The points at which a process is disturbed."""

import random
from collections import Counter

from tests.faults.killing.points import ERRORS, KILL, Point, drawn

CALLS = {"openat": 60, "fsync": 1, "connect": 2}


def all_of(calls: dict[str, int]) -> set[Point]:
    return {
        Point(call, number + 1, fault)
        for call, times in calls.items()
        for number in range(times)
        for fault in (KILL, *ERRORS[call])
    }


def test_a_point_is_drawn_once() -> None:
    points = drawn(random.Random(1), CALLS, 100)
    assert len(set(points)) == 100
    assert set(points) <= all_of(CALLS)


def test_every_point_is_drawn_if_they_are_fewer() -> None:
    assert set(drawn(random.Random(1), CALLS, 10_000)) == all_of(CALLS)


def test_a_rare_call_is_drawn_as_soon_as_a_frequent_one() -> None:
    found = Counter(point.call for point in drawn(random.Random(1), CALLS, 60))
    assert found["fsync"] == 1 + len(ERRORS["fsync"])
    assert found["connect"] == 2 * (1 + len(ERRORS["connect"]))


def test_the_same_seed_draws_the_same_points() -> None:
    assert drawn(random.Random(7), CALLS, 50) == drawn(random.Random(7), CALLS, 50)


def test_a_point_is_what_was_printed() -> None:
    for point in all_of(CALLS):
        assert Point.parse(str(point)) == point
