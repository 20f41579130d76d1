"""Brings about faults at each call of each procedure, on real services; what follows names procedures.

Without `--all`, the seed draws a few faults for each call, so that each call and each fault is tried.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tests.cloud.bringup import running
from tests.cloud.record import Cloud
from tests.cloud.settings import BACKENDS, Settings, with_filter, with_mixin
from tests.faults.proxy.calls import FAULTS, Call, dealt, drawn
from tests.faults.proxy.forking import Ran, Runner, runner
from tests.faults.proxy.passing import proxies
from tests.faults.proxy.procedures import PROCEDURES
from tests.faults.proxy.site import Site
from tests.faults.proxy.trying import TIMEOUT_SECONDS, calls_of, tried
from tests.faults.proxy.within import led_through
from tests.faults.recorded import Tally, options, record

_EACH = 3
_ALIKE = 2  # calls of a kind, as of the polls of one volume
_PATIENCE_SECONDS = 20  # more than our code has; Cinder's own calls of Glance have no deadline
_LASTING = 0.25  # of the tries: the service does not recover


def main() -> int:
    """Try what was asked for; 1 if something does not hold."""
    arguments = _arguments()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="imagevol-proxy-") as directory:
        if arguments.cloud:
            return _run(Cloud.load(arguments.cloud), Path(directory), arguments)
        with running(Path(directory) / "cloud", settings()) as cloud:
            return _run(cloud, Path(directory), arguments)


def settings() -> Settings:
    """A cloud with all that is ours: the store, the mixin with templates, and the filter."""
    soon = {"image_clone_stall_seconds": str(TIMEOUT_SECONDS)}
    mixin = with_mixin({"image_template_enabled": "true", **soon}, glance=dict.fromkeys(BACKENDS, soon))
    return replace(mixin, overrides={**mixin.overrides, "glance/glance-api-paste.ini": with_filter()})


def _arguments() -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument("procedures", nargs="*", metavar="PROCEDURE", help=f"of {', '.join(PROCEDURES)} (default: all)")
    parser.add_argument("--all", action="store_true", help="try every fault at every call, which takes hours")
    parser.add_argument("--each", type=int, default=_EACH, help="draw so many faults for a call (default: %(default)d)")
    parser.add_argument(
        "--alike", type=int, default=_ALIKE, help="draw so many of calls that are alike (default: %(default)d)"
    )
    parser.add_argument("--tries", type=int, help="try so many of those that were drawn (default: all)")
    parser.add_argument("--fault", action="append", choices=FAULTS, help="try this fault only")
    parser.add_argument("--call", help="try only calls that have this text")
    parser.add_argument("--lasting", action="store_true", help="let no service recover (default: a quarter of them)")
    parser.add_argument("--cloud", type=Path, metavar="DIR", help="use the cloud that runs in DIR")
    return parser.parse_args()


def _run(cloud: Cloud, directory: Path, arguments: argparse.Namespace) -> int:
    services = {"keystone": cloud.auth_url, "cinder": cloud.volume_url, "glance": cloud.image_url}
    tally = Tally(seed=arguments.seed)
    with (
        proxies(services) as between,
        proxies(services, patience_seconds=_PATIENCE_SECONDS) as within,
        led_through(cloud, within),
        runner(directory) as commands,
    ):
        site = Site(cloud, between, within, directory)
        try:
            wrong = _try_all(site, commands, tally, arguments)
        finally:  # also of a run that is interrupted
            record("proxy", tally.rows(), directory=arguments.directory)
    print(f"{sum(row.tried for row in tally.rows())} tried, {wrong} wrong")
    return 1 if wrong else 0


def _try_all(site: Site, commands: Runner, tally: Tally, arguments: argparse.Namespace) -> int:
    """Try what was drawn, and give how much of it is wrong."""
    end = time.monotonic() + 60 * arguments.minutes if arguments.minutes else None
    wrong = 0
    for name, call, fault, lasting, usual in _chosen(site, commands, arguments, random.Random(arguments.seed)):
        if end is not None and time.monotonic() > end:
            break
        begun = time.monotonic()
        result = tried(site, commands, PROCEDURES[name], call, FAULTS[fault], usual, lasting=lasting)
        if not result.struck:
            continue
        tally.add(FAULTS[fault].text, name, result.outcome, left_behind=len(result.unnamed))
        mark = "ok" if result.is_right else "WRONG"
        how = "always" if lasting else "once"
        took = f"{time.monotonic() - begun:.1f} s"
        print(f"{mark}: {name}: {call}: {fault} {how}: {result.outcome} ({took})", flush=True)
        if not result.is_right:
            wrong += 1
            print(f"    left {result.left}\n    {result.said.strip()}".replace("\n", "\n    "), flush=True)
    logs = {path.name: path.read_text(errors="replace") for path in (site.cloud.directory / "log").glob("*.log")}
    for where in site.secrets_in(logs):
        wrong += 1
        print(f"WRONG: a secret is seen in {where}")
    return wrong


def _chosen(
    site: Site, commands: Runner, arguments: argparse.Namespace, dice: random.Random
) -> list[tuple[str, Call, str, bool, Ran]]:
    every = []
    for name in arguments.procedures or PROCEDURES:
        try:
            calls, usual = calls_of(site, commands, PROCEDURES[name])
        except AssertionError as error:
            print(f"WRONG: {name}: without a fault: {error}", flush=True)
            continue
        print(f"{name}: {len(calls)} calls", flush=True)
        asked = [call for call in dict.fromkeys(calls) if not arguments.call or arguments.call in str(call)]
        most = 1 if PROCEDURES[name].slow else arguments.alike
        every += [(name, call, usual) for call in (asked if arguments.all else drawn(asked, most, dice))]
    faults = arguments.fault or [*FAULTS]
    counts = [_count(name, len(faults), arguments) for name, _, _ in every]
    chosen = [
        (name, call, fault, arguments.lasting or dice.random() < _LASTING, usual)
        for (name, call, usual), hand in zip(every, dealt(faults, counts, dice), strict=True)
        for fault in hand
    ]
    if arguments.minutes is not None:
        dice.shuffle(chosen)  # so that each procedure has its share of the time
    if arguments.tries is not None:
        chosen = dice.sample(chosen, min(arguments.tries, len(chosen)))
    return chosen


def _count(name: str, faults: int, arguments: argparse.Namespace) -> int:
    """How many faults are tried at a call of a procedure."""
    return faults if arguments.all else min(faults, 1 if PROCEDURES[name].slow else arguments.each)


if __name__ == "__main__":
    sys.exit(main())
