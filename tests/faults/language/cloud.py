"""The cloud in memory that the workers share, and what must hold of it."""

from __future__ import annotations

import hashlib
import itertools
import random
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import attrs

from imagevol_adapters.closing import closing
from imagevol_adapters.repairing import RepairResult
from imagevol_adapters.testing.fault_language import Faults
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryImages, MemoryStoreCopies
from imagevol_adapters.testing.memory.device import _BLOCK_BYTES
from imagevol_core import (
    FINISHED,
    HOLD,
    TEMPLATE_KEY,
    Digest,
    Finding,
    Image,
    ImagevolError,
    ImageVolumeMetadata,
    OverQuota,
    Volume,
    VolumeOrigin,
    parse_location,
    recorded_image,
)
from tests.adapters.repairing_cloud import CATALOGUE, OLD, STORES, TENANT, USERS, RepairCloud, Volumes


def data_of(number: int, size: int) -> bytes:
    return random.Random(number).randbytes(size)


STAYS = "planted-1"
_AT_REST = ("available", "in-use")


class Cinder(Volumes):
    """A Cinder in memory whose driver makes a template when a volume is created from an image."""

    cloud: Cloud

    def wait(self, volume_id: str) -> Volume:
        volume = super().wait(volume_id)
        image = self.cloud.images.images.get(self.base_images.get(volume_id, ""))
        if image and volume.project_id == STORES and not list(self.listed(project_id=TENANT, metadata=mark(image))):
            self.cloud.template(image, volume_type=volume.volume_type, host=volume.host, encrypted=False)
        return volume


def mark(image: Image) -> dict[str, str]:
    return {TEMPLATE_KEY: image.id}


class Glance(MemoryStoreCopies):
    """A Glance in memory that takes images too."""

    def __init__(self, volumes: Volumes) -> None:
        super().__init__(volumes=volumes, catalogue=CATALOGUE)
        stores = tuple(store.name for store in CATALOGUE.stores)
        self.service = MemoryImages(volumes=volumes, project_id=USERS, stores=stores)
        self.service.images = self.images

    def upload(self, image_id: str, data: Iterable[bytes], **_: Any) -> Image:
        """Take no data: a copy of a whole volume would take longer than all else."""
        with closing(data):
            raise OverQuota(f"image {image_id}: Glance takes no more data")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.service, name)


