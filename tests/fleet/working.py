"""What a worker process does until it is told to end, and a board that counts; `benchmarks.fleet` has them too."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from threading import Event

import attrs

from imagevol_adapters.fleet import Fleet, LeasedShards, serve
from imagevol_adapters.fleet.running import Work
from imagevol_adapters.ports import ShardBoard, Shards
from imagevol_core.sharding import Worker


@attrs.define
class Counted:
    """A board that counts what is on it.

    Attributes:
        most: how many texts there were at once, at most.
    """

    board: ShardBoard
    most: int = attrs.field(default=0, init=False)

    def all(self) -> Mapping[str, str]:
        """Give every text by its key."""
        found = self.board.all()
        self.most = max(self.most, len(found))
        return found

    def get(self, key: str) -> str | None:
        """Give one text; None if there is none."""
        return self.board.get(key)

    def create(self, key: str, text: str) -> bool:
        """Write a text if there is none of this key."""
        return self.board.create(key, text)

    def replace(self, key: str, old: str, new: str | None) -> bool:
        """Write another text, or take it away, if it still is the old one."""
        return self.board.replace(key, old, new)


def counting(fleet: Fleet, board: Counted) -> LeasedShards:
    """Give the shards of a fleet, over a board of theirs that counts."""
    shards = fleet.shards
    return LeasedShards(board, fleet.locks, most_failures=shards.most_failures, get_held=shards.get_held)


def ended_by_sigterm() -> Event:
    """Give what is set when this process is told to end."""
    stopping = Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    return stopping


def do_shards(shards: Shards, worker: Worker, work: Work, *, stopping: Event, idle_seconds: float = 1.0) -> None:
    """Do shards of the worker's one kind, one at a time."""
    (kind,) = worker.kinds
    serve(shards, worker=worker, works={kind: work}, jobs=1, stopping=stopping, idle_seconds=idle_seconds)
