"""What the procedures share: attaching a volume, refusing an encrypted one, and deleting one that is attached."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, Protocol

import attrs

from imagevol_adapters.cleanup import released, undone_on_failure
from imagevol_adapters.ports import AccessMode, Attacher, Attachment, Device, VolumeService
from imagevol_adapters.transfers.reclaiming import Reclaimed, named, reclaim
from imagevol_core import (
    AttachFailed,
    DeadlineExceeded,
    DeviceStalled,
    Image,
    ImagevolError,
    InUse,
    RequestRefused,
    ResourceNotFound,
    Volume,
    VolumeBusy,
    unanswered_attachments,
)

__all__ = [
    "Attach",
    "Free",
    "attached",
    "delete_freed",
    "delete_or_leave_to_cinder",
    "delete_volume",
    "may_live_in",
    "refuse_encrypted",
    "unreserved",
]

_LOG = logging.getLogger(__name__)


Free = Callable[[str], Reclaimed]
"""Takes back what dead processes have left attached, as `reclaim` with its other arguments given."""


class Attach(Protocol):
    """A function that attaches a volume to this host: `attached`, or `SharedAttachments.attached`, which wraps it."""

    def __call__(
        self,
        volume_id: str,
        *,
        mode: AccessMode,
        volumes: VolumeService,
        attacher: Attacher,
        size_bytes: int | None = None,
        multiattach: bool = False,
    ) -> AbstractContextManager[Device]:
        """Attach the volume while the context lasts."""


@contextmanager
def attached(
    volume_id: str,
    *,
    mode: AccessMode,
    volumes: VolumeService,
    attacher: Attacher,
    size_bytes: int | None = None,
    multiattach: bool = False,
) -> Iterator[Device]:
    """Attach a volume to this host while the context lasts.

    If a dead process of this host has left it attached, that attachment is taken back first.  At the end the device is
    closed and disconnected, and the attachment taken back, in that order and whatever fails.  Only if a call of the
    device has not returned, or it cannot be disconnected, all that is left stays, and the error names the attachment.

    Attachments of one volume to one host share their device: the last of them disconnects it.

    Args:
        volume_id: which volume.
        mode: whether the volume is read or written.
        volumes: where it is.
        attacher: connects the volume to this host.
        size_bytes: how many bytes its device must have, which some show a while after they are connected.
        multiattach: whether the volume may have other attachments to this host.

    Raises:
        AttachFailed: it could not be connected, or not be let go.
        DeviceStalled: that took too long.
        DeviceFailed: its device is smaller than that, and did not grow.
        VolumeBusy: another has it, or Cinder is changing it.
        InUse: its state does not allow it, and does not pass.
        ImagevolError: whatever else the ports raise.
    """
    connector = named(attacher.connector())
    attachment = _attachment(volume_id, mode=mode, connector=connector, volumes=volumes, attacher=attacher)

    def keep() -> bool:
        try:
            reclaim(volume_id, volumes=volumes, attacher=attacher, locked=True, connected=True)
        except ImagevolError as error:  # perhaps only a dead process shares it; then it stays connected
            _LOG.warning("Volume %s: what else has it attached is not known: %s", volume_id, error)
        return volumes.shares_host(attachment, host=connector["host"])

    def detach() -> None:
        if attacher.is_left(attachment):  # if Cinder gave its device to another volume, a late write would go there
            raise AttachFailed("its volume may still be connected to this host; end this process, and use it again")
        volumes.detach(attachment)

    with (
        ExitStack() as leaving,
        released(f"attachment {attachment.id} of volume {volume_id}", detach),
        attacher.open(
            attrs.evolve(attachment, size_bytes=size_bytes), mode=mode, keep=keep if multiattach else None
        ) as device,
    ):
        try:
            yield device
        finally:
            if multiattach:  # of two that leave at once, each would see the other, and neither would disconnect
                leaving.enter_context(attacher.leaving(volume_id))


def _attachment(
    volume_id: str, *, mode: AccessMode, connector: Mapping[str, Any], volumes: VolumeService, attacher: Attacher
) -> Attachment:
    """Attach a volume, and take it from dead processes of this host where they have it."""
    holders: tuple[str, ...] = ()

    def when_busy() -> bool:
        nonlocal holders
        try:
            reclaimed = reclaim(volume_id, volumes=volumes, attacher=attacher)
        except ImagevolError as error:
            holders = (f"what has it cannot be found out or taken back: {error}",)
            return False
        holders = reclaimed.holders
        return bool(reclaimed.attachment_ids)

    try:
        attachment = volumes.attach(volume_id, connector=connector, mode=mode, when_busy=when_busy)
    except VolumeBusy as busy:
        if not holders:
            raise
        raise VolumeBusy(
            volume_id, status=busy.status, waited_seconds=busy.waited_seconds, holders=holders
        ) from busy.__cause__
    # At once: before that, Cinder does not show which process has it.
    with undone_on_failure(f"attachment {attachment.id} of volume {volume_id}", lambda: volumes.detach(attachment)):
        volumes.complete(attachment)
    return attachment


def delete_volume(volumes: VolumeService, volume_id: str) -> None:
    """Delete a volume that the caller created; one that is gone already, perhaps with its image, is as wanted.

    An attachment of it that Cinder created without its answer being received, as after an interrupt, is deleted too:
    nothing but the caller knows the volume.

    While a `DeviceStalled` is being handled, Cinder is not waited for: its backend needs the same storage.
    """
    wait = not isinstance(sys.exception(), DeviceStalled)
    with suppress(ResourceNotFound):
        delete_or_leave_to_cinder(volumes, volume_id, free=partial(unreserved, volumes), wait=wait)


def unreserved(volumes: VolumeService, volume_id: str) -> Reclaimed:
    """Delete the attachments of a new volume whose creation was not answered."""
    lost = unanswered_attachments(volumes.holders(volume_id))
    for each in lost:
        volumes.detach(Attachment(id=each.id, volume_id=volume_id, connection={}))
    return Reclaimed(attachment_ids=tuple(each.id for each in lost))


def delete_or_leave_to_cinder(
    volumes: VolumeService, volume_id: str, *, free: Free | None = None, wait: bool = True
) -> None:
    """Delete a volume; where that takes longer than is waited for, as on a backend that wipes, Cinder goes on alone.

    Args:
        volumes: where it is.
        volume_id: which volume.
        free: takes back what dead processes have left attached, if the volume is in use.
        wait: False to return as soon as the deletion has begun.

    Raises:
        InUse: it is attached, with who has it where that is known; or it has snapshots or dependents.
        ImagevolError: what else `VolumeService.delete` raises, but for a deadline while Cinder is deleting it.
    """
    try:
        delete_freed(volumes, volume_id, free=free, wait=wait)
    except DeadlineExceeded:
        if any(volume.status != "deleting" for volume in volumes.find([volume_id])):
            raise
        _LOG.info("Cinder is still deleting volume %s", volume_id)


def delete_freed(volumes: VolumeService, volume_id: str, *, free: Free | None, wait: bool = True) -> None:
    """Delete a volume, also one that dead processes have left attached.

    Args:
        volumes: where it is.
        volume_id: which volume.
        free: takes back what dead processes have left attached; None to leave it.
        wait: False to return as soon as the deletion has begun.

    Raises:
        InUse: it is attached, with who has it where that is known; or it has snapshots or dependents.
        ImagevolError: what else `VolumeService.delete` raises.
    """
    try:
        return volumes.delete(volume_id, wait=wait)
    except InUse as error:
        if free is None:
            raise
        refusal = error
    try:
        reclaimed = free(volume_id)
    except ImagevolError as error:
        raise InUse(f"{refusal}; what has it cannot be found out or taken back: {error}") from refusal.__cause__
    if reclaimed.holders:
        raise InUse(
            f"volume {volume_id} cannot be deleted while it is attached: {'; '.join(reclaimed.holders)}"
        ) from refusal.__cause__
    if not reclaimed.attachment_ids:
        raise refusal
    return volumes.delete(volume_id, wait=wait)


def may_live_in(image: Image, volume_id: str) -> bool:
    """Tell whether the image has its data in the volume, as far as its locations are shown."""
    return not image.locations or any(volume_id in location.url for location in image.locations)


def refuse_encrypted(volume: Volume) -> None:
    """Refuse an encrypted volume: what is written beneath Cinder's encryption would be read as ciphertext."""
    if volume.encrypted:
        raise RequestRefused(
            f"volume {volume.id} of type {volume.volume_type} is encrypted, and an image's bytes would be taken for "
            f"ciphertext; choose a type without encryption"
        )
