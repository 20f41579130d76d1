"""The `decision-diagrams` directive: each decision table as a picture of boxes, out of the tables that are walked.

The boxes are lists, so that a narrow screen and a screen reader can show them.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from itertools import groupby
from pathlib import Path
from typing import Any

from docutils import nodes
from import_graph import SOURCES
from inline_code import inline
from ruletables import meaning
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

import imagevol_core
from imagevol_core import Policy, RuleTable, rule_tables

FIRST = " (the first that applies)"


class DecisionDiagrams(SphinxDirective):
    """A section for each decision, and in it a diagram for each of its strict tables."""

    def run(self) -> list[nodes.Node]:
        """Make the sections."""
        strict = [table for table in rule_tables() if table.policy is Policy.STRICT]
        asking = deciders()
        names = {id(table.rules): names for table in strict for names in [constants(table)]}
        return [
            self.section(decision, list(tables), asking, names)
            for decision, tables in groupby(strict, key=lambda table: table.name.partition(":")[0])
        ]

    def section(
        self,
        decision: str,
        tables: list[RuleTable],
        asking: Mapping[str, list[str]],
        names: Mapping[int, list[str]],
    ) -> nodes.section:
        """Make the section of a decision."""
        section = nodes.section("", nodes.title(text=decision), ids=[f"diagram-{nodes.make_id(decision)}"])
        self.state.document.note_implicit_target(section)
        for table in tables:
            functions = sorted({each for name in names[id(table.rules)] for each in asking.get(name, [])})
            section += diagram(table, functions)
        return section


def diagram(table: RuleTable, functions: list[str]) -> nodes.container:
    """Draw one table: what asks it, its rows in their order, and what follows from them."""
    title = table.name.partition(": ")[2].removesuffix(FIRST)
    drawn = nodes.container(classes=["decision"])
    head = nodes.paragraph(classes=["decision-head"])
    head += nodes.strong(text=title[:1].upper() + title[1:])
    if functions:
        head += nodes.Text(": ")
        for number, name in enumerate(functions):
            head += [nodes.Text(", ")] if number else []
            head += nodes.literal(text=name)
    drawn += head
    drawn += nodes.paragraph(text=how(table), classes=["decision-how"])
    rows = nodes.enumerated_list(classes=["decision-rows"])
    for rule in table.rules:
        item = nodes.paragraph("", "", meaning(table, rule.id), *inline(f" {rule.text}"))
        if (said := outcome(rule)) is not None:
            item += [nodes.Text(" → "), nodes.strong(text=said)]
        if getattr(rule, "gate", False):
            item += nodes.emphasis(text=" If not, no further rule is asked.")
        if getattr(rule, "final", False):
            item += nodes.emphasis(text=" If so, no further rule is asked.")
        rows += nodes.list_item("", item)
    drawn += rows
    return drawn


def how(table: RuleTable) -> str:
    """Say how the rows are walked."""
    if table.name.endswith(FIRST):
        return "The first rule that applies decides:"
    if all(hasattr(rule, "applies") for rule in table.rules):
        return "Each rule that applies counts, in this order:"
    return "All rules are asked, and each must hold:"


def outcome(rule: Any) -> str | None:
    """Say what follows from a row, if the row itself has it."""
    found = getattr(rule, "outcome", None)
    if isinstance(found, Enum):
        return str(found.value)
    return found if isinstance(found, str) and found != rule.id else None


def constants(table: RuleTable) -> list[str]:
    """Give the names by which the code knows a table."""
    found = []
    for module in list(_modules().values()):
        for name, value in vars(module).items():
            if isinstance(value, Mapping) and value.get(table.policy) is table.rules:
                found.append(name)
    return sorted(set(found))


def _modules() -> dict[str, Any]:
    return {name: module for name, module in sys.modules.items() if name.startswith("imagevol_core")}


def deciders() -> dict[str, list[str]]:
    """Give, for each table's name, the public functions that come to ask it."""
    functions = dict(_functions(SOURCES / "imagevol_core"))
    where = {name: file for file, name in functions if not name.startswith("_")}
    public = sorted(set(imagevol_core.__all__) & set(where))
    found: dict[str, list[str]] = {}
    for name in public:
        pending, seen = [(where[name], name)], set[tuple[Path, str]]()
        while pending:
            if (each := pending.pop()) in seen:
                continue
            seen.add(each)
            for used in functions[each]:
                if re.fullmatch(r"[A-Z][A-Z_]*_RULES", used):
                    found.setdefault(used, []).append(name)
                elif (each[0], used) in functions:
                    pending.append((each[0], used))
                elif used in where and used not in public:
                    pending.append((where[used], used))
    return found


def _functions(directory: Path) -> Iterator[tuple[tuple[Path, str], frozenset[str]]]:
    """Give the names that each function of a package uses."""
    for file in sorted(directory.rglob("*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                yield (file, node.name), frozenset(each.id for each in ast.walk(node) if isinstance(each, ast.Name))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx of the directive."""
    app.add_directive("decision-diagrams", DecisionDiagrams)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
