"""What an audit looks at, and the words of its findings: subjects, how sure it is, the steps of a repair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Generic, cast

from imagevol_core.caching import CacheEntry
from imagevol_core.errors import InvalidFact, InvalidSize
from imagevol_core.facts import Digest, Image, Volume
from imagevol_core.sizing import GIB
from imagevol_core.stores import StoreCatalogue
from imagevol_core.templates import Template
from imagevol_core.verdicts import Facts, Requirement

__all__ = [
    "AuditRule",
    "AuditSettings",
    "AuditedAttachment",
    "Certainty",
    "Claim",
    "ClaimedVolume",
    "DeepCheck",
    "Entry",
    "Held",
    "ImageVolume",
    "Repair",
    "RepairAction",
    "RepairStep",
    "Sharing",
    "Subject",
    "Templated",
    "Watched",
    "recorded_image",
]


class Certainty(Enum):
    """How sure a finding is.

    `SURE` rests on nothing but what was told; `LIKELY` on something that was not, and has to be looked at again first.
    """

    SURE = "sure"
    LIKELY = "likely"


class RepairAction(Enum):
    """What a step of a repair does to its subject; the arguments say with what."""

    LOOK_AGAIN = "look-again"  # and go on only if it is still so
    CLONE_VOLUME = "clone-volume"
    CREATE_TEMPLATE = "create-template"
    DEACTIVATE_IMAGE = "deactivate-image"
    DELETE_ATTACHMENT = "delete-attachment"
    DELETE_CACHE_ENTRY = "delete-cache-entry"
    DELETE_FILE = "delete-file"
    DELETE_IMAGE = "delete-image"
    DELETE_VOLUME = "delete-volume"
    DISCONNECT = "disconnect"
    RELEASE_HOLD = "release-hold"
    REMOVE_LOCATION = "remove-location"
    SET_LOCATION = "set-location"
    SET_METADATA = "set-metadata"
    SET_READ_ONLY = "set-read-only"
    SET_WRITABLE = "set-writable"
    ZERO_TAIL = "zero-tail"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a finding or a step is about.

    Args:
        kind: `image`, `volume`, `attachment`, `cache-entry`, `file`.
        id: its id; of a cache entry, the volume's; of a file, its host and its path.
    """

    kind: str
    id: str

    def as_dict(self) -> dict[str, str]:
        """Give it as JSON has it."""
        return {"kind": self.kind, "id": self.id}

    def __str__(self) -> str:
        """Both, as a person would say it."""
        return f"{self.kind} {self.id}"


