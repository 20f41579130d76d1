"""What a command shows: each column once, with its type; the JSON Schema of `-f json` is made of the same columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import attrs

from imagevol_adapters.cli.fitted import Fitted
from imagevol_adapters.cli.schemas import Schema, json_enum, json_list

__all__ = [
    "COUNT",
    "COUNT_OR_NULL",
    "TEXT",
    "TEXT_OR_NULL",
    "TIME_OR_NULL",
    "YES_NO",
    "Column",
    "Shown",
    "either",
    "one_of",
    "or_null",
    "record",
    "verdict",
]

TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
COUNT: Schema = {"type": "integer", "minimum": 0}
COUNT_OR_NULL: Schema = {"type": ["integer", "null"], "minimum": 0}
YES_NO: Schema = {"type": "boolean"}
TIME_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}


@attrs.frozen
class Column:
    """One column of an answer: a key of its JSON.

    Args:
        name: the key.
        kind: the schema of the value, or a function that gives it, so that a command imports nothing for it.
        about: what the value is, as a sentence without a subject.
        always: whether the key is always there.
    """

    name: str
    kind: Schema | Callable[[], Schema]
    about: str
    always: bool = True

    def schema(self) -> Schema:
        """Give the schema of the value, with its description."""
        kind = self.kind() if callable(self.kind) else self.kind
        return {**kind, "description": self.about}


class Shown(Fitted):
    """A command that declares what it shows; it is inherited before cliff's `Lister` or `ShowOne`."""

    columns: ClassVar[tuple[Column, ...]]

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Name the columns, as cliff wants them."""
        return tuple(column.name for column in cls.columns)

    @classmethod
    def answer(cls) -> Schema:
        """Give the schema of the JSON: a list of rows, or one object."""
        from cliff.lister import Lister  # which a command that shows one object does without

        row = record(*cls.columns)
        return json_list(row) if issubclass(cls, Lister) else row


def record(*columns: Column) -> Schema:
    """Give the schema of an object with these keys and no others.

    >>> record(Column("volume_id", TEXT, "The id of the volume."))["required"]
    ['volume_id']
    """
    return {
        "type": "object",
        "properties": {column.name: column.schema() for column in columns},
        "required": [column.name for column in columns if column.always],
        "additionalProperties": False,
    }


def one_of(*values: str) -> Schema:
    """Give the schema of a value that is one of these."""
    return {"enum": list(values)}


def or_null(schema: Schema) -> Schema:
    """Give the schema of the same, or null."""
    return either(schema, {"type": "null"})


def either(*schemas: Schema) -> Schema:
    """Give the schema of a value that is valid by one of these."""
    return {"anyOf": list(schemas)}


def verdict() -> Schema:
    """Give the schema of what a rule said."""
    from imagevol_core import Result

    return record(
        Column("rule", TEXT, "The id of the rule."),
        Column("result", json_enum(Result), "What the rule says."),
        Column("subject", TEXT_OR_NULL, "What the rule was asked of: mostly the id of a volume or a store."),
        Column("text", TEXT, "The facts that decided, as a sentence; it can change."),
    )
