"""The facts of templates that are created ahead of the first volume: what `plan_warming` asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from imagevol_adapters.cinder.pools import Pool
from imagevol_core import Image, Volume, VolumeType, WarmPool, WarmWish, least_volume_gib, may_serve, named_volume_ids

__all__ = ["PoolSettings", "WarmCloud", "gather_warm"]


class WarmCloud(Protocol):
    """Cinder, as an administrator sees its types and pools; `CinderVolumes` is one."""

    def default_volume_type(self) -> str | None:
        """Give the name of the type of volumes that name none."""

    def volume_type(self, name: str) -> VolumeType | None:
        """Give a volume type; None if these credentials may not see all of its extra specs."""

    def is_encrypted(self, volume_type: str) -> bool:
        """Tell whether the volumes of a type are encrypted."""

    def pools(self) -> tuple[Pool, ...]:
        """Give the pools that Cinder's scheduler knows."""

    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        """Give those of the volumes that exist, in the order asked."""


class PoolSettings(Protocol):
    """What the operator has configured; `CinderConfiguration` is one."""

    def pool(self, name: str, *, clone_across_pools: bool = False) -> WarmPool:
        """Give what is allowed on a pool."""


def gather_warm(
    images: Iterable[Image],
    volume_types: Sequence[str] = (),
    *,
    volumes: WarmCloud,
    configuration: PoolSettings,
    project_id: str | None,
) -> list[WarmWish]:
    """Collect, for each image and volume type, what `plan_warming` asks for.

    Args:
        images: taken after the types were looked up.
        volume_types: the names of the types; if it is empty, Cinder's default type.
        volumes: Cinder, with credentials of an administrator.
        configuration: what the operator has configured.
        project_id: the project of the volume that would be created.

    Raises:
        ResourceNotFound: there is no such type.
        ImagevolError: what `volumes` and `configuration` raise.
    """
    types: list[str | None] = list(dict.fromkeys(volume_types)) or [volumes.default_volume_type()]
    known = volumes.pools()
    pools = {name: _pools(known, name, volumes, configuration) for name in types}
    encrypted = {name: name is not None and volumes.is_encrypted(name) for name in types}
    return [
        WarmWish(
            image=image,
            target=Volume(
                id="the new volume",
                project_id=project_id,
                size_gib=least_volume_gib(image) or 1,  # of an image of unknown size there is no template
                volume_type=name,
                encrypted=encrypted[name],
            ),
            pools=pools[name],
            volumes=tuple(volumes.find(named_volume_ids(image))),
        )
        for image in {image.id: image for image in images}.values()
        for name in types
    ]


def _pools(
    known: Iterable[Pool], volume_type: str | None, volumes: WarmCloud, configuration: PoolSettings
) -> tuple[WarmPool, ...]:
    facts = None if volume_type is None else volumes.volume_type(volume_type)
    found = [pool for pool in known if may_serve(facts, backend_name=pool.backend_name)]
    return tuple(configuration.pool(pool.name, clone_across_pools=pool.clone_across_pools) for pool in found)
