"""The `metrics` directive: a row for each metric of the tables that it names, out of the code that writes them."""

from __future__ import annotations

from collections.abc import Iterator

from docutils import nodes
from inline_code import inline
from ruletables import row
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from imagevol_adapters.metrics import TABLES, Series

WIDTHS = (35, 25, 40)


class Metrics(SphinxDirective):
    """A table of metrics: name, labels with their values, and what the metric is."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        named = self.arguments[0].split()
        columns = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in WIDTHS), cols=len(WIDTHS))
        columns += nodes.thead("", row(*map(nodes.Text, ("metric", "labels", "what it is"))))
        columns += nodes.tbody("", *(cells(series) for name in named for series in TABLES[name].values()))
        return [nodes.table("", columns)]


def cells(series: Series) -> nodes.row:
    """Give the row of a metric."""
    texts = (f"`{series.name}`", "; ".join(labels(series)), f"{series.help[0].lower()}{series.help[1:].rstrip('.')}")
    return row(*(nodes.inline("", "", *inline(text)) for text in texts))


def labels(series: Series) -> Iterator[str]:
    """Give each label with the values that it can have, if they are few and known.

    >>> list(labels(TABLES["store"]["bytes"]))
    ['`store`', '`direction` (`read`, `write`)']
    """
    for name, values in series.labels.items():
        yield f"`{name}`" + (f" ({', '.join(f'`{value}`' for value in values)})" if values else "")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx of the directive."""
    app.add_directive("metrics", Metrics)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
