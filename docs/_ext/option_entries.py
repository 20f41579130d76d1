"""The options as the page shows them, out of the code that the services read; a test compares them with the sample."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

from oslo_config import cfg

from imagevol_adapters.options import list_opts


@dataclass(frozen=True)
class Entry:
    """One option: its name, its type in words, its default as it is written in a file, and what it does."""

    name: str
    kind: str
    default: str
    text: str


@dataclass(frozen=True)
class Section:
    """The options of one section, and in which file it is."""

    name: str
    text: str
    entries: tuple[Entry, ...]


_KINDS = {
    cfg.BoolOpt: "true or false",
    cfg.IntOpt: "whole number",
    cfg.ListOpt: "list, separated by commas",
    cfg.StrOpt: "text",
}


def sections() -> list[Section]:
    """Give every section."""
    return [
        Section(group.name, group.help or "", tuple(_entry(option) for option in options))
        for group, options in list_opts()
    ]


def _entry(option: cfg.Opt) -> Entry:
    """Take the first paragraph of the help: the sample has the rest."""
    paragraph = textwrap.dedent(option.help or "").strip().partition("\n\n")[0]
    return Entry(option.name, _kind(option), _default(option.default), " ".join(paragraph.split()))


def _kind(option: cfg.Opt) -> str:
    least = getattr(option.type, "min", None)
    return _KINDS[type(option)] + (f", {least} or more" if least is not None else "")


def _default(value: Any) -> str:
    """Write a default as oslo.config does."""
    if value is None:
        return "<None>"
    if isinstance(value, list):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
