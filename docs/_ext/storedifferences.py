"""The `store-differences` directive: where glance_store's own tests end otherwise on our driver, as a table.

It is the table that the tests in `tests/upstream` hold to be whole.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from docutils import nodes
from inline_code import paragraph
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

TABLE = Path(__file__).parents[2] / "tests" / "upstream" / "glance_store_differences.toml"
COLUMNS = {"What is different": 60, "Its tests": 40}


class StoreDifferences(SphinxDirective):
    """A table of one kind of differences, with a row for each reason."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        self.env.note_dependency(str(TABLE))
        tests: dict[str, list[str]] = {}
        for row in tomllib.loads(TABLE.read_text())["difference"]:
            if row["kind"] == self.arguments[0]:
                named = [f"`{name}`" for which in ("both", "one", "several") for name in row.get(which, ())]
                tests.setdefault(row["reason"], []).extend(named)
        if not tests:
            raise self.error(f"there are no differences of the kind {self.arguments[0]}")
        body = nodes.tbody()
        for reason, names in tests.items():
            body += _row(reason, ", ".join(names))
        columns = [nodes.colspec(colwidth=width) for width in COLUMNS.values()]
        head = nodes.thead("", _row(*COLUMNS))
        return [nodes.table("", nodes.tgroup("", *columns, head, body, cols=len(COLUMNS)))]


def _row(*texts: str) -> nodes.row:
    return nodes.row("", *(nodes.entry("", paragraph(text)) for text in texts))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx of the directive."""
    app.add_directive("store-differences", StoreDifferences)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
