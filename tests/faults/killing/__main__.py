"""Kills each command at many system calls, on services in memory and on real ones, and records what was left.

Each command runs once to count its system calls.  Then points are drawn from the seed.  What was tried is kept beside
the environments, so that a run with the same seed goes on where it was stopped.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults.killing import commands
from tests.faults.killing.points import Point
from tests.faults.killing.preloaded import IN_MEMORY, ON_REAL
from tests.faults.killing.running import Result, Run, Try
from tests.faults.killing.tracing import forks, why_not
from tests.faults.recorded import options, record


def main() -> int:
    """Try the points of a seed; give 1 if something was left or did not hold."""
    parser = options(__doc__)
    parser.add_argument("--points", type=int, default=500, help="try so many points of each (default: %(default)s)")
    parser.add_argument("--only", action="append", metavar="NAME", help="try this command or service only")
    parser.add_argument("--services", choices=("memory", "real"), action="append", help="on these (default: both)")
    parser.add_argument("--at", type=Point.parse, action="append", help="try this point, such as fsync#3:SIGKILL")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="try so many at a time in memory (default: %(default)s)"
    )
    parser.add_argument("--list", action="store_true", help="name what can be tried")
    arguments = parser.parse_args()
    if arguments.list:
        from tests.faults.killing import real, real_services  # noqa: PLC0415 - they need what the services are made of

        print(*commands.COMMANDS, *real.COMMANDS, *real_services.SERVICES, sep="\n")
        return 0
    if problem := why_not():
        print(f"Skipped: {problem}")
        return 0
    print(f"seed {arguments.seed}", flush=True)
    ends = time.monotonic() + arguments.minutes * 60 if arguments.minutes is not None else None
    run = Run(arguments.seed, arguments.points, arguments.only, arguments.at, ends)
    try:
        for services in arguments.services or ("memory", "real"):
            if services == "memory":
                _in_memory(run, arguments.jobs)
            else:
                _on_real(run)
    finally:
        record("killing", run.rows(), directory=None if arguments.at else arguments.directory)
    print(f"{run.wrong} of {run.tried} points left something or do not hold.")
    return 1 if run.wrong else 0


def _in_memory(run: Run, jobs: int) -> None:
    with ExitStack() as stack:
        run.all_of(list(commands.COMMANDS), "memory", [stack.enter_context(_a_memory()) for _ in range(jobs)])


@contextmanager
def _a_memory() -> Iterator[Try]:
    numbers = itertools.count()
    with tempfile.TemporaryDirectory() as directory, forks(Path(directory), *IN_MEMORY) as made:

        def attempt(name: str, point: Point | None, trace: Path | None, *, learns: bool = False) -> Result:
            place = Path(directory) / str(next(numbers))
            place.mkdir()
            try:
                points = [point] if point else []
                tried = commands.try_command(name, made, place, points, trace=trace, learns=learns)
                return Result(
                    outcome=tried.outcomes[0],
                    killed=bool(tried.killed),
                    by_hand=tried.by_hand,
                    problems=tried.problems,
                    seconds=tried.seconds,
                )
            finally:
                shutil.rmtree(place)

        yield attempt


def _on_real(run: Run) -> None:
    from tests.faults.killing import real, real_cloud, real_services  # noqa: PLC0415 - they need what the services are

    names = [name for name in (*real.COMMANDS, *real_services.SERVICES) if run.wants(name)]
    if not names:
        return
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="k")))
        made = stack.enter_context(forks(directory, *ON_REAL))
        cloud = stack.enter_context(real_cloud.real_cloud(directory, made))

        def attempt(name: str, point: Point | None, trace: Path | None, *, learns: bool = False) -> Result | None:
            if name in real.COMMANDS:
                return real.try_command(name, cloud, point, trace, learns=learns)
            return real_services.try_service(name, cloud, point, trace or directory / "trace")

        run.all_of(names, "real services", [attempt], running=real_services.SERVICES)


if __name__ == "__main__":
    sys.exit(main())
