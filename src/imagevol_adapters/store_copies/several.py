"""Several images at once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from threading import Event
from typing import TypeVar

from imagevol_adapters.engine.starting import Threads

__all__ = ["Stopped", "several"]

T = TypeVar("T")
Outcome = TypeVar("Outcome")


class Stopped(BaseException):
    """The work on an item ends where it is, because the work on another one failed, or a person interrupted it."""


def several(
    work: Callable[[T], Outcome], items: Iterable[T], *, jobs: int, stopping: Event
) -> Generator[Outcome, None, None]:
    """Work on several items at once, and give what comes of each as soon as it is known.

    If the work on one fails, or the iteration ends early, no other item is begun, and those that were begun have ended
    when this returns.

    Args:
        work: what is done with an item, in a thread if there are several jobs. It may raise `Stopped`.
        items: in the order in which they are begun.
        jobs: on how many items is worked at once, at most.
        stopping: set when the work shall end.

    >>> sorted(several(lambda number: number * 2, [1, 2, 3], jobs=2, stopping=Event()))
    [2, 4, 6]
    """
    if jobs == 1:
        for item in items:
            yield work(item)
        return
    waiting = iter(items)
    running: set[Future[Outcome]] = set()
    pool = Threads("store-copy")
    try:
        while True:
            running |= {pool.submit(work, item) for _, item in zip(range(jobs - len(running)), waiting, strict=False)}
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                yield each.result()
    finally:
        stopping.set()
        pool.end()
