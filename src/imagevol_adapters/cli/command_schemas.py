"""The JSON Schema of each command's `-f json`, made of what the command declares."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, distribution

from cliff.display import DisplayCommandBase

from imagevol_adapters.cli.audit_schema import audit_schema
from imagevol_adapters.cli.columns import Shown
from imagevol_adapters.cli.explain_schema import explain_schema
from imagevol_adapters.cli.schemas import DIALECT, Schema

__all__ = ["command_schemas", "schema_of"]

_APART: dict[str, Callable[[], Schema]] = {"audit": audit_schema, "explain": explain_schema}
"""Of the commands whose answer is more than rows of the same columns."""


def command_schemas() -> dict[str, Schema]:
    """Give the schemas of all commands that print, by the name of the command.

    Raises:
        TypeError: a command prints and does not declare what.
    """
    commands = distribution("imagevol").entry_points.select(group="imagevol.commands")
    loaded = {_name(command): command.load() for command in commands if _name(command) not in _APART}
    declared = {
        name: schema_of(name, command) for name, command in loaded.items() if issubclass(command, DisplayCommandBase)
    }
    apart = {name: schema() for name, schema in _APART.items()}
    return dict(sorted((declared | apart).items()))


def schema_of(name: str, command: type) -> Schema:
    """Give the schema of one command.

    Args:
        name: as it is typed, without `imagevol`.
        command: its class.

    Raises:
        TypeError: the command does not declare what it prints.
    """
    if not issubclass(command, Shown):
        raise TypeError(f"imagevol {name} prints, and {command.__name__} declares no columns: inherit Shown")
    return {"$schema": DIALECT, "title": f"imagevol {name} -f json", **command.answer()}


def _name(command: EntryPoint) -> str:
    return command.name.replace("_", " ")
