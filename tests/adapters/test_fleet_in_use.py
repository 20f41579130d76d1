"""A volume that is in use elsewhere: no failure of its shard, tried again after a pause, and not for ever."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from imagevol_adapters.fleet import LeasedShards, local_shards, run_shards, work_on
from imagevol_adapters.ports import Claim
from imagevol_adapters.testing.memory import MemoryBoard, MemoryShards
from imagevol_core import InUse, VolumeBusy
from imagevol_core.sharding import MOST_IN_USE, Shard, ShardRecord, ShardState, Worker, pause_seconds

BUSY = VolumeBusy("7ad3", status="in-use", holders=["attachment a1: of process 4711 on host node-1"])
SHARD = Shard(job="audit", id="7ad3", kind="deep")


def busy(claim: Claim) -> Mapping[str, Any]:
    raise BUSY


def worker(name: str) -> Worker:
    return Worker(name=name, kinds=frozenset({"deep"}))


class Hosts:
    """The workers of several hosts on one board, and the clock of all of them."""

    def __init__(self) -> None:
        self.now = 100.0
        self.memory = MemoryShards(lease_seconds=10, clock=lambda: self.now)
        self.memory.submit(SHARD)
        self._shards: dict[str, LeasedShards] = {}

    def __getitem__(self, host: str) -> LeasedShards:
        if host not in self._shards:
            self._shards[host] = LeasedShards(self.memory.board, self.memory.locks, host=host, clock=lambda: self.now)
        return self._shards[host]

    def claim(self, host: str) -> Claim | None:
        return self[host].claim(worker(host))

    def claimed(self, host: str) -> Claim:
        claim = self.claim(host)
        assert claim is not None
        return claim

    @property
    def record(self) -> ShardRecord:
        (record,) = self.memory.records()
        return record


@pytest.fixture
def hosts() -> Hosts:
    return Hosts()


def test_after_a_worker_was_killed_the_workers_of_other_hosts_do_not_use_up_the_tries_of_its_volume(
    hosts: Hosts,
) -> None:
    hosts.memory.lose(hosts.claimed("node-1"))  # killed, with the volume attached
    for count in range(1, 5):
        work_on(hosts.claimed("node-2"), busy)
        assert (hosts.record.state, hosts.record.failures, hosts.record.in_use) == (ShardState.OPEN, 1, count)
        assert "attachment a1: of process 4711 on host node-1" in str(hosts.record.reason)
        assert (hosts.claim("node-2"), hosts.claim("node-3")) == (None, None)
        hosts.now += pause_seconds(count) - 1
        assert (hosts.claim("node-2"), hosts.claim("node-3")) == (None, None)
        hosts.now += 1
    work_on(hosts.claimed("node-3"), lambda _: {"digest": "ab"})
    assert (hosts.record.state, hosts.record.failures) == (ShardState.DONE, 1)


def test_a_worker_on_the_host_of_the_killed_one_takes_the_shard_at_once(hosts: Hosts) -> None:
    hosts.memory.lose(hosts.claimed("node-1"))
    work_on(hosts.claimed("node-2"), busy)
    claim = hosts.claimed("node-1")
    assert claim.attempt == 3
    work_on(claim, busy)
    assert hosts.claim("node-1") is None  # it cannot take the volume back, so it waits as the others do


def test_a_worker_that_did_not_see_when_the_volume_was_in_use_waits_for_a_whole_pause(hosts: Hosts) -> None:
    work_on(hosts.claimed("node-1"), busy)
    hosts.now += 1000
    assert hosts.claim("node-2") is None
    hosts.now += pause_seconds(1)
    assert hosts.claimed("node-2").attempt == 2


def test_a_volume_that_another_worker_found_in_use_meanwhile_is_not_tried(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = hosts.memory.board.all()
    work_on(hosts.claimed("node-2"), busy)
    monkeypatch.setattr(MemoryBoard, "all", lambda _: listed)
    assert hosts.claim("node-1") is None
    monkeypatch.undo()
    assert hosts.record.attempt == 1


def test_a_volume_that_stays_in_use_is_set_aside_after_an_hour_with_what_has_it(hosts: Hosts) -> None:
    began, attempts = hosts.now, 0
    while hosts.record.state is ShardState.OPEN:
        claim = hosts.claim("node-2")
        if claim is not None:
            attempts += 1
            work_on(claim, busy)
        hosts.now += 10
    assert attempts == MOST_IN_USE
    assert 55 * 60 <= hosts.now - began <= 60 * 60
    assert hosts.record.reason == f"10 attempts found the volume in use, and no other is made: {BUSY}"
    assert hosts["node-2"].retry(SHARD)
    assert hosts.claimed("node-2").attempt == MOST_IN_USE + 1


def test_a_volume_whose_state_does_not_pass_is_a_failure(hosts: Hosts) -> None:
    def work(claim: Claim) -> Mapping[str, Any]:
        raise InUse("volume 7ad3 is 'error'")

    work_on(hosts.claimed("node-1"), work)
    assert (hosts.record.failures, hosts.record.in_use) == (1, 0)
    assert hosts.claim("node-2")


def test_what_feeds_a_job_names_once_what_waits_and_why(hosts: Hosts, caplog: pytest.LogCaptureFixture) -> None:
    work_on(hosts.claimed("node-2"), busy)
    assert hosts.claim("node-2") is None
    passes = 0

    def each_pass() -> None:
        nonlocal passes
        passes += 1
        if passes == 4:
            hosts.now += pause_seconds(1)
            hosts.claimed("node-2").done({})

    (record,) = run_shards(
        [SHARD],
        shards=hosts.memory,
        worker=worker("feeder"),
        work=busy,
        jobs=0,
        ahead=1,
        stopping=lambda: None,
        poll_seconds=0.001,
        each_pass=each_pass,
    )
    assert record.state is ShardState.DONE
    assert caplog.messages == [f"Shard 7ad3 waits, and is tried again: {BUSY}"]


def shards_of(count: int) -> list[Shard]:
    return [Shard(job="audit", id=f"{number:03}", kind="deep") for number in range(count)]


def test_volumes_that_wait_do_not_keep_others_from_the_board_which_still_has_an_end(hosts: Hosts) -> None:
    hosts.memory.withdraw(SHARD)
    wanted, most, found = [shard.id for shard in shards_of(30)], list[int](), list[str]()

    def each_pass() -> None:
        most.append(len(hosts.memory.records()))
        while (claim := hosts.claim("node-2")) is not None:
            work_on(claim, busy if claim.shard.id < "020" else lambda _: {})
        if len(most) > 40:
            hosts.now += pause_seconds(MOST_IN_USE)

    for record in run_shards(
        shards_of(30),
        shards=hosts.memory,
        worker=worker("feeder"),
        work=busy,
        jobs=0,
        ahead=2,
        stopping=lambda: None,
        poll_seconds=0.0001,
        each_pass=each_pass,
    ):
        found.append(record.shard.id)
        assert (record.state is ShardState.DONE) is (record.shard.id >= "020")
    assert (sorted(found), max(most)) == (wanted, 10)


def test_volumes_that_wait_are_passed_by_the_others_of_the_job(hosts: Hosts) -> None:
    hosts.memory.withdraw(SHARD)
    found: list[str] = []
    passes = 0

    def each_pass() -> None:
        nonlocal passes
        passes += 1
        assert passes < 100
        while (claim := hosts.claim("node-2")) is not None:
            work_on(claim, busy if claim.shard.id < "004" else lambda _: {})

    records = run_shards(
        shards_of(12),
        shards=hosts.memory,
        worker=worker("feeder"),
        work=busy,
        jobs=0,
        ahead=2,
        stopping=lambda: None,
        poll_seconds=0.0001,
        each_pass=each_pass,
    )
    found.extend(next(records).shard.id for _ in range(8))  # and no time has passed
    assert found == [f"{number:03}" for number in range(4, 12)]
    records.close()


def test_a_job_of_this_process_alone_does_not_wait_for_a_volume_that_is_in_use() -> None:
    (record,) = run_shards(
        [SHARD],
        shards=local_shards(),
        worker=worker("one"),
        work=busy,
        jobs=1,
        ahead=1,
        stopping=lambda: None,
        poll_seconds=0.01,
    )
    assert (record.state, record.reason) == (ShardState.SET_ASIDE, str(BUSY))
