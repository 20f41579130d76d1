"""`python -m tests.san [--seed=N] [--reports=DIRECTORY] [FILE …] [ARGUMENT …]`: run tests in the machine.

A FILE is one of `guest`, by its name without `.py`; all are run if none is given.  Other arguments go to pytest.  What
came of the faults of a file is recorded for the page if all its tests passed, unless there is `--no-record`.
"""

from __future__ import annotations

import sys
import sysconfig
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.faults.recorded import Tally, options, record
from tests.san import prerequisites, running
from tests.san.machine import Machine


def main() -> int:
    """Make the machine if it is not there, boot it for each file of tests, and say which failed."""
    parser = options(__doc__)
    parser.add_argument("--machine", type=Path, default=Path(".nox/machine"))
    parser.add_argument("--reports", type=Path, default=Path(".nox/reports"))
    parser.add_argument("--seconds", type=int, default=3000)
    asked, arguments = parser.parse_known_args()
    if reason := prerequisites.problem():
        print(reason, file=sys.stderr)
        return 1
    print(f"seed {asked.seed}", flush=True)
    files = {path.stem: path for path in sorted(running.GUEST.glob("test_*.py"))}
    chosen = [name for name in arguments if name in files]
    site, started = Path(sysconfig.get_path("purelib")), time.monotonic()
    machine = Machine(asked.machine.absolute())
    machine.make(site)
    print(f"the machine is made after {time.monotonic() - started:.0f} s", flush=True)
    asked.reports.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in chosen or files:
        report = asked.reports / f"san-{name}.xml"
        report.unlink(missing_ok=True)
        outcome = running.run(
            machine,
            files[name],
            site=site,
            arguments=[word for word in arguments if word not in files],
            report=report,
            seconds=asked.seconds,
            seed=asked.seed,
        )
        print(f"{name}: pytest ended with {outcome.status} after {time.monotonic() - started:.0f} s", flush=True)
        if outcome.status != 0 or outcome.report is None:
            failed.append(name)
        elif outcome.tries:
            record("san", tally(outcome.tries, seed=asked.seed).rows(), directory=asked.directory)
    print(f"{', '.join(failed)} failed" if failed else "every file passed", flush=True)
    return 1 if failed else 0


def tally(tries: Iterable[Mapping[str, Any]], *, seed: int) -> Tally:
    """Count what the tests in the machine tried."""
    counted = Tally(seed=seed)
    for each in tries:
        counted.add(each["fault"], each["what"], each["outcome"], left_behind=each["left_behind"])
    return counted


if __name__ == "__main__":
    sys.exit(main())
