"""No page and no text of a rule has words or sentences that a reader has to read twice; see `words.py`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagevol_core import rule_tables
from tests.docs.words import ROOT, Fault, Text, faults, pages, strings

sys.path.insert(0, str(Path(__file__).parents[2] / "docs/_ext"))
rule_texts = pytest.importorskip("rule_texts")

# Each with the reason why it stays.
EXCEPTIONS = {
    ("src/imagevol_core/secret_text.py", "auth_type auth_url backlog"): "names of options, not a sentence",
    ("src/imagevol_core/secret_text.py", "address attached attempts"): "words in names of options, not a sentence",
}


def unexcused(found: Iterator[Fault]) -> list[Fault]:
    return [
        fault
        for fault in found
        if not any(fault.where.startswith(where) and fault.text.startswith(text) for where, text in EXCEPTIONS)
    ]


def of_rules() -> Iterator[Text]:
    for table in rule_tables():
        yield from (Text(f"{table.name}: {rule.id}", rule.text) for rule in table.rules)


def of_explanations() -> Iterator[Text]:
    for key, (page, text) in rule_texts.texts().items():
        yield from (Text(f"{page}: {key}", value) for value in text.values() if isinstance(value, str))


def test_the_words_to_avoid_are_found() -> None:
    for wrong in (
        "whoever asks",
        "Somebody made it",
        "it is to be raw",
        "the owner, be that nobody",
        "whether it is encrypted: no",
        "whether it is encrypted: {}",
        "the metadata are read",
        "the data, that are read",
        "the data could not be read to their end",
        "behind the end",
        "it took {} s",
        " ".join(["word"] * 36),
    ):
        assert list(faults(iter([Text("here", wrong)]))), wrong
    assert list(faults(iter([Text("here", "What was left behind is deleted. The data is there.")]))) == []


def test_the_pages_are_in_plain_words() -> None:
    assert unexcused(faults(pages())) == []


def test_the_rules_are_in_plain_words() -> None:
    assert unexcused(faults(of_rules())) == []


def test_what_a_rule_means_is_said_in_plain_words() -> None:
    assert unexcused(faults(of_explanations())) == []


def test_the_texts_of_the_core_are_in_plain_words() -> None:
    assert unexcused(faults(strings("imagevol_core"))) == []


def test_the_messages_of_the_adapters_are_in_plain_words() -> None:
    assert unexcused(faults(strings("imagevol_adapters"))) == []


def test_no_docstring_and_no_comment_of_the_adapters_speaks_of_nobody() -> None:
    found = {
        str(file.relative_to(ROOT)): re.findall(r"\b(?:[Nn]obody|[Ss]omebody|[Ww]hoever)\b", file.read_text())
        for file in (ROOT / "src/imagevol_adapters").rglob("*.py")
    }
    assert {file: words for file, words in found.items() if words} == {}
