"""The `option-lists` directive: every option of the services, out of the code that reads it."""

from __future__ import annotations

from docutils import nodes
from inline_code import paragraph
from option_entries import Entry, Section, sections
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata


class OptionLists(SphinxDirective):
    """A heading for each section of a file, and a list of its options; each option can be linked to."""

    def run(self) -> list[nodes.Node]:
        """Make the lists."""
        return [self.section(section) for section in sections()]

    def section(self, section: Section) -> nodes.section:
        """Make the list of one section."""
        made = nodes.section("", nodes.title(text=f"[{section.name}]"), ids=[nodes.make_id(section.name)])
        self.state.document.note_implicit_target(made)
        made += nodes.paragraph(text=section.text)
        made += nodes.definition_list("", *(_item(section, entry) for entry in section.entries))
        return made


def _item(section: Section, entry: Entry) -> nodes.definition_list_item:
    term = nodes.term("", "", nodes.literal(text=f"{entry.name} = {entry.default}".rstrip()))
    term["ids"] = [nodes.make_id(f"{section.name}-{entry.name}")]
    about = f"{entry.kind[0].upper()}{entry.kind[1:]}. {entry.text}"
    return nodes.definition_list_item("", term, nodes.definition("", paragraph(about)))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx of the directive."""
    app.add_directive("option-lists", OptionLists)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
