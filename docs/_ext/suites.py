"""The `conformance` directive: what each class of a suite holds a port or a driver to, a sentence for each test.

The sentences are the names of the tests, read from the sources: what a suite needs, such as Cinder, need not be there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from import_graph import SOURCES
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

# Names as these pages spell them; a name of a function has none of their capitals.
NAMES = {"cinder": "Cinder", "glance": "Glance", "url": "URL", "json": "JSON", "read only": "read-only"}
SUITES = SOURCES / "imagevol_adapters" / "testing" / "conformance"


def sentences(files: list[Path]) -> Iterator[tuple[str, list[str]]]:
    """Give the name of each class with tests, and the tests as sentences."""
    for file in files:
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef):
                names = [each.name for each in node.body if isinstance(each, ast.FunctionDef)]
                tests = [sentence(name) for name in names if name.startswith("test_")]
                if tests:
                    yield node.name, tests


def sentence(name: str) -> str:
    """Give the name of a test as a sentence.

    >>> sentence("test_an_image_of_cinder_has_a_url")
    'An image of Cinder has a URL.'
    """
    words = name.removeprefix("test_").replace("_", " ")
    spelled = re.sub(rf"\b({'|'.join(NAMES)})\b", lambda found: NAMES[found[0]], words)
    return f"{spelled[:1].upper()}{spelled[1:]}."


class Conformance(SphinxDirective):
    """A list for each class of the suite of the ports, or of a driver's."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the lists."""
        files = sorted((SUITES / self.arguments[0] if self.arguments else SUITES).glob("*.py"))
        made: list[nodes.Node] = []
        for name, tests in sentences(files):
            made.append(nodes.paragraph("", "", nodes.literal(text=name), nodes.Text(" holds:")))
            made.append(nodes.bullet_list("", *(nodes.list_item("", nodes.paragraph(text=each)) for each in tests)))
        for file in files:
            self.env.note_dependency(str(file))
        return made


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx of the directive."""
    app.add_directive("conformance", Conformance)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
