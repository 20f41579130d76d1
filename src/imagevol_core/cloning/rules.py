"""The rules that `cloning` walks: of the request, and of each image volume that a location names ([clone]).

It is the specification's list, made safe where it is silent; what Cinder looks at is in `upstream`.  A rule is a
function of facts that gives its answer and the sentence that says why, and a row in a table below.
"""

from __future__ import annotations

from datetime import timedelta

from imagevol_core.cloning.facts import CloneCandidate, CloneRequest
from imagevol_core.facts import Volume
from imagevol_core.marks import ImageVolumeMetadata, UnreadMetadata
from imagevol_core.sentences import amount, answered, said
from imagevol_core.sizing import GIB, image_fits
from imagevol_core.verdicts import Requirement

__all__ = ["SIGNATURE_PROPERTIES", "STRICT_REQUEST_RULES", "STRICT_VOLUME_RULES"]


_ENCRYPTION_KEYS = ("cinder_encryption_key_id", "os_encrypt_key_id")
SIGNATURE_PROPERTIES = (
    "img_signature",
    "img_signature_hash_method",
    "img_signature_key_type",
    "img_signature_certificate_uuid",
)
_SETTLED = (None, "", "none", "success", "error")  # a failed migration leaves the volume where it was


# The rules about the image and the target.


def cinder_urls_allowed(request: CloneRequest) -> tuple[bool, str]:
    schemes = request.settings.allowed_direct_url_schemes
    return "cinder" in schemes, f"allowed_direct_url_schemes is {said(', '.join(schemes) or 'empty')}"


def image_active(request: CloneRequest) -> tuple[bool, str]:
    return request.image.status == "active", f"the image's status is {said(request.image.status)}"


def image_raw(request: CloneRequest) -> tuple[bool, str]:
    return request.image.disk_format == "raw", f"the image's disk_format is {said(request.image.disk_format)}"


def image_bare(request: CloneRequest) -> tuple[bool, str]:
    container = request.image.container_format
    return container == "bare", f"the image's container_format is {said(container)}"


def _image_not_encrypted(request: CloneRequest) -> tuple[bool, str]:
    keys = [key for key in _ENCRYPTION_KEYS if request.image.properties.get(key)]
    return not keys, f"the image has {keys[0]}" if keys else "the image has no encryption key"


def _target_not_encrypted(request: CloneRequest) -> tuple[bool, str]:
    encrypted = request.target.encrypted
    return encrypted is False, answered(encrypted, "the new volume is encrypted", "the new volume is not encrypted")


def _image_fits(request: CloneRequest) -> tuple[bool, str]:
    verdict = image_fits(request.image, size_gib=request.target.size_gib)
    return verdict.ok, verdict.text


def has_cinder_location(request: CloneRequest) -> tuple[bool, str]:
    if request.volume_ids:
        return True, f"its locations name {amount(len(request.volume_ids), 'volume')}"
    if not request.not_locations:
        return False, "no location of the image is known; Glance may not show them to these credentials"
    return False, "; ".join(map(str, request.not_locations))


# The rules about one image volume.


def volume_found(candidate: CloneCandidate) -> tuple[bool, str]:
    if candidate.found is None:
        return False, "Cinder knows no such volume, or does not show it to these credentials"
    return True, "Cinder knows it"


def _read_only(volume: Volume) -> str:
    return answered(volume.readonly, "it is read-only", "it is not read-only")


def _volume_available(candidate: CloneCandidate) -> tuple[bool, str]:
    volume = candidate.volume
    if volume.status == "in-use":
        return volume.readonly is True, f"it is in-use; {_read_only(volume)}"
    return volume.status == "available", f"its status is {said(volume.status)}"


def _volume_same_backend(candidate: CloneCandidate) -> tuple[bool, str]:
    source, target = candidate.volume, candidate.request.target
    across = candidate.request.backend.clone_across_pools
    here, there = (target.cluster_name, source.cluster_name) if target.cluster_name else (target.host, source.host)
    text = f"it is on {said(there)} and the new volume on {said(here)}"
    if not there:
        return False, "it is not known where it is: Cinder shows that to administrators"
    if not here:
        return False, "it is not known where the new volume will be"
    if across:
        return _backend(here) == _backend(there), f"{text}; the backend clones across its pools"
    return here == there, text


