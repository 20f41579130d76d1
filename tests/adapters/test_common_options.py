"""What every command has in common: its exit statuses, its formats, its progress, and how it ends."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distribution
from typing import Any

import pytest
from cliff.lister import Lister

from imagevol_adapters.cli import progress
from imagevol_adapters.cli.audit import _COLUMNS as AUDIT_COLUMNS
from imagevol_adapters.cli.audit import Audit
from imagevol_adapters.cli.cp import Cp
from imagevol_adapters.cli.fitted import fitting
from imagevol_adapters.cli.grouped_help import GROUPS
from imagevol_adapters.cli.progress import Progress, begin, counted, moved, phase
from imagevol_adapters.engine import TransferProgress
from imagevol_core import RequestRefused
from tests.adapters.commands import Run

pytestmark = pytest.mark.usefixtures("no_cloud")

COMMANDS = {
    each.name.replace("_", " "): each
    for each in distribution("imagevol").entry_points.select(group="imagevol.commands")
}
# What each command needs so that it is run at all.
LEAST: dict[str, tuple[str, ...]] = {
    "audit": (),
    "cp": ("image", "--to-store", "slow"),
    "doctor": (),
    "explain": ("image", "--size", "1"),
    "explain-upload": ("volume",),
    "fleet cancel": ("job", "--board", "redis://host"),
    "fleet retry": ("job", "--board", "redis://host"),
    "fleet status": ("--board", "redis://host"),
    "fleet work": ("--board", "redis://host"),
    "fleet workers": ("--board", "redis://host"),
    "get": ("volume", "file"),
    "locations apply": ("--journal", "j"),
    "locations plan": (),
    "locations undo": ("--journal", "j"),
    "put": ("file",),
    "report": ("--html", "file"),
    "rm": ("volume",),
    "stores check": (),
    "stores upgrade-config": ("new",),
    "templates list": (),
    "templates prune": (),
    "templates warm": ("image",),
    "unfinished": (),
    "validate": ("fast",),
}


def raising(error: BaseException) -> Callable[..., Any]:
    def act(*_: Any, **__: Any) -> Any:
        raise error

    return act


@pytest.mark.parametrize("command", COMMANDS)
class TestExitStatus:
    def test_an_unknown_option_is_a_wrong_usage(self, command: str, run: Run) -> None:
        ran = run(*command.split(), *LEAST.get(command, ()), "--nonsense")
        assert (ran.status, ran.out) == (2, "")

    def test_an_error_is_one_line(self, command: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(COMMANDS[command].load(), "take_action", raising(RequestRefused("it is refused")))
        assert run(*command.split(), *LEAST[command]) == type(run("--version"))(1, "", "it is refused\n")

    def test_an_interrupt_is_told_with_what_is_left(
        self, command: str, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        interrupt = KeyboardInterrupt()
        interrupt.add_note("left behind: volume 7ad3")
        monkeypatch.setattr(COMMANDS[command].load(), "take_action", raising(interrupt))
        ran = run(*command.split(), *LEAST[command])
        assert (ran.status, ran.out, ran.err) == (130, "", "interrupted\nleft behind: volume 7ad3\n")


def test_the_help_shows_each_command_once_in_a_group_with_a_title(run: Run) -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted([*COMMANDS, "help", "complete"])
    _, _, shown = run("--help").out.partition("\nCommands:\n")
    first = [line.split("  ")[1] for line in shown.splitlines() if re.match(r"  \S", line)]
    assert first == [name for names in GROUPS.values() for name in names]
    assert [line[:-1] for line in shown.splitlines() if re.match(r"\S", line)] == list(GROUPS)
    assert "Other commands" not in shown


def test_the_help_is_folded_to_the_width_of_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in (70, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = run("--help").out.partition("\nCommands:\n")[2].splitlines()
        assert columns - 20 < max(map(len, lines)) <= columns


def widest_table(command: type[Any]) -> tuple[str, ...]:
    """The columns of a command that lists something."""
    if command is Audit:
        return ("change", *AUDIT_COLUMNS)
    shown: Any = command
    return tuple(shown.names()) if issubclass(command, Lister) else ()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_table_of_a_command_fits_a_terminal_of_80_columns(command: str) -> None:
    found = COMMANDS[command].load()
    names = widest_table(found)
    assert set(getattr(found, "matters_less", ())) <= {*names, "image_name", "volume_type"}
    kept = fitting(names, matters_less=getattr(found, "matters_less", ()), width=80)
    assert 1 + sum(max(8, len(name)) + 3 for name in kept) <= 80
    assert kept[-1:] == names[-1:] or found is Audit


TERMINAL = """
import fcntl, os, pty, struct, sys, termios

child, screen = pty.fork()
if child == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, int(sys.argv[1]), 0, 0))
    from cliff.lister import Lister
    from imagevol_adapters.cli import main
    from imagevol_adapters.cli.cp import Cp

    row = [f"{name} is a value that has many words" for name in Cp.names()]
    Cp.take_action = lambda *_: (Cp.names(), [row])
    os._exit(main(["cp", "image", "--to-store", "slow"]))
shown = b""
while True:
    try:
        shown += (read := os.read(screen, 1 << 16))
    except OSError:
        break
    if not read:
        break
