"""Directives for committed results of the benchmarks: `benchmarks`, `benchmark-machines` and `benchmark-glance`."""

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


class Machines(SphinxDirective):
    """A table with a row for each thing that is moved, a column for each machine, and what holds it back."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        path = RESULTS / "machines.json"
        self.env.note_dependency(str(path))
        found: dict[str, Any] = json.loads(path.read_text())
        machines: list[dict[str, Any]] = found["machines"]
        body = nodes.tbody()
        for name, bound in found["bounds"].items():
            times = [each["times"].get(name, {}) for each in machines]
            peer = next(iter(next(filter(None, times))))
            body += _row(name, peer, *(f"{each[peer]:g}" if peer in each else "" for each in times), bound)
        heads = ["What is moved", "Beside", *map(machine_name, machines), "What limits imagevol"]
        columns = [nodes.colspec(colwidth=width) for width in (32, 14, *[14] * len(machines), 26)]
        return [nodes.table("", nodes.tgroup("", *columns, nodes.thead("", _row(*heads)), body, cols=len(heads)))]


def machine_name(each: dict[str, Any]) -> str:
    """Name a machine, and how fast one core of it makes the digest that Glance keeps."""
    cores = each["machine"].get("cores")
    counted = f"{cores} cores, " if cores else ""
    return f"{each['machine']['processor']} ({counted}sha512 {each['digests_mib_s']['sha512']} MiB/s)"


class InGlance(SphinxDirective):
    """A table with a row for each kind of request and driver, where the seconds went, and where it was measured."""

    def run(self) -> list[nodes.Node]:
        """Make the tables."""
        path = RESULTS / "in_glance.json"
        self.env.note_dependency(str(path))
        result: dict[str, Any] = json.loads(path.read_text())
        names = {"imagevol": "imagevol", "cinder": "glance_store"}
        alone: dict[str, float] = result["cpu_s_alone"]
        body, parts = nodes.tbody(), nodes.tbody()
        for row in result["rows"]:
            for driver, side in row["sides"].items():
                times = f"{row['times']:g}" if driver == "imagevol" else ""
                figures = (
                    f"{side['mib_s']:,}",
                    times,
                    f"{side['right']:g}",
                    f"{side['cpu_s']:g}",
                    f"{side['faults']:,}",
                )
                body += _row(row["name"], names[driver], *figures)
        for name, seconds in alone.items():
            parts += _row(name, f"{seconds:g}")
        columns = {
            "Request": 30,
            "Driver": 14,
            "MiB/s": 10,
            "Times": 10,
            "Right": 8,
            "CPU s/GiB": 12,
            "Page faults/GiB": 16,
        }
        machine = result["machine"]
        where = (
            f"{machine['processor']}, {machine['cores']} cores, {machine['kernel']}, Python {machine['python']}; "
            f"{', '.join(f'{name} {version}' for name, version in result['versions'].items())}. "
            f"{result['pairs']} rounds; load of the machine before {result['load_before']:g}."
        )
        alone_table = _table({"By itself": 60, "CPU s/GiB": 20}, parts)
        return [_table(columns, body), alone_table, nodes.paragraph(text=where)]


def _table(columns: dict[str, int], body: nodes.tbody) -> nodes.table:
    specs = [nodes.colspec(colwidth=width) for width in columns.values()]
    return nodes.table("", nodes.tgroup("", *specs, nodes.thead("", _row(*columns)), body, cols=len(columns)))


def _row(*texts: str) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph(text=text)) for text in texts))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx of the directives."""
    app.add_directive("benchmarks", Benchmarks)
    app.add_directive("benchmark-machines", Machines)
    app.add_directive("benchmark-glance", InGlance)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
