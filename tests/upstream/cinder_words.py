"""The core's facts in Cinder's words, and what the core says of Cinder's errors."""

from __future__ import annotations

from typing import Any

from imagevol_adapters.testing.strategies import CloneCase
from imagevol_core import CacheEntry, Image, Volume


def image_for_cinder(image: Image) -> dict[str, Any]:
    """An image as Cinder has it from Glance."""
    return {
        "id": image.id,
        "status": image.status,
        "owner": image.owner,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "size": image.size_bytes,
        "virtual_size": image.virtual_size_bytes,
        "min_disk": image.min_disk_gib,
    }


def case_for_cinder(case: CloneCase) -> dict[str, Any]:
    """What the worker's `clone` takes."""
    target = case.target
    return {
        "image": image_for_cinder(case.image),
        "urls": [location.url for location in case.image.locations],
        "target": {
            "id": target.id,
            "project_id": target.project_id,
            "host": target.host,
            "cluster_name": target.cluster_name,
            "size": target.size_gib,
            "encrypted": target.encrypted,
        },
        "volumes": [_row(volume) for volume in case.volumes],
        "schemes": list(case.settings.allowed_direct_url_schemes),
        "clone_across_pools": case.backend.clone_across_pools,
    }


def entry_for_cinder(entry: CacheEntry) -> dict[str, Any]:
    """An entry of the cache as the worker's questions take it."""
    return {
        "volume_id": entry.volume_id,
        "image_id": entry.image_id,
        "size_gib": entry.size_gib,
        "host": entry.host,
        "cluster_name": entry.cluster_name,
        "image_updated_at": entry.image_updated_at.isoformat() if entry.image_updated_at else None,
    }


def raised(text: str, error: str) -> bool:
    """Whether a sentence of the core names this error, or is of an image too large, for which Cinder has two."""
    return f" {error}" in text or ("fails" not in text and error in ("InvalidInput", "ImageUnacceptable"))


def _row(volume: Volume) -> dict[str, Any]:
    """A volume as a row of Cinder's database, and its metadata."""
    return {
        "id": volume.id,
        "project_id": volume.project_id,
        "host": volume.host,
        "cluster_name": volume.cluster_name,
        "size": volume.size_gib,
        "status": volume.status,
        "migration_status": volume.migration_status,
        "metadata": dict(volume.metadata),
        "created_at": volume.created_at.isoformat() if volume.created_at else None,
    }
