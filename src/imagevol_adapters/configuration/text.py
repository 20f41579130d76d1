"""The text of a configuration file: which lines set what, and edits that leave all other lines as they are.

oslo.config itself only reads.  ConfigUpdater and iniparse keep comments, but not all that oslo.config takes: options
that are set several times, sections that are begun again, names that differ in their case only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import unified_diff

from oslo_config import iniparser

from imagevol_core import HIDDEN, ConfigurationEdit, InvalidConfiguration, shown_value

__all__ = ["Assignment", "ConfigurationText", "difference"]

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")  # what Python's universal newlines take for a line
_ENDS = ("\r\n", "\n", "\r")
_BEFORE_VALUE = re.compile(r"[^=:]*[=:][ \t]*")
_COMMENT = re.compile(r"\s*[#;]+\s*(?=\S)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """The lines that set an option once.

    Attributes:
        section: as oslo.config compares it, in small letters but for `DEFAULT`.
        option: its name.
        value: as oslo.config reads it, before it follows references; several lines are one text.
        lines: the numbers of its lines, from 0 on.
    """

    section: str
    option: str
    value: str
    lines: range


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationText:
    """A configuration file of oslo.config.

    Attributes:
        name: of the file, for errors.
        lines: all of it, each with its end.
        headers: by the number of a line, the section that begins there.
        assignments: in order.
    """

    name: str
    lines: tuple[str, ...]
    headers: Mapping[int, str]
    assignments: tuple[Assignment, ...]

    @classmethod
    def parse(cls, text: str, *, name: str) -> ConfigurationText:
        r"""Read a text as oslo.config does, with its parser.

        Args:
            text: all of the file, its line ends as they are.
            name: of the file, for errors.

        Raises:
            InvalidConfiguration: oslo.config would not take it; the line is named and not shown.

        >>> text = ConfigurationText.parse("[Fast]\ncinder_volume_type: 'ssd'\n", name="glance-api.conf")
        >>> text.values()
        {'fast': {'cinder_volume_type': 'ssd'}}
        """
        lines = tuple(_LINE.findall(text))
        parser = _Parser()
        try:
            parser.parse([*lines, ""])  # with the empty one, each value is ended by a line
        except iniparser.ParseError as error:
            where, reason = f"{name}:{error.lineno}", error.msg
        else:
            return cls(name=name, lines=lines, headers=parser.headers, assignments=tuple(parser.assignments))
        raise InvalidConfiguration(where, reason)  # outside, since the line, which may be a password, is in `error`

    def __str__(self) -> str:
        """The file."""
        return "".join(self.lines)

    def values(self) -> dict[str, dict[str, str]]:
        """Give each option's value by section and name; of one that is set several times, the last."""
        values: dict[str, dict[str, str]] = {section: {} for section in self.headers.values()}
        for assignment in self.assignments:
            values[assignment.section][assignment.option] = assignment.value
        return values

    def of(self, section: str, option: str) -> tuple[Assignment, ...]:
        """Give what sets this option."""
        wanted = (_compared(section), option)
        return tuple(found for found in self.assignments if (found.section, found.option) == wanted)

    def edited(self, edits: Iterable[ConfigurationEdit]) -> ConfigurationText:
        r"""Carry out edits, and nothing else.

        Args:
            edits: at most one of each option.

        Returns:
            The new text.  A value that moves to another section is written there as it was, with its quotation marks
            and lines, and so are all values of an option that is set several times.  What is new in a section follows
            what is last set in it; a new section is at the end.

        Raises:
            InvalidConfiguration: there is no way to write a value of which oslo.config reads that value.

        >>> text = ConfigurationText.parse("[DEFAULT]  \n# mine\ndebug=true\n", name="glance-api.conf")
        >>> edit = ConfigurationEdit(section="DEFAULT", option="debug", before="true", after="false", why="too loud")
        >>> str(text.edited([edit]))
        '[DEFAULT]  \n# mine\ndebug=false\n'
        """
        edits = tuple(edits)
        newline = next((end for end in _ENDS if self.lines and self.lines[0].endswith(end)), "\n")
        content = [[line] for line in self.lines]
        new_sections: dict[str, list[str]] = {}
        for edit in edits:
            present = self.of(edit.section, edit.option)
            for assignment in present if edit.after is None else present[-1:]:
                for number in assignment.lines:
                    content[number] = []
        for edit in edits:
            if edit.after is None:
                continue
            if not _is_writable(edit.after):
                where = f"{self.name}, [{edit.section}] {edit.option}"
                raise InvalidConfiguration(where, "no line sets this value: give one without line breaks")
            if present := self.of(edit.section, edit.option):
                first = present[-1].lines[0]
                before_value = _BEFORE_VALUE.match(self.lines[first])
                content[first][:0] = _written(before_value[0] if before_value else "", edit.after, newline)
                continue
            lines = self._moved(edit, edits, newline) or _written(f"{edit.option} = ", edit.after, newline)
            place = self._place(edit.section)
            target = new_sections.setdefault(edit.section, []) if place is None else content[place]
            _append(target, lines, newline)
        result = [line for lines in content for line in lines]
        for section, lines in new_sections.items():
            _append(result, [*([newline] if result else []), f"[{section}]{newline}", *lines], newline)
        return ConfigurationText.parse("".join(result), name=self.name)

    def _moved(self, edit: ConfigurationEdit, edits: Iterable[ConfigurationEdit], newline: str) -> list[str]:
        """The lines of the option in the section from which it moves; none where it comes from nowhere."""
        lines: list[str] = []
        for other in edits:
            if other.option == edit.option and other.after is None and other.before == edit.after and not lines:
                for assignment in self.of(other.section, other.option):
                    _append(lines, [self.lines[number] for number in assignment.lines], newline)
        _append(lines, [], newline)
        return lines

    def _place(self, section: str) -> int | None:
        """The line after which something new of a section comes; None where there is no such section."""
        wanted = _compared(section)
        set_there = [assignment.lines[-1] for assignment in self.assignments if assignment.section == wanted]
        begun = [number for number, name in self.headers.items() if name == wanted]
        return max(set_there or begun, default=None)


