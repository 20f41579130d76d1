"""What `Locks` must do, a sentence each."""
# ruff: noqa: D102, S101

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from imagevol_adapters.ports import Lock, Locks
from imagevol_core import DeadlineExceeded, DeviceFailed, LockLost, ServiceUnreachable

__all__ = ["LocksConformance"]

NAME = "template-host@backend#pool-00000000-0000-4000-8000-000000000000"
SECONDS = 60  # no test waits as long, unless the lock never comes

# Each is another lock, whatever a service makes of names.
NAMES = (
    *("", ".", "..", "/", "//", "../lock", "../../etc/passwd", "lock", "Lock", "lock ", " lock", "lock\n", "lock\0"),
    *(
        "a/b",
        "a%2Fb",
        "a_b",
        "a:b",
        "a?b",
        "a#b",
        "%",
        "%%",
        "é",
        "e\u0301",
        "image卷",
        "\udc80",
        "*",
        "[a]",
        "~",
        "$HOME",
    ),
    *("groups", "tmp", ".driver_lock", "cinder-lock", "imagevol-lock", "x" * 255, "x" * 256, "x" * 5000, "é" * 100),
)


class LocksConformance:
    """Locks, as two programs see them."""

    @pytest.fixture
    def locks(self) -> Locks:
        raise NotImplementedError("override this fixture")

    @pytest.fixture
    def others(self, locks: Locks) -> Locks:
        """The same locks, as another program has them."""
        return locks

    @pytest.fixture
    def unreachable(self) -> Locks:
        """Locks of a service that does not answer."""
        raise NotImplementedError("override this fixture")

    @pytest.fixture
    def lose(self, locks: Locks) -> Callable[[Lock], None]:
        """Makes the service forget a lock of `locks`."""
        raise NotImplementedError("override this fixture")

    def test_a_lock_is_held_while_the_context_lasts(self, locks: Locks, others: Locks) -> None:
        for first, second in ((locks, others), (others, locks)):
            with first.held(NAME, wait_seconds=0) as lock:
                assert lock.name == NAME
                lock.ensure_held()
                with pytest.raises(DeadlineExceeded), second.held(NAME, wait_seconds=0):
                    pytest.fail("it was held twice")
                lock.ensure_held()

    def test_the_holder_of_a_lock_cannot_take_it_again(self, locks: Locks) -> None:
        with locks.held(NAME, wait_seconds=0) as lock:
            for seconds in (0, 0.2):
                with pytest.raises(DeadlineExceeded), locks.held(NAME, wait_seconds=seconds):
                    pytest.fail("it was held twice")
            lock.ensure_held()

    def test_a_wait_in_vain_ends_with_an_error_that_says_for_what_and_how_long(
        self, locks: Locks, others: Locks
    ) -> None:
        with (
            locks.held(NAME, wait_seconds=0),
            pytest.raises(DeadlineExceeded) as refused,
            others.held(NAME, wait_seconds=0.2),
        ):
            pytest.fail("it was held twice")
        assert refused.value.seconds == 0.2
        assert NAME in str(refused.value)

    def test_a_waiting_process_gets_the_lock_when_it_is_free(self, locks: Locks, others: Locks) -> None:
        done: list[str] = []
        asking = threading.Event()

        def wait(where: Locks) -> None:
            asking.set()
            with where.held(NAME, wait_seconds=SECONDS) as lock:
                lock.ensure_held()
                done.append("second")

        with ThreadPoolExecutor(2) as threads:
            with locks.held(NAME, wait_seconds=0):
                waiting = [threads.submit(wait, where) for where in (locks, others)]
                assert asking.wait(SECONDS)
                done.append("first")
            for each in waiting:
                each.result(SECONDS)
        assert done == ["first", "second", "second"]

    def test_only_one_process_at_a_time_holds_a_lock(self, locks: Locks, others: Locks) -> None:
        inside: list[int] = []
        seen: list[int] = []

        def enter(number: int) -> None:
            with (locks, others)[number % 2].held(NAME, wait_seconds=SECONDS):
                inside.append(number)
                seen.append(len(inside))
                threading.Event().wait(0.002)
                inside.remove(number)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(enter, range(24)))
        assert seen == [1] * 24

    def test_each_name_is_a_lock_of_its_own(self, locks: Locks, others: Locks) -> None:
        with ExitStack() as held:
            taken = [held.enter_context(locks.held(name, wait_seconds=0)) for name in NAMES]
            assert [lock.name for lock in taken] == list(NAMES)
            for name, lock in zip(NAMES, taken, strict=True):
                lock.ensure_held()
                with pytest.raises(DeadlineExceeded), others.held(name, wait_seconds=0):
                    pytest.fail("it was held twice")
        for name in NAMES:
            with others.held(name, wait_seconds=0):
                pass

    @pytest.mark.parametrize("error", [DeviceFailed("no"), KeyboardInterrupt()])
    def test_an_error_inside_a_lock_goes_on_and_the_lock_is_free(
        self, locks: Locks, others: Locks, error: BaseException
    ) -> None:
        with pytest.raises(type(error)) as raised, locks.held(NAME, wait_seconds=0):
            raise error
        assert raised.value is error
        with others.held(NAME, wait_seconds=0):
            pass

    def test_a_lost_lock_is_noticed_when_it_is_looked_at(
        self, locks: Locks, others: Locks, lose: Callable[[Lock], None]
    ) -> None:
        def work() -> None:
            with locks.held(NAME, wait_seconds=0) as lock:
                lose(lock)
                with pytest.raises(LockLost):
                    lock.ensure_held()
                lock.ensure_held()
                pytest.fail("it did not stay lost")

        with pytest.raises(LockLost):
            work()
        with others.held(NAME, wait_seconds=0) as lock:
            lock.ensure_held()

    def test_a_lost_lock_is_noticed_at_the_end(self, locks: Locks, others: Locks, lose: Callable[[Lock], None]) -> None:
        with pytest.raises(LockLost) as lost, locks.held(NAME, wait_seconds=0) as lock:
            lose(lock)
        assert lost.value.name == NAME
        with others.held(NAME, wait_seconds=0) as lock:
            lock.ensure_held()

    def test_an_error_inside_a_lock_goes_on_also_if_the_lock_was_lost(
        self, locks: Locks, lose: Callable[[Lock], None]
    ) -> None:
        def fail() -> None:
            with locks.held(NAME, wait_seconds=0) as lock:
                lose(lock)
                raise DeviceFailed("no")

        with pytest.raises(DeviceFailed):
            fail()

    def test_no_lock_is_held_if_the_lock_service_does_not_answer(self, unreachable: Locks) -> None:
        for _ in range(2):
            with pytest.raises(ServiceUnreachable), unreachable.held(NAME, wait_seconds=0):
                pytest.fail("it was held")

    def test_it_is_known_how_long_a_dead_holder_keeps_its_lock(self, locks: Locks) -> None:
        assert 0 <= locks.lease_seconds < 3600
