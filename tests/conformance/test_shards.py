"""Shards, workers and limits of real services, those of one process and those in memory pass one suite."""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any, ClassVar

import attrs
import pytest
from tooz import coordination

from imagevol_adapters.coordination import ToozLocks, from_url
from imagevol_adapters.coordination.services import key_of
from imagevol_adapters.fleet import (
    BoardLimits,
    Fleet,
    LeasedShards,
    LeasedWorkers,
    LocalBoard,
    LocalLocks,
    fleet_from_url,
    local_shards,
    shards_from_url,
)
from imagevol_adapters.fleet.recorded import key_of_shard, key_of_worker
from imagevol_adapters.ports import Claim, Lock, Locks, Shards, WorkerLimits, Workers
from imagevol_adapters.testing.conformance import (
    LocksConformance,
    ShardsConformance,
    WorkerLimitsConformance,
    WorkersConformance,
)
from imagevol_adapters.testing.memory import MemoryBoard, MemoryLocks, MemoryShards, MemoryWorkers
from imagevol_core import LockLost, ServiceFailed
from imagevol_core.sharding import MOST_IN_USE, Shard, Worker
from tests.coordination.services import Service, left_alone, running

RARELY, OFTEN = 3600, 0.05  # in seconds


class TestMemoryShards(ShardsConformance):
    @pytest.fixture
    def shards(self) -> MemoryShards:
        return MemoryShards(most_failures=2)

    @pytest.fixture
    def others(self, shards: MemoryShards) -> Shards:
        return LeasedShards(shards.board, shards.locks, most_failures=2)

    @pytest.fixture
    def unreachable(self) -> Shards:
        shards = MemoryShards()
        shards.board.reachable = False
        return shards

    @pytest.fixture
    def lose(self, shards: MemoryShards) -> Callable[[Claim], None]:
        return shards.lose


class TestLocalShards(ShardsConformance):
    @pytest.fixture
    def shards(self) -> LeasedShards:
        return local_shards(most_failures=2, most_in_use=MOST_IN_USE)

    @pytest.fixture
    def unreachable(self) -> Shards:
        return LeasedShards(MemoryBoard(reachable=False), MemoryLocks(reachable=False))

    @pytest.fixture
    def lose(self, shards: LeasedShards) -> Callable[[Claim], None]:
        def lose(claim: Claim) -> None:
            assert isinstance(shards.locks, LocalLocks)
            (lock,) = [lock for name, lock in shards.locks._taken.items() if name.endswith(claim.shard.id)]
            assert shards.locks.let_go(lock)

        return lose

    def test_they_leave_nothing_when_all_were_withdrawn(self, shards: LeasedShards) -> None:
        assert isinstance(shards.board, LocalBoard)
        self.test_a_shard_that_is_withdrawn_is_gone_and_its_worker_has_lost_it(shards, shards)
        for record in shards.records():
            shards.withdraw(record.shard)
        assert shards.board.all() == {}


class TestLocalLocks(LocksConformance):
    @pytest.fixture
    def locks(self) -> LocalLocks:
        return LocalLocks()

    @pytest.fixture
    def unreachable(self) -> Locks:
        return MemoryLocks(reachable=False)  # those of this process always answer

    @pytest.fixture
    def lose(self, locks: LocalLocks) -> Callable[[Lock], None]:
        def lose(lock: Lock) -> None:
            assert locks.let_go(lock)

        return lose


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Service]]:
    """Gives a lock service, one of each for all tests of the module."""
    with left_alone(), ExitStack() as until:
        yield functools.cache(lambda name: until.enter_context(running(name, tmp_path_factory.mktemp(name))))


def ended(service: Service, lock: str) -> None:
    """End the lease of a lock, as the service does when it is not renewed."""
    other = coordination.get_coordinator(service.url, b"other")
    other.start()
    assert other.get_lock(key_of(lock)).break_()
    other.stop()


