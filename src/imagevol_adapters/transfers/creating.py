"""Volumes and images that are not lost with the answer of a service: if none comes, they are found and deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from imagevol_adapters.lost_answers import found_or_deleted
from imagevol_adapters.ports import ImageService, VolumeService
from imagevol_adapters.transfers.attaching import delete_volume
from imagevol_core import Image, Volume

__all__ = ["answered", "answered_image"]


def answered(ask: Callable[[], Volume], *, volumes: VolumeService, name: str, metadata: Mapping[str, str]) -> Volume:
    """Ask for a volume; if it is not known what Cinder did, as after an interrupt, delete what it has created.

    Args:
        ask: asks for it, by this name and with this metadata.
        volumes: where it is looked for.
        name: of the volume.  With the metadata it is that of no other volume.
        metadata: what the volume has from its first moment.

    Raises:
        ImagevolError: what `ask` raises.  A volume that could not be looked for or deleted is in its `leftovers`.
    """
    return found_or_deleted(
        ask,
        what=f"volume {name}",
        by="Cinder",
        find=lambda: [each for each in volumes.named(name) if metadata.items() <= each.metadata.items()],
        delete=partial(delete_volume, volumes),
    )


def answered_image(
    ask: Callable[[], Image], *, images: ImageService, name: str, marks: Mapping[str, str] | None
) -> Image:
    """Ask for an image; if it is not known what Glance did, as after an interrupt, delete what it has created.

    Args:
        ask: asks for it, with these marks.
        images: where it is looked for.
        name: of the image, for the error.
        marks: properties that the image has from its first moment, and no other image; None if it has none.  Then
            the error names the image that Glance may have created.

    Raises:
        ImagevolError: what `ask` raises.  An image that could not be looked for or deleted is in its `leftovers`.
    """
    marked = dict(marks or {})
    find = partial(images.with_properties, marked, status="queued") if marked else None
    return found_or_deleted(ask, what=f"image {name}", by="Glance", find=find, delete=images.delete)
