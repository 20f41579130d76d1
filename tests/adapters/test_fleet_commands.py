"""`imagevol audit --deep --board` and `imagevol fleet work`, on a board in memory in place of Redis."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self
from urllib.parse import urlsplit

import attrs
import pytest

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.board_option import BOARD_PASSWORD
from imagevol_adapters.fleet import LeasedShards, LeasedWorkers, PatientBoard, serve
from imagevol_adapters.fleet.limit_records import text_of_flow, text_of_holders, text_of_limit
from imagevol_adapters.gathering import DeepTarget, deep_kind, deep_work
from imagevol_adapters.gathering.deep_reading import deep_targets
from imagevol_adapters.gathering.deep_shards import deep_plan
from imagevol_adapters.testing.memory import MemoryBoard, MemoryLocks, MemoryShards
from imagevol_core import GIB, DeepCheck, Digest, InUse, TransferCancelled
from imagevol_core.sharding import Flow, Shard, ShardState, Worker, WorkerLimit
from tests.adapters import test_audit_command
from tests.adapters.commands import Run
from tests.adapters.serving import SECONDS, URL, Board
from tests.adapters.test_audit_command import TRUSTED, Glance, healthy
from tests.adapters.test_audit_gathering import STORES, volume_id

pytestmark = pytest.mark.usefixtures("no_cloud")
KIND = deep_kind("this cloud")
GLANCE, CINDER = "1f3a5a7b8d1f4a6c9e0b3d5f7a9c1e3b", "77b05a7b8d1f4a6c9e0b3d5f7a9c1e3b"
PROJECT = "9c2e5a7b8d1f4a6c9e0b3d5f7a9c1e3b"
cloud = test_audit_command.cloud


def offer(board: Board, glance: Glance, *numbers: int, job: str = "audit-1", kind: str = KIND) -> None:
    """Offer volumes of a Glance."""
    targets = {each.volume_id: each for each in deep_targets(glance.listed())}
    for number in numbers:
        plan = deep_plan(targets[volume_id(number)])
        board.shards.submit(Shard(job=job, id=volume_id(number), kind=kind, work=plan))


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    return Board.of_commands(monkeypatch)


def check(asked: DeepTarget) -> DeepCheck:
    digest = Digest(str(asked.algorithm), "cd" if asked.volume_id == volume_id(2) else "ab")
    return DeepCheck(volume_id=asked.volume_id, size_bytes=asked.size_bytes, digest=digest, tail_is_zero=True)


class TestBoardOption:
    COMMAND = ("fleet", "work", "--board")

    @pytest.fixture(autouse=True)
    def ends(self, board: Board, cloud: Glance, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Imagevol, "attacher", None)
        monkeypatch.setattr("imagevol_adapters.fleet.serve", lambda *_, **__: 0, raising=False)

    @pytest.mark.parametrize(
        "url",
        [
            "redis://:pa55word@host:6379",
            "redis://user:pa55word@host",
            "redis://host?password=pa55word",
            "redis://host?Password=pa55word",
            "redis://host?auth=pa55word",
            "redis://pa55word@host",
            "etcd3+http://pa55word@host",
            "redis://host?sentinel_password=pa55word",
            "redis://host/pa55word@x",
            "redis://[pa55word",
        ],
    )
    def test_a_password_in_the_url_is_refused_and_not_shown(self, url: str, board: Board, run: Run) -> None:
        ran = run(*self.COMMAND, url)
        assert (ran.status, ran.out, board.urls) == (1, "", [])
        assert "pa55word" not in ran.err
        assert len(ran.err.splitlines()) == 1

    def test_the_file_of_a_key_is_no_password(self, board: Board, run: Run) -> None:
        url = "etcd3+https://host?ca_cert=/etc/ca&cert_cert=/etc/cert&cert_key=/etc/key"
        assert (run(*self.COMMAND, url).status, board.urls) == (0, [url])

    def test_the_password_comes_from_the_environment_which_programs_do_not_inherit(
        self, board: Board, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(BOARD_PASSWORD, "pa55word@:x")
        assert run(*self.COMMAND, "redis://worker@host:6379?ssl=true").status == 0
        assert board.urls == ["redis://worker:pa55word@:x@host:6379?ssl=true"]
        assert BOARD_PASSWORD not in os.environ
        assert urlsplit(board.urls[0]).password == "pa55word@:x"

    def test_the_password_of_a_file_comes_first(
        self, board: Board, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(BOARD_PASSWORD, "another")
        (file := tmp_path / "password").write_text("pa55word\nmore\n")
        assert run(*self.COMMAND, URL, "--board-password-file", file).status == 0
        assert board.urls == ["redis://:pa55word@board.example.com:6379"]

    @pytest.mark.parametrize("data", [b"", b"\nx", b"\xff\xfe", b"a/b", b"a b", b"a#b", b"a\x00b"])
    def test_a_password_that_cannot_be_used_is_refused(
        self, data: bytes, board: Board, run: Run, tmp_path: Path
    ) -> None:
        (file := tmp_path / "password").write_bytes(data)
        ran = run(*self.COMMAND, URL, "--board-password-file", file)
        assert (ran.status, board.urls, len(ran.err.splitlines())) == (1, [], 1)
        assert ran.err.startswith("the password of the board cannot be")

    def test_a_file_that_is_not_there_is_an_error(self, board: Board, run: Run, tmp_path: Path) -> None:
        ran = run(*self.COMMAND, URL, "--board-password-file", tmp_path / "none")
        assert (ran.status, "No such file" in ran.err) == (1, True)

    def test_etcd_takes_no_password(
        self, board: Board, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert run(*self.COMMAND, "etcd3+http://host:2379").status == 0
        (file := tmp_path / "password").write_text("pa55word")
        of_file = run(*self.COMMAND, "etcd3+http://host:2379", "--board-password-file", file)
        monkeypatch.setenv(BOARD_PASSWORD, "pa55word")
        of_environment = run(*self.COMMAND, "etcd3+http://host:2379")
        assert of_file == of_environment
        assert of_file.err == (
            f"the password of the board is for redis:// only: unset {BOARD_PASSWORD}, or leave --board-password-file "
            "out; for etcd, use TLS with a client certificate\n"
        )

    def test_a_service_that_keeps_no_shards_is_refused(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()
        ran = run(*self.COMMAND, "file:///var/lib/cinder")
        assert (ran.status, "use redis:// or etcd3+http://" in ran.err) == (1, True)

    def test_a_user_without_a_password_may_be_the_password(self, run: Run) -> None:
        ran = run(*self.COMMAND, "redis://pa55word@host")
        assert "it has a user, and there is no password" in ran.err
        assert "If the password stands before the @, leave it out" in ran.err

    @pytest.mark.parametrize("url", ["redis://", "redis://host/db1", "redis://host?lock_timeout=0"])
    def test_a_url_that_is_wrong_is_an_error_that_names_the_option_before_the_service_is_asked(
        self, url: str, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.undo()
        ran = run("fleet", "status", "--board", url)
        assert (ran.status, ran.err.startswith("--board: "), len(ran.err.splitlines())) == (1, True, 1)


class Fleet:
    """A worker in a thread."""

    def __init__(self, board: Board, glance: Glance) -> None:
        self.read: list[str] = []
        self.then: Callable[[], object] = lambda: None
        self._board, self._glance, self._stopping = board, glance, threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _check(self, asked: DeepTarget, _: object) -> DeepCheck:
        self.read.append(asked.volume_id)
        self.then()
        if asked.volume_id == volume_id(3):
            raise InUse(f"volume {asked.volume_id} is in use")
        return check(asked)

    def _serve(self) -> None:
        serve(
            self._board.shards,
            worker=Worker(name="one", kinds=frozenset({KIND})),
            works={KIND: deep_work(self._check, images=self._glance)},
            jobs=2,
            stopping=self._stopping,
            idle_seconds=0.002,
        )


@pytest.fixture
def healthy_cloud(cloud: Glance) -> Glance:
    healthy(cloud)
    return cloud


@pytest.fixture
def fleet(board: Board, healthy_cloud: Glance) -> Iterator[Fleet]:
    with Fleet(board, healthy_cloud) as fleet:
        yield fleet


@pytest.mark.usefixtures("fleet")
class TestAudit:
    @pytest.fixture(autouse=True)
    def here(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What this process reads itself."""
        read: list[str] = []

        def here(asked: str, *, size_bytes: int, algorithm: str, **_: Any) -> DeepCheck:
            read.append(asked)
            return check(DeepTarget(volume_id=asked, size_bytes=size_bytes, algorithm=algorithm))

        monkeypatch.setattr("imagevol_adapters.transfers.check_image_volume", here, raising=False)
        monkeypatch.setattr(Imagevol, "attacher", None)
        return read

    def command(self, tmp_path: Path, *more: object) -> tuple[object, ...]:
        journal = ("--journal", tmp_path / "journal")
        return ("audit", *TRUSTED, "--deep", "--board", URL, *journal, "-f", "json", *more)

    def test_workers_read_the_volumes_and_the_findings_are_those_of_one_host(
        self, board: Board, fleet: Fleet, here: list[str], run: Run, tmp_path: Path
    ) -> None:
        ran = run(*self.command(tmp_path))
        assert ran.status == 3
        assert [each["rule"] for each in ran.json] == ["content-differs"]
        assert sorted(fleet.read) == [volume_id(number) for number in (1, 2, 3, 5)]
        assert here == []
        assert f"Volume {volume_id(3)} was not read: volume {volume_id(3)} is in use" in ran.err
        assert "3 of 4 image volumes read" in ran.err
        assert f" on {URL}: workers do it.\n" in ran.err
        assert (board.shards.records(), board.closed) == ((), 1)

    @pytest.mark.parametrize(
        "kind, told",
        [
            (KIND, ""),
            (
                deep_kind("another"),
                f"No worker takes it yet. Start `imagevol fleet work --board {URL} --take audit` for",
            ),
        ],
        ids=["of this cloud", "of another cloud"],
    )
    def test_it_says_how_to_start_a_worker_if_there_is_none_for_this_cloud(
        self, board: Board, run: Run, tmp_path: Path, kind: str, told: str
    ) -> None:
        worker = Worker(name="one", kinds=frozenset({kind}))
        with board.workers.present(worker, host="node-1", jobs=1):
            ran = run(*self.command(tmp_path))
        assert ran.status == 3
        assert (told in ran.err, "No worker" in ran.err) == (True, bool(told))

    def test_a_volume_is_for_hosts_that_attach_its_backend(
        self, board: Board, healthy_cloud: Glance, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        volumes, offered = healthy_cloud.volumes, dict[str, frozenset[str]]()
        volumes[volume_id(1)] = replace(volumes[volume_id(1)], host="one@fast#pool")
        volumes[volume_id(2)] = replace(volumes[volume_id(2)], host=None)

        def submit(shards: MemoryShards, shard: Shard) -> bool:
            offered[shard.id] = shard.needs
            return LeasedShards.submit(shards, shard)

        monkeypatch.setattr(MemoryShards, "submit", submit)
        run(*self.command(tmp_path))
        assert offered[volume_id(1)] == {"one@fast"}
        assert offered[volume_id(2)] == frozenset(), "any host tries it"

    def test_the_journal_spares_what_was_read_and_the_job_keeps_its_name(
        self, fleet: Fleet, run: Run, tmp_path: Path
    ) -> None:
        first = run(*self.command(tmp_path))
        fleet.read.clear()
        again = run(*self.command(tmp_path, "--resume"))
        assert again.json == first.json
        assert fleet.read == [volume_id(3)]
        job = [next(line for line in ran.err.splitlines() if line.startswith("Job audit-")) for ran in (first, again)]
        assert job[0] == job[1]

    def test_with_jobs_this_process_reads_too(
        self, board: Board, fleet: Fleet, here: list[str], run: Run, tmp_path: Path
    ) -> None:
        fleet.__exit__()
        assert run(*self.command(tmp_path, "--jobs", 2, "--rate", 5, "--record-blake3")).status == 3
        assert sorted(here) == [volume_id(number) for number in (1, 2, 3, 5)]

    def test_an_interrupt_leaves_what_is_offered_to_the_workers_and_resume_takes_what_they_found(
        self, board: Board, fleet: Fleet, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(_: str, listing: Iterator[DeepCheck], **__: object) -> Iterator[DeepCheck]:
            yield next(listing)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("imagevol_adapters.cli.audit_deep.watched", interrupt)
            ran = run(*self.command(tmp_path))
        assert (ran.status, ran.out) == (130, "")
        assert "The journal has 1 volume. Continue with the same command and --resume." in ran.err
        until = time.monotonic() + SECONDS
        while any(each.state is ShardState.OPEN for each in board.shards.records()) and time.monotonic() < until:
            time.sleep(0.002)
        fleet.read.clear()
        ran = run(*self.command(tmp_path, "--resume"))
        assert ([each["rule"] for each in ran.json], fleet.read) == (["content-differs"], [volume_id(3)])

    @pytest.mark.parametrize(
        "options",
        [
            ("--board", URL),
            ("--deep", "--board", URL),
            ("--deep", "--board-password-file", "x"),
            ("--deep", "--board", URL, "--journal", "j", "--rate", "5"),
            ("--deep", "--board", URL, "--journal", "j", "--record-blake3"),
            ("--deep", "--board", URL, "--journal", "j", "--trust-recorded"),
        ],
    )
    def test_options_that_make_no_sense_are_refused_before_anything_is_asked(
        self,
        board: Board,
        cloud: Glance,
        run: Run,
        options: tuple[str, ...],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        ran = run("audit", *options)
        assert (ran.status, ran.out, cloud.asked, board.urls) == (1, "", [], [])
        assert not (tmp_path / "j").exists()


@attrs.define
class Owned:
    """A Cinder that tells in which project a volume is."""

    projects: dict[str, str]
    attach_attempts: int = 30

    def get(self, volume_id: str) -> SimpleNamespace:
        return SimpleNamespace(project_id=self.projects[volume_id])


class TestWork:
    COMMAND = ("fleet", "work", "--board", URL)

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch, healthy_cloud: Glance) -> list[dict[str, Any]]:
        """With what each volume was read."""
        asked: list[dict[str, Any]] = []

        def here(volume: str, *, limits: Any, size_bytes: int, algorithm: str, **more: Any) -> DeepCheck:
            asked.append({"volume": volume, **more})
            if volume == volume_id(5):  # a long one
                assert limits.cancelled.wait(SECONDS)
                raise TransferCancelled("it was cancelled")
            return check(DeepTarget(volume_id=volume, size_bytes=size_bytes, algorithm=algorithm))

        monkeypatch.setattr("imagevol_adapters.transfers.check_image_volume", here, raising=False)
        monkeypatch.setattr(Imagevol, "attacher", None)
        return asked

    @pytest.fixture
    def stop(self) -> Iterator[Callable[..., None]]:
        """Send a signal to this process when something is so."""
        threads: list[threading.Thread] = []

        def stop(condition: Callable[[], bool], number: int = signal.SIGTERM) -> None:
            def watch() -> None:
                until = time.monotonic() + SECONDS
                while not condition() and time.monotonic() < until:
                    time.sleep(0.002)
                os.kill(os.getpid(), number)

            threads.append(threading.Thread(target=watch))
            threads[-1].start()

        yield stop
        for thread in threads:
            thread.join()

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_it_reads_what_is_offered_until_a_signal_comes_and_gives_back_what_it_reads(
        self,
        board: Board,
        healthy_cloud: Glance,
        asked: list[dict[str, Any]],
        stop: Callable[..., None],
        run: Run,
        number: int,
    ) -> None:
        offer(board, healthy_cloud, 1, 2, 5)
        done = [volume_id(1), volume_id(2)]
        stop(lambda: all(board.record(each).state is ShardState.DONE for each in done) and len(asked) == 3, number)
        ran = run(*self.COMMAND)
        assert (ran.status, ran.out) == (0, "")
        assert "waits for work on redis://board.example.com:6379: audit --deep of this cloud." in ran.err
        assert "ended. It took 3 shards." in ran.err
        outcome = board.record(volume_id(2)).outcome
        assert outcome is not None
        assert (outcome["volume"], outcome["digest"]) == (volume_id(2), "cd")
        left = board.record(volume_id(5))
        assert (left.state, left.holder, left.failures) == (ShardState.OPEN, None, 0)
        assert board.closed == 1

    def test_a_worker_that_waits_for_its_board_ends_at_a_signal(
        self,
        board: Board,
        healthy_cloud: Glance,
        asked: list[dict[str, Any]],
        stop: Callable[..., None],
        run: Run,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        patient = PatientBoard(
            MemoryBoard(reachable=False), patience_seconds=10 * SECONDS, pause_seconds=SECONDS, stopping=board.stopping
        )
        monkeypatch.setattr(board, "shards", LeasedShards(patient, MemoryLocks()))
        stop(lambda: "it is asked again" in caplog.text)
        ran = run(*self.COMMAND)
        assert (ran.status, ran.err.splitlines()[-1].endswith("ended. It took 0 shards.")) == (0, True)

    def test_the_library_of_the_locks_says_nothing_in_the_log_that_is_said_already(
        self, board: Board, healthy_cloud: Glance, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def serve(*_: object, **__: object) -> int:
            logging.getLogger("tooz.drivers.redis").warning("Unable to heartbeat lock", exc_info=ValueError("lost"))
            logging.getLogger("tooz.coordination").error("Retrying")
            return 0

        monkeypatch.setattr(Imagevol, "attacher", None)
        monkeypatch.setattr("imagevol_adapters.fleet.serve", serve, raising=False)
        ran = run(*self.COMMAND)
        assert (ran.status, len(ran.err.splitlines())) == (0, 2)

    def test_what_it_may_believe_and_change_is_said_by_its_own_options(
        self,
        board: Board,
        healthy_cloud: Glance,
        asked: list[dict[str, Any]],
        stop: Callable[..., None],
        run: Run,
    ) -> None:
        offer(board, healthy_cloud, 1)
        stop(lambda: board.record(volume_id(1)).state is ShardState.DONE)
        assert run(*self.COMMAND, "--trusted-project", STORES, "--trust-recorded").status == 0
        (read,) = asked
        assert (read["trusted_projects"], read["trust_recorded"], read["record"]) == (frozenset({STORES}), True, False)
        assert read["image"] == healthy_cloud.images["image-1"]

    def test_it_takes_only_volumes_of_its_own_backends(
        self,
        board: Board,
        healthy_cloud: Glance,
        asked: list[dict[str, Any]],
        stop: Callable[..., None],
        run: Run,
    ) -> None:
        plans = {each.volume_id: deep_plan(each) for each in deep_targets(healthy_cloud.listed())}
        for number, needs in {1: "one@slow", 2: "one@fast"}.items():
            offered = Shard(
                job="a", id=volume_id(number), kind=KIND, needs=frozenset({needs}), work=plans[volume_id(number)]
            )
            board.shards.submit(offered)
        stop(lambda: board.record(volume_id(2)).state is ShardState.DONE)
        assert run(*self.COMMAND, "--backend", "one@fast", "--backend", "two@fast").status == 0
        assert [each["volume"] for each in asked] == [volume_id(2)]

    def test_all_workers_together_keep_to_limits_that_its_options_set(
        self,
        board: Board,
        healthy_cloud: Glance,
        stop: Callable[..., None],
        run: Run,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        read: list[tuple[int, float]] = []

        def here(volume: str, *, limits: Any, size_bytes: int, algorithm: str, **_: Any) -> DeepCheck:
            slots = json.loads(board.limit_board.get("slots/one%40fast") or "{}")
            read.append((len(slots), limits.shared(30 << 20)))
            return check(DeepTarget(volume_id=volume, size_bytes=size_bytes, algorithm=algorithm))

        monkeypatch.setattr("imagevol_adapters.transfers.check_image_volume", here, raising=False)
        monkeypatch.setattr(Imagevol, "attacher", None)
        plans = {each.volume_id: deep_plan(each) for each in deep_targets(healthy_cloud.listed())}
        for number in (1, 2):
            needs, work = frozenset({"one@fast"}), plans[volume_id(number)]
            board.shards.submit(Shard(job="a", id=volume_id(number), kind=KIND, needs=needs, work=work))
        stop(lambda: all(board.record(volume_id(each)).state is ShardState.DONE for each in (1, 2)))
        assert run(*self.COMMAND, "--shared-rate", "10", "--shared-attachments", "1").status == 0
        assert [slots for slots, _ in read] == [1, 1]
        assert all(seconds > 0 for _, seconds in read)
        assert board.limits("any").limits() == {
            "*": WorkerLimit(bytes_per_second=10 << 20),
            "one@fast": WorkerLimit(attachments=1),
        }
        assert board.limit_board.get("slots/one%40fast") == "{}"

    def test_a_worker_without_such_an_option_asks_nothing_of_the_limits(
        self,
        board: Board,
        healthy_cloud: Glance,
        stop: Callable[..., None],
        run: Run,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        waits: list[float] = []

        def here(volume: str, *, limits: Any, size_bytes: int, algorithm: str, **_: Any) -> DeepCheck:
            waits.append(limits.shared(30 << 20))
            return check(DeepTarget(volume_id=volume, size_bytes=size_bytes, algorithm=algorithm))

        monkeypatch.setattr("imagevol_adapters.transfers.check_image_volume", here, raising=False)
        monkeypatch.setattr(Imagevol, "attacher", None)
        board.limit_board.reachable = False
        offer(board, healthy_cloud, 1)
        stop(lambda: board.record(volume_id(1)).state is ShardState.DONE)
        assert run(*self.COMMAND).status == 0
        assert waits == [0]

    @pytest.mark.parametrize("name", ["fast", "@fast", "one@", "one@fast#pool"])
    def test_a_name_that_is_no_backend_is_refused(self, board: Board, run: Run, name: str) -> None:
        ran = run(*self.COMMAND, "--backend", name)
        assert ran.status != 0
        assert f"{name!r} is no backend: give HOST@BACKEND" in ran.err.replace("\n", " ")
        assert board.urls == []

    def test_it_reads_a_volume_that_no_image_names_only_in_a_project_that_it_trusts(
        self,
        board: Board,
        healthy_cloud: Glance,
        asked: list[dict[str, Any]],
        stop: Callable[..., None],
        run: Run,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        ids = [volume_id(11), volume_id(12)]
        monkeypatch.setattr(Imagevol, "volumes", Owned(dict(zip(ids, (STORES, "tenant"), strict=True))))
        for each in ids:
            plan = deep_plan(DeepTarget(volume_id=each, size_bytes=GIB, algorithm=None))
            board.shards.submit(Shard(job="forged", id=each, kind=KIND, work=plan))
        stop(lambda: all(each.state is not ShardState.OPEN for each in board.shards.records()))
        assert run(*self.COMMAND, "--trusted-project", STORES).status == 0
        assert [each["volume"] for each in asked] == [ids[0]]
        refused = next(each for each in board.shards.records() if each.shard.id == ids[1])
        assert refused.reason == (
            f"volume {ids[1]} is not read, because no image names it: if you trust project tenant, pass "
            "--trusted-project with its id to this worker"
        )

    def test_it_takes_nothing_of_another_cloud(
        self,
        board: Board,
        healthy_cloud: Glance,
        asked: list[dict[str, Any]],
        stop: Callable[..., None],
        run: Run,
    ) -> None:
        offer(board, healthy_cloud, 1, kind=deep_kind("another cloud"))
        offer(board, healthy_cloud, 2)
        stop(lambda: board.record(volume_id(2)).state is ShardState.DONE)
        assert run(*self.COMMAND).status == 0
        assert [each["volume"] for each in asked] == [volume_id(2)]

    def test_a_forged_plan_is_a_failed_shard_with_its_reason_and_the_worker_goes_on(
        self,
        board: Board,
        healthy_cloud: Glance,
        asked: list[dict[str, Any]],
        stop: Callable[..., None],
        run: Run,
    ) -> None:
        board.shards.submit(Shard(job="forged", id=volume_id(1), kind=KIND, work={"volume": "../7"}))
        healthy_cloud.images["image-3"] = replace(healthy_cloud.images["image-3"], locations=())
        board.shards.submit(
            Shard(job="late", id=volume_id(3), kind=KIND, work=deep_plan(next(deep_targets(healthy_cloud.listed()))))
        )
        offer(board, healthy_cloud, 2)
        stop(lambda: all(each.state is not ShardState.OPEN for each in board.shards.records()))
        assert run(*self.COMMAND).status == 0
        assert [each["volume"] for each in asked] == [volume_id(2)]
        forged = board.record(volume_id(1))
        assert (forged.state, "is refused" in str(forged.reason)) == (ShardState.SET_ASIDE, True)

    @pytest.mark.parametrize(
        "options", [("--trust-recorded",), ("--trusted-project", "none")], ids=["no project", "an unknown project"]
    )
    def test_options_that_make_no_sense_are_refused(
        self,
        board: Board,
        cloud: Glance,
        run: Run,
        options: tuple[str, ...],
    ) -> None:
        ran = run(*self.COMMAND, *options)
        assert (ran.status, len(ran.err.splitlines())) == (1, 1)


class TestStatus:
    def test_it_shows_how_far_each_job_is_who_does_it_and_what_failed(
        self,
        board: Board,
        cloud: Glance,
        run: Run,
    ) -> None:
        offer(board, cloud, 1, 2, 3)
        offer(board, cloud, 3, 5, job="audit-2")
        for name in ("one", "two", "three", "four"):
            claim = board.shards.claim(Worker(name=name, kinds=frozenset({KIND})))
            assert claim is not None
            if name == "one":
                claim.done({})
            if name == "two":
                claim.failed("sector\n7 cannot be read")
            if name == "four":
                claim.in_use("attachment a1:\nof host node-1")
        now = iter((1000.0, 1900.0))
        jobs = board.jobs = attrs.evolve(board.jobs, clock=lambda: next(now))
        with jobs.feeding("audit-1", kind=KIND, total=400) as feeding:
            feeding.count(kept=10)
            feeding.count(done=80)
            feeding.tell()
            shown = run("fleet", "status", "--board", URL, "-f", "json")
            one = run("fleet", "status", "audit-1", "--board", URL)
        assert (shown.status, shown.json) == (
            0,
            [
                {
                    "job": "audit-1",
                    "state": "running",
                    "total": 400,
                    "done": 91,
                    "failed": 1,
                    "offered": 0,
                    "held": [{"worker": "three", "shards": [volume_id(3)]}],
                    "rate": 320.0,
                    "seconds_left": 3488,
                    "set_aside": [{"shard": volume_id(2), "reason": "sector\\n7 cannot be read"}],
                    "in_use": [],
                    "kind": KIND,
                },
                {
                    "job": "audit-2",
                    "state": "not-fed",
                    "total": None,
                    "done": 0,
                    "failed": 0,
                    "offered": 1,
                    "held": [],
                    "rate": None,
                    "seconds_left": None,
                    "set_aside": [],
                    "in_use": [{"shard": volume_id(3), "reason": "attachment a1:\\nof host node-1"}],
                    "kind": KIND,
                },
            ],
        )
        assert "audit-1" in one.out
        assert f"three: {volume_id(3)}" in one.out
        assert "sector\\n7 cannot be read" in one.out
        assert "audit-2" not in one.out

    @pytest.mark.parametrize("command", ["status", "workers"])
    def test_a_full_output_is_an_error_on_one_line(
        self, board: Board, run: Run, command: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Path("/dev/full").open("w") as full:
            monkeypatch.setattr(sys, "stdout", full)
            ran = run("fleet", command, "--board", URL)
            with suppress(OSError):
                full.close()
        assert (ran.status, ran.err) == (1, "the standard output cannot be written: No space left on device\n")

    @pytest.mark.parametrize(
        "cloud_id, short",
        [
            (f"Glance {GLANCE} at north, Cinder {CINDER} at north, project {PROJECT}", " at north, project 9c2e5a7b ("),
            (
                f"Glance {GLANCE} at north, Cinder {CINDER} at south, project {PROJECT}",
                " at north and south, project 9c",
            ),
            (
                f"Glance http://[2001:db8::1]:9292/v2, Cinder {CINDER} at https://cinder.example.com/v3, project demo",
                " at 2001:db8::1 and cinder.example.com, project demo (",
            ),
            (
                f"Glance {GLANCE}, Cinder https://[x, project not known",
                " at 1f3a5a7b and https://[x, project not known (",
            ),
            (f"Cinder {CINDER}", f" of Cinder {CINDER}"),
        ],
    )
    def test_a_kind_is_short_for_a_person_and_whole_for_a_program(
        self, board: Board, run: Run, cloud_id: str, short: str
    ) -> None:
        kinds = [deep_kind(cloud_id), f"{deep_kind(cloud_id)}, stores and renames c0ffee"]
        for number, kind in enumerate(kinds):
            board.shards.submit(Shard(job=f"job-{number}", id="1", kind=kind))
        worker = Worker(name="one", kinds=frozenset(kinds))
        with board.workers.present(worker, host="node-1", jobs=1):
            for command, column in (("status", "kind"), ("workers", "kinds")):
                table = run("fleet", command, "--board", URL, "-c", column)
                whole = run("fleet", command, "--board", URL, "-f", "json")
                found = [each for row in whole.json for each in ([row[column]] if column == "kind" else row[column])]
                assert found == kinds
                assert f"audit --deep{short}" in table.out
        codes = re.findall(r"\(([0-9a-f]{4})\)", run("fleet", "status", "--board", URL, "-c", "kind").out)
        assert len(set(codes)) == (0 if cloud_id.startswith("Cinder") else 2)

    def test_an_unknown_job_is_an_error(self, board: Board, run: Run) -> None:
        ran = run("fleet", "status", "none", "--board", URL)
        assert (ran.status, ran.err) == (1, "there is no job none on the board: look at `imagevol fleet status`\n")

    def test_the_workers_that_live_are_listed_with_what_they_hold(self, board: Board, cloud: Glance, run: Run) -> None:
        offer(board, cloud, 1)
        one = Worker(name="one", kinds=frozenset({KIND}))
        two = Worker(name="two", kinds=frozenset({KIND}), backends=frozenset({"host@fast"}))
        assert board.shards.claim(one)
        workers = board.workers = LeasedWorkers(MemoryBoard(), MemoryLocks(), clock=lambda: 0.0)
        with workers.present(one, host="node-1", jobs=4), workers.present(two, host="node-2", jobs=1):
            ran = run("fleet", "workers", "--board", URL, "-f", "json")
            told = run("fleet", "workers", "--board", URL)
        common = {"kinds": [KIND], "last_seen": "1970-01-01T00:00:00+00:00"}
        held = [{"job": "audit-1", "shard": volume_id(1)}]
        assert ran.json == [
            {"worker": "one", "host": "node-1", "jobs": 4, "backends": None, "held": held, **common},
            {"worker": "two", "host": "node-2", "jobs": 1, "backends": ["host@fast"], "held": [], **common},
        ]
        assert f"audit-1: {volume_id(1)}" in told.out
        assert "| all " in told.out
        assert "None" not in told.out


class TestCancelAndRetry:
    def test_a_job_is_cancelled_and_its_command_ends_and_goes_on_later(
        self, board: Board, healthy_cloud: Glance, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Imagevol, "attacher", None)

        def cancel() -> None:
            until = time.monotonic() + SECONDS
            while not (jobs := board.jobs.records()) and time.monotonic() < until:
                time.sleep(0.002)
            board.jobs.cancel(jobs[0].job)

        thread = threading.Thread(target=cancel)
        thread.start()
        command = ("audit", *TRUSTED, "--deep", "--board", URL, "--journal", tmp_path / "journal", "-f", "json")
        ran = run(*command)
        thread.join()
        assert (ran.status, ran.out, board.shards.records()) == (1, "", ())
        assert "was cancelled with `imagevol fleet cancel`: to go on, run its command again, with --resume" in ran.err
        with Fleet(board, healthy_cloud):
            assert run(*command, "--resume").status == 3

    def test_it_says_what_was_done(self, board: Board, cloud: Glance, run: Run) -> None:
        offer(board, cloud, 1, 2)
        ran = run("fleet", "cancel", "audit-1", "--board", URL)
        assert (ran.status, ran.out) == (0, "")
        assert ran.err == "Job audit-1 was cancelled: 2 shards taken off the board.\n"
        offer(board, cloud, 1, 2)
        for _ in range(2):
            claim = board.shards.claim(Worker(name="one", kinds=frozenset({KIND})))
            assert claim is not None
            claim.failed("no")
        ran = run("fleet", "retry", "audit-1", volume_id(2), "--board", URL)
        assert (ran.status, ran.err) == (0, "Job audit-1: 1 shard offered again.\n")
        assert [board.record(volume_id(each)).state for each in (1, 2)] == [ShardState.SET_ASIDE, ShardState.OPEN]
        assert run("fleet", "retry", "audit-1", "--board", URL).err == "Job audit-1: 1 shard offered again.\n"
        assert run("fleet", "retry", "audit-1", "--board", URL).status == 1

    def test_what_cannot_be_read_is_named_by_status_and_workers_and_can_be_taken_away(
        self, board: Board, cloud: Glance, run: Run
    ) -> None:
        offer(board, cloud, 1)
        for each in (board.shards, board.jobs, board.workers):
            each.board.create("zzz\x1b", "junk")
        good = {
            "limit/one%40fast": text_of_limit("one@fast", WorkerLimit(attachments=1)),
            "slots/one%40fast": text_of_holders({"7ad3": "one"}),
            "flow/one%40fast": text_of_flow(Flow(owed_bytes=7, at=1.5), "one-1"),
        }
        junk = {"limit/a": "junk", "limit/b": good["limit/one%40fast"], "slots/a": "[]", "flow/a": "{}", "other": "{}"}
        for key, text in {**good, **junk}.items():
            board.limit_board.create(key, text)
        shown = run("fleet", "status", "--board", URL, "-f", "json")
        assert (shown.status, [each["job"] for each in shown.json]) == (0, ["audit-1"])
        shards, jobs = shown.err.splitlines()
        assert shards.startswith("1 shard record on the board cannot be read and is passed over: zzz\\x1b. ")
        assert jobs.startswith("1 job record on the board cannot be read")
        ran = run("fleet", "cancel", "--unreadable", "--board", URL)
        assert (ran.status, ran.err) == (0, "8 records that cannot be read were taken off the board.\n")
        assert board.limit_board.all() == good
        ran = run("fleet", "status", "--board", URL, "-f", "json")
        assert ([each["job"] for each in ran.json], ran.err) == (["audit-1"], "")

    @pytest.mark.parametrize("arguments", [(), ("audit-1", "--unreadable")])
    def test_either_a_job_is_cancelled_or_what_cannot_be_read(
        self, board: Board, run: Run, arguments: tuple[str, ...]
    ) -> None:
        ran = run("fleet", "cancel", *arguments, "--board", URL)
        assert (ran.status, ran.err, board.urls) == (1, "give either JOB or --unreadable\n", [])
