"""The JSON Schemas of the commands: is an answer valid?  `python -m tests.schemas` writes their files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

from imagevol_adapters.cli.command_schemas import command_schemas

FILES = Path(__file__).parents[1] / "docs/reference/schemas"


def file_of(command: str) -> Path:
    """Where the documentation has the schema of a command."""
    return FILES / f"{command.replace(' ', '-')}.json"


def text_of(schema: dict[str, Any]) -> str:
    """The content of the file."""
    return json.dumps(schema, indent=2) + "\n"


def check_answer(arguments: Sequence[object], out: str) -> None:
    """Hold an answer in JSON to the schema of its command, unless it has only chosen columns."""
    words = [str(argument) for argument in arguments]
    asked_json = any(pair == ("-f", "json") for pair in pairwise(words))
    validator = _validator(words) if asked_json and "-c" not in words and out.strip() else None
    if validator is not None:
        validator.validate(json.loads(out))


def _validator(words: Sequence[str]) -> Any:
    for name, validator in validators().items():
        parts = name.split()
        if any(words[start : start + len(parts)] == parts for start in range(len(words))):
            return validator
    return None


@cache
def validators() -> dict[str, Any]:
    """A validator for each command that prints, by its name; those of several words first."""
    jsonschema: Any = import_module("jsonschema")  # it has no types
    schemas = command_schemas()
    names = sorted(schemas, key=lambda name: -len(name.split()))
    return {name: jsonschema.Draft202012Validator(schemas[name]) for name in names}


def main() -> None:
    """Write the files."""
    FILES.mkdir(exist_ok=True)
    for name, schema in command_schemas().items():
        file_of(name).write_text(text_of(schema))


if __name__ == "__main__":
    main()
