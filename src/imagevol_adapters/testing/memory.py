"""Volumes, images and attachments in memory, which behave as the real services do.

They pass the conformance suite of this kit, as the real ones do.  They are as slow as a service may be: a volume stays
`creating` until somebody waits for it, so that a procedure that forgets to wait is found out.  What exists is in public
dictionaries, for a test to look at and to alter.

>>> volumes = MemoryVolumes()
>>> attacher, images = MemoryAttacher(volumes=volumes), MemoryImages(volumes=volumes)
>>> volume = volumes.wait(volumes.create(size_gib=1, name="data").id)
>>> attachment = volumes.attach(volume.id, connector=attacher.connector(), mode=AccessMode.WRITE)
>>> with attacher.open(attachment, mode=AccessMode.WRITE) as device:
...     device.write(0, memoryview(b"bytes"))
5
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

import attrs

from imagevol_adapters.ports import AccessMode, Attachment, Device
from imagevol_core import (
    GIB,
    AttachFailed,
    CallerError,
    DeadlineExceeded,
    DeviceFailed,
    Digest,
    Image,
    ImageLocation,
    ImageVolumeMetadata,
    InUse,
    NotFound,
    RequestRefused,
    Volume,
    VolumeFailed,
    image_fits,
    parse_location,
)

__all__ = ["MemoryAttacher", "MemoryDevice", "MemoryImages", "MemoryVolumes"]

_BLOCK_BYTES = 1 << 16
_LONGEST_VALUE = 255
_DISK_FORMATS = frozenset({"ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop"})


@attrs.define
class MemoryDevice:
    """Bytes that take memory only where something was written: a `Device`."""

    size_bytes: int
    _blocks: dict[int, bytearray] = attrs.field(factory=dict, init=False, repr=False)

    def read(self, offset: int, length: int) -> bytes:
        """Give up to `length` bytes."""
        end = min(offset + length, self.size_bytes)
        data = bytearray(max(0, end - offset))
        for number, start, stop in _blocks(offset, end):
            if block := self._blocks.get(number):
                at = number * _BLOCK_BYTES
                data[start - offset : stop - offset] = block[start - at : stop - at]
        return bytes(data)

    def write(self, offset: int, data: memoryview) -> int:
        """Write as much as there is room for."""
        end = min(offset + len(data), self.size_bytes)
        if end <= offset and data:
            raise DeviceFailed(f"writing at byte {offset} failed: the device ends at byte {self.size_bytes}")
        for number, start, stop in _blocks(offset, end):
            block = self._blocks.setdefault(number, bytearray(_BLOCK_BYTES))
            at = number * _BLOCK_BYTES
            block[start - at : stop - at] = data[start - offset : stop - offset]
        return end - offset

    def flush(self) -> None:
        """Nothing is held back."""


def _blocks(offset: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Each block that a range touches: its number, and where the range begins and ends in it."""
    while offset < end:
        number = offset // _BLOCK_BYTES
        stop = min(end, (number + 1) * _BLOCK_BYTES)
        yield number, offset, stop
        offset = stop


class ImageSource(Protocol):
    """What a `MemoryVolumes` uses to make a volume from an image."""

    def get(self, image_id: str) -> Image:
        """Give what is known of it."""

    def read(self, image_id: str) -> Iterator[bytes]:
        """Give its data."""