class Cloud(RepairCloud):
    """Images, volumes, and what is known to be right of them.

    Attributes:
        expected: the data of each image, by the name of the image.
        users: the content of each volume of a user, by its id.
    """

    def __init__(self) -> None:
        types = ("ssd", "hdd")
        volumes = Cinder(
            project_id=STORES,
            volume_types=dict.fromkeys(types, False),
            extra_specs={name: {"volume_backend_name": "array"} for name in types},
        )
        volumes.cloud = self
        images = Glance(volumes)
        self.__attrs_init__(volumes, cast(Any, images), MemoryAttacher(volumes=volumes), {}, [], [], frozenset(), [])
        self.expected: dict[str, bytes] = {}
        self.users: dict[str, bytes] = {}
        self.clones: dict[str, str] = {}  # the volume that an image is made from
        self.journals: dict[Path, str] = {}  # those that were not carried out to their end, by what they are of
        self.removed: set[str] = set()  # the names of images that a user deletes
        self.numbers = itertools.count(100)  # of images and journals: the same for the same seed
        self.at_work: set[str] = set()  # the images that a worker registers a clone for
        self._directory = tempfile.TemporaryDirectory()
        self.directory = Path(self._directory.name)

    def close(self) -> None:
        self._directory.cleanup()

    @property
    def glance(self) -> Glance:
        return cast(Glance, self.images)

    def plant(self, name: str, content: bytes, *, copies: int = 1) -> Image:
        """An image that is whole from the start, in one store or in both."""
        digest = Digest("sha512", hashlib.sha512(content).hexdigest())
        facts = {"digest": digest, "disk_format": "raw", "container_format": "bare"}
        image = self.image(content=content, copies=copies, name=name, **facts)
        self.expected[name] = content
        return image

    def user_volume(self, content: bytes) -> str:
        volume = self.volume(project=STORES, readonly=False, encrypted=False)
        self.volumes.contents[volume.id].write(0, memoryview(content))
        self.users[volume.id] = content
        return volume.id

    def watched(self, faults: Faults) -> Any:
        """The same cloud, as one worker sees it."""
        return SimpleNamespace(
            volumes=faults.volumes(self.volumes),
            images=faults.port(self.images, "images"),
            attacher=faults.attacher(self.attacher),
        )

    def repairer(self, faults: Faults) -> RepairCloud:
        """The same cloud, for a worker that audits and repairs it."""
        other, ports = object.__new__(Cloud), self.watched(faults)
        for name in (*(field.name for field in attrs.fields(RepairCloud)), *vars(self)):
            setattr(other, name, getattr(self, name))
        other.volumes, other.images, other.attacher = ports.volumes, ports.images, ports.attacher
        return other

    # What must hold

    def wrong(self) -> Iterator[str]:
        """Say what is lost, and what is shown that is not whole."""
        for image in self.images.images.values():
            if image.status != "active":
                continue
            expected = self.expected[str(image.name)]
            if not image.locations:
                yield f"image {image.name} is active and has no location"
            for location in image.locations:
                if not location.url.startswith("cinder://"):
                    if self.glance.service.data.get(image.id) != expected:
                        yield f"image {image.name} has wrong data in Glance"
                    continue
                volume_id = parse_location(location.url).volume_id
                if volume_id not in self.volumes.volumes:
                    yield f"image {image.name} is active, and its volume is gone"
                elif (problem := self._differs(volume_id, expected)) is not None:
                    yield f"image {image.name} is active: {problem}"
        for volume in self.volumes.volumes.values():
            with suppress(ImagevolError):
                recorded = ImageVolumeMetadata.from_volume(volume.metadata)
                finished = FINISHED.items() <= volume.metadata.items()
                held = self.images.images.get(recorded.image_id or "")
                if finished and held is not None:
                    problem = self._differs(volume.id, self.expected[str(held.name)])
                    if problem is not None:
                        yield f"volume {volume.id} says that it holds image {held.name}: {problem}"
        for volume_id, content in self.users.items():
            if volume_id not in self.volumes.volumes:
                yield "the volume of a user is gone"
            elif (problem := self._differs(volume_id, content)) is not None:
                yield f"the volume of a user: {problem}"

    def _differs(self, volume_id: str, expected: bytes) -> str | None:
        content = self.volumes.contents[volume_id]
        if content.read(0, len(expected)) != expected:
            return "its data is wrong"
        for number, block in content._blocks.items():  # `extents` takes many times as long
            at = number * _BLOCK_BYTES
            if any(block[max(0, len(expected) - at) :]):
                return "what comes after it is not zero"
        return None

    def made_by(self, pid: int) -> set[str]:
        """The volumes and images that say that a process creates them, or has, and that are of no active image."""
        active = [image for image in self.images.images.values() if image.status == "active"]
        owned = {location.url[-36:] for image in active for location in image.locations}
        said = {each.id: each.metadata for each in self.volumes.volumes.values()}
        said |= {each.id: each.properties for each in self.images.images.values()}
        origins = {each: VolumeOrigin.from_volume(metadata) for each, metadata in said.items()}
        return {
            each for each, origin in origins.items() if origin and origin.process and origin.process.pid == pid
        } - owned

    def held(self) -> bool:
        """Whether a volume is held that two locations name, which a repair leaves to the person who has the journal."""
        return any(HOLD in each.metadata for each in self.volumes.volumes.values())

    def left(self) -> set[tuple[str, str]]:
        """What no one owns, once no worker is alive."""
        named = {
            parse_location(location.url).volume_id
            for image in self.images.images.values()
            for location in image.locations
            if location.url.startswith("cinder://")
        }
        found = {("image", each.id) for each in self.images.images.values() if each.status != "active"}
        for volume in self.volumes.volumes.values():
            if volume.id not in named and volume.id not in self.users and volume.project_id != TENANT:
                found.add(("volume", volume.id))
            if HOLD in volume.metadata or (volume.status not in _AT_REST and volume.id not in self.users):
                found.add(("volume", volume.id))
        attached = self.volumes.attachments.values()  # that of a user's volume, the next command takes back, or names
        found |= {("attachment", each.id) for each in attached if each.volume_id not in self.users}
        return found

    def disconnected(self) -> set[str]:
        """Devices that are connected to the host without an attachment by which they are found."""
        return self.attacher.connected.keys() - self.volumes.attachments.keys()

    def named(self, findings: list[Finding]) -> set[tuple[str, str]]:
        """What findings name, with the volume of an image that is stuck: it is found when that is gone."""
        subjects = {(subject.kind, subject.id) for finding in findings for subject in finding.subjects}
        volumes = [each for each in self.volumes.volumes.values() if ("image", recorded_image(each)) in subjects]
        return subjects | {("volume", each.id) for each in volumes}

    def do_by_hand(self, volume_ids: Iterable[str]) -> None:
        """Do what the next command does with the volume of a user, and a person with what a repair names a command for.

        That is an attachment of no known host, and a clone whose source is gone too.
        """
        for volume_id in self.volumes.volumes.keys() & set(volume_ids):
            self.volumes.delete(volume_id)
        for each in list(self.volumes.attachments.values()):
            holder = next(held for held in self.volumes.holders(each.volume_id) if held.id == each.id)
            if each.volume_id in self.users or holder.host is None:
                self.attacher.disconnect(each)
                self.volumes.detach(each)

    def grow_old(self) -> None:
        """Let a month go by, after which nothing is excused as young."""
        for each in list(self.volumes.volumes.values()):
            # What Cinder has begun, it has ended by then.
            volume = self.volumes.wait(each.id) if each.status == "creating" else each
            created = volume.created_at and volume.created_at - OLD
            self.volumes.volumes[each.id] = replace(volume, created_at=created, updated_at=created)
        for image_id in list(self.images.images):
            self.glance._go_on(image_id)
        for image in list(self.images.images.values()):
            updated = image.updated_at and image.updated_at - OLD
            self.images.images[image.id] = replace(image, updated_at=updated)

    def repair_all(self) -> list[RepairResult]:
        """Repair, and once more what the first repair left."""
        results = []
        for _ in range(2):
            self.grow_old()
            results += self.repair(self.directory / f"closing-{next(self.numbers)}.journal", include_likely=True)
        return results
