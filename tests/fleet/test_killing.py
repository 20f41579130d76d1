"""Workers are killed at random and the lock service stands still: each shard is done, and each change is made once."""

from __future__ import annotations

import hashlib
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import attrs
import pytest

from imagevol_adapters.fleet import fleet_from_url, run_shards
from imagevol_core.sharding import Shard, ShardRecord, ShardState, Worker
from tests.coordination.services import LEASE_SECONDS, Service
from tests.fleet import simulated
from tests.fleet.processes import Workers
from tests.fleet.worker import FILE, MOST_FAILURES
from tests.fleet.working import Counted, counting

AHEAD = 200
SHARD, STEP = 10_000, 100  # locations

Fed = Callable[[Sequence[Shard], bool], "Run"]


@attrs.frozen(kw_only=True)
class Run:
    """What came of the shards of a job.

    Attributes:
        records: of the shards, as they were given.
        attempts: the id of the shard, the number of the attempt, the worker and the time, for each attempt.
        killed: when each worker was killed that was.
        stopped: when the service began to stand still, and when it went on; nothing if it did not stand still.
        most: how many shards were on the board at once.
        seconds: how long it took.
    """

    records: Sequence[ShardRecord]
    attempts: Sequence[Sequence[str]]
    killed: Mapping[str, float]
    stopped: Sequence[float]
    most: int
    seconds: float

    def check(self, shards: Sequence[Shard]) -> None:
        """Hold what must hold of any job, and print what was seen."""
        assert Counter(record.shard.id for record in self.records) == Counter(shard.id for shard in shards)
        assert [record.reason for record in self.records if record.state is not ShardState.DONE] == []
        assert self.most <= AHEAD
        assert max(Counter((shard_id, attempt) for shard_id, attempt, *_ in self.attempts).values()) == 1
        print(
            f"{len(shards)} shards in {self.seconds:.0f} s, {len(self.killed)} workers killed, "
            f"{len(self.attempts) - len(shards)} shards done again, {self.most} on the board at most, resumed after at "
            f"most {self._resumed():.1f} s while the service answers"
        )

    def _resumed(self) -> float:
        """Give the longest time in seconds from the death of a worker to the next attempt at the shard that it had.

        Of those that were not killed within two leases before the service stood still, or while it did.
        """
        begun = {(shard_id, int(attempt)): float(at) for shard_id, attempt, _, at in self.attempts}
        longest = 0.0
        for shard_id, attempt, name, _ in self.attempts:
            killed, after = self.killed.get(name), begun.get((shard_id, int(attempt) + 1))
            if killed is None or after is None:
                continue
            if self.stopped and self.stopped[0] - 2 * LEASE_SECONDS <= killed <= self.stopped[1]:
                continue
            longest = max(longest, after - killed)
        return longest


@pytest.fixture
def fed(service: Service, tmp_path: Path, request: pytest.FixtureRequest) -> Fed:
    """Has worker processes do shards while they are killed; the service may stand still, too."""
    option = request.config.getoption
    for name in ("files", simulated.CHANGED, simulated.JOURNALS):
        (tmp_path / name).mkdir()

    def feed(shard_list: Sequence[Shard], stops: bool) -> Run:
        seed = option("--seed") or random.randrange(2**32)
        print(f"seed {seed}")
        workers = Workers("tests.fleet.worker", service.url, tmp_path, random.Random(seed))
        half, stopped = threading.Event(), list[float]()
        threads = [threading.Thread(target=workers.kill, args=(option("--kill-seconds"),))]
        if stops:
            arguments = (service, half, option("--stopped-seconds"), stopped)
            threads.append(threading.Thread(target=stand_still, args=arguments))
        found: list[ShardRecord] = []
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            for _ in range(option("--workers")):
                workers.start()
            with closing(fleet_from_url(service.url, answer_seconds=10, most_failures=MOST_FAILURES)) as fleet:
                board = Counted(fleet.shards.board)
                records = run_shards(
                    shard_list,
                    shards=counting(fleet, board),
                    worker=Worker(name="feeder", kinds=frozenset()),
                    work=lambda _: {},
                    jobs=0,
                    ahead=AHEAD,
                    stopping=lambda: None,
                    poll_seconds=0.2,
                )
                with closing(records):
                    for record in records:
                        found.append(record)
                        if len(found) == len(shard_list) // 2:
                            half.set()
            assert workers.ended() == [], "these workers have ended by themselves"
        finally:
            half.set()
            workers.stopping.set()
            for thread in threads:
                thread.join()
            workers.stop()
        attempts = [line.split() for line in (tmp_path / "begun").read_text().splitlines()]
        return Run(
            records=found,
            attempts=attempts,
            killed=workers.killed,
            stopped=stopped,
            most=board.most,
            seconds=time.monotonic() - begun,
        )

    return feed


def stand_still(service: Service, begin: threading.Event, seconds: float, stopped: list[float]) -> None:
    begin.wait()
    stopped.append(time.monotonic())
    with service.standing_still():
        time.sleep(seconds)
    stopped.append(time.monotonic())


@pytest.mark.parametrize("stops", [False, True], ids=["it answers", "it stands still for a while"])
def test_each_shard_is_done_and_each_change_is_made_once_whatever_is_killed(
    fed: Fed, tmp_path: Path, request: pytest.FixtureRequest, *, stops: bool
) -> None:
    count = request.config.getoption("--shards")
    shards = [Shard(job="killing", id=f"{number:04}", kind=FILE) for number in range(count)]
    for shard in shards:
        (tmp_path / "files" / shard.id).write_bytes(shard.id.encode())
    run = fed(shards, stops)
    run.check(shards)
    for record in run.records:
        assert record.outcome == {"sha256": hashlib.sha256(record.shard.id.encode()).hexdigest()}
    assert not (tmp_path / "twice").exists()
    assert len(list((tmp_path / simulated.CHANGED).iterdir())) == count


def test_each_of_many_locations_is_changed_once_whatever_is_killed(
    fed: Fed, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    count = request.config.getoption("--locations")
    shards = simulated.Plan(job="locations", locations=count, shard=SHARD, step=STEP, seconds=0).shards()
    run = fed(shards, True)
    run.check(shards)
    wrong = [shard.id for shard in shards if not simulated.is_right(shard, tmp_path)]
    assert wrong == []
    print(f"each of {count} locations was changed once")
    shutil.rmtree(tmp_path / simulated.JOURNALS)  # of ten millions they are 200 MB
