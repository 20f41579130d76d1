"""The metadata written on an image volume, both ways ([store]).

The specification writes `image_id`, `image_owner` and `image_size`; glance_store and Cinder write `glance_image_id`
instead of `image_id`, and Cinder no size.  We write both ids, and beside them the digests, so that a volume that was
altered can be told without asking Glance.  On a volume of a user these are a user's word: whether they count is for the
rule that reads them to say.  `decide_recorded` says when the BLAKE3 counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from imagevol_core.errors import InvalidFact, InvalidMetadata
from imagevol_core.facts import Digest

__all__ = [
    "ImageVolumeMetadata",
    "UnreadMetadata",
    "read_metadata",
]

_IMAGE_IDS = ("glance_image_id", "image_id")
_OWNER = "image_owner"
_SIZE = "image_size"
_HASH_ALGORITHM = "os_hash_algo"
_HASH_VALUE = "os_hash_value"
_CHECKSUM = "checksum"
BLAKE3_KEY = "imagevol_blake3"
_BLAKE3_DIGITS = 64
_SIGNATURE = "signature_verified"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageVolumeMetadata:
    """The record of an image in the metadata of its volume.

    Args:
        image_id: the image.
        image_owner: the project that owns the image, wherever the volume lives.
        size_bytes: the size of the image, in bytes; the volume is often larger.
        digest: the multihash of those bytes.
        checksum: the md5 of those bytes, which Glance keeps too.
        signature_verified: whether the image's signature was checked when the bytes were written.
        blake3: the BLAKE3 of those bytes, of which Glance knows nothing; it is verified many times faster.

    >>> ImageVolumeMetadata(image_id="e38f", image_owner="b58f", size_bytes=228599296).to_volume()
    {'glance_image_id': 'e38f', 'image_id': 'e38f', 'image_owner': 'b58f', 'image_size': '228599296'}
    """

    image_id: str | None = None
    image_owner: str | None = None
    size_bytes: int | None = None
    digest: Digest | None = None
    checksum: str | None = None
    signature_verified: bool | None = None
    blake3: Digest | None = None

    def to_volume(self) -> dict[str, str]:
        """Give the metadata to write on the volume; what is not known is left out."""
        pairs: dict[str, str | None] = {
            **dict.fromkeys(_IMAGE_IDS, self.image_id),
            _OWNER: self.image_owner,
            _SIZE: None if self.size_bytes is None else str(self.size_bytes),
            _HASH_ALGORITHM: self.digest.algorithm if self.digest else None,
            _HASH_VALUE: self.digest.value if self.digest else None,
            _CHECKSUM: self.checksum,
            _SIGNATURE: None if self.signature_verified is None else str(self.signature_verified),
            BLAKE3_KEY: self.blake3.value if self.blake3 else None,
        }
        return {key: value for key, value in pairs.items() if value is not None}

    @classmethod
    def from_volume(cls, metadata: Mapping[str, str]) -> ImageVolumeMetadata:
        """Read the metadata of a volume, written by Cinder, by glance_store or by this project.

        Args:
            metadata: all of a volume's; the keys that are not about an image are passed over.

        Raises:
            InvalidMetadata: they contradict themselves, or a value cannot be what its key says.

        >>> ImageVolumeMetadata.from_volume({"glance_image_id": "e38f", "image_size": "17"}).size_bytes
        17
        >>> ImageVolumeMetadata.from_volume({"image_size": "lots"})
        Traceback (most recent call last):
        imagevol_core.errors.InvalidMetadata: volume metadata image_size='lots': it is not a number of bytes
        """
        ids = {metadata[key] for key in _IMAGE_IDS if key in metadata}
        if len(ids) > 1:
            glance_id, image_id = (metadata[key] for key in _IMAGE_IDS)
            raise InvalidMetadata("image_id", image_id, f"glance_image_id names another image, {glance_id!r}")
        return cls(
            image_id=next(iter(ids), None),
            image_owner=metadata.get(_OWNER),
            size_bytes=_bytes(metadata.get(_SIZE)),
            digest=_digest(metadata.get(_HASH_ALGORITHM), metadata.get(_HASH_VALUE)),
            checksum=metadata.get(_CHECKSUM),
            signature_verified=_truth(metadata.get(_SIGNATURE)),
            blake3=blake3_of(metadata),
        )


@dataclass(frozen=True, slots=True)
class UnreadMetadata:
    """Metadata of a volume that contradicts itself, or holds a value that cannot be what its key says.

    Attributes:
        text: what is wrong with it, as a sentence.
    """

    text: str

    def __str__(self) -> str:
        """What is wrong with it."""
        return self.text


def read_metadata(metadata: Mapping[str, str]) -> ImageVolumeMetadata | UnreadMetadata:
    """Read the metadata of a volume, or say why it cannot be read; nothing is raised.

    >>> str(read_metadata({"image_size": "lots"}))
    "volume metadata image_size='lots': it is not a number of bytes"
    """
    try:
        return ImageVolumeMetadata.from_volume(metadata)
    except InvalidMetadata as error:
        return UnreadMetadata(str(error))


def blake3_of(metadata: Mapping[str, str]) -> Digest | None:
    """Read the BLAKE3 that the metadata of a volume records; None if it records none.

    Raises:
        InvalidMetadata: the value is no BLAKE3.
    """
    value = metadata.get(BLAKE3_KEY)
    if value is None:
        return None
    if len(value) != _BLAKE3_DIGITS:
        raise InvalidMetadata(BLAKE3_KEY, value[:_BLAKE3_DIGITS], f"a BLAKE3 has {_BLAKE3_DIGITS} digits")
    try:
        return Digest("blake3", value)
    except InvalidFact as error:
        raise InvalidMetadata(BLAKE3_KEY, value, error.reason) from error


def _bytes(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 20:  # 2**64 has 20 digits
        raise InvalidMetadata(_SIZE, text[:40], "it is not a number of bytes")
    return int(text)


def _digest(algorithm: str | None, value: str | None) -> Digest | None:
    if algorithm is None or value is None:
        return None
    try:
        return Digest(algorithm, value)
    except InvalidFact as error:
        raise InvalidMetadata(_HASH_VALUE, value, error.reason) from error


def _truth(text: str | None) -> bool | None:
    words = {"true": True, "false": False}
    if text is None:
        return None
    if text.lower() not in words:
        raise InvalidMetadata(_SIGNATURE, text, "it is neither True nor False")
    return words[text.lower()]
