"""A cloud in memory in which faults of each kind are planted, audited, and repaired by a process that is killed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any
from unittest.mock import patch
from weakref import finalize

import attrs

from imagevol_adapters.gathering import CloudAudit, gather_audit
from imagevol_adapters.gathering.repair import RepairSource
from imagevol_adapters.journals import JournalFile
from imagevol_adapters.ports import AccessMode
from imagevol_adapters.repairing import Actions, RepairJournal, RepairResult, Repairs
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryLocations, MemoryVolumes
from imagevol_core import (
    HOLD,
    AttachmentFacts,
    AuditSettings,
    DeepCheck,
    Digest,
    Finding,
    Image,
    ImageLocation,
    ImageVolumeMetadata,
    Store,
    StoreCatalogue,
    TemplateMetadata,
    Volume,
    VolumeOrigin,
    parse_location,
    plan_repairs,
    recorded_image,
    template_name,
)
from tests.adapters.history import Killed

CLOUD = "a-glance"
STORES, TENANT, USERS = "stores", "tenant", "users"  # projects: of the stores, of the templates, of anyone
DIGEST = Digest("sha512", "ab" * 64)
CATALOGUE = StoreCatalogue(
    stores=(
        Store(name="fast", kind="imagevol", volume_type="ssd"),
        Store(name="fast2", kind="imagevol", volume_type="hdd"),
    ),
    default="fast",
)
OLD = timedelta(days=30)


class Volumes(MemoryVolumes):
    """A Cinder in memory, all of which is seen."""

    sees_all = True

    def all_volumes(self) -> Iterator[Volume]:
        yield from list(self.volumes.values())

    def recording(self, image_id: str) -> tuple[Volume, ...]:
        return tuple(volume for volume in self.volumes.values() if recorded_image(volume) == image_id)

    def all_attachments(self) -> Iterator[AttachmentFacts]:
        for attachment in list(self.attachments.values()):
            known = self.attachment_now(attachment.id)
            if known:
                yield known[0]

    def attachment_now(self, attachment_id: str) -> tuple[AttachmentFacts, datetime | None] | None:
        if attachment_id not in self.attachments:
            return None
        volume_id = self.attachments[attachment_id].volume_id
        if volume_id not in self.volumes:
            return AttachmentFacts(id=attachment_id, volume_id=volume_id), None
        return next(each for each in self.holders(volume_id) if each.id == attachment_id), None


class Images(MemoryLocations):
    """A Glance in memory, all of which is seen."""

    sees_all = True


@attrs.define(init=False)
class RepairCloud:
    """Images and volumes in memory, of which some are healthy."""

    volumes: Volumes
    images: Images
    attacher: MemoryAttacher
    checks: dict[str, DeepCheck]
    healthy: list[str]
    templates: list[str]
    shown: frozenset[str]
    directories: list[Path]

    def __init__(self) -> None:
        volumes = Volumes(project_id=STORES, volume_types={"ssd": False, "hdd": False})
        images = Images(volumes=volumes, catalogue=CATALOGUE)
        self.__attrs_init__(volumes, images, MemoryAttacher(volumes=volumes), {}, [], [], frozenset(), [])
        self.healthy = [self.image(content=os.urandom(1000)).id for _ in range(2)]

    # What is there

    def volume(self, image: Image | None = None, *, project: str = STORES, **facts: Any) -> Volume:
        metadata = facts.pop("metadata", None)
        if metadata is None and image is not None:
            marks = ImageVolumeMetadata(
                image_id=image.id, image_owner=image.owner, size_bytes=image.size_bytes, digest=image.digest
            )
            metadata = marks.to_volume()
        volume = Volume(
            **{
                "id": str(uuid.uuid4()),
                "project_id": project,
                "size_gib": 1,
                "status": "available",
                "volume_type": "ssd",
                "readonly": True,
                "metadata": metadata or {},
                "created_at": datetime.now(UTC) - OLD,
                **facts,
            }
        )
        self.volumes.keep(volume)
        return volume

    def image(self, *, content: bytes = b"image", copies: int = 1, **facts: Any) -> Image:
        """An image that is whole, and its volumes."""
        created = datetime.now(UTC) - OLD
        image = Image(
            **{
                "id": str(uuid.uuid4()),
                "status": "active",
                "owner": USERS,
                "size_bytes": len(content),
                "digest": DIGEST,
                "created_at": created,
                "updated_at": created,
                **facts,
            }
        )
        locations = []
        for store, volume_type in (("fast", "ssd"), ("fast2", "hdd"))[:copies]:
            volume = self.volume(image, volume_type=volume_type)
            self.volumes.contents[volume.id].write(0, memoryview(content))
            locations.append(ImageLocation(f"cinder://{store}/{volume.id}", {"store": store}))
        self.images.images[image.id] = replace(image, locations=tuple(locations))
        return self.images.images[image.id]

    def of(self, image: Image, at: int = 0) -> str:
        """The id of a volume of an image."""
        return parse_location(self.images.images[image.id].locations[at].url).volume_id

    def change(self, thing: Image | str, **facts: Any) -> None:
        """Change an image, or the volume of an id."""
        if isinstance(thing, Image):
            self.images.images[thing.id] = replace(self.images.images[thing.id], **facts)
        else:
            self.volumes.volumes[thing] = replace(self.volumes.volumes[thing], **facts)

    def content(self, image_id: str) -> set[bytes]:
        """What can be read of an image, by any of its locations that has a volume."""
        image = self.images.images[image_id]
        names = [parse_location(location.url).volume_id for location in image.locations]
        contents = [self.volumes.contents[name] for name in names if name in self.volumes.contents]
        return {content.read(0, image.size_bytes or 0) for content in contents}

    # The audit and the repair

    @property
    def settings(self) -> AuditSettings:
        return AuditSettings(
            now=datetime.now(UTC),
            trusted_projects=frozenset({STORES, TENANT}),
            images_complete=True,
            volumes_complete=True,
            only_glance=True,
        )

    def read(self, volume: Volume, _image: Image | None = None) -> DeepCheck | None:
        """A deep check: of the volumes that hold something odd, it was said what."""
        check = self.checks.get(volume.id)
        if check is None or check.tail_is_zero is None:
            return check
        tail = self.volumes.contents[volume.id].read(check.size_bytes, 1 << 16)
        return replace(check, tail_is_zero=not any(tail))

    def cloud_audit(self, settings: AuditSettings) -> CloudAudit:
        checks = [check for each in self.volumes.volumes.values() if (check := self.read(each))]
        return gather_audit(
            images=self.images,
            volumes=self.volumes,
            settings=settings,
            catalogue=CATALOGUE,
            checks=checks,
            directories=self.directories,
        )

    def audit(self) -> list[Finding]:
        audit = self.cloud_audit(self.settings)
        found = list(audit.findings())
        self.shown = audit.settings.shown
        return found

    def make_template(self, image: Image, old: Volume) -> None:
        """A driver creates a template when it creates a volume of the image."""
        self.templates.append(self.template(image, volume_type=old.volume_type).id)

    def template(self, image: Image, **facts: Any) -> Volume:
        says = TemplateMetadata(
            image_id=image.id, digest=facts.pop("digest", image.digest), image_updated_at=image.updated_at
        )
        return self.volume(project=TENANT, name=template_name(image.id), metadata=says.to_volume(), **facts)

    def repairs(self, journal: RepairJournal) -> Repairs:
        source = RepairSource(
            audit=attrs.evolve(self.cloud_audit(journal.settings), checks=()),
            volumes=self.volumes,
            began=journal.settings.now,
            include_likely=journal.include_likely,
            host="memory",
            holder=journal.id,
            read=self.read,
        )
        actions = Actions(
            images=self.images,
            volumes=self.volumes,
            attacher=self.attacher,
            holder=journal.id,
            catalogue=CATALOGUE,
            make_template=self.make_template,
            settle_seconds=0,
        )
        return Repairs(journal=journal, source=source, actions=actions)

    def journal(self, path: Path, findings: list[Finding], *, include_likely: bool = False) -> RepairJournal:
        plan = plan_repairs(findings, include_likely=include_likely)
        return RepairJournal.create(
            path,
            cloud=CLOUD,
            settings=replace(self.settings, shown=self.shown),
            repairs=plan.planned,
            include_likely=include_likely,
        )

    def repair(self, path: Path, *, include_likely: bool = False) -> list[RepairResult]:
        with self.journal(path, self.audit(), include_likely=include_likely) as journal:
            return list(self.repairs(journal).apply())

    def resume(self, path: Path) -> list[RepairResult]:
        with RepairJournal.open(path, cloud=CLOUD) as journal:
            return list(self.repairs(journal).apply())


# How a fault of each kind comes to be; each gives the images that must still be whole when it is repaired.


def without_image(cloud: RepairCloud) -> None:
    cloud.volume(replace(cloud.images.images[cloud.healthy[0]], id=str(uuid.uuid4())))


def unfinished(cloud: RepairCloud) -> None:
    cloud.volume(metadata=VolumeOrigin(procedure="add", image_id=str(uuid.uuid4())).to_volume())


def all_lost(cloud: RepairCloud) -> None:
    cloud.volumes.delete(cloud.of(cloud.image()))


def one_lost(cloud: RepairCloud) -> None:
    image = cloud.image(copies=2)
    cloud.healthy.append(image.id)
    cloud.volumes.delete(cloud.of(image))


def owner(cloud: RepairCloud) -> None:
    image = cloud.image()
    cloud.healthy.append(image.id)
    volume = cloud.volumes.volumes[cloud.of(image)]
    cloud.change(volume.id, metadata={**volume.metadata, "image_owner": "another"})


def size(cloud: RepairCloud) -> None:
    image = cloud.image()
    cloud.healthy.append(image.id)
    volume = cloud.volumes.volumes[cloud.of(image)]
    cloud.change(volume.id, metadata={**volume.metadata, "image_size": "7"})


def writable(cloud: RepairCloud) -> None:
    image = cloud.image()
    cloud.healthy.append(image.id)
    cloud.change(cloud.of(image), readonly=False)


def store(cloud: RepairCloud) -> None:
    image = cloud.image()
    cloud.healthy.append(image.id)
    url = f"cinder://fast2/{cloud.of(image)}"
    cloud.change(image, locations=(ImageLocation(url, {"store": "fast"}),))


def shared(cloud: RepairCloud) -> None:
    image = cloud.image()
    for _ in range(2):
        other = cloud.image()
        cloud.volumes.delete(cloud.of(other))
        cloud.change(other, locations=cloud.images.images[image.id].locations)
        cloud.healthy.append(other.id)
    cloud.healthy.append(image.id)


def attachment(cloud: RepairCloud) -> None:
    image = cloud.image()
    cloud.healthy.append(image.id)
    gone = "imagevol host=- boot=3c9f7d34-0f0e-4a3f-9d3c-0c8a1b9f2d11 ns=4.5 pid=7 start=123"
    connector = {**cloud.attacher.connector(), "mountpoint": gone}
    cloud.volumes.complete(cloud.volumes.attach(cloud.of(image), connector=connector, mode=AccessMode.READ))


def stuck(cloud: RepairCloud) -> None:
    image = cloud.image(status="saving", size_bytes=None)
    cloud.volumes.delete(cloud.of(image))
    cloud.change(image, locations=())


def template(cloud: RepairCloud) -> None:
    image = cloud.image()
    cloud.healthy.append(image.id)
    cloud.template(image, digest=Digest("sha512", "cd" * 64))


def template_without_image(cloud: RepairCloud) -> None:
    cloud.template(replace(cloud.images.images[cloud.healthy[0]], id=str(uuid.uuid4())))


def tail(cloud: RepairCloud) -> None:
    image = cloud.image()
    cloud.healthy.append(image.id)
    volume_id = cloud.of(image)
    cloud.volumes.contents[volume_id].write(9000, memoryview(b"a secret of before"))
    cloud.checks[volume_id] = DeepCheck(volume_id=volume_id, size_bytes=5, digest=DIGEST, tail_is_zero=False)


def content(cloud: RepairCloud) -> None:
    image = cloud.image(copies=2)
    bad = cloud.of(image)
    cloud.healthy.append(image.id)
    cloud.volumes.contents[bad].write(0, memoryview(b"IMAGE"))
    cloud.checks[bad] = DeepCheck(volume_id=bad, size_bytes=5, digest=Digest("sha512", "ee" * 64))


def held(cloud: RepairCloud) -> None:
    image = cloud.image()
    cloud.healthy.append(image.id)
    volume = cloud.volumes.volumes[cloud.of(image)]
    cloud.change(volume.id, metadata={**volume.metadata, HOLD: str(uuid.uuid4())})


def temporary_file(cloud: RepairCloud) -> None:
    directory = Path(mkdtemp())
    finalize(cloud, rmtree, directory, ignore_errors=True)
    cloud.directories.append(directory)
    left = directory / "imagevol-abcd1234.qcow2"
    left.write_bytes(b"a part of an image")
    long_ago = (datetime.now(UTC) - OLD).timestamp()
    os.utime(left, (long_ago, long_ago))


FAULTS: dict[str, Callable[[RepairCloud], None]] = {
    "image-volume-without-image": without_image,
    "left-unfinished": unfinished,
    "location-without-volume": all_lost,
    "location-without-volume, and another one": one_lost,
    "owner-differs": owner,
    "size-differs": size,
    "not-read-only": writable,
    "store-differs": store,
    "volume-in-two-images": shared,
    "attachment-left-behind": attachment,
    "image-stuck": stuck,
    "template-stale": template,
    "template-stale, without an image": template_without_image,
    "tail-not-zero": tail,
    "content-differs": content,
    "hold-left": held,
    "temporary-file-left": temporary_file,
}
"""What is planted, by the rule that finds it and how it differs."""


@contextmanager
def killed(line: int, *, kept: int | None = None) -> Iterator[None]:
    """The process ends after it has written so many lines of a journal, of the last one as much as is kept."""
    whole, left = JournalFile._append, [line]

    def append(journal: JournalFile, data: bytes) -> None:
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        if left[0] == 0 and kept is not None:
            whole(journal, data[:kept])
            raise Killed
        whole(journal, data)

    with patch.object(JournalFile, "_append", append):
        yield
