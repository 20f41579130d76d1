"""Drives two workers over the cloud in memory, in batches that their seeds bring about again."""

from __future__ import annotations

import logging
import sys
import time

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.language.machine import Machine
from tests.faults.recorded import options, record

BATCH = 40


def main() -> int:
    parser = options(__doc__)
    parser.set_defaults(minutes=60.0)
    parser.add_argument("--as-found", action="store_true", help="do not look for the shortest way to a failure")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}, {arguments.minutes:g} minutes", flush=True)
    Machine.tally.seed = arguments.seed
    logging.disable(logging.CRITICAL)  # of the procedures, which name what they find
    until = time.monotonic() + 60 * arguments.minutes
    batch = 0
    while time.monotonic() < until:
        seeded = seed(arguments.seed + batch)(type("Seeded", (Machine,), {}))
        run_state_machine_as_test(
            seeded,
            settings=settings(
                max_examples=BATCH,
                stateful_step_count=12,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=(Phase.generate,) if arguments.as_found else (Phase.generate, Phase.shrink),
            ),
        )
        batch += 1
        record("language", Machine.tally.rows(), directory=arguments.directory)
        tried = sum(row.tried for row in Machine.tally.rows())
        print(f"batch {batch}, seed {arguments.seed + batch - 1}: {tried} faults so far", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
