"""The clone of an image volume that becomes the image's volume in another store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import attrs

from imagevol_adapters.processes import origin
from imagevol_adapters.store_ports import StoreCopyVolumes
from imagevol_adapters.transfers.attaching import delete_volume
from imagevol_core import (
    FINISHED,
    Image,
    ImageLocation,
    ImageVolumeMetadata,
    StorageError,
    Volume,
    VolumeOrigin,
    named_volume_ids,
    read_metadata,
)
from imagevol_core.remains import CLONE_OF_KEY, JOURNAL_KEY
from imagevol_core.store_copies import CloneLeft, decide_discard

__all__ = ["CloneOfStore"]


@attrs.frozen(kw_only=True)
class CloneOfStore:
    """The clone that one journal makes for one image.

    Args:
        volumes: Cinder, with the credentials of the store.
        marks: the first marks the clone, so that a process that takes over finds it; it looks for all of them.
        image_id: the image.
        registered: the clones that were seen in a location of the image.
        named: gives the images that name a volume.
        cloned: the volumes that the journal has cloned for the image.
    """

    volumes: StoreCopyVolumes
    marks: tuple[str, ...]
    image_id: str
    registered: tuple[str, ...]
    named: Callable[[str], tuple[str, ...]]
    cloned: tuple[str, ...]

    def made(self, source: str, *, image: Image, volume_type: str | None) -> Volume:
        """Give a clone that Glance can take: of the store's type, with its record, read-only.

        One that a killed process has made is taken up, and one that came to nothing is deleted.

        Args:
            source: the image volume.
            image: what it holds.
            volume_type: of the store's volumes.
        """
        volume = self._left(image.locations)
        if volume is None:
            made_by = {**origin("cp", image.id).to_volume(), CLONE_OF_KEY: source}
            metadata = {**self._record(source, image), **made_by, **self._mark(self.marks[0])}
            begun = self.volumes.clone(source, name=f"image-{image.id}", metadata=metadata, volume_type=volume_type)
            volume = self.volumes.wait(begun.id)
        self.volumes.set_readonly(volume.id, readonly=True)
        self.volumes.set_metadata(volume.id, FINISHED)
        return volume

    def discard(self, locations: Iterable[ImageLocation]) -> None:
        """Delete what was cloned and was never in a location.

        Args:
            locations: of the image; none if it is deleted.
        """
        for volume in self._unnamed(locations):
            delete_volume(self.volumes, volume.id)

    def abandon(self, locations: Iterable[ImageLocation]) -> tuple[str, ...]:
        """Delete what Glance was never told of, and give the IDs of the other clones: it may be adding a location.

        Args:
            locations: of the image.
        """
        left = []
        for volume in self._unnamed(locations):
            made_by = VolumeOrigin.from_volume(volume.metadata)
            if made_by is None or made_by.finished:
                left.append(volume.id)
            else:
                delete_volume(self.volumes, volume.id)
        return tuple(left)

    def in_locations(self, locations: Iterable[ImageLocation]) -> tuple[str, ...]:
        """Give what was cloned and is in a location of the image.

        Args:
            locations: of the image.
        """
        named = named_volume_ids(Image(id=self.image_id, locations=tuple(locations)))
        return tuple(volume.id for volume in self._marked() if volume.id in named)

    def _left(self, locations: Iterable[ImageLocation]) -> Volume | None:
        """The clone of a process that was killed; if there are several, or one has failed, the others are deleted."""
        found = None
        for volume in self._unnamed(locations):
            try:
                sound = None if found else self.volumes.wait(volume.id)
            except StorageError:
                sound = None
            if sound is None:
                delete_volume(self.volumes, volume.id)
            found = found or sound
        return found

    def _unnamed(self, locations: Iterable[ImageLocation]) -> list[Volume]:
        named = named_volume_ids(Image(id=self.image_id, locations=tuple(locations)))
        return [volume for volume in self._marked() if volume.id not in named and self._left_over(volume)]

    def _marked(self) -> list[Volume]:
        return [volume for mark in self.marks for volume in self.volumes.with_metadata(self._mark(mark))]

    def _left_over(self, volume: Volume) -> bool:
        registered = volume.id in self.registered
        clone = CloneLeft(
            image_id=self.image_id,
            volume_id=volume.id,
            locations_shown=True,
            registered=registered,
            named_by=() if registered else self.named(volume.id),
            source=volume.source_volume_id,
            cloned=self.cloned,
        )
        return decide_discard(clone).allowed

    def _mark(self, mark: str) -> dict[str, str]:
        return {JOURNAL_KEY: mark, "glance_image_id": self.image_id}

    def _record(self, source: str, image: Image) -> dict[str, str]:
        """What the source says of the image, and what Glance says of it."""
        told = read_metadata(self.volumes.get(source).metadata)
        record = told if isinstance(told, ImageVolumeMetadata) else ImageVolumeMetadata()
        return replace(
            record,
            image_id=image.id,
            image_owner=image.owner,
            size_bytes=image.size_bytes,
            digest=image.digest or record.digest,
            blake3=None,  # of a volume that was cloned it is not believed
        ).to_volume()
