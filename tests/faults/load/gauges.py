"""What a process holds, and which locks are held, as the kernel tells."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import attrs

from tests.cloud.processes import give_back

__all__ = ["Gauge", "gauge", "locks_held", "rested"]


@attrs.frozen(kw_only=True)
class Gauge:
    """What a process holds: file descriptors, threads, and MiB of memory."""

    descriptors: int
    threads: int
    memory_mib: int


def gauge(pid: int) -> Gauge:
    """Look at a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    threads, memory = (int(re.findall(rf"^{name}:\s+(\d+)", status, re.MULTILINE)[0]) for name in ("Threads", "VmRSS"))
    return Gauge(descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())), threads=threads, memory_mib=memory >> 10)


def rested() -> Gauge:
    """Look at this process when it holds nothing that it needs no more."""
    give_back()
    return gauge(os.getpid())


def locks_held(directories: Iterable[Path]) -> list[str]:
    """Name the files in these directories on which a process holds a lock of either kind."""
    return [
        str(path)
        for directory in directories
        for path in sorted(directory.rglob("*"))
        if path.is_file() and _is_locked(path)
    ]


def _is_locked(path: Path) -> bool:
    with suppress(FileNotFoundError), path.open("r+b") as file:
        for lock in (fcntl.lockf, fcntl.flock):
            try:
                lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            lock(file, fcntl.LOCK_UN)
    return False
