"""Workers in threads of this process, for the commands that offer a job on a board."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import attrs
import pytest

from imagevol_adapters.cli.board_option import BOARD_PASSWORD
from imagevol_adapters.fleet import BoardLimits, Jobs, LeasedWorkers, serve
from imagevol_adapters.fleet.running import Work
from imagevol_adapters.ports import Claim, Lock, Shards
from imagevol_adapters.testing.memory import MemoryBoard, MemoryLocks, MemoryShards, MemoryWorkers
from imagevol_core.sharding import Shard, ShardRecord, Worker

URL = "redis://board.example.com:6379"
SECONDS = 30


@attrs.define
class Board:
    """A board in memory, in place of `Fleet`, and the URLs that were asked for; it can be opened again."""

    shards: MemoryShards = attrs.field(factory=lambda: MemoryShards(most_failures=1))
    workers: LeasedWorkers = attrs.field(factory=MemoryWorkers)
    jobs: Jobs = attrs.field(factory=lambda: Jobs(MemoryBoard(), MemoryLocks(), write_seconds=0))
    urls: list[str] = attrs.field(factory=list)
    service: str = URL
    closed: int = 0
    taken: MemoryLocks = attrs.field(factory=MemoryLocks)
    limit_board: MemoryBoard = attrs.field(factory=MemoryBoard)
    stopping: threading.Event = attrs.field(factory=threading.Event)

    @classmethod
    def of_commands(cls, monkeypatch: pytest.MonkeyPatch) -> Board:
        """Give a board with nothing on it, which the commands open."""
        board = cls()
        monkeypatch.setattr("imagevol_adapters.fleet.fleet_from_url", board.opened, raising=False)
        monkeypatch.delenv(BOARD_PASSWORD, raising=False)
        return board

    def opened(self, url: str, *, where: str) -> Board:
        assert where == "--board"
        self.stopping.clear()
        self.urls.append(url)
        return self

    @property
    def locks(self) -> Board:
        return self

    @property
    def name(self) -> str:
        return self.service

    @property
    def lease_seconds(self) -> float:
        return self.taken.lease_seconds

    def held(self, name: str, *, wait_seconds: float) -> AbstractContextManager[Lock]:
        return self.taken.held(name, wait_seconds=wait_seconds)

    def limits(self, worker: str) -> BoardLimits:
        return BoardLimits(self.limit_board, self.workers.board, worker, lease_seconds=lambda: SECONDS)

    def close(self) -> None:
        self.closed += 1

    def record(self, shard_id: str) -> ShardRecord:
        return next(each for each in self.shards.records() if each.shard.id == shard_id)

    def claim(self, kind: str, shard_id: str, work: Mapping[str, object], *, job: str = "job-1") -> Claim:
        """Offer a shard, and take it."""
        self.shards.submit(Shard(job=job, id=shard_id, kind=kind, work=work))
        claim = self.shards.claim(Worker(name="one", kinds=frozenset({kind})))
        assert claim is not None
        return claim


def quick(init: Callable[..., None]) -> Callable[..., None]:
    """Look often for what was done."""
    return lambda self, **given: init(self, **{"poll_seconds": 0.002, **given})


@contextmanager
def serving(shards: Shards, works: Mapping[str, Work], *, jobs: int = 2) -> Iterator[threading.Event]:
    """Let a worker take shards while the context lasts; gives what ends it."""
    worker, stopping = Worker(name="one", kinds=frozenset(works)), threading.Event()

    def run() -> None:
        serve(shards, worker=worker, works=works, jobs=jobs, stopping=stopping, idle_seconds=0.002)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield stopping
    finally:
        stopping.set()
        thread.join()
