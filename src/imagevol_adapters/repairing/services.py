"""Glance and Cinder, as far as a repair needs them; `GlanceImages` and `CinderVolumes` are both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol

from imagevol_adapters.ports import VolumeService
from imagevol_adapters.relocating import LocationService, VolumeHolder
from imagevol_core import Image

__all__ = ["RepairImages", "RepairVolumes"]


class RepairImages(LocationService, Protocol):
    """Glance, as far as it is repaired."""

    def listed(
        self, image_ids: Sequence[str] | None = None, *, changed_since: datetime | None = None
    ) -> Iterator[Image]:
        """Give images with their locations as they are saved; this changes nothing.

        Args:
            image_ids: of which images; every image when None.
            changed_since: only those that were changed at this time or later.
        """

    def deactivate(self, image_id: str) -> None:
        """Let no user read the data of an active image; one that is deactivated is no error."""

    def delete(self, image_id: str) -> None:
        """Delete an image, and the data of its locations."""


class RepairVolumes(VolumeService, VolumeHolder, Protocol):
    """Cinder, as far as it is repaired."""
