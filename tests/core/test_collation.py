"""Cinder's database compares names and ids without case, and without spaces at the end."""

from __future__ import annotations

import pytest

from imagevol_core.collation import in_database


@pytest.mark.parametrize("one, other", [("Node@FAST#one", "node@fast#ONE"), ("node", "node  "), ("", " "), ("É", "é")])
def test_names_that_differ_in_case_or_in_spaces_at_the_end_are_one_name(one: str, other: str) -> None:
    assert in_database(one) == in_database(other)


@pytest.mark.parametrize(
    "one, other",
    [("node", "node1"), (" node", "node"), ("node", "node\t"), ("a b", "ab"), ("nodeX", "node"), ("ß", "ss")],
)
def test_names_that_differ_in_anything_else_are_two_names(one: str, other: str) -> None:
    assert in_database(one) != in_database(other)


def test_a_name_that_is_not_known_stays_unknown() -> None:
    assert in_database(None) is None
