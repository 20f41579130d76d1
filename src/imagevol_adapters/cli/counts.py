"""Numbers that a user types."""

from __future__ import annotations

import argparse
from collections.abc import Callable

__all__ = ["count_of"]


def count_of(things: str, *, most: int) -> Callable[[str], int]:
    """Give what reads a number of things, from 1 on, for `argparse`.

    Args:
        things: what is counted, as an error names it.
        most: how many there can be.

    >>> count_of("images", most=64)("7")
    7
    """

    def read(text: str) -> int:
        try:
            count = int(text)
        except ValueError:
            count = 0
        if not 1 <= count <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number of {things}: give 1 to {most}")
        return count

    return read
