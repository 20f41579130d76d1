"""A Cinder in memory whose volumes are real: thin volumes of LVM, exported by a target, with a layer that can break."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import attrs

from imagevol_adapters.ports import AccessMode, Attachment
from imagevol_adapters.testing.memory import MemoryVolumes
from imagevol_core import GIB
from imagevol_core import Volume as CinderVolume
from tests.san.guest.breaking import Layer
from tests.san.guest.storage import TARGETS, Export, Volume


@attrs.define(kw_only=True)
class Real:
    """What a volume is made of.

    Attributes:
        volume: of LVM.
        layer: between it and the target.
        export: the target.
        address: where the target is.
    """

    volume: Volume
    layer: Layer
    export: Export
    addresses: tuple[str, ...]
    stack: ExitStack


@attrs.define(kw_only=True)
class SanVolumes(MemoryVolumes):
    """Volumes of one protocol.

    Args:
        protocol: by which they are exported.
        pool: the thin pool that they are in.
        paths: how many addresses each has.
    """

    protocol: str
    pool: str = "pool"
    paths: int = 1
    real: dict[str, Real] = attrs.field(factory=dict, init=False, repr=False)
    _made: int = attrs.field(default=0, init=False)

    @property
    def last(self) -> Real:
        """The volume that was made last."""
        return list(self.real.values())[-1]

    @property
    def last_id(self) -> str:
        """Its ID."""
        return list(self.real)[-1]

    def wait(self, volume_id: str) -> CinderVolume:
        """Make the volume, if it is new."""
        volume = MemoryVolumes.wait(self, volume_id)
        if volume_id not in self.real:
            self.real[volume_id] = self._make(volume)
        return volume

    def _make(self, volume: CinderVolume) -> Real:
        with ExitStack() as stack:
            thin = Volume(f"volume-{volume.id}", volume.size_gib * GIB, pool=self.pool)
            stack.callback(thin.remove)
            layer = Layer(thin)
            stack.callback(layer.remove)
            first = 11 + self._made * self.paths
            addresses = tuple(f"127.0.0.{first + place}" for place in range(self.paths))
            self._made += 1
            export = stack.enter_context(TARGETS[self.protocol](layer, addresses=addresses, number=first))
            return Real(volume=thin, layer=layer, export=export, addresses=addresses, stack=stack.pop_all())

    def attach(
        self,
        volume_id: str,
        *,
        connector: Mapping[str, Any],
        mode: AccessMode,
        when_busy: Callable[[], bool] | None = None,
    ) -> Attachment:
        """Give what the volume connects by."""
        attachment = MemoryVolumes.attach(self, volume_id, connector=connector, mode=mode, when_busy=when_busy)
        real = attrs.evolve(attachment, connection=self.real[volume_id].export.information)
        self.attachments[real.id] = real
        return real

    def extend(self, volume_id: str, *, size_gib: int) -> CinderVolume:
        """Make the volume larger, and its layer."""
        volume = MemoryVolumes.extend(self, volume_id, size_gib=size_gib)
        self.grow(volume_id, size_gib=size_gib)
        return volume

    def grow(self, volume_id: str, *, size_gib: int) -> None:
        """Make it larger on the storage."""
        real = self.real[volume_id]
        real.volume.extend(size_gib * GIB)
        real.layer.whole()
        real.export.resize()

    def delete(self, volume_id: str, *, wait: bool = True) -> None:
        """Delete the volume and its target."""
        MemoryVolumes.delete(self, volume_id, wait=wait)
        if real := self.real.pop(volume_id, None):
            real.stack.close()

    def close(self) -> None:
        """Delete all volumes, attached or not."""
        while self.real:
            self.real.popitem()[1].stack.close()
