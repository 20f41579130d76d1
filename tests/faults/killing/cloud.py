"""A cloud in memory, in a directory of its own, and what is wrong in it after a command was killed."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from imagevol_core import (
    HOLD,
    Digest,
    Image,
    ImageLocation,
    ImagevolError,
    ImageVolumeMetadata,
    Volume,
)
from tests.faults.killing.memory import (
    BACKENDS,
    CONFIGURATION,
    OLD,
    PROJECT,
    STORES,
    USERS,
    FileVolumes,
    Glance,
)
from tests.faults.killing.remote import served

__all__ = ["MemoryCloud"]


class MemoryCloud:
    """A cloud in memory, in a directory of its own, and what is wrong in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("volumes", "work", "tmp", "locks"):
            (directory / name).mkdir()
        (directory / "glance-api.conf").write_text(CONFIGURATION)
        self.volumes = FileVolumes(
            project_id=PROJECT,
            volume_types=dict.fromkeys(BACKENDS, False),
            extra_specs={name: {"volume_backend_name": backend} for name, backend in BACKENDS.items()},
            capacity_gib=10_000,
            directory=directory / "volumes",
        )
        self.images = Glance(volumes=self.volumes, catalogue=STORES).prepare()
        self.volumes.images = self.images
        self.data: dict[str, bytes] = {}
        self._before: set[str] = set()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let commands in other processes use it."""
        with served({"volumes": self.volumes, "images": self.images}, self.directory / "socket"):
            yield

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a command."""
        return {"IMAGEVOL_KILLED": str(self.directory), "TMPDIR": str(self.directory / "tmp")}

    def image(self, *, size_bytes: int = 300_000, store: str = "fast", seed: int = 1) -> Image:
        """An image that is whole, older than anything that a command makes."""
        data = random.Random(seed).randbytes(size_bytes)
        image_id = str(uuid.UUID(int=random.Random(seed).getrandbits(128), version=4))
        self.images.put(image_id, data, store=store, owner=USERS)
        when = datetime.now(UTC) - OLD
        self.images.images[image_id] = image = replace(
            self.images.images[image_id], created_at=when, updated_at=when, visibility="public"
        )
        for location in image.locations:
            if location.url.startswith("cinder:"):
                volume_id = location.url[-36:]
                record = ImageVolumeMetadata(
                    image_id=image_id, image_owner=USERS, size_bytes=size_bytes, digest=image.digest
                )
                found = self.volumes.volumes[volume_id]
                self.volumes.volumes[volume_id] = replace(found, created_at=when, metadata=record.to_volume())
        self.data[image_id] = data
        return image

    def relocate(self, image: Image, *locations: ImageLocation) -> None:
        self.images.images[image.id] = replace(self.images.images[image.id], locations=locations)

    def go_on(self) -> None:
        """Let Cinder finish what it was asked for, whatever has become of the process that asked."""
        for volume in list(self.volumes.volumes.values()):
            with suppress(ImagevolError):
                self.volumes.wait(volume.id)

    def remember(self) -> None:
        """From now on, what is there more is left behind."""
        self._before = set(self._things())

    def _things(self) -> Iterator[str]:
        yield from (f"volume {each}" for each in self.volumes.volumes)
        yield from (f"attachment {each}" for each in self.volumes.attachments)
        yield from (f"connection {each}" for each in self.volumes.connected)
        yield from (f"file {path.name}" for name in ("work", "tmp") for path in (self.directory / name).rglob("*"))
        for image in self.images.images.values():
            if image.status != "active" or any(key.startswith("imagevol_") for key in image.properties):
                yield f"image {image.id} ({image.status}, {sorted(image.properties)})"
        for volume in self.volumes.volumes.values():
            if volume.metadata.get("imagevol_state", "finished") != "finished" or HOLD in volume.metadata:
                yield f"mark of volume {volume.id}"

    def left(self, *, expected: Iterable[str] = ()) -> list[str]:
        """What is there more than at the beginning, but for volumes of images that are whole."""
        used = {
            f"volume {location.url[-36:]}"
            for image in self.images.images.values()
            for location in image.locations
            if image.status == "active"
        }
        put = {f"volume {volume.id}" for volume in self.volumes.volumes.values() if self._is_put(volume)}
        return sorted(set(self._things()) - self._before - used - put - set(expected))

    def _is_put(self, volume: Volume) -> bool:
        """Whether it is what `put` without an image has stored, which its user knows."""
        record = ImageVolumeMetadata.from_volume(volume.metadata)
        says = volume.metadata.get("imagevol_procedure"), volume.metadata.get("imagevol_state")
        held = self.volumes.contents[volume.id].read(0, record.size_bytes or 0)
        return says == ("put", "finished") and _has(record.digest, held)

    def content(self, image: Image) -> Iterator[bytes]:
        """The data of an image in each of its locations."""
        for location in image.locations:
            if location.url.startswith("cinder:"):
                held = self.volumes.contents.get(location.url[-36:])
                yield held.read(0, image.size_bytes or 0) if held else b"(no volume)"
            else:
                yield self.images.files.get(location.url) or self.images.records.data[image.id]

    def lies(self, data: Mapping[str, bytes] | None = None) -> list[str]:
        """Images that look whole and are not, by the data that each must have; one without a name here has any."""
        known = self.data | dict(data or {})
        wrong = [f"image {image_id} is gone" for image_id in self.data if image_id not in self.images.images]
        for image in list(self.images.images.values()):
            if image.status != "active":
                wrong += [f"image {image.id} is {image.status}"] if image.id in self.data else []
                continue
            if not image.locations:
                wrong.append(f"image {image.id} has no location")
            for content in self.content(image):
                right = content == known[image.id] if image.id in known else _has(image.digest, content)
                if not right:
                    wrong.append(f"image {image.id} has other data")
        return wrong


def _has(digest: Digest | None, content: bytes) -> bool:
    return digest is None or hashlib.new(digest.algorithm, content).hexdigest() == digest.value
