"""`imagevol validate` on real services: an honest backend is trusted, and a backend that lies is not."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cloud.bringup import running
from tests.cloud.ports import nothing_left
from tests.cloud.record import Cloud
from tests.cloud.settings import Settings
from tests.cloud.test_command_line import IMAGEVOL, CommandLine
from tests.cloud.test_doctor import glance_conf


@pytest.fixture
def imagevol(cloud: Cloud) -> CommandLine:
    return CommandLine(cloud, cloud.clouds_yaml)


@pytest.fixture(autouse=True)
def left(cloud: Cloud) -> Iterator[None]:
    with nothing_left(cloud):
        yield


def ask(imagevol: CommandLine, *arguments: object) -> tuple[int, dict[str, Any]]:
    command = [str(each) for each in (IMAGEVOL, "validate", *arguments, "-f", "json")]
    ran = subprocess.run(command, env=imagevol.environment, capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    return ran.returncode, {row["rule"]: row for row in json.loads(ran.stdout)}


def failed(rows: dict[str, Any]) -> dict[str, str]:
    return {rule: row["text"] for rule, row in rows.items() if row["result"] == "fail"}


def test_an_honest_store_is_trusted_with_all(imagevol: CommandLine) -> None:
    begun = time.monotonic()
    status, rows = ask(imagevol, "slow", "--config-file", glance_conf(imagevol.cloud))
    assert failed(rows) == {}
    assert status == 0
    assert {rule for rule, row in rows.items() if row["result"] == "skipped"} <= {
        *("attached-together", "setting-multiattach", "on-the-backend")
    }
    assert time.monotonic() - begun < 300


def test_a_backend_is_tried_by_its_name(imagevol: CommandLine) -> None:
    status, rows = ask(imagevol, "fast", "--no-suites", "--clones", 2)
    assert (status, failed(rows)) == (0, {})
    assert "@fast#" in rows["on-the-backend"]["text"]


def test_ctrl_c_leaves_nothing(imagevol: CommandLine) -> None:
    command = [str(IMAGEVOL), "validate", "fast"]
    running = subprocess.Popen(
        command, env=imagevol.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    time.sleep(8)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=120)
    assert (running.returncode, out) == (130, "")
    assert "interrupted" in err


@pytest.fixture(scope="module")
def lying(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud of which each backend has a driver that lies."""
    request.getfixturevalue("able_machine")
    drivers = {"fast": "OldDataDriver", "slow": "EmptyCloneDriver"}
    lies = {name: {"volume_driver": f"tests.cloud.lying_drivers.{driver}"} for name, driver in drivers.items()}
    settings = Settings(overrides={"cinder/cinder.conf": lies})
    with running(tmp_path_factory.mktemp("lying"), settings, keep_logs=True) as cloud:
        yield cloud


@pytest.mark.parametrize(
    "backend, found",
    [
        ("fast", {"fresh-zeros", "extend-zeros"}),
        ("slow", {"clone-same", "clone-attached", "clone-count", "clone-outlives"}),
    ],
)
def test_a_backend_that_lies_is_found_out(lying: Cloud, backend: str, found: set[str]) -> None:
    with nothing_left(lying):
        status, rows = ask(CommandLine(lying, lying.clouds_yaml), backend, "--no-suites", "--clones", 2)
    assert (status, set(failed(rows))) == (3, found)
    assert rows["setting-thin" if backend == "fast" else "setting-templates"]["result"] == "warn"
    assert rows["setting-templates" if backend == "fast" else "setting-thin"]["result"] == "ok"
