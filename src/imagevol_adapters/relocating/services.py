"""Glance and Cinder, as far as a migration needs them; `GlanceImages` and `CinderVolumes` are both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from imagevol_adapters.ports import AccessMode, Attachment
from imagevol_core import Image, Volume, VolumeAnswer

__all__ = ["LocationService", "VolumeHolder"]


class LocationService(Protocol):
    """Glance, as far as its locations are changed."""

    def listed(self, image_ids: Sequence[str] | None = None) -> Iterator[Image]:
        """Give images with their locations as they are saved; this changes nothing."""

    def get(self, image_id: str) -> Image:
        """Show an image, on which Glance migrates its locations."""

    def change_locations(self, image_id: str, operations: Sequence[Mapping[str, Any]]) -> None:
        """Have the locations of an image changed by a JSON patch."""


class VolumeHolder(Protocol):
    """Cinder, as far as volumes are told apart by type and kept from being deleted."""

    def types_of(self, volume_ids: Sequence[str]) -> Mapping[str, VolumeAnswer]:
        """Say of which type each volume is."""

    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        """Give those of the volumes that exist, in the order asked."""

    def set_metadata(self, volume_id: str, metadata: Mapping[str, str]) -> None:
        """Write these keys; others stay."""

    def unset_metadata(self, volume_id: str, keys: Sequence[str]) -> None:
        """Take these keys away."""

    def reserve(self, volume_id: str, *, mode: AccessMode) -> Attachment:
        """Reserve the volume without a host."""

    def reservations(self, volume_id: str) -> tuple[Attachment, ...]:
        """Give the attachments that reserve the volume without a host."""

    def detach(self, attachment: Attachment) -> None:
        """Take a reservation back."""
