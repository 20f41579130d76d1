"""What a shard asks for and what came of it, which any program with access to the board can have written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from imagevol_adapters.error_text import one_line
from imagevol_adapters.ids import can_be_id
from imagevol_adapters.journals import text_of
from imagevol_core import RequestRefused, ServiceFailed
from imagevol_core.sentences import said
from imagevol_core.sharding import Shard

__all__ = ["id_of", "read_outcome", "read_plan"]

T = TypeVar("T")

_UNREAD = (ValueError, KeyError, TypeError, AttributeError, OverflowError)
_SO = "use the same release of imagevol on all hosts"


def read_plan(shard: Shard, keys: Collection[str], read: Callable[[Mapping[str, Any]], T]) -> T:
    """Give what a shard asks for.

    Args:
        shard: as it is on the board.
        keys: of its plan; one that has others is refused.
        read: takes the plan apart; a `ValueError` or the like refuses it.

    Raises:
        RequestRefused: the plan is refused.

    >>> shard = Shard(job="audit-1", id="1", kind="deep", work={"volume": "7ad3"})
    >>> read_plan(shard, {"volume"}, lambda plan: id_of(plan["volume"]))
    '7ad3'
    """
    plan = shard.work
    try:
        if plan.keys() != set(keys):
            raise ValueError("its keys are not those of a plan")
        return read(plan)
    except _UNREAD as error:
        raise RequestRefused(
            f"the plan of shard {said(shard.id)} is refused ({one_line(error)}): {_SO}, and cancel job "
            f"{said(shard.job)} if you do not know it"
        ) from error


def read_outcome(outcome: Mapping[str, Any] | None, read: Callable[[Mapping[str, Any]], T]) -> T:
    """Give what a worker says of a shard.

    Args:
        outcome: as it is on the board.
        read: takes it apart; a `ValueError` or the like means that it cannot be used.

    Raises:
        ServiceFailed: it cannot be used.

    >>> read_outcome({"state": "created"}, lambda outcome: outcome["state"])
    'created'
    """
    try:
        if outcome is None:
            raise ValueError("the worker wrote nothing")
        return read(outcome)
    except _UNREAD as error:
        raise ServiceFailed(f"the result on the board cannot be used ({one_line(error)}): {_SO}") from error


def id_of(value: object) -> str:
    """Give an id that a plan must have, so that it can be put into the URL of a request.

    Raises:
        ValueError: it is something else.
    """
    text = text_of(value)
    if not can_be_id(text):
        raise ValueError("it has something else in place of an id")
    return text
