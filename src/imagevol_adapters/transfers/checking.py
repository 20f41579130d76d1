"""An image volume read from end to end: the digest of its image, and whether nothing comes after it."""

from __future__ import annotations

from contextlib import closing

from imagevol_adapters.engine import Digests, Limits, read_device
from imagevol_adapters.engine.parts import ZEROS
from imagevol_adapters.ports import AccessMode, Attacher, Device, VolumeService
from imagevol_adapters.transfers.attaching import Attach, attached, refuse_encrypted
from imagevol_core import GIB, DeepCheck, DeviceFailed

__all__ = ["check_image_volume"]


def check_image_volume(
    volume_id: str,
    *,
    size_bytes: int,
    algorithm: str | None,
    volumes: VolumeService,
    attacher: Attacher,
    limits: Limits | None = None,
    attach: Attach = attached,
) -> DeepCheck:
    """Read an image volume, and say what is in it; what that means is for `audit` to say.

    Args:
        volume_id: the image volume.
        size_bytes: how large the image is.
        algorithm: of the digest that is made; None for none.
        volumes: where it is.
        attacher: connects it to this host.
        limits: how fast it may go, and what ends it.
        attach: how the volume comes to this host.

    Raises:
        RequestRefused: the volume is encrypted, so that its bytes are ciphertext.
        VolumeBusy: another has the volume.
        DeviceFailed: the volume is smaller than the image, or cannot be read to its end.
        InvalidFact: the algorithm is not known here.
        TransferCancelled: it was.
        ImagevolError: whatever else the ports raise.
    """
    volume = volumes.get(volume_id)
    refuse_encrypted(volume)
    if size_bytes > volume.size_gib * GIB:
        raise DeviceFailed(f"volume {volume_id} has {volume.size_gib} GiB, and its image {size_bytes} bytes")
    digests = Digests([] if algorithm is None else [algorithm])
    with attach(
        volume_id,
        mode=AccessMode.READ,
        volumes=volumes,
        attacher=attacher,
        size_bytes=volume.size_gib * GIB,
        multiattach=bool(volume.multiattach),
    ) as device:
        what = f"volume {volume_id}"
        with closing(read_device(device, length=size_bytes, what=what, limits=limits, made=digests)) as parts:
            for _ in parts:
                pass
        tail_is_zero = _is_zero(device, size_bytes, what, limits)
    return DeepCheck(
        volume_id=volume_id,
        size_bytes=size_bytes,
        digest=None if algorithm is None else digests.values()[algorithm],
        tail_is_zero=tail_is_zero,
    )


def _is_zero(device: Device, offset: int, what: str, limits: Limits | None) -> bool:
    """Whether a device has nothing but zeros from there on; it is read as far as it has."""
    length = device.size_bytes - offset
    with closing(read_device(device, offset=offset, length=length, what=what, limits=limits)) as parts:
        return all(part == ZEROS[: len(part)] for part in parts)
