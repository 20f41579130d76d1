"""A simulated service that changes locations and counts how often; what a worker does with a shard of them.

`benchmarks.fleet` measures with it, too.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs

from imagevol_adapters.journals import JournalFile, journal_line
from imagevol_adapters.ports import Claim
from imagevol_core.sharding import Shard

__all__ = ["CHANGED", "JOURNALS", "KIND", "Plan", "Service", "ShardJournal", "change_locations", "is_right"]

KIND = "locations"
JOURNALS, CHANGED = "journals", "changed"


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
                work={
                    "first": first,
                    "count": min(self.shard, self.locations - first),
                    "step": self.step,
                    "seconds": self.seconds,
                },
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

    def is_changed(self, location: int) -> bool:
        """Tell whether a location was changed."""
        return bool(self.counts[location - self.first])

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


def change_locations(claim: Claim, directory: Path) -> Mapping[str, Any]:
    """Do a shard: change what its journal does not have, and what a killed worker has not changed since its last line.

    Args:
        claim: of the shard.
        directory: has the journals, and what the service has changed.
    """
    work = claim.shard.work
    last = work["first"] + work["count"]
    journal = ShardJournal.of(directory / JOURNALS / claim.shard.id)
    with journal, closing(Service(directory / CHANGED / claim.shard.id, claim.shard)) as service:
        for step in range(work["first"] + journal.done, last, work["step"]):
            locations = range(step, min(step + work["step"], last))
            claim.ensure_held()
            for location in locations:
                if not service.is_changed(location):
                    service.change(location)
            journal.record(locations)
    return {"changed": work["count"]}


def is_right(shard: Shard, directory: Path) -> bool:
    """Tell whether each location of a shard was changed once, and the journal says so."""
    first, count = shard.work["first"], shard.work["count"]
    changed = (directory / CHANGED / shard.id).read_bytes()
    journal = (directory / JOURNALS / shard.id).read_bytes()
    lines = (b'{"location":%d}\n' % location for location in range(first, first + count))
    return bool(changed == b"\1" * count and journal == _HEAD + b"".join(lines))


def _line(location: int) -> bytes:
    return journal_line({"location": location})


_HEAD = journal_line({"kind": KIND})
