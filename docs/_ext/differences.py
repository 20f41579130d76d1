"""The `differences` directive: the same facts to both policies, and both answers, out of the code that gives them."""

from __future__ import annotations

from docutils import nodes
from inline_code import paragraph
from policy_cases import CASES
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from imagevol_core import Policy

COLUMNS = {"What is asked": 30, "strict": 22, "upstream": 22, "Why": 26}


class Differences(SphinxDirective):
    """One table, with a row for each case."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        body = nodes.tbody()
        for case in CASES:
            body += _row(case.asked, case.answer(Policy.STRICT), case.answer(Policy.UPSTREAM), case.why)
        columns = [nodes.colspec(colwidth=width) for width in COLUMNS.values()]
        head = nodes.thead("", _row(*COLUMNS))
        return [nodes.table("", nodes.tgroup("", *columns, head, body, cols=len(COLUMNS)))]


def _row(*texts: str) -> nodes.row:
    return nodes.row("", *(nodes.entry("", paragraph(text)) for text in texts))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx of the directive."""
    app.add_directive("differences", Differences)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
