"""An image volume read from end to end: the digest of its image, and whether nothing comes after it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import closing

from imagevol_adapters.engine import BLAKE3, Digests, Limits, digest_device, read_device
from imagevol_adapters.engine.parts import ZEROS
from imagevol_adapters.ports import AccessMode, Attacher, Device, VolumeService
from imagevol_adapters.transfers.attaching import Attach, attached, refuse_encrypted
from imagevol_adapters.transfers.recording import believed_record, record_blake3
from imagevol_core import GIB, DeepCheck, DeviceFailed, Digest, Image
from imagevol_core.recorded import decide_judge

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
    image: Image | None = None,
    trusted_projects: Collection[str] | None = None,
    tail: bool = True,
    record: bool = False,
    trust_recorded: bool = False,
) -> DeepCheck:
    """Read an image volume, and say what is in it; what that means is for `audit` to say.

    `decide_judge` says which digest the data is judged by: Glance's own, if the image has one.  With `trust_recorded`
    it is the BLAKE3 that the volume records, if `decide_recorded` believes it and the package is installed.  If the
    data has another BLAKE3, it is read again, and the digest of the image is made: a wrong record alone says nothing
    against the data.

    Args:
        volume_id: the image volume.
        size_bytes: how large the image is.
        algorithm: of the digest that is made if no record judges the data; None for none.
        volumes: where it is.
        attacher: connects the volume to this host.
        limits: how fast the transfer can go, and what ends it.
        attach: how the volume comes to this host.
        image: whose data it should hold, as Glance shows the image; when None, the record of the volume judges the
            data if there is no `algorithm`.
        trusted_projects: in which no user can write a volume's metadata; when None, the project of the credentials.
        tail: whether to look too whether anything comes after the image.
        record: whether to write a BLAKE3 into the metadata of the volume, if none is there, the data has the digest of
            the image, and `decide_recorded` would believe it.
        trust_recorded: whether a BLAKE3 that is believed counts in place of Glance's digest.

    Raises:
        MissingDependency: a BLAKE3 must be recorded, and its package is not installed.
        RequestRefused: the volume is encrypted, so that its bytes are ciphertext.
        VolumeBusy: another program has the volume attached, or Cinder is changing it.
        DeviceFailed: the volume is smaller than the image, or cannot be read to its end.
        InvalidFact: the algorithm is not known here.
        TransferCancelled: `limits.cancelled` was set.
        ImagevolError: whatever else the ports raise.
    """
    volume = volumes.get(volume_id)
    refuse_encrypted(volume)
    if size_bytes > volume.size_gib * GIB:
        raise DeviceFailed(f"volume {volume_id} has {volume.size_gib} GiB, and its image {size_bytes} bytes")
    glance, recorded, recording = image.digest if image else None, None, False
    if image or algorithm is None:
        believed = believed_record(
            volume, volumes=volumes, record=record, image=image, trusted_projects=trusted_projects
        )
        judge = decide_judge(
            glance=glance, blake3=believed.blake3, multihash=believed.multihash, trust_recorded=trust_recorded
        )
        recorded, recording = judge.digest if judge.from_record else None, believed.to_be_recorded
    wanted = [*([algorithm] if algorithm else []), *([BLAKE3] if recording else [])]
    judging = [recorded.algorithm, *([BLAKE3] if recording else [])] if recorded else wanted
    with attach(
        volume_id,
        mode=AccessMode.READ,
        volumes=volumes,
        attacher=attacher,
        size_bytes=volume.size_gib * GIB,
        multiattach=bool(volume.multiattach),
    ) as device:
        made = _digests(device, size_bytes, judging, limits)
        if recorded and algorithm and made[recorded.algorithm] != recorded:
            made, recorded = _digests(device, size_bytes, wanted, limits), None
        tail_is_zero = _is_zero(device, size_bytes, limits) if tail else None
    digest = made.get(recorded.algorithm if recorded else algorithm or "")
    if recording and digest and digest == (recorded or glance):
        record_blake3(volumes, volume_id, made[BLAKE3], multihash=digest)
    return DeepCheck(
        volume_id=volume_id, size_bytes=size_bytes, digest=digest, recorded=recorded, tail_is_zero=tail_is_zero
    )


def _digests(device: Device, size_bytes: int, algorithms: Iterable[str], limits: Limits | None) -> Mapping[str, Digest]:
    made = Digests(algorithms)
    digest_device(device, length=size_bytes, made=made, limits=limits)
    return made.values()


def _is_zero(device: Device, offset: int, limits: Limits | None) -> bool:
    """Whether a device has nothing but zeros from there on; it is read as far as it has."""
    length = device.size_bytes - offset
    with closing(read_device(device, offset=offset, length=length, limits=limits)) as parts:
        return all(part == ZEROS[: len(part)] for part in parts)
