"""What `WorkerLimits` must do, a sentence each."""
# ruff: noqa: D102, S101

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from imagevol_adapters.ports import Slot, WorkerLimits
from imagevol_core import DeadlineExceeded, LockLost, ServiceUnreachable
from imagevol_core.sharding import WorkerLimit

__all__ = ["WorkerLimitsConformance"]

FAST, SLOW, ALL = "host@fast", "host@slow", "*"
SECONDS = 60.0


class WorkerLimitsConformance:
    """Limits of all workers, as two workers have them.  No backend has a limit at first."""

    @pytest.fixture
    def one(self) -> WorkerLimits:
        """The limits as worker `one` has them, which is present."""
        raise NotImplementedError("override this fixture")

    @pytest.fixture
    def two(self) -> WorkerLimits:
        """The limits as worker `two` has them, which is present and in another program."""
        raise NotImplementedError("override this fixture")

    @pytest.fixture
    def unreachable(self) -> WorkerLimits:
        """Limits of a service that does not answer."""
        raise NotImplementedError("override this fixture")

    @pytest.fixture
    def kill(self) -> Callable[[], None]:
        """Kills worker `one`: it does not say any more that it lives."""
        raise NotImplementedError("override this fixture")

    def full(self, limits: WorkerLimits, backend: str = FAST) -> bool:
        try:
            with limits.attachment(backend, wait_seconds=0):
                return False
        except DeadlineExceeded:
            return True

    def test_a_limit_is_the_same_for_all_workers_until_it_is_taken_away(
        self, one: WorkerLimits, two: WorkerLimits
    ) -> None:
        assert one.limits() == {}
        one.limit(FAST, WorkerLimit(attachments=3))
        one.limit(ALL, WorkerLimit(bytes_per_second=2**40))
        assert one.limits() == two.limits()
        assert two.limits() == {ALL: WorkerLimit(bytes_per_second=2**40), FAST: WorkerLimit(attachments=3)}
        two.limit(FAST, WorkerLimit(attachments=2, bytes_per_second=5))
        two.limit(ALL, WorkerLimit())
        two.limit(SLOW, WorkerLimit())
        assert one.limits() == {FAST: WorkerLimit(attachments=2, bytes_per_second=5)}

    def test_workers_together_have_as_many_attachments_of_a_backend_as_its_limit(
        self, one: WorkerLimits, two: WorkerLimits
    ) -> None:
        one.limit(FAST, WorkerLimit(attachments=3))
        with one.attachment(FAST), two.attachment(FAST):
            with two.attachment(FAST) as slot:
                slot.ensure_held()
                assert self.full(one)
                assert self.full(two)
                assert not self.full(one, SLOW)
            assert not self.full(one)
        assert not self.full(two)

    def test_all_backends_together_have_a_limit_too(self, one: WorkerLimits, two: WorkerLimits) -> None:
        one.limit(ALL, WorkerLimit(attachments=2))
        one.limit(FAST, WorkerLimit(attachments=1))
        with one.attachment(FAST):
            assert self.full(two, FAST)
            with two.attachment(SLOW):
                assert self.full(one, SLOW)
            assert not self.full(one, SLOW)

    def test_an_attachment_that_ends_with_an_error_is_given_back(self, one: WorkerLimits, two: WorkerLimits) -> None:
        one.limit(FAST, WorkerLimit(attachments=1))
        with pytest.raises(ZeroDivisionError), one.attachment(FAST):
            raise ZeroDivisionError
        assert not self.full(two)

    def test_a_worker_waits_until_another_has_given_one_back(self, one: WorkerLimits, two: WorkerLimits) -> None:
        one.limit(FAST, WorkerLimit(attachments=1))
        with ThreadPoolExecutor(1) as threads, ExitStack() as having:
            having.enter_context(one.attachment(FAST))
            waiting = threads.submit(self.has_one, two)
            time.sleep(0.2)
            assert not waiting.done()
            having.close()
            assert waiting.result(SECONDS)

    def has_one(self, limits: WorkerLimits) -> bool:
        with limits.attachment(FAST, wait_seconds=SECONDS) as slot:
            slot.ensure_held()
            return True

    def test_many_threads_of_two_workers_never_have_more_than_the_limit(
        self, one: WorkerLimits, two: WorkerLimits
    ) -> None:
        one.limit(FAST, WorkerLimit(attachments=2))
        guard, counts, having = threading.Lock(), list[int](), list[int]()

        def attach(number: int) -> None:
            with (one, two)[number % 2].attachment(FAST, wait_seconds=SECONDS):
                with guard:
                    having.append(number)
                    counts.append(len(having))
                time.sleep(0.01)
                with guard:
                    having.remove(number)

        with ThreadPoolExecutor(6) as threads:
            list(threads.map(attach, range(12)))
        assert max(counts) <= 2
        assert len(counts) == 12

    def test_the_attachments_of_a_killed_worker_are_free_after_its_lease_and_are_lost_to_it(
        self, one: WorkerLimits, two: WorkerLimits, kill: Callable[[], None]
    ) -> None:
        one.limit(FAST, WorkerLimit(attachments=1))
        with one.attachment(FAST) as dead:
            assert self.full(two)
            dead.ensure_held()
            kill()
            with two.attachment(FAST, wait_seconds=SECONDS) as slot:
                slot.ensure_held()
                with pytest.raises(LockLost):
                    dead.ensure_held()
        assert not self.full(two)

    def test_a_worker_that_is_not_present_attaches_nothing(self, one: WorkerLimits, kill: Callable[[], None]) -> None:
        one.limit(FAST, WorkerLimit(attachments=1))
        kill()
        assert self.full(one)

    def test_without_a_limit_nothing_is_waited_for(self, one: WorkerLimits, two: WorkerLimits) -> None:
        with ExitStack() as having:
            slots: list[Slot] = [having.enter_context(one.attachment(FAST, wait_seconds=0)) for _ in range(5)]
            for slot in slots:
                slot.ensure_held()
        assert two.pace([FAST, SLOW])(2**40) == 0

    def test_workers_together_move_as_many_bytes_a_second_as_the_limit(
        self, one: WorkerLimits, two: WorkerLimits
    ) -> None:
        one.limit(FAST, WorkerLimit(bytes_per_second=100))
        assert two.pace([SLOW])(1000) == 0
        first, second = one.pace([FAST]), two.pace([FAST, SLOW])
        assert first(10_000) > 90  # seconds
        assert second(10_000) > 180

    def test_bytes_of_all_backends_have_a_limit_too(self, one: WorkerLimits, two: WorkerLimits) -> None:
        one.limit(ALL, WorkerLimit(bytes_per_second=100))
        one.limit(SLOW, WorkerLimit(bytes_per_second=10))
        assert 90 < one.pace([FAST])(10_000) < 110
        assert two.pace([SLOW])(10_000) > 900

    def test_what_is_not_waited_for_is_taken_from_what_comes_next(self, one: WorkerLimits) -> None:
        one.limit(FAST, WorkerLimit(bytes_per_second=100))
        pace = one.pace([FAST])
        waits = [pace(1000) for _ in range(3)]
        assert [round(seconds, -1) for seconds in waits] == [10, 20, 30]

    def test_nothing_is_used_if_the_service_does_not_answer(self, unreachable: WorkerLimits) -> None:
        calls: tuple[Callable[[], object], ...] = (
            unreachable.limits,
            lambda: unreachable.limit(FAST, WorkerLimit(attachments=1)),
            lambda: unreachable.attachment(FAST).__enter__(),
            lambda: unreachable.pace([FAST])(1),
        )
        for call in calls:
            with pytest.raises(ServiceUnreachable):
                call()
