"""`try_backend` finds what a backend does that it must not do, and nothing where there is nothing."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from imagevol_adapters.cleanup import leftovers
from imagevol_adapters.testing.faults import Steps
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryVolumes
from imagevol_adapters.validating import try_backend
from imagevol_core import (
    AccessDenied,
    NotSeen,
    OverQuota,
    Result,
    Seen,
    ServiceFailed,
    ServiceUnreachable,
    ValidationFacts,
    Volume,
    validate,
)
from tests.adapters.lying import DEFECTS, HONEST, Backend, Host


def tried(volumes: MemoryVolumes, **wishes: Any) -> ValidationFacts:
    return try_backend(volumes, Host(volumes=volumes), name="lab", **{"suites": False, **wishes})


def faults(facts: ValidationFacts) -> dict[str, str]:
    lines = validate(facts).lines
    return {line.verdict.rule: line.verdict.text for line in lines if line.verdict.result is Result.FAILS}


def test_there_are_enough_lies() -> None:
    assert len(DEFECTS) >= 20
    assert len({defect.__name__ for defect in DEFECTS}) == len(DEFECTS)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda each: each.__name__)
def test_each_defect_is_found_by_the_trial_that_is_for_it(defect: type[Backend]) -> None:
    volumes = defect()
    found = faults(tried(volumes))
    assert defect.rule in found
    assert volumes.volumes == {}


@pytest.mark.parametrize("honest", HONEST, ids=lambda each: each.__name__)
def test_an_honest_backend_has_no_fault_and_keeps_nothing(honest: type[Backend]) -> None:
    volumes = honest()
    facts = tried(volumes)
    assert faults(facts) == {}
    assert validate(facts).trusted
    assert (volumes.volumes, volumes.attachments, facts.left) == ({}, {}, ())
    assert (facts.volume_type, facts.pools, facts.encrypted) == ("memory", (volumes.host,), False)


def test_every_trial_of_an_honest_backend_is_made() -> None:
    rules = {
        line.verdict.rule
        for honest in HONEST[:2]
        for line in validate(tried(honest(), suites=True)).lines
        if not line.looked
    }
    both = {
        line.verdict.rule
        for line in validate(tried(HONEST[1]())).lines
        if not line.looked and not line.verdict.rule.startswith("suite")
    }
    assert both == {"attached-once"}
    assert rules == {"attached-once", "attached-together", "setting-multiattach"}


def test_what_a_backend_does_not_offer_is_no_fault() -> None:
    facts = tried(HONEST[3]())
    lines = {line.verdict.rule: line for line in validate(facts).lines}
    for rule in ("clone-attached", "clone-outlives"):
        assert isinstance(facts.seen[rule], NotSeen)
        assert (lines[rule].looked, lines[rule].verdict.result) == (False, Result.HOLDS)
    assert not lines["setting-upload-attached"].looked


class TestSuites:
    def test_the_conformance_suites_run(self) -> None:
        volumes = Backend()
        facts = tried(volumes, suites=True)
        assert [facts.seen[suite] for suite in ("suite-volumes", "suite-attacher")] == [
            *(Seen(count=28), Seen(count=8))
        ]
        assert (volumes.volumes, volumes.attachments) == ({}, {})

    def test_a_test_that_fails_is_named(self) -> None:
        class ForgetsMetadata(Backend):
            def set_metadata(self, volume_id: str, metadata: Any) -> None:
                self._change(volume_id, metadata={**self.get(volume_id).metadata})

        found = faults(tried(ForgetsMetadata(), suites=True))
        assert " of 28 tests do not hold: " in found["suite-volumes"]
        assert "a volume grows and keeps what it has" in found["suite-volumes"]

    def test_without_pytest_they_are_not_tried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pytest", None)
        facts = tried(Backend(), suites=True)
        assert facts.seen["suite-volumes"] == NotSeen(reason="pytest is not installed")

    def test_an_interrupt_in_a_suite_ends_all_and_leaves_nothing(self) -> None:
        class Interrupted(Backend):
            def named(self, name: str) -> tuple[Volume, ...]:
                signal.raise_signal(signal.SIGINT)
                return ()

        volumes = Interrupted()
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background ignores it
        try:
            with pytest.raises(KeyboardInterrupt):
                tried(volumes, suites=True)
        finally:
            signal.signal(signal.SIGINT, before)
        assert volumes.volumes == {}


class TestFailures:
    def test_wherever_it_fails_nothing_is_left_and_the_line_says_why(self) -> None:
        steps, volumes = Steps(), MemoryVolumes()
        try_backend(steps.volumes(volumes), steps.attacher(MemoryAttacher(volumes=volumes)), name="x", suites=False)
        assert len(steps.taken) > 100
        for number in range(0, len(steps.taken), 29):
            failing, volumes = Steps(fail_at=number), MemoryVolumes()
            attacher = failing.attacher(MemoryAttacher(volumes=volumes))
            facts = try_backend(failing.volumes(volumes), attacher, name="x", suites=False, clones=2)
            left = [*volumes.volumes, *volumes.attachments]
            assert all(any(each in name for name in facts.left) for each in left), steps.taken[number]

    @pytest.mark.parametrize("number", [0, 3, 20, 60, 100])
    def test_an_interrupt_leaves_nothing(self, number: int) -> None:
        steps, volumes = Steps(fail_at=number, fault=KeyboardInterrupt), MemoryVolumes()
        attacher = steps.attacher(MemoryAttacher(volumes=volumes))
        with pytest.raises(KeyboardInterrupt):
            try_backend(steps.volumes(volumes), attacher, name="x", suites=False)
        assert (volumes.volumes, volumes.attachments) == ({}, {})

    def test_what_cannot_be_deleted_is_named(self) -> None:
        class Stuck(Backend):
            def delete(self, volume_id: str, *, wait: bool = True) -> None:
                raise ServiceFailed("it is stuck")

        volumes = Stuck()
        facts = tried(volumes)
        assert len(volumes.volumes) >= 1
        assert all(each in faults(facts)["cleaned-up"] for each in volumes.volumes)

    def test_what_cinder_lists_and_does_not_show_is_named(self) -> None:
        class Refuses(Backend):
            def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
                raise AccessDenied("Cinder does not accept the token")

            def delete(self, volume_id: str, *, wait: bool = True) -> None:
                raise AccessDenied("Cinder does not accept the token")

        volumes = Refuses()
        facts = tried(volumes)
        assert len(volumes.volumes) >= 1
        assert all(each in faults(facts)["cleaned-up"] for each in volumes.volumes)

    def test_what_an_interrupt_leaves_is_named(self) -> None:
        class Stuck(Backend):
            def attach(self, volume_id: str, **asked: Any) -> Any:
                raise KeyboardInterrupt

            def delete(self, volume_id: str, *, wait: bool = True) -> None:
                raise ServiceFailed("it is stuck")

        volumes = Stuck()
        with pytest.raises(KeyboardInterrupt) as interrupted:
            tried(volumes)
        (volume_id,) = volumes.volumes
        assert volume_id in " ".join(leftovers(interrupted.value))

    @pytest.mark.parametrize("fault", [lambda: ServiceUnreachable("lost"), KeyboardInterrupt])
    def test_a_lost_answer_leaves_nothing(
        self, fault: Callable[[], BaseException], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create = Backend.create

        def unanswered(volumes: Backend, **wishes: Any) -> None:
            create(volumes, **wishes)
            raise fault()

        monkeypatch.setattr(Backend, "create", unanswered)
        volumes = Backend()
        try:
            assert "lost" in faults(tried(volumes))["device-size"]
        except KeyboardInterrupt:
            assert fault is KeyboardInterrupt
        assert volumes.volumes == {}

    def test_a_quota_is_no_fault_of_the_backend(self) -> None:
        class Small(Backend):
            def clone(self, volume_id: str, **wishes: Any) -> Volume:
                if len(self.volumes) > 3:
                    raise OverQuota("the quota of volumes is full")
                return MemoryVolumes.clone(self, volume_id, **wishes)

        facts = tried(Small())
        assert faults(facts) == {}
        assert facts.seen["clone-count"] == NotSeen(
            reason="2 clones could be created, and then: the quota of volumes is full"
        )

    def test_an_encrypted_type_is_told_and_nothing_else_is_tried(self) -> None:
        volumes = Backend()
        facts = tried(volumes, volume_type="encrypted", suites=True)
        found = faults(facts)
        assert next(iter(found)) == "not-encrypted"
        assert not any(isinstance(seen, Seen) for seen in facts.seen.values())
        assert volumes.volumes == {}


class TestLimits:
    def test_when_its_time_is_over_it_stops_and_says_what_it_did_not_try(self) -> None:
        volumes, now = Backend(), [0.0]

        def clock() -> float:
            now[0] += 1
            return now[0]

        facts = tried(volumes, seconds=60, clock=clock)
        assert faults(facts) == {}
        missed = {rule for rule, seen in facts.seen.items() if isinstance(seen, NotSeen)}
        assert "clone-outlives" in missed
        assert "read-back" not in missed
        assert volumes.volumes == {}

    @pytest.mark.parametrize("seconds", range(30))
    def test_its_time_may_be_over_before_any_trial(self, seconds: int) -> None:
        volumes, now = Backend(), [0.0]

        def clock() -> float:
            now[0] += 1
            return now[0]

        assert faults(tried(volumes, seconds=seconds, clock=clock)) == {}
        assert volumes.volumes == {}

    @pytest.mark.parametrize("clones", [1, 6])
    def test_a_volume_gets_as_many_clones_as_are_wanted(self, clones: int) -> None:
        volumes = Backend()
        assert tried(volumes, clones=clones).seen["clone-count"] == Seen(count=clones)

    def test_volumes_elsewhere_are_noticed(self) -> None:
        found = faults(tried(Backend(host="node@slow#pool"), backend="fast"))
        assert found == {"on-the-backend": "volumes of type memory were in node@slow#pool, and not in fast"}
        assert faults(tried(Backend(host="node@fast#pool"), backend="fast")) == {}

    def test_each_volume_says_which_procedure_made_it(self) -> None:
        made: list[str] = []

        class Watched(Backend):
            def create(self, **wishes: Any) -> Volume:
                volume = Backend.create(self, **wishes)
                made.append(volume.metadata["imagevol_procedure"])
                return volume

        tried(Watched(), suites=True)
        assert set(made) == {"validate"}
