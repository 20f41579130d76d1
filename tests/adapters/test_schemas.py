"""The schema of `imagevol explain -f json` is the one in the documentation, and what the command prints is valid."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from imagevol_adapters.cli.explain_schema import explain_schema
from imagevol_adapters.testing.memory import MemoryVolumes
from tests.adapters.commands import Run
from tests.adapters.test_explain import file, memory

__all__ = ["file", "memory"]

pytestmark = pytest.mark.usefixtures("no_cloud")
jsonschema: Any = importlib.import_module("jsonschema")  # it has no types
FILE = Path(__file__).parents[2] / "docs/reference/schemas/explain.json"


def test_the_file_is_what_the_code_says() -> None:
    assert json.loads(FILE.read_text()) == explain_schema()


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
def test_what_is_printed_is_valid(run: Run, memory: MemoryVolumes, file: Path, more: tuple[str, ...]) -> None:
    for name in ("disk", "twin"):
        assert run("put", file, "--register", name, "--store", "fast", "-f", "json").status == 0
    for host in ("node@fast#one", "node@slow#one"):
        answer = run("explain", "disk", *more, "--size", 1, "--host", host, "-f", "json").json
        checker = jsonschema.Draft202012Validator(explain_schema())
        checker.validate(answer)
        with pytest.raises(jsonschema.ValidationError):
            checker.validate({"image_id": "i"})
