"""`python -m benchmarks.fleet_processes feed|work URL DIRECTORY PLAN`: the processes of `benchmarks.fleet`.

The feeder offers the shards of a job, and a worker does them until SIGTERM.  A shard is a range of locations.  A
simulated service takes its time for each, and counts in `changed` how often each was changed.  Each shard has a
journal, from which another worker goes on.  Each process prints what it measured, as JSON.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs

from imagevol_adapters.fleet import Fleet, LeasedShards, fleet_from_url, run_job, worker_name
from imagevol_adapters.journals import JournalFile, journal_line
from imagevol_adapters.ports import Claim
from imagevol_core.sharding import Shard, ShardState, Worker
from tests.fleet.working import Counted, do_shards, ended_by_sigterm

__all__ = ["KIND", "Plan", "Service", "is_right"]

KIND = "simulated"
MIB = 1 << 20


@attrs.frozen(kw_only=True)
class Plan:
    """A job.

    Args:
        job: its name.
        locations: how many there are.
        shard: how many a shard has.
        step: how many a worker changes between two looks at its lease; it writes its journal as often.
        seconds: that the service takes for each.
    """

    job: str
    locations: int
    shard: int
    step: int
    seconds: float

    def shards(self) -> list[Shard]:
        """Give its shards."""
        return [
            Shard(
                job=self.job,
                id=f"{number:06}",
                kind=KIND,
                work={"first": first, "count": min(self.shard, self.locations - first), "seconds": self.seconds},
            )
            for number, first in enumerate(range(0, self.locations, self.shard))
        ]


class Service:
    """The simulated service, as far as one shard is concerned: it changes locations, and counts how often."""

    def __init__(self, path: Path, shard: Shard) -> None:
        self.first, self.seconds = int(shard.work["first"]), float(shard.work["seconds"])
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(descriptor, shard.work["count"])
            self.counts = mmap.mmap(descriptor, shard.work["count"])
        finally:
            os.close(descriptor)

    def change(self, location: int) -> None:
        """Change a location."""
        if self.seconds:
            time.sleep(self.seconds)
        self.counts[location - self.first] += 1

    def close(self) -> None:
        """Leave it."""
        self.counts.close()


class ShardJournal(JournalFile):
    """What was done of one shard.

    Attributes:
        done: how many locations were changed, in their order.
    """

    done: int = 0

    @classmethod
    def of(cls, path: Path) -> ShardJournal:
        """Begin a journal, or take up that of a worker that lost the shard."""
        if not path.exists():
            journal = cls(path, cls.create_file(path))
            journal.begin(_HEAD)
            return journal
        lines: list[Any] = []
        journal = cls(path, cls.open_file(path, lines.append, lambda: None))
        journal.done = len(lines) - 1
        return journal

    def record(self, locations: range) -> None:
        """Write down what was changed."""
        self._append(b"".join(map(_line, locations)))


def is_right(shard: Shard, directory: Path) -> bool:
    """Tell whether each location of a shard was changed once, and the journal says so."""
    first, count = shard.work["first"], shard.work["count"]
    changed = (directory / "changed" / shard.id).read_bytes()
    journal = (directory / "journals" / shard.id).read_bytes()
    lines = (b'{"location":%d}\n' % location for location in range(first, first + count))
    return bool(changed == b"\1" * count and journal == _HEAD + b"".join(lines))


_HEAD = journal_line({"kind": KIND})


def _line(location: int) -> bytes:
    return journal_line({"location": location})


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
            shards=LeasedShards(board, fleet.locks),
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
        shard = claim.shard
        first, last = shard.work["first"], shard.work["first"] + shard.work["count"]
        journal = ShardJournal.of(directory / "journals" / shard.id)
        with journal, closing(Service(directory / "changed" / shard.id, shard)) as service:
            for step in range(first + journal.done, last, plan.step):
                locations = range(step, min(step + plan.step, last))
                claim.ensure_held()
                for location in locations:
                    service.change(location)
                journal.record(locations)
                changed += len(locations)
        ended.append((time.monotonic(), time.process_time()))
        return {"changed": last - first}

    worker = Worker(name=worker_name(), kinds=frozenset({KIND}))
    with fleet.workers.present(worker, host="localhost", jobs=1):
        cpu = time.process_time()
        do_shards(LeasedShards(board, fleet.locks), worker, do, stopping=stopping)
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
