"""The `benchmarks` directive: a committed result of the benchmarks as a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
COLUMNS = {"What is moved": 36, "imagevol": 12, "Others": 28, "Times": 14, "Of the limit": 10}


class Benchmarks(SphinxDirective):
    """A table with a row for each case, and a line that says where it was measured."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        path = RESULTS / f"{self.arguments[0]}.json"
        self.env.note_dependency(str(path))
        result: dict[str, Any] = json.loads(path.read_text())
        body = nodes.tbody()
        for row in result["rows"]:
            body += _row(
                row["name"],
                f"{row['ours_mib_s']:,}",
                "; ".join(f"{name} {speed:,}" for name, speed in row["theirs_mib_s"].items()),
                "; ".join(f"{times:g}" for times in row["times"].values()),
                f"{row['part_of_limit']:.0%}" if row["part_of_limit"] else "",
            )
        columns = [nodes.colspec(colwidth=width) for width in COLUMNS.values()]
        head = nodes.thead("", _row(*COLUMNS))
        where = f"{result['host']}; {', '.join(f'{name} {version}' for name, version in result['versions'].items())}."
        table = nodes.table("", nodes.tgroup("", *columns, head, body, cols=len(COLUMNS)))
        return [table, nodes.paragraph(text=where)]


def _row(*texts: str) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph(text=text)) for text in texts))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx of the directive."""
    app.add_directive("benchmarks", Benchmarks)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