os.waitpid(child, 0)
sys.stdout.write(shown.decode())
"""


@pytest.mark.parametrize("columns, left_out", [(80, True), (160, False)])
def test_on_a_terminal_what_matters_less_is_left_out_and_that_is_said(columns: int, left_out: bool) -> None:
    done = subprocess.run([sys.executable, "-c", TERMINAL, str(columns)], capture_output=True, text=True, check=True)
    table = [line for line in done.stdout.splitlines() if line[:1] in "+|"]
    assert max(map(len, table)) <= columns
    assert ("host_bytes" in table[1], "Left out, because the terminal has 80 columns: " in done.stdout) == (
        not left_out,
        left_out,
    )


def test_a_table_that_is_no_terminals_has_all_columns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cp, "take_action", lambda *_: (Cp.names(), [[*Cp.names()]]))
    assert all(name in run("cp", "image", "--to-store", "slow").out for name in Cp.names())
    ran = run("cp", "image", "--to-store", "slow", "--max-width", 80)
    assert ("host_bytes" in ran.out, "Left out, because" in ran.err) == (False, True)
    assert "host_bytes" in run("cp", "image", "--to-store", "slow", "--max-width", 80, "-c", "host_bytes").out


def test_each_command_is_here() -> None:
    assert LEAST.keys() >= COMMANDS.keys()


LISTS = [name for name, command in COMMANDS.items() if issubclass(command.load(), Lister)]


@pytest.mark.parametrize("command", LISTS)
@pytest.mark.parametrize("form", ["table", "json", "yaml", "csv", "value"])
def test_every_command_that_lists_has_each_format(
    command: str, form: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = [("name",), ("one, two",)]
    monkeypatch.setattr(COMMANDS[command].load(), "take_action", lambda *_: (row[0], iter([row[1]])))
    ran = run(*command.split(), *LEAST[command], "-f", form, "-c", "name")
    assert (ran.status, ran.err) == (0, "")
    assert "one, two" in ran.out


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 0.4
        return self.now


@pytest.fixture
def as_json(monkeypatch: pytest.MonkeyPatch) -> Progress:
    made = Progress(as_json=True, clock=Clock())
    monkeypatch.setattr(progress, "_current", made)
    return made


class TestProgress:
    def test_each_line_is_json_and_the_last_says_that_it_is_finished(
        self, as_json: Progress, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert list(counted(range(5), phase="prune", total=5, unit="templates")) == list(range(5))
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        assert all(set(line) == {"operation", "phase", "done", "total", "unit", "rate", "finished"} for line in lines)
        assert {line["operation"] for line in lines} == {as_json.operation}
        assert (lines[0]["done"], lines[0]["rate"], lines[0]["finished"]) == (0, None, False)
        assert (lines[-1]["done"], lines[-1]["total"], lines[-1]["finished"]) == (5, 5, True)
        assert lines[-1]["rate"] > 0
        assert 2 < len(lines) < 7  # at most one a second between them

    def test_what_failed_is_not_finished(self, as_json: Progress, capsys: pytest.CaptureFixture[str]) -> None:
        def fail() -> None:
            with moved("put", 10) as advance:
                advance(TransferProgress(done_bytes=5, skipped_bytes=0, total_bytes=10))
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        assert not any(line["finished"] for line in lines)

    def test_a_phase_in_which_nothing_is_counted_has_a_beginning_and_an_end(
        self, as_json: Progress, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with phase("clones"):
            pass
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        assert [(line["phase"], line["done"], line["finished"]) for line in (lines[0], lines[-1])] == [
            *(("clones", 0, False), ("clones", 1, True))
        ]

    def test_without_a_terminal_nothing_is_told(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        begin(None)
        list(counted(range(5), phase="prune", unit="templates"))
        with moved("put", None) as advance:
            advance(TransferProgress(done_bytes=5, skipped_bytes=0, total_bytes=None))
        assert capsys.readouterr().err == ""

    def test_on_a_terminal_it_is_a_bar(self, monkeypatch: pytest.MonkeyPatch) -> None:
        begin(None)
        terminal = io.StringIO()
        monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(sys, "stderr", terminal)
        list(counted(range(5), phase="prune", total=5, unit="templates"))
        assert "prune: 100%" in terminal.getvalue()
        list(counted(range(5), phase="images", unit="images"))
        assert terminal.getvalue().count("\n") == 1  # of a listing, nothing is left

    def test_a_standard_error_that_cannot_be_written_ends_no_command(
        self, as_json: Progress, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Full(io.StringIO):
            def write(self, text: str) -> int:
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(sys, "stderr", Full())
        assert list(counted("abc", phase="prune", unit="letters")) == ["a", "b", "c"]

    def test_a_signal_has_a_line_written(self, capfd: pytest.CaptureFixture[str]) -> None:
        before = signal.getsignal(signal.SIGUSR1)
        try:
            begin(None)
            os.kill(os.getpid(), signal.SIGUSR1)
            assert capfd.readouterr().err == "Nothing is counted yet.\n"
            things = counted(range(4), phase="prune", total=4, unit="templates")
            next(things), next(things), next(things)
            os.kill(os.getpid(), signal.SIGUSR1)
            assert capfd.readouterr().err.startswith("prune: 2 of 4 templates, ")
            begin("json")
            os.kill(os.getpid(), signal.SIGUSR1)
            assert json.loads(capfd.readouterr().err)["phase"] is None
            things.close()
        finally:
            signal.signal(signal.SIGUSR1, before)

    def test_the_option_makes_the_lines_json_and_another_value_is_a_wrong_usage(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def act(*_: Any) -> Any:
            return ("a",), [(each,) for each in counted([1, 2], phase="list", unit="volumes")]

        monkeypatch.setattr(COMMANDS["unfinished"].load(), "take_action", act)
        ran = run("--progress", "json", "unfinished", "-f", "json", "-c", "a")
        assert [json.loads(line)["done"] for line in ran.err.splitlines()] == [0, 2]
        assert len(ran.json) == 2
        assert run("unfinished", "-f", "json", "-c", "a").err == ""
        assert run("--progress", "nonsense", "unfinished").status == 2
