"""The chapter on production names log lines that there are, and every how-to begins and ends as a reader expects."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

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


HOW_TOS = sorted(
    page
    for chapter in ("howto", "production")
    for page in (ROOT / "docs" / chapter).glob("*.md")
    if page.name != "index.md"
)


@pytest.mark.parametrize("page", HOW_TOS, ids=lambda page: page.stem)
def test_a_how_to_says_what_you_will_have_and_how_to_check_it_and_how_to_go_back(page: Path) -> None:
    beginning, *sections = re.split(r"^#{2,3} ", page.read_text(), flags=re.MULTILINE)
    assert re.search(r"\bAt the\s+end\b", beginning)
    assert re.search(r"\b[Yy]ou\s+need\b|\bNeeded\b", beginning + sections[0])
    assert re.search(r"\btakes\b|\bPlan\s+(?:an?|half)\b", beginning)
    assert [section for section in sections if section.startswith("Check")]
    assert re.search(r"\b[Gg]o\s+back\b", "".join(sections))
