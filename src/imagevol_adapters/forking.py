"""What a process that was forked must not have in common with its parent.

A WSGI server may load an application first and fork its workers then.  A connection, a lock or an attachment that both
go on to use would serve neither.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from weakref import WeakMethod

__all__ = ["begun_anew_when_forked"]

_BEGINNINGS: list[WeakMethod[Callable[[], None]]] = []


def begun_anew_when_forked(begin: Callable[[], None]) -> None:
    """Call a method now, and in every process that is forked from this one, as long as its object lives.

    Args:
        begin: a bound method that sets up what belongs to one process.
    """
    _BEGINNINGS.append(WeakMethod(begin))
    begin()


def _begin_anew() -> None:
    for begin in [begin() for begin in _BEGINNINGS]:
        if begin is not None:
            begin()


os.register_at_fork(after_in_child=_begin_anew)
