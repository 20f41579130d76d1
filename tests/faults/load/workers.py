"""The workers: requests are handed out to their threads, and a worker is killed now and then."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import attrs

from tests.faults.load.gauges import Gauge
from tests.faults.load.worker import Answer, Rest, Transfer, log_of, serve

__all__ = ["KILLED", "Task", "Workers", "workers"]

KILLED = "the worker was killed"
_TICK_SECONDS = 0.05


@attrs.define
class Task:
    """A request, and how often it was handed out."""

    request: Any
    tries: int = 0
    began: float = 0


@attrs.define(eq=False)
class _Worker:
    process: Any
    pipe: Connection
    busy: dict[int, Task] = attrs.field(factory=dict)
    killed: bool = False


@attrs.define
class Workers:
    """Processes with some threads each; one that was killed is replaced.

    Attributes:
        killed: the processes that were killed.
        pids: of every one that there was.
    """

    where: str
    preloaded: Sequence[str]
    variables: Mapping[str, str]
    directory: Path
    processes: int
    threads: int
    killed: set[int] = attrs.field(factory=set)
    pids: list[int] = attrs.field(factory=list)
    _context: Any = attrs.field(init=False)
    _workers: list[_Worker] = attrs.field(factory=list, init=False)
    _tickets: Iterator[int] = attrs.field(factory=itertools.count, init=False)

    def start(self) -> None:
        """Start them all."""
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([*self.preloaded])
        self._workers = [self._started() for _ in range(self.processes)]

    def _started(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        log = log_of(self.directory, len(self.pids))
        process = self._context.Process(
            target=serve, args=(theirs, self.where, dict(self.variables), self.threads, log)
        )
        process.start()
        theirs.close()
        self.pids.append(process.pid)
        return _Worker(process, ours)

    def answers(
        self, pending: deque[Task], *, kills: Mapping[int, float] = {}, patience_seconds: float = 1800
    ) -> Iterator[tuple[Task, Answer]]:
        """Hand out what is pending, also what is added meanwhile, and give each answer.

        Args:
            pending: requests; two that read one source are not carried out at once.
            kills: at which of all the requests that are handed out here its worker is killed, and after how long.
            patience_seconds: how long one request can take.

        Raises:
            AssertionError: a worker hangs, or has ended by itself.
        """
        handed_out, due = 0, list[tuple[float, _Worker]]()
        while pending or any(worker.busy for worker in self._workers):
            for worker in self._handed(pending):
                if handed_out in kills:
                    due.append((time.monotonic() + kills[handed_out], worker))
                handed_out += 1
            for when, worker in [*due]:
                if time.monotonic() > when:
                    due.remove((when, worker))
                    self._kill(worker)
            for pipe in wait([worker.pipe for worker in self._workers], timeout=_TICK_SECONDS):
                worker = next(each for each in self._workers if each.pipe is pipe)
                try:
                    answer = worker.pipe.recv()
                except (EOFError, OSError):
                    yield from self._lost(worker)
                else:
                    yield worker.busy.pop(answer.ticket), answer
            for worker in self._workers:
                for task in worker.busy.values():
                    if time.monotonic() - task.began > patience_seconds:
                        raise AssertionError(f"it hangs in worker {worker.process.pid}: {task.request}")

    def _handed(self, pending: deque[Task]) -> Iterator[_Worker]:
        while pending:
            worker = min(self._workers, key=lambda each: len(each.busy))
            if len(worker.busy) >= self.threads:
                return
            taken = {_source(task) for each in self._workers for task in each.busy.values()} - {None}
            task = next((each for each in pending if _source(each) not in taken), None)
            if task is None:
                return
            pending.remove(task)
            task.tries, task.began = task.tries + 1, time.monotonic()
            ticket = next(self._tickets)
            worker.busy[ticket] = task
            with suppress(OSError):  # it has been killed, which is found when its answer is awaited
                worker.pipe.send((ticket, _tagged(task, ticket)))
            yield worker

    def _kill(self, worker: _Worker) -> None:
        if worker in self._workers and not worker.killed:
            worker.killed = True
            self.killed.add(worker.process.pid)
            worker.process.kill()

    def _lost(self, worker: _Worker) -> Iterator[tuple[Task, Answer]]:
        worker.process.join()
        worker.pipe.close()
        if not worker.killed:
            raise AssertionError(f"worker {worker.process.pid} has ended with {worker.process.exitcode}")
        self._workers[self._workers.index(worker)] = self._started()
        for ticket, task in worker.busy.items():
            yield task, Answer(ticket=ticket, error=KILLED, seconds=time.monotonic() - task.began)

    def rested(self) -> list[Gauge]:
        """Give what each of them holds while it has nothing to do."""
        found = []
        for worker in self._workers:
            worker.pipe.send((next(self._tickets), Rest()))
            found.append(worker.pipe.recv().result)
        return found

    def stop(self) -> None:
        """End them."""
        for worker in self._workers:
            worker.pipe.close()
        for worker in self._workers:
            worker.process.join(10)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


def _source(task: Task) -> int | None:
    return task.request.job.source if isinstance(task.request, Transfer) else None


def _tagged(task: Task, ticket: int) -> Any:
    if isinstance(task.request, Transfer):
        task.request = attrs.evolve(task.request, tag=str(ticket))
    return task.request


@contextmanager
def workers(
    where: str,
    preloaded: Sequence[str],
    variables: Mapping[str, str],
    directory: Path,
    *,
    processes: int,
    threads: int,
) -> Iterator[Workers]:
    """Workers that end with the context.

    Args:
        where: `module:function` that gives their ports.
        preloaded: the modules that are imported once, in the process of which they are forks.
        variables: of the site; they are in their environment, also as the kernel shows it.
        directory: for their output.
        processes: how many.
        threads: how many each of them has.
    """
    made = Workers(where, preloaded, variables, directory, processes, threads)
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        made.start()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    try:
        yield made
    finally:
        made.stop()
