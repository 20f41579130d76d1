"""`imagevol --help`: the commands, in groups by what an operator wants to do."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

import autopage.argparse
from cliff.help import HelpAction, HelpExit

if TYPE_CHECKING:
    from cliff.app import App

__all__ = ["GROUPS", "GroupedHelp"]

GROUPS: Mapping[str, tuple[str, ...]] = {
    "Move an image": ("put", "get", "cp", "rm"),
    "See how it is decided": ("explain", "explain-upload", "report"),
    "Check a host, a backend and the stores": ("doctor", "validate", "stores check", "stores upgrade-config"),
    "Find and repair what is wrong": ("audit", "unfinished"),
    "Change where images are": ("locations plan", "locations apply", "locations undo"),
    "Keep templates": ("templates list", "templates warm", "templates prune"),
    "Run large jobs on many hosts": ("fleet work", "fleet status", "fleet workers", "fleet cancel", "fleet retry"),
    "Use this command line": ("help", "complete"),
}
"""The commands of each group, in the order in which they are shown."""

_OTHERS = "Other commands"
_LEAST_WIDTH = 20
_TITLE, _NAME = ("\033[4m", "\033[0m"), ("\033[36m", "\033[39m")
_PLAIN = ("", "")


class GroupedHelp(HelpAction):
    """Prints the options, and then the commands in groups; a command of no group stands at the end."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        """Print all of it to a pager, if there is a terminal, and end."""
        app: App = self.default
        pager = autopage.argparse.help_pager(app.stdout)
        color = pager.to_terminal()
        autopage.argparse.use_color_for_parser(parser, color)
        with pager as out:
            parser.print_help(out)
            _print(out, {name: _summary(app, found) for name, found in app.command_manager}, color=color)
        raise HelpExit


def _print(out: TextIO, summaries: Mapping[str, str], *, color: bool) -> None:
    title, shown = (_TITLE, _NAME) if color else (_PLAIN, _PLAIN)
    longest = max(map(len, summaries), default=0)
    width = shutil.get_terminal_size().columns
    out.write("\nCommands:\n")
    for group, names in _groups(summaries):
        out.write(f"\n{group.join(title)}:\n")
        for name in names:
            first, *more = _wrapped(summaries[name], width - longest - 4)
            out.write(f"  {name.ljust(longest).join(shown)}  {first}".rstrip() + "\n")
            out.writelines(f"  {'':{longest}}  {line}\n" for line in more)


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(_LEAST_WIDTH, width), break_on_hyphens=False) or [""]


def _groups(known: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    left = set(known)
    for group, names in GROUPS.items():
        if there := [name for name in names if name in left]:
            left -= set(there)
            yield group, there
    if left:
        yield _OTHERS, sorted(left)


def _summary(app: App, found: Any) -> str:
    """The first line of what a command says of itself."""
    command: Any = found.load()(app, None)
    summary = str(command.get_description()).split("\n", maxsplit=1)[0].rstrip(".")
    return summary[:1].upper() + summary[1:]
