"""Cinder's own unit tests of volumes from images, with a driver that has our mixin in the place of theirs.

All of them pass: with the options' defaults, and with everything turned on.  `make test` runs the latter alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from tests.upstream.asking import Worker

SIZES = {
    "image.test_cache": 15,
    "volume.flows.test_create_volume_flow": 93,
    "volume.test_driver": 47,
    "volume.test_image": 32,
    "volume.test_volume_reimage": 10,
}
ALL = {"image_template_enabled": True, "image_clone_direct_url_schemes": ["cinder"]}
# Those that come to the code that calls a driver's `clone_image`, and not to ours.
SILENT = {
    "test_create_from_image_bigger_size": "Cinder refuses the image before it asks a driver",
    "test_create_encrypted_volume_from_enc_image": "Cinder asks no driver about an encrypted volume",
    "test_create_encrypted_volume_from_image": "Cinder asks no driver about an encrypted volume",
    "test_create_volume_from_image_not_cloned_status_available": "the test replaces the driver's `clone_image`",
}

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


@pytest.fixture(params=[pytest.param("with_defaults", marks=pytest.mark.long), "with_all_on"])
def outcomes(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.mark.long
def test_cinders_own_drivers_pass_all_of_them(cinder_suite_on_theirs: Worker) -> None:
    outcomes = run(cinder_suite_on_theirs, ours=False, options={})
    assert not_passed(outcomes) == {}
    assert not any(outcome["ours"] for outcome in outcomes.values())


def test_with_ours_all_of_them_pass_too(outcomes: Outcomes) -> None:
    assert not_passed(outcomes) == {}


def test_whoever_asks_a_driver_asks_ours(outcomes: Outcomes) -> None:
    asking = {name for name, outcome in outcomes.items() if outcome["asks"]}
    assert len(asking) == 29
    assert short({name for name in asking if not outcomes[name]["ours"]}) == SILENT.keys()
