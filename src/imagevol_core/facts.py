"""What decisions are made from: values that adapters, tools and tests build, and that nothing changes.

A fact that is not known is `None`, never a made-up default: a rule must be able to tell "no" from "not told".  Sizes
name their unit, because Cinder counts GiB and Glance bytes.  Mappings are copied when a fact is
built, so a later change to the caller's own dict does not reach a decision.  Do not change the copies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from imagevol_core.errors import InvalidFact, InvalidSize

__all__ = [
    "PLAIN_FORMATS",
    "Backend",
    "Digest",
    "Image",
    "ImageLocation",
    "NoAnswer",
    "NotFound",
    "Requester",
    "Volume",
    "VolumeAnswer",
    "VolumeType",
    "needs_conversion",
]

_SHORT_DIGITS = 12  # of a digest, in a sentence

PLAIN_FORMATS = ("raw", "iso")
"""The disk formats of images whose data is the disk, so that nothing is converted."""


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest of an image's whole data, as Glance keeps it (`os_hash_algo`, `os_hash_value`).

    Both parts are compared in lower case: hex is hex.

    Args:
        algorithm: a name that hashlib knows, such as `sha512`.
        value: hexadecimal.

    Raises:
        InvalidFact: the value is not hexadecimal, or one part is empty.

    >>> Digest("SHA256", "ABCD") == Digest("sha256", "abcd")
    True
    >>> print(Digest("md5", "0f"))
    md5:0f
    """

    algorithm: str
    value: str

    def __post_init__(self) -> None:
        """Bring both parts to one spelling."""
        if not self.algorithm:
            raise InvalidFact("Digest.algorithm", "is empty: name the algorithm, such as sha512")
        if not self.value or not set(self.value) <= set("0123456789abcdefABCDEF"):
            raise InvalidFact("Digest.value", f"{self.value!r} is not hexadecimal")
        object.__setattr__(self, "algorithm", self.algorithm.lower())
        object.__setattr__(self, "value", self.value.lower())

    def __str__(self) -> str:
        """The usual `algorithm:value`."""
        return f"{self.algorithm}:{self.value}"

    @property
    def short(self) -> str:
        """What a sentence shows of it; a long value is cut after 12 digits.

        >>> Digest("md5", "d41d8cd98f00b204e9800998ecf8427e").short
        'md5:d41d8cd98f00...'
        """
        value = self.value if len(self.value) <= _SHORT_DIGITS else f"{self.value[:_SHORT_DIGITS]}..."
        return f"{self.algorithm}:{value}"


