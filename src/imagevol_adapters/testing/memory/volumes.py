"""A Cinder in memory, as users and an administrator see it."""

from __future__ import annotations

import functools
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol, Self, TypeVar, cast

import attrs

from imagevol_adapters.cinder.pools import Pool
from imagevol_adapters.ports import AccessMode, Attachment
from imagevol_adapters.testing.memory.device import MemoryDevice
from imagevol_core import (
    GIB,
    AccessDenied,
    AttachmentFacts,
    CallerError,
    DeadlineExceeded,
    Image,
    InUse,
    NotFound,
    RequestRefused,
    ResourceNotFound,
    Volume,
    VolumeAnswer,
    VolumeBusy,
    VolumeFailed,
    VolumeType,
    decide_attach_retry,
    image_fits,
)

__all__ = ["ImageSource", "MemoryVolumes"]

_LONGEST_VALUE = 255
_Method = TypeVar("_Method", bound=Callable[..., Any])


def _alone(method: _Method) -> _Method:
    """Let one thread at a time run a method."""

    @functools.wraps(method)
    def locked(self: MemoryVolumes, *args: Any, **kwargs: Any) -> Any:
        with self.lock:
            return method(self, *args, **kwargs)

    return cast("_Method", locked)


class ImageSource(Protocol):
    """What a `MemoryVolumes` uses to make a volume from an image."""

    @_alone
    def get(self, image_id: str) -> Image:
        """Give what is known of it."""

    def read(self, image_id: str) -> Iterator[bytes]:
        """Give its data."""


