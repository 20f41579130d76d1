"""Glance, as far as it copies images from store to store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs

from imagevol_adapters.glance.asking import MISSING, asked
from imagevol_adapters.glance.facts import image_facts
from imagevol_adapters.glance.images import GlanceImages
from imagevol_adapters.ids import can_be_id
from imagevol_adapters.store_ports import PlacedImage
from imagevol_core import ImageLocation, RequestRefused, ResourceNotFound

__all__ = ["GlanceStoreCopies"]

_IMAGES_A_PAGE = 500
_COPY_IMAGE = "copy-image"


@attrs.frozen
class GlanceStoreCopies:
    """The stores of a Glance, between which it copies images: a `StoreCopyService`.

    Args:
        images: of that Glance.
    """

    images: GlanceImages

    def placed(self, image_ids: Sequence[str] | None = None) -> Iterator[PlacedImage]:
        """Give images and their stores, in pages.

        A list is used also for one image: where anything else looks at an image, Glance migrates its locations.

        Args:
            image_ids: of which images; every image that these credentials see when None.
        """
        ids = None if image_ids is None else [image_id for image_id in image_ids if can_be_id(image_id)]
        if ids == []:
            return
        wanted = {} if ids is None else {"id": f"in:{','.join(ids)}"}
        yield from self._listed(wanted)

    def changed(self, since: datetime) -> Iterator[PlacedImage]:
        """Give every image that was created or changed since then, by Glance's clock."""
        yield from self._listed({"updated_at": f"gte:{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"})

    def is_gone(self, image_id: str) -> bool:
        """Tell whether an image surely does not exist; asked for only if the list does not show it."""
        if not self.images.sees_all:
            return False
        try:
            self.images.get(image_id)
        except ResourceNotFound:
            return True
        return False

    def _listed(self, wanted: Mapping[str, str]) -> Iterator[PlacedImage]:
        for hidden in ("false", "true"):
            filters = {"visibility": "all", "member_status": "all", "os_hidden": hidden, **wanted}
            with asked("the list of images"):
                found = self.images.client().images.list(filters=filters, page_size=_IMAGES_A_PAGE, sort="id:asc")
                for shown in found:
                    yield _placed(shown)

    def import_methods(self) -> frozenset[str] | None:
        """Give the import methods that it offers; None if it does not say."""
        try:
            with asked("its import methods"):
                return frozenset(self.images.client().images.get_import_info()["import-methods"]["value"])
        except RequestRefused as error:
            if isinstance(error.__cause__, MISSING):
                return None
            raise

    def copy_to_store(self, image_id: str, store: str) -> None:
        """Ask for a copy in another store; Glance makes it in the background."""
        with asked(f"copying image {image_id} to store {store}", image_id):
            # Without allow_failure Glance withdraws what it could not write to its end.
            self.images.client().images.image_import(image_id, _COPY_IMAGE, stores=[store], allow_failure=False)

    def change_locations(self, image_id: str, operations: Sequence[Mapping[str, Any]]) -> None:
        """Have the locations of an image changed by a JSON patch."""
        self.images.change_locations(image_id, operations)

    def delete_from_store(self, image_id: str, store: str) -> None:
        """Delete the data of an image in one store, and its location."""
        with asked(f"deleting image {image_id} from store {store}", image_id):
            self.images.client().images.delete_from_store(store, image_id)


def _placed(shown: Mapping[str, Any]) -> PlacedImage:
    locations = tuple(ImageLocation(each["url"], each["metadata"]) for each in shown.get("locations") or ())
    stores = tuple(filter(None, (shown.get("stores") or "").split(",")))
    return PlacedImage(
        image=image_facts(shown, locations),
        stores=tuple(dict.fromkeys(stores)),
        locations_shown="locations" in shown,
    )
