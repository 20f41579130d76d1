"""An image volume as a shard: what a worker accepts of a board, and what the feeder accepts of the workers."""

from __future__ import annotations

import threading
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import attrs
import pytest

from imagevol_adapters.cli.deep_reader import DeepReader
from imagevol_adapters.engine import Limits
from imagevol_adapters.fleet import Jobs, ShardLost, asking, guarding, serve
from imagevol_adapters.gathering import DeepJournal, DeepOffer, DeepTarget, deep_kind, deep_work, offered_checks
from imagevol_adapters.gathering.deep_reading import check_line
from imagevol_adapters.gathering.deep_shards import deep_plan
from imagevol_adapters.testing.memory import MemoryBoard, MemoryLocks, MemoryShards
from imagevol_core import (
    DeepCheck,
    Digest,
    Image,
    InUse,
    RequestRefused,
    ResourceNotFound,
    ServiceUnreachable,
    Volume,
)
from imagevol_core.sharding import Shard, ShardState, Worker
from tests.adapters.test_deep_checks import check, image, target, volume_id

KIND = deep_kind("here")
WRONG: dict[str, tuple[Any, ...]] = {
    "volume": (..., None, 1, "", "..", "7/x", volume_id(2)),
    "image": (..., 1, "", "../9", ["x"]),
    "size_bytes": (..., None, -1, "7", 7.5),
    "algorithm": (..., 1, {}),
}
WORKER = Worker(name="one", kinds=frozenset({KIND}))


@attrs.define
class Glance:
    """Images by their ids."""

    images: dict[str, Image] = attrs.field(factory=dict)

    def listed(self, image_ids: Sequence[str] | None = None) -> Iterator[Image]:
        return (self.images[each] for each in image_ids or () if each in self.images)


@pytest.fixture
def glance() -> Glance:
    return Glance({image(number).id: image(number) for number in range(4)})


def named(number: int) -> DeepTarget:
    return attrs.evolve(target(number), image=image(number))


class TestWorker:
    def work(self, glance: Glance, **changes: Any) -> tuple[list[DeepTarget], Mapping[str, Any]]:
        """What is read for a shard with this plan, and what is found."""
        shards, read = MemoryShards(), list[DeepTarget]()
        plan: dict[str, Any] = {**deep_plan(named(1)), **changes}
        plan = {key: value for key, value in plan.items() if value is not ...}
        shards.submit(Shard(job="audit-1", id=volume_id(1), kind=KIND, work=plan))
        claim = shards.claim(WORKER)
        assert claim is not None

        def noted(asked: DeepTarget, _: object) -> DeepCheck:
            read.append(asked)
            return check(asked)

        return read, deep_work(noted, images=glance)(claim)

    def test_it_reads_the_volume_with_the_image_as_glance_has_it(self, glance: Glance) -> None:
        (read,), found = self.work(glance)
        assert (read, read.image) == (named(1), glance.images[image(1).id])
        assert found["volume"] == volume_id(1)

    def test_it_reads_a_volume_that_no_image_names_by_its_record_alone(self, glance: Glance) -> None:
        (read,), _ = self.work(glance, image=None, algorithm=None)
        assert (read.volume_id, read.algorithm, read.image) == (volume_id(1), None, None)

    @pytest.mark.parametrize(
        "changes",
        [
            *({key: value} for key, values in WRONG.items() for value in values),
            {"trust_recorded": True},
            {"record": True},
            {"trusted_projects": ["x"]},
            {"image": None},
        ],
        ids=str,
    )
    def test_a_plan_that_is_none_is_refused_in_one_line_and_nothing_is_read(
        self, glance: Glance, changes: dict[str, Any]
    ) -> None:
        with pytest.raises(RequestRefused, match=r"^the plan of shard .* is refused .* cancel job audit-1") as refused:
            self.work(glance, **changes)
        assert str(refused.value).isprintable()

    @pytest.mark.parametrize("changes", [{"size_bytes": 8}, {"algorithm": "sha256"}, {"algorithm": None}])
    def test_a_plan_of_which_glance_says_something_else_is_refused(
        self, glance: Glance, changes: dict[str, Any]
    ) -> None:
        with pytest.raises(RequestRefused, match="they have changed since, or the shard is forged"):
            self.work(glance, **changes)

    def test_a_volume_that_the_image_does_not_name_is_not_read(self, glance: Glance) -> None:
        with pytest.raises(RequestRefused, match="does not have the location"):
            self.work(glance, image=image(2).id)

    def test_an_image_that_was_deleted_meanwhile_is_told(self, glance: Glance) -> None:
        glance.images.clear()
        with pytest.raises(ResourceNotFound):
            self.work(glance)


