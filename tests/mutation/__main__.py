"""`python -m tests.mutation DIRECTORY [MODULE ...] [--processes N]`: change the core, and judge its tests.

It fails where fewer than 95 of 100 mutants of a module are killed, where one survives that `survivors.toml` does not
list, and where one is listed that does not survive.  A mutant that ran into mutmut's limit of time, or that broke the
interpreter, is not counted as killed: it is listed like any other, or fails the run.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path

from tests.mutation import mutating, survivors

LEAST_PERCENT = 95


def main() -> int:
    """Run, print the figures, and give the exit status."""
    parser = argparse.ArgumentParser(prog="tests.mutation")
    parser.add_argument("directory", type=Path, help="where to work; what it holds is deleted")
    parser.add_argument("modules", nargs="*", help="of the core; all of them unless some are named")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_intermixed_args()
    if unknown := set(asked.modules) - set(mutating.modules()):
        parser.error(f"no module of the core: {', '.join(sorted(unknown))}")
    chosen = asked.modules or mutating.modules()
    listed = survivors.read()

    sound, results = True, list[mutating.Result]()
    for module in chosen:
        began = time.monotonic()
        mutating.lay_out(asked.directory, module)
        try:
            found = mutating.run(asked.directory, processes=asked.processes)
        except RuntimeError as error:  # the other modules can still be told about
            print(f"{module}: {error}")
            sound = False
            continue
        results += found
        alive = {mutating.describe(asked.directory, each): each.status for each in found if each.status != "killed"}
        percent = print_figure(module, found, minutes=(time.monotonic() - began) / 60)
        new, gone = survivors.compare(alive, (mutant for mutant in listed if mutant.module == module))
        for mutant in new:
            print(f"not killed ({alive[mutant]}) and not in {survivors.LIST.name}:\n{mutant}")
        for mutant in gone:
            print(f"killed, or no mutant any more; take it out of {survivors.LIST.name}:\n{mutant}")
        sound = sound and percent >= LEAST_PERCENT and not new and not gone
    print_figure("in all", results)
    return 0 if sound else 1


def print_figure(name: str, results: list[mutating.Result], *, minutes: float | None = None) -> float:
    """Print how many of these mutants were killed and what became of the others; give the percentage."""
    statuses = Counter(result.status for result in results)
    total, killed = statuses.total(), statuses.pop("killed", 0)
    percent = 100 * killed / total if total else 100.0
    others = "".join(f", {count} {status}" for status, count in sorted(statuses.items()))
    took = "" if minutes is None else f"; {minutes:.1f} minutes"
    low = "" if percent >= LEAST_PERCENT else f"; FEWER THAN {LEAST_PERCENT} %"
    print(f"{name}: {killed} of {total} mutants killed, {percent:.1f} %{others}{took}{low}")
    return percent


if __name__ == "__main__":
    sys.exit(main())
