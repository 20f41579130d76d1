"""`imagevol locations apply --board`: images that workers change, on a board in memory and on a real Redis."""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.board_option import BOARD_PASSWORD
from imagevol_adapters.fleet import JobOffer, fleet_from_url
from imagevol_adapters.fleet.leased import ShardLost
from imagevol_adapters.fleet.running import Work
from imagevol_adapters.ports import Claim, Locks
from imagevol_adapters.relocating import Changer, Entry, Journal, Migration, Outcome, State, plan_id, plan_images
from imagevol_adapters.relocating.offering import (
    _Parts,
    end_offer,
    location_kind,
    location_plan,
    location_work,
    offered_changes,
)
from imagevol_adapters.testing.memory import MemoryLocks, MemoryShards
from imagevol_core import (
    HOLD,
    InUse,
    LockLost,
    NoAnswer,
    RequestRefused,
    ServiceFailed,
    ServiceUnreachable,
    Store,
    StoreCatalogue,
    TransferCancelled,
)
from imagevol_core.sharding import ShardRecord, ShardState, Worker
from tests.adapters.commands import Ran
from tests.adapters.commands import ran as ran_here
from tests.adapters.history import Killed, MemoryHistory
from tests.adapters.serving import URL, Board, quick, serving
from tests.adapters.test_locations_command import GLANCE_API_CONF, Run
from tests.adapters.test_relocating import STORES, V, W, X, at, locations, nothing_held
from tests.coordination.services import PASSWORD, running

CLOUD = "this cloud"
KIND = location_kind(CLOUD, plan=plan_id(STORES, {}))
WANTED = {
    "image-1": (at(f"cinder://fast/{V}", "fast"),),
    "image-2": (at(f"cinder://fast/{W}", "fast"),),
    "image-3": (at(f"cinder://fast2/{X}", "fast2"),),
}
SECONDS = 30


class Cloud(MemoryHistory):
    """Images by id, and which were changed by how many requests."""

    def __init__(self, catalogue: StoreCatalogue = STORES) -> None:
        super().__init__(catalogue)
        self.requested = Counter[str]()
        self.before_each: Callable[[], object] = lambda: None

    def get(self, image_id: str) -> Any:
        self.requested[image_id] += 1
        return super().get(image_id)

    def change_locations(self, image_id: str, operations: Sequence[Mapping[str, Any]]) -> None:
        self.requested[image_id] += 1
        super().change_locations(image_id, operations)

    def default_volume_type(self) -> str:
        return "ssd"

    def _request(self, effect: Callable[[], Any]) -> Any:
        self.before_each()
        return super()._request(effect)


def cloud() -> Cloud:
    """One image that Glance migrates, one that is moved, and one half way between."""
    glance = Cloud()
    glance.image("image-1", at(f"cinder://{V}"), volume_type="ssd")
    glance.image("image-2", at(f"cinder://slow/{W}", "fast"), volume_type="ssd")
    glance.image("image-3", at(f"cinder://{X}", "fast"), volume_type="nvme")
    return glance


ONCE = Counter({"image-1": 1, "image-2": 2, "image-3": 2})  # a show; an addition and a removal, twice


def volume(number: int) -> str:
    return f"{number:08x}-93e4-4a3c-a2a5-3d5bd2d3b6a1"


@pytest.fixture
def glance(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    glance = cloud()
    monkeypatch.setattr(Imagevol, "cloud_id", lambda _: CLOUD)
    monkeypatch.setattr(Imagevol, "images", glance)
    monkeypatch.setattr(Imagevol, "volumes", glance)
    return glance


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    monkeypatch.setattr(JobOffer, "__init__", quick(JobOffer.__init__))
    return Board.of_commands(monkeypatch)


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "glance-api.conf"
    path.write_text(GLANCE_API_CONF)
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], conf: Path, tmp_path: Path) -> Run:
    def run(what: str, *arguments: object) -> Ran:
        given = ("--config-file", conf, "--journal", tmp_path / "journal", "--yes", "-f", "json")
        return ran_here(capsys, "locations", what, *given, *arguments)

    return run


def changer(glance: Cloud, catalogue: StoreCatalogue = STORES) -> Changer:
    return Changer(images=glance, volumes=glance, catalogue=catalogue, settle_seconds=0)


def worker(
    glance: Cloud, stopping: threading.Event | None = None, *, locks: Locks | None = None, **renames: str
) -> Work:
    return location_work(
        changer(glance), renames=renames, locks=locks or MemoryLocks(), stopping=stopping or threading.Event()
    )


def journal_of(glance: Cloud, path: Path) -> Journal:
    planned = plan_images(glance.listed(), catalogue=STORES, volume_types=glance.types_of)
    changes = [each.changes for each in planned if each.possible]
    return Journal.create(path, cloud=CLOUD, catalogue=STORES, renames={}, changes=changes)


