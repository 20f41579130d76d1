"""Waiting until Glance has taken a location, which it does in the background."""

from __future__ import annotations

from collections.abc import Callable

from imagevol_adapters.waiting import wait_until
from imagevol_core import Image, ServiceFailed

__all__ = ["TASK", "taken_location"]

TASK = "os_glance_import_task"
"""The property by which Glance marks an image that it works on."""


def taken_location(image_id: str, get: Callable[[str], Image], *, with_digest: bool, seconds: float) -> Image:
    """Return when Glance has taken the location of an image.

    Args:
        image_id: which image.
        get: asks for it.
        with_digest: whether Glance has been given a digest, which it shows when it has compared it.
        seconds: how long to wait.

    Raises:
        ServiceFailed: Glance has not taken it, and is not at work on it any more.
        DeadlineExceeded: it has not taken it in time.
    """
    at_work = False

    def taken(image: Image) -> bool:
        nonlocal at_work
        if at_work and image.status == "queued" and TASK not in image.properties:
            raise ServiceFailed(f"Glance, image {image_id}: it has not taken its location; see the log of glance-api")
        at_work = at_work or TASK in image.properties
        if image.status in ("killed", "deleted"):
            raise ServiceFailed(f"Glance, image {image_id}: it is '{image.status}'; see the log of glance-api")
        # With a digest to check, Glance is busy with the image until it shows the digest, and cannot delete it.
        return image.status == "active" and (not with_digest or image.digest is not None)

    return wait_until(
        lambda: get(image_id), taken, what=f"image {image_id} has not taken its location", seconds=seconds
    )
