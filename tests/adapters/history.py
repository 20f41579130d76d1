"""A Glance and a Cinder in memory: they do with locations what the core predicts and tests on real ones have seen."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import attrs

from imagevol_adapters.ports import AccessMode, Attachment
from imagevol_core import (
    HOLD,
    Image,
    ImageLocation,
    InUse,
    NotFound,
    Policy,
    RequestRefused,
    ResourceNotFound,
    ServiceFailed,
    StoreCatalogue,
    Volume,
    VolumeAnswer,
    plan_added_location,
    plan_image,
)


class Killed(BaseException):
    """The process ends here, without a word."""


@attrs.define
class MemoryHistory:
    """Images by id, volumes by id, and how many requests there may still be before the process is killed.

    `killed_after` says whether the last request still does what it is asked.
    """

    catalogue: StoreCatalogue
    images: dict[str, Image] = attrs.field(factory=dict)
    volumes: dict[str, Volume] = attrs.field(factory=dict)
    attachments: dict[str, str] = attrs.field(factory=dict)
    requests_left: int | None = None
    killed_after: bool = False
    dead: bool = False
    held_back: frozenset[str] = frozenset()  # volumes that others have attached

    def image(self, image_id: str, *locations: ImageLocation, volume_type: str) -> None:
        """Add an image, and the volume of its locations."""
        self.images[image_id] = Image(id=image_id, status="active", locations=locations)
        volume_id = locations[0].url[-36:]
        self.volumes[volume_id] = Volume(id=volume_id, size_gib=1, status="available", volume_type=volume_type)

    # Glance

    def listed(self, image_ids: Sequence[str] | None = None) -> Iterator[Image]:
        yield from (image for image in self.images.values() if image_ids is None or image.id in image_ids)

    def get(self, image_id: str) -> Image:
        def shown() -> None:
            self.images[image_id] = self._shown(self.images[image_id])

        self._request(shown)
        return self.images[image_id]

    def change_locations(self, image_id: str, operations: Sequence[Mapping[str, Any]]) -> None:
        if image_id not in self.images:
            raise ResourceNotFound("image", image_id)

        def changed() -> None:
            image = self._shown(self.images[image_id])
            locations = list(image.locations)
            for operation in operations:
                if operation["op"] == "replace":
                    sent = [self._taken(each) for each in operation["value"]]
                    if sorted(each.url for each in sent) != sorted(each.url for each in locations):
                        raise RequestRefused("Original locations is not empty")
                    locations = sent
                elif operation["op"] == "add":
                    locations.append(self._taken(operation["value"]))
                else:
                    location = locations.pop(int(operation["path"].rpartition("/")[2]))
                    self._delete(location.url[-36:])
            self.images[image_id] = replace(image, locations=tuple(locations))

        self._request(changed)

    # Cinder

    def types_of(self, volume_ids: Sequence[str]) -> Mapping[str, VolumeAnswer]:
        return {each: self.volumes[each].volume_type if each in self.volumes else NotFound() for each in volume_ids}

    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        return tuple(self.volumes[each] for each in volume_ids if each in self.volumes)

    def set_metadata(self, volume_id: str, metadata: Mapping[str, str]) -> None:
        volume = self.volumes[volume_id]
        self._request(lambda: self._write(replace(volume, metadata={**volume.metadata, **metadata})))

    def unset_metadata(self, volume_id: str, keys: Sequence[str]) -> None:
        volume = self.volumes[volume_id]
        kept = {key: value for key, value in volume.metadata.items() if key not in keys}
        self._request(lambda: self._write(replace(volume, metadata=kept)))

    def reserve(self, volume_id: str, *, mode: AccessMode) -> Attachment:
        if volume_id in self.held_back or volume_id in self.attachments.values():
            raise InUse(f"volume {volume_id} is in use")
        attachment = Attachment(id=str(uuid.uuid4()), volume_id=volume_id, connection={})
        self._request(lambda: self.attachments.__setitem__(attachment.id, volume_id))
        return attachment

    def reservations(self, volume_id: str) -> tuple[Attachment, ...]:
        return tuple(
            Attachment(id=key, volume_id=volume_id, connection={})
            for key, value in self.attachments.items()
            if value == volume_id
        )

    def detach(self, attachment: Attachment) -> None:
        self._request(lambda: self.attachments.pop(attachment.id, None))

    # What they do by themselves

    def _shown(self, image: Image) -> Image:
        changes = plan_image(image, catalogue=self.catalogue, volume_types=self._types(), policy=Policy.UPSTREAM)
        return replace(image, locations=tuple(change.after for change in changes))

    def _taken(self, sent: Mapping[str, Any]) -> ImageLocation:
        location = ImageLocation(sent["url"], sent["metadata"])
        answer = self._types().get(location.url[-36:], NotFound())
        return plan_added_location(location, catalogue=self.catalogue, volume_type=answer, policy=Policy.UPSTREAM).after

    def _types(self) -> dict[str, VolumeAnswer]:
        return {volume.id: volume.volume_type for volume in self.volumes.values()}

    def _delete(self, volume_id: str) -> None:
        held = HOLD in self.volumes[volume_id].metadata
        if held and all(store.kind != "cinder" for store in self.catalogue.stores):
            return
        if volume_id in self.attachments.values():
            raise ServiceFailed("Glance: Failed to delete volume")
        del self.volumes[volume_id]

    def _write(self, volume: Volume) -> None:
        self.volumes[volume.id] = volume

    def _request(self, effect: Any) -> None:
        if self.requests_left is not None and not self.dead:
            self.requests_left -= 1
            self.dead = self.requests_left < 0
            if self.dead and self.killed_after:
                effect()
        if self.dead:
            raise Killed
        effect()

    def revive(self) -> None:
        """Another process takes over."""
        self.dead, self.requests_left = False, None
