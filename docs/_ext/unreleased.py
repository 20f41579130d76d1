"""The `unreleased-changes` directive: the fragments of changelog.d, which the next release brings, by their kind."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

FRAGMENTS = Path(__file__).parents[2] / "changelog.d"
KINDS = ("security", "removed", "changed", "fixed", "added")  # what an operator has to know first comes first


class UnreleasedChanges(SphinxDirective):
    """A section for each kind, with an item for each fragment."""

    def run(self) -> list[nodes.Node]:
        """Make the sections."""
        made: list[nodes.Node] = []
        for kind in KINDS:
            section = nodes.section("", nodes.title(text=kind.capitalize()), ids=[nodes.make_id(f"unreleased {kind}")])
            self.state.document.note_implicit_target(section)
            items = nodes.bullet_list("")
            for file in sorted(FRAGMENTS.glob(f"*.{kind}.md")):
                self.env.note_dependency(str(file))
                item = nodes.list_item("")
                self.state.nested_parse(StringList(file.read_text().splitlines(), str(file)), self.content_offset, item)
                items += item
            if items.children:
                section += items
                made.append(section)
        return made


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx of the directive."""
    app.add_directive("unreleased-changes", UnreleasedChanges)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
