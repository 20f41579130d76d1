"""The state machine: which worker goes on, by how many calls, and how the call after them goes wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from imagevol_adapters.testing.fault_language import (
    Fault,
    Faults,
    composed,
    dies,
    dies_after,
    fails,
    late,
    loses_answer,
    old,
    stalls,
    twice,
)
from imagevol_core import AccessDenied, AttachFailed, DeadlineExceeded, ImagevolError, ServiceUnreachable
from tests.faults.language.cloud import STAYS, Cloud, data_of
from tests.faults.language.jobs import JOBS, NAMES
from tests.faults.language.workers import Processes, Worker
from tests.faults.recorded import Tally

__all__ = ["Machine"]


def too_late(text: str) -> DeadlineExceeded:
    return DeadlineExceeded(text, seconds=0)


# By what the page says.
FAULTS: Mapping[str, Callable[[Worker], Fault]] = {
    "fails": lambda _: fails(),
    "does not answer": lambda _: fails(ServiceUnreachable),
    "is refused": lambda _: fails(AccessDenied),
    "stalls": lambda worker: stalls(worker.pause),
    "is done, and its answer is lost": lambda _: loses_answer(),
    "is done, and its answer is awaited too long": lambda _: loses_answer(too_late),
    "is done twice": lambda _: twice(),
    "is done twice, and the answer is lost": lambda _: composed(loses_answer(), twice()),
    "answers late": lambda worker: late(worker.pause),
    "is done late, and its answer is lost": lambda worker: composed(loses_answer(), late(worker.pause)),
    "answers something old": lambda _: old(),
    "kills the worker before it": lambda _: dies(),
    "kills the worker after it": lambda _: dies_after(),
}
OF_THIS_HOST: Mapping[str, Callable[[Worker], Fault]] = {
    "fails": lambda _: fails(AttachFailed),
    "kills the worker before it": FAULTS["kills the worker before it"],
    "kills the worker after it": FAULTS["kills the worker after it"],
}


UNDOES = ("put", "add", "clone", "get")  # which delete what they created, or name it


class Machine(RuleBasedStateMachine):
    """Two workers on one cloud."""

    tally = Tally()

    def __init__(self) -> None:
        super().__init__()
        self.processes = Processes()
        self.patched = self.processes.in_place_of_the_kernel()
        self.patched.__enter__()
        self.cloud = Cloud()
        self.cloud.plant("planted-0", data_of(1000, 5000))
        self.cloud.plant(STAYS, data_of(1001, 5000), copies=2)
        self.cloud.user_volume(data_of(1002, 5000))
        self.workers: dict[int, tuple[str, Worker]] = {}
        self.brought: dict[int, list[str]] = {0: [], 1: []}
        self.ended: list[tuple[str, str, str]] = []
        self.devices_named: set[str] = set()  # those that an error told a person to disconnect

    @rule(
        number=st.integers(0, 1),
        job=st.sampled_from(sorted(JOBS)),
        variant=st.integers(0, 3),
        calls=st.integers(0, 12),
        fault=st.sampled_from([None, *FAULTS]),
    )
    def go_on(self, number: int, job: str, variant: int, calls: int, fault: str | None) -> None:
        """A worker goes on by some calls, and the next one goes wrong; a worker that has ended begins a job."""
        if number not in self.workers:
            self.workers[number] = (job, Worker(job, JOBS[job](self.cloud, variant), self.processes))
            self.after(number)
        for _ in range(calls):
            self.step(number, None)
        self.step(number, fault)

    def step(self, number: int, fault: str | None) -> None:
        if number not in self.workers:
            return
        _job, worker = self.workers[number]
        assert worker.waiting is not None
        chosen: Fault | None = None
        if fault is not None and not worker.paused:
            at_hand = FAULTS if worker.waiting.name.startswith(("volumes.", "images.")) else OF_THIS_HOST
            fault = fault if fault in at_hand else "fails"
            chosen = at_hand[fault](worker)
            self.brought[number].append(fault)
        worker.step(chosen)
        self.after(number)

    def after(self, number: int) -> None:
        """Look at what must hold, and at how a job has ended."""
        job, worker = self.workers[number]
        note(f"worker {number}, {job}: {worker.trace[-1:]}")
        assert list(self.cloud.wrong()) == [], worker.trace
        if worker.ended:
            del self.workers[number]
            self.devices_named |= set(
                re.findall(r"device of volume ([0-9a-f-]{36})", f"{worker.error} {worker.result}")
            )
            outcome = "killed" if worker.killed else "error" if worker.error else "done"
            if not worker.killed and worker.error is not None and not isinstance(worker.error, ImagevolError):
                raise worker.error
            if outcome == "error" and job in UNDOES and not any("twice" in each for each in self.brought[number]):
                self.expect_named(worker)
            if outcome == "done" and isinstance(worker.result, str):
                there = {each.name for each in self.cloud.images.images.values() if each.status == "active"}
                assert worker.result in there | self.cloud.removed, f"{job} is done, and its image is not there"
            for fault in dict.fromkeys(self.brought[number]):
                self.ended.append((fault, NAMES[job], outcome))
            self.brought[number] = []
            note(f"  {outcome}: {worker.error}")

    def expect_named(self, worker: Worker) -> None:
        """What failed without a journal has deleted what it created, or names it."""
        error = worker.error
        text = " ".join([str(error), *getattr(error, "__notes__", ())])
        if "has created it" in text or "has made one" in text:  # and could not be looked for
            return
        unnamed = {each for each in self.cloud.made_by(worker.pid) if each not in text}
        assert unnamed == set(), f"left behind, and not named: {unnamed}: {text}"

    def teardown(self) -> None:
        try:
            for number in (0, 1):
                while number in self.workers:
                    self.step(number, None)
            self.close()
            for each in self.ended:
                self.tally.add(*each)
        finally:
            for _, worker in self.workers.values():
                worker.kill()
            self.patched.__exit__(None, None, None)
            self.cloud.close()

    def resume_migrations(self) -> None:
        """Do as a person does who has the journals of migrations that were killed."""
        for path in [each for each, of in self.cloud.journals.items() if of == "locations"]:
            self.cloud.journals = {path: "locations", **self.cloud.journals}
            with suppress(ImagevolError):
                JOBS["locations"](self.cloud, 1)(Faults(lambda _: None))

    def close(self) -> None:
        """No worker is alive: an audit names all that is left, and two repairs leave nothing."""
        cloud = self.cloud
        cloud.grow_old()
        found = cloud.audit()
        note("\n".join(map(str, found)))
        left, named = cloud.left(), cloud.named(found)
        assert left <= named, f"an audit does not name {left - named}"
        unknown = {each for each in cloud.disconnected() if cloud.attacher.connected[each] not in self.devices_named}
        assert unknown == set(), "a device stays connected without an attachment, and no error names it"
        for each in cloud.disconnected():
            del cloud.attacher.connected[each]
        results = cloud.repair_all()
        note("\n".join(f"{each.finding} -> {each.state} {each.reason}" for each in results))
        if cloud.held():
            self.resume_migrations()
            results += cloud.repair_all()
        assert list(cloud.wrong()) == []
        reasons = " ".join(str(each.reason) for each in results)
        cloud.do_by_hand(re.findall(r"openstack volume delete ([0-9a-f-]{36})", reasons))
        assert cloud.left() == set(), f"two repairs leave {cloud.left()}"
        assert cloud.attacher.connected == {}, "two repairs leave a device connected"
        assert list(map(str, cloud.audit())) == []
