"""Many workers on one board: how much faster they are together, what a location costs them, and what a look costs.

The board is a real Redis, and a real etcd, on the loopback address.  The locations and the service that changes them
are simulated: see `tests.fleet.simulated`.  The journals are in memory, since the workers of a fleet have a disk each.

All workers and the service are on one machine.  If it is virtual, its host can give its time to others, which slows
eight workers down more than one.  So five rounds are measured, and the three with the least of it count.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import attrs

from benchmarks.machine import CORES, machine
from benchmarks.pairs import RESULTS, host
from imagevol_adapters.fleet import AHEAD, Fleet, fleet_from_url
from imagevol_core.sharding import Worker
from tests.coordination.services import PROGRAMS, UNPACKED, problem, running
from tests.fleet.simulated import CHANGED, JOURNALS, KIND, Plan, is_right

SERVICES = ("redis", "etcd")
ROUNDS = 3
LOOKS = 51

WORKERS = (1, 2, 4, 8)
SERVICE_SECONDS = 0.02
LOCATIONS_OF_A_WORKER, SMALL_SHARD = 1_500, 250  # more than half a minute, in shards of six seconds
ROUNDS_OF_SCALING = 5

COUNTS = (10_000, 100_000, 1_000_000, 10_000_000)
SHARD, STEP = 10_000, 100
WORKERS_OF_COUNTS = 2

Row = dict[str, Any]

_PATIENCE_SECONDS, _LONGEST_SECONDS = 60, 3600


def main() -> None:
    """Measure, and keep the result; without the lock services, say what is missing."""
    for service in SERVICES:
        if reason := problem(service):
            print(f"fleet: {reason}: left out", file=sys.stderr)
            return
    seed = random.randrange(2**32)
    print(f"seed {seed}, load {_load()}")
    chance = random.Random(seed)
    looks, scaling, costs = list[Row](), list[Row](), list[Row]()
    for service in SERVICES:
        with _board(service) as (url, fleet):
            looks += _shown([_looked(service, fleet)])
            scaling += _shown(_scaled(service, url, fleet, chance))
            if service == SERVICES[0]:
                costs += _shown(_cost(count, url, fleet) for count in COUNTS)
    result = {
        "host": host(),
        "machine": machine(),
        "command": ["python", "-m", "benchmarks", "fleet"],
        "versions": {name: version(name) for name in ("imagevol", "tooz", "redis", "etcd3gw")} | _servers(),
        "seed": seed,
        "rounds": ROUNDS,
        "rounds_of_scaling": ROUNDS_OF_SCALING,
        "looks": looks,
        "scaling": scaling,
        "costs": costs,
    }
    (RESULTS / "fleet.json").write_text(json.dumps(result, indent=2) + "\n")


def _shown(rows: Iterable[Row]) -> list[Row]:
    shown = []
    for row in rows:
        print(*(f"{key} {value}" for key, value in row.items()), sep=", ", flush=True)
        shown.append(row)
    return shown


def _load() -> float:
    return round(os.getloadavg()[0], 1)


@contextmanager
def _board(service: str) -> Iterator[tuple[str, Fleet]]:
    """Start a lock service; its lease is that of an operator who gives none."""
    with tempfile.TemporaryDirectory(prefix="imagevol-fleet-") as directory, running(service, Path(directory)) as it:
        url = it.url.partition("?")[0]
        with closing(fleet_from_url(url)) as fleet:
            yield url, fleet


def _looked(service: str, fleet: Fleet) -> Row:
    """Measure what a feeder and a worker do again and again, on a board that is full."""
    load = _load()
    plan = Plan(job="looks", locations=AHEAD * SHARD, shard=SHARD, step=STEP, seconds=0)
    idle, worker = (Worker(name="one", kinds=frozenset({kind})) for kind in ("another", KIND))
    for shard in plan.shards():
        fleet.shards.submit(shard)
    claim = fleet.shards.claim(worker)
    assert claim is not None
    row = {
        "service": service,
        "shards": AHEAD,
        "load": load,
        "feeder_pass_ms": _median_ms(lambda: fleet.shards.records(plan.job)),
        "worker_pass_ms": _median_ms(lambda: fleet.shards.claim(idle)),
        "lease_check_ms": _median_ms(claim.ensure_held),
    }
    claim.give_back()
    for shard in plan.shards():
        fleet.shards.withdraw(shard)
    return row


def _median_ms(call: Callable[[], object]) -> float:
    seconds = []
    for _ in range(LOOKS):
        begun = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begun)
    return round(statistics.median(seconds) * 1e3, 2)


def _scaled(service: str, url: str, fleet: Fleet, chance: random.Random) -> Iterator[Row]:
    """Measure how many locations a second more workers change; each round is in an order of its own."""
    rounds: list[dict[int, Run]] = []
    for _ in range(ROUNDS_OF_SCALING):
        rounds.append({})
        for workers in chance.sample(WORKERS, len(WORKERS)):
            locations = workers * LOCATIONS_OF_A_WORKER
            rounds[-1][workers] = _ran(url, fleet, workers, locations, SMALL_SHARD, step=1, seconds=SERVICE_SECONDS)
    quietest = sorted(rounds, key=lambda runs: max(run.stolen for run in runs.values()))[:ROUNDS]
    for workers in WORKERS:
        runs = [each[workers] for each in quietest]
        yield {
            "service": service,
            "workers": workers,
            "locations": runs[0].locations,
            "loads": [each[workers].load for each in rounds],
            "stolen": [round(each[workers].stolen, 3) for each in rounds],
            "cores_busy": round(statistics.median(run.cores_busy for run in runs), 2),
            "locations_a_second": round(statistics.median(run.rate for run in runs), 1),
            "of_linear": round(statistics.median(_of_linear(each, workers) for each in quietest), 3),
            "of_linear_each": [round(_of_linear(each, workers), 3) for each in rounds],
            "worker_cpu_us": round(statistics.median(run.worker_us for run in runs)),
        }


def _of_linear(runs: Mapping[int, Run], workers: int) -> float:
    """Compare the rate of a worker among others with that of one alone, in the same round."""
    return runs[workers].rate / workers / runs[1].rate


def _cost(locations: int, url: str, fleet: Fleet) -> Row:
    """Measure what a location costs if the service takes no time."""
    runs = [_ran(url, fleet, WORKERS_OF_COUNTS, locations, SHARD, step=STEP, seconds=0) for _ in range(ROUNDS)]
    return {
        "locations": locations,
        "shards": -(-locations // SHARD),
        "loads": [run.load for run in runs],
        "locations_a_second": round(statistics.median(run.rate for run in runs)),
        "worker_cpu_us": round(statistics.median(run.worker_us for run in runs), 2),
        "feeder_cpu_us": round(statistics.median(run.feeder_us for run in runs), 2),
        "worker_mib": round(max(run.worker_mib for run in runs)),
        "feeder_mib": round(max(run.feeder_mib for run in runs)),
        "most_on_the_board": max(run.most for run in runs),
    }


@attrs.frozen(kw_only=True)
class Run:
    """What was measured of one job.

    Attributes:
        locations: how many were changed, each once.
        load: of the machine before.
        cores_busy: how many cores of the machine were busy with this and with all else.
        stolen: the part of the time of all cores that the machine's host gave to others.
        rate: how many were changed a second, from the first to the last.
        worker_us: CPU time of the workers for each.
        feeder_us: CPU time of the feeder for each.
        worker_mib: the most memory of a worker.
        feeder_mib: the most memory of the feeder.
        most: how many shards were on the board at once.
    """

    locations: int
    load: float
    cores_busy: float
    stolen: float
    rate: float
    worker_us: float
    feeder_us: float
    worker_mib: float
    feeder_mib: float
    most: int


def _ran(url: str, fleet: Fleet, workers: int, locations: int, shard: int, *, step: int, seconds: float) -> Run:
    """Run a job, and hold that each change was made once."""
    plan = Plan(job=f"job-{time.monotonic_ns()}", locations=locations, shard=shard, step=step, seconds=seconds)
    load = _load()
    in_memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="imagevol-fleet-", dir=in_memory) as name:
        directory = Path(name)
        for each in (JOURNALS, CHANGED):
            (directory / each).mkdir()
        processes = [_started("work", url, directory, plan) for _ in range(workers)]
        try:
            _wait_for(fleet, workers)
            before = _seconds_of_cores()
            processes.append(_started("feed", url, directory, plan))
            fed = _result(processes[-1])
            busy, stolen, passed = (now - then for now, then in zip(_seconds_of_cores(), before, strict=True))
            for process in processes[:workers]:
                process.terminate()
            worked = [_result(process) for process in processes[:workers]]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        if fed["changed"] != locations or not all(is_right(each, directory) for each in plan.shards()):
            raise RuntimeError(f"{locations} locations: not each was changed once")
    used = [each for each in worked if each["changed"]]
    took = max(each["ended"] for each in used) - min(each["begun"] for each in used)
    return Run(
        locations=locations,
        load=load,
        cores_busy=busy / passed,
        stolen=stolen / passed / CORES,
        rate=locations / took,
        worker_us=sum(each["cpu_seconds"] for each in used) / locations * 1e6,
        feeder_us=fed["cpu_seconds"] / locations * 1e6,
        worker_mib=max(each["memory_mib"] for each in worked),
        feeder_mib=fed["memory_mib"],
        most=max(each["most"] for each in (fed, *worked)),
    )


Process = subprocess.Popen[str]


def _started(what: str, url: str, directory: Path, plan: Plan) -> Process:
    # A release of eventlet says on each start that it is deprecated.
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.fleet_processes", what, url, str(directory)]
    return subprocess.Popen([*command, json.dumps(attrs.asdict(plan))], stdout=subprocess.PIPE, text=True)


def _result(process: Process) -> Row:
    output, _ = process.communicate(timeout=_LONGEST_SECONDS)
    if process.returncode:
        raise RuntimeError(f"{process.args!r}: exit status {process.returncode}")
    measured: Row = json.loads(output)
    return measured


def _wait_for(fleet: Fleet, workers: int) -> None:
    until = time.monotonic() + _PATIENCE_SECONDS
    while len(fleet.workers.workers()) < workers:
        if time.monotonic() > until:
            raise RuntimeError(f"there are not {workers} workers after {_PATIENCE_SECONDS} s")
        time.sleep(0.2)


def _seconds_of_cores() -> tuple[float, float, float]:
    """Give the seconds in which cores were busy, those that the host gave to others, and the time; of all cores."""
    line = Path("/proc/stat").read_text().splitlines()[0]
    user, nice, system, _idle, _waiting, irq, soft_irq, stolen = (
        int(ticks) / os.sysconf("SC_CLK_TCK") for ticks in line.split()[1:9]
    )
    return user + nice + system + irq + soft_irq, stolen, time.monotonic()


def _servers() -> dict[str, str]:
    """Give the releases of the lock services."""
    libraries = {"LD_LIBRARY_PATH": str(next(UNPACKED.glob("usr/lib/*-linux-gnu"), ""))}
    said = {
        name: subprocess.check_output(
            [str(PROGRAMS[name].path()), "--version"], env=os.environ | libraries, text=True
        ).splitlines()[0]
        for name in SERVICES
    }
    return {"redis-server": said["redis"].partition("v=")[2].split()[0], "etcd": said["etcd"].rpartition(" ")[2]}
