"""The images that the suite of locations needs, in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from imagevol_adapters.testing.conformance.locations import STORES, History, places
from imagevol_adapters.testing.memory import MemoryLocations, MemoryVolumes
from imagevol_core import GIB, Image, Store, StoreCatalogue, Volume


def glance_of(
    volumes: MemoryVolumes, driver: str, kind: Callable[..., MemoryLocations] = MemoryLocations
) -> MemoryLocations:
    """Give a Glance with the stores of the suite."""
    stores = tuple(Store(name=name, kind=driver, volume_type=of) for name, of in STORES.items())
    return kind(volumes=volumes, catalogue=StoreCatalogue(stores=stores, default_volume_type="memory"))


def make(needed: Mapping[str, History], glance: MemoryLocations, volumes: MemoryVolumes) -> dict[str, str]:
    """Make the image of each history, and give their ids."""
    made = {}
    for name, history in needed.items():
        made[name], volume_id = str(uuid4()), str(uuid4())
        volumes.keep(
            Volume(
                id=volume_id,
                project_id=volumes.project_id,
                size_gib=1,
                status="available",
                volume_type=history.volume_type,
                metadata={"image_size": str(GIB)},
            )
        )
        status = "active" if history.saved else "queued"
        locations = places(history.saved, volume_id)
        glance.images[made[name]] = Image(id=made[name], status=status, locations=locations)
    return made


def new_image(glance: MemoryLocations, status: str) -> str:
    """Make an image in a status, and give its id."""
    saved = (("cinder://fast/V", "fast"),) if status == "active" else ()
    volumes = glance.volumes
    assert isinstance(volumes, MemoryVolumes)
    (image_id,) = make({"one": History("fast", saved)}, glance, volumes).values()
    glance.images[image_id] = replace(glance.images[image_id], status=status, updated_at=datetime.now(UTC))
    return image_id
