"""Workers are killed at random and the lock service stands still: each shard is done, and each change is made once."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from imagevol_adapters.fleet import LeasedShards, run_shards, shards_from_url
from imagevol_core.sharding import Shard, ShardRecord, ShardState, Worker
from tests.coordination.services import LEASE_SECONDS, Service
from tests.fleet.processes import Workers
from tests.fleet.worker import KIND
from tests.fleet.working import Counted

AHEAD = 200
STOPPED_SECONDS = 2.5 * LEASE_SECONDS


@pytest.mark.parametrize("stops", [False, True], ids=["it answers", "it stands still for a while"])
def test_each_shard_is_done_and_each_change_is_made_once_whatever_is_killed(
    service: Service, tmp_path: Path, request: pytest.FixtureRequest, *, stops: bool
) -> None:
    option = request.config.getoption
    seed, count = option("--seed") or random.randrange(2**32), option("--shards")
    print(f"seed {seed}")
    for name in ("files", "changed"):
        (tmp_path / name).mkdir()
    shard_list = [Shard(job="killing", id=f"{number:04}", kind=KIND) for number in range(count)]
    for shard in shard_list:
        (tmp_path / "files" / shard.id).write_bytes(shard.id.encode())
    shards, locks = shards_from_url(service.url, answer_seconds=10)
    shards = LeasedShards(board := Counted(shards.board), locks)
    workers = Workers("tests.fleet.worker", service.url, tmp_path, random.Random(seed))
    for _ in range(option("--workers")):
        workers.start()
    killing = threading.Thread(target=workers.kill, args=(option("--kill-seconds"),))
    killing.start()
    found: list[ShardRecord] = []
    begun = time.monotonic()
    try:
        records = run_shards(
            shard_list,
            shards=shards,
            worker=Worker(name="feeder", kinds=frozenset()),
            work=lambda _: {},
            jobs=0,
            ahead=AHEAD,
            stopping=lambda: None,
            poll_seconds=0.2,
        )
        with closing(locks), closing(records):
            for record in records:
                found.append(record)
                if stops and len(found) == count // 2:
                    with service.standing_still():
                        time.sleep(STOPPED_SECONDS)
    finally:
        workers.stopping.set()
        killing.join()
        workers.stop()
    seconds = time.monotonic() - begun
    assert Counter(record.shard.id for record in found) == Counter(shard.id for shard in shard_list)
    assert {record.state for record in found} == {ShardState.DONE}
    for record in found:
        assert record.outcome == {"sha256": hashlib.sha256(record.shard.id.encode()).hexdigest()}
    assert not (tmp_path / "twice").exists()
    assert len(list((tmp_path / "changed").iterdir())) == count
    assert board.most <= AHEAD
    attempts = [line.split() for line in (tmp_path / "begun").read_text().splitlines()]
    assert max(Counter((shard_id, attempt) for shard_id, attempt, *_ in attempts).values()) == 1
    print(
        f"{count} shards in {seconds:.0f} s, {len(workers.killed)} workers killed, {len(attempts) - count} shards done "
        f"again, {board.most} on the board at most, resumed after at most {resumed(attempts, workers.killed):.1f} s"
    )


def resumed(attempts: list[list[str]], killed: Mapping[str, float]) -> float:
    """Give the longest time in seconds from the death of a worker to the next attempt at the shard that it had."""
    begun = {(shard_id, int(attempt)): float(at) for shard_id, attempt, _, at in attempts}
    longest = 0.0
    for shard_id, attempt, name, _ in attempts:
        after = begun.get((shard_id, int(attempt) + 1))
        if name in killed and after is not None:
            longest = max(longest, after - killed[name])
    return longest
