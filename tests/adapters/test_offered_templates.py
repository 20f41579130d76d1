"""`imagevol templates warm --board`: templates that workers create, on a board in memory and on a real Redis."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import attrs
import pytest

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.board_option import BOARD_PASSWORD
from imagevol_adapters.cli.templates_facts import read_configuration, warmer_of, wishes_of
from imagevol_adapters.fleet import JobOffer, fleet_from_url
from imagevol_adapters.fleet.leased import ShardLost
from imagevol_adapters.fleet.running import Work
from imagevol_adapters.ports import Claim
from imagevol_adapters.tending import warm_kind, warm_work
from imagevol_adapters.testing.memory import MemoryImages
from imagevol_core import Image, RequestRefused, TransferCancelled, Volume, WarmWish
from imagevol_core.sharding import Shard, ShardState, Worker
from tests.adapters import test_templates_commands
from tests.adapters.commands import Ran
from tests.adapters.commands import ran as ran_here
from tests.adapters.serving import URL, Board, quick, serving
from tests.adapters.test_templates_commands import INTERNAL, Run, Templating
from tests.coordination.services import PASSWORD, running

KIND = warm_kind("this cloud")
SECONDS = 30
cinder = test_templates_commands.cinder
glance = test_templates_commands.glance
image = test_templates_commands.image
run = test_templates_commands.run
several = test_templates_commands.several


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    monkeypatch.setattr(JobOffer, "__init__", quick(JobOffer.__init__))
    return Board.of_commands(monkeypatch)


@pytest.fixture(autouse=True)
def this_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Imagevol, "cloud_id", lambda _: "this cloud")


@pytest.fixture
def work(run: Run) -> Work:
    """What a worker does, with the services of the command and without a file for Cinder."""
    return worker_work()


def worker_work(stopping: threading.Event | None = None, **changes: Any) -> Work:
    app: Any = Imagevol
    app = attrs.make_class("App", ["volumes", "images", "project_id", "options"])(
        app.volumes, app.images, app.project_id, attrs.make_class("Options", ["wait_seconds"])(5)
    )
    configuration = read_configuration(Path("/etc/cinder/cinder.conf"), tenant=INTERNAL)

    def wishes(image_id: str, volume_type: str | None) -> list[WarmWish]:
        types = [] if volume_type is None else [volume_type]
        found = wishes_of(app, configuration, map(app.images.find, [image_id]), types)
        return [replace(each, **changes) for each in found]

    return warm_work(warmer_of(app, INTERNAL), wishes=wishes, stopping=stopping or threading.Event())


def plan(image_id: str) -> dict[str, object]:
    return {"image": image_id, "volume_type": "memory"}


class TestCommand:
    def test_workers_create_the_templates_and_the_answer_is_that_of_one_host(
        self, board: Board, work: Work, run: Run, cinder: Templating, several: list[str]
    ) -> None:
        with serving(board.shards, {KIND: work}):
            ran = run("warm", *several, "--yes", "--board", URL, "-f", "json")
        assert ran.status == 0
        assert {row["image_id"]: row["outcome"] for row in ran.json} == dict.fromkeys(several, "made")
        assert all(row["volume_id"] == f"template of {row['image_id']}" for row in ran.json)
        assert sorted(image_id for image_id, _ in cinder.begun) == sorted(several)
        assert (board.shards.records(), board.jobs.records(), board.closed) == ((), (), 1)

    def test_it_names_its_job_and_how_to_start_a_worker_if_there_is_none(
        self, board: Board, work: Work, run: Run, image: Image
    ) -> None:
        with serving(board.shards, {KIND: work}):
            told = run("warm", image.id, "--yes", "--board", URL).err.splitlines()
        start = f"imagevol fleet work --board {URL} --take templates"
        assert told[-2].startswith("Job warm-")
        assert told[-2].endswith(f" on {URL}: workers do it.")
        assert told[-1].startswith(f"No worker takes it yet. Start `{start}` for the same")

    def test_a_worker_that_lives_is_not_asked_for(self, board: Board, work: Work, run: Run, image: Image) -> None:
        present = board.workers.present(Worker(name="one", kinds=frozenset({KIND})), host="node-1", jobs=1)
        with present, serving(board.shards, {KIND: work}):
            assert "No worker" not in run("warm", image.id, "--yes", "--board", URL).err

    def test_what_fails_on_the_workers_is_told_with_its_reason_and_leaves_no_volume(
        self, board: Board, work: Work, run: Run, cinder: Templating, image: Image
    ) -> None:
        cinder.makes = False
        with serving(board.shards, {KIND: work}):
            ran = run("warm", image.id, "--yes", "--board", URL, "-f", "json")
        assert (ran.status, ran.json[0]["outcome"], cinder.volumes) == (3, "failed", {})
        assert ran.json[0]["reason"] == f"{cinder.host} created no template: see the log of its cinder-volume"

    def test_an_interrupt_says_how_to_go_on_and_the_same_command_takes_what_was_made(
        self,
        board: Board,
        work: Work,
        run: Run,
        cinder: Templating,
        several: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def interrupt(listing: Iterator[object], **_: object) -> Iterator[object]:
            yield next(listing)
            raise KeyboardInterrupt

        command = ("warm", *several, "--yes", "--board", URL, "-f", "json")
        with serving(board.shards, {KIND: work}):
            with monkeypatch.context() as patch:
                patch.setattr("imagevol_adapters.cli.templates.counted", interrupt)
                stopped = run(*command)
            ran = run(*command)
        jobs = [
            next(line for line in each.err.splitlines() if line.startswith("Job ")).split()[1]
            for each in (stopped, ran)
            if "Job " in each.err
        ]
        assert (stopped.status, len(set(jobs))) == (130, 1)
        assert f"Run the same command again, or end the job with `imagevol fleet cancel {jobs[0]}`." in stopped.err
        assert {row["outcome"] for row in ran.json} <= {"made", "ready"}
        assert sorted(image_id for image_id, _ in cinder.begun) == sorted(several)

    @pytest.mark.parametrize("options", [("--board-password-file", "x"), ("--board", URL, "--jobs", "2")])
    def test_options_that_make_no_sense_are_refused_before_anything_is_asked(
        self, board: Board, run: Run, cinder: Templating, image: Image, options: tuple[str, ...]
    ) -> None:
        ran = run("warm", image.id, "--yes", *options)
        assert (ran.status, ran.out, len(ran.err.splitlines()), cinder.begun) == (1, "", 1, [])
        assert board.urls == []


class TestWorker:
    def test_it_creates_a_template_by_its_own_plan(
        self, board: Board, work: Work, cinder: Templating, image: Image
    ) -> None:
        found = work(board.claim(KIND, "any", plan(image.id)))
        assert found == {"state": "made", "place": cinder.host, "reason": None}
        assert set(cinder.volumes) == {f"template of {image.id}"}

    def test_one_that_is_there_already_is_not_created_again(
        self, board: Board, work: Work, cinder: Templating, image: Image
    ) -> None:
        cinder.template("there", image)
        assert work(board.claim(KIND, "any", plan(image.id)))["state"] == "ready"
        assert cinder.begun == []

    @pytest.mark.parametrize(
        "changes",
        [
            {"image": ...},
            {"image": 7},
            {"image": ".."},
            {"image": "7/x"},
            {"image": ["x"]},
            {"volume_type": ...},
            {"volume_type": 7},
            {"size_gib": 7},
            {"metadata": {}},
        ],
        ids=str,
    )
    def test_a_plan_that_is_none_is_refused_in_one_line_and_nothing_is_created(
        self, board: Board, work: Work, cinder: Templating, image: Image, changes: dict[str, Any]
    ) -> None:
        forged = {key: value for key, value in {**plan(image.id), **changes}.items() if value is not ...}
        with pytest.raises(RequestRefused, match=r"^the plan of shard any is refused .* cancel job job-1") as refused:
            work(board.claim(KIND, "any", forged))
        assert (str(refused.value).isprintable(), cinder.begun) == (True, [])

    def test_what_its_own_rules_refuse_is_not_created_whatever_the_board_says(
        self, board: Board, work: Work, cinder: Templating, glance: MemoryImages, image: Image
    ) -> None:
        glance.images[image.id] = replace(image, status="deactivated")
        with pytest.raises(RequestRefused):
            work(board.claim(KIND, "any", plan(image.id)))
        assert cinder.begun == []

    def test_nothing_is_created_for_a_shard_that_was_lost(
        self, board: Board, work: Work, cinder: Templating, image: Image
    ) -> None:
        claim = board.claim(KIND, "any", plan(image.id))
        board.shards.lose(claim)
        with pytest.raises(ShardLost):
            work(claim)
        assert cinder.begun == []

    def test_a_worker_that_is_stopped_deletes_its_volume_and_gives_the_shard_back(
        self, board: Board, run: Run, cinder: Templating, image: Image, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stopping = threading.Event()
        create = Templating.create

        def created(self: Templating, **wishes: Any) -> Volume:
            stopping.set()
            return create(self, **wishes)

        monkeypatch.setattr(Templating, "create", created)
        with pytest.raises(TransferCancelled):
            worker_work(stopping)(board.claim(KIND, "any", plan(image.id)))
        assert (len(cinder.begun), cinder.volumes) == (1, {})

    def test_the_command_takes_templates_only_if_it_is_told_to(
        self,
        board: Board,
        run: Run,
        cinder: Templating,
        image: Image,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(Imagevol, "attacher", None)
        board.shards.submit(Shard(job="warm-1", id="any", kind=KIND, work=plan(image.id)))

        def stop(condition: Callable[[], bool]) -> threading.Thread:
            def watch() -> None:
                waited = threading.Event()
                for _ in range(SECONDS * 100):
                    if condition():
                        break
                    waited.wait(0.01)
                os.kill(os.getpid(), signal.SIGTERM)

            thread = threading.Thread(target=watch)
            thread.start()
            return thread

        def worked(condition: Callable[[], bool], *options: object) -> Ran:
            thread = stop(condition)
            done = ran_here(capsys, "fleet", "work", "--board", URL, *options)
            thread.join()
            return done

        assert worked(lambda: bool(board.workers.workers())).status == 0
        assert (board.record("any").state, cinder.begun) == (ShardState.OPEN, [])
        taking = ("--take", "templates", "--internal-tenant", INTERNAL)
        ran = worked(lambda: board.record("any").state is ShardState.DONE, *taking)
        assert (ran.status, ran.out, len(cinder.begun)) == (0, "", 1)
        assert f"waits for work on {URL}: {KIND}. Ctrl-C" in ran.err
        assert "ended. It took 1 shard." in ran.err

    @pytest.mark.parametrize(
        "options",
        [
            ("--internal-tenant", INTERNAL),
            ("--cinder-config-file", "x"),
            ("--take", "templates", "--record-blake3"),
            ("--take", "templates", "--internal-tenant", INTERNAL, "--backend", "one@fast"),
            ("--take", "templates"),
        ],
        ids=" ".join,
    )
    def test_options_for_work_that_is_not_taken_are_refused(
        self, board: Board, run: Run, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
    ) -> None:
        ran = ran_here(capsys, "fleet", "work", "--board", URL, *options)
        assert (ran.status, ran.out, len(ran.err.splitlines())) == (1, "", 1)


class TestFeeder:
    @pytest.mark.parametrize(
        "outcome",
        [
            {"state": "made", "place": "memory@memory#memory", "reason": None},
            {},
            {"place": 7, "reason": ""},
            {"place": "\x1b[2J", "reason": "x"},
        ],
        ids=["no template", "nothing", "no place", "no name"],
    )
    def test_a_forged_result_is_not_believed(
        self, board: Board, run: Run, cinder: Templating, image: Image, outcome: dict[str, Any]
    ) -> None:
        with serving(board.shards, {KIND: lambda _: outcome}):
            ran = run("warm", image.id, "--yes", "--board", URL, "-f", "json")
        assert (ran.status, ran.json[0]["outcome"], ran.json[0]["volume_id"]) == (3, "failed", None)

    def test_what_a_worker_says_reaches_the_terminal_as_text_and_not_as_more_than_a_person_reads(
        self, board: Board, run: Run, image: Image
    ) -> None:
        outcome = {"state": "made", "place": "memory@memory#memory", "reason": "\x1b[2J" + "x" * 2000}
        with serving(board.shards, {KIND: lambda _: outcome}):
            (row,) = run("warm", image.id, "--yes", "--board", URL, "-f", "json").json
        assert ": \\x1b[2Jxxx" in row["reason"]
        assert (row["reason"].isprintable(), row["reason"][-2:]) == (True, "x…")

    def test_what_needs_no_template_is_not_offered(
        self, board: Board, work: Work, run: Run, cinder: Templating, several: list[str]
    ) -> None:
        offered = list[str]()

        def noted(claim: Claim) -> Any:
            offered.append(claim.shard.work["image"])
            return work(claim)

        cinder.template("there", cinder.images.get(several[0]))  # type: ignore[union-attr]
        with serving(board.shards, {KIND: noted}):
            ran = run("warm", *several, "--yes", "--board", URL, "-f", "json")
        assert sorted(offered) == sorted(several[1:])
        assert {row["image_id"]: row["outcome"] for row in ran.json}[several[0]] == "ready"


def test_on_a_real_redis_each_template_is_created_once(
    run: Run,
    cinder: Templating,
    glance: MemoryImages,
    several: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = worker_work()
    monkeypatch.setenv(BOARD_PASSWORD, PASSWORD)
    with running("redis", tmp_path) as service, ExitStack() as until:
        for _ in range(2):
            fleet = fleet_from_url(service.url)
            until.callback(fleet.close)
            until.enter_context(serving(fleet.shards, {KIND: work}))
        ran = run("warm", *several, "--yes", "--board", service.url.replace(f":{PASSWORD}@", ""), "-f", "json")
        assert {row["image_id"]: row["outcome"] for row in ran.json} == dict.fromkeys(several, "made")
        assert sorted(image_id for image_id, _ in cinder.begun) == sorted(several)
        assert fleet.shards.records() == ()
