"""How far a stream is on the storage, told again and again while the stream goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

import attrs

from imagevol_adapters.engine.parts import Crew, Part
from imagevol_adapters.engine.threads import Patience, Signal, Stopped, forever
from imagevol_core import Digest

__all__ = ["Stepping", "Steps"]

_LOOK_SECONDS = 0.05  # in which a feeder that waits for a step notices that nothing more is wanted


@attrs.frozen
class Steps:
    """What is told again and again how far a stream is on the storage, while the stream goes on.

    Args:
        data_bytes: after so much data that is no hole.  The source can be ahead of what was told by two steps, and by
            what it reads ahead itself.
        keep: called in the caller's thread with a position, when all before it is on the storage, and with the digests
            of that.  What it raises ends the transfer.
    """

    data_bytes: int
    keep: Callable[[int, Mapping[str, Digest]], object]


class Stepping:
    """The steps of one call.

    Attributes:
        left_bytes: of data, until the next one.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self.left_bytes = steps.data_bytes
        self._kept = Signal()
        self._kept.set()

    def due(self, data_bytes: int) -> bool:
        """Count data, and tell whether it is time for a step."""
        self.left_bytes -= data_bytes
        return self.left_bytes <= 0

    def mark(self, crew: Crew, position: int, patience: Patience) -> None:
        """Let a step be kept, once the one before it is."""
        self.left_bytes = self._steps.data_bytes
        if patience is not forever:  # the caller's thread is this one
            crew.mark(position)
            self.keep(crew.marked(patience))
            return
        self._wait(crew)
        self._kept.clear()
        crew.mark(position)

    def settle(self, crew: Crew, position: int, patience: Patience) -> None:
        """Return when all that the source gave is kept, because it gives no more."""
        with suppress(Stopped):
            if self.left_bytes < self._steps.data_bytes:
                self.mark(crew, position, patience)
            if patience is forever:
                self._wait(crew)

    def _wait(self, crew: Crew) -> None:
        while not self._kept.wait(_LOOK_SECONDS):
            if crew.over:
                raise Stopped

    def keep(self, mark: Part) -> None:
        """Keep a step, and let the next one come."""
        self._steps.keep(mark.offset, dict(mark.digests or {}))
        self._kept.set()
