"""Dice for strategies that draw many facts of which most are in order."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

__all__ = ["Dice"]

T = TypeVar("T")

_THROWS = 32
_BLOCKS = st.binary(min_size=2 * _THROWS, max_size=2 * _THROWS)
_USUAL = (1 << 16) * 19 // 20


class Dice:
    """Dice that are thrown many at once: a draw of its own for each fact would take most of the time of a test.

    Args:
        draw: Hypothesis gives it to a composite strategy.
    """

    def __init__(self, draw: DrawFn) -> None:
        """Throw none yet."""
        self._draw = draw
        self._thrown: Iterator[int] = iter(())

    def mostly(self, usual: T, *others: T) -> T:
        """Give the usual fact, or one time in twenty one of the others; it shrinks to the usual one.

        Args:
            usual: the fact that is in order.
            others: what it can be instead.
        """
        at = self._throw()
        return usual if at < _USUAL else others[at % len(others)]

    def among(self, *facts: T) -> T:
        """Give one of the facts, each as often as the others; it shrinks to the first one.

        Args:
            facts: what can be given.
        """
        return facts[self._throw() % len(facts)]

    def _throw(self) -> int:
        at = next(self._thrown, None)
        if at is None:
            self._thrown = iter(struct.unpack(f"<{_THROWS}H", self._draw(_BLOCKS)))
            at = next(self._thrown)
        return at
