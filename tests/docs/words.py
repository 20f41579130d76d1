"""The words that the project does not use, and what is looked at: the pages, and the texts in the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST = 35  # words in a sentence

# Each with what to write instead.
WORDS = {
    r"\bwhoever\b": "name the person or the program",
    r"\b(?:nobody|somebody)\b": "name the person or the program",
    r"\b(?:is|are) to be\b": "must be, or: will be",
    r"\bbe that\b": "if, or: or",
    r"\bwhether [^.:|]{1,80}: (?:yes\b|no\b|not known\b|\{\})": "say it directly",
    r"\b(?:meta)?data,? (?:that )?(?:are|were|have)\b|\bdata [^.;:]{0,40}\bto their end\b": "data is, its end",
    r"(?<!left )(?<!leave )(?<!nothing )\bbehind\b": "after, if it is about an order",
    r"\{\} s\b": "say a time with `duration`",
    r"\bthe former\b|\bthe latter\b": "name the thing",
}


@dataclass(frozen=True)
class Text:
    """A text that a user can see, and where it is."""

    where: str
    text: str


@dataclass(frozen=True)
class Fault:
    """A text that breaks the rules of style."""

    where: str
    fault: str
    text: str


def faults(texts: Iterator[Text]) -> Iterator[Fault]:
    """Look at each sentence."""
    for each in texts:
        for pattern, instead in WORDS.items():
            for found in re.finditer(pattern, each.text, re.IGNORECASE):
                yield Fault(each.where, f"{found[0].lower()} ({instead})", each.text)
        for sentence in re.split(r"(?<=[.!?:;])\s+", each.text):
            words = len(re.findall(r"[\w`'%{}-]*\w[\w`'%{}-]*", sentence))
            if words > LONGEST:
                yield Fault(each.where, f"{words} words", sentence)


def pages() -> Iterator[Text]:
    """Every paragraph, item and cell of the pages, without code."""
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "changelog.d").glob("*.md")]
    for file in sorted(files):
        for paragraph in _paragraphs(file.read_text()):
            yield Text(str(file.relative_to(ROOT)), paragraph)


def _paragraphs(page: str) -> Iterator[str]:
    page = re.sub(r"<!--.*?-->", "", page, flags=re.DOTALL)
    page = re.sub(r"^([ ]*)(`{3,}|:{3,}).*?^\1\2\s*$", "", page, flags=re.DOTALL | re.MULTILINE)
    page = re.sub(r"\]\([^)]*\)", "]", page)  # the targets of links
    page = re.sub(r"`[^`\n]*(?:\n[^`\n]*)?`", "CODE", page)
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*:#]|\d+\.)\s)|\n(?=\|)", page):
        for cell in block.split("|") if block.lstrip().startswith("|") else [block]:
            if text := " ".join(cell.split()):
                yield text


def strings(package: str) -> Iterator[Text]:
    """Every text of two words or more in a package, without docstrings; the values of an f-string are `{}`."""
    for file in sorted((ROOT / "src" / package).rglob("*.py")):
        tree = ast.parse(file.read_text())
        inside: set[int] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                inside.add(id(node.value))  # a docstring
            if isinstance(node, ast.JoinedStr):
                inside |= {id(part) for part in ast.walk(node)} - {id(node)}
        for node in ast.walk(tree):
            if id(node) not in inside and (text := _text(node)) and " " in text.strip():
                yield Text(f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", " ".join(text.split()))


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