def _volume_owner(candidate: CloneCandidate) -> tuple[bool, str]:
    owner, volume = candidate.request.image.owner, candidate.volume
    if not candidate.trusted:
        holder = volume.project_id
        text = f"the image belongs to {said(owner)} and the volume to {said(holder)}, which is not a trusted project"
        return bool(owner) and owner == holder, text
    holder = volume.metadata.get("image_owner")
    text = f"the image belongs to {said(owner)} and image_owner of this trusted project's volume is {said(holder)}"
    if not owner or owner == holder:
        return bool(owner), text
    doubts = [doubt for doubt, applies in _doubts(candidate).items() if applies]
    if doubts:
        return False, f"{text}; it does not serve another owner: {'; '.join(doubts)}"
    return True, f"{text}; it serves the image's present owner: {_UNALTERED}"


_UNALTERED = "it is read-only, was not cloned from another volume, and its record names this image"
_CLOCKS = timedelta(minutes=5)  # by which those of Glance's and Cinder's hosts may differ


def _doubts(candidate: CloneCandidate) -> dict[str, bool]:
    """What speaks against the record of a volume in a trusted project if it names another owner than the image has.

    The owner of an image may change, and its data stays what it is.  But an image may also get the id of one that was
    deleted and purged, and whose volume was left behind: that volume is older than the image.
    """
    volume, image, record = candidate.volume, candidate.request.image, candidate.record
    known = record if isinstance(record, ImageVolumeMetadata) else ImageVolumeMetadata()
    written, shown = known.digest, image.digest
    made, needed = volume.created_at, image.created_at
    return {
        _read_only(volume): volume.readonly is not True,
        f"users may have written its record, because it was cloned from volume {said(volume.source_volume_id)}": (
            not candidate.own_record
        ),
        "its record does not name this image": known.image_id != image.id,
        "its record has another multihash than the image": (
            written is not None and shown is not None and written.algorithm == shown.algorithm and written != shown
        ),
        "it is older than the image": made is not None and needed is not None and made < needed - _CLOCKS,
    }


def _volume_is_this_image(candidate: CloneCandidate) -> tuple[bool, str]:
    record, image_id = candidate.record, candidate.request.image.id
    if isinstance(record, UnreadMetadata):
        return False, str(record)
    recorded = record.image_id if record else None
    if recorded is None:
        kind = "a trusted project, where it must" if candidate.trusted else "a project of users, where it need not"
        return not candidate.trusted, f"it names no image, in {kind}"
    return recorded == image_id, f"it was written as image {said(recorded)}; this is image {said(image_id)}"


def _volume_not_encrypted(candidate: CloneCandidate) -> tuple[bool, str]:
    encrypted = candidate.volume.encrypted
    return encrypted is False, answered(encrypted, "it is encrypted", "it is not encrypted")


def _volume_settled(candidate: CloneCandidate) -> tuple[bool, str]:
    status = candidate.volume.migration_status
    return status in _SETTLED, f"its migration status is {said(status or 'none')}"


def _volume_fits(candidate: CloneCandidate) -> tuple[bool, str]:
    source, target = candidate.volume.size_gib, candidate.request.target.size_gib
    return source <= target, f"it has {source} GiB and the new volume {target} GiB"


def _volume_holds_image(candidate: CloneCandidate) -> tuple[bool, str]:
    record, size_bytes = candidate.record, candidate.request.image.size_bytes
    if isinstance(record, UnreadMetadata):
        return False, str(record)
    if size_bytes is not None and size_bytes > candidate.volume.size_gib * GIB:
        return False, f"it has {candidate.volume.size_gib} GiB, too little for the image's {amount(size_bytes, 'byte')}"
    recorded = record.size_bytes if record else None
    if recorded is None:
        return True, "it records no size"
    return recorded == size_bytes, f"it records {amount(recorded, 'byte')} and the image has {said(size_bytes)}"


