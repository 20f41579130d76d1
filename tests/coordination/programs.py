"""Programs that hold locks, each a process of its own.

`python -m tests.coordination.programs WHAT URL …` prints a word a step, and goes on when it reads a line; the last is
`done`, or the name of the error.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

if "eventlet" in "".join(sys.argv[1:2]):  # of the program; a test that imports this has other arguments
    import eventlet  # type: ignore[import-untyped, import-not-found, unused-ignore]

    eventlet.monkey_patch()

from imagevol_adapters.coordination import from_url
from imagevol_adapters.ports import Locks
from imagevol_core import ImagevolError
from tests.coordination.services import LEASE_SECONDS, SECONDS

NAME = "template-host@backend#pool-00000000-0000-4000-8000-000000000000"


def step(word: str) -> None:
    print(word, flush=True)
    sys.stdin.readline()


def hold(locks: Locks) -> None:
    """Hold a lock, and look whether it is held when told to."""
    with locks.held(NAME, wait_seconds=SECONDS) as lock:
        step("held")
        lock.ensure_held()
        step("still held")


def hold_to_the_end(locks: Locks) -> None:
    """Hold a lock, and do not look."""
    with locks.held(NAME, wait_seconds=SECONDS):
        step("held")


def count(locks: Locks, file: str, times: str) -> None:
    """Add one to the number in a file, slowly, so many times."""
    path = Path(file)
    for _ in range(int(times)):
        with locks.held(NAME, wait_seconds=SECONDS) as lock:
            number = int(path.read_text())
            time.sleep(0.01)
            lock.ensure_held()
            path.write_text(str(number + 1))


def fork(locks: Locks, file: str, times: str) -> None:
    """Count in this process and in two that are forked from it when it is a member already."""
    with locks.held(NAME, wait_seconds=SECONDS):
        pass
    children = []
    for _ in range(2):
        if (child := os.fork()) == 0:
            count(locks, file, times)
            os._exit(0)
        children.append(child)
    count(locks, file, times)
    for child in children:
        if status := os.waitpid(child, 0)[1]:
            raise RuntimeError(f"a child ended with {status}")


def fork_inside(locks: Locks) -> None:
    """Fork while a lock is held: the child leaves the context, and the lock stays its parent's."""
    with locks.held(NAME, wait_seconds=SECONDS) as lock:
        if (child := os.fork()) == 0:
            return
        if status := os.waitpid(child, 0)[1]:
            raise RuntimeError(f"the child ended with {status}")
        step("held")
        lock.ensure_held()


def fork_asking(locks: Locks) -> None:
    """Fork while a lock is held: the child asks whether it is, and the lock is its parent's."""
    with locks.held(NAME, wait_seconds=SECONDS) as lock:
        if (child := os.fork()) == 0:
            lock.ensure_held()
            return
        if status := os.waitpid(child, 0)[1]:
            raise RuntimeError(f"the child ended with {status}")
        lock.ensure_held()


def eventlet_sleeping(locks: Locks) -> None:
    """Hold a lock for two leases and let others run: the heart beats."""
    with locks.held(NAME, wait_seconds=SECONDS) as lock:
        time.sleep(2 * LEASE_SECONDS)
        lock.ensure_held()
        step("still held")


def eventlet_busy(locks: Locks) -> None:
    """Hold a lock for two leases and let nobody run: the heart cannot beat."""
    sleep = eventlet.patcher.original("time").sleep
    with locks.held(NAME, wait_seconds=SECONDS) as lock:
        sleep(2 * LEASE_SECONDS)
        lock.ensure_held()
        step("still held")


WHAT: dict[str, Callable[..., None]] = {
    each.__name__: each
    for each in (hold, hold_to_the_end, count, fork, fork_inside, fork_asking, eventlet_sleeping, eventlet_busy)
}

if __name__ == "__main__":
    _, what, url, *arguments = sys.argv
    locks = from_url(url, answer_seconds=10)
    try:
        WHAT[what](locks, *arguments)
    except ImagevolError as error:
        print(type(error).__name__, flush=True)
    else:
        print("done", flush=True)
        locks.close()