class TestRedisShards(ShardsConformance):
    name: ClassVar[str] = "redis"

    @pytest.fixture
    def service(self, started: Callable[[str], Service]) -> Service:
        return started(self.name)

    @pytest.fixture
    def shards(self, service: Service) -> Iterator[Shards]:
        shards, locks = shards_from_url(service.url, most_failures=2)
        with closing(locks):
            for record in shards.records():
                shards.withdraw(record.shard)
            yield shards

    @pytest.fixture
    def others(self, service: Service) -> Iterator[Shards]:
        shards, locks = shards_from_url(service.url, most_failures=2)
        with closing(locks):
            yield shards

    @pytest.fixture
    def unreachable(self, service: Service) -> Shards:
        url = f"{service.url.partition(':')[0]}://127.0.0.1:1"
        return shards_from_url(url, answer_seconds=1, patience_seconds=0)[0]

    @pytest.fixture
    def lose(self, service: Service) -> Callable[[Claim], None]:
        return lambda claim: ended(service, f"shard-{key_of_shard(claim.shard)}")

    def test_a_worker_whose_lock_another_program_has_lost_its_shard_though_its_record_is_as_it_was(
        self, service: Service, shards: Shards, lose: Callable[[Claim], None]
    ) -> None:
        shards.submit(Shard(job="audit", id="1", kind="deep"))
        claim = shards.claim(Worker(name="one", kinds=frozenset({"deep"})))
        assert claim is not None
        lose(claim)
        name = f"shard-{key_of_shard(claim.shard)}"
        with closing(from_url(service.url)) as locks, locks.held(name, wait_seconds=0) as lock:
            with pytest.raises(LockLost, match="does not say any more that the worker holds the lock"):
                claim.ensure_held()
            lock.ensure_held()

    def put(self, driver: Any, key: bytes, text: bytes) -> None:
        """Write on the board as another program does."""
        driver._client.hset(b"imagevol-shards", key, text)

    def test_what_another_program_wrote_is_passed_over_and_can_be_taken_away(self, shards: LeasedShards) -> None:
        assert isinstance(shards.locks, ToozLocks)
        shard = Shard(job="audit", id="1", kind="deep")
        assert shards.submit(shard)
        for key, text in ((b"zzz", b"junk"), (b"\xff", b"\xfe"), (b"caf\xc3\xa9", b""), (b"audit/2", b"\xff" * 3000)):
            self.put(shards.locks.member(), key, text)
        assert [record.shard for record in shards.records()] == [shard]
        assert shards.submit(Shard(job="audit", id="2", kind="deep"))  # in place of what was there
        claim = shards.claim(Worker(name="one", kinds=frozenset({"deep"})))
        assert claim is not None
        claim.done({})
        assert shards.readable.remove_unreadable() == 3
        assert set(shards.board.all()) == {"audit/1", "audit/2"}

    def test_each_attempt_names_the_host_of_its_worker(self, shards: Shards) -> None:
        shards.submit(Shard(job="audit", id="1", kind="deep"))
        claim = shards.claim(Worker(name="one", kinds=frozenset({"deep"})))
        assert claim is not None
        assert [record.host for record in shards.records()] == [socket.gethostname()]
        claim.give_back()


def test_a_key_that_another_program_uses_is_named_with_what_to_do(started: Callable[[str], Service]) -> None:
    with closing(fleet_from_url(f"{started('redis').url}&db=5", where="--board")) as fleet:
        fleet.locks.member()._client.set("imagevol-limits", "x")  # type: ignore[attr-defined]
        board = fleet.limit_board
        calls: tuple[Callable[[], object], ...] = (
            board.all,
            lambda: board.get("a"),
            lambda: board.create("a", "b"),
            lambda: board.replace("a", "b", "c"),
            lambda: board.replace("a", "b", None),
        )
        for call in calls:
            with pytest.raises(ServiceFailed) as refused:
                call()
            assert str(refused.value) == (
                f"lock service {fleet.locks.service}: another program uses its key imagevol-limits: delete it with "
                "`redis-cli -n 5 DEL imagevol-limits` if no program needs it, or name another database in --board, "
                "such as ?db=1"
            )


