"""Workers that hand over at each call of a port, each a process of its own as far as the procedures can tell."""

from __future__ import annotations

import itertools
import random
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any
from unittest.mock import patch

from imagevol_adapters import processes
from imagevol_adapters.testing.fault_language import Call, Fault, Faults, Killed
from imagevol_core import ProcessRecord, RunningProcess

_PIDS = itertools.count(10_000_000)  # above what Linux gives
_LONGEST = 60  # seconds in which a worker comes to its next call


@dataclass
class Processes:
    """What this host knows of the processes of the workers."""

    alive: set[int] = field(default_factory=set)
    current: int | None = None  # the process of the worker that was told to go on: the others wait

    def begin(self) -> int:
        """Give the id of a new process."""
        pid = next(_PIDS)
        self.alive.add(pid)
        return pid

    @contextmanager
    def in_place_of_the_kernel(self) -> Iterator[None]:
        """Let every module ask these processes."""
        here = processes.this_process()
        assert here is not None

        def this_process() -> ProcessRecord:
            return here if self.current is None else replace(here, pid=self.current, started=self.current)

        def running(pid: int) -> RunningProcess:
            if pid < 10_000_000:
                return _RUNNING(pid)
            return RunningProcess(exists=pid in self.alive, started=pid if pid in self.alive else None)

        ids = random.Random(0)

        def uuid4() -> uuid.UUID:
            return uuid.UUID(int=ids.getrandbits(128), version=4)

        with ExitStack() as patches:
            patches.enter_context(patch.object(uuid, "uuid4", uuid4))  # the same for the same seed
            for module in _modules():
                for name, replaced, by in (("this_process", _THIS, this_process), ("running", _RUNNING, running)):
                    if vars(module).get(name) is replaced:
                        patches.enter_context(patch.object(module, name, by))
            yield


_THIS, _RUNNING = processes.this_process, processes.running


def _modules() -> list[ModuleType]:
    return [module for name, module in sys.modules.items() if name.startswith("imagevol_adapters")]


@dataclass
class Worker:
    """One process at work on one job, which waits before each call of a port until it is told to go on.

    Attributes:
        job: what it does, given its ports' faults.
        waiting: the call before which it waits; None if the job has ended.
        result: what the job gave.
        error: what it raised.
    """

    name: str
    job: Callable[[Faults], Any]
    host: Processes
    waiting: Call | None = None
    result: Any = None
    error: BaseException | None = None
    paused: bool = False
    trace: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.faults = Faults(lambda call: None if self._passes(call) else self._fault, before=self._park)
        self._fault: Fault | None = None
        self._arrived, self._told = threading.Semaphore(0), threading.Semaphore(0)
        self.pid = self.host.begin()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self.host.current = self.pid
        self._thread.start()
        self._await()

    @property
    def ended(self) -> bool:
        return self.waiting is None

    @property
    def killed(self) -> bool:
        return self.faults.dead

    def step(self, fault: Fault | None = None) -> None:
        """Carry out the call that it waits for, and go on to the next."""
        assert self.waiting is not None
        self.trace.append(f"{self.waiting.name}{f' [{fault.name}]' if fault else ''}")
        self._fault = fault
        self.host.current = self.pid
        self._told.release()
        self._await()

    def pause(self) -> None:
        """Let others go on in the middle of a call."""
        self.paused = True
        self._arrived.release()
        self._told.acquire()
        self.paused = False
        if self.faults.dead:
            raise Killed

    def kill(self) -> None:
        """End the process before the call that it waits for."""
        if not self.ended:
            self.faults.dead = True
            self.host.alive.discard(self.pid)
            self.step()

    def _await(self) -> None:
        if not self._arrived.acquire(timeout=_LONGEST):
            raise AssertionError(f"{self.name} hangs after {self.trace[-5:]}")
        self.host.current = None
        if self.ended:
            self._thread.join()

    def _park(self, call: Call) -> None:
        if self._passes(call):
            return
        self.waiting = call
        self._arrived.release()
        self._told.acquire()

    @staticmethod
    def _passes(call: Call) -> bool:
        """The data plane has threads of its own."""
        return call.name.startswith("device.")

    def _run(self) -> None:
        try:
            self.result = self.job(self.faults)
        except BaseException as error:  # noqa: BLE001 - a killed process ends here
            self.error = error
        self.host.alive.discard(self.pid)
        if isinstance(self.error, Killed):
            self.faults.dead = True
        self.waiting = None
        self._arrived.release()