@attrs.define(kw_only=True)
class MemoryVolumes:
    """A Cinder in memory: a `VolumeService`, a `VolumeHolder`, a `TemplateVolumes` and a `CloudVolumes`.

    Several threads can use it at the same time.  If two attach one volume, one of them gets a `VolumeBusy`.

    Args:
        project_id: the project of the credentials, in which new volumes live.
        administrator: whether the credentials see the volumes of every project.
        host: the pool of all volumes, `host@backend#pool`.
        volume_types: each type, and whether its volumes are encrypted; the first is the default.
        extra_specs: the extra specs of volume types, by the name of the type.
        capacity_gib: how much the backend can hold.  A volume that does not fit goes to `error`.

    Attributes:
        volumes: every volume, by its id.
        names: the name of each volume, by its id.
        contents: the bytes of each volume, by its id.
        base_images: the image that a volume was made from, by the id of the volume.
        attachments: every attachment, by its id.
        images: where `create` finds images; a `MemoryImages` of these volumes puts itself there.
        lock: is held while a method changes or looks at the volumes.
    """

    project_id: str = "memory"
    administrator: bool = True
    host: str = "memory@memory#memory"
    volume_types: Mapping[str, bool] = {"memory": False, "encrypted": True}
    extra_specs: Mapping[str, Mapping[str, str]] = {}
    capacity_gib: int = 100
    volumes: dict[str, Volume] = attrs.field(factory=dict, init=False, repr=False)
    names: dict[str, str] = attrs.field(factory=dict, init=False, repr=False)
    base_images: dict[str, str] = attrs.field(factory=dict, init=False, repr=False)
    contents: dict[str, MemoryDevice] = attrs.field(factory=dict, init=False, repr=False)
    attachments: dict[str, Attachment] = attrs.field(factory=dict, init=False, repr=False)
    _connectors: dict[str, Mapping[str, Any]] = attrs.field(factory=dict, init=False, repr=False)
    images: ImageSource | None = attrs.field(default=None, init=False, repr=False)
    lock: threading.RLock = attrs.field(factory=threading.RLock, init=False, repr=False, eq=False)

    def of_project(self, project_id: str, *, administrator: bool = False) -> Self:
        """Give the same Cinder as other credentials see it.

        Args:
            project_id: their project.
            administrator: whether they see the volumes of every project.

        >>> admin = MemoryVolumes(project_id="admin")
        >>> user = admin.of_project("demo")
        >>> admin.find([user.create(size_gib=1, name="theirs").id])[0].project_id
        'demo'
        >>> user.find([admin.create(size_gib=1, name="mine").id])
        ()
        """
        other = attrs.evolve(self, project_id=project_id, administrator=administrator)
        for field in attrs.fields(type(self)):
            if not field.init:
                setattr(other, field.name, getattr(self, field.name))
        return other

    @_alone
    def keep(self, volume: Volume, *, name: str | None = None) -> None:
        """Let a volume be there as it came to be in some other way; it is empty.

        Args:
            volume: what is known of it.
            name: its name, if the volume does not say; need not be unique.
        """
        self._keep(volume, name if name is not None else volume.name or "", MemoryDevice(volume.size_gib * GIB), None)

    @_alone
    def create(
        self,
        *,
        size_gib: int,
        name: str,
        volume_type: str | None = None,
        image_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
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
            multiattach=False,
            metadata=metadata or {},
            created_at=datetime.now(UTC),
        )
        return self._keep(volume, name, content, image_id)

    @_alone
    def clone(
        self, volume_id: str, *, name: str, metadata: Mapping[str, str], volume_type: str | None = None
    ) -> Volume:
        """Make a clone that is `creating`."""
        source = self.get(volume_id)
        if volume_type is not None and volume_type not in self.volume_types:
            raise RequestRefused(f"cloning volume {volume_id}: there is no volume type {volume_type}")
        if source.status not in ("available", "in-use"):
            raise InUse(f"volume {volume_id} is '{source.status}' and is cloned while it is 'available' or 'in-use'")
        volume = replace(
            source,
            id=str(uuid.uuid4()),
            host=None,
            project_id=self.project_id,
            status="creating",
            readonly=False,
            source_volume_id=volume_id,
            volume_type=volume_type or source.volume_type,
            metadata=metadata,
            created_at=datetime.now(UTC),
        )
        return self._keep(volume, name, self.contents[volume_id].copy(), self.base_images.get(volume_id))

    def get(self, volume_id: str) -> Volume:
        """Give what is known of one volume."""
        for volume in self._seen([volume_id]):
            return volume
        raise ResourceNotFound("volume", volume_id)

    @_alone
    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        """Give those of the volumes that exist, in the order asked."""
        return self._seen(volume_ids)

    @_alone
    def types_of(self, volume_ids: Sequence[str]) -> Mapping[str, VolumeAnswer]:
        """Say of which type each volume is."""
        found = {volume.id: volume.volume_type for volume in self._seen(volume_ids)}
        return {volume_id: found.get(volume_id, NotFound()) for volume_id in volume_ids}

    @_alone
    def named(self, name: str) -> tuple[Volume, ...]:
        """Give the volumes of this project that have this name."""
        return tuple(volume for volume in self._own() if self.names[volume.id] == name)

    @_alone
    def with_metadata(self, metadata: Mapping[str, str]) -> tuple[Volume, ...]:
        """Give the volumes of this project that have all of this among their metadata."""
        wanted = dict(metadata)
        return tuple(volume for volume in self._own() if wanted.items() <= volume.metadata.items())

    def listed(self, *, project_id: str, metadata: Mapping[str, str] | None = None) -> Iterator[Volume]:
        """Give the volumes of a project, to an administrator."""
        if not self.administrator:
            raise AccessDenied(f"Cinder does not list the volumes of project {project_id} for these credentials")
        wanted = dict(metadata or {})
        for volume in list(self.volumes.values()):
            if volume.project_id == project_id and wanted.items() <= volume.metadata.items():
                yield volume

    @_alone
    def base_image_id(self, volume_id: str) -> str | None:
        """Give the image that the volume was made from."""
        return self.base_images.get(self.get(volume_id).id)

    def volume_type(self, name: str) -> VolumeType | None:
        """Give a volume type."""
        if name not in self.volume_types:
            raise ResourceNotFound("volume type", name)
        return VolumeType(name=name, extra_specs=self.extra_specs.get(name, {}))

    def pools(self) -> tuple[Pool, ...]:
        """Give the only pool, to an administrator; its backend reports its own name."""
        if not self.administrator:
            raise AccessDenied("Cinder shows these credentials no pools: use credentials with the admin role")
        return (Pool(name=self.host, backend_name=self.host.partition("#")[0].rpartition("@")[2]),)

    def is_encrypted(self, volume_type: str) -> bool:
        """Tell whether the volumes of a type are encrypted."""
        if volume_type not in self.volume_types:
            raise ResourceNotFound("volume type", volume_type)
        return self.volume_types[volume_type]

    @_alone
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

    @_alone
    def extend(self, volume_id: str, *, size_gib: int) -> Volume:
        """Make an available volume larger."""
        volume = self.get(volume_id)
        if volume.status != "available":
            raise InUse(f"volume {volume_id} is '{volume.status}' and is extended while it is 'available'")
        if size_gib <= volume.size_gib:
            raise RequestRefused(f"volume {volume_id} has {volume.size_gib} GiB, and {size_gib} GiB are not more")
        if size_gib - volume.size_gib + sum(each.size_gib for each in self.volumes.values()) > self.capacity_gib:
            self._change(volume_id, status="error_extending")
            raise VolumeFailed(volume_id, status="error_extending", wanted="available", reason="the backend is full")
        self.contents[volume_id].size_bytes = size_gib * GIB
        return self._change(volume_id, size_gib=size_gib)

    @_alone
    def set_readonly(self, volume_id: str, *, readonly: bool) -> None:
        """Mark the volume, or take the mark away."""
        volume = self.get(volume_id)
        if volume.status != "available":
            raise RequestRefused(
                f"volume {volume_id} is '{volume.status}': its mark is changed while it is 'available'"
            )
        self._change(volume_id, readonly=readonly)

    @_alone
    def set_metadata(self, volume_id: str, metadata: Mapping[str, str]) -> None:
        """Write these keys; others stay."""
        volume = self.get(volume_id)
        for key, value in metadata.items():
            if len(value) > _LONGEST_VALUE:
                raise RequestRefused(f"volume {volume_id}: the value of {key} is longer than {_LONGEST_VALUE}")
        self._change(volume_id, metadata={**volume.metadata, **metadata})

    @_alone
    def unset_metadata(self, volume_id: str, keys: Sequence[str]) -> None:
        """Take these keys away."""
        kept = {key: value for key, value in self.get(volume_id).metadata.items() if key not in keys}
        self._change(volume_id, metadata=kept)

    @_alone
    def delete(self, volume_id: str, *, wait: bool = True) -> None:  # noqa: ARG002 - it is gone at once
        """Delete the volume."""
        status = self.get(volume_id).status
        if status in ("reserved", "attaching", "in-use"):
            raise InUse(f"volume {volume_id} is {'reserved' if status == 'reserved' else 'attached'}")
        del self.volumes[volume_id], self.names[volume_id], self.contents[volume_id]
        self.base_images.pop(volume_id, None)

    def attach(
        self,
        volume_id: str,
        *,
        connector: Mapping[str, Any],
        mode: AccessMode,
        when_busy: Callable[[], bool] | None = None,
    ) -> Attachment:
        """Reserve the volume, and give what it connects by."""
        volume = self.get(volume_id)
        if volume.status != "available" and decide_attach_retry(volume).again and when_busy and when_busy():
            volume = self.get(volume_id)
        reserved = self.reserve(volume_id, mode=mode)
        if volume.readonly and mode is AccessMode.WRITE:
            self.detach(reserved)
            raise InUse(f"volume {volume_id} is read-only")
        self._change(volume_id, status="attaching")
        connection = {"driver_volume_type": "memory", "access_mode": mode.value}
        self.attachments[reserved.id] = attrs.evolve(reserved, connection=connection)
        self._connectors[reserved.id] = connector
        return self.attachments[reserved.id]

    @_alone
    def reserve(self, volume_id: str, *, mode: AccessMode) -> Attachment:  # noqa: ARG002 - it is known when it connects
        """Reserve the volume, with no host yet."""
        volume = self.get(volume_id)
        if volume.status != "available":
            if decide_attach_retry(volume).again:
                raise VolumeBusy(volume_id, status=volume.status)
            raise InUse(f"volume {volume_id} is '{volume.status}' and is attached while it is 'available'")
        self._change(volume_id, status="reserved")
        attachment = Attachment(id=str(uuid.uuid4()), volume_id=volume_id, connection={})
        self.attachments[attachment.id] = attachment
        return attachment

    @_alone
    def reservations(self, volume_id: str) -> tuple[Attachment, ...]:
        """Give the attachments by which the volume is reserved, with no host yet."""
        return tuple(each for each in self._of(volume_id) if each.id not in self._connectors)

    @_alone
    def holders(self, volume_id: str) -> tuple[AttachmentFacts, ...]:
        """Give what is known of each attachment of the volume; the device of those that are complete."""
        attached = self.get(volume_id).status == "in-use"
        return tuple(
            AttachmentFacts(
                id=attachment.id,
                status="attached" if attached else "attaching" if attachment.id in self._connectors else "reserved",
                host=self._connectors[attachment.id].get("host") if attached else None,
                device=self._connectors[attachment.id].get("mountpoint") if attached else None,
                volume_id=volume_id,
            )
            for attachment in self._of(volume_id)
        )

    @_alone
    def attachment(self, attachment_id: str) -> Attachment:
        """Give an attachment that there is."""
        if attachment_id not in self.attachments:
            raise ResourceNotFound("attachment", attachment_id)
        return self.attachments[attachment_id]

    @_alone
    def complete(self, attachment: Attachment) -> None:
        """Make the volume `in-use`."""
        if attachment.id not in self.attachments:
            raise ResourceNotFound("attachment", attachment.id)
        self._change(attachment.volume_id, status="in-use")

    def shares_host(self, attachment: Attachment, *, host: str) -> bool:  # noqa: ARG002 - there is one host
        """Tell whether the volume has another attachment; here it never has."""
        self.get(attachment.volume_id)
        return False

    @_alone
    def detach(self, attachment: Attachment) -> None:
        """Withdraw the permission."""
        if self.attachments.pop(attachment.id, None):
            self._connectors.pop(attachment.id, None)
            self._change(attachment.volume_id, status="available")

    def _seen(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        found = [self.volumes[volume_id] for volume_id in volume_ids if volume_id in self.volumes]
        return tuple(volume for volume in found if self.administrator or volume.project_id == self.project_id)

    def _own(self) -> list[Volume]:
        return [volume for volume in self.volumes.values() if volume.project_id == self.project_id]

    def _of(self, volume_id: str) -> list[Attachment]:
        return [attachment for attachment in self.attachments.values() if attachment.volume_id == volume_id]

    def _keep(self, volume: Volume, name: str, content: MemoryDevice, image_id: str | None) -> Volume:
        self.volumes[volume.id] = replace(volume, name=name)
        self.names[volume.id], self.contents[volume.id] = name, content
        if image_id is not None:
            self.base_images[volume.id] = image_id
        return self.volumes[volume.id]

    @_alone
    def _change(self, volume_id: str, **facts: Any) -> Volume:
        self.volumes[volume_id] = replace(self.volumes[volume_id], **facts)
        return self.volumes[volume_id]

    def _fill(self, content: MemoryDevice, image_id: str, size_gib: int) -> None:
        """Write an image into a new volume, if Cinder would."""
        try:
            if self.images is None:
                raise ResourceNotFound("image", image_id)
            image = self.images.get(image_id)
            parts = self.images.read(image_id)
        except CallerError as error:
            raise RequestRefused(f"creating a volume from image {image_id}: {error}") from error
        if not (fits := image_fits(image, size_gib=size_gib)).ok:
            raise RequestRefused(f"creating a volume from image {image_id}: {fits.text}")
        offset = 0
        for part in parts:
            offset += content.write(offset, memoryview(part))
