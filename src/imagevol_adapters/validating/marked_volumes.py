"""Volumes that say which process created them, to programs that must not see that: the conformance suites."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import attrs

from imagevol_adapters.ports import VolumeService
from imagevol_core import Volume

__all__ = ["MarkedVolumes"]


@attrs.frozen
class MarkedVolumes:
    """A `VolumeService` whose volumes all have some metadata more than is asked for, which it does not show.

    Args:
        port: the service.
        mark: the metadata.
        before: is called before each request that creates or attaches a volume.
    """

    _port: VolumeService
    _mark: Mapping[str, str]
    _before: Callable[[], None]

    def create(self, *, metadata: Mapping[str, str] | None = None, **wishes: Any) -> Volume:
        """Ask for a volume."""
        self._before()
        return self._shown(self._port.create(metadata={**(metadata or {}), **self._mark}, **wishes))

    def clone(self, volume_id: str, *, name: str, metadata: Mapping[str, str]) -> Volume:
        """Ask for a clone."""
        self._before()
        return self._shown(self._port.clone(volume_id, name=name, metadata={**metadata, **self._mark}))

    def get(self, volume_id: str) -> Volume:
        """Give what is known of one volume."""
        return self._shown(self._port.get(volume_id))

    def wait(self, volume_id: str) -> Volume:
        """Return when the volume is available."""
        return self._shown(self._port.wait(volume_id))

    def extend(self, volume_id: str, *, size_gib: int) -> Volume:
        """Make an available volume larger."""
        return self._shown(self._port.extend(volume_id, size_gib=size_gib))

    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        """Give those of the volumes that exist."""
        return tuple(map(self._shown, self._port.find(volume_ids)))

    def named(self, name: str) -> tuple[Volume, ...]:
        """Give the volumes of this project that have this name."""
        return tuple(map(self._shown, self._port.named(name)))

    def with_metadata(self, metadata: Mapping[str, str]) -> tuple[Volume, ...]:
        """Give the volumes of this project that have all of this among their metadata."""
        return tuple(map(self._shown, self._port.with_metadata(metadata)))

    def _shown(self, volume: Volume) -> Volume:
        return replace(volume, metadata={k: v for k, v in volume.metadata.items() if self._mark.get(k) != v})

    def __getattr__(self, name: str) -> Any:
        """Do the rest as the service does."""
        return getattr(self._port, name)
