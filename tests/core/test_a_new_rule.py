"""A rule is one row: added to a table it is in the explanation, on the reference page and under the laws at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagevol_adapters.testing.copy_strategies import copy_cases, safety_cases
from imagevol_adapters.testing.store_strategies import migration_cases
from imagevol_adapters.testing.strategies import clone_cases
from imagevol_adapters.testing.way_strategies import (
    admission_cases,
    creation_cases,
    freshness_cases,
    template_cases,
    upload_cases,
)
from imagevol_core import Choice, Policy, Result, Verdict, rule_tables, tables
from tests.core.cases import BOTH_POLICIES, GOOD

# Every module that has a table, and cases that come to it; what audits has findings instead, and its own test of this.
CASES: dict[str, st.SearchStrategy[Any]] = {
    "Cloning": clone_cases(),
    "Creation": creation_cases(),
    "Caching: freshness": freshness_cases(),
    "Caching: admission": admission_cases(),
    "Templates": template_cases(),
    "Uploading": upload_cases(),
    "Migration: a location that is there": migration_cases(),
    "Copying": copy_cases(),
    "Safety": safety_cases(),
}
TABLES = [(table, cases) for table in rule_tables() for name, cases in CASES.items() if table.name.startswith(name)]


@contextmanager
def one_more_row(name: str, policy: Policy) -> Iterator[None]:
    """The table begins with a rule that never holds, as one that somebody has just written."""
    rules = tables._TABLES[name]
    first = rules[policy][0]
    asks: dict[str, Any] = {"applies" if isinstance(first, Choice) else "holds": lambda _: (False, "never so")}
    row = replace(first, id="a-new-rule", text="it is new", source="a test", **asks)
    with patch.dict(rules, {policy: (row, *rules[policy])}):
        yield


def verdicts(case: Any, policy: Policy) -> list[Verdict]:
    if hasattr(case, "plan"):
        return [verdict for change in case.plan(policy) for verdict in change.verdicts]
    return list(case.decide(policy).verdicts)


@pytest.mark.parametrize("table, cases", TABLES, ids=lambda each: getattr(each, "name", ""))
@settings(max_examples=20)  # of each table
@given(data=st.data())
def test_a_new_rule_is_explained_wherever_its_table_is_walked(table: Any, cases: Any, data: st.DataObject) -> None:
    case = data.draw(cases)
    walked = any(verdict.rule == table.rules[0].id for verdict in verdicts(case, table.policy))
    with one_more_row(table.name, table.policy):
        said = [verdict for verdict in verdicts(case, table.policy) if verdict.rule == "a-new-rule"]
    assert all(
        (verdict.result in (Result.HOLDS, Result.APPLIES), verdict.text) == (False, "never so") for verdict in said
    )
    assert said or not walked


@pytest.mark.parametrize("table", rule_tables(), ids=lambda table: f"{table.name}, {table.policy.value}")
def test_a_new_rule_is_on_the_page_of_its_table(table: Any) -> None:
    with one_more_row(table.name, table.policy):
        (now,) = (each for each in rule_tables() if (each.name, each.policy) == (table.name, table.policy))
    assert [rule.id for rule in now.rules] == ["a-new-rule", *(rule.id for rule in table.rules)]


@pytest.mark.parametrize("name", ["Cloning: the image and the new volume", "Cloning: each image volume"])
@pytest.mark.parametrize("policy", BOTH_POLICIES)
def test_a_new_rule_is_under_the_law_that_nothing_is_cloned_against_a_rule(name: str, policy: Policy) -> None:
    assert GOOD.decide(policy).eligible
    with one_more_row(name, policy):
        assert not GOOD.decide(policy).eligible
