"""The JSON Schema of `imagevol explain -f json`: of one volume, of both policies, or of a table of images and pools."""

from __future__ import annotations

from imagevol_adapters.cli.columns import (
    COUNT_OR_NULL,
    TEXT,
    TEXT_OR_NULL,
    YES_NO,
    Column,
    either,
    one_of,
    or_null,
    record,
    verdict,
)
from imagevol_adapters.cli.schemas import DIALECT, Schema, json_enum, json_list, json_reference
from imagevol_core import Carrier, Effort, Policy, Way

__all__ = ["explain_schema"]

_FIRST = one_of(*(way.value for way in Way), "refused")
_REFUSED = "Why nothing is created, as a sentence that can change; null if something is tried."
_ONE = (
    Column("image_id", TEXT, "The id of the image."),
    Column("policy", json_enum(Policy), "Whose rules."),
    Column("host", TEXT, "The pool of the new volume."),
    Column("outcome", _FIRST, "The way that is tried first, or `refused`."),
    Column("refused", TEXT_OR_NULL, _REFUSED),
    Column("refused_by", json_list(json_reference("verdict")), "Each rule for which nothing is created."),
    Column(
        "ways",
        json_list(
            record(
                Column("way", json_enum(Way), "How the volume would be created."),
                Column("source", TEXT_OR_NULL, "The id of what would be cloned."),
            )
        ),
        "What is tried, in order, until something succeeds.",
    ),
    Column(
        "unseen",
        json_list(TEXT),
        "The ids of volumes that the credentials are not shown, or `the locations of the image`.",
    ),
    Column("not_looked_at", json_list(TEXT), "The options that were not given, whose facts are not known."),
    Column("eligible", YES_NO, "Whether an image volume is cloned."),
    Column("sources", json_list(TEXT), "The ids of the image volumes that are cloned, in the order of the attempts."),
    Column("extend_to_gib", COUNT_OR_NULL, "The size in GiB that such a clone ends with."),
    Column("verdicts", json_list(json_reference("verdict")), "Every rule about image volumes that was asked."),
    Column("plan", json_list(json_reference("way")), "All ways in order, with those that are not tried."),
    Column(
        "unknown",
        json_list(json_reference("unknown")),
        "The unknown facts, and what follows from each value.",
    ),
    Column(
        "facts",
        json_list(
            record(
                Column("fact", TEXT, "The name of the fact: an option, or what was asked."),
                Column("value", {}, "Its value, of any type."),
                Column("from", TEXT, "Where it is from; it can change."),
            )
        ),
        "The facts, and where each is from.",
    ),
    Column(
        "template",
        or_null(json_reference("template")),
        "The image's template; null if the backend has no templates.",
    ),
)
_ROW = (
    Column("image_id", TEXT, "The id of the image."),
    Column("image_name", TEXT_OR_NULL, "Its name."),
    Column("volume_type", TEXT_OR_NULL, "The volume type; null if none was given."),
    Column("host", TEXT, "The pool of the new volume."),
    Column("way", _FIRST, "The way that is tried first, or `refused`."),
    Column("reason", TEXT, "The source of that way, or the rule against a faster way; it can change."),
    Column(
        "seconds", {"type": ["number", "null"]}, "With --rates, how long that way takes at least; null if not known."
    ),
    Column("upstream_way", _FIRST, "With --policy both, the first way by the upstream rules.", always=False),
    Column("upstream_reason", TEXT, "With --policy both, the reason for it.", always=False),
    Column("differs", YES_NO, "With --policy both, whether the ways or their sources differ.", always=False),
)
_BOTH = (
    Column("image_id", TEXT, "The id of the image."),
    Column("policy", {"const": "both"}, "Both policies were asked."),
    Column("differs", json_list(json_enum(Way)), "The ways in which the two policies differ."),
    Column("both", {"type": "null"}, "Always null: a person gets the two side by side here."),
    Column("strict", json_reference("one"), "The answer by the strict rules."),
    Column("upstream", json_reference("one"), "The answer by what the services do."),
)
_MATRIX = (
    Column("matrix", json_list(json_reference("row")), "A row for each image and pool."),
    Column("marker", TEXT_OR_NULL, "The id for --marker if there are more images; null on the last page."),
)
_COST = (
    Column("effort", json_enum(Effort), "What moves the data."),
    Column("read_bytes", COUNT_OR_NULL, "How many bytes the host reads from Glance; null if that is not known."),
    Column("written_bytes", COUNT_OR_NULL, "How many bytes the host writes at most; null if that is not known."),
    Column("array_bytes", COUNT_OR_NULL, "How many bytes the storage copies at most; null if that is not known."),
    Column("seconds", {"type": ["number", "null"]}, "With --rates, how long it takes at least; null if not known."),
)
_STEP = (
    Column("order", {"type": "integer", "minimum": 1}, "When it is tried: 1 is first."),
    Column("source", TEXT_OR_NULL, "The id of what would be cloned."),
    Column("cost", record(*_COST), "What the step costs."),
)
_WAY = (
    Column("way", json_enum(Way), "How the volume would be created."),
    Column("by", json_enum(Carrier), "What carries it out: the driver of the backend, or Cinder after it."),
    Column("tried", YES_NO, "Whether it is tried."),
    Column("steps", json_list(record(*_STEP)), "Each attempt; empty if it is not tried."),
    Column("against", json_list(json_reference("verdict")), "Each rule that stands in its way; empty if it is tried."),
)
_VALUE = (
    Column("value", TEXT, "A value that the fact can have, as a part of a sentence; it can change."),
    Column("ways", json_list(json_enum(Way)), "What is tried then, in order."),
    Column("refused", TEXT_OR_NULL, _REFUSED),
)
_UNKNOWN = (
    Column("id", TEXT, "Which fact, such as `templates`."),
    Column("fact", TEXT, "What is not known, as a part of a sentence; it can change."),
    Column("option", TEXT_OR_NULL, "The option that tells it; null if there is none."),
    Column("values", json_list(record(*_VALUE)), "Each value, and what follows from it."),
)
_TEMPLATE = (
    Column("made", YES_NO, "Whether the backend creates a template."),
    Column("size_gib", COUNT_OR_NULL, "The size in GiB of the template that is created."),
    Column("verdicts", json_list(json_reference("verdict")), "Every rule about templates that was asked."),
)


def explain_schema() -> Schema:
    """Give the schema: of one volume, of one under both policies, or of a table of images and pools."""
    parts = {"one": _ONE, "row": _ROW, "way": _WAY, "unknown": _UNKNOWN, "template": _TEMPLATE}
    return {
        "$schema": DIALECT,
        "title": "imagevol explain -f json",
        **either(json_reference("one"), record(*_BOTH), record(*_MATRIX)),
        "$defs": {"verdict": verdict(), **{name: record(*columns) for name, columns in parts.items()}},
    }
