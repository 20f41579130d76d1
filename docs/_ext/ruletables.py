"""The `ruletables` directive: the rules that decide, as tables, out of the code that walks them.

A page that is written by hand drifts from the code; this one is the code.
"""

from __future__ import annotations

import re

from docutils import nodes
from inline_code import inline
from rule_texts import anchor, key_of, texts
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata
from troubleshooting import link

from imagevol_core import Choice, RuleTable, rule_tables

WIDTHS = (20, 55, 25)
MUST_HOLD, APPLIES = "What must hold", "When it applies, and what follows"


class RuleTables(SphinxDirective):
    """A section for each rule table, with a row for each rule in the order in which it is asked."""

    def run(self) -> list[nodes.Node]:
        """Make the sections."""
        return [self.section(table) for table in rule_tables()]

    def section(self, table: RuleTable) -> nodes.section:
        """Make the section of one table; it can be linked to by its heading."""
        title = f"{table.name} ({table.policy.value})"
        section = nodes.section("", nodes.title(text=title), ids=[nodes.make_id(title)])
        self.state.document.note_implicit_target(section)
        body = nodes.tbody()
        for rule in table.rules:
            body += row(meaning(table, rule.id), nodes.inline("", "", *inline(rule.text)), linked(rule.source))
        columns = [nodes.colspec(colwidth=width) for width in WIDTHS]
        says = APPLIES if isinstance(table.rules[0], Choice) else MUST_HOLD
        head = nodes.thead("", row(*map(nodes.Text, ("Rule", says, "Source"))))
        group = nodes.tgroup("", *columns, head, body, cols=len(WIDTHS))
        section += nodes.table("", group)
        return section


def row(*cells: nodes.Node) -> nodes.row:
    """Make a row with a paragraph in each cell."""
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))


def linked(source: str) -> nodes.inline:
    """Make the source of a rule, in which each specification is a link to the glossary."""
    parts = re.split(r"(\[(?:clone|base|store|multi|template)\])", source)
    made = [_reference(part) if part.startswith("[") else nodes.Text(part) for part in parts if part]
    return nodes.inline("", "", *made)


def meaning(table: RuleTable, rule: str) -> nodes.Node:
    """Make the id of a rule, a link to what it means to an operator."""
    key = key_of(table.name.partition(":")[0], rule, texts())
    literal = nodes.literal(text=rule)
    return link(anchor(key), literal) if key else literal


def _reference(tag: str) -> nodes.Node:
    return link(f"source-{tag.strip('[]')}", nodes.inline(text=tag))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx of the directive."""
    app.add_directive("ruletables", RuleTables)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
