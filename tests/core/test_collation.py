"""Cinder's database compares names and ids without case, and without spaces at the end."""

from __future__ import annotations

import pytest

from imagevol_core.collation import in_database


@pytest.mark.parametrize("one, other", [("Node@FAST#one", "node@fast#ONE"), ("node", "node  "), ("", " "), ("É", "é")])
def test_these_are_one_to_it(one: str, other: str) -> None:
    assert in_database(one) == in_database(other)


@pytest.mark.parametrize(
    "one, other", [("node", "node1"), (" node", "node"), ("node", "node\t"), ("a b", "ab"), ("nodeX", "node")]
)
def test_these_are_two(one: str, other: str) -> None:
    assert in_database(one) != in_database(other)


def test_what_is_not_known_stays_so() -> None:
    assert in_database(None) is None
