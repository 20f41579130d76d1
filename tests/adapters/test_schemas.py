"""Each command that prints has a JSON Schema, which is in the documentation, and what it prints is valid.

The fixture `run` holds every answer in JSON of every test here to the schema of its command.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cliff.lister import Lister

from imagevol_adapters.cli.columns import Shown
from imagevol_adapters.cli.command_schemas import command_schemas, schema_of
from imagevol_adapters.testing.memory import MemoryVolumes
from tests.adapters.commands import Run
from tests.adapters.test_explain import file, memory
from tests.schemas import FILES, check_answer, file_of, text_of, validators

__all__ = ["file", "memory"]

pytestmark = pytest.mark.usefixtures("no_cloud")
jsonschema: Any = importlib.import_module("jsonschema")  # it has no types
COMMANDS = sorted(command_schemas())


def test_every_command_that_prints_has_a_file_and_no_other_has() -> None:
    assert sorted(FILES.glob("*.json")) == sorted(map(file_of, COMMANDS))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_file_is_what_the_code_says(command: str) -> None:
    said = text_of(command_schemas()[command])
    assert file_of(command).read_text() == said, "write the files with `python -m tests.schemas`"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_schema_is_one_and_says_what_each_key_is(command: str) -> None:
    schema = command_schemas()[command]
    jsonschema.Draft202012Validator.check_schema(schema)
    described = list(keys(schema))
    assert described
    assert [name for name, each in described if not each["description"].endswith(".")] == []


def keys(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key of every object in a schema."""
    if isinstance(schema, list):
        for each in schema:
            yield from keys(each)
    elif isinstance(schema, dict):
        yield from schema.get("properties", {}).items()
        for name, each in schema.items():
            yield from keys(list(each.values()) if name in ("properties", "$defs") else each)


def test_a_command_that_prints_and_declares_nothing_is_named() -> None:
    class Silent(Lister): ...

    with pytest.raises(TypeError, match="imagevol silent prints"):
        schema_of("silent", Silent)
    assert not issubclass(Silent, Shown)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_answer_that_is_none_is_refused(command: str) -> None:
    for wrong in ({"nonsense": 1}, [{"nonsense": 1}], 7):
        with pytest.raises(jsonschema.ValidationError):
            check_answer(("--debug", *command.split(), "-f", "json"), json.dumps(wrong))


def test_two_words_are_not_taken_for_one() -> None:
    assert [name for name in validators() if " " in name] == list(validators())[: sum(" " in each for each in COMMANDS)]


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("--templates",),
        ("--image-cache", "--policy", "upstream"),
        ("--policy", "both"),
        ("twin",),
        ("twin", "--policy", "both"),
    ],
    ids=" ".join,
)
def test_each_answer_of_explain_is_valid(run: Run, memory: MemoryVolumes, file: Path, more: tuple[str, ...]) -> None:
    for name in ("disk", "twin"):
        assert run("put", file, "--register", name, "--store", "fast", "-f", "json").status == 0
    for host in ("node@fast#one", "node@slow#one"):
        answer = run("explain", "disk", *more, "--size", 1, "--host", host, "-f", "json").json
        validators()["explain"].validate(answer)
