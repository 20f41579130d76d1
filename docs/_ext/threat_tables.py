"""The `threat-tables` directive: for each part of imagevol, what is checked, and which attack that stops.

The `driver-threats` directive is the table of the attacks that depend on a Cinder driver too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from docutils import nodes
from inline_code import inline
from rule_texts import anchor
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata
from threats import FILE, as_sentence, joined, target, threats
from troubleshooting import link

PARTS: Mapping[str, tuple[str, str]] = {
    "mixin": ("The mixin, in cinder-volume", "It clones image volumes and templates, and makes templates."),
    "store": ("The store, in glance-api", "It stores, gives out and deletes image volumes."),
    "filter": (
        "The filter, in glance-api",
        "It reads the base image as the requester, and chooses stores.",
    ),
    "command line": ("The command line", "It moves, verifies, audits and repairs, with an operator's credentials."),
}
CHECK, ATTACK, SHOWN = "Check", "Attack that it stops", "Rule, or test"
MUST, TRIED = "What your driver must do", "What tries it"
ALONE = (
    "These do not depend on the driver. The mixin decides them before it calls a method of the driver, or checks the "
    "result itself. They hold if the driver overrides only what it can override, and calls `super()` where it must:"
)


class ThreatTables(SphinxDirective):
    """A section for each part; attacks that need the driver are in a table of their own."""

    def run(self) -> list[nodes.Node]:
        """Make the sections."""
        self.env.note_dependency(str(FILE))
        return [self.section(part, *said) for part, said in PARTS.items()]

    def section(self, part: str, title: str, does: str) -> nodes.section:
        """Make the section of one part."""
        section = nodes.section("", nodes.title(text=title), ids=[nodes.make_id(f"part {part}")])
        self.state.document.note_implicit_target(section)
        section += nodes.paragraph("", "", *inline(does))
        of_part = [threat for threat in threats() if part in threat["parts"]]
        if part == "mixin":
            section += nodes.paragraph("", "", *inline(ALONE))
            of_part = [threat for threat in of_part if "driver" not in threat]
        section += table((CHECK, ATTACK, SHOWN), ((*_both(each), _shown(each)) for each in of_part))
        return section


class DriverThreats(SphinxDirective):
    """What a driver must do, and what shows that it does."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        self.env.note_dependency(str(FILE))
        needing = [threat for threat in threats() if "driver" in threat]
        rows = [(*_both(each), inline(each["driver"]), _shown_for_driver(each)) for each in needing]
        return [table((CHECK, ATTACK, MUST, TRIED), rows)]


def table(heads: Sequence[str], rows: Iterable[Iterable[list[nodes.Node]]]) -> nodes.table:
    """Make a table; each cell is a paragraph."""
    head = nodes.thead("", _row([nodes.Text(head)] for head in heads))
    body = nodes.tbody("", *(_row(cells) for cells in rows))
    columns = [nodes.colspec(colwidth=100 // len(heads)) for _ in heads]
    return nodes.table("", nodes.tgroup("", *columns, head, body, cols=len(heads)))


def _row(cells: Iterable[list[nodes.Node]]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells))


def _both(threat: Mapping[str, Any]) -> tuple[list[nodes.Node], list[nodes.Node]]:
    check = nodes.reference("", "", *inline(threat["check"].rstrip(".")), refid=target(threat), internal=True)
    return [check], inline(threat["attack"])


def _rules(names: Iterable[str]) -> list[nodes.Node]:
    return [link(anchor(name), nodes.literal(text=name)) for name in names]


def _shown(threat: Mapping[str, Any]) -> list[nodes.Node]:
    """Give the rules that refuse; if there are none, the tests, as sentences."""
    found = _rules(threat.get("rules", ()))
    return joined(found, ", ") if found else joined([nodes.Text(as_sentence(each)) for each in threat["tests"]], "; ")


def _shown_for_driver(threat: Mapping[str, Any]) -> list[nodes.Node]:
    tests: list[nodes.Node] = [nodes.Text(as_sentence(each)) for each in threat.get("suite", ())]
    suite = [nodes.Text("suite: "), *joined(tests, "; "), nodes.Text(". ")] if tests else []
    return [*suite, nodes.Text("validate: "), *joined(_rules(threat["trials"]), ", ")]


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx of the directive."""
    app.add_directive("threat-tables", ThreatTables)
    app.add_directive("driver-threats", DriverThreats)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