@dataclass(frozen=True, slots=True)
class ImageLocation:
    """One place where the data of an image is, as Glance lists it.

    Args:
        url: any URL; `parse_location` says which volume it names.
        metadata: Glance's; `metadata["store"]` names the store.
    """

    url: str
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Keep a copy of the mapping."""
        object.__setattr__(self, "metadata", dict(self.metadata))


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image, as Glance shows it.

    Args:
        id: its UUID.
        name: what its owner calls it; any text.
        status: `active`, `queued`, …
        owner: the id of the project that owns it.
        visibility: `public`, `private`, `shared` or `community`.
        disk_format: `raw`, `qcow2`, …
        container_format: `bare`, …
        size_bytes: the size of the stored data, in bytes; None if it is not known.
        virtual_size_bytes: the size of the disk in it, in bytes; None if it is not known.
        min_disk_gib: the smallest disk that it can be used on, in GiB.
        created_at: with a time zone; a volume that is older does not hold it.
        updated_at: when it was last changed, with a time zone.
        digest: the multihash; None if Glance has none.
        locations: in Glance's order; empty also if the requester cannot see them.
        properties: the additional ones, `cinder_encryption_key_id` and `img_signature` among them.

    Raises:
        InvalidSize: a size is negative.
        InvalidFact: a time has no time zone, so that it names no instant.
    """

    id: str
    name: str | None = None
    status: str | None = None
    owner: str | None = None
    visibility: str | None = None
    disk_format: str | None = None
    container_format: str | None = None
    size_bytes: int | None = None
    virtual_size_bytes: int | None = None
    min_disk_gib: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    digest: Digest | None = None
    locations: tuple[ImageLocation, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Refuse what no image can be, and keep copies."""
        _not_negative("Image.size_bytes", self.size_bytes)
        _not_negative("Image.virtual_size_bytes", self.virtual_size_bytes)
        _not_negative("Image.min_disk_gib", self.min_disk_gib)
        _instant("Image.created_at", self.created_at)
        _instant("Image.updated_at", self.updated_at)
        object.__setattr__(self, "locations", tuple(self.locations))
        object.__setattr__(self, "properties", dict(self.properties))


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume, as Cinder shows it to an administrator.

    Args:
        id: its UUID.
        name: its name, which the users of its project can change; None if it is not known.
        project_id: the project that it lives in.
        host: `host@backend#pool`.
        cluster_name: `cluster@backend#pool`, if Cinder runs active-active.
        size_gib: its size, in GiB.
        status: `available`, `in-use`, `error`, …
        volume_type: the name of its type.
        encrypted: whether its bytes are ciphertext.
        migration_status: as Cinder shows it; None if it never migrated.
        readonly: whether it is marked so that no attachment may write to it.
        multiattach: whether it may have several attachments at the same time.
        source_volume_id: the volume that it was cloned from; where Cinder clones one for itself, the metadata is that
            of that volume, and so its user's word.
        metadata: the user-visible ones, which the users of its project can write.
        created_at: with a time zone; Cinder prefers the newest of several image volumes.
        updated_at: with a time zone, when Cinder changed what it says of it; None if that is not known, or never.

    Raises:
        InvalidSize: the size is negative.
        InvalidFact: `created_at` or `updated_at` has no time zone.
    """

    id: str
    name: str | None = None
    project_id: str | None = None
    host: str | None = None
    cluster_name: str | None = None
    size_gib: int
    status: str | None = None
    volume_type: str | None = None
    encrypted: bool | None = None
    migration_status: str | None = None
    readonly: bool | None = None
    multiattach: bool | None = None
    source_volume_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    created_at: datetime | None = None
    updated_at: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse what no volume can be, and keep a copy."""
        _not_negative("Volume.size_gib", self.size_gib)
        _instant("Volume.created_at", self.created_at)
        _instant("Volume.updated_at", self.updated_at)
        object.__setattr__(self, "metadata", dict(self.metadata))


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What a Cinder backend can do.

    Args:
        clone_across_pools: whether it clones from one of its pools into another (Cinder's capability of that name).
    """

    clone_across_pools: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeType:
    """A volume type.

    Args:
        name: as operators configure it.
        extra_specs: `image_service:store_id` and `volume_backend_name` among them.
    """

    name: str
    extra_specs: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Keep a copy of the mapping."""
        object.__setattr__(self, "extra_specs", dict(self.extra_specs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """The project and the user of a request.

    Args:
        project_id: the project that the request is made in.
        user_id: the user.
        roles: the roles in that project.
    """

    project_id: str | None = None
    user_id: str | None = None
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class NotFound:
    """The service says that there is no such volume or image, or that these credentials cannot see it."""


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """No answer from the service: the volume, or the image, may exist or not.

    Args:
        reason: why there is no answer, in a phrase without credentials; it is shown.
    """

    reason: str


VolumeAnswer = str | NotFound | NoAnswer | None
"""What Cinder says of the type of a volume; the name of the type, or None for a volume without one."""


def needs_conversion(disk_format: str | None) -> bool:
    """Tell whether an image of this format must be converted before its data is a disk.

    >>> [needs_conversion(disk_format) for disk_format in ("raw", "iso", "qcow2", None)]
    [False, False, True, True]
    """
    return disk_format not in PLAIN_FORMATS


def _not_negative(name: str, value: int | None) -> None:
    if value is not None and value < 0:
        raise InvalidSize(name, value, "give a size of 0 or more, or None where it is not known")


def _instant(name: str, value: datetime | None) -> None:
    if value is not None and value.utcoffset() is None:
        raise InvalidFact(name, f"{value.isoformat()} has no time zone; give one, such as datetime.UTC")


def refuse_text(name: str, value: object) -> None:
    """Refuse one text where several are wanted: it would be taken for its letters.

    Raises:
        InvalidFact: it is a text.

    >>> refuse_text("CloneSettings.trusted_projects", "p")
    Traceback (most recent call last):
    imagevol_core.errors.InvalidFact: CloneSettings.trusted_projects: it is the text 'p'; give a collection of texts
    """
    if isinstance(value, str):
        raise InvalidFact(name, f"it is the text {value[:40]!r}; give a collection of texts")
