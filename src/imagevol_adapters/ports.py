"""The seams between the procedures and the world.

`transfers` is written against these protocols.  `cinder`, `glance`, `brick`, `qemu`, `coordination` and `fleet` have
real ones;
those of `testing`, in memory, pass the same conformance suite.  A port raises nothing but `ImagevolError`, with
the library's error as `__cause__`, and gives facts of `imagevol_core`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from enum import Enum
from typing import Any, BinaryIO, Protocol

import attrs

from imagevol_adapters.attributes import ImageAttributes
from imagevol_adapters.device_ports import CLEAR_BYTES, Device
from imagevol_adapters.lock_ports import Lock, Locks
from imagevol_adapters.shard_ports import Claim, ShardBoard, Shards, Slot, WorkerLimits, Workers
from imagevol_core import AttachmentFacts, CopyPlan, Digest, Image, Inspection, SafetySettings, Volume, VolumeType

__all__ = [
    "CLEAR_BYTES",
    "AccessMode",
    "Attacher",
    "Attachment",
    "Claim",
    "Converter",
    "Device",
    "ImageService",
    "Lock",
    "Locks",
    "ShardBoard",
    "Shards",
    "Slot",
    "VolumeService",
    "WorkerLimits",
    "Workers",
]


class AccessMode(Enum):
    """What an attachment may do to its volume; the values are Cinder's."""

    READ = "ro"
    WRITE = "rw"


@attrs.frozen(kw_only=True)
class Attachment:
    """Cinder's permission to connect a volume to this host.

    Attributes:
        id: the attachment's UUID.
        volume_id: the volume.
        connection: Cinder's connection info, what an `Attacher` connects by; it may hold secrets.
        size_bytes: how many bytes its device must have, at least: what an `Attacher` waits for; None for any number.
    """

    id: str
    volume_id: str
    connection: Mapping[str, Any] = attrs.field(repr=False)
    size_bytes: int | None = None


class Attacher(Protocol):
    """Connects volumes to this host."""

    def connector(self) -> Mapping[str, Any]:
        """Tell what Cinder must know of this host.

        Raises:
            AttachFailed: it cannot be found out.
        """

    def open(
        self, attachment: Attachment, *, mode: AccessMode, keep: Callable[[], bool] | None = None
    ) -> AbstractContextManager[Device]:
        """Connect the volume while the context lasts.

        Leaving it closes the device and disconnects it, whatever happened inside, unless a call of the device has not
        returned.  Then the device stays open and connected.

        Args:
            attachment: Cinder's permission.
            mode: what is done to it.
            keep: asked before it is disconnected whether it must stay, because another attachment of this host uses
                the same connection.

        Raises:
            AttachFailed: the volume could not be connected, or not be let go; then the error names what is left.
            DeviceStalled: that did not end in time; the volume may be connected.
            DeviceFailed: its device is smaller than the attachment says, and did not grow.
        """

    def disconnect(self, attachment: Attachment) -> None:
        """Disconnect what a process that is dead has left connected; what is not connected is no error.

        Raises:
            AttachFailed: it may still be connected.
            DeviceStalled: that did not end in time; it may still be connected.
        """

    def is_left(self, attachment: Attachment) -> bool:
        """Tell whether the volume may still be connected, because a call did not return in time or failed."""

    def leaving(self, volume_id: str) -> AbstractContextManager[object]:
        """Let no other attachment of the volume leave this host while the context lasts."""