class _Parser(iniparser.BaseParser):
    """What oslo.config reads, and in which lines."""

    def __init__(self) -> None:
        self.headers: dict[int, str] = {}
        self.assignments: list[Assignment] = []

    def new_section(self, section: str) -> None:
        self.headers[self.lineno - 1] = _compared(section)

    def assignment(self, key: str, value: list[str]) -> None:
        if not self.headers:
            raise self.parse_exc("Section must be started before assignment", self.lineno - len(value), "")
        section = next(reversed(self.headers.values()))
        after = self.lineno - 1  # this is called when the next line is read
        lines = range(after - len(value), after)
        self.assignments.append(Assignment(section=section, option=key, value="\n".join(value), lines=lines))


def difference(before: ConfigurationText, after: ConfigurationText) -> str:
    r"""Give what was changed as a unified diff without secrets: comments are hidden, and values as by `shown_value`.

    >>> before = ConfigurationText.parse("[a]\nweight = 1\npassword = horse\n", name="glance-api.conf")
    >>> after = ConfigurationText.parse("[a]\npassword = horse\n", name="glance-api.conf.new")
    >>> print(difference(before, after), end="")
    --- glance-api.conf
    +++ glance-api.conf.new
    @@ -1,3 +1,2 @@
     [a]
    -weight = 1
     password = ***
    """
    return "".join(unified_diff(list(_printable(before)), list(_printable(after)), before.name, after.name))


def _printable(text: ConfigurationText) -> Iterator[str]:
    hidden = {}
    for found in text.assignments:
        first, *others = found.lines
        value = shown_value(found.option, found.value)
        if value == found.value:
            continue
        before = _BEFORE_VALUE.match(text.lines[first])
        hidden[first] = f"{before[0] if before else ''}{HIDDEN if others else value}"
        hidden |= dict.fromkeys(others, f"    {HIDDEN}")
    for number, line in enumerate(text.lines):
        comment = _COMMENT.match(line) if number not in hidden else None
        yield f"{hidden.get(number, f'{comment[0]}{HIDDEN}' if comment else line.rstrip())}\n"


def _compared(section: str) -> str:
    return section if section == "DEFAULT" else section.lower()


def _is_writable(value: str) -> bool:
    """Whether oslo.config can read this value: from the second line on it takes off white space."""
    return "\r" not in value and all(line and line == line.strip() for line in value.split("\n")[1:])


def _written(before_value: str, value: str, newline: str) -> list[str]:
    """The lines that set this value; oslo.config takes off white space, and a pair of quotation marks."""
    first, *others = value.split("\n")
    if first != first.strip() or (first and first[0] == first[-1] and first[0] in "\"'"):
        first = f'"{first}"'
    return [f"{before_value}{first}".rstrip() + newline, *(f"    {line}{newline}" for line in others)]


def _append(lines: list[str], more: Iterable[str], newline: str) -> None:
    """Add lines after the last one, which in a file may have no end."""
    if lines and not lines[-1].endswith(_ENDS):
        lines[-1] += newline
    lines += more
