"""The decisions of this tree beside those of an earlier commit: `python -m benchmarks.before COMMIT`.

Each tree has a process of its own, and the two are timed in turns, in CPU seconds, so that both see the same machine.
The result is the median of the ratios of the rounds.  The exit status is 1 if a decision takes more than a tenth more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROUNDS, IMPORTS = 21, 15
LEAST_SECONDS = 0.03  # of one round of one tree
SLOWER = 1.10
IMPORTED = {"import imagevol_core": "import imagevol_core", "all names": "from imagevol_core import *"}


@dataclass(frozen=True)
class Timed:
    """One decision in two trees: medians in microseconds, and the median of the ratios of each round."""

    name: str
    before_us: float
    after_us: float
    ratio: float

    @classmethod
    def of(cls, name: str, rounds: list[tuple[float, float]]) -> Timed:
        """Take the medians of rounds in seconds."""
        return cls(
            name,
            statistics.median(before for before, _ in rounds) * 1e6,
            statistics.median(after for _, after in rounds) * 1e6,
            statistics.median(after / before for before, after in rounds),
        )


class Tree:
    """A process that has imported the core of a tree."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.unanswered: dict[str, str | None] = json.loads(self._line())

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline()

    def seconds(self, name: str, calls: int) -> float:
        """Give the CPU seconds of so many calls."""
        assert self._process.stdin
        self._process.stdin.write(f"{name} {calls}\n")
        self._process.stdin.flush()
        return float(self._line())


@contextmanager
def sources(commit: str) -> Iterator[Path]:
    """The core of a commit, in a directory of its own."""
    archive = subprocess.check_output(["git", "-C", str(ROOT), "archive", commit, "src/imagevol_core"])
    with tempfile.TemporaryDirectory(prefix="imagevol-before-") as directory:
        # Not tarfile: its filters came with Python 3.11.4, and without one later releases warn.
        subprocess.run(["tar", "--extract", "--directory", directory], input=archive, check=True)
        yield Path(directory, "src")


@contextmanager
def tree(source: Path) -> Iterator[Tree]:
    """A process on that source."""
    command = [sys.executable, "-P", str(Path(__file__).with_name("before_worker.py"))]
    with subprocess.Popen(
        command, env=_environment(source), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Tree(process)
        finally:
            process.terminate()


def _environment(source: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(source), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": ""}


def timed(before: Tree, after: Tree) -> Iterator[Timed]:
    """Time each decision in turns; the tree that begins changes."""
    for name in before.unanswered:
        if told := before.unanswered[name] or after.unanswered[name]:
            print(f"{name}: not timed: {told}", file=sys.stderr)
            continue
        calls = 1
        while min(before.seconds(name, calls), after.seconds(name, calls)) < LEAST_SECONDS:
            calls *= 2
        rounds = []
        for number in range(ROUNDS):
            if number % 2:
                theirs, ours = before.seconds(name, calls), after.seconds(name, calls)
            else:
                ours, theirs = after.seconds(name, calls), before.seconds(name, calls)
            rounds.append((theirs / calls, ours / calls))
        yield Timed.of(name, rounds)


def imported(before: Path, after: Path) -> Iterator[Timed]:
    """Time the start of a process that imports the core, in turns."""
    for name, statement in IMPORTED.items():
        for source in (before, after):
            _import(source, statement)  # which writes the bytecode
        yield Timed.of(name, [(_import(before, statement), _import(after, statement)) for _ in range(IMPORTS)])


def _import(source: Path, statement: str) -> float:
    process = subprocess.Popen([sys.executable, "-P", "-c", statement], env=_environment(source))
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{statement} fails in {source}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Compare, print a table, and say by the exit status whether anything became slower."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.before")
    parser.add_argument("commit", help="compare with the decisions of this commit")
    commit = parser.parse_args().commit
    with ExitStack() as until:
        before, after = until.enter_context(sources(commit)), ROOT / "src"
        rows = list(imported(before, after))
        rows += timed(until.enter_context(tree(before)), until.enter_context(tree(after)))
    print(f"| decision | before ({commit}), \u00b5s | after, \u00b5s | after / before |\n|---|---|---|---|")
    for row in rows:
        mark = " slower" if row.ratio > SLOWER and row.name not in IMPORTED else ""
        print(f"| {row.name} | {row.before_us:.1f} | {row.after_us:.1f} | {row.ratio:.2f}{mark} |")
    slower = [row.name for row in rows if row.ratio > SLOWER and row.name not in IMPORTED]
    print(f"{ROUNDS} rounds of each decision; slower by more than a tenth: {', '.join(slower) or 'none'}")
    raise SystemExit(1 if slower else 0)


if __name__ == "__main__":
    main()
