"""Jobs: fed to their end, counted, looked at, cancelled, and tried again."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import attrs
import pytest

from imagevol_adapters.fleet import (
    JobCancelled,
    JobRecord,
    Jobs,
    cancel_job,
    look_at_jobs,
    retry_shards,
    run_job,
    serve,
)
from imagevol_adapters.ports import Claim
from imagevol_adapters.testing.memory import MemoryBoard, MemoryLocks, MemoryShards
from imagevol_core import DeviceFailed, InUse, RequestRefused
from imagevol_core.sharding import Shard, ShardRecord, ShardState, Worker

KIND = "deep"
SECONDS = 30


def shard(number: int, job: str = "audit") -> Shard:
    return Shard(job=job, id=f"{number:03}", kind=KIND, work={"number": number})


@attrs.define
class Rig:
    """A board with a worker in a thread, for which some shards fail."""

    shards: MemoryShards = attrs.field(factory=lambda: MemoryShards(most_failures=1))
    jobs: Jobs = attrs.field(factory=lambda: Jobs(MemoryBoard(), MemoryLocks(), write_seconds=0))
    failing: set[str] = attrs.field(factory=set)
    tried: list[str] = attrs.field(factory=list)

    def feed(self, *shards: Shard | ShardRecord, ahead: int = 200) -> Generator[ShardRecord, None, None]:
        return self.run(shards, ahead=ahead)

    def run(self, feed: Collection[Shard | ShardRecord], *, ahead: int = 200) -> Generator[ShardRecord, None, None]:
        return run_job(
            feed,
            job="audit",
            kind=KIND,
            shards=self.shards,
            job_records=self.jobs,
            worker=Worker(name="feeder", kinds=frozenset()),
            work=lambda _: {},
            jobs=0,
            stopping=lambda: None,
            ahead=ahead,
            poll_seconds=0.002,
        )

    def work(self, claim: Claim) -> Mapping[str, Any]:
        self.tried.append(claim.shard.id)
        if claim.shard.id in self.failing:
            raise DeviceFailed("sector 7 cannot be read")
        return {}

    def until(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < until
            time.sleep(0.002)


@attrs.define
class Feed(Collection[Shard | ShardRecord]):
    """Shards, each counted when it is asked for."""

    shards: list[Shard | ShardRecord]
    asked: int = 0

    def __len__(self) -> int:
        return len(self.shards)

    def __contains__(self, shard: object) -> bool:
        return shard in self.shards

    def __iter__(self) -> Iterator[Shard | ShardRecord]:
        for each in self.shards:
            self.asked += 1
            yield each


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def worker(rig: Rig) -> Iterator[None]:
    stopping = threading.Event()
    one = Worker(name="one", kinds=frozenset({KIND}))
    options: dict[str, Any] = {"works": {KIND: rig.work}, "jobs": 1, "stopping": stopping, "idle_seconds": 0.002}
    thread = threading.Thread(target=lambda: serve(rig.shards, worker=one, **options))
    thread.start()
    yield
    stopping.set()
    thread.join()


@pytest.mark.usefixtures("worker")
class TestFeeding:
    def test_a_job_that_is_done_leaves_nothing_on_the_board(self, rig: Rig) -> None:
        assert len(list(rig.feed(*map(shard, range(5)), ahead=2))) == 5
        assert (rig.shards.records(), rig.jobs.records()) == ((), ())

    def test_what_is_to_do_is_asked_for_once_and_as_it_is_needed(self, rig: Rig) -> None:
        feed = Feed([ShardRecord(shard=shard(9), state=ShardState.DONE), *map(shard, range(4))])
        found = rig.run(feed, ahead=1)
        next(found)
        assert feed.asked == 1
        assert (len(list(found)), feed.asked) == (4, 5)

    def test_a_plan_that_another_program_has_put_in_place_of_an_offered_one_does_not_stop_the_job(
        self, rig: Rig, caplog: pytest.LogCaptureFixture
    ) -> None:
        records = rig.feed(*map(shard, range(2)), ahead=2)
        whole, forged = MemoryShards.submit, list[bool]()

        def submitted(shards: MemoryShards, offered: Shard) -> bool:
            if offered.id == "001" and not forged:
                forged.append(whole(shards, replace(offered, kind="no worker does it")))
                return True
            return whole(shards, offered)

        with patch.object(MemoryShards, "submit", submitted):
            found = list(records)
        assert ({each.shard.id for each in found}, forged) == ({"000", "001"}, [True])
        assert all(each.shard == shard(int(each.shard.id)) for each in found)
        assert "Shard 001 had another plan on the board, which was not offered: it is replaced" in caplog.messages

    def test_its_record_counts_what_is_done_what_failed_and_what_an_earlier_run_had_done(self, rig: Rig) -> None:
        rig.failing = {"001", "002"}
        known = ShardRecord(shard=shard(9), state=ShardState.DONE)
        with closing(rig.feed(known, *map(shard, range(4)), ahead=1)) as found:  # nothing is kept aside
            seen = [record.shard.id for record in found for _ in range(record.shard.id != "003")]
            assert seen == ["009", "000", "001", "002"]
        found = rig.feed(known, *map(shard, range(4)), ahead=1)
        for _ in range(5):
            next(found)
        (record,) = rig.jobs.records()
        assert (record.total, record.kept, record.done, record.failed) == (5, 1, 2, 2)
        found.close()
        assert [each.state for each in look_at_jobs(rig.shards, rig.jobs)] == ["not-fed"]

    def test_what_failed_stays_on_the_board_until_all_else_is_done_and_can_be_tried_again(self, rig: Rig) -> None:
        rig.failing = {"000"}
        found = rig.feed(*map(shard, range(40)), ahead=4)
        first = [next(found).shard.id for _ in range(20)]
        assert "000" not in first
        (state,) = look_at_jobs(rig.shards, rig.jobs)
        assert [(each.shard.id, each.reason) for each in state.set_aside] == [("000", "sector 7 cannot be read")]
        assert (state.state, state.failed) == ("running", 1)
        rig.failing.clear()
        assert retry_shards("audit", shards=rig.shards, ids=["000"]) == 1
        rest = {record.shard.id: record.state for record in found}
        assert rest["000"] is ShardState.DONE
        assert len(first) + len(rest) == 40
        assert rig.tried.count("000") == 2

    def test_what_failed_is_given_at_the_end(self, rig: Rig) -> None:
        rig.failing = {"000", "001"}
        found = list(rig.feed(*map(shard, range(10)), ahead=4))
        assert sorted(each.shard.id for each in found[-2:]) == ["000", "001"]
        assert rig.shards.records() == ()

    def test_a_job_that_goes_on_tries_again_what_an_earlier_run_has_set_aside(self, rig: Rig) -> None:
        rig.failing = {"000"}
        found = rig.feed(*map(shard, range(3)))
        next(found)
        rig.until(lambda: any(each.state is ShardState.SET_ASIDE for each in rig.shards.records()))
        found.close()
        rig.failing.clear()
        assert {each.state for each in rig.feed(*map(shard, range(3)))} == {ShardState.DONE}

    def test_no_more_than_ahead_are_on_the_board_whatever_fails(self, rig: Rig) -> None:
        rig.failing = {f"{number:03}" for number in range(30)}
        assert len(list(rig.feed(*map(shard, range(40)), ahead=6))) == 40
        assert rig.shards.board.most_texts == 6

    def test_a_job_that_is_cancelled_ends_with_an_error_and_leaves_nothing_of_it(self, rig: Rig) -> None:
        rig.shards.submit(shard(0, job="another"))
        found = rig.feed(*map(shard, range(500)), ahead=4)
        next(found)
        assert cancel_job("audit", shards=rig.shards, jobs=rig.jobs) > 0
        with pytest.raises(JobCancelled, match="with --resume if it has a journal"):
            list(found)
        assert {each.shard.job for each in rig.shards.records()} == {"another"}
        assert rig.jobs.records() == ()

    def test_a_board_that_forgot_a_job_learns_of_it_again(self, rig: Rig) -> None:
        found = rig.feed(*map(shard, range(50)), ahead=2)
        next(found)
        assert rig.jobs.remove("audit")
        next(found)
        rig.until(lambda: next(found, None) is None or bool(rig.jobs.records()))
        found.close()

    def forgotten(self, rig: Rig) -> None:
        """Let the service forget everything, as a Redis without persistence does at a restart."""
        for board in (rig.shards.board, rig.jobs.board):
            for key, text in board.all().items():
                board.replace(key, text, None)
        assert isinstance(rig.jobs.locks, MemoryLocks)
        rig.jobs.locks.taken.clear()
        rig.shards.locks.taken.clear()

    def test_a_feeder_whose_lock_was_forgotten_takes_it_again_and_hears_that_its_job_is_cancelled(
        self, rig: Rig, caplog: pytest.LogCaptureFixture
    ) -> None:
        found = rig.feed(*map(shard, range(500)), ahead=4)
        next(found)
        self.forgotten(rig)
        next(found)
        rig.until(lambda: next(found) is not None and rig.jobs.is_fed("audit"))
        assert caplog.messages.count("Job audit: its lock was lost, and is taken again") == 1
        (state,) = look_at_jobs(rig.shards, rig.jobs)
        assert state.state == "running"
        cancel_job("audit", shards=rig.shards, jobs=rig.jobs)
        with pytest.raises(JobCancelled):
            list(found)

    def test_a_feeder_whose_lock_another_has_taken_meanwhile_ends_with_one_line(self, rig: Rig) -> None:
        found = rig.feed(*map(shard, range(500)), ahead=4)
        next(found)
        self.forgotten(rig)
        with rig.jobs.feeding("audit", kind=KIND, total=7):
            with pytest.raises(InUse, match=r"^job audit is fed by another process: let it end, or stop it$"):
                list(found)
            assert [record.total for record in rig.jobs.records()] == [7]

    def test_a_feeder_whose_lock_service_does_not_answer_goes_on_and_asks_it_again(self, rig: Rig) -> None:
        assert isinstance(rig.jobs.locks, MemoryLocks)
        found = rig.feed(*map(shard, range(500)), ahead=4)
        next(found)
        rig.jobs.locks.reachable = False
        next(found)
        self.forgotten(rig)
        rig.jobs.locks.reachable = True
        rig.until(lambda: next(found) is not None and rig.jobs.is_fed("audit"))
        found.close()

    def test_one_process_feeds_a_job(self, rig: Rig) -> None:
        with closing(rig.feed(*map(shard, range(50)), ahead=2)) as found:
            next(found)
            with pytest.raises(InUse, match="fed by another process"):
                next(rig.feed(shard(1)))


class TestLooking:
    def test_who_has_what_is_told(self, rig: Rig) -> None:
        for number in range(4):
            rig.shards.submit(shard(number))
        for name in ("one", "two", "one"):
            assert rig.shards.claim(Worker(name=name, kinds=frozenset({KIND})))
        (state,) = look_at_jobs(rig.shards, rig.jobs)
        assert (state.state, state.record, state.done, state.free) == ("not-fed", None, 0, 1)
        assert state.held == {"one": ("000", "002"), "two": ("001",)}

    def test_the_rate_and_the_rest_are_those_of_this_run(self) -> None:
        record = JobRecord(
            job="a", kind=KIND, total=1000, kept=500, done=690, failed=10, begun_at=1000, written_at=1100
        )
        assert (record.rate, record.left_seconds) == (2.0, 150.0)
        assert attrs.evolve(record, written_at=1000).rate is None
        # Whoever can write to the board could make it infinite otherwise, which is no JSON.
        assert attrs.evolve(record, begun_at=0, written_at=5e-324).rate is None
        assert attrs.evolve(record, done=500, failed=0).left_seconds is None

    def test_what_is_not_there_is_refused_in_one_line(self, rig: Rig) -> None:
        rig.shards.submit(shard(1))
        with pytest.raises(RequestRefused, match="there is no job none"):
            look_at_jobs(rig.shards, rig.jobs, job="none")
        with pytest.raises(RequestRefused, match="there is no job '' on the board"):
            look_at_jobs(rig.shards, rig.jobs, job="")
        with pytest.raises(RequestRefused, match="there is no job none"):
            cancel_job("none", shards=rig.shards, jobs=rig.jobs)
        with pytest.raises(RequestRefused, match="no shard that was set aside"):
            retry_shards("audit", shards=rig.shards)
        with pytest.raises(RequestRefused, match="no such shard"):
            retry_shards("audit", shards=rig.shards, ids=["9"])

    def test_a_job_without_a_feeder_is_taken_away_when_it_is_cancelled(self, rig: Rig) -> None:
        rig.shards.submit(shard(1))
        with suppress(KeyboardInterrupt), rig.jobs.feeding("audit", kind=KIND, total=1):
            raise KeyboardInterrupt
        assert len(rig.jobs.records()) == 1
        assert cancel_job("audit", shards=rig.shards, jobs=rig.jobs) == 1
        assert (rig.jobs.records(), rig.shards.records()) == ((), ())

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"job": 1}', "x", "1e999"])
    def test_a_record_that_another_program_wrote_is_passed_over_and_named(
        self, rig: Rig, text: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        rig.shards.submit(shard(1))
        rig.jobs.board.create("audit", text)
        (state,) = look_at_jobs(rig.shards, rig.jobs)
        assert (state.record, state.state) == (None, "not-fed")
        (told,) = caplog.messages
        assert told.startswith(
            "1 job record on the board cannot be read and is passed over: audit. Use the same release"
        )
        cancel_job("audit", shards=rig.shards, jobs=rig.jobs)
        assert rig.jobs.board.all() == {}

    def test_a_feeder_hears_that_its_job_is_cancelled_also_if_its_record_cannot_be_read_or_is_gone(
        self, rig: Rig
    ) -> None:
        with rig.jobs.feeding("audit", kind=KIND, total=7):
            assert rig.jobs.cancel("audit")
            assert [(record.total, record.cancelled) for record in rig.jobs.records()] == [(7, True)]
        for text in ("junk", None):
            with rig.jobs.feeding("audit", kind=KIND, total=1) as feeding:
                there = rig.jobs.board.get("audit")
                assert there is not None
                assert rig.jobs.board.replace("audit", there, text)
                assert rig.jobs.cancel("audit")
                with pytest.raises(JobCancelled):
                    feeding.tell()

    @pytest.mark.parametrize(
        "changes",
        [
            {"done": -1},
            {"total": True},
            {"failed": 1.5},
            {"kept": 1 << 60},
            {"written_at": -1},
            {"begun_at": 1e300},
            {"begun_at": False},
            {"kind": "red\x1b"},
            {"kind": "x" * 2000},
            {"job": "another"},
        ],
        ids=str,
    )
    def test_a_record_with_forged_numbers_or_names_is_none(self, rig: Rig, changes: dict[str, object]) -> None:
        with rig.jobs.feeding("audit", kind=KIND, total=1):
            text = rig.jobs.board.get("audit")
            assert text is not None
            rig.jobs.board.replace("audit", text, json.dumps({**json.loads(text), **changes}))
            assert rig.jobs.records() == ()
