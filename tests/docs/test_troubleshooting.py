"""The pages on troubleshooting explain every rule, and nothing that is no rule."""

from __future__ import annotations

import re
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "docs/_ext"))
rule_texts = pytest.importorskip("rule_texts")

FILES = sorted((Path(__file__).parents[2] / "docs/_data").glob("troubleshooting-*.toml"))
TEXTS: Mapping[str, tuple[str, Mapping[str, str | list[str]]]] = rule_texts.texts()


def test_every_rule_is_explained() -> None:
    missing = {
        (decision, rule) for decision, rule, _ in rule_texts.rules() if not rule_texts.key_of(decision, rule, TEXTS)
    }
    assert missing == set()


def test_no_explanation_is_left_over_after_its_rule_is_gone() -> None:
    assert set(TEXTS) - {entry.key for entry in rule_texts.entries()} == set()


def test_no_rule_is_explained_on_two_pages_by_one_name() -> None:
    assert FILES
    keys = Counter(key for file in FILES for key in tomllib.loads(file.read_text()))
    assert [key for key, count in keys.items() if count > 1] == []


@pytest.mark.parametrize("key", TEXTS)
def test_an_explanation_says_what_a_rule_means_how_to_see_it_and_how_to_change_it(key: str) -> None:
    text = TEXTS[key][1]
    assert {"means", "see", "change"} <= set(text) <= {"means", "see", "look", "change"}
    assert all(text.values())
    sentences = [text["means"], text["change"], text.get("look", "Nothing.")]
    assert all(isinstance(sentence, str) and re.search(r"[.)]$", sentence) for sentence in sentences)
