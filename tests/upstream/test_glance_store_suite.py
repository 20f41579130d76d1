"""glance_store's own unit tests of its cinder driver, with ours in its place.

What ends otherwise is listed with its reason in `glance_store_differences.toml`, and everything else passes.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.upstream.asking import Worker

TABLE = tomllib.loads(Path(__file__).with_name("glance_store_differences.toml").read_text())
SUITES = {"one": "test_cinder_store.TestCinderStore", "several": "test_multistore_cinder.TestMultiCinderStore"}
UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
SIZES = {SUITES["one"]: 66, SUITES["several"]: 69}

Outcomes = Mapping[str, Mapping[str, Any]]


def named(rows: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for row in rows:
        for which, suite in SUITES.items():
            for name in (*row.get("both", ()), *row.get(which, ())):
                yield f"{suite}.{name}", row


DIFFERENCES = dict(named(TABLE["difference"]))
SILENT = dict(named(TABLE["silent"]))


def run(worker: Worker, *, ours: bool) -> Outcomes:
    outcomes: Outcomes = worker.ask("run", ours=ours)
    assert Counter(name.rpartition(".")[0] for name in outcomes) == SIZES
    return outcomes


def matches(listed: Any, value: Any) -> bool:
    """Whether it is the value that is listed, with each text a regular expression of the whole text."""
    if isinstance(listed, str):
        return isinstance(value, str) and re.fullmatch(listed, value) is not None
    if isinstance(listed, dict) and isinstance(value, dict):
        return listed.keys() == value.keys() and all(matches(each, value[key]) for key, each in listed.items())
    if isinstance(listed, list) and isinstance(value, list):
        return len(listed) == len(value) and all(map(matches, listed, value))
    return bool(listed == value)


def with_ids_named(value: Any) -> Any:
    """Give what was compared with `<id 1>` for the first id in it, wherever it is, and so on."""
    text = json.dumps(value)
    for number, each in enumerate(dict.fromkeys(re.findall(UUID, text)), start=1):
        text = text.replace(each, f"<id {number}>")
    return json.loads(text)


def not_passed(outcomes: Outcomes) -> set[str]:
    return {name for name, outcome in outcomes.items() if outcome["ended"] != "passed"}


@pytest.fixture(scope="module")
def outcomes(suite_on_ours: Worker) -> Outcomes:
    return run(suite_on_ours, ours=True)


def test_glance_stores_own_driver_passes_all_of_them(suite_on_theirs: Worker) -> None:
    outcomes = run(suite_on_theirs, ours=False)
    assert not_passed(outcomes) == set()
    assert not any(outcome["ours"] for outcome in outcomes.values())


def test_those_that_end_otherwise_with_ours_are_listed(outcomes: Outcomes) -> None:
    assert not_passed(outcomes) == set(DIFFERENCES)


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_listed_test_of_glance_store_ends_at_the_listed_line_and_error(outcomes: Outcomes, name: str) -> None:
    ended, row = outcomes[name]["ended"], DIFFERENCES[name]
    assert (ended["at"], ended["errors"]) == (row["at"], row["errors"])
    assert re.search(row.get("says", ""), ended["says"])
    listed = {side: row[side] for side in ("expected", "observed") if side in row}
    compared = with_ids_named({side: ended.get(side) for side in listed})
    assert matches(listed, compared), json.dumps(compared, indent=1)


def test_those_that_pass_come_to_our_code(outcomes: Outcomes) -> None:
    passed = outcomes.keys() - not_passed(outcomes)
    assert {name for name in passed if not outcomes[name]["ours"]} == set(SILENT)


def test_each_is_listed_once_and_with_a_reason() -> None:
    rows = [*TABLE["difference"], *TABLE["silent"]]
    assert max(Counter(name for name, _ in named(rows)).values()) == 1
    assert {row["kind"] for row in TABLE["difference"]} == {"fixed", "words", "private"}
    assert all(row["reason"].endswith(".") for row in rows)
