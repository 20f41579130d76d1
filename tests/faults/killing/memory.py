"""Cinder and Glance in memory, with volumes that are files, for commands in other processes that are killed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs

from imagevol_adapters.cinder.pools import Pool
from imagevol_adapters.file_extents import extents
from imagevol_adapters.ports import AccessMode, Attachment
from imagevol_adapters.testing.memory import MemoryImages, MemoryStoreCopies
from imagevol_core import (
    AttachFailed,
    AttachmentFacts,
    Digest,
    Image,
    Store,
    StoreCatalogue,
    TemplateMetadata,
    Volume,
    VolumeFailed,
    template_name,
)
from tests.adapters.repairing_cloud import Volumes

__all__ = ["BACKENDS", "CONFIGURATION", "INTERNAL", "OLD", "PROJECT", "STORES", "FileVolumes", "Glance"]

PROJECT, INTERNAL, USERS = "stores", "internal", "users"  # projects: of the stores, of the templates, of anyone
STORES = StoreCatalogue(
    stores=(
        Store(name="fast", kind="imagevol", volume_type="ssd"),
        Store(name="quick", kind="imagevol", volume_type="ssd-quick"),
        Store(name="slow", kind="imagevol", volume_type="hdd"),
        Store(name="files", kind="file"),
    ),
    default="fast",
)
BACKENDS = {"ssd": "array", "ssd-quick": "array", "hdd": "disks"}
CONFIGURATION = """
[DEFAULT]
enabled_backends = fast:imagevol, quick:imagevol, slow:imagevol, files:file
[glance_store]
default_backend = fast
[fast]
cinder_volume_type = ssd
[quick]
cinder_volume_type = ssd-quick
[slow]
cinder_volume_type = hdd
[files]
filesystem_store_datadir = /nowhere
"""
OLD = timedelta(days=3)


class Content:
    """The bytes of a volume, in a sparse file."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path = path
        path.touch(mode=0o600)
        self.size_bytes = size_bytes

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size

    @size_bytes.setter
    def size_bytes(self, size_bytes: int) -> None:
        os.truncate(self.path, size_bytes)

    def read(self, offset: int, length: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(max(0, length))

    def write(self, offset: int, data: memoryview) -> int:
        with self.path.open("r+b") as file:
            file.seek(offset)
            return file.write(data)

    def copy(self) -> Content:
        other = Content(self.path.with_name(str(uuid.uuid4())), self.size_bytes)
        with self.path.open("rb") as file:
            for start, stop, is_data in extents(file.fileno(), 0, self.size_bytes):
                if is_data:
                    other.write(start, memoryview(self.read(start, stop - start)))
        return other


@attrs.define(kw_only=True)
class FileVolumes(Volumes):
    """A Cinder in memory whose volumes are files, and whose driver makes templates of the images of new volumes."""

    directory: Path = attrs.field(kw_only=True)
    connected: dict[str, AccessMode] = attrs.field(factory=dict, init=False)
    makes: bool = attrs.field(default=False, init=False)

    def default_volume_type(self) -> str:
        return "ssd"

    def pools(self) -> tuple[Pool, ...]:
        return (Pool(name="node@array#one", backend_name="array"), Pool(name="node@disks#one", backend_name="disks"))

    def _keep(self, volume: Volume, name: str, content: Any, image_id: str | None) -> Volume:
        if not isinstance(content, Content):
            held = Content(self.directory / str(uuid.uuid4()), content.size_bytes)
            for number, block in content._blocks.items():
                held.write(number << 16, memoryview(block))
            content = held
        return Volumes._keep(self, volume, name, content, image_id)

    def wait(self, volume_id: str) -> Volume:
        volume = Volumes.wait(self, volume_id)
        image_id = self.base_images.get(volume_id)
        if self.makes and image_id is not None and self.images is not None:
            self.template(self.images.get(image_id), size_gib=volume.size_gib)
        return volume

    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        wanted = list(volume_ids)
        if self.makes:
            for volume_id in wanted:
                with suppress(VolumeFailed):
                    if volume_id in self.volumes and self.volumes[volume_id].status == "creating":
                        self.wait(volume_id)
        return Volumes.find(self, wanted)

    def template(self, image: Image, **facts: Any) -> None:
        if any(volume.name == template_name(image.id) for volume in self.volumes.values()):
            return
        says = TemplateMetadata(image_id=image.id, digest=image.digest, image_updated_at=image.updated_at)
        self.keep(
            Volume(
                id=str(uuid.uuid4()),
                name=template_name(image.id),
                project_id=INTERNAL,
                host=self.host,
                status="available",
                volume_type="ssd",
                readonly=True,
                encrypted=False,
                created_at=datetime.now(UTC),
                metadata=says.to_volume(),
                **facts,
            )
        )

    def connect(self, attachment: Attachment, mode: AccessMode) -> str:
        if attachment.id not in self.attachments:
            raise AttachFailed(f"volume {attachment.volume_id}: there is no attachment {attachment.id}")
        self.connected[attachment.id] = mode
        return str(self.contents[attachment.volume_id].path)

    def let_go(self, attachment_id: str) -> None:
        self.disconnect(attachment_id)
        self.detach(self.attachments[attachment_id])

    def holders(self, volume_id: str) -> tuple[AttachmentFacts, ...]:
        """Give the process also of an attachment that is not complete, as `CinderVolumes` does on its host."""
        found = Volumes.holders(self, volume_id)
        known = {each: connector.get("mountpoint") for each, connector in self._connectors.items()}
        return tuple(replace(facts, device=facts.device or known.get(facts.id)) for facts in found)

    def disconnect(self, attachment_id: str) -> None:
        self.connected.pop(attachment_id, None)


class Glance(MemoryStoreCopies):
    """A Glance in memory: records and data of images, their locations, and copies between stores."""

    def prepare(self) -> Glance:
        self.records = MemoryImages(
            volumes=self.volumes, project_id=USERS, stores=tuple(store.name for store in self.catalogue.stores)
        )
        self.records.images = self.images
        return self

    def service_id(self) -> str:
        return "a-glance"

    def find(self, name_or_id: str) -> Image:
        return self.records.find(name_or_id)

    def create(self, **wishes: Any) -> Image:
        return self.records.create(**wishes)

    def with_properties(self, properties: Mapping[str, str], *, status: str) -> tuple[Image, ...]:
        return self.records.with_properties(properties, status=status)

    def unset_properties(self, image_id: str, names: Iterable[str]) -> Image:
        return self.records.unset_properties(image_id, list(names))

    def protect(self, image_id: str, *, protected: bool) -> None:
        self.records.protect(image_id, protected=protected)

    def wait(self, image_id: str) -> Image:
        return self.get(image_id)

    def add_location(self, image_id: str, url: str, *, store: str | None, digest: Digest | None) -> Image:
        return self.records.add_location(image_id, url, store=store, digest=digest)

    def read(self, image_id: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        return self.records.read(image_id, offset=offset, length=length)

    def unverified(self, image: Image, *, offset: int, length: int) -> Iterator[bytes]:
        return self.records.read(image.id, offset=offset, length=length)

    def store_names(self) -> tuple[str, ...]:
        return self.records.store_names()

    def stores_of(self, image_id: str) -> tuple[str, ...]:
        return self.records.stores_of(image_id)

    def takes_preference(self, image_id: str) -> bool:
        return True

    def listed(
        self,
        image_ids: Sequence[str] | None = None,
        *,
        locations_needed: bool = True,
        changed_since: datetime | None = None,
    ) -> Iterator[Image]:
        return super().listed(image_ids, changed_since=changed_since)
