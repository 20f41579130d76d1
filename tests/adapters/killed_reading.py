"""A program that reads volumes with a journal, and is killed again and again until it has come to its end.

`python -m tests.adapters.killed_reading DIRECTORY SEED` prints, as JSON, what each run found in the journal when it
began, and which volumes it began to read.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from imagevol_adapters.engine import Limits
from imagevol_adapters.gathering import DeepJournal, DeepTarget, deep_checks
from imagevol_core import DeepCheck, Digest

VOLUMES = 40
MOST_KILLS = 30
CLOUD = "here"


def read_all(directory: Path) -> None:
    """Read what the journal does not have."""
    journal = directory / "journal"
    begin = DeepJournal.open if journal.exists() else DeepJournal.create
    log = os.open(directory / "reads", os.O_WRONLY | os.O_APPEND)

    def check(target: DeepTarget) -> DeepCheck:
        os.write(log, f"{target.volume_id}\n".encode())
        data = (directory / target.volume_id).read_bytes()
        time.sleep(0.002)
        digest = Digest("sha256", hashlib.sha256(data).hexdigest())
        return DeepCheck(volume_id=target.volume_id, size_bytes=len(data), digest=digest, tail_is_zero=True)

    targets = (DeepTarget(volume_id=f"v{each:03}", size_bytes=1000, algorithm="sha256") for each in range(VOLUMES))
    with begin(journal, cloud=CLOUD) as opened:
        found = list(
            deep_checks(targets, check=check, journal=opened, jobs=4, limits=Limits(), failed=lambda *_: os._exit(3))
        )
    os._exit(0 if len(found) == VOLUMES else 4)


def lines(path: Path) -> list[str]:
    """The whole lines of a file."""
    return path.read_text().split("\n")[:-1] if path.exists() else []


def ended(child: int, reads: Path, count: int, seconds: float) -> int:
    """Kill a process so many seconds after the file of reads has so many lines, and give how it ended."""
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if len(lines(reads)) >= count:
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        time.sleep(0.0005)


def main() -> None:
    directory, chance = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
    for each in range(VOLUMES):
        (directory / f"v{each:03}").write_bytes(chance.randbytes(1000))
    (directory / "reads").touch()
    runs: list[dict[str, object]] = []
    status: int | None = None
    while status != 0:
        known = [json.loads(line)["volume"] for line in lines(directory / "journal")[1:]]
        before = len(lines(directory / "reads"))
        child = os.fork()  # no thread was started here, so that all of the child is its own
        if child == 0:
            read_all(directory)
        count = before + chance.randint(1, 8) if len(runs) < MOST_KILLS else before + 2 * VOLUMES
        status = ended(child, directory / "reads", count, chance.uniform(0, 0.004))
        runs.append({"status": status, "known": known, "read": lines(directory / "reads")[before:]})
    print(json.dumps(runs))


if __name__ == "__main__":
    main()
