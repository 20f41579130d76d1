"""Kills each command at many system calls, on services in memory and on real ones, and records what was left.

Each command runs once to count its system calls.  Then points are drawn from the seed.  What was tried is kept beside
the environments, so that a run with the same seed goes on where it was stopped.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs

from tests.faults.killing import commands
from tests.faults.killing.points import KILL, Point, counted, draw
from tests.faults.killing.preloaded import IN_MEMORY, ON_REAL
from tests.faults.killing.tracing import Forks, forks, why_not
from tests.faults.recorded import Tally, options, record

KEPT = Path(__file__).parents[3] / ".nox" / "faults"
Try = Callable[..., Any]


def main() -> int:
    """Try the points of a seed; give 1 if something was left or did not hold."""
    parser = options(__doc__)
    parser.add_argument("--points", type=int, default=500, help="try so many points of each (default: %(default)s)")
    parser.add_argument("--only", action="append", metavar="NAME", help="try this command or service only")
    parser.add_argument("--services", choices=("memory", "real"), action="append", help="on these (default: both)")
    parser.add_argument("--at", type=Point.parse, action="append", help="try this point, such as fsync#3:SIGKILL")
    parser.add_argument("--list", action="store_true", help="name what can be tried")
    arguments = parser.parse_args()
    if arguments.list:
        from tests.faults.killing import real  # noqa: PLC0415 - it needs what the services are made of

        print(*commands.COMMANDS, *real.COMMANDS, *real.SERVICES, sep="\n")
        return 0
    if problem := why_not():
        print(f"Skipped: {problem}")
        return 0
    print(f"seed {arguments.seed}", flush=True)
    ends = time.monotonic() + arguments.minutes * 60 if arguments.minutes is not None else None
    run = Run(arguments.seed, arguments.points, arguments.only, arguments.at, ends)
    try:
        for services in arguments.services or ("memory", "real"):
            {"memory": _in_memory, "real": _on_real}[services](run)
    finally:
        record("killing", run.rows(), directory=None if arguments.at else arguments.directory)
    print(f"{run.wrong} of {run.tried} points left something or do not hold.")
    return 1 if run.wrong else 0


@attrs.frozen(kw_only=True)
class _Result:
    """What came of one point."""

    outcome: str
    killed: bool
    by_hand: int
    problems: tuple[str, ...]
    seconds: float


@attrs.define
class Run:
    """What is tried, and what came of it."""

    seed: int
    points: int
    only: list[str] | None
    at: list[Point] | None
    ends: float | None
    tried: int = 0
    wrong: int = 0
    results: dict[tuple[str, str], dict[str, Any]] = attrs.field(factory=dict)

    def wants(self, name: str) -> bool:
        return not self.only or name in self.only

    @property
    def file(self) -> Path:
        return KEPT / f"killing-{self.seed}.jsonl"

    def all_of(self, names: list[str], where: str, attempt: Try) -> None:
        """Try the points of each, one of each in turn, so that a run that is stopped has tried all."""
        done = {} if self.at else self._done()
        for name in names:  # so that no point lies in Python's imports
            if self.wants(name):
                attempt(name, None, None, learns=True)
        lists = {name: self._points(name, where, attempt, done) for name in names if self.wants(name)}
        for number in range(max((len(each) for each in lists.values()), default=0)):
            for name, points in lists.items():
                if number >= len(points):
                    continue
                if self.ends is not None and time.monotonic() > self.ends:
                    return
                what, key = f"{name}, {where}", f"{number} {points[number]}"
                result = done.get((what, key))
                if result is None:
                    result = attrs.asdict(attempt(name, points[number], None))
                    result |= {"what": what, "key": key, "point": str(points[number])}
                    self._say(what, number, result)
                    if not self.at:
                        KEPT.mkdir(parents=True, exist_ok=True)
                        with self.file.open("a") as file:
                            print(json.dumps(result), file=file)
                self.tried += 1
                self.wrong += bool(result["problems"])
                self.results[what, key] = result

    def rows(self) -> Any:
        tally = Tally(seed=self.seed)
        for result in self.results.values():
            fault = "killed at a system call" if result["point"].endswith(KILL) else "a system call fails"
            left = sum(problem.startswith("left") for problem in result["problems"]) + result.get("by_hand", 0)
            tally.add(fault, result["what"], result["outcome"], left_behind=left)
        return tally.rows()

    def _points(self, name: str, where: str, attempt: Try, done: dict[tuple[str, str], Any]) -> list[Point]:
        if self.at:
            return self.at
        counts = done.get((f"{name}, {where}", "counts"))
        if counts is None:
            trace = Path(tempfile.mkdtemp()) / "trace"
            found = attempt(name, None, trace)
            counts = {"what": f"{name}, {where}", "key": "counts", "calls": dict(counted(trace))}
            shutil.rmtree(trace.parent)
            if found.problems:
                print(f"{name}, {where}, undisturbed: {found.problems}", flush=True)
                self.wrong += 1
                return []
            KEPT.mkdir(parents=True, exist_ok=True)
            with self.file.open("a") as file:
                print(json.dumps(counts), file=file)
            print(f"{name}, {where}: {counts['calls']}, {found.seconds:.1f} s", flush=True)
        rng = random.Random(f"{self.seed} {name} {where}")
        return [draw(rng, counts["calls"]) for _ in range(self.points)]

    def _done(self) -> dict[tuple[str, str], Any]:
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return {(each["what"], each["key"]): each for each in map(json.loads, lines)}

    def _say(self, what: str, number: int, result: dict[str, Any]) -> None:
        killed = "killed" if result["killed"] else "went on"
        said = f"{what} {number} {result['point']}: {killed}, {result['outcome']}, {result['seconds']:.1f} s"
        print("\n    ".join([said, *result["problems"]]), flush=True)


def _in_memory(run: Run) -> None:
    with tempfile.TemporaryDirectory() as directory, forks(Path(directory), *IN_MEMORY) as made:
        numbers = _numbers()

        def attempt(name: str, point: Point | None, trace: Path | None, *, learns: bool = False) -> _Result:
            place = Path(directory) / str(next(numbers))
            place.mkdir()
            try:
                points = [point] if point else []
                tried = commands.try_command(name, made, place, points, trace=trace, learns=learns)
                return _Result(
                    outcome=tried.outcomes[0],
                    killed=bool(tried.killed),
                    by_hand=tried.by_hand,
                    problems=tried.problems,
                    seconds=tried.seconds,
                )
            finally:
                shutil.rmtree(place)

        run.all_of(list(commands.COMMANDS), "memory", attempt)


def _on_real(run: Run) -> None:
    from tests.faults.killing import real  # noqa: PLC0415 - it needs what the services are made of

    names = [name for name in (*real.COMMANDS, *real.SERVICES) if run.wants(name)]
    if not names:
        return
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="k")))
        made: Forks = stack.enter_context(forks(directory, *ON_REAL))
        cloud = stack.enter_context(real.real_cloud(directory, made))

        def attempt(name: str, point: Point | None, trace: Path | None, *, learns: bool = False) -> real.Tried:
            if name in real.COMMANDS:
                return real.try_command(name, cloud, point, trace, learns=learns)
            return real.try_service(name, cloud, point, trace or directory / "trace")

        run.all_of(names, "real services", attempt)


def _numbers() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


if __name__ == "__main__":
    sys.exit(main())
