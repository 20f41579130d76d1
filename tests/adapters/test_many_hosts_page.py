"""The page "Run it on many hosts" does what it says, on a real Redis and for a cloud in memory; its blocks in order."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sybil import Document, Example
from sybil.parsers.markdown import CodeBlockParser

from imagevol_adapters.attaching_records import LOCK_PATH
from imagevol_adapters.cli.fleet_work import Work
from imagevol_adapters.coordination.services import SERVICES
from imagevol_adapters.fleet.boards import _BOARDS
from imagevol_adapters.processes import _MACHINE_ID
from tests.cloud.processes import CHECKOUT
from tests.coordination.cloud_in_memory import VOLUMES
from tests.coordination.services import PASSWORD, SECONDS, Service, running
from tests.docs.test_snippets import ROOT, run_console

PAGE = ROOT / "docs/howto/run-on-many-hosts.md"
MINE = '<!--- skip: next "tests/adapters/test_many_hosts_page.py runs it" -->\n'
URL = "redis://127.0.0.1:6379"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    (tmp_path / "service").mkdir()
    with running("redis", tmp_path / "service") as service:
        yield service


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with the password, in which `imagevol` is the command for a cloud in memory."""
    here, programs = tmp_path / "here", tmp_path / "programs"
    here.mkdir()
    programs.mkdir()
    (here / "board-password").write_text(f"{PASSWORD}\n")
    program = programs / "imagevol"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tests.coordination.cloud_in_memory "$@"\n')
    program.chmod(0o755)
    monkeypatch.chdir(here)
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    monkeypatch.setenv("PROGRAMS", str(programs))
    yield here
    for file in here.glob("*.pid"):
        with suppress(ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIGKILL)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 2 * SECONDS
    while not condition():
        assert time.monotonic() < end, {each.name: each.read_text() for each in Path().glob("*.log")}
        time.sleep(0.05)


def said(name: str, text: str) -> Callable[[], bool]:
    return lambda: text in Path(name).read_text()


def ended(name: str) -> bool:
    """Whether a worker has ended; one that no process waits for is left as a zombie."""
    stat = Path(f"/proc/{Path(name).read_text().strip()}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize("path", [LOCK_PATH, _MACHINE_ID])
def test_a_worker_in_a_container_has_what_the_programs_of_a_host_know_each_other_by(path: Path) -> None:
    (command,) = re.findall(r"^# podman run (?:.*\\\n)+", PAGE.read_text(), re.MULTILINE)
    volumes = [volume.split(":")[:2] for volume in re.findall(r"--volume (\S+)", command)]
    assert [str(path), str(path)] in volumes


def test_every_command_of_the_page_does_what_the_page_says(service: Service, here: Path) -> None:
    address = service.url.replace(f":{PASSWORD}@", "")

    def run(example: Example) -> str | None:
        example.parsed = example.parsed.replace("imagevol ", '"$PROGRAMS"/imagevol ').replace(URL, f"'{address}'")
        return run_console(example)

    def is_running() -> bool:
        """Whether a job is known, and a worker has a volume of it."""
        program = [str(here.parent / "programs" / "imagevol"), "fleet", "status", "--board", address]
        jobs = json.loads(subprocess.check_output([*program, "--board-password-file", "board-password", "-f", "json"]))
        return any(each["state"] == "running" and each["held"] for each in jobs)

    def go_on() -> None:
        Path("go").touch()
        until(said("audit.log", "image volumes read"))

    waits: list[Callable[[], object]] = [
        lambda: until(lambda: all(said(f"worker-{number}.log", "waits for work")() for number in (1, 2))),
        lambda: None,
        lambda: until(is_running),
        lambda: None,
        go_on,
        lambda: Path("go").unlink(),
        lambda: until(is_running),
        lambda: until(said("second.log", "was cancelled")),
        lambda: until(said("worker-2.log", "ended. It took")),
    ]
    page = Document.parse(str(PAGE), CodeBlockParser("console", run))
    mine = [each for each in page if page.text[: each.start].endswith(MINE)]
    assert len(mine) == page.text.count(MINE) == len(waits)
    for example, wait in zip(mine, waits, strict=True):
        example.evaluate()
        wait()
    until(lambda: ended("worker-2.pid"))
    read = [line for line in Path("deep.journal").read_text().splitlines() if '"volume"' in line]
    assert len(read) == VOLUMES
    assert PASSWORD not in "".join(each.read_text() for each in here.iterdir() if each.name != "board-password")


def test_a_redis_that_was_restarted_empty_has_the_job_and_the_worker_again_and_nobody_logs_a_traceback(
    service: Service, here: Path
) -> None:
    board = ["--board", service.url.replace(f":{PASSWORD}@", ""), "--board-password-file", "board-password"]
    program = str(here.parent / "programs" / "imagevol")

    def asked(*command: str) -> Any:
        return json.loads(subprocess.check_output([program, "fleet", *command, *board, "-f", "json"]))

    def is_running() -> bool:
        """Whether the job is fed and the worker is listed; what it reads it has lost, if the service forgot it."""
        return [each["state"] for each in asked("status")] == ["running"] and len(asked("workers")) == 1

    with Path("feeder.log").open("w") as feeder_log, Path("worker.log").open("w") as worker_log:
        journal = ["--journal", "restarted.journal", "-f", "json"]
        feeder = subprocess.Popen([program, "audit", "--deep", *board, *journal], stderr=feeder_log)
        worker = subprocess.Popen([program, "fleet", "work", *board], stderr=worker_log)
    try:
        until(is_running)
        (job,) = [each["job"] for each in asked("status")]
        service.stop()
        service.start()
        until(is_running)
        subprocess.run([program, "fleet", "cancel", job, *board], check=True)
        assert feeder.wait(2 * SECONDS) == 1
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(2 * SECONDS) == 0
    finally:
        for process in (feeder, worker):
            process.kill()
            process.wait()
    assert Path("feeder.log").read_text().splitlines()[-1].startswith(f"job {job} was cancelled with")
    logs = [Path(name).read_text() for name in ("feeder.log", "worker.log")]
    assert [log for log in logs if "Traceback" in log or "tooz" in log] == []


def test_the_workers_of_the_examples_are_started_with_options_that_there_are() -> None:
    page = PAGE.read_text().replace("\\\n", " ")
    started = re.findall(r"imagevol fleet work (--board .*?)(?: >.*)?$", page, re.MULTILINE)
    parsed = [Work(None, None).get_parser("imagevol").parse_args(shlex.split(each)) for each in started]  # type: ignore[arg-type]
    assert [each.jobs for each in parsed] == [2, 2, 8, 8, 4, 4, 4]


@pytest.mark.parametrize("page", [PAGE, ROOT / "docs/production/install.md"], ids=lambda page: page.stem)
def test_the_page_says_how_the_client_of_each_board_is_installed(page: Path) -> None:
    """No extra of this library brings it."""
    clients = {SERVICES[scheme].brings for scheme in _BOARDS}
    assert clients == {"redis", "etcd3gw"}
    assert all(f'pip install "tooz[{client}]"' in page.read_text() for client in clients)