@attrs.define(kw_only=True)
class MemoryVolumes:
    """A Cinder in memory: a `VolumeService`.

    Args:
        project_id: the project that its volumes live in.
        host: where they are.
        volume_types: each type, and whether its volumes are encrypted; the first is the default.
        capacity_gib: what the backend may hold; a volume beyond it goes to `error`.

    Attributes:
        volumes: every volume, by its id.
        contents: their bytes.
        attachments: every attachment, by its id.
        images: where `create` finds images; a `MemoryImages` of these volumes puts itself there.
    """

    project_id: str = "memory"
    host: str = "memory@memory#memory"
    volume_types: Mapping[str, bool] = {"memory": False, "encrypted": True}
    capacity_gib: int = 100
    volumes: dict[str, Volume] = attrs.field(factory=dict, init=False, repr=False)
    contents: dict[str, MemoryDevice] = attrs.field(factory=dict, init=False, repr=False)
    attachments: dict[str, Attachment] = attrs.field(factory=dict, init=False, repr=False)
    images: ImageSource | None = attrs.field(default=None, init=False, repr=False)

    def create(
        self, *, size_gib: int, name: str, volume_type: str | None = None, image_id: str | None = None
    ) -> Volume:
        """Make a volume that is `creating`."""
        kind = next(iter(self.volume_types)) if volume_type is None else volume_type
        if kind not in self.volume_types:
            raise RequestRefused(f"creating volume {name}: there is no volume type {kind}")
        if size_gib < 1:
            raise RequestRefused(f"creating volume {name}: {size_gib} GiB is less than the least, 1 GiB")
        content = MemoryDevice(size_gib * GIB)
        if image_id is not None:
            self._fill(content, image_id, size_gib)
        volume = Volume(
            id=str(uuid.uuid4()),
            project_id=self.project_id,
            size_gib=size_gib,
            status="creating",
            volume_type=kind,
            encrypted=self.volume_types[kind],
            readonly=False,
            created_at=datetime.now(UTC),
        )
        self.volumes[volume.id] = volume
        self.contents[volume.id] = content
        return volume

    def get(self, volume_id: str) -> Volume:
        """Give what is known of one volume."""
        try:
            return self.volumes[volume_id]
        except KeyError as error:
            raise NotFound("volume", volume_id) from error

    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        """Give those of the volumes that exist, in the order asked."""
        return tuple(self.volumes[volume_id] for volume_id in volume_ids if volume_id in self.volumes)

    def wait(self, volume_id: str) -> Volume:
        """Let the volume become what it is going to be; what would never be available has no time."""
        volume = self.get(volume_id)
        if volume.status == "creating":
            fits = sum(each.size_gib for each in self.volumes.values()) <= self.capacity_gib
            volume = self._change(volume_id, status="available" if fits else "error", host=self.host if fits else None)
        if str(volume.status).startswith("error"):
            raise VolumeFailed(volume_id, status=str(volume.status), wanted="available", reason="the backend is full")
        if volume.status != "available":
            raise DeadlineExceeded(f"volume {volume_id} is not available", seconds=0)
        return volume

    def set_readonly(self, volume_id: str, *, readonly: bool) -> None:
        """Mark the volume, or take the mark away."""
        volume = self.get(volume_id)
        if volume.status != "available":
            raise RequestRefused(f"volume {volume_id} is '{volume.status}': its mark is changed while it is 'available'")
        self._change(volume_id, readonly=readonly)

    def set_metadata(self, volume_id: str, metadata: Mapping[str, str]) -> None:
        """Write these keys; others stay."""
        volume = self.get(volume_id)
        for key, value in metadata.items():
            if len(value) > _LONGEST_VALUE:
                raise RequestRefused(f"volume {volume_id}: the value of {key} is longer than {_LONGEST_VALUE}")
        self._change(volume_id, metadata={**volume.metadata, **metadata})

    def delete(self, volume_id: str) -> None:
        """Delete the volume."""
        if self.get(volume_id).status in ("attaching", "in-use"):
            raise InUse(f"volume {volume_id} is attached")
        del self.volumes[volume_id], self.contents[volume_id]

    def attach(self, volume_id: str, *, connector: Mapping[str, Any], mode: AccessMode) -> Attachment:
        """Reserve the volume."""
        volume = self.get(volume_id)
        if volume.status != "available":
            raise InUse(f"volume {volume_id} is '{volume.status}' and is attached while it is 'available'")
        if volume.readonly and mode is AccessMode.WRITE:
            raise InUse(f"volume {volume_id} is read-only")
        self._change(volume_id, status="attaching")
        attachment = Attachment(
            id=str(uuid.uuid4()),
            volume_id=volume_id,
            connection={"driver_volume_type": "memory", "access_mode": mode.value},
        )
        self.attachments[attachment.id] = attachment
        return attachment

    def complete(self, attachment: Attachment) -> None:
        """Tell that the host has connected the volume."""
        if attachment.id not in self.attachments:
            raise NotFound("attachment", attachment.id)
        self._change(attachment.volume_id, status="in-use")

    def detach(self, attachment: Attachment) -> None:
        """Take the leave back."""
        if self.attachments.pop(attachment.id, None):
            self._change(attachment.volume_id, status="available")

    def _change(self, volume_id: str, **facts: Any) -> Volume:
        self.volumes[volume_id] = replace(self.volumes[volume_id], **facts)
        return self.volumes[volume_id]

    def _fill(self, content: MemoryDevice, image_id: str, size_gib: int) -> None:
        """Write an image into a new volume, if Cinder would."""
        try:
            if self.images is None:
                raise NotFound("image", image_id)
            image = self.images.get(image_id)
            parts = self.images.read(image_id)
        except CallerError as error:
            raise RequestRefused(f"creating a volume from image {image_id}: {error}") from error
        if not (fits := image_fits(image, size_gib=size_gib)).passed:
            raise RequestRefused(f"creating a volume from image {image_id}: {fits.text}")
        offset = 0
        for part in parts:
            offset += content.write(offset, memoryview(part))


