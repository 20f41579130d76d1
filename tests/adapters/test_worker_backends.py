"""The backends of `imagevol fleet work`, as the files of `imagevol doctor --measure --rates` name them."""

from __future__ import annotations

import argparse
import json
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.worker_backends import add_worker_backends, worker_backends
from imagevol_core import Rates, Volume
from imagevol_core.sharding import Worker
from tests.adapters import test_doctor, test_fleet_commands
from tests.adapters.commands import Run
from tests.adapters.serving import URL, Board
from tests.adapters.test_audit_command import Glance
from tests.adapters.test_doctor import Volumes

pytestmark = pytest.mark.usefixtures("no_cloud")
board, cloud, cinder = test_fleet_commands.board, test_fleet_commands.cloud, test_doctor.cinder

TRY_IT = "run `imagevol doctor --measure --rates` on this host"
NO_BACKENDS = ("", "#", "fast", "@fast", "one@", "one@#pool", "one@fa\nst", "one@\ud800", "one@" + "f" * 5000)
MEASURED = Rates(host=socket.gethostname(), backend="one@fast#pool", attach_seconds=2.5).as_dict()


def backends(*arguments: object) -> frozenset[str] | None:
    """Give the backends of a worker with such arguments."""
    add_worker_backends(parser := argparse.ArgumentParser())
    return worker_backends(parser.parse_args(list(map(str, arguments))))


def measure(run: Run, file: Path) -> Any:
    """Try a volume on this host."""
    return run("doctor", "--measure", "--rates", file, "--conversion-space", 0, "-f", "json")


class TestWork:
    COMMAND = ("fleet", "work", "--board", URL)

    @pytest.fixture(autouse=True)
    def workers(self, board: Board, cloud: Glance, monkeypatch: pytest.MonkeyPatch) -> list[Worker]:
        """Give the workers that would have served."""
        workers: list[Worker] = []

        def serve(*_: object, worker: Worker, **__: object) -> int:
            workers.append(worker)
            return 0

        monkeypatch.setattr(Imagevol, "attacher", None)
        monkeypatch.setattr("imagevol_adapters.fleet.serve", serve, raising=False)
        return workers

    def test_the_backends_of_files_are_taken_beside_those_that_are_named(
        self, run: Run, tmp_path: Path, workers: list[Worker]
    ) -> None:
        (first := tmp_path / "1.json").write_text(json.dumps(MEASURED))
        (second := tmp_path / "2.json").write_text(json.dumps(MEASURED | {"backend": "two@slow"}))
        assert run(*self.COMMAND, "--backend-from", first, "--backend-from", second).status == 0
        assert run(*self.COMMAND, "--backend-from", first, "--backend", "three@fast").status == 0
        assert run(*self.COMMAND).status == 0
        assert [each.backends for each in workers] == [{"one@fast", "two@slow"}, {"one@fast", "three@fast"}, None]

    @pytest.mark.parametrize(
        "written, told",
        [
            ("", "is not JSON: write it with `imagevol doctor --rates`"),
            ("[" * 100_000, "is not JSON"),
            ("[]", "rates: it is not an object"),
            (json.dumps(MEASURED | {"host": None}), "rates: it has no host"),
            (json.dumps(MEASURED | {"backend": ["one@fast"]}), "rates, backend: it is not a string"),
            (
                json.dumps(MEASURED | {"host": "another\x1b"}),
                f"it was measured on host another\\x1b, and this is {socket.gethostname()}: {TRY_IT}",
            ),
            (json.dumps(MEASURED | {"host": "h" * 5000}), "it was measured on host hhh"),
            (json.dumps(MEASURED | {"attach_seconds": None}), "no volume was attached for it: run `imagevol doctor"),
            (json.dumps(MEASURED | {"backend": None}), "it names no backend, because only administrators see it: run"),
            *(
                (json.dumps(MEASURED | {"backend": name}), "is no backend: run `imagevol doctor")
                for name in NO_BACKENDS
            ),
        ],
    )
    def test_a_file_that_does_not_say_it_of_this_host_is_refused_in_a_line_that_says_why(
        self, board: Board, run: Run, tmp_path: Path, workers: list[Worker], written: str, told: str
    ) -> None:
        (file := tmp_path / "rates.json").write_text(written)
        ran = run(*self.COMMAND, "--backend", "one@fast", "--backend-from", file)
        assert (ran.status, ran.out, ran.err.count("\n"), board.urls, workers) == (1, "", 1, [], [])
        assert ran.err.startswith(f"--backend-from: {file}")
        assert told in ran.err
        assert len(ran.err) < 1000

    def test_a_file_that_cannot_be_read_is_refused(self, run: Run, tmp_path: Path, workers: list[Worker]) -> None:
        os.mkfifo(tmp_path / "fifo")
        for name in ("fifo", "none", "n" * 300):
            ran = run(*self.COMMAND, "--backend-from", tmp_path / name)
            assert (ran.status, ran.out, ran.err.count("\n"), workers) == (1, "", 1, [])
            assert ran.err.startswith(f"--backend-from: {tmp_path / name} cannot be read: ")

    def test_it_is_refused_where_no_volume_is_read(self, run: Run, tmp_path: Path, workers: list[Worker]) -> None:
        (file := tmp_path / "rates.json").write_text(json.dumps(MEASURED))
        ran = run(*self.COMMAND, "--take", "templates", "--internal-tenant", "p:u", "--backend-from", file)
        assert (ran.status, ran.out, workers) == (1, "", [])
        assert ran.err == "--backend-from is for --take audit: pass that too, or leave --backend-from out\n"


class TestDoctor:
    def test_a_worker_takes_the_backend_of_the_volume_that_was_attached(
        self, cinder: Volumes, run: Run, tmp_path: Path
    ) -> None:
        ran = measure(run, file := tmp_path / "rates.json")
        assert (ran.status, ran.err) == (0, "")
        assert backends("--backend-from", file) == frozenset({cinder.host.partition("#")[0]})

    def test_credentials_that_do_not_see_the_backend_are_told_that_the_file_names_none(
        self, cinder: Volumes, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wait = Volumes.wait

        def without_host(self: Volumes, *asked: Any, **more: Any) -> Volume:
            return replace(wait(self, *asked, **more), host=None)

        monkeypatch.setattr(Volumes, "wait", without_host)
        ran = measure(run, file := tmp_path / "rates.json")
        assert ran.status == 0
        assert ran.err == f"{file} names no backend: Cinder shows it only to credentials with the admin role.\n"
        assert json.loads(file.read_text())["backend"] is None
        assert run("doctor", "--rates", tmp_path / "digests.json", "--conversion-space", 0, "-f", "json").err == ""
