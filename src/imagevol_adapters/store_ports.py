"""Glance and Cinder, as far as images are copied from store to store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import attrs

from imagevol_adapters.ports import VolumeService
from imagevol_core import Image

__all__ = ["PlacedImage", "StoreCopyService", "StoreCopyVolumes"]


@attrs.frozen(kw_only=True)
class PlacedImage:
    """An image, and where Glance says that it is.

    Attributes:
        image: with its locations as they are saved, where Glance shows them.
        stores: the stores that it is in.
        locations_shown: whether Glance shows locations.
    """

    image: Image
    stores: tuple[str, ...]
    locations_shown: bool


class StoreCopyService(Protocol):
    """Glance, as far as it copies images from store to store."""

    def placed(self, image_ids: Sequence[str] | None = None) -> Iterator[PlacedImage]:
        """Give images and their stores, in pages; this changes nothing."""

    def changed(self, since: datetime) -> Iterator[PlacedImage]:
        """Give every image that was created or changed since then, by Glance's clock; this changes nothing."""

    def is_gone(self, image_id: str) -> bool:
        """Tell whether an image surely does not exist: these credentials see every image, and not this one."""

    def import_methods(self) -> frozenset[str] | None:
        """Give the import methods that it offers; None if it does not say."""

    def copy_to_store(self, image_id: str, store: str) -> None:
        """Ask for a copy in another store; Glance makes it in the background.

        While it does, the image has the property `os_glance_import_task`.
        """

    def change_locations(self, image_id: str, operations: Sequence[Mapping[str, Any]]) -> None:
        """Have the locations of an image changed by a JSON patch."""

    def delete_from_store(self, image_id: str, store: str) -> None:
        """Delete the data of an image in one store, and its location."""


class StoreCopyVolumes(VolumeService, Protocol):
    """Cinder, as far as image volumes are cloned from store to store."""

    def is_encrypted(self, volume_type: str) -> bool:
        """Tell whether the volumes of a type are encrypted."""
