"""A source of facts for many creations: what they have in common is asked for once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from imagevol_adapters.gathering.creation import CreationSource
from imagevol_adapters.tending.templates import place_of
from imagevol_core import CacheEntry, Template, Volume

__all__ = ["Remembering"]


@attrs.define(kw_only=True)
class Remembering:
    """A `CreationSource` for the images of a page, in all places.

    Args:
        source: what is asked.
        volumes: those of the image volumes that exist, by id: of a page of images they are asked for together.
    """

    source: CreationSource
    volumes: Mapping[str, Volume]
    _templates: dict[str | None, tuple[Template, ...]] = attrs.field(factory=dict, init=False, repr=False)
    _given: dict[str, bool] = attrs.field(factory=dict, init=False, repr=False)
    _entries: tuple[CacheEntry, ...] | None = attrs.field(default=None, init=False, repr=False)

    @property
    def project_id(self) -> str | None:
        """The project of the token with which Glance is asked."""
        return self.source.project_id

    @property
    def sees_templates(self) -> bool:
        """Whether the templates that there are can be looked for."""
        return self.source.sees_templates

    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        """Give those of the volumes that exist."""
        return tuple(self.volumes[volume_id] for volume_id in volume_ids if volume_id in self.volumes)

    def templates(self, target: Volume) -> tuple[Template, ...]:
        """Give all templates of the target's backend, as they were when the first image was looked at."""
        place = place_of(target)
        if place not in self._templates:
            self._templates[place] = tuple(self.source.templates(target))
        return self._templates[place]

    def cache_entries(self) -> tuple[CacheEntry, ...]:
        """Give what is in Cinder's image cache on all backends."""
        if self._entries is None:
            self._entries = tuple(self.source.cache_entries())
        return self._entries

    def gives_data(self, image_id: str) -> bool:
        """Tell whether Glance gives the requester the data of an image; it is asked once for all places."""
        if image_id not in self._given:
            self._given = {image_id: self.source.gives_data(image_id)}
        return self._given[image_id]