class TestEtcdShards(TestRedisShards):
    name: ClassVar[str] = "etcd"

    def put(self, driver: Any, key: bytes, text: bytes) -> None:
        driver.client.put(b"imagevol-shards/" + key, text)

    def test_whether_a_worker_has_its_shard_is_one_request(
        self, shards: LeasedShards, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert isinstance(shards.locks, ToozLocks)
        shards.submit(Shard(job="audit", id="1", kind="deep"))
        claim = shards.claim(Worker(name="one", kinds=frozenset({"deep"})))
        assert claim is not None
        client = shards.locks.member().client  # type: ignore[attr-defined]
        post, asked = client.post, list[str]()

        def counted(url: str, *arguments: Any, **more: Any) -> object:
            asked.append(url.rpartition("/")[2])
            return post(url, *arguments, **more)

        monkeypatch.setattr(client, "post", counted)
        for _ in range(5):
            claim.ensure_held()
        assert [each for each in asked if each != "keepalive"] == ["txn"] * 5  # a lease is renewed when it is due
        claim.give_back()

    @pytest.mark.parametrize("text", [b"", b"junk", b"\xff"])
    def test_a_worker_whose_record_cannot_be_read_has_lost_its_shard(self, shards: LeasedShards, text: bytes) -> None:
        assert isinstance(shards.locks, ToozLocks)
        shards.submit(Shard(job="audit", id="1", kind="deep"))
        claim = shards.claim(Worker(name="one", kinds=frozenset({"deep"})))
        assert claim is not None
        self.put(shards.locks.member(), b"audit/1", text)
        with pytest.raises(LockLost, match="was withdrawn"):
            claim.ensure_held()
        claim.give_back()


class TestMemoryWorkers(WorkersConformance):
    @pytest.fixture
    def workers(self) -> MemoryWorkers:
        return MemoryWorkers()

    @pytest.fixture
    def others(self, workers: MemoryWorkers) -> Workers:
        return LeasedWorkers(workers.board, workers.locks, renew_seconds=OFTEN)

    @pytest.fixture
    def unreachable(self) -> Workers:
        workers = MemoryWorkers()
        workers.board.reachable = workers.locks.reachable = False
        return workers

    @pytest.fixture
    def lose(self, workers: MemoryWorkers) -> Callable[[str], None]:
        return lambda name: workers.lose(Worker(name=name, kinds=frozenset()))


class TestRedisWorkers(WorkersConformance):
    name: ClassVar[str] = "redis"

    @pytest.fixture
    def service(self, started: Callable[[str], Service]) -> Service:
        return started(self.name)

    @pytest.fixture
    def workers(self, service: Service) -> Iterator[Workers]:
        with closing(fleet_from_url(service.url)) as fleet:
            yield attrs.evolve(fleet.workers, renew_seconds=RARELY)

    @pytest.fixture
    def others(self, service: Service) -> Iterator[Workers]:
        with closing(fleet_from_url(service.url)) as fleet:
            yield attrs.evolve(fleet.workers, renew_seconds=OFTEN)

    @pytest.fixture
    def unreachable(self, service: Service) -> Workers:
        url = f"{service.url.partition(':')[0]}://127.0.0.1:1"
        return fleet_from_url(url, answer_seconds=1, patience_seconds=0).workers

    @pytest.fixture
    def lose(self, service: Service) -> Callable[[str], None]:
        return lambda name: ended(service, f"worker-{key_of_worker(name)}")


class TestEtcdWorkers(TestRedisWorkers):
    name: ClassVar[str] = "etcd"


def worker(name: str) -> Worker:
    return Worker(name=name, kinds=frozenset())


class TestMemoryLimits(WorkerLimitsConformance):
    @pytest.fixture
    def workers(self) -> MemoryWorkers:
        return MemoryWorkers(renew_seconds=0.02)

    @pytest.fixture
    def board(self) -> MemoryBoard:
        return MemoryBoard()

    @pytest.fixture
    def present(self, workers: MemoryWorkers) -> Iterator[ExitStack]:
        with workers.present(worker("two"), host="node-2", jobs=1), ExitStack() as present:
            present.enter_context(workers.present(worker("one"), host="node-1", jobs=1))
            yield present

    @pytest.fixture
    def one(self, board: MemoryBoard, workers: MemoryWorkers, present: ExitStack) -> WorkerLimits:
        return BoardLimits(board, workers.board, "one", lease_seconds=lambda: 0.3)

    @pytest.fixture
    def two(self, board: MemoryBoard, workers: MemoryWorkers, present: ExitStack) -> WorkerLimits:
        return BoardLimits(board, workers.board, "two", lease_seconds=lambda: 0.3)

    @pytest.fixture
    def kill(self, present: ExitStack) -> Callable[[], None]:
        return present.close

    @pytest.fixture
    def unreachable(self) -> WorkerLimits:
        board = MemoryBoard(reachable=False)
        return BoardLimits(board, board, "one", lease_seconds=lambda: 1)


class TestRedisLimits(WorkerLimitsConformance):
    name: ClassVar[str] = "redis"

    @pytest.fixture
    def service(self, started: Callable[[str], Service]) -> Service:
        return started(self.name)

    @pytest.fixture
    def fleet(self, service: Service) -> Iterator[Fleet]:
        with closing(fleet_from_url(service.url)) as fleet:
            for key, text in fleet.limit_board.all().items():
                fleet.limit_board.replace(key, text, None)
            yield fleet

    @pytest.fixture
    def present(self, fleet: Fleet) -> Iterator[ExitStack]:
        with ExitStack() as present:
            present.enter_context(fleet.workers.present(worker("one"), host="node-1", jobs=1))
            yield present

    @pytest.fixture
    def one(self, fleet: Fleet, present: ExitStack) -> WorkerLimits:
        return fleet.limits("one")

    @pytest.fixture
    def two(self, service: Service, fleet: Fleet) -> Iterator[WorkerLimits]:
        with (
            closing(fleet_from_url(service.url)) as other,
            other.workers.present(worker("two"), host="node-2", jobs=1),
        ):
            yield other.limits("two")

    @pytest.fixture
    def kill(self, present: ExitStack) -> Callable[[], None]:
        return present.close

    @pytest.fixture
    def unreachable(self, service: Service) -> WorkerLimits:
        url = f"{service.url.partition(':')[0]}://127.0.0.1:1"
        return fleet_from_url(url, answer_seconds=1, patience_seconds=0).limits("one")


class TestEtcdLimits(TestRedisLimits):
    name: ClassVar[str] = "etcd"
