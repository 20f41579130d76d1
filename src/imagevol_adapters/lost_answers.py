"""What is not lost with the answer of a service: if none comes, what was created is looked for and deleted."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import TypeVar

from imagevol_adapters.cleanup import naming, released, undone_on_failure
from imagevol_adapters.keystone import never_sent
from imagevol_core import CallerError, DeadlineExceeded, Image, ServiceFailed, ServiceUnreachable, Volume

__all__ = ["found_or_deleted", "only_once"]

_REQUEST = "imagevol_request"

T = TypeVar("T", Image, Volume)


def found_or_deleted(
    ask: Callable[[], T],
    *,
    what: str,
    by: str,
    find: Callable[[], Iterable[T]] | None,
    delete: Callable[[str], object],
) -> T:
    """Ask for something; if it is not known what the service did, as after an interrupt, delete what it has created.

    Args:
        ask: asks for it.
        what: names it in an error, with its kind, such as `volume image-7ad3`.
        by: the service.
        find: gives what was created by this request and by no other; None if that cannot be told.  Then the error
            names what the service may have created.
        delete: deletes one, by its id.

    Raises:
        ImagevolError: what `ask` raises.  What could not be looked for or deleted is in its `leftovers`.
    """
    try:
        return ask()
    except CallerError:  # a refusal is an answer
        raise
    except BaseException as error:
        if never_sent(error):
            raise
        left = f"{what}, if {by} has created it"
        kind, no_answer = what.partition(" ")[0], isinstance(error, ServiceUnreachable | DeadlineExceeded)
        deleted = partial(_deleted, kind, find, delete, no_answer=no_answer) if find else None
        with undone_on_failure(left, deleted) if deleted else naming(left):
            raise


def only_once() -> dict[str, str]:
    """Give a mark that is given only once, for the metadata of a volume or the properties of an image."""
    return {_REQUEST: str(uuid.uuid4())}


def _deleted(kind: str, find: Callable[[], Iterable[T]], delete: Callable[[str], object], *, no_answer: bool) -> None:
    """Delete all of them, also if one of them cannot be.

    Raises:
        ServiceFailed: no answer came and none is listed: the list may be out of date, or the request still at work.
    """
    found = list(find())
    if no_answer and not found:
        raise ServiceFailed("it is not listed, and may be there later")
    with ExitStack() as released_all:
        for each in found:
            released_all.enter_context(released(f"{kind} {each.id}", partial(delete, each.id)))
