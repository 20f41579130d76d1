"""The `bad-days` directive: a section for each kind of fault, with what its runs recorded in `docs/_data/faults`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from docutils import nodes
from inline_code import inline, paragraph
from ruletables import row
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

RESULTS = Path(__file__).parents[1] / "_data" / "faults"
# Each with its heading, what is brought about, and the command that does it again.
KINDS: Mapping[str, tuple[str, str, str]] = {
    "killing": (
        "Killed at a system call",
        (
            "The process is killed, or one of its system calls fails, at a drawn number of calls. Then the same "
            "command runs again, and after it `imagevol audit --repair`."
        ),
        ".venv/bin/nox -s faults -- killing",
    ),
    "language": (
        "Calls of services that fail, in memory",
        (
            "Two workers share the services of the test kit. A drawn call fails, stalls, loses its answer, is done "
            "twice, answers late or answers something old, or the worker dies there. What must hold is looked at after "
            "each step."
        ),
        ".venv/bin/nox -s faults -- language",
    ),
    "proxy": (
        "Services that fail",
        (
            "A proxy between imagevol and the real Keystone, Cinder and Glance gives each call an error in place of an "
            "answer, no answer, or half of one, once or for good. It also stands between the services: before what "
            "glance-api with the store asks, and cinder-volume with the mixin. What is left of a service that does not "
            "recover counts as left behind if no error and no log names it. Each try is searched for passwords and "
            "tokens."
        ),
        ".venv/bin/nox -s faults -- proxy",
    ),
    "load": (
        "Load",
        (
            "Many workers store, read, clone and copy images of mixed sizes on real services at the same time. A proxy "
            "lets their calls go wrong at random, workers are killed, and a user asks for many volumes of one image. "
            "At the end every image is read again, and what each process holds is compared with what it held before, "
            "both times after it gave freed memory back. For that, the services run with one arena of memory "
            "(MALLOC_ARENA_MAX=1)."
        ),
        ".venv/bin/nox -s load",
    ),
    "san": (
        "Storage that fails, by iSCSI and NVMe-TCP",
        "A target is killed, a path is lost, or a device gives errors, in a small machine with a kernel of its own.",
        ".venv/bin/nox -s san",
    ),
    "rbd": (
        "Storage that fails, with Ceph",
        "The OSD of a real Ceph is stopped and started in the middle of a transfer, or a pool becomes full.",
        ".venv/bin/nox -s rbd -- --record-faults",
    ),
    "fuzzing": (
        "Input that is made up",
        "Every parser is given input that a fuzzer makes up: it answers, or refuses with an error of its own.",
        ".venv/bin/nox -s fuzz",
    ),
    "adversaries": (
        "Attacks",
        "Each attack of the threat model is tried.",
        ".venv/bin/nox -s tests-3.11 -- -k adversar",
    ),
}
HEADS = {"fault": 26, "what it happened to": 20, "tried": 8, "outcome": 26, "left behind": 10, "seed": 10}
MEASURED = {"what was measured": 60, "before": 20, "after": 20}
NOT_YET = "No long run of this kind is recorded yet. Its short part is in `make test`, which records nothing."


class BadDays(SphinxDirective):
    """A section for each kind."""

    def run(self) -> list[nodes.Node]:
        """Make the sections; a kind that was not run says so."""
        if unknown := {file.stem for file in RESULTS.glob("*.json")} - KINDS.keys():
            raise self.error(f"no heading for {', '.join(sorted(unknown))}: add it to KINDS in docs/_ext/bad_days.py")
        for kind in KINDS:
            self.env.note_dependency(str(RESULTS / f"{kind}.json"))
        return [self.section(kind, *about) for kind, about in KINDS.items()]

    def section(self, kind: str, title: str, about: str, command: str) -> nodes.section:
        """Make the section of one kind."""
        section = nodes.section("", nodes.title(text=title), ids=[nodes.make_id(f"bad days {kind}")])
        self.state.document.note_implicit_target(section)
        section += paragraph(f"{about} To run it again: `{command}`.")
        section += found(kind)
        return section


def found(kind: str) -> Iterator[nodes.Node]:
    """Give the table of what was recorded, and what it was recorded of."""
    file = RESULTS / f"{kind}.json"
    if not file.exists():
        yield paragraph(NOT_YET)
        return
    result: dict[str, Any] = json.loads(file.read_text())
    yield table(HEADS, map(texts, result["rows"]))
    if "figures" in result:
        yield table(MEASURED, map(measured, result["figures"]))
    tried, left = (sum(each[name] for each in result["rows"]) for name in ("tried", "left_behind"))
    yield paragraph(f"{tried:,} tries, {left:,} left behind. imagevol {result['release']}, {result['date']}.")


def table(heads: Mapping[str, int], rows: Iterable[tuple[str, ...]]) -> nodes.table:
    """Make a table, given the widths of its columns by their heads."""
    columns = [nodes.colspec(colwidth=width) for width in heads.values()]
    head = nodes.thead("", row(*map(nodes.Text, heads)))
    body = nodes.tbody("", *(row(*map(cell, each)) for each in rows))
    return nodes.table("", nodes.tgroup("", *columns, head, body, cols=len(heads)))


def measured(figure: Mapping[str, Any]) -> tuple[str, ...]:
    """Give the texts of what was measured before a run and after it.

    >>> measured({"what": "glance-api, threads", "before": 12, "after": 1012})
    ('glance-api, threads', '12', '1,012')
    """
    return figure["what"], f"{figure['before']:,}", f"{figure['after']:,}"


def cell(text: str) -> nodes.inline:
    """Give the content of a cell."""
    return nodes.inline("", "", *inline(text))


def texts(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Give the texts of a row.

    >>> row = {"fault": "killed", "what": "`put`", "tried": 3, "outcomes": {"whole": 2, "absent": 1}}
    >>> texts(row | {"left_behind": 0, "seed": None})
    ('killed', '`put`', '3', 'whole 2, absent 1', '0', '-')
    """
    outcomes = ", ".join(f"{outcome} {number:,}" for outcome, number in row["outcomes"].items())
    seed = "-" if row["seed"] is None else str(row["seed"])
    return row["fault"], row["what"], f"{row['tried']:,}", outcomes, f"{row['left_behind']:,}", seed


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx of the directive."""
    app.add_directive("bad-days", BadDays)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
