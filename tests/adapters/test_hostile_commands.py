"""Whatever is typed, a command answers or refuses, soon and in a few printable lines: it never fails in another way."""

from __future__ import annotations

import io
import os
import resource
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagevol_adapters import doctoring
from imagevol_adapters.cinder import whole_cloud
from imagevol_adapters.cli import main
from imagevol_adapters.cli.app import Imagevol
from imagevol_core import DeviceFailed, ImagevolError, InvalidMetadata
from tests.adapters.commands import logging_as_before
from tests.adapters.history import MemoryHistory
from tests.adapters.hostile_commands import Place, Whole, services, typed
from tests.adapters.test_templates_commands import INTERNAL
from tests.core.hostile import OTHER_ID

COMMANDS = {each.name: each for each in entry_points(group="imagevol.commands")}
SECONDS = 60  # in which a command ends on any machine; most take a fiftieth of a second
MEMORY_BYTES = 4 << 30  # more than the process has; a file without an end does not fit
STATUSES = (0, 1, 2, 3)
CLIFFS_OWN = "No recognized column names"  # of its option --column

pytestmark = pytest.mark.usefixtures("no_cloud")


@pytest.fixture(autouse=True)
def in_bounds() -> Iterator[None]:
    """What hangs or takes all memory ends the test."""

    def hangs(*_: object) -> None:
        raise TimeoutError(f"it has not ended after {SECONDS} s")

    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES, limits[1]))
    before = signal.signal(signal.SIGALRM, hangs)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.fixture
def errors(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What commands have ended with."""
    seen: list[BaseException] = []

    def keep(_app: Imagevol, _command: object, _status: int, error: BaseException | None) -> None:
        if error is not None:
            seen.append(error)

    monkeypatch.setattr(Imagevol, "clean_up", keep)
    monkeypatch.setattr(whole_cloud, "WholeCinder", Whole)
    monkeypatch.setattr(doctoring, "digest_rates", partial(doctoring.digest_rates, seconds=0))
    monkeypatch.setattr(Imagevol, "cloud_id", lambda _: "a-cloud")
    monkeypatch.setattr(MemoryHistory, "default_volume_type", lambda _: "ssd", raising=False)
    return seen


@contextmanager
def somewhere() -> Iterator[Path]:
    """A directory that is removed, in which everything is read and written."""
    before = Path.cwd()
    with TemporaryDirectory(prefix="imagevol-test-") as directory:
        os.chdir(directory)
        try:
            yield Path(directory)
        finally:
            os.chdir(before)


def run(words: list[str], given: Mapping[str, object], errors: list[BaseException]) -> int:
    """Run a command on these services, hold what holds of every run, and give its status."""
    errors.clear()
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        for attribute, service in given.items():
            patch.setattr(Imagevol, attribute, service)
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"data")))
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        with logging_as_before(), redirect_stdout(out), redirect_stderr(err):
            try:
                status = main(words)
            except SystemExit as end:  # argparse
                status = int(end.code or 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    said = err.getvalue()
    assert status in STATUSES
    assert [each for each in errors if not isinstance(each, ImagevolError) and CLIFFS_OWN not in str(each)] == []
    assert "Traceback" not in said
    if status != 2:  # what argparse says of words, it says as they are
        assert all(map(str.isprintable, said.expandtabs().split("\n")))
    return status


@pytest.mark.parametrize("name", sorted(COMMANDS))
@settings(
    max_examples=max(1, settings().max_examples // 4),
    derandomize=settings().max_examples <= 100,  # new ones are for the session `sweep` to find
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32))
def test_a_command_answers_or_refuses(errors: list[BaseException], name: str, seed: int) -> None:
    random, words = Random(seed), name.split("_")
    with somewhere() as directory:
        given, ids = services(words[0], random)
        parser = COMMANDS[name].load()(Imagevol([]), None).get_parser("imagevol")
        run([*words, *typed(parser, Place.made(directory), random, ids)], given, errors)


ODD_FILES = ("fifo", "loop", "a\0b", "n" * 300, "/dev/zero", "/proc/version", "/proc/self/mem", "none/file", "")


@pytest.mark.parametrize("file", ODD_FILES, ids=lambda file: ascii(file)[:20])
@pytest.mark.parametrize(
    "command",
    [
        "put {file}",
        "put disk.raw --checksum-file {file}",
        "stores check --config-file {file}",
        "stores upgrade-config {file} --name cinder=fast --default fast",
        "locations plan --config-file {file}",
        "locations apply --config-file glance.conf --journal {file} --resume",
        "locations undo --config-file glance.conf --journal {file}",
    ],
)
def test_a_path_that_is_no_file_is_refused(errors: list[BaseException], command: str, file: str) -> None:
    words = [word.format(file=file) for word in command.split()]
    with somewhere() as directory:
        Place.made(directory)
        assert run(words, services(words[0], Random(0))[0], errors) == 1
    assert errors


@pytest.mark.parametrize("file", [name for name in ODD_FILES if name])
def test_a_file_that_cannot_be_made_is_refused(errors: list[BaseException], file: str) -> None:
    with somewhere() as directory:
        Place.made(directory)
        for words in (
            ["locations", "apply", "--config-file", "glance.conf", "--yes", "--journal", file],
            ["get", OTHER_ID, file],
        ):
            assert run(words, services(words[0], Random(0))[0], errors) == 1


def test_a_record_of_more_bytes_than_its_volume_has_is_refused(errors: list[BaseException]) -> None:
    given, _ = services("get", Random(0))
    odd = [each.id for each in given["volumes"].volumes.values() if len(each.metadata.get("image_size", "")) > 10]
    assert len(odd) == 2
    with somewhere() as directory:
        for volume_id in odd:
            assert run(["get", volume_id, "new"], given, errors) == 1
            assert isinstance(errors[0], DeviceFailed | InvalidMetadata)
            assert len(str(errors[0])) < 1000
        assert list(directory.iterdir()) == []


@pytest.mark.parametrize("minutes", ["0", str(2**64), "9" * 4000])
def test_any_number_of_minutes_can_be_idle(errors: list[BaseException], minutes: str) -> None:
    words = ["templates", "prune", "--internal-tenant", INTERNAL, "--yes", "--idle-minutes", minutes]
    assert run(words, services("templates", Random(0))[0], errors) == 0


@pytest.mark.parametrize("file", ["fifo", "/dev/zero", "endless"])
def test_a_cinder_configuration_that_never_ends_says_nothing(errors: list[BaseException], file: str) -> None:
    words = ["templates", "list", "--internal-tenant", INTERNAL, "--config-file", file]
    with somewhere() as directory:
        Place.made(directory)
        assert run(words, services("templates", Random(0))[0], errors) in (0, 1)
