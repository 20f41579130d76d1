"""The JSON Schema of `imagevol explain -f json`; docs/reference/schemas has it as a file."""

from __future__ import annotations

from enum import Enum
from typing import Any

from imagevol_core import Carrier, Effort, Policy, Result, Way

__all__ = ["explain_schema"]

Schema = dict[str, Any]
_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_WHOLE_OR_NULL: Schema = {"type": ["integer", "null"], "minimum": 0}


def explain_schema() -> Schema:
    """Give the schema: of one volume, of one under both policies, or of a table of images and places."""
    one = _object(
        image_id=_TEXT,
        policy=_one_of(Policy),
        host=_TEXT,
        outcome={"enum": [*(way.value for way in Way), "refused"]},
        refused=_TEXT_OR_NULL,
        ways=_list(_object(way=_one_of(Way), source=_TEXT_OR_NULL)),
        unseen=_list(_TEXT),
        not_looked_at=_list(_TEXT),
        eligible={"type": "boolean"},
        sources=_list(_TEXT),
        extend_to_gib=_WHOLE_OR_NULL,
        verdicts=_list(_reference("verdict")),
        plan=_list(_reference("way")),
        unknown=_list(_reference("unknown")),
        facts=_list(_object(**{"fact": _TEXT, "value": {}, "from": _TEXT})),
        template={"anyOf": [{"type": "null"}, _reference("template")]},
    )
    row = _object(
        image_id=_TEXT,
        image_name=_TEXT_OR_NULL,
        volume_type=_TEXT_OR_NULL,
        host=_TEXT,
        way=one["properties"]["outcome"],
        reason=_TEXT,
    )
    row["properties"] |= {"upstream_way": _TEXT, "upstream_reason": _TEXT, "differs": {"type": "boolean"}}
    both = _object(
        image_id=_TEXT,
        policy={"const": "both"},
        differs=_list(_one_of(Way)),
        both={"type": "null"},
        strict=_reference("one"),
        upstream=_reference("one"),
    )
    matrix = _object(matrix=_list(_reference("row")), marker=_TEXT_OR_NULL)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "imagevol explain -f json",
        "anyOf": [_reference("one"), both, matrix],
        "$defs": {"one": one, "row": row, **_parts()},
    }


def _parts() -> Schema:
    cost = _object(
        effort=_one_of(Effort),
        read_bytes=_WHOLE_OR_NULL,
        written_bytes=_WHOLE_OR_NULL,
        array_bytes=_WHOLE_OR_NULL,
        seconds={"type": ["number", "null"]},
    )
    step = _object(order={"type": "integer", "minimum": 1}, source=_TEXT_OR_NULL, cost=cost)
    value = _object(value=_TEXT, ways=_list(_one_of(Way)), refused=_TEXT_OR_NULL)
    return {
        "verdict": _object(rule=_TEXT, result=_one_of(Result), subject=_TEXT_OR_NULL, text=_TEXT),
        "way": _object(
            way=_one_of(Way),
            by=_one_of(Carrier),
            tried={"type": "boolean"},
            steps=_list(step),
            against=_list(_reference("verdict")),
        ),
        "unknown": _object(fact=_TEXT, option=_TEXT_OR_NULL, values=_list(value)),
        "template": _object(made={"type": "boolean"}, size_gib=_WHOLE_OR_NULL, verdicts=_list(_reference("verdict"))),
    }


def _object(**properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _one_of(kind: type[Enum]) -> Schema:
    return {"enum": [each.value for each in kind]}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}
