"""The commands of the pages on troubleshooting exist, with their options."""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from cliff.commandmanager import CommandManager

sys.path.insert(0, str(Path(__file__).parents[2] / "docs/_ext"))
rule_texts = pytest.importorskip("rule_texts")

pytestmark = pytest.mark.filterwarnings("ignore")  # of the client, which are not ours to mend

GROUPS = ("common", "compute.v2", "identity.v3", "image.v2", "volume.v3")
PLACEHOLDERS = {"COUNT": "33", "GIB": "1", "SIZE": "1", "HOST@BACKEND#POOL": "host@backend#pool"}
PROGRAMS = ("openstack ", "imagevol ")  # others, such as grep, have options that nothing here knows
COMMANDS = sorted(
    {line for _, text in rule_texts.texts().values() for line in text["see"] if line.startswith(PROGRAMS)}
)
IN_SENTENCES = sorted(
    {
        part
        for _, text in rule_texts.texts().values()
        for part in str(text["change"]).split("`")[1::2]
        if part.startswith(PROGRAMS) and " --" in part
    }
)


@cache
def commands(program: str) -> Any:
    manager = CommandManager("imagevol.commands" if program == "imagevol" else "openstack.cli")
    if program == "openstack":
        for group in GROUPS:
            manager.add_command_group(f"openstack.{group}")
    return manager


class App:
    """What a command asks of its application before it runs."""

    api_version = {"volume": "3.70", "image": "2", "compute": "2.1"}  # noqa: RUF012 - osc looks it up here
    client_manager = None
    NAME = "openstack"
    stdout = sys.stdout


@pytest.mark.parametrize("line", [*COMMANDS, *IN_SENTENCES])
def test_a_command_of_the_pages_is_accepted_by_its_program(line: str) -> None:
    program, *arguments = shlex.split(line)
    if program == "openstack" and find_spec("openstackclient") is None:
        pytest.skip("openstackclient is not installed; `nox -s upstream` installs it")
    if arguments[0] == "--os-volume-api-version":
        arguments = arguments[2:]
    if arguments == ["--version"]:  # each of the programs has it, and it is no command
        return
    factory, name, rest = commands(program).find_command([PLACEHOLDERS.get(each, each) for each in arguments])
    parser = factory(App(), None).get_parser(name)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parser.parse_args(rest)
    except SystemExit:
        pytest.fail(f"{line}: {said.getvalue()}")
