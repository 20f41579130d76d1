"""The calls of a device that are under way.

A thread that hangs in a call of the kernel cannot be ended.  To close what it uses is not safe: its next call would be
for whatever has the number of the descriptor by then.  So a device that is in use is left open.
"""

from __future__ import annotations

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

    def __enter__(self) -> None:
        """A call begins."""
        self._under_way.append(None)

    def __exit__(self, *_: object) -> None:
        """It has returned."""
        self._under_way.pop()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._under_way)
