"""The directives of the pages on troubleshooting: each rule, with what it means and how to change it."""

from __future__ import annotations

from docutils import nodes
from docutils.statemachine import StringList
from inline_code import inline
from rule_texts import DATA, Entry, anchor, entries, key_of, rules, texts
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

_DATA = "rule_texts.py"


class Troubleshooting(SphinxDirective):
    """The rules of one page: a heading for each decision, and one for each rule."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the sections."""
        self.env.note_dependency(str(DATA / f"troubleshooting-{self.arguments[0]}.toml"))
        of_page = [entry for entry in entries() if entry.page == self.arguments[0]]
        made: dict[str, nodes.section] = {}
        for entry in of_page:
            if entry.decision not in made:
                title = nodes.title(text=entry.decision)
                section = nodes.section("", title, ids=[nodes.make_id(entry.decision)])
                self.state.document.note_implicit_target(section)
                made[entry.decision] = section
            made[entry.decision] += self.entry(entry)
        return list(made.values())

    def entry(self, entry: Entry) -> nodes.section:
        """Make the section of one rule, which links can name."""
        name = anchor(entry.key)
        section = nodes.section("", nodes.title("", "", nodes.literal(text=entry.rule)), ids=[name])
        self.state.document.note_explicit_target(section)
        self.env.domains.standard_domain.note_hyperlink_target(name, self.env.docname, name, entry.rule)
        section += nodes.paragraph("", "", nodes.emphasis("", "", *inline(f"{'; or: '.join(entry.holds)}.")))
        section += self.labeled("What it means", entry.text["means"])
        see = self.labeled("How to see it", entry.text.get("look", ""))
        see.insert(1, nodes.literal_block("", "\n".join(f"$ {line}" for line in entry.text["see"]), language="console"))
        section += see
        section += self.labeled("How to change it", entry.text["change"])
        return section

    def labeled(self, label: str, text: str | list[str]) -> nodes.container:
        """Make a paragraph with a label; the text is Markdown."""
        assert isinstance(text, str)
        box = nodes.container()
        box += nodes.paragraph("", "", nodes.strong(text=label))
        self.state.nested_parse(StringList([text], _DATA), self.content_offset, box)
        return box


class RuleIndex(SphinxDirective):
    """All rules by id, each a link to what it means; a rule of several decisions has several links."""

    def run(self) -> list[nodes.Node]:
        """Make the list."""
        known = texts()
        links: dict[str, dict[str, str]] = {}
        for decision, rule, _ in rules():
            if key := key_of(decision, rule, known):
                links.setdefault(rule, {}).setdefault(anchor(key), decision)
        items = [nodes.list_item("", self.item(rule, links[rule])) for rule in sorted(links)]
        return [nodes.bullet_list("", *items)]

    def item(self, rule: str, links: dict[str, str]) -> nodes.paragraph:
        """Make the links of one rule."""
        if len(links) == 1:
            return nodes.paragraph("", "", link(next(iter(links)), nodes.literal(text=rule)))
        made: list[nodes.Node] = [nodes.literal(text=rule), nodes.Text(": ")]
        for number, (name, decision) in enumerate(links.items()):
            made += [nodes.Text(", ")] if number else []
            made.append(link(name, nodes.inline(text=decision)))
        return nodes.paragraph("", "", *made)


def link(name: str, text: nodes.Node) -> pending_xref:
    """Make a link to a label."""
    return pending_xref("", text, refdomain="std", reftype="ref", reftarget=name, refexplicit=True, refwarn=True)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx of the directives."""
    app.add_directive("troubleshooting", Troubleshooting)
    app.add_directive("rule-index", RuleIndex)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
