"""A board that is asked again while its service does not answer, and that knows its own changes again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import attrs

from imagevol_adapters.ports import ShardBoard
from imagevol_core import ServiceUnreachable

__all__ = ["PatientBoard"]

LOG = logging.getLogger(__name__)

T = TypeVar("T")

_PAUSE_SECONDS = 1.0


@attrs.frozen(eq=False)
class PatientBoard:
    """A board whose service may be out of reach for a while: `ShardBoard`.

    A change whose answer was lost may have been made.  It is asked for again, and counts as made if it is there.

    Args:
        board: that is asked.
        patience_seconds: for how long a call is repeated.
        pause_seconds: between two tries.
        stopping: set when this process shall end; then a call is not repeated any more.
    """

    board: ShardBoard
    patience_seconds: float = attrs.field(kw_only=True)
    pause_seconds: float = attrs.field(default=_PAUSE_SECONDS, kw_only=True)
    stopping: threading.Event = attrs.field(factory=threading.Event, kw_only=True)

    def all(self) -> Mapping[str, str]:
        """Give every text by its key."""
        return self._answer(self.board.all)[0]

    def get(self, key: str) -> str | None:
        """Give one text; None if there is none."""
        return self._answer(lambda: self.board.get(key))[0]

    def create(self, key: str, text: str) -> bool:
        """Write a text if there is none of this key."""
        created, asked_again = self._answer(lambda: self.board.create(key, text))
        return created or (asked_again and self.get(key) == text)

    def replace(self, key: str, old: str, new: str | None) -> bool:
        """Write another text, or take it away, if it still is the old one."""
        replaced, asked_again = self._answer(lambda: self.board.replace(key, old, new))
        return replaced or (asked_again and self.get(key) == new)

    def _answer(self, call: Callable[[], T]) -> tuple[T, bool]:
        """Give the answer, and whether it was asked for more than once."""
        until, asked_again = time.monotonic() + self.patience_seconds, False
        while True:
            try:
                return call(), asked_again
            except ServiceUnreachable as error:
                left = until - time.monotonic()
                if left <= 0 or self.stopping.is_set():
                    raise
                if not asked_again:
                    LOG.warning("%s; it is asked again", error)
                asked_again = True
                self.stopping.wait(min(self.pause_seconds, left))
