"""The page of the commands names the keys that the commands print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs/reference/commands.md").read_text()


@pytest.mark.parametrize(
    "command, module, name",
    [
        ("put", "data", "Put._columns"),
        ("doctor", "doctor", "_COLUMNS"),
        ("unfinished", "unfinished", "_COLUMNS"),
        ("stores check", "stores", "_COLUMNS"),
        ("templates list", "templates", "List._columns"),
        ("templates prune", "templates", "Prune._columns"),
        ("templates warm", "templates", "Warm._columns"),
        ("locations plan", "locations", "Plan._columns"),
    ],
)
def test_the_keys_of_a_command_are_those_that_it_prints(command: str, module: str, name: str) -> None:
    found = pytest.importorskip(f"imagevol_adapters.cli.{module}")
    for part in name.split("."):
        found = getattr(found, part)
    (row,) = re.findall(rf"^\| `{command}` \|[^|]*\|(.*)$", PAGE, re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == list(found)
