"""`python -m tests.fleet.limited URL DIRECTORY NAME`: a worker that moves bytes and has attachments, as fast as it may.

It writes a line to `moved` for each piece that it moves, and to `attached` when it has an attachment and when it has
none again, each with the time.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import closing
from pathlib import Path

from imagevol_adapters.fleet import fleet_from_url
from imagevol_adapters.ports import WorkerLimits
from imagevol_core.sharding import Worker
from tests.fleet.worker import line

BACKEND = "host@fast"
PIECE_BYTES = 1 << 16
ATTACHED_SECONDS = 0.3
WANTED = 2  # attachments of a worker


def move(limits: WorkerLimits, directory: Path, name: str) -> None:
    pace = limits.pace([BACKEND])
    while True:
        time.sleep(pace(PIECE_BYTES))
        line(directory / "moved", name, PIECE_BYTES, time.monotonic())


def attach(limits: WorkerLimits, directory: Path, name: str, number: int) -> None:
    while True:
        with limits.attachment(BACKEND) as slot:
            slot.ensure_held()
            line(directory / "attached", name, number, "begin", time.monotonic())
            time.sleep(ATTACHED_SECONDS)
            line(directory / "attached", name, number, "end", time.monotonic())


def main() -> None:
    url, directory, name = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    with closing(fleet_from_url(url)) as fleet:
        limits = fleet.limits(name)
        with fleet.workers.present(Worker(name=name, kinds=frozenset()), host="node-1", jobs=1):
            for number in range(WANTED):
                threading.Thread(target=attach, args=(limits, directory, name, number), daemon=True).start()
            move(limits, directory, name)


if __name__ == "__main__":
    main()
