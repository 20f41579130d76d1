"""Brings a load about on real services: transfers by many workers, faults at random, and a boot storm beside them.

Calls of the workers to Keystone, Cinder and Glance go wrong at random, and a worker is killed now and then.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.load.plan import KINDS
from tests.faults.load.real import real_site
from tests.faults.load.run import Load, Result, Size
from tests.faults.recorded import Figure, Tally, options, record

MIB = 1 << 20
_DESCRIPTORS, _THREADS, _MEMORY_MIB = 16, 4, 64  # by which a process can differ at the end: pools that are not full


def main() -> int:
    """Do it, record what came of it, and give 1 if something does not hold."""
    arguments = _arguments()
    print(f"seed {arguments.seed}", flush=True)
    # With one arena, glibc can give back all freed memory, so that what a process holds at the end is what it uses.
    os.environ["MALLOC_ARENA_MAX"] = "1"
    size = Size(
        transfers=arguments.transfers,
        workers=arguments.workers,
        processes=max(2, arguments.workers // 4),
        volumes=arguments.volumes,
        sources=max(4, arguments.workers),
        least=MIB // 2,
        most=arguments.largest * MIB,
        killed_within_seconds=4,
    )
    began = time.monotonic()

    def tell(text: object) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)

    with tempfile.TemporaryDirectory(prefix="imagevol-load-") as directory:
        with real_site(Path(directory), seed=arguments.seed, rate=arguments.rate) as site:
            tell("the services are there")
            result = Load(site, arguments.seed, size, Path(directory), tell).run()
        result.problems += grown(result)
    for problem in result.problems:
        print(f"WRONG: {problem}")
    tally = counted(result, size, arguments)
    for row in tally.rows():
        print(f"{row.fault}: {row.what}: {row.tried}, {dict(row.outcomes)}, left behind {row.left_behind}")
    for figure in figures(result):
        print(f"{figure.what}: {figure.before} before, {figure.after} after")
    print(result.figures, flush=True)
    record("load", tally.rows(), directory=arguments.directory, figures=figures(result))
    return 1 if result.problems else 0


def _arguments() -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument("--transfers", type=int, default=200, help="make so many transfers (default: %(default)d)")
    parser.add_argument("--workers", type=int, default=16, help="so many at once (default: %(default)d)")
    parser.add_argument("--volumes", type=int, default=100, help="of the boot storm (default: %(default)d)")
    parser.add_argument("--largest", type=int, default=256, help="MiB of the largest image (default: %(default)d)")
    parser.add_argument("--rate", type=float, default=0.02, help="share of calls that go wrong (default: %(default)g)")
    return parser.parse_args()


def counted(result: Result, size: Size, arguments: argparse.Namespace) -> Tally:
    """Count each try of a transfer, each volume of the storm, and what was left at the end."""
    tally = Tally(seed=arguments.seed)
    calls, struck, killed = (result.figures[name] for name in ("calls", "calls that went wrong", "workers killed"))
    load = f"{size.workers} workers, {struck:.0f} of {calls:.0f} calls go wrong, {killed:.0f} workers are killed"
    for kind, outcomes in result.outcomes.items():
        for outcome in outcomes.elements():
            tally.add(load, KINDS[kind], outcome)
    for status in result.storm.elements():
        outcome = {"available": "whole"}.get(status, status)
        tally.add("a boot storm at the same time", "volumes of one image", outcome)
    tally.add("after all of it", "the cloud", "error" if result.problems else "whole", left_behind=len(result.left))
    return tally


def figures(result: Result) -> list[Figure]:
    """Give what each process held before the load and after it."""
    found = []
    for name, (before, after) in sorted(result.gauges.items()):
        found += [
            Figure(f"{name}, file descriptors", before.descriptors, after.descriptors),
            Figure(f"{name}, threads", before.threads, after.threads),
            Figure(f"{name}, memory in MiB", before.memory_mib, after.memory_mib),
        ]
    return [*found, Figure("locks held", 0, int(result.figures["locks held"]))]


def grown(result: Result) -> list[str]:
    """Name what a process holds more than before."""
    problems = []
    for name, (before, after) in result.gauges.items():
        more = Counter(
            {
                "file descriptors": after.descriptors - before.descriptors - _DESCRIPTORS,
                "threads": after.threads - before.threads - _THREADS,
                "MiB of memory": after.memory_mib - before.memory_mib - _MEMORY_MIB,
            }
        )
        problems += [f"{name} has more {what}: {before} before, {after} after" for what, n in more.items() if n > 0]
    return problems


if __name__ == "__main__":
    sys.exit(main())
