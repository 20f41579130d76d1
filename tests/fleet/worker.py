"""`python -m tests.fleet.worker URL DIRECTORY NAME`: a worker that reads a file of each shard and makes a change, once.

It writes a line to `begun` for each attempt.  A change that was made already is written to `twice`.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagevol_adapters.fleet import shards_from_url
from imagevol_adapters.ports import Claim
from imagevol_core.sharding import Worker
from tests.fleet.working import do_shards, ended_by_sigterm

KIND = "file"
SECONDS = 0.05  # that a shard takes


def line(path: Path, *words: object) -> None:
    """Append a line, whole."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
    os.close(descriptor)


def main() -> None:
    url, directory, name = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    stopping = ended_by_sigterm()

    def work(claim: Claim) -> Mapping[str, Any]:
        line(directory / "begun", claim.shard.id, claim.attempt, name, time.monotonic())
        data = (directory / "files" / claim.shard.id).read_bytes()
        time.sleep(SECONDS)
        changed = directory / "changed" / claim.shard.id
        if not changed.exists():  # what an earlier attempt has changed stays
            claim.ensure_held()
            try:
                os.close(os.open(changed, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                line(directory / "twice", claim.shard.id, name)
        return {"sha256": hashlib.sha256(data).hexdigest()}

    shards, locks = shards_from_url(url, answer_seconds=10)
    worker = Worker(name=name, kinds=frozenset({KIND}))
    do_shards(shards, worker, work, stopping=stopping, idle_seconds=0.2)
    locks.close()


if __name__ == "__main__":
    main()
