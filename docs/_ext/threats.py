"""The `threats` directive: the attacks of docs/_data/threats.toml, with the rules and the tests that stop each."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
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


class Threats(SphinxDirective):
    """A section for each group of attacks."""

    def run(self) -> list[nodes.Node]:
        """Make the sections."""
        self.env.note_dependency(str(FILE))
        threats: list[Mapping[str, Any]] = tomllib.loads(FILE.read_text())["threat"]
        made: list[nodes.Node] = []
        for group, of_group in groupby(threats, key=lambda threat: str(threat["group"])):
            section = nodes.section("", nodes.title(text=group), ids=[nodes.make_id(group)])
            self.state.document.note_implicit_target(section)
            for threat in of_group:
                section += self.threat(threat)
            made.append(section)
        return made

    def threat(self, threat: Mapping[str, Any]) -> nodes.container:
        """Make one attack, what stops it, and what shows that."""
        box = nodes.container(classes=["threat"])
        self.state.nested_parse(StringList([f"**{threat['attack']}**"], FILE.name), self.content_offset, box)
        self.state.nested_parse(StringList([threat["stop"]], FILE.name), self.content_offset, box)
        facts = nodes.bullet_list("")
        rules = [link(anchor(rule), nodes.literal(text=rule)) for rule in threat.get("rules", ())]
        advisories = [_advisory(name) for name in threat.get("like", ())]
        tests = [nodes.inline("", "", nodes.literal(text=file), nodes.Text(name)) for file, name in _tests(threat)]
        parts = [nodes.inline("", "", nodes.Text(part)) for part in threat["parts"]]
        listed: dict[str, list[Any]] = {"Parts": parts, "Rules": rules, "Tests": tests, "Known as": advisories}
        for label, found in listed.items():
            if found:
                facts += nodes.list_item("", _listed(label, found))
        box += facts
        return box


def _listed(label: str, found: list[Any]) -> nodes.paragraph:
    made = nodes.paragraph("", f"{label}: ")
    for number, each in enumerate(found):
        made += [nodes.Text("; " if label == "Tests" else ", ")] if number else []
        made += each
    return made


def _advisory(name: str) -> nodes.reference:
    return nodes.reference("", name, refuri=ADVISORIES[name.partition("-")[0]].format(name))


def _tests(threat: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Give the file of each test, and its name as a sentence."""
    parted = [test.partition("::") for test in threat["tests"]]
    return [(file, f", {name.removeprefix('test_').replace('_', ' ')}" if name else "") for file, _, name in parted]


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx of the directive."""
    app.add_directive("threats", Threats)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
