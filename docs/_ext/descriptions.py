"""A description for each page that names none: its first paragraph, for search engines and previews of links."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import quoteattr

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

LONGEST = 160


def describe(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Add the description to the head of a page."""
    if 'name="description"' not in context.get("metatags", ""):
        text = first_paragraph(doctree) or f"{context.get('title', page)}: the documentation of {app.config.project}"
        context["metatags"] = (
            context.get("metatags", "") + f'\n<meta name="description" content={quoteattr(short(text))} />'
        )


def first_paragraph(doctree: nodes.document | None) -> str:
    """Give the first paragraph that is not part of a list or a table."""
    for paragraph in doctree.findall(nodes.paragraph) if doctree else ():
        if not _inside(paragraph):
            return " ".join(paragraph.astext().split())
    return ""


def _inside(node: nodes.Node) -> bool:
    while (node := node.parent) is not None:
        if isinstance(node, nodes.list_item | nodes.entry | nodes.definition):
            return True
    return False


def short(text: str) -> str:
    """Give whole words of a text, as many as a search engine shows."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rsplit(' ', 1)[0]}…"


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx of it."""
    app.connect("html-page-context", describe)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
