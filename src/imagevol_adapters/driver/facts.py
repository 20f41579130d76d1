"""Cinder's objects as facts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from imagevol_core import CacheEntry, Digest, Image, ImageLocation, Volume

__all__ = ["cache_entry", "image_facts", "volume_facts"]


def image_facts(image_meta: Mapping[str, Any], image_location: Any) -> Image:
    """Give what a driver's `clone_image` is told of an image.

    Args:
        image_meta: Glance's word, as Cinder hands it on.
        image_location: a direct URL, and a list of locations; either or both may be None, or the whole.
    """
    direct_url, locations = image_location or (None, None)
    known = [ImageLocation(each["url"], each.get("metadata") or {}) for each in locations or ()]
    if direct_url and all(each.url != direct_url for each in known):
        known.insert(0, ImageLocation(direct_url))
    hashed = image_meta.get("os_hash_algo") and image_meta.get("os_hash_value")
    properties = {key: _as_in_glance(value) for key, value in (image_meta.get("properties") or {}).items()}
    if key_id := image_meta.get("cinder_encryption_key_id"):  # which Cinder takes out of the properties
        properties.setdefault("cinder_encryption_key_id", str(key_id))
    return Image(
        id=image_meta["id"],
        name=image_meta.get("name"),
        status=image_meta.get("status"),
        owner=image_meta.get("owner"),
        visibility=image_meta.get("visibility"),
        disk_format=image_meta.get("disk_format"),
        container_format=image_meta.get("container_format"),
        size_bytes=image_meta.get("size"),
        virtual_size_bytes=image_meta.get("virtual_size"),
        min_disk_gib=image_meta.get("min_disk"),
        created_at=image_meta.get("created_at"),
        updated_at=image_meta.get("updated_at"),
        digest=Digest(image_meta["os_hash_algo"], image_meta["os_hash_value"]) if hashed else None,
        locations=tuple(known),
        properties=properties,
    )


def _as_in_glance(value: Any) -> str:
    """Give a property as the text that it is in Glance; of `block_device_mapping` Cinder hands on what it has read."""
    return json.dumps(value) if isinstance(value, list | dict) else str(value)


def volume_facts(volume: Any) -> Volume:
    """Give what Cinder's object says of a volume; what there may be of metadata must have been loaded."""
    volume_type = volume.volume_type
    admin = volume.admin_metadata if "admin_metadata" in volume else {}
    return Volume(
        id=volume.id,
        name=volume.display_name,
        project_id=volume.project_id,
        host=volume.host,
        cluster_name=volume.cluster_name,
        size_gib=volume.size,
        status=volume.status,
        volume_type=volume_type.name if volume_type else None,
        encrypted=volume.encryption_key_id is not None,
        migration_status=volume.migration_status,
        readonly=str(admin.get("readonly", "")).lower() == "true",
        multiattach=volume.multiattach,
        source_volume_id=volume.source_volid,
        metadata=dict(volume.metadata),
        created_at=volume.created_at,
    )


def cache_entry(entry: Mapping[str, Any]) -> CacheEntry:
    """Give what Cinder's database says of a volume in its image cache; it counts in UTC and keeps no zone."""
    return CacheEntry(
        volume_id=entry["volume_id"],
        image_id=entry["image_id"],
        size_gib=entry["size"],
        image_updated_at=_instant(entry["image_updated_at"]),
        last_used=_instant(entry["last_used"]),
        host=entry["host"],
        cluster_name=entry["cluster_name"],
    )


def _instant(naive: datetime | None) -> datetime | None:
    return None if naive is None else naive.replace(tzinfo=UTC)
