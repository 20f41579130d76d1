"""`imagevol cp --board`: images that workers copy, on a board in memory and on a real Redis."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import attrs
import pytest
from glanceclient.exc import HTTPInternalServerError

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.board_option import BOARD_PASSWORD
from imagevol_adapters.fleet import JobOffer, fleet_from_url
from imagevol_adapters.fleet.journalled import only_worker
from imagevol_adapters.fleet.leased import ShardLost
from imagevol_adapters.ports import Claim, Locks
from imagevol_adapters.relocating import Outcome, State
from imagevol_adapters.store_copies import CopyJournal
from imagevol_adapters.store_copies.offering import (
    CopyWorker,
    copy_kind,
    copy_plan,
    end_offer,
    kind_of,
    offered_copies,
)
from imagevol_adapters.store_copies.reading import VolumeReader
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryLocks, MemoryShards, MemoryStoreCopies, MemoryVolumes
from imagevol_core import (
    HOLD,
    InUse,
    RequestRefused,
    ServiceFailed,
    ServiceUnreachable,
    StorageError,
    TransferCancelled,
    VolumeBusy,
)
from imagevol_core.remains import JOURNAL_KEY
from imagevol_core.sharding import ShardRecord, ShardState
from imagevol_core.store_copies import StoreCopyWay, VerifyWish, volume_in_store
from tests.adapters.commands import Ran, Run
from tests.adapters.history import Killed
from tests.adapters.serving import URL, Board, quick, serving
from tests.adapters.test_cp_command import IDS, NAMED, Glance, cp, site
from tests.adapters.test_store_copies import CLOUD, DATA, MOVES, Process, Site, path
from tests.adapters.watching import CHANGES, VOLUME_CHANGES, Watched
from tests.coordination.services import PASSWORD, running

__all__ = ["cp", "path", "site"]  # fixtures

COMMANDS_CLOUD = "a-cloud"
IMAGE = "image-1"
STAYS = {each: ["fast"] for each in DATA}


def kind(to_store: str, *, cloud: str = CLOUD, move: bool = True, wish: VerifyWish = VerifyWish.AUTO) -> str:
    return copy_kind(cloud, to_store=to_store, from_store="fast", move=move, wish=wish)


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    monkeypatch.setattr(JobOffer, "__init__", quick(JobOffer.__init__))
    monkeypatch.setattr("imagevol_adapters.journals.os.fsync", lambda _: None)
    return Board.of_commands(monkeypatch)


@pytest.fixture
def cloud() -> Site:
    return Site().put()


def worker(
    site: Site, to_store: str, *, locks: Locks | None = None, stopping: threading.Event | None = None, **more: Any
) -> CopyWorker:
    given = {"move": True, "settle_seconds": 0.3, "retry_seconds": 0, **more}
    return CopyWorker(
        images=site.images,
        volumes=site.cinder,
        gathering=site.gathering(),
        reader=VolumeReader(volumes=site.cinder, attacher=lambda: MemoryAttacher(volumes=site.volumes)),
        locks=locks or MemoryLocks(),
        stopping=stopping or threading.Event(),
        from_store="fast",
        to_store=to_store,
        **given,
    )


def source(site: Site, image_id: str = IMAGE, store: str = "fast") -> str:
    return str(volume_in_store(store, site.glance.images[image_id].locations))


def plan(site: Site, to_store: str, *, image_id: str = IMAGE, journal_id: str | None = None) -> dict[str, Any]:
    """What the command offers."""
    way = MOVES[to_store]
    cloned = source(site, image_id) if way is StoreCopyWay.CLONE else None
    return copy_plan(journal_id or str(uuid.uuid4()), image_id, way=way, source=cloned)


def offered(site: Site, journal: CopyJournal, board: Board, **more: Any) -> Iterator[Outcome]:
    copies = site.copies(journal)
    offer = JobOffer(shards=board.shards, job_records=board.jobs, job=journal.job, kind=kind_of(copies, CLOUD), **more)
    let_go = partial(board.shards.let_go, journal.job)
    return offered_copies(copies, offer=offer, board=URL, let_go=let_go)


def states(ran: Ran) -> dict[str, str]:
    return {row["image_id"]: row["state"] for row in ran.json}


def watched(site: Site, to_store: str, note: Callable[[str], object], **more: Any) -> CopyWorker:
    made = worker(site, to_store, **more)
    return attrs.evolve(
        made, images=Watched(made.images, CHANGES, note), volumes=Watched(made.volumes, VOLUME_CHANGES, note)
    )


class TestCommand:
    ARGUMENTS = ("--from-store", "fast", "--move", "--yes", "--board", URL)

    @pytest.mark.parametrize("to_store", MOVES)
    def test_workers_move_the_images_and_the_answer_is_that_of_one_host(
        self, site: Site, board: Board, cp: Run, path: Path, to_store: str
    ) -> None:
        works = {kind(to_store, cloud=COMMANDS_CLOUD): worker(site, to_store).work}
        with serving(board.shards, works):
            ran = cp("--to-store", to_store, "--journal", path, *self.ARGUMENTS)
        assert (ran.status, states(ran)) == (0, dict.fromkeys(NAMED, "done"))
        assert {row["way"] for row in ran.json} == {MOVES[to_store].value}
        assert site.stores() == {each: [to_store] for each in NAMED}
        assert (board.shards.records(), board.jobs.records(), board.closed) == ((), (), 1)
        assert "through its staging area, the workers read " in ran.err
        start = f"Start `imagevol fleet work --board {URL} --take copies`"
        more = "with the same --from-store, --to-store, --move and --verify"
        assert f"{start} for the same cloud and project, {more}." in ran.err
        assert cp("--resume", "--journal", path, "--yes").err.splitlines()[-1] == "There is nothing to resume."
        undone = cp("--undo", "--journal", path, "--yes")
        assert (undone.status, set(states(undone).values())) == (0, {"undone"})
        assert site.stores() == {each: ["fast"] for each in NAMED}
        assert site.nothing_is_left()

    def test_copies_stay_beside_the_originals_without_a_move(
        self, site: Site, board: Board, cp: Run, path: Path
    ) -> None:
        works = {kind("slow", cloud=COMMANDS_CLOUD, move=False): worker(site, "slow", move=False).work}
        with serving(board.shards, works):
            ran = cp("--from-store", "fast", "--to-store", "slow", "--journal", path, "--yes", "--board", URL)
        assert (ran.status, site.stores()) == (0, {each: ["fast", "slow"] for each in NAMED})

    def test_no_location_and_no_name_is_on_the_board(self, site: Site, board: Board, cp: Run, path: Path) -> None:
        seen = list[str]()

        def noted(claim: Claim) -> Any:
            seen.extend(board.shards.board.all().values())
            return worker(site, "quick").work(claim)

        with serving(board.shards, {kind("quick", cloud=COMMANDS_CLOUD): noted}):
            cp("--to-store", "quick", "--journal", path, *self.ARGUMENTS)
        assert len(seen) >= 3
        assert not any(word in text for text in seen for word in ("cinder://", "file://", "sha512"))

    def test_an_interrupt_takes_all_off_the_board_and_resume_goes_on_with_or_without_it(
        self, site: Site, board: Board, cp: Run, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(listing: Iterator[object], *, phase: str, **_: object) -> Iterator[object]:
            if phase == "move":
                yield next(listing)
                raise KeyboardInterrupt
            yield from listing

        with serving(board.shards, {kind("slow", cloud=COMMANDS_CLOUD): worker(site, "slow").work}):
            with monkeypatch.context() as patched:
                patched.setattr("imagevol_adapters.cli.cp.counted", interrupt)
                ran = cp("--to-store", "slow", "--journal", path, *self.ARGUMENTS)
            assert (ran.status, board.shards.records()) == (130, ())
            assert f"Continue with `imagevol cp --resume --journal {path}`" in ran.err
            assert "of the journal began and did not end. Glance may still be copying" in ran.err
            resumed = cp("--resume", "--journal", path, "--yes", "--board", URL)
        assert (resumed.status, set(states(resumed).values())) == (0, {"done"})
        assert site.stores() == {each: ["slow"] for each in NAMED}

    def test_after_a_feeder_was_killed_nothing_is_copied_here_without_the_board(
        self, site: Site, board: Board, cp: Run, path: Path
    ) -> None:
        image_id = IDS[IMAGE]
        with site.create(path, to_store="slow", from_store="fast", move=True) as journal:
            journal.record_offered(URL)
            journal.record(image_id, State.BEGUN, made=StoreCopyWay.IMPORT)
            work = copy_plan(journal.id, image_id, way=StoreCopyWay.IMPORT)
            claim = board.claim(kind("slow"), image_id, work, job=journal.job)
        path.write_text(path.read_text().replace(CLOUD, COMMANDS_CLOUD))
        for command in (("--resume",), ("--undo",), ("--resume", "--dry-run")):
            refused = cp(*command, "--journal", path, "--yes")
            assert (refused.status, refused.out) == (1, "")
            assert f"workers may still be changing its images: pass --board {URL}" in refused.err
        late, over = list[str](), threading.Event()

        def end() -> None:
            while board.shards.records() and not over.is_set():  # until it was taken off
                time.sleep(0.001)
            with suppress(ShardLost):
                claim.ensure_held()
                late.append("a change")
            claim.give_back()

        thread = threading.Thread(target=end)
        thread.start()
        undone = cp("--undo", "--journal", path, "--yes", "--board", URL)
        over.set()
        thread.join()
        assert (undone.status, states(undone), late) == (0, {image_id: "undone"}, [])
        assert f"Taking job {journal.job} off {URL}, and waiting for its workers." in undone.err
        assert site.stores() == {each: ["fast"] for each in NAMED}

    @pytest.mark.parametrize("command", ["--undo", "--resume"])
    def test_another_board_than_that_of_the_journal_is_refused_and_nothing_else_is_told(
        self, site: Site, board: Board, cp: Run, path: Path, command: str
    ) -> None:
        with site.create(path, to_store="slow", from_store="fast", move=True) as journal:
            journal.record_offered("redis://first.example.com:6379")
            journal.record(IDS[IMAGE], State.BEGUN, made=StoreCopyWay.IMPORT)
        path.write_text(path.read_text().replace(CLOUD, COMMANDS_CLOUD))
        refused = cp(command, "--journal", path, "--yes", "--board", URL)
        assert (refused.status, refused.out, len(refused.err.splitlines())) == (1, "", 1)
        assert "its images were offered on redis://first.example.com:6379" in refused.err

    @pytest.mark.parametrize("command", ["--undo", "--resume"])
    def test_what_another_process_feeds_from_a_copy_of_the_journal_is_not_taken_off_the_board(
        self, site: Site, board: Board, cp: Run, path: Path, command: str
    ) -> None:
        with site.create(path, to_store="slow", from_store="fast", move=True) as journal:
            journal.record_offered(URL)
            journal.record(IDS[IMAGE], State.BEGUN, made=StoreCopyWay.IMPORT)
            work = copy_plan(journal.id, IDS[IMAGE], way=StoreCopyWay.IMPORT)
            claim = board.claim(kind("slow"), IDS[IMAGE], work, job=journal.job)
        path.write_text(path.read_text().replace(CLOUD, COMMANDS_CLOUD))
        soon = patch("imagevol_adapters.fleet.jobs._MORE_SECONDS", 0)
        with soon, board.jobs.feeding(journal.job, kind=kind("slow"), total=1):
            refused = cp(command, "--journal", path, "--yes", "--board", URL)
            claim.ensure_held()
        assert (refused.status, f"job {journal.job} is fed by another process" in refused.err) == (1, True)
        with CopyJournal.open(path, cloud=COMMANDS_CLOUD) as journal:
            assert journal.offered == URL

    @pytest.mark.parametrize("dry", [False, True])
    def test_a_journal_with_nothing_left_is_taken_off_the_board_unless_nothing_shall_be_changed(
        self, site: Site, board: Board, cp: Run, path: Path, dry: bool
    ) -> None:
        with site.create(path, to_store="slow", from_store="fast", move=True) as journal:
            journal.record_offered(URL)
            for image_id in NAMED:
                journal.record(image_id, State.DONE)
        path.write_text(path.read_text().replace(CLOUD, COMMANDS_CLOUD))
        with serving(board.shards, {kind("slow", cloud=COMMANDS_CLOUD): worker(site, "slow").work}):
            ran = cp("--resume", "--journal", path, "--yes", "--board", URL, *(["--dry-run"] if dry else []))
        assert (ran.status, ran.json) == (0, [])
        with CopyJournal.open(path, cloud=COMMANDS_CLOUD) as journal:
            assert journal.offered == (URL if dry else None)

    @pytest.mark.parametrize(
        "arguments, told",
        [
            (("image-1", "--from-store", "fast"), "with --board all images of a store are copied"),
            (("image-1",), "with --board all images of a store are copied"),
            (("--from-store", "fast", "--jobs", "2"), "pass --jobs to `imagevol fleet work`"),
            (("--from-store", "fast", "--move", "--trust-recorded"), "pass --trust-recorded to `imagevol fleet work`"),
        ],
    )
    def test_options_that_nothing_would_look_at_are_refused(
        self, site: Site, board: Board, cp: Run, path: Path, arguments: tuple[str, ...], told: str
    ) -> None:
        ran = cp(*arguments, "--to-store", "slow", "--journal", path, "--yes", "--board", URL)
        assert (ran.status, ran.out, len(ran.err.splitlines()), told in ran.err) == (1, "", 1, True)
        assert (board.urls, path.exists()) == ([], False)

    def test_a_password_file_without_a_board_is_refused(self, site: Site, cp: Run) -> None:
        ran = cp("image-1", "--to-store", "slow", "--yes", "--board-password-file", "x")
        assert (ran.status, ran.err) == (1, "--board-password-file is for --board: pass --board\n")

    def test_a_journal_of_several_stores_is_not_offered(self, site: Site, board: Board, cp: Run, path: Path) -> None:
        image = IDS[IMAGE]
        cp(image, "--to-store", "files", "--yes")
        site.glance.delete_from_store(image, "fast")
        with site.create(path, to_store="slow", move=True):
            pass
        path.write_text(path.read_text().replace(CLOUD, COMMANDS_CLOUD))
        ran = cp("--resume", "--journal", path, "--yes", "--board", URL)
        assert (ran.status, board.urls, path.read_text().count('"offered"')) == (1, [], 0)
        assert "copies images from or to several stores, and workers know one of each: go on without --board" in ran.err


class TestWorkerCommand:
    """What `imagevol fleet work` takes: only with the same stores, move and verification."""

    STORES = ("--take", "copies", "--from-store", "fast", "--to-store", "slow")

    @pytest.fixture
    def kinds(self, board: Board, site: Site, run: Run) -> Callable[..., Any]:
        def kinds(*options: object) -> Any:
            with patch("imagevol_adapters.fleet.serve", create=True) as serve:
                serve.return_value = 0
                ran = run("fleet", "work", "--board", URL, *options)
            return ran if ran.status else list(serve.call_args.kwargs["works"])

        return kinds

    def test_of_a_glance_that_does_not_tell_its_stores_it_says_how_the_worker_is_told(
        self, kinds: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def catalogue(_: Glance) -> Any:
            raise ServiceFailed("Glance, the details of its stores: HTTP 500") from HTTPInternalServerError()

        monkeypatch.setattr(Glance, "catalogue", catalogue)
        ran = kinds(*self.STORES)
        assert (ran.status, ran.err.endswith("or pass Glance's configuration with --glance-config-file\n")) == (1, True)

    def test_it_takes_the_work_of_a_command_with_the_same_options(self, kinds: Callable[..., Any]) -> None:
        of = partial(kind, cloud=COMMANDS_CLOUD)
        assert kinds(*self.STORES) == [of("slow", move=False)]
        assert kinds(*self.STORES, "--move") == [of("slow")]
        assert kinds(*self.STORES, "--move", "--verify", "read", "--trust-recorded") == [
            of("slow", wish=VerifyWish.READ)
        ]
        different = [kinds(*self.STORES[:-1], "quick"), kinds("--take", "copies", "--from-store", "slow", "--to-store",
                     "slow", "--move"), kinds(*self.STORES, "--move")]  # fmt: skip
        assert len({each for (each,) in different}) == 3
        without = (*self.STORES[:3], "slow", *self.STORES[4:-1], "quick")
        assert kinds(*without) == [
            copy_kind(COMMANDS_CLOUD, from_store="slow", to_store="quick", move=False, wish=VerifyWish.AUTO)
        ]

    def test_a_worker_for_another_store_takes_no_copy_also_if_the_originals_stay(
        self, site: Site, board: Board, cp: Run, path: Path
    ) -> None:
        site.glance.copy_to_store(IDS[IMAGE], "files")
        list(site.glance.placed([IDS[IMAGE]]))
        image = site.glance.images[IDS[IMAGE]]  # whose first store is not the one that is asked for
        site.glance.images[IDS[IMAGE]] = replace(image, locations=image.locations[::-1])
        other = worker(site, "quick", move=False)
        other = attrs.evolve(other, from_store="files")
        works = {
            other.kind(COMMANDS_CLOUD): other.work,
            kind("quick", cloud=COMMANDS_CLOUD, move=False): worker(site, "quick", move=False).work,
        }
        assert len(works) == 2
        with serving(board.shards, works):
            ran = cp("--from-store", "fast", "--to-store", "quick", "--journal", path, "--yes", "--board", URL)
        assert (ran.status, states(ran)) == (0, dict.fromkeys(NAMED, "done"))

    @pytest.mark.parametrize(
        "options, told",
        [
            (("--take", "copies", "--from-store", "fast"), "--take copies needs the stores: pass --from-store and"),
            ((*STORES, "--verify", "read"), "are for copies of --move: pass --move, or leave them out"),
            ((*STORES, "--trust-recorded"), "are for copies of --move: pass --move, or leave them out"),
            ((*STORES, "--rename", "slow=fast"), "--rename is for --take locations: pass that too"),
            ((*STORES, "--rate", "5"), "--rate is for --take audit: pass that too"),
            (("--take", "locations", "--to-store", "slow"), "--to-store is for --take copies: pass that too"),
            (("--take", "templates", "--trust-recorded"), "--trust-recorded is for --take audit or copies: pass that"),
        ],
    )
    def test_options_that_do_not_fit_are_refused_in_one_line(
        self, kinds: Callable[..., Any], options: tuple[str, ...], told: str
    ) -> None:
        refused = kinds(*options)
        assert (refused.status, len(refused.err.splitlines()), told in refused.err) == (1, 1, True)

    def test_a_host_that_cannot_attach_takes_images_that_it_need_not_read(
        self, kinds: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lacking(_: object) -> None:
            raise RequestRefused("no os-brick")

        monkeypatch.setattr(Imagevol, "attacher", property(lacking))
        assert len(kinds(*self.STORES, "--move")) == 1


class TestWorker:
    @pytest.mark.parametrize("to_store", MOVES)
    def test_it_moves_an_image_once_and_a_second_time_changes_nothing(
        self, cloud: Site, board: Board, to_store: str
    ) -> None:
        made = list[str]()
        work = plan(cloud, to_store)
        for attempt in ("job-1", "job-2"):
            claim = board.claim(kind(to_store), IMAGE, work, job=attempt)
            assert watched(cloud, to_store, made.append).work(claim) == {"failed": None}
            assert cloud.stores() == {**STAYS, IMAGE: [to_store]}
            claim.give_back()
            board.shards.withdraw(claim.shard)
        counted = Counter(made)
        assert counted["delete_from_store"] == counted["clone"] + counted["copy_to_store"] == 1
        assert cloud.nothing_is_left()

    @pytest.mark.parametrize("requests", range(9))
    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("to_store", MOVES)
    def test_what_a_killed_worker_has_begun_another_one_or_the_command_ends(
        self, cloud: Site, path: Path, board: Board, to_store: str, requests: int, after: bool
    ) -> None:
        board.shards, locks = MemoryShards(most_failures=2), MemoryLocks()

        def first(claim: Claim) -> Any:
            killed = Site.__new__(Site)
            killed.__dict__.update(cloud.__dict__, process=Process(requests, after))
            if claim.attempt == 1:
                with suppress(Killed):
                    worker(killed, to_store, locks=locks).work(claim)
                raise ServiceUnreachable("the worker was killed")
            return worker(cloud, to_store, locks=locks).work(claim)

        with cloud.create(path, IMAGE, to_store=to_store, from_store="fast", move=True) as journal:
            with serving(board.shards, {kind(to_store): first}, jobs=1):
                (ended,) = offered(cloud, journal, board)
            both = cloud.stores()[IMAGE] == sorted(["fast", to_store])
            if to_store == "files" and both:  # which no host can read, so only the journal knows who copied it
                assert ended.state is State.FAILED
                assert "use --resume without --board" in str(ended.reason)
                (ended,) = cloud.copies(journal).apply()
            assert ended == Outcome(IMAGE, State.DONE, None)
        assert cloud.stores() == {**STAYS, IMAGE: [to_store]}
        assert cloud.nothing_is_left()
        assert {each.state for each in cloud.undo(path)} == {State.UNDONE}
        assert (cloud.stores(), cloud.nothing_is_left()) == (STAYS, True)

    @pytest.mark.parametrize("requests", range(8))
    @pytest.mark.parametrize("to_store", MOVES)
    def test_a_worker_that_has_lost_its_shard_changes_nothing_any_more(
        self, cloud: Site, board: Board, to_store: str, requests: int
    ) -> None:
        claim = board.claim(kind(to_store), IMAGE, plan(cloud, to_store))
        made = list[str]()

        def note(name: str) -> None:
            made.append(name)
            if len(made) == requests:
                board.shards.lose(claim)

        if not requests:
            board.shards.lose(claim)
        with suppress(ShardLost):
            watched(cloud, to_store, note).work(claim)
        most = {"quick": 5, "slow": 2, "files": 2}[to_store]  # which it makes if it is not lost
        assert len(made) == min(requests, most)

    def test_an_import_of_a_worker_that_was_killed_is_waited_for(self, cloud: Site, board: Board) -> None:
        made = list[str]()
        cloud.glance.looks = 3
        cloud.glance.copy_to_store(IMAGE, "slow")
        claim = board.claim(kind("slow"), IMAGE, plan(cloud, "slow"))
        assert watched(cloud, "slow", made.append, settle_seconds=20).work(claim) == {"failed": None}
        assert (made, cloud.stores()[IMAGE]) == (["delete_from_store"], ["slow"])

    def test_a_worker_whose_shard_was_withdrawn_does_not_wait_for_an_import(self, cloud: Site, board: Board) -> None:
        claim = board.claim(kind("slow"), IMAGE, plan(cloud, "slow"))
        cloud.glance.looks = 10**6

        def note(_: str) -> None:
            board.shards.withdraw(board.record(IMAGE).shard)

        with pytest.raises(ShardLost):
            watched(cloud, "slow", note, settle_seconds=20).work(claim)

    def test_a_worker_whose_shard_was_withdrawn_reads_no_further(self, cloud: Site, board: Board) -> None:
        claim = board.claim(kind("quick"), IMAGE, plan(cloud, "quick"))
        whole, read = VolumeReader.__call__, list[str]()

        def withdrawn(reader: VolumeReader, *arguments: Any) -> None:
            board.shards.lose(claim)
            whole(reader, *arguments)
            read.append("to its end")

        soon = patch("imagevol_adapters.fleet.guarding._ASK_SECONDS", 0)
        lost = pytest.raises(ShardLost)
        with soon, patch.object(VolumeReader, "__call__", withdrawn), lost:
            worker(cloud, "quick").work(claim)
        assert (read, cloud.stores()[IMAGE], cloud.volumes.attachments) == ([], ["fast", "quick"], {})

    @pytest.mark.parametrize("to_store", ["quick", "slow"])
    def test_a_worker_that_is_stopped_gives_its_image_back(self, cloud: Site, board: Board, to_store: str) -> None:
        stopping = threading.Event()
        cloud.glance.looks = 10**6
        claim = board.claim(kind(to_store), IMAGE, plan(cloud, to_store))
        with pytest.raises(TransferCancelled, match="the worker was stopped"):
            watched(cloud, to_store, lambda _: stopping.set(), stopping=stopping, settle_seconds=20).work(claim)
        assert "fast" in cloud.stores()[IMAGE]
        cloud.glance.looks = 0
        assert worker(cloud, to_store).work(claim) == {"failed": None}
        assert cloud.stores()[IMAGE] == [to_store]

    @pytest.mark.parametrize(
        "change",
        [
            lambda plan: plan.pop("journal"),
            lambda plan: plan.update(journal="another"),
            lambda plan: plan.update(journal=7),
            lambda plan: plan.update(to="quick"),
            lambda plan: plan.update(image="image-2"),
            lambda plan: plan.update(image=".."),
            lambda plan: plan.update(image=None),
            lambda plan: plan.update(way="refused\x1b[2J"),
            lambda plan: plan.update(way=["clone"]),
            lambda plan: plan.update(way="import"),
            lambda plan: plan.update(source=None),
            lambda plan: plan.update(source="7/../x"),
            lambda plan: plan.update(source={"id": "7"}),
        ],
    )
    def test_a_plan_that_is_none_is_refused_in_one_line_and_nothing_is_changed(
        self, cloud: Site, board: Board, change: Callable[[dict[str, Any]], object]
    ) -> None:
        work, made = plan(cloud, "quick"), list[str]()
        change(work)
        claim = board.claim(kind("quick"), IMAGE, work)
        with pytest.raises(RequestRefused, match=r"^the plan of shard image-1 is refused .* cancel job job-1") as no:
            watched(cloud, "quick", made.append).work(claim)
        assert (str(no.value).isprintable(), made) == (True, [])

    @pytest.mark.parametrize("way", [StoreCopyWay.IMPORT, StoreCopyWay.NOTHING, StoreCopyWay.REFUSED])
    def test_a_shard_that_has_another_way_than_the_worker_plans_changes_nothing(
        self, cloud: Site, board: Board, way: StoreCopyWay
    ) -> None:
        made = list[str]()
        claim = board.claim(kind("quick"), IMAGE, copy_plan(str(uuid.uuid4()), IMAGE, way=way))
        found = watched(cloud, "quick", made.append).work(claim)
        assert "this worker plans clone of volume" in str(found["failed"])
        assert (made, cloud.stores()) == ([], STAYS)

    def test_a_shard_that_has_another_volume_to_clone_changes_nothing(self, cloud: Site, board: Board) -> None:
        forged = {**plan(cloud, "quick"), "source": source(cloud, "image-2")}
        found = worker(cloud, "quick").work(board.claim(kind("quick"), IMAGE, forged))
        assert "or the shard is forged" in str(found["failed"])
        assert cloud.stores() == STAYS

    def test_an_image_outside_of_the_stores_of_the_worker_is_left(self, cloud: Site, board: Board) -> None:
        cloud.glance.put("image-9", b"nine", store="files")
        forged = copy_plan(str(uuid.uuid4()), "image-9", way=StoreCopyWay.IMPORT)
        found = worker(cloud, "slow").work(board.claim(kind("slow"), "image-9", forged))
        assert "it is not in store fast, whose images this worker copies" in str(found["failed"])
        assert cloud.stores()["image-9"] == ["files"]

    def test_an_image_that_glance_does_not_show_is_told(self, cloud: Site, board: Board) -> None:
        cloud.glance.sees_all = False
        forged = copy_plan(str(uuid.uuid4()), "image-9", way=StoreCopyWay.IMPORT)
        found = worker(cloud, "slow").work(board.claim(kind("slow"), "image-9", forged))
        assert "Glance shows these credentials no image image-9" in str(found["failed"])

    def test_a_forged_shard_cannot_take_or_delete_the_clone_of_a_process_without_a_board(
        self, cloud: Site, path: Path, board: Board
    ) -> None:
        cloud.process = Process(2, does_the_last=True)  # a clone that is there, and not registered yet
        with suppress(Killed):
            cloud.apply(path, IMAGE, to_store="quick", from_store="fast", move=True)
        cloud.process = Process()
        with CopyJournal.open(path, cloud=CLOUD) as journal:
            theirs = [each.id for each in cloud.volumes.volumes.values() if JOURNAL_KEY in each.metadata]
            work = plan(cloud, "quick", journal_id=journal.id)
            claim = board.claim(kind("quick"), IMAGE, work)
            assert worker(cloud, "quick").work(claim) == {"failed": None}
        assert len(theirs) == 1
        assert theirs[0] in cloud.volumes.volumes
        assert source(cloud, store="quick") != theirs[0]

    def test_a_copy_of_a_shard_waits_for_the_worker_that_has_the_image(self, cloud: Site, board: Board) -> None:
        locks, made = MemoryLocks(), list[str]()
        claim = board.claim(kind("slow"), IMAGE, plan(cloud, "slow"), job="forged")
        soon = patch("imagevol_adapters.fleet.journalled._MORE_SECONDS", 0)
        with soon, only_worker(IMAGE, locks):  # as a worker of `locations apply` has it too
            found = watched(cloud, "slow", made.append, locks=locks).work(claim)
        assert found == {"failed": f"image {IMAGE} is being changed by another worker: use --resume later"}
        assert (made, cloud.stores()) == ([], STAYS)

    def test_an_id_in_other_letters_is_no_image_also_where_the_database_of_glance_knows_no_case(
        self, cloud: Site, board: Board
    ) -> None:
        made, placed = list[str](), MemoryStoreCopies.placed
        forged = copy_plan(str(uuid.uuid4()), IMAGE.upper(), way=StoreCopyWay.IMPORT)
        claim = board.claim(kind("slow"), IMAGE.upper(), forged)

        def in_any_case(glance: MemoryStoreCopies, image_ids: Sequence[str] | None = None) -> Any:  # as MySQL does
            return placed(glance, None if image_ids is None else [each.lower() for each in image_ids])

        with patch.object(MemoryStoreCopies, "placed", in_any_case):
            found = watched(cloud, "slow", made.append).work(claim)
        assert found["failed"].startswith(f"Glance names image {IMAGE} for {IMAGE.upper()}")
        assert (made, cloud.stores()) == ([], STAYS)

    def test_a_worker_that_has_lost_the_lock_of_its_image_changes_nothing_any_more(
        self, cloud: Site, board: Board
    ) -> None:
        locks, made = MemoryLocks(), list[str]()

        def note(name: str) -> None:
            made.append(name)
            del locks.taken[f"image-{IMAGE}"]

        claim = board.claim(kind("slow"), IMAGE, plan(cloud, "slow"))
        with pytest.raises(Exception, match="lost"):
            watched(cloud, "slow", note, locks=locks).work(claim)
        assert made == ["copy_to_store"]

    def test_data_that_another_procedure_holds_is_not_deleted(self, cloud: Site, board: Board) -> None:
        claim = board.claim(kind("slow"), IMAGE, plan(cloud, "slow"))
        cloud.volumes.set_metadata(source(cloud), {HOLD: "a journal"})
        found = worker(cloud, "slow").work(claim)
        assert "is held by 'a journal': let that end first" in str(found["failed"])
        assert cloud.stores() == STAYS

    def test_a_copy_that_is_not_the_image_is_not_trusted_whoever_made_it(self, cloud: Site, board: Board) -> None:
        cloud.glance.copy_to_store(IMAGE, "slow")
        list(cloud.glance.placed([IMAGE]))
        cloud.volumes.contents[source(cloud, store="slow")].write(10, memoryview(b"altered"))
        found = worker(cloud, "slow").work(board.claim(kind("slow"), IMAGE, plan(cloud, "slow")))
        assert "has been altered" in str(found["failed"])
        assert set(cloud.glance.images[IMAGE].locations) >= {
            each for each in cloud.glance.images[IMAGE].locations if each.metadata["store"] == "fast"
        }
        assert cloud.glance.data_in(IMAGE, "fast") == DATA[IMAGE]

    def test_its_own_copy_that_is_not_the_image_is_deleted_again(self, cloud: Site, board: Board) -> None:
        work = plan(cloud, "quick")
        cloud.volumes.contents[source(cloud)].write(10, memoryview(b"altered"))
        found = worker(cloud, "quick").work(board.claim(kind("quick"), IMAGE, work))
        assert "has been altered" in str(found["failed"])
        assert [each.metadata["store"] for each in cloud.glance.images[IMAGE].locations] == ["fast"]
        assert cloud.nothing_is_left()

    def test_a_copy_that_another_program_has_attached_is_read_later(self, cloud: Site, board: Board) -> None:
        claim = board.claim(kind("quick"), IMAGE, plan(cloud, "quick"))
        busy = patch.object(VolumeReader, "__call__", side_effect=VolumeBusy("7ad3", status="in-use"))
        with busy, pytest.raises(VolumeBusy):
            worker(cloud, "quick").work(claim)
        assert cloud.stores()[IMAGE] == ["fast", "quick"]
        assert worker(cloud, "quick").work(claim) == {"failed": None}
        assert (cloud.stores()[IMAGE], cloud.nothing_is_left()) == (["quick"], True)

    def test_without_an_answer_the_attempt_fails(self, cloud: Site, board: Board) -> None:
        silent = patch.object(MemoryStoreCopies, "copy_to_store", side_effect=ServiceUnreachable("no answer"))
        claim = board.claim(kind("slow"), IMAGE, plan(cloud, "slow"))
        with silent, pytest.raises(ServiceUnreachable):
            worker(cloud, "slow").work(claim)


class TestFeeder:
    @pytest.fixture
    def journal(self, cloud: Site, path: Path) -> Iterator[CopyJournal]:
        with cloud.create(path, to_store="quick", from_store="fast", move=True) as journal:
            yield journal

    def test_how_each_image_is_copied_is_in_the_journal_before_a_worker_can_take_it(
        self, cloud: Site, journal: CopyJournal, board: Board
    ) -> None:
        seen = list[tuple[Any, ...]]()

        def noted(claim: Claim) -> Any:
            image_id = claim.shard.id
            cloned = source(cloud, image_id)
            line = f'{{"image":"{image_id}","state":"begun","made":"clone","cloned":["{cloned}"]}}'
            seen.append((journal.entries[image_id].state, line in journal.path.read_text()))
            return worker(cloud, "quick").work(claim)

        with serving(board.shards, {kind("quick"): noted}):
            outcomes = list(offered(cloud, journal, board))
        assert {(each.image_id, each.state) for each in outcomes} == {(each, State.DONE) for each in DATA}
        assert seen == [(State.BEGUN, True)] * 3

    @pytest.mark.parametrize(
        "outcome", [{"failed": None}, {"failed": 7}, {"failed": ["x"]}, {"failed": "reason"}, {}], ids=str
    )
    def test_a_forged_result_is_not_believed_and_the_images_are_tried_again(
        self, cloud: Site, journal: CopyJournal, board: Board, outcome: dict[str, Any]
    ) -> None:
        with serving(board.shards, {kind("quick"): lambda _: outcome}):
            outcomes = list(offered(cloud, journal, board))
        assert [each.state for each in outcomes] == [State.FAILED] * 3
        assert all(each.reason for each in outcomes)
        assert not journal.offered
        assert {each.state for each in cloud.copies(journal).apply()} == {State.DONE}
        assert (cloud.stores(), cloud.nothing_is_left()) == ({each: ["quick"] for each in DATA}, True)

    def test_what_a_worker_does_not_tell_counts_if_glance_shows_it(
        self, cloud: Site, journal: CopyJournal, board: Board
    ) -> None:
        def silent(claim: Claim) -> Any:
            worker(cloud, "quick").work(claim)
            raise StorageError("the board was out of reach")

        with serving(board.shards, {kind("quick"): silent}):
            outcomes = list(offered(cloud, journal, board))
        assert {each.state for each in outcomes} == {State.DONE}

    def test_a_reason_that_was_forged_is_shown_on_one_line_that_no_terminal_obeys(
        self, cloud: Site, journal: CopyJournal, board: Board
    ) -> None:
        forged = {"failed": "\x1b[2J\n\x07" + "x" * 10_000}
        with serving(board.shards, {kind("quick"): lambda _: forged}):
            reasons = [str(each.reason) for each in offered(cloud, journal, board)]
        assert all(each.isprintable() and len(each) <= 1000 for each in reasons)

    def test_a_record_that_was_forged_on_the_board_changes_nothing_in_what_was_asked(
        self, cloud: Site, journal: CopyJournal, board: Board
    ) -> None:
        whole = MemoryShards.records

        def forged(shards: MemoryShards, job: str | None = None) -> tuple[ShardRecord, ...]:
            return tuple(
                each
                if each.state is ShardState.OPEN
                else replace(each, shard=replace(each.shard, work={"image": "nosuch-1"}))
                for each in whole(shards, job)
            )

        with (
            patch.object(MemoryShards, "records", forged),
            serving(board.shards, {kind("quick"): worker(cloud, "quick").work}),
        ):
            outcomes = list(offered(cloud, journal, board))
        assert {(each.image_id, each.state) for each in outcomes} == {(each, State.DONE) for each in DATA}

    def test_a_shard_that_is_set_aside_is_told_with_its_reason(
        self, cloud: Site, journal: CopyJournal, board: Board
    ) -> None:
        silent = patch.object(MemoryVolumes, "clone", side_effect=ServiceUnreachable("Cinder is down"))
        with silent, serving(board.shards, {kind("quick"): worker(cloud, "quick").work}):
            outcomes = list(offered(cloud, journal, board))
        assert {(each.state, each.reason) for each in outcomes} == {(State.FAILED, "Cinder is down")}

    def test_an_image_that_is_gone_is_no_trouble_and_its_clone_is_deleted(
        self, cloud: Site, journal: CopyJournal, board: Board
    ) -> None:
        board.shards = MemoryShards(most_failures=2)

        def killed(claim: Claim) -> Any:
            if claim.shard.id == IMAGE and claim.attempt == 1:
                dying = Site.__new__(Site)
                dying.__dict__.update(cloud.__dict__, process=Process(1, does_the_last=True))
                with suppress(Killed):
                    worker(dying, "quick").work(claim)
                cloud.volumes.delete(source(cloud))
                del cloud.glance.images[IMAGE]
                raise ServiceUnreachable("the worker was killed")
            return worker(cloud, "quick").work(claim)

        with serving(board.shards, {kind("quick"): killed}):
            outcomes = {each.image_id: each.state for each in offered(cloud, journal, board)}
        assert outcomes == {"image-0": State.DONE, IMAGE: State.GONE, "image-2": State.DONE}
        assert cloud.nothing_is_left()

    def test_a_clone_too_many_of_a_worker_that_stood_still_is_deleted(
        self, cloud: Site, journal: CopyJournal, board: Board
    ) -> None:
        def twice(claim: Claim) -> Any:
            found = worker(cloud, "quick").work(claim)
            made = source(cloud, claim.shard.id, "quick")
            marks = cloud.volumes.get(made).metadata
            original = str(cloud.volumes.get(made).source_volume_id)
            if original in cloud.volumes.volumes:
                pytest.fail("it is deleted with its location")
            late = replace(cloud.volumes.volumes[made], id=str(uuid.uuid4()), metadata=marks)
            cloud.volumes.keep(late)
            return found

        with serving(board.shards, {kind("quick"): twice}):
            outcomes = list(offered(cloud, journal, board))
        assert {each.state for each in outcomes} == {State.DONE}
        assert cloud.nothing_is_left()

    def test_an_image_that_cannot_be_copied_any_more_is_told_by_a_worker(
        self, cloud: Site, journal: CopyJournal, board: Board
    ) -> None:
        cloud.glance.images[IMAGE] = replace(cloud.glance.images[IMAGE], status="deactivated")
        with serving(board.shards, {kind("quick"): worker(cloud, "quick").work}):
            outcomes = {each.image_id: each for each in offered(cloud, journal, board)}
        assert {each.state for each in outcomes.values()} == {State.DONE, State.FAILED}
        assert "the status of the image is 'deactivated'" in str(outcomes[IMAGE].reason)
        assert journal.entries[IMAGE].made is None

    def test_an_image_is_offered_again_in_the_way_in_which_it_was_begun(
        self, cloud: Site, journal: CopyJournal, board: Board
    ) -> None:
        seen = dict[str, Any]()
        journal.record("image-0", State.FAILED, made=StoreCopyWay.CLONE, cloned=("7ad3",))
        journal.record(IMAGE, State.FAILED, made=StoreCopyWay.IMPORT)
        journal.record("image-2", State.DONE)

        def noted(claim: Claim) -> Any:
            seen[claim.shard.id] = (claim.shard.work["way"], claim.shard.work["source"])
            return worker(cloud, "quick").work(claim)

        with serving(board.shards, {kind("quick"): noted}):
            outcomes = list(offered(cloud, journal, board))
        assert seen == {"image-0": ("clone", "7ad3"), IMAGE: ("import", None)}
        assert all("use --resume without --board" in str(each.reason) for each in outcomes)
        assert {each.state for each in cloud.copies(journal).apply()} == {State.DONE}

    def test_a_journal_that_was_undone_is_not_offered(self, cloud: Site, journal: CopyJournal, board: Board) -> None:
        journal.record(IMAGE, State.UNDONE)
        refused = pytest.raises(RequestRefused, match="has been undone")
        with serving(board.shards, {kind("quick"): worker(cloud, "quick").work}), refused:
            list(offered(cloud, journal, board))
        assert (board.shards.records(), journal.offered) == ((), None)

    def test_a_journal_that_was_offered_on_another_board_is_refused(
        self, cloud: Site, journal: CopyJournal, board: Board
    ) -> None:
        journal.record_offered("redis://first.example.com:6379")
        other = pytest.raises(RequestRefused, match=r"offered on redis://first\.example\.com:6379, and not on")
        with serving(board.shards, {kind("quick"): worker(cloud, "quick").work}), other:
            list(offered(cloud, journal, board))
        with other:
            end_offer(journal, board=URL, let_go=lambda _: None)
        for refused in (cloud.copies(journal).apply, cloud.copies(journal).undo):
            with pytest.raises(RequestRefused, match=r"pass --board redis://first\.example\.com:6379"):
                list(refused())

    @pytest.mark.parametrize("state", [State.BEGUN, State.FAILED])  # as a forged result has it
    def test_a_worker_that_does_not_end_leaves_the_journal_offered(
        self, cloud: Site, journal: CopyJournal, board: Board, state: State
    ) -> None:
        journal.record_offered(URL)
        journal.record(IMAGE, state)
        claim = board.claim(kind("quick"), IMAGE, plan(cloud, "quick"), job=journal.job)
        board.shards.withdraw(board.record(IMAGE).shard)  # as `imagevol fleet cancel` does
        let_go = partial(board.shards.let_go, journal.job, wait_seconds=0)
        with pytest.raises(InUse, match="still has a worker: stop that worker, and run the command again"):
            end_offer(journal, board=URL, let_go=let_go)
        assert journal.offered
        claim.give_back()
        end_offer(journal, board=URL, let_go=let_go)
        assert not journal.offered

    def test_the_journal_remembers_its_board_and_that_it_had_workers(self, cloud: Site, path: Path) -> None:
        with cloud.create(path, to_store="quick") as journal:
            assert journal.marks == (journal.id,)
            journal.record_offered(URL)
        with CopyJournal.open(path, cloud=CLOUD) as journal:
            assert (journal.offered, len(journal.marks)) == (URL, 2)
            journal.record_offered(None)
        with CopyJournal.open(path, cloud=CLOUD) as journal:
            assert (journal.offered, len(journal.marks)) == (None, 2)


@pytest.mark.parametrize("to_store", ["quick", "slow"])
def test_eight_workers_of_which_some_lose_their_shards_move_each_image_once(
    board: Board, path: Path, to_store: str
) -> None:
    data = {f"image-{number}": bytes([number]) * (500 + number) for number in range(60)}
    cloud, lost, made, locks = Site().put(data=data), Counter[str](), Counter[str](), MemoryLocks()
    one = threading.Lock()
    board.shards = MemoryShards(most_failures=3)

    def losing(claim: Claim) -> Any:
        def note(name: str) -> None:
            with one:
                made[f"{name} {claim.shard.id}"] += 1
                loses = int(claim.shard.id[6:]) % 7 == 0 and not lost[claim.shard.id]
                lost[claim.shard.id] += loses
            if loses:
                board.shards.lose(claim)

        return watched(cloud, to_store, note, locks=locks, settle_seconds=20).work(claim)

    with (
        cloud.create(path, to_store=to_store, from_store="fast", move=True) as journal,
        ExitStack() as until,
    ):
        for _ in range(8):
            until.enter_context(serving(board.shards, {kind(to_store): losing}, jobs=1))
        outcomes = list(offered(cloud, journal, board))
        assert {(each.state, each.reason) for each in outcomes} == {(State.DONE, None)}
    assert len([each for each in lost if lost[each]]) == 9
    assert cloud.stores() == {each: [to_store] for each in data}
    assert cloud.nothing_is_left()
    once = "clone" if to_store == "quick" else "copy_to_store"
    assert [made[f"{name} {each}"] for each in data for name in (once, "delete_from_store")] == [1] * 120


def test_on_a_real_redis_each_image_is_moved_once(
    site: Site, cp: Run, board: Board, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        site.glance.put(f"image-{number + 10}", bytes([number]) * 700, store="fast")
    monkeypatch.setattr("imagevol_adapters.fleet.fleet_from_url", fleet_from_url)
    monkeypatch.setenv(BOARD_PASSWORD, PASSWORD)
    made = Counter[str]()
    (tmp_path / "service").mkdir()
    with running("redis", tmp_path / "service") as service, ExitStack() as until:
        for _ in range(2):
            fleet = fleet_from_url(service.url)
            until.callback(fleet.close)
            work = watched(site, "quick", lambda name: made.update([name]), locks=fleet.locks).work
            until.enter_context(serving(fleet.shards, {kind("quick", cloud=COMMANDS_CLOUD): work}))
        ran = cp(
            *("--from-store", "fast", "--to-store", "quick", "--move", "--journal", path, "--yes"),
            *("--board", service.url.replace(f":{PASSWORD}@", "")),
        )
        assert (ran.status, set(states(ran).values()), len(ran.json)) == (0, {"done"}, 23)
        assert fleet.shards.records() == ()
    assert (made["clone"], made["change_locations"], made["delete_from_store"]) == (23, 23, 23)
    assert set(map(tuple, site.stores().values())) == {("quick",)}
    assert site.nothing_is_left()
