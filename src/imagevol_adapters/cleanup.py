"""Cleaning up so that nothing is lost silently: what could not be cleaned is named in the error under way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from imagevol_adapters.error_text import one_line
from imagevol_core import ImagevolError

__all__ = ["leftovers", "naming", "released", "undone_on_failure"]

_NOTE = "left behind: "
_LOG = logging.getLogger(__name__)


def _stays() -> bool:
    return True


@contextmanager
def released(what: str, release: Callable[[], object], *, is_left: Callable[[], bool] = _stays) -> Iterator[None]:
    """Release something at the end of the context, however it ends.

    Args:
        what: names what is left if it cannot be released, with enough to find it.
        release: releases it.
        is_left: tells, after `release` failed, whether there is still something to find; by default there is.

    Raises:
        ImagevolError: `release` failed although all went well inside, with `what` in its `leftovers` if it is left.
            When something else failed inside, that error goes on, with `what` in its own.

    >>> from imagevol_core import DeviceFailed, ServiceFailed
    >>> def unplug():
    ...     raise ServiceFailed("the socket is stuck")
    >>> with released("the plug", unplug):
    ...     raise DeviceFailed("no power")
    Traceback (most recent call last):
    imagevol_core.errors.DeviceFailed: no power; left behind: the plug (the socket is stuck)
    """
    with undone_on_failure(what, release, is_left=is_left):
        yield
    try:
        release()
    except BaseException as failure:
        if is_left():
            _name(failure, what)
        raise


@contextmanager
def undone_on_failure(what: str, undo: Callable[[], object], *, is_left: Callable[[], bool] = _stays) -> Iterator[None]:
    """Undo something if the context ends with an error, which goes on.

    Args:
        what: names what is left if it cannot be undone, with enough to find it.
        undo: undoes it.
        is_left: as for `released`.  If nothing is, the error of `undo` is logged.
    """
    try:
        yield
    except BaseException as error:
        try:
            undo()
        except BaseException as failure:  # noqa: BLE001 - also an interrupt: the first error is the one to raise
            if is_left():
                _name(error, f"{what} ({one_line(failure)})")
            else:
                _LOG.warning("%s is no longer there, but releasing it failed: %s", what, one_line(failure))
        raise


@contextmanager
def naming(*leftovers: str) -> Iterator[None]:
    """Let an error that ends the context name what was left behind before it began."""
    try:
        yield
    except BaseException as error:
        for leftover in leftovers:
            _name(error, leftover)
        raise


def leftovers(error: BaseException) -> tuple[str, ...]:
    """Give what an error names as left behind, be it ours or not, and nothing else that was noted on it."""
    if isinstance(error, ImagevolError):
        return error.leftovers
    notes = getattr(error, "__notes__", ())
    return tuple(note.removeprefix(_NOTE) for note in notes if note.startswith(_NOTE))


def _name(error: BaseException, leftover: str) -> None:
    if isinstance(error, ImagevolError):
        error.leftovers += (leftover,)
    else:  # not ours to change; a note is printed with its traceback
        error.add_note(f"{_NOTE}{leftover}")
