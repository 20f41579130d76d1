"""What all workers together use stays in its limits, while workers are killed and while the service stands still."""

from __future__ import annotations

import random
import time
from contextlib import closing
from pathlib import Path

import pytest

from imagevol_adapters.fleet import fleet_from_url
from imagevol_core.sharding import WorkerLimit
from tests.coordination.services import LEASE_SECONDS, SECONDS, Service
from tests.fleet.limited import BACKEND, PIECE_BYTES
from tests.fleet.processes import Workers

BYTES_PER_SECOND, ATTACHMENTS = 20 << 20, 5
STOPPED_SECONDS = 2.5 * LEASE_SECONDS


def lines(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def moved(directory: Path, begin: float, end: float) -> int:
    return sum(int(size) for _, size, at in lines(directory / "moved") if begin <= float(at) < end)


def most_attached(directory: Path, killed: dict[str, float]) -> tuple[int, dict[str, int]]:
    """Give how many attachments there were at once, at most, and how many each worker had in all."""
    events, begun, counts = list[tuple[float, int]](), dict[tuple[str, str], float](), dict[str, int]()
    for name, number, what, at in lines(directory / "attached"):
        events.append((float(at), 1 if what == "begin" else -1))
        if what == "begin":
            begun[name, number] = float(at)
            counts[name] = counts.get(name, 0) + 1
        else:
            del begun[name, number]
    events += [(killed[name], -1) for name, _ in begun if name in killed]  # they ended with their worker
    most = there = 0
    for _, change in sorted(events):
        there += change
        most = max(most, there)
    return most, counts


@pytest.mark.parametrize("stops", [False, True], ids=["it answers", "it stands still for a while"])
def test_all_workers_together_stay_in_their_limits(
    service: Service, tmp_path: Path, request: pytest.FixtureRequest, *, stops: bool
) -> None:
    option = request.config.getoption
    seed, seconds = option("--seed") or random.randrange(2**32), option("--seconds")
    print(f"seed {seed}")
    with closing(fleet_from_url(service.url)) as fleet:
        limits = fleet.limits("operator")
        limits.limit(BACKEND, WorkerLimit(bytes_per_second=BYTES_PER_SECOND, attachments=ATTACHMENTS))
    chance = random.Random(seed)
    workers = Workers("tests.fleet.limited", service.url, tmp_path, chance)
    try:
        for _ in range(option("--workers")):
            workers.start()
        until = time.monotonic() + SECONDS
        while len({name for name, *_ in lines(tmp_path / "moved")}) < len(workers.processes):
            assert time.monotonic() < until, "not every worker moves bytes"
            time.sleep(0.1)
        begin = time.monotonic()
        if stops:
            time.sleep(seconds / 2)
            with service.standing_still():
                stopped = time.monotonic()
                time.sleep(STOPPED_SECONDS)
                silent = moved(tmp_path, stopped + 1, time.monotonic())
            time.sleep(seconds / 2)
        else:
            time.sleep(seconds / 2)
            workers.kill_one(sorted(workers.processes))
            time.sleep(seconds / 2)
        end = time.monotonic()
    finally:
        workers.stop()
    rate = moved(tmp_path, begin, end) / (end - begin) / BYTES_PER_SECOND
    most, counts = most_attached(tmp_path, {**workers.killed, **dict.fromkeys(workers.processes, time.monotonic())})
    print(
        f"{len(workers.processes)} workers, {end - begin:.0f} s: {rate:.3f} of the bandwidth limit, {most} attachments "
        f"at once of {ATTACHMENTS}, {min(counts.values())} to {max(counts.values())} for each worker"
    )
    assert rate <= 1.1
    assert most <= ATTACHMENTS
    assert most == ATTACHMENTS, "the limit was not reached, so nothing was shown"
    if stops:
        assert silent <= PIECE_BYTES * len(workers.processes) + BYTES_PER_SECOND, "bytes were moved that nobody booked"
    else:
        assert rate >= 0.9


def test_the_attachments_of_a_worker_that_was_killed_are_used_by_others(service: Service, tmp_path: Path) -> None:
    with closing(fleet_from_url(service.url)) as fleet:
        fleet.limits("operator").limit(BACKEND, WorkerLimit(attachments=2))
        workers = Workers("tests.fleet.limited", service.url, tmp_path, random.Random(0))
        try:
            workers.start()
            while len(lines(tmp_path / "attached")) < 4:
                time.sleep(0.01)
            workers.kill_one(sorted(workers.processes))
            workers.start()
            count, until = len(lines(tmp_path / "attached")), time.monotonic() + SECONDS
            while len(lines(tmp_path / "attached")) < count + 4:
                assert time.monotonic() < until
                time.sleep(0.01)
            (name,) = workers.killed
            print(f"used again {time.monotonic() - workers.killed[name]:.1f} s after the kill")
            while name in [each.worker.name for each in fleet.workers.workers()]:
                assert time.monotonic() < until
                time.sleep(0.1)
            print(f"not listed any more {time.monotonic() - workers.killed[name]:.1f} s after the kill")
        finally:
            workers.stop()
