"""The JSON Schema of `imagevol explain -f json`; docs/reference/schemas has it as a file."""

from __future__ import annotations

from imagevol_adapters.cli.schemas import DIALECT, Schema, json_enum, json_list, json_object, json_reference
from imagevol_core import Carrier, Effort, Policy, Result, Way

__all__ = ["explain_schema"]

_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_WHOLE_OR_NULL: Schema = {"type": ["integer", "null"], "minimum": 0}


def explain_schema() -> Schema:
    """Give the schema: of one volume, of one under both policies, or of a table of images and places."""
    one = json_object(
        image_id=_TEXT,
        policy=json_enum(Policy),
        host=_TEXT,
        outcome={"enum": [*(way.value for way in Way), "refused"]},
        refused=_TEXT_OR_NULL,
        ways=json_list(json_object(way=json_enum(Way), source=_TEXT_OR_NULL)),
        unseen=json_list(_TEXT),
        not_looked_at=json_list(_TEXT),
        eligible={"type": "boolean"},
        sources=json_list(_TEXT),
        extend_to_gib=_WHOLE_OR_NULL,
        verdicts=json_list(json_reference("verdict")),
        plan=json_list(json_reference("way")),
        unknown=json_list(json_reference("unknown")),
        facts=json_list(json_object(**{"fact": _TEXT, "value": {}, "from": _TEXT})),
        template={"anyOf": [{"type": "null"}, json_reference("template")]},
    )
    row = json_object(
        image_id=_TEXT,
        image_name=_TEXT_OR_NULL,
        volume_type=_TEXT_OR_NULL,
        host=_TEXT,
        way=one["properties"]["outcome"],
        reason=_TEXT,
    )
    row["properties"] |= {"upstream_way": _TEXT, "upstream_reason": _TEXT, "differs": {"type": "boolean"}}
    both = json_object(
        image_id=_TEXT,
        policy={"const": "both"},
        differs=json_list(json_enum(Way)),
        both={"type": "null"},
        strict=json_reference("one"),
        upstream=json_reference("one"),
    )
    matrix = json_object(matrix=json_list(json_reference("row")), marker=_TEXT_OR_NULL)
    return {
        "$schema": DIALECT,
        "title": "imagevol explain -f json",
        "anyOf": [json_reference("one"), both, matrix],
        "$defs": {"one": one, "row": row, **_parts()},
    }


def _parts() -> Schema:
    cost = json_object(
        effort=json_enum(Effort),
        read_bytes=_WHOLE_OR_NULL,
        written_bytes=_WHOLE_OR_NULL,
        array_bytes=_WHOLE_OR_NULL,
        seconds={"type": ["number", "null"]},
    )
    step = json_object(order={"type": "integer", "minimum": 1}, source=_TEXT_OR_NULL, cost=cost)
    value = json_object(value=_TEXT, ways=json_list(json_enum(Way)), refused=_TEXT_OR_NULL)
    return {
        "verdict": json_object(rule=_TEXT, result=json_enum(Result), subject=_TEXT_OR_NULL, text=_TEXT),
        "way": json_object(
            way=json_enum(Way),
            by=json_enum(Carrier),
            tried={"type": "boolean"},
            steps=json_list(step),
            against=json_list(json_reference("verdict")),
        ),
        "unknown": json_object(fact=_TEXT, option=_TEXT_OR_NULL, values=json_list(value)),
        "template": json_object(
            made={"type": "boolean"}, size_gib=_WHOLE_OR_NULL, verdicts=json_list(json_reference("verdict"))
        ),
    }
