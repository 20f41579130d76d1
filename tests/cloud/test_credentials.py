"""No password and no token of a command is seen anywhere, with `--debug -vv` and however the command ends.

Looked at are what it prints and writes, its arguments and those of what it starts, what that finds in its environment,
and the logs of the services.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.cloud.ports import PATIENCE_SECONDS, inventory, nothing_left
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.restarting import without
from tests.cloud.test_command_line import IMAGEVOL, passwords

TOKEN = re.compile(r"gAAAA[\w-]{20,}")  # of Keystone
WRONG = "a-wrong-password-that-nobody-may-see"


@attrs.define
class Seen:
    """What was seen of a command: texts by where they were."""

    cloud: Cloud
    texts: dict[str, str] = attrs.field(factory=dict)

    def secrets(self) -> list[str]:
        """Where a password or a token was seen."""
        known = [*passwords(self.cloud), WRONG]
        return [
            where for where, text in self.texts.items() if TOKEN.search(text) or any(each in text for each in known)
        ]

    def run(self, *arguments: object, password: str | None = None, kill_when: Any = None) -> int:
        """Run a command with credentials in its environment, watch it, and give its status."""
        auth = json.loads(self.cloud.clouds_yaml.read_text())["clouds"]["service"]["auth"]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        given = {f"OS_{name.upper()}": value for name, value in auth.items()} | {"OS_REGION_NAME": "RegionOne"}
        if password is not None:
            given["OS_PASSWORD"] = password
        command = [str(IMAGEVOL), "--debug", "-v", "-v", *map(str, arguments)]  # so that libraries are heard too
        with (
            subprocess.Popen(
                command, env=kept | given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as process,
            self.watched(process.pid),
        ):
            if kill_when is not None:
                for _ in ticks(PATIENCE_SECONDS):
                    if kill_when() or process.poll() is not None:
                        process.send_signal(signal.SIGKILL)
                        break
            out, err = process.communicate()
        words = " ".join(map(str, arguments))
        self.texts |= {f"the output of {words}": out, f"what {words} says": err}
        return process.returncode

    @contextmanager
    def watched(self, pid: int) -> Iterator[None]:
        """Look at the arguments of a process and of what it starts, and at the environment of the latter."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.01):
                for each in descendants(pid):
                    with suppress(OSError):
                        command, environment = (
                            Path(f"/proc/{each}/{what}").read_text(errors="replace") for what in ("cmdline", "environ")
                        )
                        self.texts[f"cmdline {command!r}"] = command
                        if str(IMAGEVOL) not in command:  # or it is the command itself, or not its program yet
                            self.texts[f"environment of {command!r}"] = environment

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def files(self, directory: Path) -> None:
        """Look at what was written into a directory."""
        for path in directory.rglob("*"):
            if path.is_file() and path.stat().st_size < 1 << 24:
                self.texts[f"file {path.name}"] = path.read_text(errors="replace")


def descendants(pid: int) -> list[int]:
    """A process, and all that it and what it started have started."""
    parents: dict[int, int] = {}
    for each in Path("/proc").iterdir():
        if each.name.isdecimal():
            with suppress(OSError, ValueError, IndexError):
                parents[int(each.name)] = int((each / "stat").read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for known in found:
        found += [child for child, parent in parents.items() if parent == known]
    return found


@pytest.fixture
def seen(imagevol_cloud: Cloud) -> Iterator[Seen]:
    with nothing_left(imagevol_cloud):
        yield Seen(imagevol_cloud)


def test_no_secret_is_seen_of_any_command(seen: Seen, tmp_path: Path) -> None:
    file, journal, cloud = tmp_path / "disk.raw", tmp_path / "put.journal", seen.cloud
    file.write_bytes(b"data" * (1 << 20))
    assert seen.run("put", file, "--journal", journal, "-f", "json") == 0
    (volume_id,) = {json.loads(text)["volume_id"] for where, text in seen.texts.items() if "output of put" in where}
    assert seen.run("get", volume_id, tmp_path / "back") == 0
    assert seen.run("explain", "--all", "--html", tmp_path / "page.html", "--size", "1") in (0, 1, 2)
    assert seen.run("audit", "-f", "json", "--metrics", tmp_path / "imagevol.prom") in (0, 1, 3)
    assert seen.run("locations", "plan") in (0, 1)
    assert seen.run("doctor") in (0, 1, 3)
    assert seen.run("get", volume_id, tmp_path / "more", password=WRONG) == 1
    assert seen.run("get", "5f0a4ee8-6a4b-4c68-9c2e-6f8a2b1d3c47", tmp_path / "more") == 1
    assert seen.run("rm", volume_id) == 0
    seen.files(tmp_path)
    seen.files(cloud.directory / "log")
    assert len([where for where in seen.texts if where.startswith("cmdline")]) > 5
    assert seen.secrets() == []


def test_no_secret_is_seen_of_a_command_that_is_killed_or_loses_its_services(seen: Seen, tmp_path: Path) -> None:
    cloud = seen.cloud
    file = tmp_path / "disk.raw"
    file.write_bytes(b"data")
    before = inventory(cloud)
    large = tmp_path / "large.raw"
    with large.open("wb") as sparse:
        sparse.truncate(8 << 30)
    killed = tmp_path / "killed.journal"

    def attached() -> bool:
        return any("attachment" in each for each in inventory(cloud) - before)

    status = seen.run("put", large, "--journal", killed, kill_when=attached)
    assert status in (0, -signal.SIGKILL)
    assert seen.run("put", large, "--journal", killed, "--resume") in (0, 1)
    for service in ("cinder", "glance"):
        with without(cloud, service):
            assert seen.run("--timeout", "2", "put", file, "--register", "disk") == 1
    for each in inventory(cloud):
        if each.startswith("volume") and each not in before:
            seen.run("rm", each.split()[-1])
    seen.files(tmp_path)
    seen.files(cloud.directory / "log")
    assert seen.secrets() == []