@pytest.fixture
def journal(glance: Cloud, tmp_path: Path) -> Iterator[Journal]:
    with journal_of(glance, tmp_path / "journal") as journal:
        yield journal


def migration(glance: Cloud, journal: Journal) -> Migration:
    return Migration(journal=journal, images=glance, volumes=glance, catalogue=STORES, settle_seconds=0)


def offered(glance: Cloud, journal: Journal, board: Board, **more: Any) -> Iterator[Outcome]:
    offer = JobOffer(shards=board.shards, job_records=board.jobs, job=journal.job, kind=KIND, **more)
    return offered_changes(
        migration(glance, journal), offer=offer, board=URL, let_go=lambda ids: board.shards.let_go(journal.job, ids)
    )


def states(ran: Ran) -> dict[str, str]:
    return {row["image_id"]: row["state"] for row in ran.json}


def all_of(state: str) -> dict[str, str]:
    return dict.fromkeys(WANTED, state)


class TestCommand:
    def test_workers_change_the_images_and_the_answer_is_that_of_one_host(
        self, glance: Cloud, board: Board, run: Run, tmp_path: Path
    ) -> None:
        with serving(board.shards, {KIND: worker(glance)}):
            ran = run("apply", "--board", URL)
        assert (ran.status, states(ran)) == (0, all_of("done"))
        assert (locations(glance), glance.requested) == (WANTED, ONCE)
        assert nothing_held(glance)
        assert (board.shards.records(), board.jobs.records(), board.closed) == ((), (), 1)
        assert f"No worker takes it yet. Start `imagevol fleet work --board {URL} --take locations` for" in ran.err
        with Journal.open(tmp_path / "journal", cloud=CLOUD) as journal:
            assert {entry.state for entry in journal.entries.values()} == {State.DONE}
            assert not journal.offered
        assert run("apply", "--resume").err == "There is nothing left to change.\n"

    def test_no_location_is_on_the_board(self, glance: Cloud, board: Board, run: Run, tmp_path: Path) -> None:
        seen = list[str]()

        def noted(claim: Claim) -> Any:
            seen.extend(board.shards.board.all().values())
            return worker(glance)(claim)

        glance.image(
            "image-4", at(f"cinder://{volume(4)}"), at("swift://u:hunter2@host/c/o", "fast2"), volume_type="ssd"
        )
        with serving(board.shards, {KIND: noted}):
            run("apply", "--board", URL)
        assert len(seen) >= 4
        assert not any(word in text for text in seen for word in ("cinder://", "hunter2", V, "slow"))

    def test_what_was_changed_by_workers_is_changed_back_here(
        self, glance: Cloud, board: Board, run: Run, conf: Path
    ) -> None:
        before = locations(glance)
        with serving(board.shards, {KIND: worker(glance)}):
            run("apply", "--board", URL)
        glance.catalogue = StoreCatalogue(stores=STORES.stores, multi=False)
        conf.write_text("[glance_store]\nstores = imagevol\ndefault_store = cinder\n")
        assert states(run("undo")) == all_of("undone")
        assert (locations(glance), nothing_held(glance)) == (before, True)

    def test_an_interrupt_takes_all_off_the_board_and_resume_goes_on(
        self, glance: Cloud, board: Board, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(listing: Iterator[object], *, phase: str, **_: object) -> Iterator[object]:
            if phase == "apply":
                yield next(listing)
                raise KeyboardInterrupt
            yield from listing

        with serving(board.shards, {KIND: worker(glance)}):
            with monkeypatch.context() as patched:
                patched.setattr("imagevol_adapters.cli.locations.counted", interrupt)
                ran = run("apply", "--board", URL)
            assert (ran.status, board.shards.records()) == (130, ())
            assert "Continue with `apply --resume`, or revert with `undo`." in ran.err
            resumed = run("apply", "--resume", "--board", URL)
        assert (resumed.status, len(resumed.json), set(states(resumed).values())) == (0, 2, {"done"})
        assert (locations(glance), glance.requested) == (WANTED, ONCE)

    def test_after_a_feeder_was_killed_nothing_is_changed_here_without_the_board(
        self, glance: Cloud, board: Board, run: Run, tmp_path: Path
    ) -> None:
        with journal_of(glance, tmp_path / "journal") as journal:
            journal.record_offered(URL)
            (entry, *_) = journal.entries.values()
            journal.record(entry.image_id, State.BEGUN)
            claim = board.claim(KIND, "000001", location_plan(journal.id, [entry]), job=journal.job)
        for command in (("apply", "--resume"), ("undo",)):
            refused = run(*command)
            assert (refused.status, refused.out) == (1, "")
            assert "workers may still be changing its images: pass --board" in refused.err

        def work() -> None:
            while board.shards.records():  # until it was taken off
                pass
            with suppress(ShardLost):
                claim.ensure_held()
                glance.requested["too late"] += 1
            claim.give_back()

        thread = threading.Thread(target=work)
        thread.start()
        undone = run("undo", "--board", URL)
        thread.join()
        assert (undone.status, states(undone)) == (0, {entry.image_id: "undone"})
        assert f"Taking job {journal.job} off {URL}, and waiting for its workers." in undone.err
        assert not glance.requested

    @pytest.mark.parametrize("command", [("apply", "--resume"), ("undo",)], ids=["resume", "undo"])
    def test_another_board_than_that_of_the_journal_is_refused_and_nothing_else_is_told(
        self, glance: Cloud, board: Board, run: Run, tmp_path: Path, command: tuple[str, ...]
    ) -> None:
        with journal_of(glance, tmp_path / "journal") as journal:
            journal.record_offered("redis://first.example.com:6379")
            journal.record(next(iter(journal.entries)), State.BEGUN)
        refused = run(*command, "--board", URL)
        assert (refused.status, refused.out, len(refused.err.splitlines())) == (1, "", 1)
        assert "its images were offered on redis://first.example.com:6379" in refused.err

    def test_an_image_that_fails_on_a_worker_is_told_and_tried_again(
        self, glance: Cloud, board: Board, run: Run
    ) -> None:
        glance.held_back = frozenset({W})
        with serving(board.shards, {KIND: worker(glance)}):
            ran = run("apply", "--board", URL)
            assert (ran.status, states(ran)) == (3, {**all_of("done"), "image-2": "failed"})
            assert {row["reason"] for row in ran.json} == {None, f"volume {W} is in use"}
            glance.held_back = frozenset()
            resumed = run("apply", "--resume", "--board", URL)
        assert (resumed.status, states(resumed)) == (0, {"image-2": "done"})
        assert (locations(glance), nothing_held(glance)) == (WANTED, True)

    @pytest.mark.parametrize("command", ["apply", "undo"])
    def test_a_password_file_without_a_board_is_refused(
        self, glance: Cloud, board: Board, run: Run, command: str
    ) -> None:
        ran = run(command, "--board-password-file", "x")
        assert (ran.status, ran.out, len(ran.err.splitlines())) == (1, "", 1)


class TestWorkerCommand:
    """What `imagevol fleet work` takes: only with its own stores and renames."""

    @pytest.fixture
    def kinds(self, board: Board, glance: Cloud, capsys: pytest.CaptureFixture[str], conf: Path) -> Callable[..., Any]:
        def kinds(*options: object) -> Any:
            with patch("imagevol_adapters.fleet.serve", create=True) as serve:
                serve.return_value = 0
                ran = ran_here(capsys, "fleet", "work", "--board", URL, *options)
            return ran if ran.status else list(serve.call_args.kwargs["works"])

        return kinds

    def test_it_takes_the_work_of_a_command_with_the_same_stores_and_renames(
        self, kinds: Callable[..., Any], conf: Path
    ) -> None:
        take = ("--take", "locations", "--glance-config-file", conf)
        assert kinds(*take) == [KIND]
        renamed = kinds(*take, "--rename", "slow=fast")
        assert renamed == [location_kind(CLOUD, plan=plan_id(STORES, {"slow": "fast"}))]
        conf.write_text(GLANCE_API_CONF.replace("ssd", "hdd"))
        assert len({KIND, *renamed, *kinds(*take)}) == 3

    def test_without_a_configuration_of_glance_it_names_the_option(
        self, kinds: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        none = tmp_path / "none/glance-api.conf"
        monkeypatch.setattr("imagevol_adapters.cli.locations_facts.GLANCE_API_CONF", none)
        ran = kinds("--take", "locations")
        assert ran.err == f"{none} is not on this host: pass Glance's configuration with --glance-config-file\n"

    def test_a_configuration_of_glance_that_may_not_be_read_is_not_called_missing(
        self, kinds: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hidden, lstat = tmp_path / "glance/glance-api.conf", os.lstat

        def refused(path: Any, **options: Any) -> Any:  # as by the kernel, which refuses nothing to root
            if path == hidden:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return lstat(path, **options)

        monkeypatch.setattr(os, "lstat", refused)
        monkeypatch.setattr("imagevol_adapters.cli.locations_facts.GLANCE_API_CONF", hidden)
        ran = kinds("--take", "locations")
        assert (ran.status, len(ran.err.splitlines())) == (1, 1)
        assert ran.err.startswith(f"{hidden}: ")

    def test_its_options_are_refused_for_other_work(
        self, kinds: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Imagevol, "attacher", None)
        refused = kinds("--rename", "slow=fast")
        assert refused.err == "--rename is for --take locations: pass that too, or leave --rename out\n"


class TestWorker:
    def plan(self, glance: Cloud, journal: Journal, *image_ids: str) -> dict[str, Any]:
        return location_plan(journal.id, [journal.entries[each] for each in image_ids or WANTED])

    def test_it_changes_each_image_once_and_a_second_time_nothing(
        self, glance: Cloud, journal: Journal, board: Board
    ) -> None:
        plan = self.plan(glance, journal)
        for shard_id in ("1", "2"):
            assert worker(glance)(board.claim(KIND, shard_id, plan)) == {"failed": {}, "stopped": None}
            assert (locations(glance), glance.requested) == (WANTED, ONCE)
        assert nothing_held(glance)

    @pytest.mark.parametrize("requests", range(14))
    @pytest.mark.parametrize("after", [False, True])
    def test_what_a_killed_worker_has_begun_another_one_ends(
        self, glance: Cloud, journal: Journal, board: Board, requests: int, after: bool
    ) -> None:
        board.shards = MemoryShards(most_failures=3)
        claim = board.claim(KIND, "1", self.plan(glance, journal))
        glance.requests_left, glance.killed_after = requests, after
        with suppress(Killed):
            worker(glance)(claim)
        glance.revive()
        board.shards.lose(claim)
        again = board.shards.claim(Worker(name="two", kinds=frozenset({KIND})))
        assert again is not None
        assert worker(glance)(again) == {"failed": {}, "stopped": None}
        assert (locations(glance), nothing_held(glance)) == (WANTED, True)
        assert set(glance.volumes) == {V, W, X}

    @pytest.mark.parametrize("requests", range(13))
    def test_a_worker_that_has_lost_its_shard_changes_nothing_any_more(
        self, glance: Cloud, journal: Journal, board: Board, requests: int
    ) -> None:
        claim = board.claim(KIND, "1", self.plan(glance, journal))
        made = list[str]()

        def note() -> None:
            made.append("request")
            if len(made) == requests:
                board.shards.lose(claim)

        glance.before_each = note
        if not requests:
            board.shards.lose(claim)
        with suppress(ShardLost):
            worker(glance)(claim)
        assert len(made) == requests

    def test_without_an_end_it_makes_as_many_requests(self, glance: Cloud, journal: Journal, board: Board) -> None:
        made = list[str]()
        glance.before_each = lambda: made.append("request")
        worker(glance)(board.claim(KIND, "1", self.plan(glance, journal)))
        assert len(made) > 12  # so that the test above has a request to lose the shard at

    def test_a_worker_that_is_stopped_ends_its_image_and_gives_the_rest_back(
        self, glance: Cloud, journal: Journal, board: Board
    ) -> None:
        stopping = threading.Event()
        glance.before_each = stopping.set
        with pytest.raises(TransferCancelled):
            worker(glance, stopping)(board.claim(KIND, "1", self.plan(glance, journal)))
        assert glance.requested == Counter({"image-1": 1})

    @pytest.mark.parametrize(
        "change",
        [
            lambda plan: plan.pop("journal"),
            lambda plan: plan.update(journal="another"),
            lambda plan: plan.update(journal=7),
            lambda plan: plan.update(renames={"slow": "fast2"}),
            lambda plan: plan.update(images=[]),
            lambda plan: plan.update(images={}),
            lambda plan: plan.update(images={f"image-{each}": [["one", "two"]] for each in range(51)}),
            lambda plan: plan["images"].update({"..": [["one", "two"]]}),
            lambda plan: plan["images"].update({"7/x": [["one", "two"]]}),
            lambda plan: plan["images"].update({"image-1": 7}),
            lambda plan: plan["images"].update({"image-1": [["one"]]}),
            lambda plan: plan["images"].update({"image-1": []}),
            lambda plan: plan["images"].update({"image-1": [["one", {"url": f"cinder://fast2/{V}"}]]}),
        ],
    )
    def test_a_plan_that_is_none_is_refused_in_one_line_and_nothing_is_changed(
        self, glance: Cloud, journal: Journal, board: Board, change: Callable[[dict[str, Any]], object]
    ) -> None:
        plan = self.plan(glance, journal)
        change(plan)
        with pytest.raises(RequestRefused, match=r"^the plan of shard 1 is refused .* cancel job job-1") as refused:
            worker(glance)(board.claim(KIND, "1", plan))
        assert (str(refused.value).isprintable(), glance.requested) == (True, Counter())

    def test_a_forged_shard_cannot_make_it_write_a_location_that_it_does_not_plan_itself(
        self, glance: Cloud, journal: Journal, board: Board
    ) -> None:
        elsewhere = StoreCatalogue(stores=(Store(name="evil", kind="imagevol", volume_type="ssd"),))
        (image,) = glance.listed(["image-1"])
        (forged,) = plan_images([image], catalogue=elsewhere, volume_types=glance.types_of)
        assert forged.changes[0].after.url == f"cinder://evil/{V}"
        plan = location_plan(journal.id, [Entry(image_id="image-1", changes=forged.changes)])
        before = locations(glance)
        found = worker(glance)(board.claim(KIND, "1", plan))
        assert found["failed"]["image-1"].startswith("image image-1 is left as it is: this worker does not plan what")
        assert (locations(glance), glance.requested) == (before, Counter())

    @pytest.mark.parametrize("number", range(13))
    def test_a_copied_shard_leaves_an_image_that_another_worker_is_changing(
        self, glance: Cloud, journal: Journal, board: Board, number: int
    ) -> None:
        plan, requests, forged = self.plan(glance, journal), 0, list[Mapping[str, str]]()
        work = worker(glance, locks=(locks := MemoryLocks()))

        def other() -> None:
            nonlocal requests
            requests += 1
            if requests == number + 1:
                glance.before_each = lambda: None
                copied = board.claim(KIND, "1", {**plan, "images": {"image-2": plan["images"]["image-2"]}}, job="copy")
                forged.append(worker(glance, locks=locks)(copied)["failed"])

        glance.before_each = other
        found = work(board.claim(KIND, "1", plan))
        if any("image-2" in each for each in forged):
            assert "is being changed by another worker" in forged[0]["image-2"]
        assert found["failed"] == {}
        assert (locations(glance), nothing_held(glance)) == (WANTED, True)
        assert glance.requested == ONCE

    @pytest.fixture
    def half_way(self, glance: Cloud, journal: Journal, board: Board) -> Callable[[], object]:
        """A worker was killed while image-2 is held and has both locations; gives what must stay as it is."""
        plan = self.plan(glance, journal)
        glance.requests_left, glance.killed_after = 2, True
        with suppress(Killed):
            worker(glance)(board.claim(KIND, "1", {**plan, "images": {"image-2": plan["images"]["image-2"]}}))
        glance.revive()
        assert (HOLD in glance.volumes[W].metadata, len(locations(glance)["image-2"])) == (True, 2)
        return lambda: (dict(glance.volumes[W].metadata), list(glance.reservations(W)), locations(glance))

    def test_an_id_in_other_letters_ends_no_hold_also_where_the_database_of_glance_knows_no_case(
        self, glance: Cloud, journal: Journal, board: Board, half_way: Callable[[], object]
    ) -> None:
        before, plan, listed = half_way(), self.plan(glance, journal), glance.listed

        def in_any_case(image_ids: Sequence[str] | None = None, **more: Any) -> Any:  # as MySQL does
            return listed(None if image_ids is None else [each.lower() for each in image_ids], **more)

        forged = {**plan, "images": {"IMAGE-2": plan["images"]["image-2"]}}
        with patch.object(glance, "listed", in_any_case):
            worker(glance)(board.claim(KIND, "1", forged, job="forged"))
        assert half_way() == before

    def test_a_shard_that_says_that_nothing_is_left_to_change_ends_no_hold_that_is_needed(
        self, glance: Cloud, journal: Journal, board: Board, half_way: Callable[[], object]
    ) -> None:
        before, plan = half_way(), self.plan(glance, journal)
        ((_, after),) = plan["images"]["image-2"]
        forged = {**plan, "images": {"image-2": [["0" * len(after), after]]}}
        found = worker(glance)(board.claim(KIND, "1", forged, job="forged"))
        assert "or the shard is forged" in found["failed"]["image-2"]
        assert half_way() == before

    def test_a_worker_that_has_lost_the_image_changes_nothing_any_more(
        self, glance: Cloud, journal: Journal, board: Board
    ) -> None:
        locks, before, plan = MemoryLocks(), locations(glance), self.plan(glance, journal)
        glance.before_each = locks.taken.clear
        with pytest.raises(LockLost):
            worker(glance, locks=locks)(
                board.claim(KIND, "1", {**plan, "images": {"image-2": plan["images"]["image-2"]}})
            )
        assert (locations(glance), glance.requested) == (before, Counter())

    def test_a_rename_that_it_was_not_told_is_not_followed(
        self, glance: Cloud, board: Board, tmp_path: Path, journal: Journal
    ) -> None:
        both = tuple(replace(store, volume_type="ssd") for store in STORES.stores)
        glance.catalogue = StoreCatalogue(stores=both)
        glance.images = {"image-2": glance.images["image-2"]}
        images = list(glance.listed())
        (renamed,) = plan_images(
            images, catalogue=glance.catalogue, volume_types=glance.types_of, renames={"slow": "fast2"}
        )
        plan = location_plan(journal.id, [Entry(image_id="image-2", changes=renamed.changes)])
        told: list[bool] = []
        for renames in ({}, {"slow": "fast"}, {"slow": "fast2"}):
            work = location_work(
                changer(glance, glance.catalogue), renames=renames, locks=MemoryLocks(), stopping=threading.Event()
            )
            found = work(board.claim(KIND, f"{renames}", plan))
            told.append("does not plan what the journal has" in found["failed"]["image-2"])
        assert told == [True, True, False]  # of the last, Glance would not take it

    def test_an_image_that_is_gone_or_has_changed_since_is_left(
        self, glance: Cloud, journal: Journal, board: Board
    ) -> None:
        plan = self.plan(glance, journal)
        del glance.images["image-1"]
        glance.images["image-2"] = replace(glance.images["image-2"], locations=(at(f"cinder://fast2/{V}", "fast2"),))
        found = worker(glance)(board.claim(KIND, "1", plan))
        assert list(found["failed"]) == ["image-2"]
        assert glance.images["image-3"].locations == WANTED["image-3"]

    def test_only_the_locations_of_the_journal_are_changed(self, glance: Cloud, journal: Journal, board: Board) -> None:
        plan = self.plan(glance, journal, "image-2")
        come = at(f"cinder://slow/{X}", "fast2")
        glance.images["image-2"] = replace(glance.images["image-2"], locations=(at(f"cinder://slow/{W}", "fast"), come))
        assert worker(glance)(board.claim(KIND, "1", plan))["failed"] == {}
        assert Counter(glance.images["image-2"].locations) == Counter((*WANTED["image-2"], come))

    def test_without_an_answer_of_cinders_the_attempt_fails(
        self, glance: Cloud, journal: Journal, board: Board
    ) -> None:
        plan = self.plan(glance, journal)
        silent = patch.object(MemoryHistory, "types_of", lambda _, ids: dict.fromkeys(ids, NoAnswer("down")))
        with silent, pytest.raises(ServiceUnreachable, match=r"image image-1 is left as it is: .*'down'"):
            worker(glance)(board.claim(KIND, "1", plan))
        assert not glance.requested


class TestFeeder:
    def test_each_image_has_begun_in_the_journal_before_a_worker_can_take_it(
        self, glance: Cloud, journal: Journal, board: Board
    ) -> None:
        seen: list[tuple[State, bool]] = []

        def noted(claim: Claim) -> Any:
            with (journal.path).open() as lines:
                written = lines.read()
            (image_id,) = claim.shard.work["images"]
            seen.append((journal.entries[image_id].state, f'{{"image":"{image_id}","state":"begun"}}' in written))
            return worker(glance)(claim)

        with serving(board.shards, {KIND: noted}):
            outcomes = list(offered(glance, journal, board))
        assert {(each.image_id, each.state) for each in outcomes} == {(each, State.DONE) for each in WANTED}
        assert seen == [(State.BEGUN, True)] * 3

    @pytest.mark.parametrize(
        "outcome",
        [
            {"failed": {}, "stopped": None},
            {"failed": {"another": "reason"}, "stopped": None},
            {"failed": {"image-1": 7}, "stopped": None},
            {"failed": {}, "stopped": 7},
            {"failed": {}},
            {},
        ],
        ids=str,
    )
    def test_a_forged_result_is_not_believed_and_the_images_are_tried_again(
        self, glance: Cloud, journal: Journal, board: Board, outcome: dict[str, Any]
    ) -> None:
        with serving(board.shards, {KIND: lambda _: outcome}):
            outcomes = list(offered(glance, journal, board))
        assert [each.state for each in outcomes] == [State.FAILED] * 3
        assert all(each.reason for each in outcomes)
        assert not journal.offered
        assert {each.state for each in migration(glance, journal).apply()} == {State.DONE}
        assert (locations(glance), nothing_held(glance)) == (WANTED, True)

    def test_a_record_that_was_forged_on_the_board_changes_nothing_in_what_was_asked(
        self, glance: Cloud, journal: Journal, board: Board
    ) -> None:
        whole = MemoryShards.records

        def forged(shards: MemoryShards, job: str | None = None) -> tuple[ShardRecord, ...]:
            return tuple(
                each
                if each.state is ShardState.OPEN
                else replace(each, shard=replace(each.shard, work={"images": {"nosuch-1": []}}))
                for each in whole(shards, job)
            )

        with patch.object(MemoryShards, "records", forged), serving(board.shards, {KIND: worker(glance)}):
            outcomes = list(offered(glance, journal, board))
        assert {(each.image_id, each.state) for each in outcomes} == {(each, State.DONE) for each in WANTED}

    def test_what_glance_does_otherwise_than_predicted_ends_the_job_and_all_is_taken_off(
        self, glance: Cloud, journal: Journal, board: Board
    ) -> None:
        glance.catalogue = replace(STORES, stores=(Store(name="other", kind="imagevol", volume_type="ssd"),))
        made = pytest.raises(ServiceFailed, match=f"made cinder://other/{V} in store other of its locations")
        with serving(board.shards, {KIND: worker(glance)}, jobs=1), made:
            list(offered(glance, journal, board))
        assert (board.shards.records(), journal.offered) == ((), None)
        assert journal.entries["image-1"].state is State.BEGUN

    def test_a_shard_that_is_set_aside_is_told_with_its_reason(
        self, glance: Cloud, journal: Journal, board: Board
    ) -> None:
        silent = patch.object(MemoryHistory, "types_of", lambda _, ids: dict.fromkeys(ids, NoAnswer("down")))
        with silent, serving(board.shards, {KIND: worker(glance)}):
            outcomes = list(offered(glance, journal, board))
        assert {each.state for each in outcomes} == {State.FAILED}
        assert all("'down'" in str(each.reason) for each in outcomes)

    def test_what_a_shard_that_is_set_aside_has_changed_counts_unless_its_volumes_are_held(
        self, glance: Cloud, journal: Journal, board: Board
    ) -> None:
        work = worker(glance)

        def failing(claim: Claim) -> Any:
            work(claim)
            if "image-2" in claim.shard.work["images"]:
                glance.cinder.set_metadata(W, {HOLD: journal.id})
            raise ServiceUnreachable("Glance does not answer")

        with serving(board.shards, {KIND: failing}):
            outcomes = {each.image_id: each.state for each in offered(glance, journal, board)}
        assert outcomes == {"image-1": State.DONE, "image-2": State.FAILED, "image-3": State.DONE}
        assert [each.state for each in migration(glance, journal).apply()] == [State.DONE]
        assert nothing_held(glance)

    def test_a_journal_that_was_undone_is_not_offered(self, glance: Cloud, journal: Journal, board: Board) -> None:
        journal.record("image-1", State.UNDONE)
        refused = pytest.raises(RequestRefused, match="has been undone")
        with serving(board.shards, {KIND: worker(glance)}), refused:
            list(offered(glance, journal, board))
        assert (board.shards.records(), journal.offered) == ((), None)

    def test_a_journal_that_was_offered_on_another_board_is_refused(
        self, glance: Cloud, journal: Journal, board: Board
    ) -> None:
        journal.record_offered("redis://first.example.com:6379")
        other = pytest.raises(RequestRefused, match=r"offered on redis://first\.example\.com:6379, and not on")
        with serving(board.shards, {KIND: worker(glance)}), other:
            list(offered(glance, journal, board))
        with other:
            end_offer(journal, board=URL, let_go=lambda _: None)
        assert journal.offered == "redis://first.example.com:6379"
        with pytest.raises(RequestRefused, match=r"pass --board redis://first\.example\.com:6379"):
            journal.check_not_offered()

    def test_a_volume_that_is_still_held_is_named_also_if_its_image_is_gone(
        self, glance: Cloud, journal: Journal, board: Board
    ) -> None:
        def killed(claim: Claim) -> Any:
            glance.cinder.set_metadata(W, {HOLD: journal.id})
            glance.images.pop("image-2", None)
            return worker(glance)(claim)

        with serving(board.shards, {KIND: killed}):
            outcomes = {each.image_id: each for each in offered(glance, journal, board)}
        assert outcomes["image-2"].state is State.FAILED
        assert "still held: use --resume" in str(outcomes["image-2"].reason)
        assert [each.state for each in migration(glance, journal).apply()] == [State.GONE]
        assert nothing_held(glance)

    def test_an_image_to_which_a_stopped_worker_did_not_come_has_no_reason(
        self, glance: Cloud, journal: Journal, board: Board
    ) -> None:
        stopped = {"failed": {"image-1": "Glance made something else"}, "stopped": "Glance made something else"}
        together = patch("imagevol_adapters.relocating.offering.AHEAD", 1)
        with together, serving(board.shards, {KIND: lambda _: stopped}), pytest.raises(ServiceFailed):
            list(offered(glance, journal, board))
        assert {each.image_id: each.reason for each in journal.entries.values()} == {
            "image-1": "Glance made something else",
            "image-2": None,
            "image-3": None,
        }

    def test_a_reason_that_was_forged_is_shown_on_one_line_that_no_terminal_obeys(
        self, glance: Cloud, journal: Journal, board: Board
    ) -> None:
        forged = {"failed": dict.fromkeys(WANTED, "\x1b[2J\n\x07" + "x" * 10_000), "stopped": None}
        with serving(board.shards, {KIND: lambda _: forged}):
            reasons = [str(each.reason) for each in offered(glance, journal, board)]
        assert all(each.isprintable() and len(each) <= 1000 for each in reasons)

    def test_an_image_that_is_gone_is_no_trouble(self, glance: Cloud, journal: Journal, board: Board) -> None:
        del glance.images["image-2"]
        with serving(board.shards, {KIND: worker(glance)}):
            outcomes = {each.image_id: each.state for each in offered(glance, journal, board)}
        assert outcomes == {"image-1": State.DONE, "image-2": State.GONE, "image-3": State.DONE}

    def test_a_worker_that_does_not_end_leaves_the_journal_offered(
        self, glance: Cloud, journal: Journal, board: Board
    ) -> None:
        journal.record_offered(URL)
        journal.record("image-1", State.BEGUN)
        (entry, *_) = journal.entries.values()
        claim = board.claim(KIND, "000001", location_plan(journal.id, [entry]), job=journal.job)
        board.shards.withdraw(board.record("000001").shard)  # as `imagevol fleet cancel` does
        with pytest.raises(InUse, match="still has a worker: stop that worker, and run the command again"):
            end_offer(journal, board=URL, let_go=lambda ids: board.shards.let_go(journal.job, ids, wait_seconds=0))
        assert journal.offered
        for refused in (migration(glance, journal).apply, migration(glance, journal).undo):
            with pytest.raises(RequestRefused, match="workers may still be changing its images"):
                list(refused())
        claim.give_back()
        end_offer(journal, board=URL, let_go=lambda ids: board.shards.let_go(journal.job, ids, wait_seconds=0))
        assert not journal.offered

    @pytest.mark.parametrize(
        "images, sizes", [(1, {1}), (200, {1}), (201, {1, 2}), (9_999, {50, 49}), (10_001, {50, 1}), (10**6, {50})]
    )
    def test_a_small_plan_is_shared_by_all_workers_and_a_shard_of_a_large_one_is_one_request_to_glance(
        self, images: int, sizes: set[int]
    ) -> None:
        entries = {f"image-{number}": Entry(image_id=f"image-{number}", changes=()) for number in range(images)}
        parts = _Parts(SimpleNamespace(entries=entries))  # type: ignore[arg-type]
        found = [parts.entries(at) for at in range(parts.count)]
        assert {len(each) for each in found} == sizes
        assert [entry for each in found for entry in each] == list(entries.values())
        assert parts.left(parts.shard_id(parts.count - 1)) == found[-1]


def test_eight_workers_of_which_some_lose_their_shards_change_each_image_once(
    glance: Cloud, board: Board, tmp_path: Path
) -> None:
    glance.images.clear()
    for number in range(120):
        before = at(f"cinder://{volume(number)}")
        glance.image(f"image-{number}", before, volume_type=("ssd", "nvme")[number % 2])
    lost = Counter[str]()

    def losing(claim: Claim) -> Any:
        found = worker(glance)(claim)
        if int(claim.shard.id) % 7 == 0 and not lost[claim.shard.id]:
            lost[claim.shard.id] += 1
            board.shards.lose(claim)
            claim.ensure_held()
        return found

    with journal_of(glance, tmp_path / "journal") as journal, ExitStack() as until:
        for _ in range(8):
            until.enter_context(serving(board.shards, {KIND: losing}, jobs=1))
        outcomes = list(offered(glance, journal, board))
        assert Counter(each.state for each in outcomes) == Counter({State.DONE: 120})
    assert len(lost) > 10
    assert set(glance.requested.values()) == {1}
    assert all(len(image.locations) == 1 for image in glance.images.values())
    stores = {image.locations[0].metadata["store"] for image in glance.images.values()}
    assert stores == {"fast", "fast2"}


def test_on_a_real_redis_each_image_is_changed_once(
    glance: Cloud, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        glance.image(f"image-{number + 10}", at(f"cinder://slow/{volume(number)}", "fast"), volume_type="ssd")
    monkeypatch.setenv(BOARD_PASSWORD, PASSWORD)
    (tmp_path / "service").mkdir()
    with running("redis", tmp_path / "service") as service, ExitStack() as until:
        for _ in range(2):
            fleet = fleet_from_url(service.url)
            until.callback(fleet.close)
            until.enter_context(serving(fleet.shards, {KIND: worker(glance)}))
        ran = run("apply", "--board", service.url.replace(f":{PASSWORD}@", ""))
        assert (ran.status, set(states(ran).values()), len(ran.json)) == (0, {"done"}, 23)
        assert fleet.shards.records() == ()
    moved = {f"image-{number + 10}": 2 for number in range(20)}
    assert glance.requested == ONCE + Counter(moved)
    assert nothing_held(glance)
