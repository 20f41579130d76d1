"""What `Shards` must do, a sentence each."""
# ruff: noqa: D102, S101

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from imagevol_adapters.ports import Claim, Shards
from imagevol_core import LockLost, ServiceUnreachable
from imagevol_core.sharding import Shard, ShardState, Worker

__all__ = ["ShardsConformance"]

JOB = "audit"
ONE = Worker(name="one", kinds=frozenset({"deep"}), backends=frozenset({"host@fast"}))
TWO = replace(ONE, name="two")


def shard(number: int, **changes: object) -> Shard:
    usual: dict[str, object] = {"job": JOB, "id": f"{number:03}", "kind": "deep", "work": {"volume": f"v{number}"}}
    return Shard(**{**usual, **changes})  # type: ignore[arg-type]


def claimed(shards: Shards, worker: Worker = ONE) -> Claim:
    claim = shards.claim(worker)
    assert claim is not None
    return claim


class ShardsConformance:
    """Shards, as two programs see them."""

    @pytest.fixture
    def shards(self) -> Shards:
        """Shards, of which each is set aside after two failures."""
        raise NotImplementedError("override this fixture")

    @pytest.fixture
    def others(self, shards: Shards) -> Shards:
        """The same shards, as another program has them."""
        return shards

    @pytest.fixture
    def unreachable(self) -> Shards:
        """Shards of a service that does not answer."""
        raise NotImplementedError("override this fixture")

    @pytest.fixture
    def lose(self, shards: Shards) -> Callable[[Claim], None]:
        """Ends the lease of a claim of `shards`, as if its worker had not renewed it."""
        raise NotImplementedError("override this fixture")

    def states(self, shards: Shards, job: str = JOB) -> dict[str, ShardState]:
        return {record.shard.id: record.state for record in shards.records(job)}

    def test_a_shard_is_offered_once_and_stays_as_it_is(self, shards: Shards, others: Shards) -> None:
        assert shards.submit(shard(1))
        claimed(shards).done({"digest": "ab"})
        assert not others.submit(shard(1, work={"volume": "other"}))
        (record,) = shards.records(JOB)
        assert (record.shard, record.state, record.outcome) == (shard(1), ShardState.DONE, {"digest": "ab"})

    def test_shards_of_one_id_in_two_jobs_are_two_shards(self, shards: Shards) -> None:
        names = (JOB, "", "audit/1", "a b", "é", "..", "x" * 300)
        for job in names:
            assert shards.submit(shard(1, job=job))
        for job in names:
            assert [record.shard for record in shards.records(job)] == [shard(1, job=job)]
        assert len(shards.records()) == len(names)

    def test_one_worker_at_a_time_has_a_shard(self, shards: Shards, others: Shards) -> None:
        shards.submit(shard(1))
        claim = claimed(shards)
        claim.ensure_held()
        assert others.claim(TWO) is None
        assert shards.claim(ONE) is None
        claim.ensure_held()
        claim.done({})

    def test_several_workers_do_each_shard_once(self, shards: Shards, others: Shards) -> None:
        for number in range(12):
            shards.submit(shard(number))
        done: list[str] = []

        def work(number: int) -> None:
            where, worker = (shards, others)[number % 2], replace(ONE, name=f"worker-{number}")
            while (claim := where.claim(worker)) is not None:
                done.append(claim.shard.id)
                claim.done({})

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(work, range(4)))
        while (claim := shards.claim(ONE)) is not None:  # what one of them looked at when the others did
            done.append(claim.shard.id)
            claim.done({})
        assert Counter(done) == {f"{number:03}": 1 for number in range(12)}

    def test_a_worker_takes_only_what_it_can_do(self, shards: Shards) -> None:
        shards.submit(shard(1, kind="warm"))
        shards.submit(shard(2, needs=frozenset({"host@slow"})))
        shards.submit(shard(3, needs=frozenset({"host@fast"})))
        claim = claimed(shards)
        assert claim.shard.id == "003"
        assert shards.claim(TWO) is None
        assert shards.claim(replace(ONE, backends=frozenset())) is None
        claimed(shards, replace(ONE, backends=None)).give_back()
        claim.give_back()

    def test_what_was_found_is_told_and_the_shard_is_not_taken_again(self, shards: Shards, others: Shards) -> None:
        shards.submit(shard(1))
        claimed(shards).done({"digest": "ab", "size": 7, "none": None})
        (record,) = others.records(JOB)
        assert record.outcome == {"digest": "ab", "size": 7, "none": None}
        assert (record.state, record.holder, record.attempt) == (ShardState.DONE, None, 1)
        assert others.claim(TWO) is None

    def test_a_shard_that_was_given_back_is_taken_again_and_no_failure_counts(
        self, shards: Shards, others: Shards
    ) -> None:
        shards.submit(shard(1))
        for attempt in range(1, 5):
            claim = claimed((shards, others)[attempt % 2])
            assert claim.attempt == attempt
            claim.give_back()
            claim.give_back()
        (record,) = shards.records(JOB)
        assert (record.state, record.failures, record.holder) == (ShardState.OPEN, 0, None)

    def test_a_shard_that_fails_again_and_again_is_set_aside_with_its_reason(
        self, shards: Shards, others: Shards
    ) -> None:
        shards.submit(shard(1))
        shards.submit(shard(2))
        assert claimed(shards).failed("no answer") is ShardState.OPEN
        assert claimed(others).failed("no answer") is ShardState.SET_ASIDE
        aside, other = shards.records(JOB)
        assert (aside.state, aside.failures) == (ShardState.SET_ASIDE, 2)
        assert "no answer" in str(aside.reason)
        assert other.state is ShardState.OPEN
        claim = claimed(shards)
        assert claim.shard.id == "002"
        assert shards.claim(ONE) is None
        claim.give_back()

    def test_a_shard_whose_volume_is_in_use_did_not_fail_and_is_left_alone_for_a_while(
        self, shards: Shards, others: Shards
    ) -> None:
        shards.submit(shard(1))
        assert claimed(shards).failed("no answer") is ShardState.OPEN
        claim = claimed(shards)
        assert claim.in_use("attached to another host") is ShardState.OPEN
        claim.give_back()
        assert (shards.claim(ONE), others.claim(TWO)) == (None, None)
        (record,) = others.records(JOB)
        assert (record.state, record.failures, record.in_use) == (ShardState.OPEN, 1, 1)
        assert (record.holder, record.reason) == (None, "attached to another host")

    def test_a_shard_that_was_set_aside_is_offered_again_only_when_it_is_asked_for(self, shards: Shards) -> None:
        shards.submit(shard(1))
        assert not shards.retry(shard(1))
        assert not shards.retry(shard(2))
        for _ in range(2):
            claimed(shards).failed("no answer")
        assert shards.claim(ONE) is None
        assert shards.retry(shard(1))
        claim = claimed(shards)
        assert claim.attempt == 3
        claim.done({})
        assert not shards.retry(shard(1))

    def test_a_worker_whose_lease_ended_notices_before_it_changes_anything(
        self, shards: Shards, others: Shards, lose: Callable[[Claim], None]
    ) -> None:
        shards.submit(shard(1))
        claim = claimed(shards)
        lose(claim)
        with pytest.raises(LockLost):
            claim.ensure_held()
        second = claimed(others, TWO)
        with pytest.raises(LockLost):
            claim.ensure_held()
        second.ensure_held()
        assert second.attempt == 2
        second.give_back()
        claim.give_back()

    @pytest.mark.parametrize("ended", [False, True])
    def test_a_worker_whose_shard_another_one_claimed_writes_nothing(
        self, shards: Shards, others: Shards, lose: Callable[[Claim], None], *, ended: bool
    ) -> None:
        shards.submit(shard(1))
        claim = claimed(shards)
        lose(claim)
        second = claimed(others, TWO)
        if ended:
            second.done({"by": "second"})
        with pytest.raises(LockLost):
            claim.done({"by": "first"})
        claim.give_back()
        if not ended:
            second.ensure_held()
            second.done({"by": "second"})
        assert [record.outcome for record in shards.records(JOB)] == [{"by": "second"}]

    def test_what_was_found_counts_after_the_lease_ended_if_no_other_worker_claimed_the_shard(
        self, shards: Shards, others: Shards, lose: Callable[[Claim], None]
    ) -> None:
        shards.submit(shard(1))
        claim = claimed(shards)
        lose(claim)
        claim.done({"by": "first"})
        assert others.claim(TWO) is None
        assert [record.outcome for record in shards.records(JOB)] == [{"by": "first"}]

    def test_a_shard_whose_workers_end_without_a_word_is_set_aside(
        self, shards: Shards, others: Shards, lose: Callable[[Claim], None]
    ) -> None:
        shards.submit(shard(1))
        for _ in range(2):
            lose(claimed(shards))  # which nothing holds any more, as after a kill
        assert others.claim(TWO) is None
        (record,) = others.records(JOB)
        assert record.state is ShardState.SET_ASIDE
        assert "one" in str(record.reason)

    def test_a_shard_that_is_withdrawn_is_gone_and_its_worker_has_lost_it(self, shards: Shards, others: Shards) -> None:
        shards.submit(shard(1))
        claim = claimed(shards)
        assert others.withdraw(shard(1))
        assert not others.withdraw(shard(1))
        with pytest.raises(LockLost):
            claim.ensure_held()
        with pytest.raises(LockLost):
            claim.failed("it is too late")
        assert shards.records() == ()
        assert others.submit(shard(1))
        claim = claimed(others, TWO)
        assert claim.attempt == 1
        claim.give_back()

    def test_shards_are_told_in_the_order_of_their_ids(self, shards: Shards) -> None:
        for number in (3, 1, 2):
            shards.submit(shard(number))
        assert list(self.states(shards)) == ["001", "002", "003"]
        assert self.states(shards, "another") == {}

    def test_nothing_is_done_if_the_service_does_not_answer(self, unreachable: Shards) -> None:
        calls: tuple[Callable[[], object], ...] = (
            lambda: unreachable.submit(shard(1)),
            lambda: unreachable.claim(ONE),
            unreachable.records,
            lambda: unreachable.retry(shard(1)),
            lambda: unreachable.withdraw(shard(1)),
        )
        for call in calls:
            with pytest.raises(ServiceUnreachable):
                call()

    def test_it_is_known_how_long_a_killed_worker_keeps_its_shard(self, shards: Shards) -> None:
        assert 0 <= shards.lease_seconds < 3600
