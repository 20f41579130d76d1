"""A cloud in memory whose volumes are files, for commands in other processes that are killed."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs

from imagevol_adapters.cinder.pools import Pool
from imagevol_adapters.cleanup import released
from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.file_extents import extents
from imagevol_adapters.ports import AccessMode, Attachment, Device
from imagevol_adapters.testing.memory import MemoryImages, MemoryStoreCopies
from imagevol_core import (
    HOLD,
    AttachFailed,
    Digest,
    Image,
    ImageLocation,
    ImagevolError,
    ImageVolumeMetadata,
    ServiceUnreachable,
    Store,
    StoreCatalogue,
    TemplateMetadata,
    Volume,
    VolumeBusy,
    VolumeFailed,
    template_name,
)
from tests.adapters.repairing_cloud import Volumes
from tests.faults.killing.remote import Remote, served

__all__ = ["CONFIGURATION", "INTERNAL", "PROJECT", "MemoryCloud", "set_up"]

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


@attrs.frozen(kw_only=True)
class FileAttacher:
    """This host, on which a volume is the file that holds it."""

    volumes: Any
    host: str = "memory"

    def connector(self) -> Mapping[str, Any]:
        return {"host": self.host, "ip": "127.0.0.1", "platform": "memory", "os_type": "memory"}

    @contextmanager
    def open(
        self, attachment: Attachment, *, mode: AccessMode, keep: Callable[[], bool] | None = None
    ) -> Iterator[Device]:
        path = self.volumes.connect(attachment, mode)
        with released(f"connection {attachment.id}", lambda: self._disconnected(attachment.id)):
            try:
                device = PathDevice.open(Path(path), writable=mode is AccessMode.WRITE)
            except OSError as error:
                raise AttachFailed(f"volume {attachment.volume_id} cannot be opened: {error.strerror}") from error
            with device:
                yield device

    def disconnect(self, attachment: Attachment) -> None:
        self._disconnected(attachment.id)

    def _disconnected(self, attachment_id: str) -> None:
        """A host lets a device go without a service: so it is asked again if the first call was disturbed."""
        try:
            self.volumes.disconnect(attachment_id)
        except ServiceUnreachable:
            self.volumes.disconnect(attachment_id)

    def is_left(self, attachment: Attachment) -> bool:
        return False

    @contextmanager
    def leaving(self, volume_id: str) -> Iterator[None]:
        yield


class RemoteVolumes(Remote):
    """Cinder, in another process."""

    def attach(self, volume_id: str, *, connector: Any, mode: AccessMode, when_busy: Any = None) -> Attachment:
        try:
            return self._call("attach", (volume_id,), {"connector": connector, "mode": mode}, None)  # type: ignore[no-any-return]
        except VolumeBusy:
            if when_busy is None or not when_busy():
                raise
        return self._call("attach", (volume_id,), {"connector": connector, "mode": mode}, None)  # type: ignore[no-any-return]

    def find(self, volume_ids: Iterable[str]) -> Any:
        return self._call("find", (list(volume_ids),), {}, None)


class RemoteImages(Remote):
    """Glance, in another process."""

    def preferring(self, store: str) -> RemoteImages:
        return self

    def unset_properties(self, image_id: str, names: Iterable[str]) -> Any:
        return self._call("unset_properties", (image_id, list(names)), {}, None)

    def listed(self, image_ids: Iterable[str] | None = None, **wishes: Any) -> Any:
        return self._call("listed", (None if image_ids is None else list(image_ids),), wishes, None)


class ShownImages(RemoteImages):
    """The same, as every command but `cp` asks it."""

    def catalogue(self) -> Any:
        return self._call("catalogue", (), None, None)


def set_up(variables: Mapping[str, str]) -> Callable[[], int]:
    """Give the command line on the services of the cloud whose directory the environment names."""
    import tempfile  # noqa: PLC0415 - in the fork

    from imagevol_adapters.cinder import whole_cloud  # noqa: PLC0415 - in the fork
    from imagevol_adapters.cli import main  # noqa: PLC0415 - in the fork
    from imagevol_adapters.cli.app import Imagevol  # noqa: PLC0415 - in the fork
    from imagevol_adapters.cli.cp import Cp  # noqa: PLC0415 - in the fork

    directory = Path(variables["IMAGEVOL_KILLED"])
    os.chdir(directory / "work")
    tempfile.tempdir = None
    lost = ServiceUnreachable
    volumes = RemoteVolumes(directory / "socket", "volumes", FileVolumes, lost=lost)
    images = RemoteImages(directory / "socket", "images", Glance, lost=lost)
    changed: dict[str, Any] = {
        "images": ShownImages(directory / "socket", "images", Glance, lost=lost),
        "volumes": volumes,
        "attacher": FileAttacher(volumes=volumes),
        "project_id": PROJECT,
        "has_project": lambda _app, _project_id: True,
        "cinder_id": lambda _app: "a-cinder",
    }
    for name, value in changed.items():
        setattr(Imagevol, name, value)
    setattr(Cp, "_glance", images)  # noqa: B010
    setattr(whole_cloud, "WholeCinder", lambda volumes: volumes)  # noqa: B010
    return main


def clear(directory: Path) -> None:
    """Delete a cloud's directory."""
    shutil.rmtree(directory, ignore_errors=True)
