"""A new volume that a driver clones from another one, and what is left of a clone that fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import attrs
from cinder import exception

from imagevol_adapters.error_text import one_line
from imagevol_core import Image

__all__ = ["ModelUpdate", "Request", "clone", "discard"]

LOG = logging.getLogger(__name__)

ModelUpdate = dict[str, Any] | None


@attrs.frozen(kw_only=True)
class Request:
    """One call of `clone_image`."""

    context: Any
    volume: Any
    image: Image
    image_service: Any

    @property
    def about(self) -> str:
        """Begins a line of the log."""
        return f"Volume {self.volume.id} from image {self.image.id}"


def clone(
    driver: Any, request: Request, source: Any, what: str, *, exhausted: Callable[[], object] = lambda: None
) -> ModelUpdate:
    """Clone a volume; None where that fails, and then nothing is left of it.

    Args:
        driver: of the backend.
        request: what is asked for.
        source: of what.
        what: names the source in the log.
        exhausted: called where the storage allows no more clones of the source.
    """
    try:
        update = driver.create_cloned_volume(request.volume, source)
    except Exception as error:  # noqa: BLE001 - drivers raise what they like, and there are other ways
        LOG.warning("%s: cloning %s %s failed: %s", request.about, what, source.id, one_line(error))
        discard(driver, request)
        if isinstance(error, exception.SnapshotLimitReached):
            exhausted()
        return None
    LOG.info("%s: cloned from %s %s", request.about, what, source.id)
    return dict(update or {})


def discard(driver: Any, request: Request) -> None:
    """Delete what there is of a clone that is not used."""
    try:
        driver.delete_volume(request.volume)
    except Exception as failure:  # noqa: BLE001 - the next way says what is wrong with it
        LOG.warning("%s: what is left of that clone could not be deleted: %s", request.about, one_line(failure))
