"""Two workers share a cloud in memory, whose calls go wrong: no data is lost, and what is left is repaired."""

from __future__ import annotations

import os

import hypothesis
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.language.jobs import JOBS, NAMES
from tests.faults.language.machine import Machine

SEED = 1
EXAMPLES = int(os.environ.get("IMAGEVOL_LANGUAGE_EXAMPLES", "60"))


def test_no_data_is_lost_and_all_that_is_left_is_named_and_repaired() -> None:
    print(f"seed {SEED}")
    machine = hypothesis.seed(SEED)(type("Seeded", (Machine,), {}))
    run_state_machine_as_test(
        machine,
        settings=hypothesis.settings(
            max_examples=EXAMPLES,
            stateful_step_count=12,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
        ),
    )


def test_each_job_has_a_name_for_the_page() -> None:
    assert NAMES.keys() == JOBS.keys()
