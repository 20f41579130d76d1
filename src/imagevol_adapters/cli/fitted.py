"""Tables on a terminal: columns that matter less are left out where a table is wider than the terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from imagevol_adapters.cli.asking import tell
from imagevol_adapters.cli.output import Named, output_lost

if TYPE_CHECKING:
    from cliff.display import DisplayCommandBase

    _Displaying = DisplayCommandBase[Any]
else:
    _Displaying = object

__all__ = ["Fitted", "fitting"]

_NARROWEST = 8  # characters to which cliff folds a column, or the name of the column if that is longer
_BETWEEN = 3  # the line and the blanks between two columns


class Fitted(_Displaying):
    """A command whose table is made to fit the terminal; it is inherited before cliff's `Lister`.

    Attributes:
        matters_less: the columns that can be left out, the first one first.
    """

    matters_less: ClassVar[tuple[str, ...]] = ()

    def produce_output(self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Iterable[Any]) -> int:
        """Leave out what does not fit, if no columns are asked for, and say so."""
        width = _width(parsed_args)
        if width and self.matters_less and not parsed_args.columns:
            kept = fitting(column_names, matters_less=self.matters_less, width=width)
            if len(kept) < len(column_names):
                parsed_args.columns = list(kept)
                left_out = ", ".join(name for name in column_names if name not in kept)
                tell(f"Left out, because the terminal has {width} columns: {left_out}. To see all, pass -f yaml.")
        named = isinstance(self, Named)  # which looks after its output itself
        try:
            shown = super().produce_output(parsed_args, column_names, data)  # type: ignore[safe-super]
            if not named:
                sys.stdout.flush()
        except OSError as error:
            if named or isinstance(error, BrokenPipeError):  # `imagevol … | head` has all that it wants
                raise
            raise output_lost(error) from error
        return shown


def fitting(names: Sequence[str], *, matters_less: Iterable[str], width: int) -> tuple[str, ...]:
    """Give the columns of a table that fit into a width, when each is folded as far as it can be.

    Args:
        names: of all columns.
        matters_less: those that can be left out, the first one first.
        width: in characters.

    >>> fitting(["id", "name", "size", "reason"], matters_less=["size", "name"], width=40)
    ('id', 'name', 'reason')
    """
    kept = list(names)
    for name in matters_less:
        if 1 + sum(max(_NARROWEST, len(each)) + _BETWEEN for each in kept) <= width:
            break
        if name in kept:
            kept.remove(name)
    return tuple(kept)


def _width(parsed_args: argparse.Namespace) -> int:
    """How wide a table may be; 0 if it may have any width."""
    if parsed_args.formatter != "table":
        return 0
    if parsed_args.max_width > 0:
        return int(parsed_args.max_width)
    if not (sys.stdout.isatty() or parsed_args.fit_width):
        return 0
    from cliff.utils import terminal_width

    return int(terminal_width() or 0)