class VolumeService(Protocol):
    """Cinder, as far as images need it.

    Each method raises `ResourceNotFound`, `AccessDenied`, `OverQuota`, `RequestRefused`, `ServiceUnreachable` or
    `ServiceFailed`; what it raises besides is said at the method.
    """

    @property
    def project_id(self) -> str | None:
        """The project that new volumes live in; None where the credentials do not say."""

    def create(
        self,
        *,
        size_gib: int,
        name: str,
        volume_type: str | None = None,
        image_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Volume:
        """Ask for a volume, empty or made from an image; it is usable once `wait` has returned.

        It has its metadata from the moment when it exists.
        """

    def clone(
        self, volume_id: str, *, name: str, metadata: Mapping[str, str], volume_type: str | None = None
    ) -> Volume:
        """Ask for a clone of a volume, of its size and type or another type of its backend; `wait` until it is usable.

        It has its metadata from its first moment, so that what a killed process leaves says what it is.

        Raises:
            InUse: the state of the volume does not allow it.
        """

    def get(self, volume_id: str) -> Volume:
        """Give what is known of one volume."""

    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        """Give those of the volumes that exist, in the order asked."""

    def named(self, name: str) -> tuple[Volume, ...]:
        """Give the volumes of this project that have this name."""

    def with_metadata(self, metadata: Mapping[str, str]) -> tuple[Volume, ...]:
        """Give the volumes of this project that have all of this among their metadata."""

    def base_image_id(self, volume_id: str) -> str | None:
        """Give the image that the volume was made from, or the volume that it is a clone of; None where it was not."""

    def volume_type(self, name: str) -> VolumeType | None:
        """Give a volume type; None where these credentials may not see all of its extra specs."""

    def wait(self, volume_id: str) -> Volume:
        """Return when the volume is available.

        Raises:
            VolumeFailed: it has come to an error, with what Cinder says of it.
            DeadlineExceeded: it has come to neither in time.
        """

    def extend(self, volume_id: str, *, size_gib: int) -> Volume:
        """Make an available volume larger, and return when it is.

        Raises:
            InUse: its state does not allow it.
            VolumeFailed: it could not be extended; what it held may still be there.
            DeadlineExceeded: it is not larger in time.
        """

    def set_readonly(self, volume_id: str, *, readonly: bool) -> None:
        """Mark the volume so that no attachment may write to it, or take the mark away."""

    def set_metadata(self, volume_id: str, metadata: Mapping[str, str]) -> None:
        """Write these keys; others stay."""

    def delete(self, volume_id: str, *, wait: bool = True) -> None:
        """Delete the volume, also one that is just being made, and return when it is gone.

        Args:
            volume_id: which volume.
            wait: False to return as soon as the deletion has begun.

        Raises:
            InUse: it is attached, or has snapshots or dependents.
            VolumeFailed: Cinder could not delete it.
            DeadlineExceeded: it is not gone in time.
        """

    def attach(
        self,
        volume_id: str,
        *,
        connector: Mapping[str, Any],
        mode: AccessMode,
        when_busy: Callable[[], bool] | None = None,
    ) -> Attachment:
        """Reserve the volume for a host and give what it connects by.

        Args:
            volume_id: which volume.
            connector: what an `Attacher` tells of the host; Cinder shows its `mountpoint` as the attachment's device.
            mode: what is done to the volume.
            when_busy: called each time that the volume is busy, before it is waited for; if it gives true, the volume
                is asked for again at once.

        Raises:
            VolumeBusy: it is attached, or Cinder is changing it; it may be asked for again.
            InUse: its state does not allow it and does not pass, or it is marked read-only and `mode` is not.
        """

    def complete(self, attachment: Attachment) -> None:
        """Make the volume `in-use`; from then on Cinder shows which process has it."""

    def holders(self, volume_id: str) -> tuple[AttachmentFacts, ...]:
        """Give what is known of each attachment of the volume."""

    def attachment(self, attachment_id: str) -> Attachment:
        """Give an attachment that there is, with what its host has connected by."""

    def shares_host(self, attachment: Attachment, *, host: str) -> bool:
        """Tell whether the volume has another attachment to that host."""

    def detach(self, attachment: Attachment) -> None:
        """Withdraw the permission. If it is gone already, that is no error."""


class ImageService(Protocol):
    """Glance, as far as volumes need it.

    Each method raises `ResourceNotFound`, `AccessDenied`, `OverQuota`, `RequestRefused`, `ServiceUnreachable` or
    `ServiceFailed`; what it raises besides is said at the method.
    """

    @property
    def sees_all(self) -> bool:
        """Whether Glance shows these credentials the images of all projects, as it does to an administrator."""

    def get(self, image_id: str) -> Image:
        """Give what is known of one image, with its locations where these credentials may see them."""

    def find(self, name_or_id: str) -> Image:
        """Give the image of that id, or the only one of that name.

        Raises:
            RequestRefused: several have that name.
        """

    def create(
        self,
        *,
        name: str,
        disk_format: str,
        owner: str | None = None,
        visibility: str | None = None,
        attributes: ImageAttributes | None = None,
    ) -> Image:
        """Create the record of an image that has no data yet.

        Args:
            name: need not be unique.
            disk_format: such as `raw`.
            owner: a project's id; the project of the credentials when None.
            visibility: Glance's default when None.
            attributes: all others; Glance's defaults when None. `protected` is not set: use `protect`.
        """

    def with_properties(self, properties: Mapping[str, str], *, status: str) -> tuple[Image, ...]:
        """Give the images in this status that have all of these properties, without their locations."""

    def unset_properties(self, image_id: str, names: Iterable[str]) -> Image:
        """Delete these properties, and give the image as it is then; those that are not there are no error."""

    def protect(self, image_id: str, *, protected: bool) -> None:
        """Set or clear the protection against deletion."""

    def wait(self, image_id: str) -> Image:
        """Return when Glance is not, or no longer, taking data or a location for the image.

        Raises:
            DeadlineExceeded: it still is, after a while.
        """

    def add_location(self, image_id: str, url: str, *, store: str | None, digest: Digest | None) -> Image:
        """Register where the data of a queued image are; return when Glance has taken it.

        Raises:
            DeadlineExceeded: Glance has neither taken nor refused it in time.
        """

    def upload(
        self,
        image_id: str,
        data: Iterable[bytes],
        *,
        size_bytes: int | None,
        store: str | None = None,
        base_image_id: str | None = None,
    ) -> Image:
        """Send an image's data; return when the image is active.

        Args:
            image_id: a queued image.
            data: in parts of any length; closed at the end, if it can be closed, however that ends.
            size_bytes: how many bytes there are; None if that is not known.
            store: where to; Glance's choice when None.
            base_image_id: the image that the data was made from, whose stores count where no store is given.
        """

    def read(self, image_id: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Give an image's data, whole or a part.

        Raises:
            ServiceFailed: also in the middle, where the data end before they should.
        """

    def delete(self, image_id: str) -> None:
        """Delete the image, and with it the data in its stores."""


class Converter(Protocol):
    """Looks at images that strangers wrote, and converts them."""

    def examine(
        self,
        path: str,
        *,
        declared_format: str | None,
        size_gib: int | None,
        what: str,
        safety: SafetySettings | None = None,
        file: BinaryIO | None = None,
    ) -> Inspection:
        """Give the facts of an image in a file, if it is safe.

        Args:
            path: of the file.
            declared_format: the image's `disk_format`.
            size_gib: the size of the volume that it is for; None when it is for none in particular.
            what: names it in an error.
            safety: what the operator allows; what this host can read, the converter knows.
            file: the file, if it is open already: this one is looked at, whatever is at its path by then.

        Raises:
            UnsafeImage: a rule refuses it.
            SourceFailed: the file cannot be read.
            ConversionFailed: what had to be asked did not answer.
            MissingProgram: what had to be asked is not installed.
        """

    def convert(
        self,
        plan: CopyPlan,
        *,
        size_bytes: int,
        cancelled: Callable[[], bool] = ...,
        file: BinaryIO | None = None,
        device: Device | None = None,
    ) -> None:
        """Run the command of a plan of `plan_copy`, as it is.

        Where it fails or ends early, no process goes on, and no file is left that was not there before.

        Args:
            plan: what `plan_copy` decided.
            size_bytes: the source's size as a disk, by which its time is measured.
            cancelled: asked now and then whether to end it.
            file: the source, if it is open already: this one is converted, whatever is at its path by then.
            device: the target, if no command can open its path, such as an image of Ceph.

        Raises:
            InvalidFact: the plan is refused, or has no such command.
            DeviceFailed: the `device` could not be written.
            ConversionFailed: it failed, or took more than its limits.
            TransferCancelled: `cancelled` gave true.
            MissingProgram: it is not installed.
        """