@attrs.define
class _Opened:
    """The device of one attachment: closed with it, and read-only if that is."""

    _device: Device
    _what: str
    _writable: bool
    _closed: bool = attrs.field(default=False, init=False)

    @property
    def size_bytes(self) -> int:
        """How many bytes there are."""
        return self._device.size_bytes

    def read(self, offset: int, length: int) -> bytes:
        """Give up to `length` bytes."""
        self._check()
        return self._device.read(offset, length)

    def write(self, offset: int, data: memoryview) -> int:
        """Write as much as there is room for."""
        self._check()
        if not self._writable:
            raise DeviceFailed(f"writing at byte {offset} failed: the device of {self._what} is read-only")
        return self._device.write(offset, data)

    def flush(self) -> None:
        """Return when all is on the storage."""
        self._check()
        self._device.flush()

    def close(self) -> None:
        """From now on it can do nothing."""
        self._closed = True

    def _check(self) -> None:
        if self._closed:
            raise DeviceFailed(f"the device of {self._what} is closed")


@attrs.define(kw_only=True)
class MemoryAttacher:
    """A host in memory: an `Attacher`.

    Args:
        volumes: whose volumes it connects.

    Attributes:
        connected: the volume of each attachment that is connected, by the attachment's id.
    """

    volumes: MemoryVolumes
    connected: dict[str, str] = attrs.field(factory=dict, init=False, repr=False)

    def connector(self) -> Mapping[str, Any]:
        """Tell what Cinder must know of this host."""
        return {"host": "memory", "ip": "127.0.0.1", "platform": "memory", "os_type": "memory"}

    def open(self, attachment: Attachment, *, mode: AccessMode) -> AbstractContextManager[Device]:
        """Connect the volume while the context lasts."""
        return _Connection(self, attachment, mode)


@attrs.define
class _Connection(AbstractContextManager[Device]):
    """One volume on the host; it stays there until the context is left, also if nobody remembers it."""

    _attacher: MemoryAttacher
    _attachment: Attachment
    _mode: AccessMode
    _device: _Opened | None = attrs.field(default=None, init=False)

    def __enter__(self) -> Device:
        attachment, volumes = self._attachment, self._attacher.volumes
        if attachment.id not in volumes.attachments or attachment.id in self._attacher.connected:
            raise AttachFailed(f"volume {attachment.volume_id} is not to be connected by attachment {attachment.id}")
        writable = self._mode is AccessMode.WRITE
        if writable and attachment.connection["access_mode"] != AccessMode.WRITE.value:
            raise AttachFailed(f"volume {attachment.volume_id} may be read only by attachment {attachment.id}")
        self._attacher.connected[attachment.id] = attachment.volume_id
        content = volumes.contents[attachment.volume_id]
        self._device = _Opened(content, f"volume {attachment.volume_id}", writable)
        return self._device

    def __exit__(self, *_: object) -> None:
        if self._device is not None:
            self._device.close()
        self._attacher.connected.pop(self._attachment.id, None)


