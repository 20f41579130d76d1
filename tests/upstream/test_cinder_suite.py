"""Cinder's own unit tests of volumes from images, with a driver that has our mixin in the place of theirs.

What ends otherwise is listed with its reason in `cinder_differences.toml`, and everything else passes: with the
options' defaults, and with everything turned on.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.upstream.asking import Worker

TABLE = tomllib.loads(Path(__file__).with_name("cinder_differences.toml").read_text())
SIZES = {
    "image.test_cache": 15,
    "volume.flows.test_create_volume_flow": 93,
    "volume.test_driver": 47,
    "volume.test_image": 32,
    "volume.test_volume_reimage": 10,
}
ALL = {"image_template_enabled": True, "image_clone_direct_url_schemes": ["cinder"]}
DIFFERENCES = {name: row for row in TABLE["difference"] for name in row["tests"]}
SILENT = {name for row in TABLE["silent"] for name in row["tests"]}

Outcomes = Mapping[str, Mapping[str, Any]]


def run(worker: Worker, *, ours: bool, options: Mapping[str, Any]) -> Outcomes:
    outcomes: Outcomes = worker.ask("run", ours=ours, options=options)
    assert Counter(name.rsplit(".", 2)[0] for name in outcomes) == SIZES
    return outcomes


def short(names: set[str]) -> set[str]:
    """Give the tests without their classes."""
    return {name.rpartition(".")[2] for name in names}


def not_passed(outcomes: Outcomes) -> dict[str, Any]:
    return {
        name.rpartition(".")[2]: outcome["ended"] for name, outcome in outcomes.items() if outcome["ended"] != "passed"
    }


@pytest.fixture(scope="module")
def with_defaults(cinder_suite_on_ours: Worker) -> Outcomes:
    return run(cinder_suite_on_ours, ours=True, options={})


@pytest.fixture(scope="module")
def with_all_on(cinder_suite_with_all_on: Worker) -> Outcomes:
    return run(cinder_suite_with_all_on, ours=True, options=ALL)


@pytest.fixture(params=["with_defaults", "with_all_on"])
def outcomes(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_cinders_own_drivers_pass_all_of_them(cinder_suite_on_theirs: Worker) -> None:
    outcomes = run(cinder_suite_on_theirs, ours=False, options={})
    assert not_passed(outcomes) == {}
    assert not any(outcome["ours"] for outcome in outcomes.values())


def test_those_that_end_otherwise_with_ours_are_listed(outcomes: Outcomes) -> None:
    assert not_passed(outcomes).keys() == DIFFERENCES.keys()


@pytest.mark.parametrize("name", DIFFERENCES)
def test_it_ends_where_and_as_is_listed(outcomes: Outcomes, name: str) -> None:
    at, error = not_passed(outcomes)[name]
    assert at == DIFFERENCES[name]["at"]
    assert re.fullmatch(DIFFERENCES[name]["error"], error), error


def test_whoever_asks_a_driver_asks_ours(outcomes: Outcomes) -> None:
    asking = {name for name, outcome in outcomes.items() if outcome["asks"]}
    assert len(asking) == 29
    assert short({name for name in asking if not outcomes[name]["ours"]}) == SILENT


def test_each_is_listed_once_and_with_a_reason() -> None:
    rows = [*TABLE["difference"], *TABLE["silent"]]
    assert set(Counter(name for row in rows for name in row["tests"]).values()) == {1}
    assert all(row["reason"].endswith(".") for row in rows)
