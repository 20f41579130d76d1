"""Texts of the code as nodes: what is between backticks is code."""

from __future__ import annotations

from docutils import nodes


def inline(text: str) -> list[nodes.Node]:
    """Give the nodes of a text.

    >>> [node.astext() for node in inline("set `stores` first")]
    ['set ', 'stores', ' first']
    """
    parts = text.split("`")
    return [nodes.literal(text=part) if at % 2 else nodes.Text(part) for at, part in enumerate(parts) if part]


def paragraph(text: str) -> nodes.paragraph:
    """Give a paragraph."""
    return nodes.paragraph("", "", *inline(text))
