"""The `threats` directive: the attacks of docs/_data/threats.toml, with the rules and the tests that stop each."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from rule_texts import DATA, anchor
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata
from troubleshooting import link

FILE = DATA / "threats.toml"
ADVISORIES = {
    "CVE": "https://www.cve.org/CVERecord?id={}",
    "OSSN": "https://wiki.openstack.org/wiki/OSSN/{}",
}


def threats() -> list[Mapping[str, Any]]:
    """Give all attacks, in the order of the file."""
    found: list[Mapping[str, Any]] = tomllib.loads(FILE.read_text())["threat"]
    return found


def target(threat: Mapping[str, Any]) -> str:
    """Give the anchor of an attack on the page."""
    return nodes.make_id(f"check {threat['check']}")


def as_sentence(test: str) -> str:
    """Give the name of a test as a sentence, with the case of it in brackets."""
    name, _, case = test.partition("::")[2].partition("[")
    said = name.removeprefix("test_").replace("_", " ")
    return f"{said} ({case.removesuffix(']')})" if case else said


def joined(found: Sequence[nodes.Node], between: str) -> list[nodes.Node]:
    """Give the nodes with a text between them."""
    return [each for node in found for each in (nodes.Text(between), node)][1:]


class Threats(SphinxDirective):
    """A section for each group of attacks."""

    def run(self) -> list[nodes.Node]:
        """Make the sections."""
        self.env.note_dependency(str(FILE))
        made: list[nodes.Node] = []
        for group, of_group in groupby(threats(), key=lambda threat: str(threat["group"])):
            section = nodes.section("", nodes.title(text=group), ids=[nodes.make_id(group)])
            self.state.document.note_implicit_target(section)
            for threat in of_group:
                section += self.threat(threat)
            made.append(section)
        return made

    def threat(self, threat: Mapping[str, Any]) -> nodes.container:
        """Make one attack, what stops it, and what shows that."""
        box = nodes.container(classes=["threat"], ids=[target(threat)])
        self.state.nested_parse(StringList([f"**{threat['attack']}**"], FILE.name), self.content_offset, box)
        self.state.nested_parse(StringList([threat["stop"]], FILE.name), self.content_offset, box)
        if "driver" in threat:
            must = f"With the mixin, the driver too: {threat['driver']}"
            self.state.nested_parse(StringList([must], FILE.name), self.content_offset, box)
        facts = nodes.bullet_list("")
        rules = [link(anchor(rule), nodes.literal(text=rule)) for rule in threat.get("rules", ())]
        advisories = [_advisory(name) for name in threat.get("like", ())]
        tests = [_test(test) for test in (*threat["tests"], *threat.get("suite", ()))]
        parts = [nodes.inline("", "", nodes.Text(part)) for part in threat["parts"]]
        listed: dict[str, tuple[list[Any], str]] = {
            "Parts": (parts, ", "),
            "Rules": (rules, ", "),
            "Tests": (tests, "; "),
            "Known as": (advisories, ", "),
        }
        for label, (found, between) in listed.items():
            if found:
                said = nodes.paragraph("", f"{label}: ")
                said += joined(found, between)
                facts += nodes.list_item("", said)
        box += facts
        return box


def _advisory(name: str) -> nodes.reference:
    return nodes.reference("", name, refuri=ADVISORIES[name.partition("-")[0]].format(name))


def _test(test: str) -> nodes.inline:
    """Make the file of a test, and its name as a sentence."""
    return nodes.inline("", "", nodes.literal(text=test.partition("::")[0]), nodes.Text(f", {as_sentence(test)}"))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx of the directive."""
    app.add_directive("threats", Threats)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
