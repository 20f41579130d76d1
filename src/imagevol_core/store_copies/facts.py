"""What the rules look at when an image is copied to another store, and what follows ([multi])."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import cast

from imagevol_core.facts import Image, ImageLocation, Volume, VolumeType
from imagevol_core.locations import CinderLocation, read_location
from imagevol_core.marks import ImageVolumeMetadata, UnreadMetadata, read_metadata
from imagevol_core.secret_text import shown_url
from imagevol_core.stores import Store, StoreCatalogue

__all__ = [
    "SHOW_LOCATIONS",
    "CloneLeft",
    "CloneSource",
    "KeptCopy",
    "StoreCopyFacts",
    "StoreCopyStep",
    "StoreCopyWay",
    "Verification",
    "VerificationFacts",
    "VerifyWish",
    "WayFacts",
    "place_in_store",
    "volume_in_store",
    "volumes_in_store",
]

SHOW_LOCATIONS = "set show_multiple_locations = true in the glance-api.conf of an endpoint that only operators reach"


class StoreCopyWay(Enum):
    """How the data of an image comes to be in another store as well.

    `CLONE`: Cinder clones the image volume, and Glance is told of the clone.  `IMPORT`: Glance copies the data by its
    import method `copy-image`.
    """

    NOTHING = "nothing"
    CLONE = "clone"
    IMPORT = "import"
    REFUSED = "refused"


class Verification(Enum):
    """How it is made sure that a copy is the image, before another copy is deleted.

    `READ`: this host reads the image volume and compares the digest.  `WRITTEN`: Glance compared size, md5 and
    multihash when it wrote the copy.  `KNOWN`: nothing is done, because it was verified before, or the other copy was
    made from it, and it cannot be read, or the operator relies on it.
    """

    READ = "read"
    WRITTEN = "written"
    KNOWN = "known"
    REFUSED = "refused"


class VerifyWish(Enum):
    """How the operator wants copies verified; `AUTO` reads what Glance has not written."""

    AUTO = "auto"
    READ = "read"
    GLANCE = "glance"


class StoreCopyStep(Enum):
    """What is done, in the order of a plan's steps."""

    CLONE = "clone"
    IMPORT = "import"
    READ = "read"
    COMPARE = "compare"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCopyFacts:
    """An image, the stores, and the store that a copy is wanted in.

    Args:
        image: as a list of images gives it.
        stores: the stores that Glance says the image is in.
        to_store: the store that the copy is wanted in.
        catalogue: today's stores.
        locations_shown: whether Glance shows locations, and so lets them be changed (`show_multiple_locations`).
        import_methods: what Glance offers; None if it does not say.
        volumes: the volumes that the locations name, as far as Cinder shows them, by id.
        volume_types: the types of these volumes and of the store's, as far as Cinder shows them, by name.
        encrypted_types: the names of those of them whose volumes are encrypted.
        project_id: the project of the credentials, in which a clone is created.
        move: whether another copy is deleted afterwards.
        from_store: the store whose copy that is; None for the only other store that the image is in.
        wish: how the operator wants the copy verified, if another one is deleted.
        made: how the copy in `to_store` was made, if it was made for this.
        known_good: whether the copy in `to_store` was verified before, or the one in `from_store` was made from it.
        named_by: the other images whose locations name a volume of the copy that is deleted, by the volume's id.
    """

    image: Image
    stores: tuple[str, ...]
    to_store: str
    catalogue: StoreCatalogue
    locations_shown: bool = False
    import_methods: frozenset[str] | None = None
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    volume_types: Mapping[str, VolumeType] = field(default_factory=dict)
    encrypted_types: frozenset[str] = frozenset()
    project_id: str | None = None
    move: bool = False
    from_store: str | None = None
    wish: VerifyWish = VerifyWish.AUTO
    made: StoreCopyWay | None = None
    known_good: bool = False
    named_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def others(self) -> tuple[str, ...]:
        """The other stores that the image is in."""
        return tuple(store for store in self.stores if store != self.to_store)

    @property
    def leaves(self) -> str | None:
        """The store whose copy is deleted afterwards; None if none is, or several could be meant."""
        if not self.move or self.from_store is not None:
            return self.from_store if self.move else None
        return self.others[0] if len(self.others) == 1 else None

    @property
    def removes(self) -> bool:
        """Whether a copy that there is, is deleted afterwards."""
        return self.leaves is not None and self.leaves in self.stores

    @property
    def removed(self) -> str | None:
        """The store whose copy is deleted afterwards; None if the image is not there."""
        return self.leaves if self.removes else None

    @property
    def store(self) -> Store:
        """The store that the copy is wanted in, for the rules after the one that asks for it."""
        return cast(Store, self.catalogue.get(self.to_store))

    @property
    def store_type(self) -> str | None:
        """The name of the type of the store's volumes."""
        return self.store.volume_type or self.catalogue.default_volume_type


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneSource:
    """An image volume that could be cloned.

    Attributes:
        facts: of the copy.
        volume_id: which volume a location names.
    """

    facts: StoreCopyFacts
    volume_id: str

    @property
    def found(self) -> Volume | None:
        """The volume; None if Cinder shows none."""
        return self.facts.volumes.get(self.volume_id)

    @property
    def volume(self) -> Volume:
        """The volume, for the rules after the one that asks for it."""
        return cast(Volume, self.found)

    @property
    def record(self) -> ImageVolumeMetadata | UnreadMetadata:
        """What the volume says of its image."""
        return read_metadata(self.volume.metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class WayFacts:
    """What the ways are chosen by.

    Attributes:
        facts: of the copy.
        faults: what stands against any copy, as a sentence; empty if nothing does.
        clone_faults: what stands against a clone of each volume that was looked at.
        import_faults: what stands against Glance's own copy.
        source: the image volume that can be cloned; None if none can.
        unverified: why a clone could not be verified; None if it can, or need not be.
    """

    facts: StoreCopyFacts
    faults: str
    clone_faults: str
    import_faults: str
    source: str | None
    unverified: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationFacts:
    """A copy that must be verified before another one is deleted.

    Args:
        image: whose copy.
        store: the store that it is in; None if it is not configured.
        way: how it came there; `NOTHING` if it was there before.
        wish: what the operator wants.
        locations_shown: whether Glance shows which volume it is.
        known_good: whether an earlier run verified it, or the copy that is deleted was made from it.
        there_before: whether the copy was there when this run began: it may have been changed since it was made.
    """

    image: Image
    store: Store | None
    way: StoreCopyWay
    wish: VerifyWish = VerifyWish.AUTO
    locations_shown: bool = False
    known_good: bool = False
    there_before: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCopy:
    """An image right before Glance is told to delete its data in one store.

    Args:
        image: as it is now.
        stores: the stores that it is in now.
        kept: the store whose copy must remain.
        removed: the store whose copy is deleted.
        planned: the image as it was when the copy was planned; None if that is not known.
        verified: whether the kept copy was verified.
        verified_place: where the copy was that was verified, as `place_in_store` gives it; None if that is not known.
        locations_shown: whether Glance shows the locations.
        volumes: the volumes that the locations name, as far as Cinder shows them now, by id.
        named_by: the other images whose locations name a volume of the copy that is deleted, by the volume's id.
    """

    image: Image
    stores: tuple[str, ...]
    kept: str
    removed: str
    planned: Image | None = None
    verified: bool
    verified_place: str | None = None
    locations_shown: bool = False
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    named_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneLeft:
    """A clone that a journal has made, before it is deleted because no location needs it.

    Args:
        image_id: the image that it was made for.
        volume_id: the clone.
        locations_shown: whether Glance shows the locations of the image, or the image is deleted.
        registered: whether it was seen in a location of the image before.
        named_by: the images whose locations name it.
        source: the volume that it is a clone of; None if it is none.
        cloned: the volumes that the journal has cloned for the image.
    """

    image_id: str
    volume_id: str
    locations_shown: bool
    registered: bool = False
    named_by: tuple[str, ...] = ()
    source: str | None = None
    cloned: tuple[str, ...] = ()


def volume_in_store(store: str, locations: tuple[ImageLocation, ...]) -> str | None:
    """Give the volume that a location in a store names; None if no location names one.

    >>> volume_id = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
    >>> volume_in_store("fast", (ImageLocation(f"cinder://fast/{volume_id}", {"store": "fast"}),))
    '9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1'
    """
    return next(iter(volumes_in_store(store, locations)), None)


def volumes_in_store(store: str | None, locations: tuple[ImageLocation, ...]) -> tuple[str, ...]:
    """Give each volume that a location in a store names.

    >>> volume_id = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
    >>> volumes_in_store("fast", (ImageLocation(f"cinder://slow/{volume_id}", {"store": "slow"}),))
    ()
    """
    named = (read_location(each.url) for each in locations if each.metadata.get("store") == store)
    return tuple(dict.fromkeys(each.volume_id for each in named if isinstance(each, CinderLocation)))


def place_in_store(store: str, locations: tuple[ImageLocation, ...]) -> str | None:
    """Say where the data of an image is in a store, without credentials; None if no location is in the store.

    >>> place_in_store("files", (ImageLocation("file:///images/i", {"store": "files"}),))
    'file:///images/i'
    """
    if (volume_id := volume_in_store(store, locations)) is not None:
        return f"volume {volume_id}"
    return next((shown_url(each.url) for each in locations if each.metadata.get("store") == store), None)
