"""Numbers that a user types."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

__all__ = ["count_of", "rate"]


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


def rate(text: str) -> float:
    """Read the value of `--rate`, for `argparse`.

    >>> rate("0.5")
    0.5
    """
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate: give a number above 0, or no --rate for no limit")
    return number
