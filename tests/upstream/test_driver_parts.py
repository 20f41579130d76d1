"""What the mixin makes of Cinder's objects and options, tried where Cinder is."""

from __future__ import annotations

import pytest

from tests.upstream.asking import Worker


@pytest.mark.parametrize("suite", ["driver_facts_suite.py", "driver_options_suite.py"])
def test_the_suite_for_the_parts_of_the_driver_passes(driver_suite: Worker, suite: str) -> None:
    outcomes = driver_suite.ask("run", suite=suite, names=[])
    assert len(outcomes) > 10
    assert {name: ended for name, ended in outcomes.items() if ended != "passed"} == {}
