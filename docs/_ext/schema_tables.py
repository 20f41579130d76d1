"""The `command-schemas` directive: each key of each command's JSON, out of the schemas that the commands declare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from docutils import nodes
from inline_code import inline
from ruletables import row
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from imagevol_adapters.cli.command_schemas import command_schemas

WIDTHS = (25, 25, 50)
_PLAIN = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "null": "null",
    "object": "object",
}


class CommandSchemas(SphinxDirective):
    """A section for each command, with its schema to download and a row for each key."""

    def run(self) -> list[nodes.Node]:
        """Make the sections."""
        return [self.section(name, schema) for name, schema in command_schemas().items()]

    def section(self, name: str, schema: dict[str, Any]) -> nodes.section:
        """Make the section of one command."""
        made = nodes.section("", nodes.title(text=name), ids=[nodes.make_id(name)])
        self.state.document.note_implicit_target(made)
        file = f"{name.replace(' ', '-')}.json"
        download = addnodes.download_reference(
            "", "", nodes.literal(text=file), reftarget=f"schemas/{file}", refdoc=self.env.docname
        )
        made += nodes.paragraph("", "", nodes.Text(f"{shape(schema)} The JSON Schema: "), download, nodes.Text("."))
        for title, part in parts(schema):
            if title:
                made += nodes.paragraph("", "", *inline(title))
            made += table(part)
        return made


def shape(schema: dict[str, Any]) -> str:
    """Say what the whole answer is."""
    if "anyOf" in schema:
        return (
            "One of several objects: those that are a whole answer come first, and the first of them is the usual one."
        )
    return "A list of objects." if schema["type"] == "array" else "One object."


def parts(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each object of a schema that has a table of its own, and what it is called; whole answers first.

    >>> [title for title, _ in parts({"type": "array", "items": {"type": "object", "properties": {}}})]
    ['']
    >>> answers = [{"$ref": "#/$defs/one"}, {"properties": {"many": {}}}]
    >>> [title for title, _ in parts({"anyOf": answers, "$defs": {"part": {}, "one": {}}})]
    ['A whole answer, `one`:', 'A whole answer, of `many`:', '`part`:']
    """
    inner = dict(schema.get("$defs", {}))
    for choice in schema.get("anyOf", [schema.get("items", schema)]):
        name = choice.get("$ref", "").rpartition("/")[2]
        if "anyOf" in schema and name in inner:
            yield f"A whole answer, `{name}`:", inner.pop(name)
        elif "properties" in choice:
            titled = f"A whole answer, of {listed(choice['properties'])}:" if "anyOf" in schema else ""
            yield titled, choice
    for name, part in inner.items():
        yield f"`{name}`:", part


def listed(names: Any) -> str:
    """Give names as code."""
    return ", ".join(f"`{name}`" for name in names)


def rows(part: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Give the key, the type and the meaning of each key, those of the objects inside after their own.

    >>> size = {"type": "integer", "description": "In GiB."}
    >>> list(rows({"properties": {"size": size}, "required": ["size"]}))
    [('size', 'whole number', 'In GiB.')]
    """
    for name, schema in part["properties"].items():
        optional = "" if name in part["required"] else ", not always there"
        yield f"{prefix}{name}", words(schema) + optional, schema["description"]
        inner = schema.get("items", schema)
        if "properties" in inner:
            yield from rows(inner, f"{prefix}{name}{'[]' if inner is not schema else ''}.")


def words(schema: Any) -> str:
    """Say in words which values are valid.

    >>> words({"type": ["string", "null"]}), words({"type": "array", "items": {"$ref": "#/$defs/way"}})
    ('text or null', 'list of `way`')
    """
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if "anyOf" in schema:
        return " or ".join(map(words, schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list of {words(schema['items'])}"
    kinds = schema.get("type", [])
    return " or ".join(_PLAIN[kind] for kind in (kinds if isinstance(kinds, list) else [kinds])) or "any value"


def table(part: dict[str, Any]) -> nodes.table:
    """Make the table of an object."""
    body = nodes.tbody()
    for key, kind, about in rows(part):
        body += row(nodes.literal(text=key), nodes.inline("", "", *inline(kind)), nodes.inline("", "", *inline(about)))
    head = nodes.thead("", row(*map(nodes.Text, ("Key", "Value", "What it is"))))
    columns = [nodes.colspec(colwidth=width) for width in WIDTHS]
    return nodes.table("", nodes.tgroup("", *columns, head, body, cols=len(WIDTHS)))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx of the directive."""
    app.add_directive("command-schemas", CommandSchemas)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
