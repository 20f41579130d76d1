"""Measures two ways of doing the same thing alternately, so that both see the same noise, and keeps the result.

A figure that counts is a ratio of one run; absolute ones are of the machine that the result names.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import timeit
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.machine import machine

RESULTS = Path(__file__).with_name("results")
ROUNDS = 11
LEAST_SECONDS = 0.02  # of one round on one side: long against the clock's grain, short against the machine's moods


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The same thing done by us and by a peer; each is called many times."""

    name: str
    ours: Callable[[], object]
    peer: Callable[[], object]
    peer_name: str


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Medians over the rounds, in microseconds a call, and the median of the ratios of each round."""

    name: str
    peer_name: str
    ours_us: float
    peer_us: float
    ratio: float


def measure(pair: Pair) -> Measured:
    """Run both sides alternately."""
    ours, peer = (timeit.Timer(side) for side in (pair.ours, pair.peer))
    calls = [_calls(side) for side in (ours, peer)]
    rounds = [
        tuple(side.timeit(count) / count * 1e6 for side, count in zip((ours, peer), calls, strict=True))
        for _ in range(ROUNDS)
    ]
    return Measured(
        name=pair.name,
        peer_name=pair.peer_name,
        ours_us=round(statistics.median(mine for mine, _ in rounds), 3),
        peer_us=round(statistics.median(theirs for _, theirs in rounds), 3),
        ratio=round(statistics.median(theirs / mine for mine, theirs in rounds), 2),
    )


def _calls(timer: timeit.Timer) -> int:
    count = 1
    while timer.timeit(count) < LEAST_SECONDS:
        count *= 2
    return count


def host() -> str:
    """Say where this is measured."""
    return f"{platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}"


def publish(name: str, measured: Iterable[Measured], *, peers: Iterable[str], **others: list[dict[str, Any]]) -> None:
    """Print the results, and write them where they are kept."""
    rows = list(measured)
    print(f"{'':44}{'ours':>12}{'theirs':>12}{'times':>8}")
    for row in rows:
        print(f"{row.name:44}{row.ours_us:>9.1f} us{row.peer_us:>9.1f} us{row.ratio:>8.2f}  {row.peer_name}")
    for kind, figures in others.items():
        for figure in figures:
            print(f"{kind}: {', '.join(f'{key} {value:,}' for key, value in figure.items())}")
    result = {
        "host": host(),
        "machine": machine(),
        "command": ["python", "-m", "benchmarks", *sys.argv[1:]],
        "versions": {package: version(package) for package in ("imagevol", *peers)},
        "rounds": ROUNDS,
        "measured": [asdict(row) for row in rows],
        **others,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