@attrs.define(kw_only=True)
class MemoryImages:
    """A Glance in memory: an `ImageService`.

    Args:
        volumes: where the image volumes are; its volumes can then be made from these images.
        project_id: who owns the images that are made for nobody else.
        stores: their names; the first is the default.

    Attributes:
        images: every image, by its id.
        names: their names.
        data: the bytes of those that were uploaded.
    """

    volumes: MemoryVolumes
    project_id: str = "memory"
    stores: tuple[str, ...] = ("memory",)
    images: dict[str, Image] = attrs.field(factory=dict, init=False, repr=False)
    names: dict[str, str] = attrs.field(factory=dict, init=False, repr=False)
    data: dict[str, bytes] = attrs.field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Let volumes be made from these images."""
        self.volumes.images = self

    def get(self, image_id: str) -> Image:
        """Give what is known of one image."""
        try:
            return self.images[image_id]
        except KeyError as error:
            raise NotFound("image", image_id) from error

    def find(self, name_or_id: str) -> Image:
        """Give the image of that id, or the only one of that name."""
        named = [image_id for image_id, name in self.names.items() if name == name_or_id]
        if name_or_id not in self.images and len(named) > 1:
            raise RequestRefused(f"{len(named)} images are named {name_or_id}: give the id of one")
        return self.get(name_or_id if name_or_id in self.images or not named else named[0])

    def create(
        self,
        *,
        name: str,
        disk_format: str,
        owner: str | None = None,
        visibility: str | None = None,
        container_format: str = "bare",
    ) -> Image:
        """Make the record of an image that is `queued`."""
        if disk_format not in _DISK_FORMATS:
            raise RequestRefused(f"creating image {name}: {disk_format} is none of {', '.join(sorted(_DISK_FORMATS))}")
        image = Image(
            id=str(uuid.uuid4()),
            status="queued",
            owner=owner or self.project_id,
            visibility=visibility or "shared",
            disk_format=disk_format,
            container_format=container_format,
            min_disk_gib=0,
            updated_at=datetime.now(UTC),
        )
        self.names[image.id] = name
        self.images[image.id] = image
        return image

    def add_location(self, image_id: str, url: str, *, store: str | None, digest: Digest | None) -> Image:
        """Register where the data are; data that are not as the digest says are deleted, as Glance does."""
        self._expect_queued(image_id)
        never = DeadlineExceeded(f"image {image_id} has not taken its location", seconds=0)
        try:
            location = parse_location(url)
            volume = self.volumes.get(location.volume_id)
        except CallerError as error:
            raise never from error
        size_bytes = _size_bytes(volume)
        if not size_bytes:
            raise never
        if digest is not None:
            actual = hashlib.new(digest.algorithm)
            for part in self._content(volume.id, size_bytes):
                actual.update(part)
            if actual.hexdigest() != digest.value:
                self.volumes.delete(volume.id)
                raise never
        found = ImageLocation(url, {"store": store or location.store or self.stores[0]})
        return self._activate(image_id, locations=(found,), size_bytes=size_bytes, digest=digest)

    def upload(self, image_id: str, data: Iterable[bytes], *, size_bytes: int | None, store: str | None = None) -> Image:
        """Keep an image's data."""
        self._expect_queued(image_id)
        if (store or self.stores[0]) not in self.stores:
            raise RequestRefused(f"uploading image {image_id}: there is no store {store}")
        content = b"".join(data)
        if size_bytes is not None and len(content) != size_bytes:
            raise RequestRefused(f"uploading image {image_id}: {size_bytes} bytes were announced, {len(content)} came")
        self.data[image_id] = content
        return self._activate(
            image_id,
            locations=(ImageLocation(f"file:///memory/{image_id}", {"store": store or self.stores[0]}),),
            size_bytes=len(content),
            digest=Digest("sha512", hashlib.sha512(content).hexdigest()),
        )

    def read(self, image_id: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Give an image's data, whole or a part."""
        image = self.get(image_id)
        if image.size_bytes is None:
            raise RequestRefused(f"image {image_id} is '{image.status}' and has no data")
        end = image.size_bytes if length is None else min(image.size_bytes, offset + length)
        if image_id in self.data:
            return iter([self.data[image_id][offset:end]] if end > offset else [])
        return self._content(parse_location(image.locations[0].url).volume_id, end, offset)

    def delete(self, image_id: str) -> None:
        """Delete the image, and the volumes that have its data."""
        for location in self.get(image_id).locations:
            with suppress(NotFound):
                if location.url.startswith("cinder:"):
                    self._delete_volume(image_id, parse_location(location.url).volume_id)
        del self.images[image_id], self.names[image_id]
        self.data.pop(image_id, None)

    def _expect_queued(self, image_id: str) -> None:
        if (image := self.get(image_id)).status != "queued":
            raise RequestRefused(f"image {image_id} is '{image.status}' and takes data while it is 'queued'")

    def _activate(self, image_id: str, **facts: Any) -> Image:
        self.images[image_id] = replace(self.images[image_id], status="active", updated_at=datetime.now(UTC), **facts)
        return self.images[image_id]

    def _content(self, volume_id: str, end: int, offset: int = 0) -> Iterator[bytes]:
        device = self.volumes.contents[volume_id]
        for start in range(offset, end, 1 << 22):
            yield device.read(start, min(1 << 22, end - start))

    def _delete_volume(self, image_id: str, volume_id: str) -> None:
        try:
            self.volumes.delete(volume_id)
        except InUse as error:
            raise RequestRefused(f"deleting image {image_id}: {error}") from error


def _size_bytes(volume: Volume) -> int:
    """How much of an image volume is the image."""
    recorded = ImageVolumeMetadata.from_volume(volume.metadata).size_bytes
    return volume.size_gib * GIB if recorded is None else recorded
