"""The JSON Schema of `imagevol audit -f json`; docs/reference/schemas has it as a file."""

from __future__ import annotations

from imagevol_adapters.cli.schemas import DIALECT, Schema, json_enum, json_list, json_object, json_reference
from imagevol_adapters.repairing import RepairState
from imagevol_core import Certainty, RepairAction, RepairOutcome, rule_tables

__all__ = ["audit_schema"]

CHANGES = ("new", "gone", "still-there")
"""What has become of a finding since an earlier audit."""


def audit_schema() -> Schema:
    """Give the schema: a list of findings; each is what `Finding.as_dict` gives, and its change if --diff is given."""
    tables = [table for table in rule_tables() if table.name.startswith("Auditing")]
    finding = json_object(
        id={
            "type": "string",
            "pattern": "^[0-9a-f]{12}$",
            "description": "Names the finding in every audit. It is made of the rule and the subjects.",
        },
        rule={
            "enum": sorted(rule.id for table in tables for rule in table.rules),
            "description": "The rule that does not hold.",
        },
        certainty={
            **json_enum(Certainty),
            "description": "sure: every fact is known. likely: a fact is missing, or no service tells it.",
        },
        subjects={**json_list(json_reference("subject")), "description": "What the finding is about."},
        since={
            "type": ["string", "null"],
            "format": "date-time",
            "description": "When it began, or when the volume was created. null if that is not known.",
        },
        reclaimable_bytes={
            "type": "integer",
            "minimum": 0,
            "description": "What the storage gives back if the repair is done, as Cinder counts it.",
        },
        text={"type": "string", "description": "The facts that decided, as a sentence; it can change."},
        repair={
            **json_list(json_reference("step")),
            "description": "The steps that repair it, in order. Empty if a person has to decide.",
        },
    )
    finding["properties"]["change"] = {
        "enum": list(CHANGES),
        "description": "What has become of it since the audit that --diff names. Only with --diff.",
    }
    outcomes = sorted({outcome.value for outcome in (*RepairOutcome, *RepairState)} - {RepairOutcome.REPAIR.value})
    finding["properties"]["outcome"] = {
        "enum": outcomes,
        "description": "What became of it. Only with --repair and --resume-repair.",
    }
    finding["properties"]["done"] = {
        **json_list(json_reference("step")),
        "description": "The steps that were taken. Only with --repair and --resume-repair.",
    }
    finding["properties"]["reason"] = {
        "type": ["string", "null"],
        "description": "Why it was not repaired, and what to do. Only with --repair and --resume-repair.",
    }
    return {
        "$schema": DIALECT,
        "title": "imagevol audit -f json",
        **json_list(json_reference("finding")),
        "$defs": {
            "finding": finding,
            "subject": json_object(
                kind={
                    "enum": ["image", "volume", "attachment", "cache-entry", "file"],
                    "description": "What kind it is.",
                },
                id={
                    "type": "string",
                    "description": "Its id. Of a cache entry, the id of its volume. Of a file, HOST:PATH.",
                },
            ),
            "step": json_object(
                action={**json_enum(RepairAction), "description": "What is done."},
                subject={**json_reference("subject"), "description": "To what."},
                arguments={
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "description": "With what.",
                },
            ),
        },
    }
