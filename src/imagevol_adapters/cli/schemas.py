"""The parts that the JSON Schemas of the commands are made of; docs/reference/schemas has them as files."""

from __future__ import annotations

from enum import Enum
from typing import Any

__all__ = ["DIALECT", "Schema", "json_enum", "json_list", "json_object", "json_reference"]

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_object(**properties: Schema) -> Schema:
    """Give an object that has all of these keys, and no other."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def json_list(items: Schema) -> Schema:
    """Give a list of what a schema describes."""
    return {"type": "array", "items": items}


def json_enum(kind: type[Enum]) -> Schema:
    """Give the values of an enumeration of the core."""
    return {"enum": [each.value for each in kind]}


def json_reference(name: str) -> Schema:
    """Give what is described under `$defs`."""
    return {"$ref": f"#/$defs/{name}"}