@dataclass(frozen=True, slots=True)
class RepairStep:
    """One step of a repair; the steps are taken in order, and one that fails ends the repair.

    Args:
        action: what is done.
        subject: to what.
        arguments: with what, as pairs.
    """

    action: RepairAction
    subject: Subject
    arguments: tuple[tuple[str, str], ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Give it as JSON has it.

        >>> RepairStep(RepairAction.SET_METADATA, Subject("volume", "v"), (("image_size", "5"),)).as_dict()
        {'action': 'set-metadata', 'subject': {'kind': 'volume', 'id': 'v'}, 'arguments': {'image_size': '5'}}
        """
        return {
            "action": self.action.value,
            "subject": self.subject.as_dict(),
            "arguments": dict(self.arguments),
        }

    def __str__(self) -> str:
        """The step on one line, without a word twice.

        >>> print(RepairStep(RepairAction.DELETE_VOLUME, Subject("volume", "v")))
        delete-volume v
        >>> print(RepairStep(RepairAction.RELEASE_HOLD, Subject("volume", "v")))
        release-hold volume v
        """
        subject = self.subject.id if self.action.value.endswith(f"-{self.subject.kind}") else str(self.subject)
        return " ".join([self.action.value, subject, *(f"{key}={value!r}" for key, value in self.arguments)])


Repair = tuple[RepairStep, ...]


def refuse_zoneless(name: str, value: datetime) -> None:
    """Refuse a time that names no instant."""
    if value.utcoffset() is None:
        raise InvalidFact(name, f"{value.isoformat()} has no time zone; give one")


def never_known(_facts: object) -> None:
    """Say that no fact tells when a finding began."""


def nothing(_facts: object) -> int:
    """Say that a repair gives no storage back."""
    return 0


def alone(_facts: object) -> tuple[Subject, ...]:
    """Say that nothing decides but what a finding names."""
    return ()


def the_only_one(_facts: object) -> str:
    """Say that no other finding of the kind has the same subjects."""
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRule(Requirement[Facts], Generic[Facts]):
    """A row that can be found broken.

    Attributes:
        subjects: what a finding names.
        doubt: why it is only likely, as the end of a sentence; empty where all that the predicate rests on was told.
        repair: what would mend it; no step where a person has to decide.
        since: when it began, as far as the facts say.
        reclaims: how many bytes the storage gives back when it is mended.
        related: what else decided, and must be looked at to look again.
        url: what tells two findings of the same subjects apart; empty for the first of them.
    """

    subjects: Callable[[Facts], tuple[Subject, ...]]
    doubt: Callable[[Facts], str]
    repair: Callable[[Facts], Repair]
    since: Callable[[Facts], datetime | None] = never_known
    reclaims: Callable[[Facts], int] = nothing
    related: Callable[[Facts], tuple[Subject, ...]] = alone
    url: Callable[[Facts], str] = the_only_one


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedAttachment:
    """An attachment of a volume, as Cinder lists it.

    Args:
        id: its own.
        volume_id: what is attached.
        host: to which host.
        alive: whether its user still has it in use; None where that is not known.
        attached_at: when it was made, with a time zone; None where that is not known.

    Raises:
        InvalidFact: `attached_at` has no time zone.
    """

    id: str
    volume_id: str
    host: str | None = None
    alive: bool | None = None
    attached_at: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse a time that names no instant."""
        if self.attached_at is not None:
            refuse_zoneless("AuditedAttachment.attached_at", self.attached_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepCheck:
    """What reading an image volume from end to end gave.

    Args:
        volume_id: which volume.
        size_bytes: how many bytes of it were taken for the image.
        digest: of those.
        recorded: the BLAKE3 in the volume's metadata that they must have, where it was believed in place of the
            multihash.
        tail_is_zero: whether all bytes after them are zero; None where they were not read.

    Raises:
        InvalidSize: the size is negative.
    """

    volume_id: str
    size_bytes: int
    digest: Digest | None = None
    recorded: Digest | None = None
    tail_is_zero: bool | None = None

    def __post_init__(self) -> None:
        """Refuse what no check can have read."""
        if self.size_bytes < 0:
            raise InvalidSize("DeepCheck.size_bytes", self.size_bytes, "give a size of 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """What the operator says of the cloud and of the listings.

    Args:
        now: the time of the audit, with a time zone.
        stuck_after: how long an image may be in the making.
        trusted_projects: ids of the projects in which no user can write a volume's metadata.
        images_complete: whether `images` is every image there is.
        volumes_complete: whether `volumes` is every volume there is.
        delayed_delete: whether Glance keeps the data of a deleted image for a time, as `delayed_delete` says.
        shown: what a listing of the whole cloud has shown, as `audit` gives it; for an audit of a part of the cloud.
        only_glance: whether no other Glance has volumes or templates in the trusted projects.

    Raises:
        InvalidFact: `now` has no time zone.
    """

    now: datetime
    stuck_after: timedelta = timedelta(days=1)
    trusted_projects: frozenset[str] = frozenset()
    images_complete: bool = False
    volumes_complete: bool = False
    delayed_delete: bool = False
    shown: frozenset[str] = frozenset()
    only_glance: bool = False

    def __post_init__(self) -> None:
        """Refuse a time that names no instant."""
        refuse_zoneless("AuditSettings.now", self.now)


_RECORDS = ("glance_image_id", "image_id")


def recorded_image(volume: Volume) -> str | None:
    """Give the id of the image that a volume says it holds; None if it says nothing.

    >>> recorded_image(Volume(id="v", size_gib=1, metadata={"glance_image_id": "e38f"}))
    'e38f'
    """
    return next((volume.metadata[key] for key in _RECORDS if volume.metadata.get(key)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is known of a location that names a volume."""

    image_id: str
    owner: str | None
    size_bytes: int | None
    digest: Digest | None
    url: str
    url_store: str | None
    said_store: str | None
    others: int
    visibility: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedVolume:
    """A location and the volume that it names."""

    claim: Claim
    volume_id: str
    found: Volume | None
    check: DeepCheck | None
    catalogue: StoreCatalogue | None
    settings: AuditSettings
    all_lost: bool = False
    again: bool = False

    @property
    def volume(self) -> Volume:
        """The volume, for the rules after the gate `location-without-volume`."""
        return cast(Volume, self.found)

    @property
    def trusted(self) -> bool:
        """Whether the volume's metadata is more than a user's word."""
        return self.volume.project_id in self.settings.trusted_projects

    @property
    def too_small(self) -> bool:
        """Whether the image cannot be in the volume as a whole."""
        return self.claim.size_bytes is not None and self.claim.size_bytes > self.volume.size_gib * GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageVolume:
    """A volume that holds an image, or says so."""

    volume: Volume
    recorded: str | None
    claimed: bool
    kept: bool
    image_known: bool
    image_settled: bool
    all_read: bool
    check: DeepCheck | None
    settings: AuditSettings
    claimants: tuple[str, ...] = ()
    importing: bool = False
    named: int = 0

    @property
    def unchanged_for(self) -> timedelta | None:
        """How long before the audit Cinder changed what it says of it; None where that is not known."""
        changed = self.volume.updated_at or self.volume.created_at
        return None if changed is None else self.settings.now - changed

    @property
    def age(self) -> timedelta | None:
        """How long before the audit it was created; None where that is not known."""
        return None if self.volume.created_at is None else self.settings.now - self.volume.created_at

    @property
    def settled(self) -> bool:
        """Whether it is older than what may be in the making."""
        return self.age is not None and self.age > self.settings.stuck_after

    @property
    def read(self) -> DeepCheck:
        """What was read of it, for the repair of what only reading finds."""
        return cast(DeepCheck, self.check)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """A volume and the images whose locations name it, in the order of their ids."""

    volume_id: str
    claims: tuple[Claim, ...]
    recorded: str | None

    @property
    def image_ids(self) -> tuple[str, ...]:
        """Each image once."""
        return tuple(dict.fromkeys(claim.image_id for claim in self.claims))


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An attachment, and what is known of its volume."""

    attachment: AuditedAttachment
    holds_image: bool
    listed: bool
    settings: AuditSettings
    claimants: tuple[str, ...] = ()

    @property
    def volume_gone(self) -> bool:
        """Whether every volume was listed and this one was not."""
        return self.settings.volumes_complete and not self.listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A cache entry, and whether its volume was listed."""

    entry: CacheEntry
    listed: bool
    settings: AuditSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Templated:
    """A template, and its image if that was listed."""

    template: Template
    image: Image | None
    settings: AuditSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """An image at a time."""

    image: Image
    settings: AuditSettings
