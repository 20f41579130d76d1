"""What is wrong in rendered pages, as far as their text tells: markup that is not rendered, links that lead nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Pages that Sphinx makes without a source of ours.
OF_SPHINX = ("genindex.html", "py-modindex.html", "search.html")
VERBATIM = ("code", "dt", "pre", "script", "style")  # dt: the signature of a function

UNRENDERED = {
    r"%\(": "a default that was not filled in",
    r"`": "a backtick",
    r"\b[A-Z]\w*\([a-z_]+=": "the repr of an object",
    r"<[\w.]+ object at 0x|<\w+\.\w+: ": "the repr of an object",
    r"(?<!\S)@[A-Z]+|(?<!\S)#[A-Z]{2,}": "a torn value",
    r"\{[a-z]+\}`|\]\(\S+\)|:(?:ref|doc|func|class):": "markup",
}


@dataclass(frozen=True, order=True)
class Fault:
    """What is wrong on a page."""

    page: str
    what: str
    where: str

    def __str__(self) -> str:
        """The fault as a line."""
        return f"{self.page}: {self.what}: {self.where}"


@dataclass
class Page(HTMLParser):
    """What a reader sees of a page, and what leads to it and away from it."""

    texts: list[str] = field(default_factory=list)
    usages: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    title: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        """Begin to parse."""
        super().__init__()
        self._open: list[str] = []
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note links, anchors and the description; a block ends the text before it."""
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        self.links += [found[name] for name in ("href", "src") if name in found]
        if tag == "meta" and found.get("name") == "description":
            self.description = found.get("content", "")
        if tag not in _VOID:
            self._open.append(tag)
        if tag not in _INLINE:
            self._end()

    def handle_endtag(self, tag: str) -> None:
        """Note that a block ends."""
        if tag in self._open:
            while self._open.pop() != tag:
                pass
        if tag not in _INLINE:
            self._end()

    def handle_data(self, data: str) -> None:
        """Collect the text that is not shown as it is typed."""
        if self._open and self._open[-1] == "title" and "svg" not in self._open:
            self.title += data
        if "pre" in self._open:
            self.usages.append(data)
        if not any(tag in self._open for tag in VERBATIM):
            self._text += data

    def close(self) -> None:
        """End the last text."""
        super().close()
        self._end()

    def _end(self) -> None:
        if text := " ".join(self._text.split()):
            self.texts.append(text)
        self._text = ""


_VOID = ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
_INLINE = ("a", "abbr", "b", "code", "em", "i", "img", "kbd", "small", "span", "strong", "sub", "sup", "wbr")


def read(file: Path) -> Page:
    """Parse a page."""
    page = Page()
    page.feed(file.read_text())
    page.close()
    return page


def pages(directory: Path) -> dict[str, Page]:
    """Parse every page of a directory, by its path there."""
    files = sorted(file for file in directory.rglob("*.html") if "_static" not in file.parts)
    return {file.relative_to(directory).as_posix(): read(file) for file in files}


def faults(directory: Path) -> Iterator[Fault]:
    """Look at every page."""
    found = pages(directory)
    for name, page in found.items():
        if not page.title.strip():
            yield Fault(name, "no title", "")
        if not page.description.strip():
            yield Fault(name, "no description", "")
        if name not in OF_SPHINX:
            yield from (
                Fault(name, what, text)
                for text in page.texts
                for pattern, what in UNRENDERED.items()
                if re.search(pattern, text)
            )
            yield from _torn(name, page)
        yield from _broken(directory, name, page, found)


def _torn(name: str, page: Page) -> Iterator[Fault]:
    """Give the lines of what is typed that begin within a value."""
    for line in "".join(page.usages).splitlines():
        if re.match(r"\s*[@#][A-Z]+#?[A-Z]*\s*$", line):
            yield Fault(name, "a torn value", line.strip())


def _broken(directory: Path, name: str, page: Page, found: dict[str, Page]) -> Iterator[Fault]:
    """Give the links that lead to no file and no anchor."""
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc or link.startswith("data:"):
            continue
        target = (directory / name).parent / unquote(parts.path) if parts.path else directory / name
        target = target.resolve()
        if not target.exists():
            yield Fault(name, "a link to a file that is not there", link)
            continue
        there = target.relative_to(directory.resolve()).as_posix()
        anchor = unquote(parts.fragment)
        if anchor and there in found and anchor not in found[there].anchors:
            yield Fault(name, "a link to an anchor that is not there", link)
