"""The calls of a device that are under way.

A thread that hangs in a call of the kernel cannot be ended.  To close what it uses is not safe: its next call would be
for whatever has the number of the descriptor by then.  So a device that is in use is left open, until its last call
returns.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Calls"]


class Calls:
    """Counts the calls that have not returned; any number of threads may call at the same time.

    >>> calls = Calls()
    >>> with calls:
    ...     bool(calls)
    True
    >>> bool(calls)
    False
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._under_way: list[None] = []  # whose append and pop no other thread can divide
        self._then: list[Callable[[], object]] = []

    def __enter__(self) -> None:
        """A call begins."""
        self._under_way.append(None)

    def __exit__(self, *_: object) -> None:
        """It has returned."""
        self._under_way.pop()
        self._end()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._under_way)

    def when_none(self, then: Callable[[], object]) -> None:
        """Call something once: now if no call is under way, else in the thread whose call returns last.

        >>> calls = Calls()
        >>> with calls:
        ...     calls.when_none(lambda: print("closed"))
        ...     print("returned")
        returned
        closed
        """
        self._then.append(then)
        self._end()

    def _end(self) -> None:
        if self._under_way:
            return
        try:
            then = self._then.pop()
        except IndexError:  # there is nothing, or another thread is at it
            return
        then()
