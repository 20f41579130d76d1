"""`python -m tests.mutation DIRECTORY [NAME ...]`: change the core in small ways, and judge its tests.

It fails if fewer than 97 of 100 mutants of a package are killed, if one survives that `survivors.toml` does not list,
and if one is listed that does not survive.  A mutant that ran into mutmut's limit of time, or that broke the
interpreter, is not counted as killed: it is listed like any other, or fails the run.

A run that was stopped goes on where it was: what became of a module's mutants is kept in the directory, and is used
again until the module or its tests change.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.mutation import kept, mutating, survivors
from tests.mutation.kept import Tried

LEAST_PERCENT = 97
TOP = "the modules at the top"


def main() -> int:
    """Run, print the figures, and give the exit status."""
    parser = argparse.ArgumentParser(prog="tests.mutation")
    parser.add_argument("directory", type=Path, help="where to work, and to keep what was found")
    parser.add_argument("names", nargs="*", help="modules or packages of the core (default: all modules)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="try COUNT modules at a time")
    parser.add_argument("--again", action="store_true", help="use nothing that an earlier run found")
    asked = parser.parse_intermixed_args()
    modules = mutating.modules()
    if unknown := set(asked.names) - {*modules, *map(package_of, modules)}:
        parser.error(f"no module or package of the core: {', '.join(sorted(unknown))}")
    chosen = [each for each in modules if not asked.names or {each, package_of(each)} & set(asked.names)]
    listed = survivors.read()

    sound, results = True, dict[str, Tried]()
    for module, tried in attempts(chosen, asked.directory, again=asked.again, processes=asked.processes):
        if isinstance(tried, RuntimeError):  # the other modules can still be told about
            print(f"{module}: {tried}")
            sound = False
            continue
        results[module] = tried
        print(f"{figure(module, tried.statuses)}; {tried.minutes:.1f} minutes")
        new, gone = survivors.compare(tried.alive, (mutant for mutant in listed if mutant.module == module))
        for mutant in new:
            print(f"not killed ({tried.alive[mutant]}) and not in {survivors.LIST.name}:\n{mutant}")
        for mutant in gone:
            print(f"killed, or no mutant any more; take it out of {survivors.LIST.name}:\n{mutant}")
        sound = sound and not new and not gone
    for mutant in sorted(each for each in listed if each.module not in modules):
        print(f"of no module; take it out of {survivors.LIST.name}:\n{mutant}")
        sound = False
    return 0 if judged(results) and sound else 1


def attempts(
    chosen: list[str], directory: Path, *, again: bool, processes: int
) -> Iterator[tuple[str, Tried | RuntimeError]]:
    """Give what became of each module's mutants: first what an earlier run found, then each as it is tried.

    Most of a small module's minute passes before its first mutant, on one processor: so modules run side by side, the
    largest first.
    """
    found, waiting = directory / "found", dict[str, str]()
    for module in chosen:
        digest = mutating.digest(module)
        if (tried := None if again else kept.read(found, module, digest=digest)) is not None:
            yield module, tried
        else:
            waiting[module] = digest
    each = max(1, processes // max(1, len(waiting)))
    with ThreadPoolExecutor(processes) as executor:
        running = {
            executor.submit(mutating.attempt, directory / "copies" / module, module, processes=each): module
            for module in sorted(waiting, key=mutating.size, reverse=True)
        }
        for done in as_completed(running):
            module = running[done]
            try:
                tried = done.result()
            except RuntimeError as error:
                yield module, error
                continue
            kept.keep(found, module, tried, digest=waiting[module])
            yield module, tried


def judged(results: dict[str, Tried]) -> bool:
    """Print the figures of each package, and tell whether all of those that were tried as a whole reach the least."""
    sound = True
    for package in sorted(set(map(package_of, results))):
        statuses = together(tried for module, tried in results.items() if package_of(module) == package)
        whole = all(module in results for module in mutating.modules() if package_of(module) == package)
        low = whole and percent(statuses) < LEAST_PERCENT
        print(figure(package, statuses) + (f"; FEWER THAN {LEAST_PERCENT} %" if low else ""))
        sound = sound and not low
    print(figure("in all", together(results.values())))
    return sound


def package_of(module: str) -> str:
    """`cloning.rules` is of the package `cloning`."""
    package, dot, _ = module.partition(".")
    return package if dot else TOP


def together(results: Iterable[Tried]) -> Counter[str]:
    """How many mutants of several modules ended in each way."""
    return sum((tried.statuses for tried in results), Counter[str]())


def percent(statuses: Counter[str]) -> float:
    """How many of 100 mutants were killed; all of none."""
    return 100 * statuses["killed"] / statuses.total() if statuses else 100.0


def figure(name: str, statuses: Counter[str]) -> str:
    """How many of these mutants were killed, and what became of the others."""
    others = "".join(f", {count} {status}" for status, count in sorted(statuses.items()) if status != "killed")
    return f"{name}: {statuses['killed']} of {statuses.total()} mutants killed, {percent(statuses):.1f} %{others}"


if __name__ == "__main__":
    sys.exit(main())
