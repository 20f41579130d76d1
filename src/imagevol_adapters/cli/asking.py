"""What commands tell and ask an operator, beside what a program reads."""

from __future__ import annotations

import sys

from imagevol_core import RequestRefused
from imagevol_core.sentences import said

__all__ = ["agreed", "quiet", "tell"]


def tell(line: str) -> None:
    """Say a line to the operator; what a terminal would obey in it is shown."""
    print(said(line), file=sys.stderr)


def quiet() -> bool:
    """Whether no progress bar is shown, because the standard error is not a terminal."""
    return not sys.stderr.isatty()


def agreed(question: str, *, yes: bool) -> bool:
    """Ask on a terminal whether to go on.

    Args:
        question: what is asked.
        yes: whether it was answered on the command line.

    Raises:
        RequestRefused: there is no terminal to ask on.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise RequestRefused("nothing was changed: give --yes, or run it on a terminal to be asked")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
