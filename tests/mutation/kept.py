"""What became of the mutants of each module, kept, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from tests.mutation.survivors import Mutant


class Tried(NamedTuple):
    """What became of the mutants of one module.

    `statuses` counts them by mutmut's word: killed, survived, timeout, no tests, …  `alive` has those that were not
    killed, with that word.
    """

    statuses: Counter[str]
    alive: dict[Mutant, str]
    minutes: float


def keep(directory: Path, module: str, tried: Tried, *, digest: str) -> None:
    """Write down what was found; `digest` is of what it depends on."""
    directory.mkdir(parents=True, exist_ok=True)
    alive = [[*mutant, status] for mutant, status in tried.alive.items()]
    found = {"digest": digest, "statuses": tried.statuses, "alive": alive, "minutes": tried.minutes}
    (directory / f"{module}.json").write_text(json.dumps(found, indent=1))


def read(directory: Path, module: str, *, digest: str) -> Tried | None:
    """Give what was found; None if the module was not tried, or if what it depends on has changed."""
    path = directory / f"{module}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if found.get("digest") != digest:
        return None
    alive = {Mutant(*mutant): status for *mutant, status in found["alive"]}
    return Tried(Counter(found["statuses"]), alive, found["minutes"])
