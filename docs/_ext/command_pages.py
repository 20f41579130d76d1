"""The pages of the commands as cliff makes them, without what it leaves unreadable.

cliff shows the help of an option as it is in the code, with `%(default)s` in it, and tears a value such as
HOST@BACKEND#POOL in the usage.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable

from cliff import sphinxext
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

PART = re.compile(r"\[.*?\]+|\(.*?\)+|--?[\w-]+(?:\s+[^\s\[(-]\S*)?|\S+")
ADDRESS = re.compile(r"\bHOST@BACKEND(#POOL)?(?!`)")  # else a link to send mail
_UNWRAPPED = 10_000  # columns, more than any usage has

_format_parser = sphinxext._format_parser


def format_usage(parser: argparse.ArgumentParser) -> list[str]:
    """Give the usage, an argument a line."""
    formatter = argparse.HelpFormatter(parser.prog, width=_UNWRAPPED)
    formatter.add_usage(None, parser._actions, parser._mutually_exclusive_groups, prefix="")
    words = formatter.format_help().strip().removeprefix(parser.prog)
    return [parser.prog, *(f"    {part}" for part in PART.findall(words))]


def format_parser(parser: argparse.ArgumentParser) -> Iterable[str]:
    """Give the page of a command, with the defaults in its help."""
    formatter = argparse.HelpFormatter(parser.prog)
    for action in parser._actions:
        if action.help and action.help != argparse.SUPPRESS:
            action.help = ADDRESS.sub(r"``\g<0>``", formatter._expand_help(action))
    return _format_parser(parser)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Take the place of what cliff does there."""
    sphinxext._format_usage = format_usage
    sphinxext._format_parser = format_parser
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
