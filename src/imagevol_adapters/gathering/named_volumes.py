"""Which images name a volume: all images are listed once, and then what has changed since."""

from __future__ import annotations

from datetime import datetime, timedelta
from threading import Lock

import attrs

from imagevol_adapters.store_ports import StoreCopyService
from imagevol_core import RequestRefused, named_volume_ids

__all__ = ["NamedVolumes"]

_MARGIN = timedelta(minutes=10)  # the clocks of several hosts of Glance differ
_FIRST = 500  # a later page shows changes that were made while the earlier ones were read


@attrs.define
class NamedVolumes:
    """The volumes that the locations of all images name.

    Args:
        images: Glance.
    """

    images: StoreCopyService
    _of_image: dict[str, frozenset[str]] = attrs.field(factory=dict, init=False)
    _by_volume: dict[str, set[str]] = attrs.field(factory=dict, init=False)
    _latest: datetime | None = attrs.field(default=None, init=False)
    _one: Lock = attrs.field(factory=Lock, init=False)

    def by(self, volume_id: str) -> tuple[str, ...]:
        """Give the images that name a volume now.

        Raises:
            RequestRefused: Glance hides the locations of an image.
        """
        with self._one:
            self._look()
            return tuple(sorted(self._by_volume.get(volume_id, ())))

    def _look(self) -> None:
        listed = self.images.placed() if self._latest is None else self.images.changed(self._latest - _MARGIN)
        latest = self._latest
        for at, placed in enumerate(listed):
            if not placed.locations_shown:
                raise RequestRefused(
                    "Glance does not show which volumes the images have: set show_multiple_locations = true in the "
                    "glance-api.conf of an endpoint that only operators reach, and use that endpoint"
                )
            image = placed.image
            if image.updated_at is not None and at < _FIRST:
                latest = image.updated_at if latest is None else max(latest, image.updated_at)
            named = frozenset(named_volume_ids(image))
            for volume_id in self._of_image.get(image.id, frozenset()) - named:
                self._by_volume[volume_id].discard(image.id)
            for volume_id in named:
                self._by_volume.setdefault(volume_id, set()).add(image.id)
            self._of_image[image.id] = named
        self._latest = latest
