"""A Glance in memory, as far as it copies images from store to store."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import attrs

from imagevol_adapters.store_ports import PlacedImage
from imagevol_adapters.testing.memory.locations import MemoryLocations
from imagevol_adapters.testing.memory.volumes import MemoryVolumes
from imagevol_core import (
    AccessDenied,
    Digest,
    Image,
    ImageLocation,
    ImageVolumeMetadata,
    RequestRefused,
    ResourceNotFound,
    Store,
    gib_for,
)
from imagevol_core.store_copies import (
    volume_in_store,
)

__all__ = ["MemoryStoreCopies"]

_TASK = "os_glance_import_task"
_IMPORTING = "os_glance_importing_to_stores"


@attrs.define(kw_only=True)
class MemoryStoreCopies(MemoryLocations):
    """A Glance in memory that copies images: a `StoreCopyService`.

    An import goes on by itself, and has ended when the image is looked at.  It fails, as Glance's does, if the data is
    not that of the image.

    Args:
        volumes: Cinder, as the stores ask it.
        catalogue: the stores. Their locations are `cinder://…` and `file://…`.
        shows_locations: the option `show_multiple_locations`.
        methods: the option `enabled_import_methods`.
        sees_all: whether every project's images are seen.
        looks: how often an image is still seen with its import at work.

    Attributes:
        files: the bytes of each image in a store that keeps no volumes, by URL.

    >>> from imagevol_core import Store, StoreCatalogue
    >>> stores = StoreCatalogue(stores=(Store(name="one", kind="file"), Store(name="two", kind="file")))
    >>> glance = MemoryStoreCopies(volumes=MemoryVolumes(), catalogue=stores)
    >>> glance.put("i", b"data", store="one")
    >>> glance.copy_to_store("i", "two")
    >>> next(glance.placed(["i"])).stores
    ('one', 'two')
    """

    volumes: MemoryVolumes
    methods: frozenset[str] | None = frozenset({"copy-image"})
    sees_all: bool = True
    looks: int = 0
    files: dict[str, bytes] = attrs.field(factory=dict, init=False, repr=False)
    _pending: dict[str, str] = attrs.field(factory=dict, init=False, repr=False)
    _looks: Counter[str] = attrs.field(factory=Counter, init=False, repr=False)

    def put(self, image_id: str, data: bytes, *, store: str, owner: str = "owner") -> None:
        """Let an active image be there, in one store."""
        digest = _digest(data)
        image = Image(
            id=image_id,
            name=image_id,
            status="active",
            owner=owner,
            disk_format="raw",
            container_format="bare",
            size_bytes=len(data),
            digest=digest,
        )
        self.images[image_id] = replace(image, locations=(self._written(image, store, data),))

    def data_in(self, image_id: str, store: str) -> bytes:
        """Give the data of an image in one store."""
        image = self._saved(image_id)
        volume_id = volume_in_store(store, image.locations)
        if volume_id is not None:
            return self.volumes.contents[volume_id].read(0, image.size_bytes or 0)
        return next(self.files[each.url] for each in image.locations if each.metadata.get("store") == store)

    def placed(self, image_ids: Sequence[str] | None = None) -> Iterator[PlacedImage]:
        """Give images and their stores."""
        for image_id in sorted(self.images if image_ids is None else {*image_ids} & self.images.keys()):
            if image_ids is not None:
                self._go_on(image_id)
            image = self._weighed(self.images[image_id])
            stores = tuple(dict.fromkeys(each.metadata.get("store", "") for each in image.locations))
            shown = image if self.shows_locations else replace(image, locations=())
            yield PlacedImage(image=shown, stores=tuple(filter(None, stores)), locations_shown=self.shows_locations)

    def changed(self, since: datetime) -> Iterator[PlacedImage]:
        """Give the images that were changed since then."""
        for placed in self.placed():
            if placed.image.updated_at is None or placed.image.updated_at >= since:
                yield placed

    def is_gone(self, image_id: str) -> bool:
        """Tell whether an image surely does not exist."""
        return self.sees_all and image_id not in self.images

    def import_methods(self) -> frozenset[str] | None:
        """Give the import methods that it offers."""
        return self.methods

    def copy_to_store(self, image_id: str, store: str) -> None:
        """Begin a copy."""
        image = self.get(image_id)
        if self.methods is not None and "copy-image" not in self.methods:
            raise RequestRefused(f"Glance, copying image {image_id}: copy-image is not enabled")
        if image.status != "active" or _TASK in image.properties:
            raise RequestRefused(f"Glance, copying image {image_id}: it is not active, or an import is at work")
        if self.catalogue.get(store) is None or any(each.metadata.get("store") == store for each in image.locations):
            raise RequestRefused(f"Glance, copying image {image_id}: it cannot be copied to store {store}")
        self._pending[image_id] = store
        self._save(replace(image, properties={**image.properties, _TASK: "task", _IMPORTING: store}))

    def delete_from_store(self, image_id: str, store: str) -> None:
        """Delete the data in one store, and the first location there."""
        image = self.get(image_id)
        if image.status != "active":
            raise RequestRefused(f"Glance, image {image_id}: data is deleted of active images")
        if len(image.locations) == 1:
            raise AccessDenied(f"Glance, image {image_id}: the data in the only store is not deleted")
        at = next((at for at, each in enumerate(image.locations) if each.metadata.get("store") == store), None)
        if at is None:
            raise ResourceNotFound("image", image_id)
        self._delete(image.locations[at])
        self._save(replace(image, locations=(*image.locations[:at], *image.locations[at + 1 :])))

    def _delete(self, location: ImageLocation) -> None:
        if self.files.pop(location.url, None) is None:
            super()._delete(location)

    def _go_on(self, image_id: str) -> None:
        """End an import that was seen often enough while it was at work."""
        if image_id not in self._pending:
            return
        self._looks[image_id] += 1
        if self._looks[image_id] <= self.looks:
            return
        del self._looks[image_id]
        image, store = self.images[image_id], self._pending.pop(image_id)
        data = self.data_in(image_id, image.locations[0].metadata["store"])
        properties = {key: value for key, value in image.properties.items() if key not in (_TASK, _IMPORTING)}
        image = replace(image, properties=properties)
        if image.digest not in (None, _digest(data)):
            self._save(replace(image, properties={**properties, "os_glance_failed_import": store}))
            return
        location = self._written(image, store, data)
        self._save(replace(image, digest=_digest(data), locations=(*image.locations, location)))

    def _written(self, image: Image, name: str, data: bytes) -> ImageLocation:
        store = self.catalogue.get(name)
        if store is None or not store.is_cinder:
            url = f"file:///{name}/{image.id}"
            self.files[url] = data
            return ImageLocation(url, {"store": name})
        volume = self._volume(image, store, data)
        return ImageLocation(f"cinder://{name}/{volume}", {"store": name})

    def _volume(self, image: Image, store: Store, data: bytes) -> str:
        record = ImageVolumeMetadata(image_id=image.id, image_owner=image.owner, size_bytes=len(data))
        volume = self.volumes.create(
            size_gib=gib_for(len(data)),
            name=f"image-{image.id}",
            volume_type=store.volume_type or self.catalogue.default_volume_type,
            metadata=record.to_volume(),
        )
        self.volumes.contents[volume.id].write(0, memoryview(data))
        self.volumes.wait(volume.id)
        self.volumes.set_readonly(volume.id, readonly=True)
        return volume.id


def _digest(data: bytes) -> Digest:
    return Digest("sha512", hashlib.sha512(data).hexdigest())
