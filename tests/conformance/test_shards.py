"""Shards in memory and shards of one process pass the suite that those of a lock service pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagevol_adapters.fleet import LeasedShards, LocalBoard, LocalLocks, local_shards
from imagevol_adapters.ports import Claim, Lock, Locks, Shards
from imagevol_adapters.testing.conformance import LocksConformance, ShardsConformance
from imagevol_adapters.testing.memory import MemoryBoard, MemoryLocks, MemoryShards


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
        return local_shards(most_failures=2)

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
