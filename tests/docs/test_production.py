"""The chapter on production names log lines that there are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/production/operate.md").read_text()


def strings() -> Iterator[str]:
    """Every text in the code; the parts of an f-string one by one."""
    for file in (ROOT / "src/imagevol_adapters").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_text_to_watch_for_in_the_logs_is_in_the_code() -> None:
    watched = re.findall(r"^\| [\w, -]+ \| `(.+?)` \|", PAGE, re.MULTILINE)
    assert len(watched) > 8
    there = list(strings())
    assert [text for text in watched if not any(text in each for each in there)] == []
