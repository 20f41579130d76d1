"""A Glance in memory, whose images live in itself or in volumes in memory."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import attrs

from imagevol_adapters.attributes import ImageAttributes
from imagevol_adapters.closing import closing
from imagevol_adapters.testing.memory.volumes import MemoryVolumes
from imagevol_core import (
    GIB,
    AccessDenied,
    CallerError,
    DeadlineExceeded,
    Digest,
    Image,
    ImageLocation,
    ImageVolumeMetadata,
    InUse,
    RequestRefused,
    ResourceNotFound,
    Store,
    StoreCatalogue,
    Volume,
    parse_location,
)

__all__ = ["MemoryImages"]

_DISK_FORMATS = frozenset({"ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop"})


@attrs.define(kw_only=True)
class MemoryImages:
    """A Glance in memory: an `ImageService`.  Several threads can use it at the same time.

    Args:
        volumes: where the image volumes are; its volumes can then be made from these images.
        project_id: the owner of the images that are created without another owner.
        stores: the names of the stores; the first is the default.
        sees_all: whether every project's images are seen.

    Attributes:
        images: every image, by its id.
        names: the name of each image, by its id.
        attributes: the attributes of each image that was created here, by its id.
        data: the bytes of each image that was uploaded, by its id.
        base_images: the base image that `upload` was given, by the id of the image.
    """

    volumes: MemoryVolumes
    project_id: str = "memory"
    stores: tuple[str, ...] = ("memory",)
    sees_all: bool = True
    images: dict[str, Image] = attrs.field(factory=dict, init=False, repr=False)
    names: dict[str, str] = attrs.field(factory=dict, init=False, repr=False)
    attributes: dict[str, ImageAttributes] = attrs.field(factory=dict, init=False, repr=False)
    data: dict[str, bytes] = attrs.field(factory=dict, init=False, repr=False)
    base_images: dict[str, str] = attrs.field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Let volumes be made from these images."""
        self.volumes.images = self

    def store_names(self) -> tuple[str, ...]:
        """Give the names of the stores."""
        return self.stores

    def takes_preference(self, image_id: str) -> bool:  # noqa: ARG002 - it is the same for all
        """Tell that it reads from a preferred store."""
        return True

    def preferring(self, store: str) -> MemoryImages:  # noqa: ARG002 - all stores hold the same
        """Give the images, read from this store if they are there."""
        return self

    def catalogue(self) -> StoreCatalogue:
        """Give the stores, whose volumes can be of any type."""
        return StoreCatalogue(stores=tuple(Store(name=name, kind="cinder") for name in self.stores))

    def stores_of(self, image_id: str) -> tuple[str, ...]:
        """Give the names of the stores that an image is in."""
        found = (location.metadata.get("store") for location in self.get(image_id).locations)
        return tuple(store for store in found if store)

    def get(self, image_id: str) -> Image:
        """Give what is known of one image."""
        try:
            return self.images[image_id]
        except KeyError as error:
            raise ResourceNotFound("image", image_id) from error

    def find(self, name_or_id: str) -> Image:
        """Give the image of that id, or the only one of that name."""
        named = [image_id for image_id, name in list(self.names.items()) if name == name_or_id]
        if name_or_id not in self.images and len(named) > 1:
            raise RequestRefused(f"{len(named)} images are named {name_or_id}: give the id of one")
        return self.get(name_or_id if name_or_id in self.images or not named else named[0])

    def create(
        self,
        *,
        name: str,
        disk_format: str,
        owner: str | None = None,
        visibility: str | None = None,
        attributes: ImageAttributes | None = None,
    ) -> Image:
        """Make the record of an image that is `queued`."""
        asked = attributes or ImageAttributes()
        if disk_format not in _DISK_FORMATS:
            raise RequestRefused(f"creating image {name}: {disk_format} is none of {', '.join(sorted(_DISK_FORMATS))}")
        image = Image(
            id=str(uuid.uuid4()),
            name=name,
            status="queued",
            owner=owner or self.project_id,
            visibility=visibility or "shared",
            disk_format=disk_format,
            container_format=asked.container_format,
            min_disk_gib=asked.min_disk_gib,
            updated_at=datetime.now(UTC),
            properties=asked.properties,
        )
        self.attributes[image.id] = attrs.evolve(asked, protected=False)
        self.names[image.id] = name
        self.images[image.id] = image
        return image

    def listed(
        self,
        image_ids: Sequence[str] | None = None,
        *,
        locations_needed: bool = True,  # noqa: ARG002 - they are always shown
        changed_since: datetime | None = None,
    ) -> Iterator[Image]:
        """Give images with their locations, in the order of their ids."""
        for image_id in sorted(self.images if image_ids is None else self.images.keys() & set(image_ids)):
            image = self.images.get(image_id)
            if image is None:  # deleted meanwhile
                continue
            if changed_since is None or image.updated_at is None or image.updated_at >= changed_since:
                yield image

    def with_properties(self, properties: Mapping[str, str], *, status: str) -> tuple[Image, ...]:
        """Give the images in this status that have all of these properties."""
        wanted = dict(properties).items()
        return tuple(
            replace(image, locations=())
            for image in list(self.images.values())
            if image.status == status and wanted <= image.properties.items()
        )

    def unset_properties(self, image_id: str, names: Iterable[str]) -> Image:
        """Delete these properties, and give the image as it is then."""
        deleted = set(names)
        kept = {name: value for name, value in self.get(image_id).properties.items() if name not in deleted}
        self.images[image_id] = replace(self.images[image_id], properties=kept, updated_at=datetime.now(UTC))
        return self.images[image_id]

    def protect(self, image_id: str, *, protected: bool) -> None:
        """Set or clear the protection against deletion."""
        asked = self.attributes.get(self.get(image_id).id, ImageAttributes())
        self.attributes[image_id] = attrs.evolve(asked, protected=protected)

    def wait(self, image_id: str) -> Image:
        """Nothing is ever under way."""
        return self.get(image_id)

    def add_location(self, image_id: str, url: str, *, store: str | None, digest: Digest | None) -> Image:
        """Register where the data is; data that is not as the digest says is deleted, as Glance does."""
        self._expect_queued(image_id)
        never = DeadlineExceeded(f"image {image_id} has not taken its location", seconds=0)
        try:
            location = parse_location(url)
            volume = self.volumes.get(location.volume_id)
        except CallerError as error:
            raise never from error
        size_bytes = _size_bytes(volume)
        if not size_bytes:
            raise never
        if digest is not None:
            actual = hashlib.new(digest.algorithm)
            for part in self._content(volume.id, size_bytes):
                actual.update(part)
            if actual.hexdigest() != digest.value:
                self.volumes.delete(volume.id)
                raise never
        found = ImageLocation(url, {"store": store or location.store or self.stores[0]})
        return self._activate(image_id, locations=(found,), size_bytes=size_bytes, digest=digest)

    def upload(
        self,
        image_id: str,
        data: Iterable[bytes],
        *,
        size_bytes: int | None,
        store: str | None = None,
        base_image_id: str | None = None,
    ) -> Image:
        """Keep an image's data; the base image is kept in `base_images`, and not looked at, as Glance does not."""
        with closing(data):
            self._expect_queued(image_id)
            if (store or self.stores[0]) not in self.stores:
                raise RequestRefused(f"uploading image {image_id}: there is no store {store}")
            content = b"".join(data)
        if size_bytes is not None and len(content) != size_bytes:
            raise RequestRefused(f"uploading image {image_id}: {size_bytes} bytes were announced, {len(content)} came")
        self.data[image_id] = content
        if base_image_id is not None:
            self.base_images[image_id] = base_image_id
        return self._activate(
            image_id,
            locations=(ImageLocation(f"file:///memory/{image_id}", {"store": store or self.stores[0]}),),
            size_bytes=len(content),
            digest=Digest("sha512", hashlib.sha512(content).hexdigest()),
        )

    def read(self, image_id: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Give an image's data, whole or a part."""
        image = self.get(image_id)
        if image.size_bytes is None:
            raise RequestRefused(f"image {image_id} is '{image.status}' and has no data")
        end = image.size_bytes if length is None else min(image.size_bytes, offset + length)
        if image_id in self.data:
            return iter([self.data[image_id][offset:end]] if end > offset else [])
        return self._content(parse_location(image.locations[0].url).volume_id, end, offset)

    def unverified(self, image: Image, *, offset: int, length: int) -> Iterator[bytes]:
        """Give a part of an image's data, or all of it, for a reader that verifies it."""
        return self.read(image.id, offset=offset, length=length)

    def delete(self, image_id: str) -> None:
        """Delete the image, and the volumes that have its data."""
        if image_id in self.attributes and self.attributes[image_id].protected:
            raise AccessDenied(f"image {image_id} is protected and cannot be deleted")
        for location in self.get(image_id).locations:
            with suppress(ResourceNotFound):
                if location.url.startswith("cinder:"):
                    self._delete_volume(image_id, parse_location(location.url).volume_id)
        if self.images.pop(image_id, None) is None:  # another thread was first
            raise ResourceNotFound("image", image_id)
        self.names.pop(image_id, None)
        self.data.pop(image_id, None)
        self.base_images.pop(image_id, None)
        self.attributes.pop(image_id, None)

    def _expect_queued(self, image_id: str) -> None:
        if (image := self.get(image_id)).status != "queued":
            raise RequestRefused(f"image {image_id} is '{image.status}' and takes data while it is 'queued'")

    def _activate(self, image_id: str, **facts: Any) -> Image:
        self.images[image_id] = replace(self.images[image_id], status="active", updated_at=datetime.now(UTC), **facts)
        return self.images[image_id]

    def _content(self, volume_id: str, end: int, offset: int = 0) -> Iterator[bytes]:
        device = self.volumes.contents[volume_id]
        for start in range(offset, end, 1 << 22):
            yield device.read(start, min(1 << 22, end - start))

    def _delete_volume(self, image_id: str, volume_id: str) -> None:
        try:
            self.volumes.delete(volume_id)
        except InUse as error:
            raise RequestRefused(f"deleting image {image_id}: {error}") from error


def _size_bytes(volume: Volume) -> int:
    """How much of an image volume is the image."""
    recorded = ImageVolumeMetadata.from_volume(volume.metadata).size_bytes
    return volume.size_gib * GIB if recorded is None else recorded
