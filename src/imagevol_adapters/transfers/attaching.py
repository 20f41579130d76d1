"""What the procedures share: a volume on this host, one that must not be encrypted, one that goes, one that may not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Protocol

import attrs

from imagevol_adapters.cleanup import released
from imagevol_adapters.ports import AccessMode, Attacher, Device, VolumeService
from imagevol_core import DeadlineExceeded, Image, RequestRefused, ResourceNotFound, Volume

__all__ = ["Attach", "attached", "delete_or_leave_to_cinder", "delete_volume", "may_live_in", "refuse_encrypted"]

_LOG = logging.getLogger(__name__)


class Attach(Protocol):
    """How a volume comes to this host: `attached`, or what wraps it."""

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

    The device is closed and disconnected, and the attachment taken back, in that order and whatever fails.  Attachments
    of one volume to one host share their device: the last of them disconnects it.

    Args:
        volume_id: which volume.
        mode: what is done to it.
        volumes: where it is.
        attacher: connects it to this host.
        size_bytes: how many bytes its device must have, which some show a while after they are connected.
        multiattach: whether the volume may have other attachments to this host.

    Raises:
        AttachFailed: it could not be connected, or not be let go.
        DeviceFailed: its device is smaller than that, and did not grow.
        VolumeBusy: another has it, or Cinder is changing it.
        InUse: its state does not allow it, and does not pass.
        ImagevolError: whatever else the ports raise.
    """
    connector = attacher.connector()
    attachment = attrs.evolve(volumes.attach(volume_id, connector=connector, mode=mode), size_bytes=size_bytes)

    def keep() -> bool:
        return volumes.shares_host(attachment, host=connector["host"])

    with (
        ExitStack() as leaving,
        released(f"attachment {attachment.id} of volume {volume_id}", lambda: volumes.detach(attachment)),
        attacher.open(attachment, mode=mode, keep=keep if multiattach else None) as device,
    ):
        try:
            volumes.complete(attachment)
            yield device
        finally:
            if multiattach:  # of two that leave at once, each would see the other, and neither would disconnect
                leaving.enter_context(attacher.leaving(volume_id))


def delete_volume(volumes: VolumeService, volume_id: str) -> None:
    """Delete a volume; one that is gone already, as when Glance deleted it with its image, is as wanted."""
    with suppress(ResourceNotFound):
        delete_or_leave_to_cinder(volumes, volume_id)


def delete_or_leave_to_cinder(volumes: VolumeService, volume_id: str) -> None:
    """Delete a volume; where that takes longer than is waited for, as on a backend that wipes, Cinder goes on alone.

    Raises:
        ImagevolError: what `VolumeService.delete` raises, but for a deadline while Cinder is deleting it.
    """
    try:
        volumes.delete(volume_id)
    except DeadlineExceeded:
        if any(volume.status != "deleting" for volume in volumes.find([volume_id])):
            raise
        _LOG.info("Cinder is still deleting volume %s", volume_id)


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
