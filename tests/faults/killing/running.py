"""Draws the points of a seed, tries them, several at a time, and keeps what came of them."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs

from tests.faults.killing.points import KILL, Point, counted, drawn
from tests.faults.recorded import Row, Tally

__all__ = ["Result", "Run", "Try"]

KEPT = Path(__file__).parents[3] / ".nox" / "faults"
Try = Callable[..., Any]
"""Called with a name, a point or None, and where the trace is kept or None; gives what a `Result` has, or None."""


@attrs.frozen(kw_only=True)
class Result:
    """What came of one point.

    Attributes:
        outcome: `whole`, `absent` or `error`, right after the fault.
        killed: whether a process was killed.
        by_hand: how many things a person had to clean up.
        problems: what does not hold, in sentences.
        seconds: how long it took.
    """

    outcome: str
    killed: bool
    problems: tuple[str, ...]
    seconds: float
    by_hand: int = 0


@attrs.define
class Run:
    """What is tried, and what came of it; with the same seed, a run goes on where another one was stopped."""

    seed: int
    points: int
    only: list[str] | None
    at: list[Point] | None
    ends: float | None
    tried: int = 0
    wrong: int = 0
    results: dict[tuple[str, str], dict[str, Any]] = attrs.field(factory=dict)
    _learning: dict[int, tuple[str, ...]] = attrs.field(factory=dict)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def wants(self, name: str) -> bool:
        return not self.only or name in self.only

    @property
    def file(self) -> Path:
        return KEPT / f"killing-{self.seed}.jsonl"

    def all_of(self, names: Sequence[str], where: str, attempts: Sequence[Try], *, running: Iterable[str] = ()) -> None:
        """Try the points of each, one of each in turn, so that a run that is stopped has tried all.

        Args:
            names: what is disturbed.
            where: the services, as the page names them.
            attempts: as many points are tried at the same time as there are of these.
            running: those of the names that have imported all that they import.
        """
        done = {} if self.at else self._done()
        wanted = [name for name in names if self.wants(name)]
        self._learning = dict.fromkeys(map(id, attempts), tuple(name for name in wanted if name not in running))
        with ThreadPoolExecutor(len(attempts)) as pool:
            lists = {name: self._points(name, where, attempts[0], done) for name in wanted}
            todo = iter(list(_in_turn(lists)))
            try:
                list(pool.map(lambda attempt: self._work(todo, where, attempt, done), attempts))
            except BaseException:
                self.ends = time.monotonic()  # so that the others end after their point
                raise

    def rows(self) -> list[Row]:
        """Give what is recorded."""
        tally = Tally(seed=self.seed)
        for result in self.results.values():
            fault = "killed at a system call" if result["point"].endswith(KILL) else "a system call fails"
            left = sum(problem.startswith("left") for problem in result["problems"]) + result["by_hand"]
            tally.add(fault, result["what"], result["outcome"], left_behind=left)
        return tally.rows()

    def _work(self, todo: Iterator[tuple[str, Point]], where: str, attempt: Try, done: Mapping[Any, Any]) -> None:
        while self.ends is None or time.monotonic() < self.ends:
            with self._lock:
                name, point = next(todo, (None, None))
            if name is None or point is None:
                return
            what, key = f"{name}, {where}", str(point)
            result = done.get((what, key))
            if result is None or result["problems"] or result["by_hand"]:  # which may be mended now
                self._learn(attempt)
                tried = attempt(name, point, None)
                if tried is None:
                    print(f"{what}, {key}: not counted, since such a call cannot fail", flush=True)
                    continue
                result = attrs.asdict(tried) | {"what": what, "key": key, "point": key}
                self._keep(result)
            with self._lock:
                self.tried += 1
                self.wrong += bool(result["problems"] or result["by_hand"])
                self.results[what, key] = result

    def _points(self, name: str, where: str, attempt: Try, done: Mapping[tuple[str, str], Any]) -> list[Point]:
        if self.at:
            return self.at
        what = f"{name}, {where}"
        counts = done.get((what, "counts"))
        if counts is None:
            trace = Path(tempfile.mkdtemp()) / "trace"
            self._learn(attempt)
            found = attempt(name, None, trace)
            counts = {"what": what, "key": "counts", "calls": dict(counted(trace))}
            shutil.rmtree(trace.parent)
            if found.problems:
                print(f"{what}, undisturbed: {found.problems}", flush=True)
                self.wrong += 1
                return []
            self._write(counts)
            print(f"{what}: {counts['calls']}, {found.seconds:.1f} s", flush=True)
        return drawn(random.Random(f"{self.seed} {name} {where}"), counts["calls"], self.points)

    def _learn(self, attempt: Try) -> None:
        """Let each run once, before the first point, so that no point lies in Python's imports."""
        for name in self._learning.pop(id(attempt), ()):
            attempt(name, None, None, learns=True)

    def _done(self) -> dict[tuple[str, str], Any]:
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return {(each["what"], each["key"]): each for each in map(json.loads, lines)}

    def _keep(self, result: Mapping[str, Any]) -> None:
        with self._lock:
            killed = "killed" if result["killed"] else "went on"
            said = f"{result['what']}, {result['point']}: {killed}, {result['outcome']}, {result['seconds']:.1f} s"
            said += f", {result['by_hand']} cleaned up by hand" if result["by_hand"] else ""
            print("\n    ".join([said, *result["problems"]]), flush=True)
            if not self.at:
                self._write(result)

    def _write(self, line: Mapping[str, Any]) -> None:
        KEPT.mkdir(parents=True, exist_ok=True)
        with self.file.open("a") as file:
            print(json.dumps(line), file=file)


def _in_turn(lists: Mapping[str, Sequence[Point]]) -> Iterator[tuple[str, Point]]:
    for number in range(max(map(len, lists.values()), default=0)):
        yield from ((name, points[number]) for name, points in lists.items() if number < len(points))
