"""How long to wait before a read or a request is sent again: as the service asks, or longer with each failure."""

from __future__ import annotations

from typing import Protocol

from imagevol_core.sentences import duration

__all__ = ["Waiting", "asks_to_wait", "asks_too_long", "pause_seconds"]

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_DOUBLINGS = 10  # after which the longest pause is reached


class Waiting(Protocol):
    """What failed at a service, and can be tried again."""

    @property
    def waited_seconds(self) -> float:
        """How long it was tried already."""

    @property
    def patience_seconds(self) -> float:
        """How long it is tried at most."""

    @property
    def retry_after_seconds(self) -> float | None:
        """How long the service asks to wait; None if it does not say."""


def pause_seconds(failures: int) -> float:
    """Give how long to wait after so many failures in a row.

    >>> [pause_seconds(failures) for failures in (1, 2, 3, 50)]
    [0.5, 1.0, 2.0, 30.0]
    """
    doubled = _FIRST_PAUSE_SECONDS * (1 << min(max(failures - 1, 0), _DOUBLINGS))
    return min(doubled, _LONGEST_PAUSE_SECONDS)


def asks_too_long(failed: Waiting) -> tuple[bool, str]:
    """Tell whether the service asks to wait for longer than is left, and say so.

    >>> from imagevol_core.resuming import BrokenRead
    >>> asks_too_long(BrokenRead(failures=1, waited_seconds=290, retry_after_seconds=20))
    (True, 'the service asks to wait 20 seconds')
    """
    asked, left = failed.retry_after_seconds, failed.patience_seconds - failed.waited_seconds
    return asked is not None and asked > left, _asked(failed)


def asks_to_wait(failed: Waiting) -> tuple[bool, str]:
    """Tell whether the service says how long to wait, and say so.

    >>> from imagevol_core.resuming import BrokenRead
    >>> asks_to_wait(BrokenRead(failures=1, waited_seconds=0))
    (False, 'the service does not say how long to wait')
    """
    return failed.retry_after_seconds is not None, _asked(failed)


def _asked(failed: Waiting) -> str:
    asked = failed.retry_after_seconds
    if asked is None:
        return "the service does not say how long to wait"
    return f"the service asks to wait {duration(asked)}"
