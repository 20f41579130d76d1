"""How a fact is put into a sentence."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core.sentences import amount, answered, duration, listed, quoted, said, things


@given(st.text() | st.datetimes() | st.integers())
def test_every_value_stays_on_its_line(value: object) -> None:
    assert said(value).isprintable()


@given(st.text(st.characters(exclude_categories=("C", "Z"))))
def test_a_printable_value_is_said_as_it_is(value: str) -> None:
    assert said(value) == value


def test_a_value_that_is_not_known_is_not_made_up() -> None:
    assert said(None) == quoted(None) == "not known"
    assert answered(None, "it is raw", "it is not raw") == "it is not known whether it is raw"


def test_a_character_that_a_terminal_would_obey_is_spelt_out() -> None:
    assert said("a\x1b[2Jb") == r"a\x1b[2Jb"
    assert quoted("a\nb") == r"'a\nb'"


def test_a_list_names_each_or_says_that_there_is_none() -> None:
    assert listed(["a b", "c"]) == "'a b', 'c'"
    assert listed([]) == "none"


def test_a_fact_and_its_contrary_are_two_sentences() -> None:
    sentences = ("it is raw", "it is not raw")
    assert (answered(True, *sentences), answered(False, *sentences)) == sentences


def test_one_thing_is_told_in_the_singular_and_every_other_number_in_the_plural() -> None:
    assert [amount(number, "byte") for number in (0, 1, 2)] == ["0 bytes", "1 byte", "2 bytes"]
    assert [things(number, "image") for number in (0, 1, 2)] == ["images", "image", "images"]
    assert amount(None, "byte") == "an unknown number of bytes"


@pytest.mark.parametrize(
    "length, said_so",
    [
        (0, "0 seconds"),
        (0.04, "0 seconds"),
        (1, "1 second"),
        (1.5, "1.5 seconds"),
        (9.96, "10 seconds"),
        (10.4, "10 seconds"),
        (60, "1 minute"),
        (61, "61 seconds"),
        (119.4, "119 seconds"),
        (120, "2 minutes"),
        (663.2, "11 minutes"),
        (3600, "1 hour"),
        (7199, "120 minutes"),
        (7200, "2 hours"),
        (86400, "1 day"),
        (90000, "25 hours"),
        (172800, "2 days"),
        (timedelta(days=9, minutes=1), "9 days"),
        (timedelta(seconds=-5), "-5 seconds"),
        (timedelta.max, "1000000000 days"),
        (math.inf, "inf seconds"),
    ],
)
def test_a_time_is_said_in_the_largest_unit_of_which_it_has_two(length: float | timedelta, said_so: str) -> None:
    assert duration(length) == said_so
