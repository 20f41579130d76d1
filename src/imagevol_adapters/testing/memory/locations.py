"""A Glance in memory, as far as the locations of its images go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

import attrs

from imagevol_adapters.cinder.volume_pages import is_volume_id
from imagevol_core import (
    GIB,
    AccessDenied,
    Image,
    ImageLocation,
    ImagevolError,
    ImageVolumeMetadata,
    RequestRefused,
    ResourceNotFound,
    ServiceFailed,
    Store,
    StoreCatalogue,
    Volume,
    decide_deletion,
)

__all__ = ["MemoryLocations", "StoreVolumes"]

_SCHEMES: Mapping[str, tuple[str, ...]] = {
    "cinder": ("cinder",),
    "imagevol": ("cinder", "imagevol"),
    "file": ("file", "filesystem"),
    "http": ("http", "https"),
    "rbd": ("rbd",),
    "s3": ("s3", "s3+http", "s3+https"),
    "swift": ("swift", "swift+https", "swift+http", "swift+config"),
    "vmware": ("vsphere",),
}
_NEVER_ADDED = ("file", "filesystem", "swift+config")
_RESERVED = ("os_glance_staging_store", "os_glance_tasks_store")


class StoreVolumes(Protocol):
    """Cinder, as the stores of a `MemoryLocations` ask it; a `MemoryVolumes` is one."""

    @property
    def project_id(self) -> str | None:
        """The project of the stores' credentials."""

    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        """Give those of the volumes that exist."""

    def delete(self, volume_id: str) -> None:
        """Delete one."""