class Fleet:
    """A worker in a thread, which forges or fails what it is told to."""

    def __init__(self, glance: Glance) -> None:
        self.shards = MemoryShards(most_failures=2)
        self.jobs = Jobs(MemoryBoard(), MemoryLocks(), write_seconds=0)
        self.read: list[str] = []
        self.found: dict[str, DeepCheck] = {}
        self._glance, self._stopping = glance, threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _check(self, asked: DeepTarget, _: object) -> DeepCheck:
        self.read.append(asked.volume_id)
        if asked.volume_id == volume_id(3):
            raise InUse("volume 3 is in use")
        return self.found.get(asked.volume_id) or check(asked)

    def _serve(self) -> None:
        works = {KIND: deep_work(self._check, images=self._glance)}
        serve(self.shards, worker=WORKER, works=works, jobs=2, stopping=self._stopping, idle_seconds=0.002)


class TestFeeder:
    @pytest.fixture
    def fleet(self, glance: Glance) -> Iterator[Fleet]:
        with Fleet(glance) as fleet:
            yield fleet

    @pytest.fixture
    def journal(self, tmp_path: Path) -> Iterator[DeepJournal]:
        with DeepJournal.create(tmp_path / "journal", cloud="here") as journal:
            yield journal

    def run(
        self, fleet: Fleet, journal: DeepJournal, *numbers: int, ahead: int = 200, trust_recorded: bool = False
    ) -> tuple[dict[str, DeepCheck], dict[str, str]]:
        failed: dict[str, str] = {}
        found = offered_checks(
            (named(number) for number in numbers),
            offer=DeepOffer(
                shards=fleet.shards,
                job_records=fleet.jobs,
                job=journal.job,
                kind=KIND,
                ahead=ahead,
                poll_seconds=0.002,
            ),
            check=lambda asked, _: check(asked),
            images=Glance(),
            journal=journal,
            jobs=0,
            limits=Limits(),
            failed=lambda asked, why: failed.update({asked.volume_id: why}),
            trust_recorded=trust_recorded,
        )
        with closing(found):
            return {each.volume_id: each for each in found}, failed

    def test_workers_read_what_is_offered_and_the_journal_has_what_they_found(
        self, fleet: Fleet, journal: DeepJournal
    ) -> None:
        found, failed = self.run(fleet, journal, 0, 1, 2, 3, ahead=2)
        assert found == {volume_id(number): check(named(number)) for number in range(3)}
        assert set(journal.checks.values()) == set(found.values())
        assert failed == {volume_id(3): "2 attempts failed, and no other is made: volume 3 is in use"}
        assert (fleet.shards.records(), fleet.shards.board.most_texts) == ((), 2)

    def test_what_is_in_the_journal_is_not_offered_again(self, fleet: Fleet, journal: DeepJournal) -> None:
        self.run(fleet, journal, 0, 1)
        found, _ = self.run(fleet, journal, 0, 1, 2)
        assert len(found) == 3
        assert sorted(fleet.read) == [volume_id(number) for number in range(3)]

    @pytest.mark.parametrize("outcome", [{}, {"volume": 1}, check_line(named(2), check(named(2)))])
    def test_a_result_that_is_no_answer_is_a_volume_that_was_not_read(
        self, glance: Glance, journal: DeepJournal, outcome: dict[str, Any]
    ) -> None:
        fleet = Fleet(glance)  # it does not run
        fleet.shards.submit(Shard(job=journal.job, id=volume_id(1), kind=KIND, work=deep_plan(named(1))))
        claim = fleet.shards.claim(WORKER)
        assert claim is not None
        claim.done(outcome)
        found, failed = self.run(fleet, journal, 1)
        assert (found, journal.checks) == ({}, {})
        assert "the result on the board cannot be used" in failed[volume_id(1)]

    def test_a_check_by_a_record_counts_only_if_this_command_relies_on_records(
        self, fleet: Fleet, journal: DeepJournal
    ) -> None:
        blake3 = Digest("blake3", "0f" * 32)
        fleet.found[volume_id(1)] = replace(check(named(1)), digest=blake3, recorded=blake3)
        found, failed = self.run(fleet, journal, 1)
        assert found == {}
        assert "pass --trust-recorded to this command too" in failed[volume_id(1)]
        found, failed = self.run(fleet, journal, 1, trust_recorded=True)
        assert (set(found), failed) == ({volume_id(1)}, {})

    def test_an_offer_of_an_earlier_run_with_another_plan_is_replaced(
        self, glance: Glance, journal: DeepJournal
    ) -> None:
        fleet = Fleet(glance)
        old = deep_plan(attrs.evolve(named(1), size_bytes=5))
        fleet.shards.submit(Shard(job=journal.job, id=volume_id(1), kind=KIND, work=old))
        claim = fleet.shards.claim(WORKER)
        assert claim is not None
        claim.done({"of": "the old plan"})
        with fleet:
            found, failed = self.run(fleet, journal, 1)
        assert (found, failed) == ({volume_id(1): check(named(1))}, {})

    def test_what_an_earlier_run_left_on_the_board_is_taken_away_at_the_end_and_other_jobs_are_not(
        self, fleet: Fleet, journal: DeepJournal
    ) -> None:
        for job in (journal.job, "another"):
            fleet.shards.submit(Shard(job=job, id="gone", kind="another kind"))
        self.run(fleet, journal, 1)
        assert [(each.shard.job, each.state) for each in fleet.shards.records()] == [("another", ShardState.OPEN)]

    def test_a_job_has_the_same_name_when_its_journal_is_opened_again(self, tmp_path: Path) -> None:
        path, other = tmp_path / "journal", tmp_path / "other"
        with DeepJournal.create(path, cloud="here") as journal, DeepJournal.create(other, cloud="here") as second:
            first = journal.job
            assert second.job != first
        path.rename(path.with_name("moved"))
        with DeepJournal.open(path.with_name("moved"), cloud="here") as journal:
            assert journal.job == first
        path.write_text('{"deep_checks": 2, "cloud": "here"}\n')  # of an earlier release
        for _ in range(2):
            with DeepJournal.open(path, cloud="here") as journal:
                assert journal.job.startswith("audit-")


