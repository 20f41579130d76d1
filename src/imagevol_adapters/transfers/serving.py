"""An image out of a volume, and an image volume away."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress

import attrs

from imagevol_adapters.engine import BLAKE3, Digests, Limits, read_device
from imagevol_adapters.ports import AccessMode, Attacher, ImageService, VolumeService
from imagevol_adapters.transfers.attaching import Attach, Free, attached, delete_freed, may_live_in, refuse_encrypted
from imagevol_adapters.transfers.reclaiming import holders
from imagevol_adapters.transfers.recording import BelievedRecord, believed_record, image_bytes, record_blake3
from imagevol_adapters.transfers.remains import looked_at
from imagevol_core import (
    GIB,
    DeviceFailed,
    Digest,
    Image,
    ImagevolError,
    ImageVolumeMetadata,
    InUse,
    InvalidSize,
    RemainsDecision,
    RequestRefused,
    ResourceNotFound,
    Volume,
    decide_removal,
)
from imagevol_core.recorded import decide_judge

__all__ = ["VolumeContent", "delete_image_volume", "open_image_volume"]

_LOG = logging.getLogger(__name__)
_IN_THE_MAKING = ("queued", "saving", "uploading", "importing")


@attrs.frozen(kw_only=True)
class VolumeContent:
    """What is read from an image volume.

    Attributes:
        size_bytes: how many bytes the parts have together.
        parts: the bytes, once.
        volume_id: the volume that they come from.
        whole: whether the parts are the whole image.
        digest: what the parts are compared with; None if they are not compared, because they are not the whole image,
            because no digest is given or recorded, or because `verify` is False.
        unverified: what "the volume …" does, so that a whole image is not compared although `verify` is True; empty if
            it is compared.
        unrecorded: why "the volume …" gets no BLAKE3 although `record` is True; empty if it gets one.
    """

    size_bytes: int
    parts: Iterator[bytes]
    volume_id: str
    whole: bool
    digest: Digest | None
    unverified: str = ""
    unrecorded: str = ""


@contextmanager
def open_image_volume(
    volume_id: str,
    *,
    volumes: VolumeService,
    attacher: Attacher,
    offset: int = 0,
    length: int | None = None,
    verify: bool = True,
    digest: Digest | None = None,
    image: Image | None = None,
    permit: Callable[[Volume], object] = refuse_encrypted,
    limits: Limits | None = None,
    attach: Attach = attached,
    record: bool = False,
) -> Iterator[VolumeContent]:
    """Attach an image volume read-only and give its image's bytes while the context lasts ([store]).

    A whole image is compared with the given digest, or with the multihash of the given image.  Without one, it is
    compared with what the volume records: with the BLAKE3 if `decide_recorded` believes it and the package is
    installed, and otherwise with the multihash.  A wrong digest is raised after the last part: do not use the bytes
    until the iteration has ended without an error.  If there is no digest, the attribute `digest` of what is given is
    None, and nothing is compared.

    Args:
        volume_id: the image volume.
        volumes: where it is.
        attacher: connects the volume to this host.
        offset: the first byte of the image to read.
        length: how many bytes to read; None to read to the image's end.  A range beyond the end gives the part that
            exists.
        verify: whether a whole image is compared with a digest; False if the caller does that.
        digest: the digest of the whole image; by default Glance's multihash of `image`, or the one that the volume
            records.
        image: whose data the volume should hold, as Glance shows the image; when None, the volume's own record says it.
        permit: called with the volume before it is attached, to refuse it by an error.  By default encrypted volumes
            are refused, because their bytes are ciphertext.
        limits: how fast the transfer can go, and what ends it.
        attach: how the volume is attached, such as `SharedAttachments.attached`; by default each reader attaches it
            alone.
        record: whether to write a BLAKE3 into the metadata of the volume, if none is there, the whole image was read
            and has the multihash of the image or the recorded one, and `decide_recorded` would believe it.

    Raises:
        MissingDependency: a BLAKE3 must be recorded, and its package is not installed.
        VolumeBusy: another program has the volume attached, or Cinder is changing it.
        InvalidSize: `offset` or `length` is negative.
        InvalidMetadata: the metadata of the volume cannot be understood.
        ContentMismatch: the data does not have the digest.
        DeviceFailed: the volume cannot be read to its end.
        ImagevolError: whatever else the ports raise.
    """
    if offset < 0 or (length is not None and length < 0):
        raise InvalidSize("range", (offset, length), "give an offset and a length of 0 or more")
    volume = volumes.get(volume_id)
    permit(volume)
    recorded = ImageVolumeMetadata.from_volume(volume.metadata)
    volume_bytes = volume.size_gib * GIB
    size_bytes = image_bytes(recorded, image, volume_bytes=volume_bytes)
    if size_bytes > volume_bytes:
        raise DeviceFailed(f"volume {volume_id} ends at byte {volume_bytes}, and its image has {size_bytes} bytes")
    available = max(0, size_bytes - offset)
    wanted = available if length is None else min(length, available)
    whole = wanted == size_bytes
    believed = believed_record(volume, volumes=volumes, record=record, image=image) if verify and whole else None
    glance = image.digest if image else None
    multihash = glance or recorded.digest
    expected = None
    if believed:
        judge = decide_judge(given=digest, glance=glance, blake3=believed.blake3, multihash=recorded.digest)
        expected = judge.digest
    made = Digests([BLAKE3]) if expected and expected == multihash and believed and believed.to_be_recorded else None
    with attach(
        volume_id,
        mode=AccessMode.READ,
        volumes=volumes,
        attacher=attacher,
        size_bytes=size_bytes,
        multiattach=bool(volume.multiattach),
    ) as device:
        parts = read_device(
            device,
            offset=offset,
            length=wanted,
            digest=expected,
            what=f"volume {volume_id}",
            limits=limits,
            made=made,
        )
        given = _Parts(parts)
        with closing(parts):
            yield VolumeContent(
                size_bytes=wanted,
                parts=given,
                volume_id=volume_id,
                whole=whole,
                digest=expected,
                unverified=believed.unverified if believed and expected is None else "",
                unrecorded=_unrecorded(believed) if record and made is None else "",
            )
        given.closed = True
    if made and given.ended:
        record_blake3(volumes, volume_id, made.values()[BLAKE3], multihash=None if recorded.digest else multihash)


def _unrecorded(believed: BelievedRecord | None) -> str:
    """Why the volume that is read gets no BLAKE3."""
    if believed is None:
        return "was not verified as a whole"
    return believed.unrecorded or "was not verified by the multihash of its image"


class _Parts(Iterator[bytes]):
    """The bytes of an open volume, which are not taken for an empty image once it is closed."""

    def __init__(self, parts: Generator[bytes]) -> None:
        self._parts = parts
        self.closed = self.ended = False

    def __next__(self) -> bytes:
        if self.closed:
            raise DeviceFailed("the volume is closed: read it while the context lasts")
        try:
            return next(self._parts)
        except StopIteration:
            self.ended = True
            raise

    def close(self) -> None:
        self._parts.close()


def delete_image_volume(
    volume_id: str, *, volumes: VolumeService, images: ImageService, free: Free | None = None
) -> None:
    """Delete an image volume, or an unfinished one whose process is dead; return when it is gone ([store]).

    Args:
        volume_id: the image volume.
        volumes: where it is.
        images: where its image would be.
        free: takes back what dead processes have left attached, if the volume is in use.

    Raises:
        ResourceNotFound: there is none.
        RequestRefused: the volume holds no image; it may be other data.
        InUse: an image has its data there, or its process may run, or it is attached, or has snapshots or dependents.
        ImagevolError: whatever else the ports raise.
    """
    volume = volumes.get(volume_id)
    record = ImageVolumeMetadata.from_volume(volume.metadata)
    image_id = record.image_id
    remains = looked_at(volume, project_id=volumes.project_id, named=True)
    image = None if image_id is None else _shown(image_id, images)
    lives = image is not None and may_live_in(image, volume_id)
    decision = decide_removal(
        volume,
        remains=remains,
        image_id=image_id,
        lives=lives,
        shown=image is not None,
        sees_all=image_id is not None and image is None and images.sees_all,  # Keystone is asked only if it matters
        image_owner=record.image_owner,
        project_id=volumes.project_id,
        base_image_id=volumes.base_image_id(volume_id) if image_id is None else None,
    )
    if decision.in_use:
        raise InUse("; ".join([decision.reason, *(() if lives else _named_holders(volume_id, volumes))]))
    if not decision.allowed:
        raise RequestRefused(decision.reason)
    delete_freed(volumes, volume_id, free=free)
    if image_id is None:
        _name_image(remains, images)


def _named_holders(volume_id: str, volumes: VolumeService) -> tuple[str, ...]:
    try:
        return holders(volume_id, volumes)
    except ImagevolError as error:
        return (f"what has it attached cannot be found out: {error}",)


def _shown(image_id: str, images: ImageService) -> Image | None:
    """The image, if Glance shows it to these credentials."""
    try:
        return images.get(image_id)
    except ResourceNotFound:
        return None


def _name_image(decision: RemainsDecision, images: ImageService) -> None:
    """Name an image that the dead process left without data; which one is only the volume's word."""
    if decision.origin is None or decision.origin.image_id is None:
        return
    with suppress(ImagevolError):
        image = images.get(decision.origin.image_id)
        if image.status in _IN_THE_MAKING:
            _LOG.warning(
                "Image %s is still '%s': if no other upload to it runs, delete it with `openstack image delete %s`",
                image.id,
                image.status,
                image.id,
            )