@attrs.define(kw_only=True)
class MemoryLocations:
    """A Glance in memory that migrates and changes locations: a `LocationService`.

    It is written after the code of Glance 33 and of the store drivers, and asks the core for no prediction.  So it can
    show that a prediction is wrong.  Of what is not in volumes it can only read the URL.

    Args:
        volumes: Cinder, as the stores ask it.
        catalogue: the stores. A test may set others, as an operator does who restarts Glance.
        shows_locations: the option `show_multiple_locations`.

    Attributes:
        images: every image by its id, with its locations in the order of Glance's database.

    >>> from imagevol_adapters.testing.memory import MemoryVolumes
    >>> volume_id = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
    >>> volumes = MemoryVolumes()
    >>> volumes.keep(Volume(id=volume_id, size_gib=1, status="available", volume_type="ssd"))
    >>> stores = StoreCatalogue(stores=(Store(name="fast", kind="cinder", volume_type="ssd"),))
    >>> glance = MemoryLocations(volumes=volumes, catalogue=stores)
    >>> old = ImageLocation(f"cinder://{volume_id}")
    >>> glance.images["i"] = Image(id="i", status="active", locations=(old,))
    >>> next(glance.listed()).locations == (old,)
    True
    >>> glance.get("i").locations[0].url
    'cinder://fast/9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1'
    """

    volumes: StoreVolumes
    catalogue: StoreCatalogue
    shows_locations: bool = True
    images: dict[str, Image] = attrs.field(factory=dict, init=False, repr=False)

    def listed(
        self, image_ids: Sequence[str] | None = None, *, changed_since: datetime | None = None
    ) -> Iterator[Image]:
        """Give images with their locations as they are saved."""
        for image_id in sorted(self.images if image_ids is None else {*image_ids} & self.images.keys()):
            image = self.images[image_id]
            if changed_since and image.updated_at and image.updated_at < changed_since:
                continue
            if not self.shows_locations:
                raise AccessDenied("Glance lists no locations: set show_multiple_locations = true in glance-api.conf")
            yield self._weighed(image)

    def get(self, image_id: str) -> Image:
        """Show an image, with its locations migrated; they are saved if a store was found for one."""
        image = self._saved(image_id)
        try:
            seen = [self._as_shown(location) for location in image.locations]
        except ValueError as error:
            raise ServiceFailed(f"Glance, image {image_id}: a location is not a URL") from error
        if not any(save for _, save in seen):
            return self._weighed(image)
        weights = [self._weight(location) for location in image.locations]  # it is sorted before it is migrated
        saved = self._save(replace(image, locations=tuple(location for location, _ in seen)))
        order = sorted(range(len(weights)), key=lambda at: weights[at], reverse=True)
        return replace(saved, locations=tuple(saved.locations[at] for at in order))

    def change_locations(self, image_id: str, operations: Sequence[Mapping[str, Any]]) -> None:
        """Change the locations of an image by a JSON patch, all of it or nothing; a volume that was deleted is gone."""
        image = self.get(image_id)
        for operation in operations:
            change = _CHANGES.get(str(operation.get("op")))
            path = str(operation.get("path")).split("/")[1:]
            if change is None or path[:1] != ["locations"]:
                raise RequestRefused(f"Glance, locations of image {image_id}: {operation} is no operation on locations")
            if not self.shows_locations:
                raise AccessDenied(f"Glance, locations of image {image_id}: show_multiple_locations is not set")
            image = change(self, image, "/".join(path[1:]), operation.get("value"))
        # Its database has no position of a location: what is there keeps its place, and what is new comes after it.
        rows = self.images[image_id].locations
        kept = [row for row in rows if any(row is location for location in image.locations)]
        new = [location for location in image.locations if not any(location is row for row in rows)]
        self._save(replace(image, locations=(*kept, *new)))

    def deactivate(self, image_id: str) -> None:
        """Let no user read the data of an active image; one that is deactivated is no error."""
        image = self._saved(image_id)
        if image.status not in ("active", "deactivated"):
            raise AccessDenied(f"image {image_id} is '{image.status}', and an image is deactivated while it is active")
        if image.status == "active":
            self._save(replace(image, status="deactivated"))

    def delete(self, image_id: str) -> None:
        """Delete an image, and the data of its locations."""
        for location in self._saved(image_id).locations:
            self._delete(location)
        del self.images[image_id]

    def _saved(self, image_id: str) -> Image:
        if image_id not in self.images:
            raise ResourceNotFound("image", image_id)
        return self.images[image_id]

    def _save(self, image: Image) -> Image:
        self.images[image.id] = replace(image, updated_at=datetime.now(UTC))
        return self.images[image.id]

    # The three operations

    def _add(self, image: Image, position: str, value: Any) -> Image:
        _expect_status(image, "active", "queued")
        at = _position(position, len(image.locations), beyond=True)
        location = self._as_added(value)
        size_bytes = self._size_bytes(location)
        if location in image.locations:
            raise RequestRefused(f"image {image.id} has this location already")
        return replace(
            image,
            status="active",
            size_bytes=image.size_bytes or size_bytes,
            locations=(*image.locations[:at], location, *image.locations[at:]),
        )

    def _replace(self, image: Image, position: str, value: Any) -> Image:
        if position:
            raise RequestRefused("locations are replaced all at once")
        if not value:
            raise AccessDenied("an image keeps a location")
        _expect_status(image, "active", "queued")
        locations = tuple(self._as_added(each) for each in value)
        if sorted(each.url for each in locations) != sorted(each.url for each in image.locations):
            if image.locations:
                raise RequestRefused("Original locations is not empty")
            if len(set(locations)) < len(locations):
                raise RequestRefused("a location is given twice")
            sizes = [self._size_bytes(location) for location in locations]
            image = replace(image, size_bytes=image.size_bytes or sizes[0])
        return replace(image, status="active", locations=locations)

    def _remove(self, image: Image, position: str, _value: Any) -> Image:
        _expect_status(image, "active")
        if len(image.locations) == 1:
            raise AccessDenied("the last location of an image is not removed")
        at = _position(position, len(image.locations), beyond=False)
        self._delete(image.locations[at])
        return replace(image, locations=(*image.locations[:at], *image.locations[at + 1 :]))

    # What Glance makes of a location

    def _as_shown(self, location: ImageLocation) -> tuple[ImageLocation, bool]:
        """What Glance makes of a location of an image that it shows, and whether it saves that."""
        url, metadata = location.url, dict(location.metadata)
        plain = _without_keys(url)
        url, save = (url, False) if plain is None else (plain, True)
        if self.catalogue.multi and metadata.get("store", "") not in self._enabled():
            url = self._associated(url, metadata)
            begun = self._begun(url)
            if begun is not None:
                metadata["store"], save = begun, True
        return ImageLocation(url, metadata), save

    def _as_added(self, value: Any) -> ImageLocation:
        """What Glance makes of a location that it is sent, whatever the metadata says."""
        try:
            url, metadata = value["url"], dict(value["metadata"])
        except (TypeError, KeyError, ValueError) as error:
            raise RequestRefused("a location has a url and metadata") from error
        try:
            if self.catalogue.multi and url.startswith("cinder://"):
                url = self._associated(url, metadata)
            elif self.catalogue.multi and (begun := self._begun(url)) is not None:
                metadata["store"] = begun
        except ValueError as error:
            raise RequestRefused("a location is not a URL") from error
        return ImageLocation(url, metadata)

    def _associated(self, url: str, metadata: dict[str, str]) -> str:
        """Give the URL in the first store that has the type of the volume, whose name is written into the metadata."""
        if not url.startswith("cinder://"):
            return url
        urlsplit(url)
        volume_id = url.rpartition("/")[2]
        for store in self._with_scheme("cinder"):
            if self._is_of(store, volume_id):
                metadata["store"] = store.name
                return f"cinder://{store.name}/{volume_id}"
        return url

    def _is_of(self, store: Store, volume_id: str) -> bool:
        wanted = store.volume_type or self.catalogue.default_volume_type
        try:
            found = self.volumes.find([volume_id])
        except ImagevolError:
            return False
        return wanted is not None and any(volume.volume_type == wanted for volume in found)

    def _begun(self, url: str) -> str | None:
        """Name the first store whose prefix the URL begins with; with glance_store's driver, `cinder://fast2/…` too."""
        for store in self._with_scheme(urlsplit(url).scheme):
            prefix = {"cinder": f"cinder://{store.name}", "imagevol": f"cinder://{store.name}/"}.get(store.kind)
            prefix = prefix or store.url_prefix
            if prefix and url.startswith(prefix):
                return store.name
        return None

    def _with_scheme(self, scheme: str) -> list[Store]:
        return [store for store in self.catalogue.stores if scheme in _SCHEMES.get(store.kind, ())]

    def _enabled(self) -> set[str]:
        return {*_RESERVED, *(store.name for store in self.catalogue.stores)}

    def _weighed(self, image: Image) -> Image:
        """The image as Glance reads it from its database: what is in a store of more weight comes first."""
        if not self.catalogue.multi or len(image.locations) < 2:
            return image
        return replace(image, locations=tuple(sorted(image.locations, key=self._weight, reverse=True)))

    def _weight(self, location: ImageLocation) -> int:
        """The weight of its store; Glance finds none of a driver that has no scheme of the driver's name."""
        name = location.metadata.get("store")
        found = (store for store in self.catalogue.stores if store.name == name)
        return next((store.weight for store in found if store.kind in _SCHEMES.get(store.kind, ())), 0)

    # What the stores do

    def _store_of(self, location: ImageLocation) -> Store | None:
        """The store that is asked: the one that the metadata names, or the only one."""
        able = self._with_scheme(urlsplit(location.url).scheme)
        if self.catalogue.multi:
            able = [store for store in able if store.name == location.metadata.get("store")]
        return able[0] if able else None

    def _size_bytes(self, location: ImageLocation) -> int:
        """How much is there; nothing that is not there is added."""
        volume_id = location.url.rpartition("/")[2]
        found = self.volumes.find([volume_id]) if self._store_of(location) and is_volume_id(volume_id) else ()
        if not found or urlsplit(location.url).scheme in _NEVER_ADDED:
            raise RequestRefused(f"Invalid location {volume_id}")
        recorded = ImageVolumeMetadata.from_volume(found[0].metadata).size_bytes
        return found[0].size_gib * GIB if recorded is None else recorded

    def _delete(self, location: ImageLocation) -> None:
        """Delete the data, which a driver of ours does not do with a volume that is held or is no image's."""
        store, volume_id = self._store_of(location), location.url.rpartition("/")[2]
        if store is None or not is_volume_id(volume_id):
            raise ServiceFailed(f"Glance: no store deletes {volume_id}")
        for volume in self.volumes.find([volume_id]):
            if store.kind == "imagevol" and not decide_deletion(volume, project_id=self.volumes.project_id).allowed:
                continue
            try:
                self.volumes.delete(volume_id)
            except ImagevolError as error:
                raise ServiceFailed(f"Glance: Failed to delete volume {volume_id}") from error


_CHANGES = {"add": MemoryLocations._add, "replace": MemoryLocations._replace, "remove": MemoryLocations._remove}


def _without_keys(url: str) -> str | None:
    """Give the URL of an S3 store without the keys that older releases wrote into it; None if none is there."""
    if not url.startswith(("s3://", "s3+http://", "s3+https://")) or "@" not in url:
        return None
    scheme = urlsplit(url).scheme
    _, at, place = url.partition("?")[0].partition("#")[0].rpartition("@")
    return f"{scheme}://{place}" if at else None


def _position(text: str, count: int, *, beyond: bool) -> int:
    """Read the last part of a path: a number, or `-` for the end."""
    at = int(text) if text.isdecimal() else count - (not beyond) if text == "-" else -1
    if at < 0 or not (beyond or at < count):
        raise RequestRefused(f"there is no location {text}")
    return at


def _expect_status(image: Image, *statuses: str) -> None:
    if image.status not in statuses:
        raise RequestRefused(f"locations of image {image.id} are not changed while it is {image.status}")