def _signature_satisfied(candidate: CloneCandidate) -> tuple[bool, str]:
    request, record = candidate.request, candidate.record
    if not request.settings.enforce_signatures:
        return True, "signatures are not enforced"
    if not any(key in request.image.properties for key in SIGNATURE_PROPERTIES):
        return True, "the image is not signed"
    verified = candidate.own_record and isinstance(record, ImageVolumeMetadata) and record.signature_verified is True
    return (
        verified,
        f"the image is signed, and {'a' if verified else 'no'} trusted record says that this volume was verified",
    )


# The words that the sentences are made of.


def _backend(host: str) -> str:
    return host.partition("#")[0]


# The tables.
_SPEC = "[clone]"
STRICT_REQUEST_RULES: tuple[Requirement[CloneRequest], ...] = (
    Requirement(
        id="cinder-urls-allowed",
        text="`cinder` is in `allowed_direct_url_schemes`",
        source=_SPEC,
        holds=cinder_urls_allowed,
    ),
    Requirement(id="image-active", text="the image is active", source=_SPEC, holds=image_active),
    Requirement(id="image-raw", text="its disk format is raw", source=_SPEC, holds=image_raw),
    Requirement(id="image-bare", text="its container format is bare", source=_SPEC, holds=image_bare),
    Requirement(
        id="image-not-encrypted",
        text="the image has no encryption key",
        source=_SPEC,
        holds=_image_not_encrypted,
    ),
    Requirement(
        id="target-not-encrypted",
        text="the new volume is known not to be encrypted",
        source=_SPEC,
        holds=_target_not_encrypted,
    ),
    Requirement(
        id="image-fits",
        text="the image, as stored, as a disk, and its min_disk, fits the new volume",
        source=_SPEC,
        holds=_image_fits,
    ),
    Requirement(
        id="has-cinder-location",
        text="a location of the image names a volume",
        source=f"{_SPEC} [multi]",
        holds=has_cinder_location,
    ),
)
STRICT_VOLUME_RULES: tuple[Requirement[CloneCandidate], ...] = (
    Requirement(id="volume-found", text="the volume exists", source=_SPEC, holds=volume_found, gate=True),
    Requirement(
        id="volume-available",
        text="it is available, or in use and read-only",
        source=_SPEC,
        holds=_volume_available,
    ),
    Requirement(
        id="volume-same-backend",
        text="it is in the cluster of the new volume if that has one, else in its pool; in any pool of the backend "
        "where the backend clones across pools",
        source=_SPEC,
        holds=_volume_same_backend,
    ),
    Requirement(
        id="volume-owner",
        text="the image belongs to the volume's owner. In a trusted project, that is the project in its `image_owner`; "
        "elsewhere it is the volume's own project. A volume of a trusted project also passes if it names the image, is "
        "read-only and is not a clone",
        source=f"{_SPEC} OSSN-0065",
        holds=_volume_owner,
    ),
    Requirement(
        id="volume-is-this-image",
        text="its metadata names this image; outside the trusted projects it can also name no image",
        source=_SPEC,
        holds=_volume_is_this_image,
    ),
    Requirement(
        id="volume-not-encrypted",
        text="it is known not to be encrypted",
        source=_SPEC,
        holds=_volume_not_encrypted,
    ),
    Requirement(id="volume-settled", text="it is not migrating", source=_SPEC, holds=_volume_settled),
    Requirement(id="volume-fits", text="it is not larger than the new volume", source=_SPEC, holds=_volume_fits),
    Requirement(
        id="volume-holds-image",
        text="it has room for the image, and the size it records, if any, is the image's",
        source=f"{_SPEC} [store]",
        holds=_volume_holds_image,
    ),
    Requirement(
        id="signature-satisfied",
        text="where signatures are enforced, a signed image was verified when the volume was written",
        source=_SPEC,
        holds=_signature_satisfied,
    ),
)
