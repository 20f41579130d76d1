"""The directives `import-diagram` and `import-table`: the parts of a package, and what they import, out of the code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from docutils import nodes
from import_graph import SOURCES, Part, edges, layers, parts, reduced
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

WIDTH = 760
BOX_HEIGHT, ROW_HEIGHT, GAP = 30, 74, 14
WRAPPED_HEIGHT = BOX_HEIGHT + 12  # of a row of the same layer


@dataclass
class Box:
    """A part in the picture."""

    name: str
    x: float
    y: float
    width: float

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


def shown(found: Mapping[str, Part]) -> list[str]:
    """Choose what is drawn: all, or of many parts the packages and what reaches out to a library."""
    if not any(part.libraries for part in found.values()):
        return list(found)
    return [name for name, part in found.items() if part.is_package or part.libraries]


def place(graph: Mapping[str, set[str]]) -> list[Box]:
    """Put each layer into rows, the lowest at the bottom, each part above what it imports."""
    boxes: dict[str, Box] = {}
    rows: list[tuple[bool, list[str]]] = []
    for layer in layers(graph):
        row: list[str] = []
        first = True
        for name in layer:
            if row and sum(_width(each) + GAP for each in (*row, name)) > WIDTH:
                rows.append((first, row))
                row, first = [], False
            row.append(name)
        rows.append((first, row))
    y = 0.0
    for number, (first, row) in enumerate(rows):
        y += 0 if number == 0 else ROW_HEIGHT if first else WRAPPED_HEIGHT
        row.sort(key=lambda name: _wish(name, graph, boxes))
        total = sum(_width(name) for name in row)
        gap = min(60.0, (WIDTH - total) / (len(row) + 1)) if len(row) > 1 else 0
        x = (WIDTH - total - gap * (len(row) - 1)) / 2
        for name in row:
            boxes[name] = Box(name, x, -y, _width(name))
            x += _width(name) + gap
    return list(boxes.values())


def _width(name: str) -> float:
    return 7.4 * len(name) + 18


def _wish(name: str, graph: Mapping[str, set[str]], boxes: Mapping[str, Box]) -> float:
    below = [boxes[each].middle for each in graph[name] if each in boxes]
    return sum(below) / len(below) if below else WIDTH / 2


def picture(package: str) -> str:
    """Draw the parts of a package; each line goes from a part down to what it imports."""
    found = parts(package)
    graph = reduced(edges(found, shown(found)))
    placed = place(graph)
    boxes = {box.name: box for box in placed}
    top = min(box.y for box in placed) - 4
    height = BOX_HEIGHT + 8 - min(box.y for box in placed)
    lines = [
        _line(boxes[name], boxes[below]) for name in sorted(graph) for below in sorted(graph[name]) if below in boxes
    ]
    return "\n".join(
        (
            (
                f'<div class="diagram" tabindex="0"><svg role="img" aria-label="{escape(_told(package, graph))}" '
                f'viewBox="0 {top:g} {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}">'
            ),
            *lines,
            *(_box(box, package=found[box.name].is_package) for box in placed),
            "</svg></div>",
        )
    )


def _told(package: str, graph: Mapping[str, set[str]]) -> str:
    said = (f"{name} imports {', '.join(sorted(below))}" for name, below in sorted(graph.items()) if below)
    return f"{package}: {'; '.join(said)}."


def _line(upper: Box, lower: Box) -> str:
    start, end = upper.y + BOX_HEIGHT, lower.y
    bend = max(18.0, (end - start) / 3)
    way = f"M{upper.middle:g} {start:g}C{upper.middle:g} {start + bend:g} {lower.middle:g} {end - bend:g}"
    return f'<path class="edge" d="{way} {lower.middle:g} {end:g}"/>'


def _box(box: Box, *, package: bool) -> str:
    kind = "package" if package else "module"
    return (
        f'<rect class="{kind}" x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{BOX_HEIGHT}" rx="6"/>'
        f'<text x="{box.middle:g}" y="{box.y + 20:g}">{escape(box.name)}</text>'
    )


class ImportDiagram(SphinxDirective):
    """The picture."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Draw it."""
        _depend(self, self.arguments[0])
        return [nodes.raw("", picture(self.arguments[0]), format="html")]


class ImportTable(SphinxDirective):
    """The same as a table, with what each part is and the libraries that it needs."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make it."""
        package = self.arguments[0]
        _depend(self, package)
        body = nodes.tbody()
        found = parts(package)
        libraries = any(part.libraries for part in found.values())
        for part in found.values():
            text = self.parse_inline(part.text)[0]
            cells: list[Sequence[nodes.Node]] = [[nodes.literal(text=part.name)], text, _names(part.imports)]
            body += _row(*cells, *([_names(part.libraries)] if libraries else []))
        columns = ["part", "what it is", "imports", *(["libraries"] if libraries else [])]
        specs = [nodes.colspec(colwidth=width) for width in (15, 45, 25, 15)[: len(columns)]]
        head = nodes.thead("", _row(*([nodes.Text(each)] for each in columns)))
        return [nodes.table("", nodes.tgroup("", *specs, head, body, cols=len(columns)))]


def _depend(directive: SphinxDirective, package: str) -> None:
    for file in (SOURCES / package).rglob("*.py"):
        directive.env.note_dependency(str(file))


def _names(names: frozenset[str]) -> list[nodes.Node]:
    return [nodes.Text(", ".join(sorted(names)))]


def _row(*cells: Sequence[nodes.Node]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx of the directives."""
    app.add_directive("import-diagram", ImportDiagram)
    app.add_directive("import-table", ImportTable)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
