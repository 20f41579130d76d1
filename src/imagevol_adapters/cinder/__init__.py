"""Cinder: volumes, types and pools, as python-cinderclient gives them."""

from typing import TYPE_CHECKING

from imagevol_adapters.lazy_imports import lazy_names

if TYPE_CHECKING:
    from imagevol_adapters.cinder.client import CONFLICTS, ERRORS, connect, said_as_ours, volume_facts
    from imagevol_adapters.cinder.pools import Pool
    from imagevol_adapters.cinder.service_user import Options, has_service_user, service_volumes, volumes_as
    from imagevol_adapters.cinder.volume_pages import is_volume_id, listed_volumes, shown_volumes
    from imagevol_adapters.cinder.volume_types import (
        default_type,
        known_pools,
        listed_types,
        shown_type,
        type_is_encrypted,
    )
    from imagevol_adapters.cinder.volumes import CinderVolumes
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "client": (
                "CONFLICTS",
                "ERRORS",
                "connect",
                "said_as_ours",
                "volume_facts",
            ),
            "pools": ("Pool",),
            "service_user": (
                "Options",
                "has_service_user",
                "service_volumes",
                "volumes_as",
            ),
            "volume_pages": (
                "is_volume_id",
                "listed_volumes",
                "shown_volumes",
            ),
            "volume_types": (
                "default_type",
                "known_pools",
                "listed_types",
                "shown_type",
                "type_is_encrypted",
            ),
            "volumes": ("CinderVolumes",),
        },
    )

__all__ = [
    "CONFLICTS",
    "ERRORS",
    "CinderVolumes",
    "Options",
    "Pool",
    "connect",
    "default_type",
    "has_service_user",
    "is_volume_id",
    "known_pools",
    "listed_types",
    "listed_volumes",
    "said_as_ours",
    "service_volumes",
    "shown_type",
    "shown_volumes",
    "type_is_encrypted",
    "volume_facts",
    "volumes_as",
]
