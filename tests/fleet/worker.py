"""`python -m tests.fleet.worker URL DIRECTORY NAME`: a worker that makes each change once.

A shard is a file, which it reads, or simulated locations.  It writes a line to `begun` for each attempt.  A change to a
file that was made already is written to `twice`.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagevol_adapters.fleet import serve, shards_from_url
from imagevol_adapters.fleet.running import Work
from imagevol_adapters.ports import Claim
from imagevol_core.sharding import Worker
from tests.fleet import simulated
from tests.fleet.working import ended_by_sigterm

FILE = "file"
SECONDS = 0.05  # that a file takes
IDLE_SECONDS = 0.2
MOST_FAILURES = 100  # that a worker is killed is not the fault of its shard here, however often chance has it


def line(path: Path, *words: object) -> None:
    """Append a line, whole."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
    os.close(descriptor)


def check(claim: Claim, directory: Path, name: str) -> Mapping[str, Any]:
    """Read a file, and make a change."""
    data = (directory / "files" / claim.shard.id).read_bytes()
    time.sleep(SECONDS)
    changed = directory / simulated.CHANGED / claim.shard.id
    if not changed.exists():  # what an earlier attempt has changed stays
        claim.ensure_held()
        try:
            os.close(os.open(changed, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            line(directory / "twice", claim.shard.id, name)
    return {"sha256": hashlib.sha256(data).hexdigest()}


def main() -> None:
    url, directory, name = sys.argv[1], Path(sys.argv[2]), sys.argv[3]

    def noted(work: Work) -> Work:
        def begun(claim: Claim) -> Mapping[str, Any]:
            line(directory / "begun", claim.shard.id, claim.attempt, name, time.monotonic())
            return work(claim)

        return begun

    works = {
        FILE: noted(lambda claim: check(claim, directory, name)),
        simulated.KIND: noted(lambda claim: simulated.change_locations(claim, directory)),
    }
    stopping = ended_by_sigterm()
    shards, locks = shards_from_url(url, answer_seconds=10, most_failures=MOST_FAILURES)
    worker = Worker(name=name, kinds=frozenset(works))
    serve(shards, worker=worker, works=works, jobs=1, stopping=stopping, idle_seconds=IDLE_SECONDS)
    locks.close()


if __name__ == "__main__":
    main()
