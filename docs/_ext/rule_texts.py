"""What each rule means to an operator: the texts of docs/_data/troubleshooting-*.toml, brought together with the rules.

Each file is a page. A text belongs to a rule's id. `ID@DECISION` is the text of the rule in one decision only, which is
the first word of a table's name. A text has `means`, `see`, a list of commands, `change`, and perhaps `look`: what to
look for in the output of the commands.
"""

from __future__ import annotations

import tomllib
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from imagevol_core import rule_tables

DATA = Path(__file__).parents[1] / "_data"

PAGES: Mapping[str, tuple[str, ...]] = {
    "creating": ("Cloning", "Creation", "Caching", "Templates", "Pruning", "Warming"),
    "stores": ("Uploading", "Stores", "Selection", "Custody", "Attaching", "Remains", "Removal", "Upgrade"),
    "locations": ("Migration", "Relocation"),
    "copies": ("Store copies",),
    "data": ("Copying", "Safety", "Resuming"),
    "auditing": ("Auditing", "Repairing"),
    "host": ("Doctor",),
    "backend": ("Validating",),
    "shards": ("Sharding",),
}
# Verdicts that are in no table, because they are about a limit or about all stores together.
BESIDE_THE_TABLES = {
    "above-limits": ("Pruning", "within the limits"),
    "all-go": ("Pruning", "goes: all templates of the backend are deleted"),
    "store-of-type": ("Uploading", "a store has it"),
}


Text = Mapping[str, str | list[str]]


@dataclass(frozen=True)
class Entry:
    """One rule as a page shows it.

    Attributes:
        rule: its id.
        page: the page, without its suffix.
        decision: the heading on the page.
        key: the key of its text.
        holds: what the rule says; several texts if decisions or policies say different things.
        text: its text.
    """

    rule: str
    page: str
    decision: str
    key: str
    holds: list[str]
    text: Text


@cache
def texts() -> dict[str, tuple[str, Text]]:
    """Read the texts of all pages: the page and the text, by key."""
    return {
        key: (page, text)
        for page in PAGES
        for key, text in tomllib.loads((DATA / f"troubleshooting-{page}.toml").read_text()).items()
    }


def rules() -> Iterator[tuple[str, str, str]]:
    """Give the decision, the id and the text of every rule, in the order of the pages; a rule of two policies twice."""
    found = [(table.name.partition(":")[0], rule.id, rule.text) for table in rule_tables() for rule in table.rules] + [
        (decision, rule, text) for rule, (decision, text) in BESIDE_THE_TABLES.items()
    ]
    order = [decision for decisions in PAGES.values() for decision in decisions]
    yield from sorted(found, key=lambda each: order.index(each[0]) if each[0] in order else len(order))


def key_of(decision: str, rule: str, known: Container[str]) -> str | None:
    """Give the key of a rule's text in one decision; None if it has none."""
    return next((key for key in (f"{rule}@{decision.lower()}", rule) if key in known), None)


def anchor(key: str) -> str:
    """Give the place on the page that links lead to."""
    return f"rule-{key}".replace("@", "-")


def entries() -> list[Entry]:
    """Give each text once, where its rule is first met; a rule without a text is left to the test to report."""
    known = texts()
    found: dict[str, Entry] = {}
    for decision, rule, holds in rules():
        if key := key_of(decision, rule, known):
            page, text = known[key]
            entry = found.setdefault(key, Entry(rule, page, decision, key, [], text))
            if holds not in entry.holds:
                entry.holds.append(holds)
    return list(found.values())
