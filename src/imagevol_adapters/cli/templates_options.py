"""The options of the commands for templates."""

from __future__ import annotations

import argparse

__all__ = ["ONLY_GLANCE", "add_asking", "add_backend", "at_least_one", "limit"]

ONLY_GLANCE = (
    "say that no other Glance has templates in this Cinder (default: another one may have, so that a template whose "
    "image this Glance does not have is not deleted)"
)


def add_backend(parser: argparse.ArgumentParser, what: str) -> None:
    """Add `--backend`.

    Args:
        parser: of the command.
        what: the command does with the templates.
    """
    parser.add_argument(
        "--backend",
        metavar="HOST@BACKEND",
        help=f"{what} only the templates of HOST@BACKEND, as the list names it, or of its pool HOST@BACKEND#POOL "
        "(default: all backends)",
    )


def add_asking(parser: argparse.ArgumentParser) -> None:
    """Add `--yes` and `--dry-run`."""
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    parser.add_argument("--dry-run", action="store_true", help="show what would be done, and change nothing")


def limit(text: str) -> int:
    """Read a limit, of which 0 is none."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no limit: give 0 for no limit, or a whole number above 0")
    return int(text)


def at_least_one(text: str) -> int:
    """Read a number of things, of which there is one at least."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no count: give 1 or more")
    return int(text)
