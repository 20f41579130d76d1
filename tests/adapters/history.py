"""A Glance and a Cinder in memory, as one object, of a process that is killed after so many requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import attrs

from imagevol_adapters.ports import AccessMode, Attachment
from imagevol_adapters.testing.memory import MemoryLocations, MemoryVolumes
from imagevol_core import GIB, Image, ImageLocation, InUse, StoreCatalogue, Volume, VolumeAnswer

Answer = TypeVar("Answer")


class Killed(BaseException):
    """The process ends here, without a word."""


@attrs.define(init=False)
class MemoryHistory:
    """Images and volumes by id, and how many requests there may still be before the process is killed.

    `killed_after` says whether the last request still does what it is asked.
    """

    cinder: MemoryVolumes
    glance: MemoryLocations
    requests_left: int | None = None
    killed_after: bool = False
    dead: bool = False
    held_back: frozenset[str] = frozenset()  # volumes that others have attached

    def __init__(self, catalogue: StoreCatalogue) -> None:
        volumes = MemoryVolumes()
        self.__attrs_init__(volumes, MemoryLocations(volumes=volumes, catalogue=catalogue))

    def image(self, image_id: str, *locations: ImageLocation, volume_type: str) -> None:
        """Add an image, and the volume of its locations."""
        self.images[image_id] = Image(id=image_id, status="active", locations=locations)
        self.cinder.keep(
            Volume(
                id=locations[0].url[-36:],
                project_id=self.cinder.project_id,
                size_gib=1,
                status="available",
                volume_type=volume_type,
                metadata={"image_size": str(GIB)},
            )
        )

    @property
    def catalogue(self) -> StoreCatalogue:
        return self.glance.catalogue

    @catalogue.setter
    def catalogue(self, catalogue: StoreCatalogue) -> None:
        self.glance.catalogue = catalogue

    @property
    def images(self) -> dict[str, Image]:
        return self.glance.images

    @images.setter
    def images(self, images: dict[str, Image]) -> None:
        self.glance.images = images

    @property
    def volumes(self) -> dict[str, Volume]:
        return self.cinder.volumes

    @property
    def attachments(self) -> dict[str, Attachment]:
        return self.cinder.attachments

    # Glance

    def listed(self, image_ids: Sequence[str] | None = None) -> Iterator[Image]:
        return self.glance.listed(image_ids)

    def get(self, image_id: str) -> Image:
        return self._request(lambda: self.glance.get(image_id))

    def change_locations(self, image_id: str, operations: Sequence[Mapping[str, Any]]) -> None:
        self._request(lambda: self.glance.change_locations(image_id, operations))

    # Cinder

    def types_of(self, volume_ids: Sequence[str]) -> Mapping[str, VolumeAnswer]:
        return self.cinder.types_of(volume_ids)

    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        return self.cinder.find(volume_ids)

    def set_metadata(self, volume_id: str, metadata: Mapping[str, str]) -> None:
        self._request(lambda: self.cinder.set_metadata(volume_id, metadata))

    def unset_metadata(self, volume_id: str, keys: Sequence[str]) -> None:
        self._request(lambda: self.cinder.unset_metadata(volume_id, keys))

    def reserve(self, volume_id: str, *, mode: AccessMode) -> Attachment:
        if volume_id in self.held_back:
            raise InUse(f"volume {volume_id} is in use")
        return self._request(lambda: self.cinder.reserve(volume_id, mode=mode))

    def reservations(self, volume_id: str) -> tuple[Attachment, ...]:
        return self.cinder.reservations(volume_id)

    def detach(self, attachment: Attachment) -> None:
        self._request(lambda: self.cinder.detach(attachment))

    def _request(self, effect: Callable[[], Answer]) -> Answer:
        if self.requests_left is not None and not self.dead:
            self.requests_left -= 1
            self.dead = self.requests_left < 0
            if self.dead and self.killed_after:
                effect()
        if self.dead:
            raise Killed
        return effect()

    def revive(self) -> None:
        """Another process takes over."""
        self.dead, self.requests_left = False, None
