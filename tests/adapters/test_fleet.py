"""Large jobs in shards: offered ahead, done by several, written once, and continued after a kill."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagevol_adapters.fleet import (
    BoardLimits,
    LeasedShards,
    PatientBoard,
    ShardLost,
    limited,
    local_shards,
    run_shards,
    serve,
    work_on,
)
from imagevol_adapters.fleet.limit_records import flow_of, holders_of, limit_of, text_of_holders
from imagevol_adapters.fleet.readable import Readable
from imagevol_adapters.fleet.recorded import record_of, text_of_record, worker_of
from imagevol_adapters.ports import Claim
from imagevol_adapters.testing.memory import MemoryBoard, MemoryLocks, MemoryShards, MemoryWorkers
from imagevol_core import (
    DeadlineExceeded,
    DeviceFailed,
    ImagevolError,
    InUse,
    LockLost,
    ServiceFailed,
    ServiceUnreachable,
    TransferCancelled,
)
from imagevol_core.sharding import Shard, ShardRecord, ShardState, Worker, WorkerLimit
from tests.adapters.killed_reading import VOLUMES

ROOT = Path(__file__).parents[2]
WORKER = Worker(name="one", kinds=frozenset({"deep"}))


def shard(number: int, job: str = "audit") -> Shard:
    return Shard(job=job, id=f"{number:03}", kind="deep", work={"number": number})


def doubled(claim: Claim) -> Mapping[str, Any]:
    return {"is": 2 * claim.shard.work["number"]}


class TestRunning:
    def run(
        self,
        count: int,
        *,
        shards: LeasedShards | None = None,
        work: Callable[[Claim], Mapping[str, Any]] = doubled,
        jobs: int = 3,
        ahead: int = 3,
        stopping: Callable[[], object] = lambda: None,
    ) -> Iterator[ShardRecord]:
        return run_shards(
            map(shard, range(count)),
            shards=shards or local_shards(),
            worker=WORKER,
            work=work,
            jobs=jobs,
            ahead=ahead,
            stopping=stopping,
            poll_seconds=0.01,
        )

    def test_each_shard_is_done_once_and_nothing_is_left_on_the_board(self) -> None:
        shards = local_shards()
        found = list(self.run(50, shards=shards))
        assert sorted(record.shard.id for record in found) == [f"{number:03}" for number in range(50)]
        assert {record.shard.work["number"] * 2 for record in found} == {
            record.outcome["is"] for record in found if record.outcome
        }
        assert shards.records() == ()

    def test_no_more_shards_are_offered_at_once_than_asked(self) -> None:
        shards = MemoryShards()
        assert len(list(self.run(50, shards=shards, ahead=7))) == 50
        assert shards.board.most_texts == 7

    def test_what_other_processes_do_is_given_as_what_this_one_does(self) -> None:
        shards, ended = MemoryShards(), threading.Event()

        def other() -> None:
            while not ended.wait(0.001):
                claim = shards.claim(Worker(name="other", kinds=frozenset({"deep"})))
                if claim is not None:
                    work_on(claim, doubled)

        thread = threading.Thread(target=other)
        thread.start()
        try:
            found = list(self.run(20, shards=shards, jobs=0))
        finally:
            ended.set()
            thread.join()
        assert sorted(record.shard.id for record in found) == [f"{number:03}" for number in range(20)]

    def test_what_is_on_the_board_from_an_earlier_run_is_taken_up_and_not_done_again(self) -> None:
        shards = MemoryShards()
        shards.submit(shard(1))
        claim = shards.claim(WORKER)
        assert claim is not None
        claim.done({"is": "kept"})
        found = {record.shard.id: record.outcome for record in self.run(3, shards=shards)}
        assert found == {"000": {"is": 0}, "001": {"is": "kept"}, "002": {"is": 4}}

    def test_a_shard_stays_on_the_board_until_the_caller_asks_for_the_next(self) -> None:
        shards = MemoryShards()
        found = self.run(1, shards=shards)
        record = next(found)
        assert [each.state for each in shards.records()] == [ShardState.DONE]
        assert record.outcome == {"is": 0}
        assert next(found, None) is None
        assert shards.records() == ()

    def test_a_shard_that_failed_is_given_with_its_reason_and_others_are_done(self) -> None:
        def work(claim: Claim) -> Mapping[str, Any]:
            if claim.shard.id == "001":
                raise DeviceFailed("sector 7 cannot be read")
            return doubled(claim)

        found = {record.shard.id: record for record in self.run(3, work=work)}
        assert {key: record.state for key, record in found.items()} == {
            "000": ShardState.DONE,
            "001": ShardState.SET_ASIDE,
            "002": ShardState.DONE,
        }
        assert found["001"].reason == "sector 7 cannot be read"

    def test_a_shard_that_fails_is_tried_as_often_as_the_board_allows(self) -> None:
        tries: list[int] = []

        def work(claim: Claim) -> Mapping[str, Any]:
            tries.append(claim.attempt)
            raise ServiceFailed("it is down")

        (record,) = self.run(1, shards=MemoryShards(most_failures=3), work=work)
        assert tries == [1, 2, 3]
        assert record.reason == "3 attempts failed, and no other is made: it is down"

    def test_a_caller_that_stops_early_ends_what_is_being_done_and_gives_it_back(self) -> None:
        shards, cancelled, begun = MemoryShards(), threading.Event(), threading.Barrier(3, timeout=20)

        def work(claim: Claim) -> Mapping[str, Any]:
            begun.wait()
            if claim.shard.id != "000":
                assert cancelled.wait(20)
                raise TransferCancelled("it was cancelled")
            return doubled(claim)

        found = self.run(9, shards=shards, work=work, stopping=cancelled.set)
        with closing(found):  # type: ignore[type-var]
            assert next(found).shard.id == "000"
        states = {record.shard.id: (record.state, record.holder, record.failures) for record in shards.records()}
        assert states["001"] == states["002"] == (ShardState.OPEN, None, 0)

    def test_an_error_that_is_not_ours_ends_it_and_is_a_failed_attempt(self) -> None:
        shards = MemoryShards()

        def work(claim: Claim) -> Mapping[str, Any]:
            raise ZeroDivisionError("by zero")

        with pytest.raises(ZeroDivisionError):
            list(self.run(1, shards=shards, work=work))
        (record,) = shards.records()
        assert (record.holder, record.failures > 0, "by zero" in str(record.reason)) == (None, True, True)

    def test_what_the_board_has_forgotten_is_offered_again(self) -> None:
        shards, forgotten = MemoryShards(), list[str]()

        def work(claim: Claim) -> Mapping[str, Any]:
            if not forgotten and claim.shard.id == "001":
                forgotten.append(claim.shard.id)
                shards.withdraw(claim.shard)
            return doubled(claim)

        found = {record.shard.id: record.outcome for record in self.run(3, shards=shards, work=work)}
        assert found == {"000": {"is": 0}, "001": {"is": 2}, "002": {"is": 4}}

    def test_a_worker_that_lost_its_shard_goes_on_with_others(self, caplog: pytest.LogCaptureFixture) -> None:
        shards = MemoryShards()

        def work(claim: Claim) -> Mapping[str, Any]:
            if claim.shard.id == "001":
                shards.lose(claim)
                other = shards.claim(Worker(name="other", kinds=frozenset({"deep"})))
                assert other is not None
                other.done({"is": "of the other"})
            return doubled(claim)

        found = self.run(3, shards=shards, work=work, jobs=1, ahead=1)
        assert {record.shard.id: (record.outcome, record.attempt) for record in found} == {
            "000": ({"is": 0}, 1),
            "001": ({"is": "of the other"}, 2),
            "002": ({"is": 4}, 1),
        }
        assert "001 was lost" in caplog.text

    def test_a_board_that_does_not_answer_ends_it(self) -> None:
        shards = MemoryShards()
        found = self.run(3, shards=shards)
        next(found)
        shards.board.reachable = False
        with pytest.raises(ServiceUnreachable):
            list(found)


def test_no_change_is_made_after_the_lease_ended() -> None:
    shards, changes = MemoryShards(), list[int]()
    shards.submit(shard(1))
    claim = shards.claim(WORKER)
    assert claim is not None

    def work(held: Claim) -> Mapping[str, Any]:
        for number in range(4):
            held.ensure_held()
            changes.append(number)
            if number == 1:
                shards.lose(claim)
        return {}

    work_on(claim, work)
    assert changes == [0, 1]
    with pytest.raises(ShardLost, match="001"):
        claim.ensure_held()


def test_a_shard_that_was_withdrawn_while_a_worker_does_it_can_be_taken_when_it_is_offered_again() -> None:
    shards = MemoryShards()
    shards.submit(shard(1))
    claim = shards.claim(WORKER)
    assert claim is not None

    def work(held: Claim) -> Mapping[str, Any]:
        shards.withdraw(held.shard)
        held.ensure_held()
        return {}

    work_on(claim, work)
    shards.submit(shard(1))
    assert shards.claim(WORKER)


def test_a_job_is_let_go_when_no_worker_has_one_of_its_shards() -> None:
    shards = MemoryShards()
    for each in (shard(1), shard(2), shard(1, job="another")):
        shards.submit(each)
    claim = shards.claim(Worker(name="one", kinds=frozenset({"deep"})))
    assert claim is not None
    mine = claim.shard.job
    with pytest.raises(InUse, match=f"shard {mine}/001 still has a worker"):
        shards.let_go(mine, wait_seconds=0)
    assert mine not in {record.shard.job for record in shards.records()}
    with pytest.raises(InUse):
        shards.let_go(mine, [claim.shard.id], wait_seconds=0)
    ending = threading.Timer(0.05, claim.give_back)
    ending.start()
    shards.let_go(mine, [claim.shard.id])
    ending.join()
    assert not shards.locks.taken


def test_the_shard_of_a_dead_worker_is_looked_for_once_a_lease_and_before_all_others() -> None:
    now = 100.0
    shards = MemoryShards(lease_seconds=10, clock=lambda: now)
    for number in range(5):
        shards.submit(shard(number))

    def taken() -> str:
        claim = shards.claim(WORKER)
        assert claim is not None
        claim.done({})
        return claim.shard.id

    dead = shards.claim(Worker(name="dead", kinds=frozenset({"deep"})))
    assert dead is not None
    shards.lose(dead)
    now += 9
    assert taken() == "001"
    now += 1
    assert [taken(), taken()] == ["000", "002"]
    now += 10
    assert taken() == "003"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"job": 1}', "x"])
def test_a_record_that_another_program_wrote_is_none(text: str) -> None:
    with pytest.raises(ServiceFailed):
        record_of(text)
    with pytest.raises(ServiceFailed, match="worker"):
        worker_of(text)
    for read in (limit_of, flow_of, *([] if text == "{}" else [holders_of])):
        with pytest.raises(ServiceFailed, match="limit"):
            read(text if text != '{"job": 1}' else '{"job": 1, "bytes_per_second": []}')


def forged(shard: Shard, **changes: object) -> str:
    return json.dumps({**json.loads(text_of_record(ShardRecord(shard=shard))), **changes})


class TestUnreadable:
    def test_a_record_that_cannot_be_read_holds_up_nobody_and_is_named_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        shards = MemoryShards()
        shards.board.create("zzz", "junk")
        shards.board.create("audit/1\x1b", forged(shard(1)))
        shards.board.create("audit/000", "junk")  # under the name of a shard that will be offered
        found = run_shards(
            map(shard, range(3)), shards=shards, worker=WORKER, work=doubled, jobs=2, ahead=2, stopping=lambda: None
        )
        assert sorted(record.shard.id for record in found) == ["000", "001", "002"]
        assert shards.records() == ()
        (told,) = [each for each in caplog.messages if "zzz" in each]
        assert told == (
            "2 shard records on the board cannot be read and are passed over: audit/1\\x1b, zzz. Use the same release "
            "of imagevol on all hosts, or remove them with `imagevol fleet cancel --unreadable`"
        )
        assert shards.readable.remove_unreadable() == 2
        assert shards.board.all() == {}

    def test_a_worker_whose_record_was_made_unreadable_has_lost_its_shard(self) -> None:
        shards = MemoryShards()
        shards.submit(shard(1))
        claim = shards.claim(WORKER)
        assert claim is not None
        text = shards.board.get("audit/001")
        assert text is not None
        assert shards.board.replace("audit/001", text, "junk")
        with pytest.raises(ShardLost):
            claim.ensure_held()
        assert (shards.claim(WORKER), shards.retry(shard(1))) == (None, False)
        assert shards.submit(shard(1))
        assert shards.claim(WORKER) is None  # until the lock of the one that lost it is free

    def test_of_many_records_that_cannot_be_read_only_some_are_named(self, caplog: pytest.LogCaptureFixture) -> None:
        shards = MemoryShards()
        for number in range(100):
            shards.board.create(f"{number:03}{'x' * 10_000}", "junk")
        assert shards.records() == ()
        (told,) = caplog.messages
        assert (len(told) < 600, "and 97 more" in told) == (True, True)

    @pytest.mark.parametrize(
        "changes",
        [
            {"failures": -(10**9)},
            {"failures": True},
            {"failures": 1.0},
            {"attempt": 10**30},
            {"attempt": "1"},
            {"in_use": -1},
            {"in_use": True},
            {"left_on": 7},
            {"host": "node\n1"},
            {"holder": "red\x1b[31m"},
            {"holder": "x" * 1001},
            {"kind": "deep\n"},
            {"id": "002"},
            {"needs": ["\x9b"]},
        ],
        ids=str,
    )
    def test_a_record_with_forged_numbers_or_names_is_not_taken(self, changes: dict[str, object]) -> None:
        shards = MemoryShards()
        shards.board.create("audit/001", forged(shard(1), **changes))
        assert (shards.claim(WORKER), shards.records()) == (None, ())

    def test_of_a_reason_no_more_is_read_than_a_person_reads_and_nothing_that_a_terminal_obeys(self) -> None:
        text = forged(shard(1), state="set-aside", reason="\x1b[31m" + "x" * (1 << 20))
        reason = record_of(text).reason
        assert reason is not None
        assert (len(reason), reason.isprintable(), reason[:5], reason[-1]) == (1000, True, "\\x1b[", "…")
        assert record_of(forged(shard(1), reason="sector 7 cannot be read")).reason == "sector 7 cannot be read"

    @pytest.mark.parametrize(
        "changes", [{"jobs": -1}, {"seen_at": float("nan")}, {"beat": 0.5}, {"host": "\x07"}], ids=str
    )
    def test_a_worker_with_forged_numbers_or_names_is_not_listed(self, changes: dict[str, object]) -> None:
        workers = MemoryWorkers()
        with workers.present(WORKER, host="node-1", jobs=1):
            (key, text), *_ = workers.board.all().items()
            workers.board.replace(key, text, json.dumps({**json.loads(text), **changes}))
            assert workers.workers() == ()


class TestReadable:
    """A check of a lease and a look at a full board read no text twice."""

    def texts_read(self, board: MemoryBoard) -> tuple[Readable[str], list[str]]:
        read: list[str] = []

        def record(text: str) -> str:
            read.append(text)
            if text == "junk":
                raise ServiceFailed("junk")
            return text

        return Readable(board, "shard", record, lambda text: text.partition("=")[0]), read

    def test_a_text_is_read_once_until_it_changes(self) -> None:
        board = MemoryBoard()
        readable, read = self.texts_read(board)
        for key, text in (("a", "a=1"), ("b", "b=1"), ("c", "junk")):
            board.create(key, text)
        for _ in range(3):
            assert readable.all() == {"a": "a=1", "b": "b=1"}
            assert (readable.get("a"), readable.get("c")) == ("a=1", None)
        assert sorted(read) == ["a=1", "b=1", "junk"]
        assert board.replace("a", "a=1", "a=2")
        assert (readable.get("a"), readable.get("a"), readable.all()) == ("a=2", "a=2", {"a": "a=2", "b": "b=1"})
        assert sorted(read) == ["a=1", "a=2", "b=1", "junk"]

    def test_the_text_of_one_key_is_not_that_of_another(self) -> None:
        board = MemoryBoard()
        readable, _ = self.texts_read(board)
        board.create("a", "a=1")
        board.create("b", "a=1")  # a copy
        assert [readable.all(), readable.get("a"), readable.get("b")] == [{"a": "a=1"}, "a=1", None]

    def test_what_is_not_on_the_board_any_more_is_forgotten(self) -> None:
        board = MemoryBoard()
        readable, _ = self.texts_read(board)
        for key in "abc":
            board.create(key, f"{key}=1")
        assert readable.all().keys() == readable._read.keys() == {"a", "b", "c"}
        board.replace("a", "a=1", None)
        assert readable.all().keys() == readable._read.keys() == {"b", "c"}


class TestWorkers:
    def test_a_worker_whose_service_stands_still_says_so_once_and_is_listed_again_afterwards(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        workers = MemoryWorkers(renew_seconds=0.005)
        with workers.present(WORKER, host="node-1", jobs=1):
            workers.board.reachable = workers.locks.reachable = False
            while not (told := caplog.text):
                time.sleep(0.001)
            time.sleep(0.05)
            assert caplog.text == told
            assert "one" in told
            assert "no answer" in told
            workers.board.reachable = workers.locks.reachable = True
            (first,) = workers.workers()
            while workers.workers()[0].beat == first.beat:
                time.sleep(0.001)

    def test_a_worker_that_ends_while_the_service_stands_still_is_listed_until_its_lease_ends(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        workers = MemoryWorkers()
        with workers.present(WORKER, host="node-1", jobs=1):
            workers.board.reachable = workers.locks.reachable = False
        assert "listed until its lease ends" in caplog.text
        workers.board.reachable = workers.locks.reachable = True
        workers.locks.taken.clear()
        assert workers.workers() == ()


class TestLimits:
    LEASE_SECONDS = 30.0

    def limits(self, name: str, board: MemoryBoard, workers: MemoryWorkers, **others: Any) -> BoardLimits:
        return BoardLimits(board, workers.board, name, lease_seconds=lambda: self.LEASE_SECONDS, **others)

    def alone(self, clock: Callable[[], float] = lambda: 0.0) -> BoardLimits:
        return self.limits("one", MemoryBoard(), MemoryWorkers(), clock=clock)

    def present(self, workers: MemoryWorkers, name: str) -> AbstractContextManager[None]:
        return workers.present(Worker(name=name, kinds=frozenset()), host="node", jobs=1)

    def beat(self, workers: MemoryWorkers, name: str) -> None:
        text = str(workers.board.get(name))
        value = json.loads(text)
        assert workers.board.replace(name, text, json.dumps({**value, "beat": value["beat"] + 1}))

    def test_an_attachment_in_use_is_not_given_away_after_the_service_stood_still(self) -> None:
        board, workers, now, stopped = MemoryBoard(), MemoryWorkers(), 0.0, False

        def pause(seconds: float) -> None:
            nonlocal now, stopped
            now += seconds
            if now > 20 and not stopped:
                now, stopped = now + 1000, True  # the next answer comes after the service stood still
            elif stopped and 1020 + 20 < now < 1020 + 22:
                self.beat(workers, "one")  # as its thread does some time after the service answers again

        one = self.limits("one", board, workers)
        two = self.limits("two", board, workers, clock=lambda: now, pause=pause)
        one.limit("host@fast", WorkerLimit(attachments=1))
        with self.present(workers, "one"), self.present(workers, "two"), one.attachment("host@fast") as slot:
            with pytest.raises(DeadlineExceeded), two.attachment("host@fast", wait_seconds=1060):
                pass
            slot.ensure_held()
            with two.attachment("host@fast", wait_seconds=100) as taken:  # worker one says nothing for a lease
                taken.ensure_held()
                with pytest.raises(LockLost):
                    slot.ensure_held()

    def test_an_attachment_that_could_not_be_given_back_is_not_counted_for_ever(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        board, workers = MemoryBoard(), MemoryWorkers()
        one = self.limits("one", board, workers)
        one.limit("host@fast", WorkerLimit(attachments=1))
        with self.present(workers, "one"):
            with one.attachment("host@fast"):
                board.reachable = False
            assert "counts for a while longer" in caplog.text
            board.reachable = True
            with one.attachment("host@fast", wait_seconds=0) as slot:
                slot.ensure_held()
        assert board.get("slots/host%40fast") == text_of_holders({})

    def test_what_cannot_be_read_of_what_is_used_is_written_anew(self) -> None:
        board, workers = MemoryBoard(), MemoryWorkers()
        one = self.limits("one", board, workers, clock=lambda: 0.0)
        one.limit("host@fast", WorkerLimit(attachments=1, bytes_per_second=1000))
        for key in ("slots/host%40fast", "flow/host%40fast"):
            board.create(key, "junk")
        with self.present(workers, "one"), one.attachment("host@fast", wait_seconds=0) as slot:
            slot.ensure_held()
        assert one.pace(["host@fast"])(1000) == 1
        assert board.get("slots/host%40fast") == text_of_holders({})

    def test_work_waits_for_an_attachment_and_gives_its_shard_back_when_the_worker_ends(self) -> None:
        board, workers, shards = MemoryBoard(), MemoryWorkers(), MemoryShards()

        def ends(_: float) -> None:
            raise TransferCancelled("the worker ends")

        one = self.limits("one", board, workers, pause=ends)
        shards.submit(Shard(job="audit", id="1", kind="deep", needs=frozenset({"host@fast"})))
        one.limit("host@fast", WorkerLimit(attachments=1))
        with self.present(workers, "one"), one.attachment("host@fast"):
            claim = shards.claim(replace(WORKER, backends=None))
            assert claim is not None
            with pytest.raises(TransferCancelled):
                work_on(claim, limited(doubled, one, attachments=1))
        (record,) = shards.records()
        assert (record.holder, record.failures) == (None, 0)

    def test_many_small_pieces_are_booked_together(self) -> None:
        one = self.alone()
        one.limit("host@fast", WorkerLimit(bytes_per_second=1000))
        pace = one.pace(["host@fast"])
        assert [round(pace(10), 3) for _ in range(30)] == [0.1] * 10 + [0.2] * 10 + [0.3] * 10

    def test_all_threads_of_a_worker_share_what_it_booked(self) -> None:
        one = self.alone()
        one.limit("host@fast", WorkerLimit(bytes_per_second=1000))
        assert [round(one.pace(["host@fast"])(50), 3) for _ in range(4)] == [0.1, 0.1, 0.2, 0.2]

    def test_a_limit_that_was_changed_is_followed_after_a_few_seconds(self) -> None:
        now = 0.0
        one = self.alone(clock=lambda: now)
        pace = one.pace(["host@fast"])
        assert pace(1000) == 0
        one.limit("host@fast", WorkerLimit(bytes_per_second=100))
        assert pace(1000) == 0
        now = 6.0
        assert pace(1000) == 10


class LosesAnswers(MemoryBoard):
    """A board of which every other call of `create` and `replace` is carried out, and its answer is lost."""

    calls = 0

    def create(self, key: str, text: str) -> bool:
        return self.lost(super().create(key, text))

    def replace(self, key: str, old: str, new: str | None) -> bool:
        return self.lost(super().replace(key, old, new))

    def lost(self, answer: bool) -> bool:
        self.calls += 1
        if self.calls % 2:
            raise ServiceUnreachable("board memory: the answer was lost")
        return answer


class TestPatience:
    def test_a_change_whose_answer_was_lost_is_known_again(self) -> None:
        board = PatientBoard(LosesAnswers(), patience_seconds=60, pause_seconds=0)
        assert board.create("a", "1")
        assert board.replace("a", "1", "2")
        assert board.get("a") == "2"
        assert board.replace("a", "2", None)
        assert board.all() == {}

    def test_a_change_of_another_is_not_taken_for_the_own_one(self) -> None:
        board = PatientBoard(inner := LosesAnswers(), patience_seconds=60, pause_seconds=0)
        assert MemoryBoard.create(inner, "a", "theirs")
        assert not board.create("a", "ours")
        assert not board.replace("a", "old", "ours")
        assert not board.replace("a", "old", None)
        assert board.get("a") == "theirs"

    def test_a_board_that_answers_again_in_time_is_used_as_if_nothing_was(self) -> None:
        inner = MemoryBoard(reachable=False)
        threading.Timer(0.1, lambda: setattr(inner, "reachable", True)).start()
        board = PatientBoard(inner, patience_seconds=60, pause_seconds=0.01)
        assert board.create("a", "1")
        assert board.all() == {"a": "1"}

    def test_a_board_that_does_not_answer_in_time_is_an_error(self) -> None:
        board = PatientBoard(MemoryBoard(reachable=False), patience_seconds=0.03, pause_seconds=0.01)
        for call in (lambda: board.get("a"), lambda: board.create("a", "1"), lambda: board.replace("a", "1", None)):
            with pytest.raises(ServiceUnreachable):
                call()

    def test_a_process_that_shall_end_waits_for_no_board(self) -> None:
        stopping = threading.Event()
        board = PatientBoard(MemoryBoard(reachable=False), patience_seconds=600, pause_seconds=600, stopping=stopping)
        threading.Timer(0.05, stopping.set).start()
        for _ in range(2):
            with pytest.raises(ServiceUnreachable):
                board.get("a")


class TestServing:
    @pytest.mark.parametrize("error", [ServiceFailed, ServiceUnreachable])
    def test_a_board_that_refuses_each_claim_is_named_once(
        self, error: type[ImagevolError], caplog: pytest.LogCaptureFixture
    ) -> None:
        stopping, tries = threading.Event(), list[int]()

        class Refusing(MemoryBoard):
            def reach(self) -> None:
                tries.append(1)
                if len(tries) == 5:
                    stopping.set()
                raise error("the board has another password now")

        shards = LeasedShards(Refusing(), MemoryLocks())
        assert serve(shards, worker=WORKER, works={}, jobs=1, stopping=stopping, idle_seconds=0) == 0
        assert (len(tries), caplog.messages) == (5, ["the board has another password now"])

    def test_a_result_that_cannot_be_written_is_named_on_one_line(self, caplog: pytest.LogCaptureFixture) -> None:
        shards, stopping = MemoryShards(), threading.Event()
        shards.submit(shard(1))

        def work(_: Claim) -> Mapping[str, Any]:
            shards.board.reachable = False
            stopping.set()
            return {}

        assert serve(shards, worker=WORKER, works={"deep": work}, jobs=1, stopping=stopping) == 1
        (told,) = [each for each in caplog.records if each.message.startswith("Shard 001: ")]
        assert (told.levelname, told.exc_info) == ("WARNING", None)

    def records(self, shards: MemoryShards) -> tuple[ShardRecord, ...]:
        return shards.records() if shards.board.reachable else ()

    def serve(self, shards: MemoryShards, work: Callable[[Claim], Mapping[str, Any]], count: int, jobs: int = 2) -> int:
        """Let a worker do all shards, and end it when each is done or set aside."""
        stopping = threading.Event()

        def watch() -> None:
            while sum(record.state is not ShardState.OPEN for record in self.records(shards)) < count:
                time.sleep(0.002)
            stopping.set()

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            return serve(shards, worker=WORKER, works={"deep": work}, jobs=jobs, stopping=stopping, idle_seconds=0.002)
        finally:
            watching.join()

    def test_a_worker_does_the_shards_of_all_jobs_that_it_can_do(self) -> None:
        shards = MemoryShards()
        for number in range(5):
            shards.submit(shard(number))
            shards.submit(shard(number, job="another"))
        shards.submit(Shard(job="audit", id="warm", kind="warm"))
        assert self.serve(shards, doubled, 10) == 10
        assert {record.shard.id for record in shards.records() if record.state is ShardState.OPEN} == {"warm"}

    def test_a_shard_that_no_code_survives_is_set_aside_and_others_are_done(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        shards = MemoryShards(most_failures=2)
        for number in range(3):
            shards.submit(shard(number))

        def work(claim: Claim) -> Mapping[str, Any]:
            if claim.shard.id == "001":
                raise ZeroDivisionError("by zero")
            return doubled(claim)

        assert self.serve(shards, work, 3) == 4
        aside = [record for record in shards.records() if record.state is ShardState.SET_ASIDE]
        assert [(record.shard.id, record.failures) for record in aside] == [("001", 2)]
        assert "by zero" in str(aside[0].reason)
        assert "by zero" in caplog.text

    def test_a_worker_goes_on_when_the_board_answers_again(self) -> None:
        shards = MemoryShards()
        shards.submit(shard(1))
        shards.board.reachable = False
        threading.Timer(0.05, lambda: setattr(shards.board, "reachable", True)).start()
        assert self.serve(shards, doubled, 1) == 1

    def test_a_worker_that_is_told_to_end_gives_back_what_it_has(self) -> None:
        shards, stopping = MemoryShards(), threading.Event()
        shards.submit(shard(1))

        def work(claim: Claim) -> Mapping[str, Any]:
            stopping.set()
            raise TransferCancelled("it was cancelled")

        assert serve(shards, worker=WORKER, works={"deep": work}, jobs=1, stopping=stopping, idle_seconds=0.01) == 1
        (record,) = shards.records()
        assert (record.state, record.holder, record.failures) == (ShardState.OPEN, None, 0)


def test_an_audit_that_is_killed_at_any_moment_reads_each_volume_once_or_again_if_its_line_was_not_written(
    tmp_path: Path,
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    program = [sys.executable, "-m", "tests.adapters.killed_reading", str(tmp_path), str(seed)]
    runs = json.loads(subprocess.check_output(program, cwd=ROOT))
    assert [run["status"] for run in runs] == [-9] * (len(runs) - 1) + [0]
    assert len(runs) > 1
    for run in runs:
        assert len(set(run["read"])) == len(run["read"])
        assert set(run["read"]).isdisjoint(run["known"])
    journal = [json.loads(line)["volume"] for line in (tmp_path / "journal").read_text().splitlines()[1:]]
    assert sorted(journal) == [f"v{number:03}" for number in range(VOLUMES)]
