"""A boot storm: many volumes of one image are asked for at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import attrs

from imagevol_core import ImagevolError, gib_for
from tests.faults.load.plan import Data

__all__ = ["Storm"]

_AT_ONCE = 10
_INTERVAL_SECONDS = 1.0
_AT_REST = ("available", "error")


@attrs.define
class Storm:
    """Volumes that a user asks for, and what becomes of them.

    Args:
        volumes: Cinder, as that user sees it.
        image_id: the image.
        data: its data.
        count: how many volumes.
        volume_type: of the volumes.

    Attributes:
        statuses: the status in which each volume came to rest, by its id.
        errors: of requests that failed.
        seconds: how long it took from the first request until the last volume was at rest.
    """

    volumes: Any
    image_id: str
    data: Data
    count: int
    volume_type: str
    patience_seconds: float = 1800
    statuses: dict[str, str | None] = attrs.field(factory=dict)
    errors: list[str] = attrs.field(factory=list)
    seconds: float = 0
    _thread: Any = None

    def start(self) -> None:
        """Let it begin, beside what else is done."""
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def wait(self) -> None:
        """Wait until it is over."""
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            asked = list(pool.map(partial(self._noted, self._asked), range(self.count)))
        open_ids = {each for each in asked if each is not None}
        while open_ids and time.monotonic() < began + self.patience_seconds:
            found = self._noted(self.volumes.find, sorted(open_ids)) or ()
            self.statuses |= {each.id: each.status for each in found}
            open_ids -= {each.id for each in found if each.status in _AT_REST}
            if open_ids:
                time.sleep(_INTERVAL_SECONDS)
        self.seconds = time.monotonic() - began

    def _noted(self, do: Callable[[Any], Any], argument: Any) -> Any:
        try:
            return do(argument)
        except ImagevolError as error:
            self.errors.append(str(error))
            return None

    def _asked(self, number: int) -> str:
        volume = self.volumes.create(
            size_gib=gib_for(self.data.size_bytes),
            name=f"storm-{number}",
            volume_type=self.volume_type,
            image_id=self.image_id,
        )
        self.statuses[volume.id] = volume.status
        return str(volume.id)
