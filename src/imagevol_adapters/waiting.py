"""Waiting for a service to get somewhere: with a deadline, asking less and less often."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import tenacity

from imagevol_core import DeadlineExceeded

__all__ = ["wait_until"]

T = TypeVar("T")


def wait_until(poll: Callable[[], T], done: Callable[[T], bool], *, what: str, seconds: float) -> T:
    """Ask `poll` until its answer is `done`, and give that answer.

    It is asked after 0.1 s and then at intervals that double up to 5 s.  What `poll` or `done` raise ends the wait.

    Args:
        poll: asks for the present state.
        done: says whether that is what was waited for.
        what: for the error: what has not happened, as `volume X is still 'creating'`.
        seconds: how long to wait at most.

    Raises:
        DeadlineExceeded: it did not come to that in time.

    >>> states = iter(["creating", "creating", "available"])
    >>> wait_until(lambda: next(states), lambda state: state == "available", what="still creating", seconds=9)
    'available'
    """
    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_delay(seconds),
        wait=tenacity.wait_exponential(multiplier=0.1, max=5),
        retry=tenacity.retry_if_result(lambda answer: not done(answer)),
    )
    try:
        return retrying(poll)
    except tenacity.RetryError as error:
        raise DeadlineExceeded(what, seconds=seconds) from error
