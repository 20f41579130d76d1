"""What a worker does only as long as its shard is its own: changes of a service, and the reading of a volume."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from functools import wraps
from typing import Any, TypeVar, cast

import attrs

from imagevol_core import ServiceFailed, ServiceUnreachable

__all__ = ["asking", "guarded"]

T = TypeVar("T")

_ASK_SECONDS = 5.0  # between two questions whether a volume that is read is still to be read
_ASK_AGAIN_SECONDS = 60.0  # after one that was not answered: the answer is waited for


def guarded(service: T, changes: Collection[str], check: Callable[[], object]) -> T:
    """Give a service that asks for leave before each change; all else of it is as it was.

    Args:
        service: any.
        changes: the names of the methods that are only called after `check`.
        check: raises if the change must not be made any more, as `Claim.ensure_held` does.

    >>> def lost():
    ...     raise RuntimeError("another worker has the shard")
    >>> numbers = guarded([7], ["append"], lost)
    >>> numbers.count(7)
    1
    >>> numbers.append(8)
    Traceback (most recent call last):
    RuntimeError: another worker has the shard
    """
    return cast(T, _Guarded(service, frozenset(changes), check))


def asking(
    check: Callable[[], object],
    shared: Callable[[int], float] | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Callable[[int], float]:
    """Give what a reading asks before each part, so that it ends when the shard is taken away; see `Limits.shared`.

    Nothing is changed by a reading, so it goes on while it is not known whether the shard was taken away.

    Args:
        check: raises if it was, as `Claim.ensure_held` does; it is asked now and then.
        shared: tells how many seconds to wait; None for a reading that need not wait.
        clock: tells the time in seconds, and never goes back.

    >>> def lost():
    ...     raise RuntimeError("the shard was taken away")
    >>> now = iter([0.0, 1.0, 7.0])
    >>> before_part = asking(lost, lambda size_bytes: 0.5, clock=lambda: next(now))
    >>> before_part(4096)
    0.5
    >>> before_part(4096)
    Traceback (most recent call last):
    RuntimeError: the shard was taken away
    """
    due = clock() + _ASK_SECONDS

    def before_part(size_bytes: int) -> float:
        nonlocal due
        now = clock()
        if now >= due:
            due = now + _ASK_SECONDS
            try:
                check()
            except (ServiceFailed, ServiceUnreachable):
                due = now + _ASK_AGAIN_SECONDS
        return 0.0 if shared is None else shared(size_bytes)

    return before_part


@attrs.frozen(eq=False)
class _Guarded:
    _service: Any
    _changes: frozenset[str]
    _check: Callable[[], object]

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._service, name)
        if name not in self._changes:
            return found

        @wraps(found)
        def change(*arguments: Any, **more: Any) -> Any:
            self._check()
            return found(*arguments, **more)

        return change