@pytest.mark.parametrize("trusted, refused", [([], True), (["another"], True), (["theirs"], False)])
def test_a_volume_that_no_image_names_is_read_only_in_a_project_that_the_worker_trusts(
    trusted: list[str], *, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    found = DeepCheck(volume_id="7", size_bytes=4, tail_is_zero=True)

    def read_volume(_: DeepReader, each: str, **__: object) -> DeepCheck:
        read.append(each)
        return found

    monkeypatch.setattr(DeepReader, "_check", read_volume)
    app: Any = SimpleNamespace(
        limits=lambda _: Limits(),
        volumes=SimpleNamespace(get=lambda each: Volume(id=each, size_gib=1, project_id="theirs")),
    )
    asked = Namespace(record_blake3=False, rate=None, trusted_project=trusted, trust_recorded=False)
    without = DeepTarget(volume_id="7", size_bytes=4, algorithm=None)
    if refused:
        with pytest.raises(RequestRefused, match="no image names it"):
            DeepReader(app, asked).read_offered(without, lambda: None)
    else:
        assert DeepReader(app, asked).read_offered(without, lambda: None) == found
    assert read == ([] if refused else ["7"])


def test_a_volume_whose_shard_is_taken_away_is_not_read_any_more(
    glance: Glance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "_ASK_SECONDS", 0)
    shards = MemoryShards()
    shards.submit(Shard(job="audit-1", id=volume_id(1), kind=KIND, work=deep_plan(named(1))))
    claim = shards.claim(WORKER)
    assert claim is not None

    def read_volume(_: DeepReader, each: str, *, limits: Limits, **__: object) -> DeepCheck:
        assert limits.shared is not None
        assert limits.bucket is reader.limits.bucket
        assert limits.shared(7) == 0.5, "the limit of all workers counts as before"
        shards.withdraw(claim.shard)
        limits.shared(7)
        pytest.fail("it is read on")

    monkeypatch.setattr(DeepReader, "_check", read_volume)
    app: Any = SimpleNamespace(limits=lambda rate: Limits(bytes_per_second=rate))
    asked = Namespace(record_blake3=False, rate=7.0, trusted_project=[], trust_recorded=False)
    reader = DeepReader(app, asked, shared=lambda _: 0.5)
    with pytest.raises(ShardLost):
        deep_work(reader.read_offered, images=glance)(claim)


def test_a_reading_goes_on_while_the_board_does_not_answer() -> None:
    now, asked = 0.0, list[float]()

    def check() -> None:
        asked.append(now)
        raise ServiceUnreachable("no answer")

    before_part = asking(check, clock=lambda: now)
    while now < 200:
        assert before_part(7) == 0
        now += 1
    assert asked == [5, 65, 125, 185], "an answer is waited for, so it is not asked for all the time"
