"""Answers that come in time, or not at all.

The client of a lock service may try for minutes: with the defaults of tooz 9.1 and redis 8.1 a Redis that is gone, or a
wrong password, is an error after 60 s, and one that hangs after far more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar, cast

import attrs

from imagevol_adapters.engine.starting import Thread

__all__ = ["NoAnswerError", "answered"]

T = TypeVar("T")


class NoAnswerError(Exception):
    """It took too long."""


@attrs.define(eq=False)
class _Call(Generic[T]):
    """A call in a thread of its own; its caller may have left when it returns."""

    call: Callable[[], T]
    late: Callable[[T], object]
    failed_late: Callable[[BaseException], object]
    returned: threading.Event = attrs.field(factory=threading.Event, init=False)
    guard: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    left: bool = attrs.field(default=False, init=False)
    error: BaseException | None = attrs.field(default=None, init=False)
    result: T | None = attrs.field(default=None, init=False)

    def run(self) -> None:
        try:
            self.result = self.call()
        except BaseException as error:  # noqa: BLE001 - raised where it was asked for
            self.error = error
        with self.guard:
            left = self.left
            self.returned.set()
        with suppress(Exception):  # its caller has left
            if left and self.error is not None:
                self.failed_late(self.error)
            elif left:
                self.late(cast("T", self.result))

    def leave(self) -> bool:
        """Go without the answer; False if it has come in this very moment."""
        with self.guard:
            self.left = self.left or not self.returned.is_set()
            return self.left


def answered(
    call: Callable[[], T],
    *,
    seconds: float,
    late: Callable[[T], object] = lambda _: None,
    failed_late: Callable[[BaseException], object] = lambda _: None,
) -> T:
    """Give what `call` gives, or raise what it raises, if it does so in time.

    Args:
        call: runs in a thread of its own, which goes on when its time is over.
        seconds: how long it may take.
        late: what to do with an answer that comes after its caller has left.
        failed_late: the same with an error.

    Raises:
        NoAnswerError: it did not return in time.
        ThreadFailed: it could not be called.

    >>> answered(lambda: 2 + 2, seconds=60)
    4
    """
    asked = _Call(call, late, failed_late)
    try:
        # A daemon: a service that never answers must not keep the program from ending.
        Thread(asked.run, name="imagevol-lock-service", green=True).start()
        asked.returned.wait(seconds)
        if asked.leave():
            raise NoAnswerError
        if asked.error is not None:
            raise asked.error
        return cast("T", asked.result)
    except BaseException:  # an interrupt, too: then no caller gets the answer
        if not asked.leave() and asked.error is None:
            late(cast("T", asked.result))
        raise
