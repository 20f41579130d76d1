"""The metadata by which a template is known among volumes, both ways ([template]).

They say which image it is and what was known of the image when it was written, by which `decide_freshness` tells
whether it still is.  They are not enough to trust a volume: Cinder copies a user's metadata onto the clones that it
makes in its internal tenant.  The driver trusts its own record in Cinder's admin metadata, which no user can write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from imagevol_core.caching import CacheEntry
from imagevol_core.errors import InvalidFact, InvalidMetadata
from imagevol_core.facts import Digest, Volume
from imagevol_core.marks.image import BLAKE3_KEY, blake3_of

__all__ = [
    "TEMPLATE_KEY",
    "TemplateMetadata",
    "is_proven_template",
    "is_template",
    "template_name",
    "template_proof",
]

TEMPLATE_KEY = "imagevol_template"
"""The key whose value is the id of the image that a template is of."""

_PROOF = "imagevol_template_of"
_UPDATED_AT = "imagevol_image_updated_at"
_LAST_USED = "imagevol_last_used"
_EXHAUSTED = "imagevol_exhausted"
_STALLED = "imagevol_stalled"
_HASH_ALGORITHM = "os_hash_algo"
_HASH_VALUE = "os_hash_value"


def template_name(image_id: str) -> str:
    """Give the name of the volume that is the template of an image ([template]).

    Args:
        image_id: the image's id.

    >>> template_name("e38f")
    'template-e38f'
    """
    return f"template-{image_id}"


def is_template(volume: Volume) -> bool:
    """Tell from what Cinder's API shows whether a volume of the internal tenant is a template ([template]).

    Its metadata must name an image, its name must be `template_name` of that image, and Cinder must not say that it was
    cloned from another volume.  Metadata is not enough: Cinder clones users' volumes into the internal tenant, with the
    metadata that the users wrote, for its image cache and for images that users make of volumes.  It names each such
    clone `image-IMAGE`, and only users of the internal tenant and administrators can rename it.

    A driver sees more, and asks `is_proven_template` before it clones a template for a user.

    Args:
        volume: of the internal tenant; the metadata and names of other projects' volumes are their users' word.

    >>> template = Volume(id="v", name="template-e38f", size_gib=1, metadata={"imagevol_template": "e38f"})
    >>> is_template(template)
    True
    >>> is_template(Volume(id="v", name="image-e38f", size_gib=1, metadata=template.metadata))
    False
    """
    image_id = volume.metadata.get(TEMPLATE_KEY)
    return _marked(volume) and image_id is not None and volume.name == template_name(image_id)


def _marked(volume: Volume) -> bool:
    return volume.source_volume_id is None and bool(volume.metadata.get(TEMPLATE_KEY))


def template_proof(*, volume_id: str, image_id: str) -> dict[str, str]:
    """Give the admin metadata by which a driver recognizes the template that it made.

    It names the volume itself, because Cinder copies admin metadata too when it clones or migrates a volume.

    Args:
        volume_id: the template.
        image_id: the image that it is of.

    >>> template_proof(volume_id="v", image_id="e38f")
    {'imagevol_template_of': 'volume v, image e38f'}
    """
    return {_PROOF: f"volume {volume_id}, image {image_id}"}


def is_proven_template(volume: Volume, *, admin_metadata: Mapping[str, str]) -> bool:
    """Tell whether a driver made a volume of Cinder's internal tenant as a template ([template]).

    Args:
        volume: of the internal tenant.
        admin_metadata: of the volume, which no user can write.

    >>> volume = Volume(id="v", size_gib=1, metadata={"imagevol_template": "e38f"})
    >>> is_proven_template(volume, admin_metadata=template_proof(volume_id="v", image_id="e38f"))
    True
    >>> is_proven_template(volume, admin_metadata=template_proof(volume_id="another", image_id="e38f"))
    False
    """
    if not _marked(volume):
        return False
    proof = template_proof(volume_id=volume.id, image_id=volume.metadata[TEMPLATE_KEY])
    return proof.items() <= admin_metadata.items()


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateMetadata:
    """The record of an image in the metadata of its template.

    Args:
        image_id: the image that it is of.
        image_updated_at: the `updated_at` of the image when the template was made, with a time zone.
        digest: the multihash of the image when the template was made.
        last_used: when the template was last cloned, or made, with a time zone.
        exhausted: whether the storage allows no more clones of it.
        stalled: whether a call of its device had not returned when its creator gave it up.
        blake3: the BLAKE3 of the image's bytes, from its beginning on; None if they were converted, or none was made.

    >>> from datetime import UTC
    >>> TemplateMetadata(image_id="e38f", last_used=datetime(2026, 1, 1, tzinfo=UTC)).to_volume()
    {'imagevol_template': 'e38f', 'imagevol_last_used': '2026-01-01T00:00:00+00:00'}
    """

    image_id: str
    image_updated_at: datetime | None = None
    digest: Digest | None = None
    last_used: datetime | None = None
    exhausted: bool = False
    stalled: bool = False
    blake3: Digest | None = None

    def to_volume(self, others: Mapping[str, str] = {}) -> dict[str, str]:
        """Give the metadata to write on the volume; what is not known is left out.

        Args:
            others: what else is on the volume, as a driver may have put there, and stays.
        """
        pairs = {
            TEMPLATE_KEY: self.image_id,
            _UPDATED_AT: self.image_updated_at.isoformat() if self.image_updated_at else None,
            _HASH_ALGORITHM: self.digest.algorithm if self.digest else None,
            _HASH_VALUE: self.digest.value if self.digest else None,
            _LAST_USED: self.last_used.isoformat() if self.last_used else None,
            _EXHAUSTED: "True" if self.exhausted else None,
            _STALLED: "True" if self.stalled else None,
            BLAKE3_KEY: self.blake3.value if self.blake3 else None,
        }
        return {key: value for key, value in ({**others, **pairs}).items() if value is not None}

    @classmethod
    def from_volume(cls, metadata: Mapping[str, str]) -> TemplateMetadata | None:
        """Read the metadata of a volume; None if it is no template.

        Raises:
            InvalidMetadata: a value cannot be what its key says.

        >>> TemplateMetadata.from_volume({"imagevol_template": "e38f"}).image_id
        'e38f'
        >>> TemplateMetadata.from_volume({"name": "disk"}) is None
        True
        """
        image_id = metadata.get(TEMPLATE_KEY)
        if not image_id:
            return None
        return cls(
            image_id=image_id,
            image_updated_at=_instant(metadata, _UPDATED_AT),
            digest=_digest(metadata),
            last_used=_instant(metadata, _LAST_USED),
            exhausted=_EXHAUSTED in metadata,
            stalled=_STALLED in metadata,
            blake3=blake3_of(metadata),
        )

    def entry(self, *, volume_id: str, size_gib: int, in_use: bool = False) -> CacheEntry:
        """Give it as what `decide_template` and `plan_admission` look at.

        Args:
            volume_id: the template.
            size_gib: its size.
            in_use: whether it is being cloned now.
        """
        return CacheEntry(
            volume_id=volume_id,
            image_id=self.image_id,
            size_gib=size_gib,
            image_updated_at=self.image_updated_at,
            digest=self.digest,
            last_used=self.last_used,
            in_use=in_use,
        )


def _instant(metadata: Mapping[str, str], key: str) -> datetime | None:
    text = metadata.get(key)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidMetadata(key, text[:40], "it is not an instant") from error
    if found.utcoffset() is None:
        raise InvalidMetadata(key, text[:40], "it has no time zone")
    return found


def _digest(metadata: Mapping[str, str]) -> Digest | None:
    algorithm, value = metadata.get(_HASH_ALGORITHM), metadata.get(_HASH_VALUE)
    if algorithm is None or value is None:
        return None
    try:
        return Digest(algorithm, value)
    except InvalidFact as error:
        raise InvalidMetadata(_HASH_VALUE, value[:40], error.reason) from error
