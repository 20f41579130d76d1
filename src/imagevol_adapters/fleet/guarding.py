"""A service whose changes are made only as long as the worker that makes them may."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import wraps
from typing import Any, TypeVar, cast

import attrs

__all__ = ["guarded"]

T = TypeVar("T")


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
