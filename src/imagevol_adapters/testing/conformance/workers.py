"""What `Workers` must do, a sentence each."""
# ruff: noqa: D102, S101

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from imagevol_adapters.ports import Workers
from imagevol_core import DeadlineExceeded, ServiceUnreachable
from imagevol_core.sharding import Worker

__all__ = ["WorkersConformance"]

ONE = Worker(name="one", kinds=frozenset({"deep", "warm"}), backends=frozenset({"host@fast", "host@slow"}))
SECONDS = 60.0


def names(workers: Workers) -> list[str]:
    return [each.worker.name for each in workers.workers()]


class WorkersConformance:
    """Workers, as two programs see them."""

    @pytest.fixture
    def workers(self) -> Workers:
        """Workers that do not renew their leases while a test lasts."""
        raise NotImplementedError("override this fixture")

    @pytest.fixture
    def others(self, workers: Workers) -> Workers:
        """The same workers, as another program has them; those of this program renew their leases at once."""
        raise NotImplementedError("override this fixture")

    @pytest.fixture
    def unreachable(self) -> Workers:
        """Workers of a service that does not answer."""
        raise NotImplementedError("override this fixture")

    @pytest.fixture
    def lose(self, workers: Workers, others: Workers) -> Callable[[str], None]:
        """Ends the lease of the worker of a name, as if it had not been renewed."""
        raise NotImplementedError("override this fixture")

    def test_a_worker_is_listed_with_what_it_can_do_until_it_leaves(self, workers: Workers, others: Workers) -> None:
        assert workers.workers() == others.workers() == ()
        before = time.time()
        with workers.present(ONE, host="node-1", jobs=4):
            (found,) = others.workers()
            assert (found.worker, found.host, found.jobs) == (ONE, "node-1", 4)
            assert before - 1 <= found.seen_at <= time.time() + 1
            assert workers.workers() == (found,)
        assert workers.workers() == others.workers() == ()

    def test_a_worker_leaves_also_when_it_fails(self, workers: Workers, others: Workers) -> None:
        with pytest.raises(ZeroDivisionError), workers.present(ONE, host="node-1", jobs=1):
            raise ZeroDivisionError
        assert others.workers() == ()

    def test_workers_are_listed_in_the_order_of_their_names(self, workers: Workers, others: Workers) -> None:
        odd = ("é", "a b", "node/1", "..", "x" * 300)
        unknown = [Worker(name=name, kinds=frozenset()) for name in odd]
        with (
            workers.present(unknown[0], host="node-1", jobs=1),
            others.present(unknown[1], host="node-2", jobs=1),
            workers.present(unknown[2], host="node-1", jobs=1),
            others.present(unknown[3], host="node-2", jobs=1),
            workers.present(unknown[4], host="node-1", jobs=1),
        ):
            assert names(workers) == names(others) == sorted(odd)
            assert {each.worker for each in workers.workers()} == set(unknown)
        assert workers.workers() == ()

    def test_a_worker_whose_lease_ended_is_gone(
        self, workers: Workers, others: Workers, lose: Callable[[str], None]
    ) -> None:
        with workers.present(ONE, host="node-1", jobs=1):
            lose("one")
            assert others.workers() == ()
            assert workers.workers() == ()

    def test_a_worker_that_is_started_again_takes_the_name_of_a_dead_one(
        self, workers: Workers, others: Workers, lose: Callable[[str], None]
    ) -> None:
        with workers.present(ONE, host="node-1", jobs=1):
            lose("one")
            with others.present(ONE, host="node-2", jobs=2):
                assert [each.host for each in others.workers()] == ["node-2"]
            assert others.workers() == ()

    def test_a_worker_that_leaves_after_its_lease_ended_leaves_the_record_of_the_next(
        self, workers: Workers, others: Workers, lose: Callable[[str], None]
    ) -> None:
        first = workers.present(ONE, host="node-1", jobs=1)
        first.__enter__()
        lose("one")
        with others.present(ONE, host="node-2", jobs=1):
            first.__exit__(None, None, None)
            assert [each.host for each in others.workers()] == ["node-2"]

    def test_two_workers_of_one_name_are_refused(self, workers: Workers, others: Workers) -> None:
        with (
            workers.present(ONE, host="node-1", jobs=1),
            pytest.raises(DeadlineExceeded, match="one"),
            others.present(ONE, host="node-2", jobs=1),
        ):
            pass
        assert others.workers() == ()

    def test_a_worker_says_again_and_again_that_it_lives(self, workers: Workers, others: Workers) -> None:
        with others.present(ONE, host="node-1", jobs=1):
            (first,) = workers.workers()
            until = time.monotonic() + SECONDS
            while (second := workers.workers()[0]).beat <= first.beat:
                assert time.monotonic() < until
                time.sleep(0.01)
        assert second.seen_at >= first.seen_at

    def test_a_worker_that_stood_still_is_listed_again(
        self, workers: Workers, others: Workers, lose: Callable[[str], None]
    ) -> None:
        with others.present(ONE, host="node-1", jobs=1):
            lose("one")
            workers.workers()
            until = time.monotonic() + SECONDS
            while names(workers) != ["one"]:
                assert time.monotonic() < until
                time.sleep(0.01)

    def test_nothing_is_listed_if_the_service_does_not_answer(self, unreachable: Workers) -> None:
        with pytest.raises(ServiceUnreachable):
            unreachable.workers()
        with pytest.raises(ServiceUnreachable), unreachable.present(ONE, host="node-1", jobs=1):
            pass

    def test_it_is_known_how_long_a_killed_worker_is_listed(self, workers: Workers) -> None:
        assert 0 <= workers.lease_seconds < 3600
