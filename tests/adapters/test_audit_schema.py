"""The schema of `imagevol audit -f json` is the one in the documentation, and a finding of each rule is valid."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from imagevol_adapters.cli.audit_schema import audit_schema
from tests.core.test_auditing import BREAKS

jsonschema: Any = importlib.import_module("jsonschema")  # it has no types
FILE = Path(__file__).parents[2] / "docs/reference/schemas/audit.json"
VALID = jsonschema.Draft202012Validator(audit_schema())


def test_the_file_is_what_the_code_says() -> None:
    assert json.loads(FILE.read_text()) == audit_schema()


@pytest.mark.parametrize("kind", BREAKS)
def test_a_finding_is_valid(kind: str) -> None:
    VALID.validate([json.loads(json.dumps(BREAKS[kind][1].as_dict()))])


@pytest.mark.parametrize("change", [{"id": "x"}, {"rule": "other"}, {"reclaimable_bytes": -1}, {"more": 1}])
def test_what_is_no_finding_is_not_valid(change: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        VALID.validate([{**BREAKS["image-stuck"][1].as_dict(), **change}])
