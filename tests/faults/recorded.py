"""What the runs record, in `docs/_data/faults/KIND.json`, and the options that every run has.

A run counts each try, and records all of them at its end::

    arguments = options(__doc__).parse_args()
    print(f"seed {arguments.seed}")
    tally = Tally(seed=arguments.seed)
    for number in range(500):
        outcome, left = kill_at(number)
        tally.add("killed at a system call", "put", outcome, left_behind=left)
    record("killing", tally.rows(), directory=arguments.directory)

A row of an earlier run stays until the same fault is tried on the same thing again.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["DIRECTORY", "Figure", "Row", "Tally", "options", "record", "recorded"]

DIRECTORY = Path(__file__).parents[2] / "docs" / "_data" / "faults"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What came of one fault, tried on one thing.

    Attributes:
        fault: what was brought about, as the page shows it.
        what: the command, procedure or part that it happened to.
        tried: how many times.
        outcomes: how many of these tries ended in which way, such as `whole`, `absent` or `error`.
        left_behind: how many things were left that no program cleans up.
        seed: the seed that brings the same faults about again; None if nothing was drawn.
    """

    fault: str
    what: str
    tried: int
    outcomes: Mapping[str, int]
    left_behind: int = 0
    seed: int | None = None

    def __post_init__(self) -> None:
        if sum(self.outcomes.values()) != self.tried:
            raise ValueError(f"{self.fault}, {self.what}: {self.tried} tries, and the outcomes are {self.outcomes}")


@dataclass(frozen=True)
class Figure:
    """What was measured before a run and after it.

    Attributes:
        what: as the page shows it, with its unit.
        before: the value before.
        after: the value after.
    """

    what: str
    before: int
    after: int


@dataclass
class Tally:
    """Counts tries, and gives a row for each fault and what it was tried on."""

    seed: int | None = None
    _outcomes: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    _left: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, fault: str, what: str, outcome: str, *, left_behind: int = 0) -> None:
        """Count one try."""
        self._outcomes.setdefault((fault, what), Counter())[outcome] += 1
        self._left[fault, what] += left_behind

    def rows(self) -> list[Row]:
        """Give what was counted."""
        return [
            Row(
                fault=fault,
                what=what,
                tried=outcomes.total(),
                outcomes=dict(outcomes.most_common()),
                left_behind=self._left[fault, what],
                seed=self.seed,
            )
            for (fault, what), outcomes in self._outcomes.items()
        ]


def recorded(kind: str, *, directory: Path = DIRECTORY) -> list[Row]:
    """Give the rows that are recorded of a kind, if any."""
    file = directory / f"{kind}.json"
    return [Row(**row) for row in json.loads(file.read_text())["rows"]] if file.exists() else []


def record(
    kind: str, rows: Iterable[Row], *, directory: Path | None = DIRECTORY, figures: Iterable[Figure] | None = None
) -> None:
    """Record rows, in place of those of the same fault and the same thing.

    Args:
        kind: of the faults.
        rows: what came of them.
        directory: where the record is; None to record nothing.
        figures: what was measured.  If there are any, the record is of this run alone.
    """
    if directory is None:
        return
    earlier = recorded(kind, directory=directory) if figures is None else []
    kept = {(row.fault, row.what): row for row in [*earlier, *rows]}
    result: dict[str, Any] = {
        "release": version("imagevol"),
        "date": datetime.now(UTC).date().isoformat(),
        "rows": [asdict(kept[key]) for key in sorted(kept)],
    }
    if figures is not None:
        result["figures"] = [asdict(figure) for figure in figures]
    directory.mkdir(parents=True, exist_ok=True)
    new = directory / f".{kind}.json.new"
    new.write_text(json.dumps(result, indent=1) + "\n")
    new.replace(directory / f"{kind}.json")


def options(description: str | None) -> argparse.ArgumentParser:
    """Make the parser of a run: `--seed`, `--minutes` and `--no-record`, which makes `directory` None."""
    text = (description or "").strip().partition("\n")[0]
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="repeat the faults of this seed")
    parser.add_argument("--minutes", type=float, default=None, help="stop after so many minutes")
    parser.add_argument(
        "--no-record",
        dest="directory",
        action="store_const",
        const=None,
        default=DIRECTORY,
        help="leave the rows of the page as they are",
    )
    return parser
