"""What a command made is named, whatever becomes of its standard output; an output that takes nothing is noticed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from contextlib import ExitStack
from errno import ENOSPC
from pathlib import Path
from typing import Any, TextIO

import pytest

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.output import flushed
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryImages, MemoryVolumes
from tests.adapters.commands import Run

pytestmark = pytest.mark.usefixtures("no_cloud")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> MemoryVolumes:
    """The application's services, in memory."""
    volumes = MemoryVolumes(project_id="p", host="node@fast#one", volume_types={"fast": False})
    monkeypatch.setattr(Imagevol, "volumes", volumes)
    monkeypatch.setattr(Imagevol, "images", MemoryImages(volumes=volumes, project_id="p", stores=("fast",)))
    monkeypatch.setattr(Imagevol, "attacher", MemoryAttacher(volumes=volumes))
    monkeypatch.setattr(Imagevol, "project_id", "p")
    return volumes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(b"data" * 1024)
    return path


def full(_: Path) -> TextIO:
    return Path("/dev/full").open("w")


def closed(directory: Path) -> TextIO:
    file = (directory / "out").open("w")
    file.close()
    return file


def read_only(_: Path) -> TextIO:
    return os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")


def not_writable(_: Path) -> TextIO:
    return Path(os.devnull).open()


def unread(_: Path) -> TextIO:
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


@pytest.mark.parametrize("output", [full, closed, read_only, not_writable, unread])
@pytest.mark.parametrize("more", [(), ("--register", "disk", "--store", "fast")])
def test_nothing_is_made_if_its_name_could_not_be_shown(
    run: Run,
    memory: MemoryVolumes,
    file: Path,
    tmp_path: Path,
    output: Callable[[Path], TextIO],
    more: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with output(tmp_path) if output is not closed else ExitStack():
        monkeypatch.setattr(sys, "stdout", output(tmp_path))
        ran = run("put", file, *more)
    assert (ran.status, memory.volumes, memory.images.images) == (1, {}, {})  # type: ignore[union-attr]
    (line,) = ran.err.splitlines()
    assert line.startswith("the standard output cannot be written: ")
    assert "redirect it" in line


class Lost(io.StringIO):
    """An output that is full by the time that something is to be shown."""

    def write(self, _: str) -> int:
        raise OSError(ENOSPC, os.strerror(ENOSPC))


class LostInTheBuffer(io.StringIO):
    """An output of which that shows only when it is flushed."""

    def flush(self) -> None:
        raise OSError(ENOSPC, os.strerror(ENOSPC))


@pytest.mark.parametrize("output", [Lost, LostInTheBuffer])
@pytest.mark.parametrize("shape", [(), ("-f", "json"), ("-f", "value", "-c", "size_bytes")])
def test_what_was_made_is_named_on_the_standard_error_if_the_output_is_lost(
    run: Run,
    memory: MemoryVolumes,
    file: Path,
    output: type[io.StringIO],
    shape: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", output())
    ran = run("put", file, *shape)
    (volume,) = memory.volumes.values()
    assert ran.status == 1
    assert volume.id in ran.err
    assert volume.metadata["image_id"] in ran.err
    assert ran.err.splitlines()[-1].startswith("the standard output cannot be written: No space left on device. ")


def test_on_a_terminal_the_volume_is_named_before_it_is_written(
    run: Run, memory: MemoryVolumes, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, written = Terminal(), []

    class Watched(MemoryAttacher):
        def open(self, *arguments: Any, **options: Any) -> Any:
            written.append(terminal.getvalue())
            return super().open(*arguments, **options)

    monkeypatch.setattr(Imagevol, "attacher", Watched(volumes=memory))
    monkeypatch.setattr(sys, "stderr", terminal)
    assert run("put", file).status == 0
    assert next(iter(memory.volumes)) in written[0]


def test_an_output_that_the_pager_of_the_help_has_closed_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It closes the output if its reader, such as `head`, has gone."""
    closed = io.TextIOWrapper(io.BytesIO())
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    assert [flushed(status) for status in (0, 3)] == [0, 3]
    assert capsys.readouterr().err == ""


class TestProcess:
    """The shell's own ways to lose an output."""

    @pytest.fixture
    def shell(self) -> Callable[[str], subprocess.CompletedProcess[str]]:
        command = Path(sysconfig.get_path("scripts")) / "imagevol"

        def run(text: str) -> subprocess.CompletedProcess[str]:
            script = text.replace("imagevol", str(command))
            return subprocess.run(["sh", "-c", script], check=False, capture_output=True, text=True)

        return run

    def test_an_output_that_is_full_is_an_error_of_one_line(
        self, shell: Callable[[str], subprocess.CompletedProcess[str]]
    ) -> None:
        ran = shell("imagevol --help >/dev/full")
        assert (ran.returncode, len(ran.stderr.splitlines())) == (1, 1), ran.stderr

    @pytest.mark.parametrize("redirection", [">&-", "1</dev/null", "<&- >&-"])
    def test_an_output_that_is_closed_is_an_error_of_one_line(
        self, shell: Callable[[str], subprocess.CompletedProcess[str]], redirection: str
    ) -> None:
        ran = shell(f"imagevol put - {redirection}")
        assert (ran.returncode, len(ran.stderr.splitlines())) == (1, 1), ran.stderr
        assert "standard output" in ran.stderr

    def test_a_reader_that_closes_the_pipe_early_causes_no_error(
        self, shell: Callable[[str], subprocess.CompletedProcess[str]]
    ) -> None:
        ran = shell("(sleep 0.3; imagevol --help; echo $? >&2) | true")  # whose end of the pipe is closed by then
        assert ran.stderr == "0\n"

    def test_a_closed_standard_error_takes_nothing_from_the_output(
        self, shell: Callable[[str], subprocess.CompletedProcess[str]]
    ) -> None:
        ran = shell("imagevol put /no/such/file 2>&-")
        assert (ran.returncode, ran.stdout) == (1, "")
