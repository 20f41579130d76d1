"""What python-glanceclient shows, as facts, and what it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import imagevol_core  # of stores where they are asked for
from imagevol_adapters.attributes import ATTRIBUTES, ImageAttributes
from imagevol_core import Digest, Image, ImageLocation

__all__ = ["asked_of_glance", "catalogue_facts", "image_facts"]


def catalogue_facts(told: Sequence[Mapping[str, Any]]) -> imagevol_core.StoreCatalogue:
    """What Glance tells of its stores, as facts."""
    stores = tuple(
        imagevol_core.Store(
            name=store["id"],
            kind=store["type"],
            volume_type=store["properties"].get("volume_type"),
            weight=store["weight"],
            readonly=store.get("read-only") == "true",
        )
        for store in told
    )
    return imagevol_core.StoreCatalogue(
        stores=stores, default=next((each["id"] for each in told if "default" in each), None)
    )


def asked_of_glance(attributes: ImageAttributes) -> dict[str, Any]:
    """The arguments of glanceclient; Glance's defaults are left out."""
    wishes = {
        "min_disk": attributes.min_disk_gib,
        "min_ram": attributes.min_ram_mib,
        "os_hidden": attributes.hidden,
        "tags": list(attributes.tags),
    }
    return {
        **attributes.properties,
        "container_format": attributes.container_format,
        **{key: value for key, value in wishes.items() if value},
    }


def image_facts(shown: Mapping[str, Any], locations: tuple[ImageLocation, ...]) -> Image:
    """What glanceclient's image says, as facts."""
    hashed = shown.get("os_hash_algo") and shown.get("os_hash_value")
    return Image(
        id=shown["id"],
        name=shown.get("name"),
        status=shown.get("status"),
        owner=shown.get("owner"),
        visibility=shown.get("visibility"),
        disk_format=shown.get("disk_format"),
        container_format=shown.get("container_format"),
        size_bytes=shown.get("size"),
        virtual_size_bytes=shown.get("virtual_size"),
        min_disk_gib=shown.get("min_disk"),
        created_at=datetime.fromisoformat(shown["created_at"]) if shown.get("created_at") else None,
        updated_at=datetime.fromisoformat(shown["updated_at"]),
        digest=Digest(shown["os_hash_algo"], shown["os_hash_value"]) if hashed else None,
        locations=locations,
        properties={key: value for key, value in shown.items() if key not in ATTRIBUTES},
    )
