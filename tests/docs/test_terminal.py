"""The session on the home page is drawn from its record, and its commands are those that the programs take."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs/_ext"))
terminal_picture = pytest.importorskip("terminal_picture")

COMMANDS = terminal_picture.recorded()


def test_the_committed_picture_is_what_the_script_draws_of_the_record() -> None:
    drawn = terminal_picture.picture(COMMANDS)
    assert terminal_picture.PICTURE.read_text() == drawn, "run docs/_ext/terminal_picture.py"


def test_the_record_is_of_the_commands_that_the_script_runs_today() -> None:
    tree = ast.parse((ROOT / "tests/cloud/terminal.py").read_text())
    (session,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SESSION"
    )
    recorded = tuple((command.about, command.typed) for command in COMMANDS)
    assert recorded == session, "run `python -m tests.cloud.terminal`"


@pytest.mark.parametrize("typed", [command.typed for command in COMMANDS if command.typed.startswith("imagevol ")])
def test_each_option_of_a_recorded_command_is_in_its_help(typed: str) -> None:
    _, name, *arguments = shlex.split(re.split(r"&&|\|", typed)[0])
    program = str(Path(sys.executable).parent / "imagevol")
    done = subprocess.run([program, name, "--help"], capture_output=True, text=True, check=True)
    taken = set(re.findall(r"(?<![\w-])--?[\w-]+", done.stdout))
    assert {argument for argument in arguments if argument.startswith("-")} <= taken


def test_no_line_is_wider_than_the_picture() -> None:
    assert max(len(row.text) for row in terminal_picture.rows(COMMANDS)) <= terminal_picture.COLUMNS
