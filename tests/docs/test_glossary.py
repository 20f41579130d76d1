"""The glossary defines what the pages show."""

from __future__ import annotations

import re
from pathlib import Path

from imagevol_core import rule_tables

GLOSSARY = (Path(__file__).parents[2] / "docs/reference/glossary.md").read_text()


def test_every_specification_that_a_rule_names_is_defined_in_the_glossary() -> None:
    named = {tag for table in rule_tables() for rule in table.rules for tag in re.findall(r"\[(\w+)\]", rule.source)}
    assert named
    assert named == set(re.findall(r"^\(source-(\w+)\)=$", GLOSSARY, re.MULTILINE))
