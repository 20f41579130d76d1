"""`python -m benchmarks.fleet_processes feed|work URL DIRECTORY PLAN`: the processes of `benchmarks.fleet`.

The feeder offers the shards of a job, and a worker does them until SIGTERM.  What a shard is, and the service that
changes its locations, is in `tests.fleet.simulated`.  Each process prints what it measured, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from imagevol_adapters.fleet import Fleet, fleet_from_url, run_job, worker_name
from imagevol_adapters.ports import Claim
from imagevol_core.sharding import ShardState, Worker
from tests.fleet.simulated import KIND, Plan, ShardJournal, change_locations
from tests.fleet.working import Counted, counting, do_shards, ended_by_sigterm

MIB = 1 << 20

_IDLE_SECONDS = 0.1  # so that all workers begin with a job at the same time


def feed(fleet: Fleet, directory: Path, plan: Plan) -> dict[str, Any]:
    """Feed a job to its end, and write down each shard that is done."""
    board = Counted(fleet.shards.board)
    path = directory / "feeder"
    begun, cpu = time.monotonic(), time.process_time()
    changed = shards = 0
    with ShardJournal.of(path) as journal:
        for record in run_job(
            plan.shards(),
            job=plan.job,
            kind=KIND,
            shards=counting(fleet, board),
            job_records=fleet.jobs,
            worker=Worker(name="feeder", kinds=frozenset()),
            work=lambda _: {},
            jobs=0,
            stopping=lambda: None,
        ):
            if record.state is not ShardState.DONE or record.outcome is None:
                raise RuntimeError(f"shard {record.shard.id}: {record.reason}")
            journal.record(range(shards, shards + 1))
            shards += 1
            changed += record.outcome["changed"]
    return {
        "changed": changed,
        "seconds": time.monotonic() - begun,
        "cpu_seconds": time.process_time() - cpu,
        "most": board.most,
    }


def work(fleet: Fleet, directory: Path, plan: Plan) -> dict[str, Any]:
    """Do shards until SIGTERM."""
    board, stopping = Counted(fleet.shards.board), ended_by_sigterm()
    changed, begun, ended = 0, list[float](), list[tuple[float, float]]()

    def do(claim: Claim) -> Mapping[str, Any]:
        nonlocal changed
        begun.append(time.monotonic())
        outcome = change_locations(claim, directory)
        changed += outcome["changed"]
        ended.append((time.monotonic(), time.process_time()))
        return outcome

    worker = Worker(name=worker_name(), kinds=frozenset({KIND}))
    with fleet.workers.present(worker, host="localhost", jobs=1):
        cpu = time.process_time()
        do_shards(counting(fleet, board), worker, do, stopping=stopping, idle_seconds=_IDLE_SECONDS)
    return {
        "changed": changed,
        "begun": begun[0] if begun else None,
        "ended": ended[-1][0] if ended else None,
        "cpu_seconds": ended[-1][1] - cpu if ended else 0,
        "most": board.most,
    }


def memory_mib() -> float:
    """Give the most memory that this process ever had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (most,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(most) * 1024 / MIB


def main() -> None:
    """Feed or work, and print what was measured."""
    what, url, directory, plan = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Plan(**json.loads(sys.argv[4]))
    with closing(fleet_from_url(url)) as fleet:
        measured = {"feed": feed, "work": work}[what](fleet, directory, plan)
    print(json.dumps({**measured, "memory_mib": memory_mib()}))


if __name__ == "__main__":
    main()
