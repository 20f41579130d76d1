"""The volume type of a backend that an operator names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagevol_core import RequestRefused, choose_volume_type
from imagevol_core.sentences import said

if TYPE_CHECKING:
    from imagevol_adapters.cinder.volumes import CinderVolumes

__all__ = ["volume_type_of"]


def volume_type_of(backend: str, volumes: CinderVolumes) -> str:
    """Choose a volume type whose volumes are all on a backend.

    Args:
        backend: the name of its section.
        volumes: Cinder, with the credentials of an administrator.

    Raises:
        RequestRefused: no pool or no volume type is only of this backend.
        AccessDenied: Cinder does not tell these credentials.
    """
    pools = {pool.name: pool.backend_name for pool in volumes.pools()}
    names = sorted({name.partition("#")[0].rpartition("@")[2] for name in pools})
    if backend not in names:
        known = ", ".join(map(said, names)) or "none"
        raise RequestRefused(
            f"Cinder's scheduler knows no pool of backend {said(backend)}; these backends have pools: {known}"
        )
    choice = choose_volume_type(backend, volumes.placed_types(), pools=pools, default=volumes.default_volume_type())
    if choice.volume_type is None:
        raise RequestRefused(
            f"no volume type puts its volumes only on backend {said(backend)}: give one with --volume-type, after "
            f"`openstack volume type create TYPE --property volume_backend_name=NAME`"
        )
    return choice.volume_type
