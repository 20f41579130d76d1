"""Hypothesis strategies for stores and for the locations in them, hostile on purpose.

The names of stores are prefixes of each other, and of volume ids; types are shared, unknown or not set; locations are
of every age and spelling.  `migration_cases` draws all the facts of one image's migration, such that they have to do
with each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from imagevol_adapters.testing.strategies import location_texts
from imagevol_core import (
    Image,
    ImageLocation,
    LocationChange,
    NoAnswer,
    NotFound,
    Policy,
    Store,
    StoreCatalogue,
    VolumeAnswer,
    plan_image,
)

__all__ = ["MigrationCase", "image_locations", "migration_cases", "store_catalogues", "stores"]

VOLUME_IDS = (
    "1a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1",
    "c3d0f2a9-1b7e-4f58-b6c4-0e9d8a7f6b52",
    "2e8f4b6d-5a1c-4d9e-8f03-b7c6a5d4e3f2",
)
NAMES = ("fast", "fast2", "slow", "f", "1", "FAST", "fast.2", "cinder", "retired")
RESERVED = ("os_glance_staging_store", "os_glance_tasks_store")  # with such a store of its own Glance does not start
_NO_NAMES = ("a b", "[x", "fast/2", "\x1b[2J", "x" * 65)
_TYPES = ("ssd", "ssd", "hdd", "SSD", "", None)
_PREFIXES = {
    "file": ("file:///var/lib/glance/images", "file:///var/lib/glance"),
    "http": ("http",),
    "rbd": ("rbd://fsid/images/", "rbd://fsid/images-2/", "rbd://"),
    "s3": ("s3://s3.example.org/bucket", "s3://"),
    "vmware": ("vsphere://[host]/folder",),
}
_OTHER_URLS = (
    *("file:///var/lib/glance/images/i", "filesystem:///var/lib/glance/images/i", "FILE:///var/lib/glance/images/i"),
    *(
        "http://example.org/i",
        "https://example.org/i",
        "http://[",
        "rbd://fsid/images/i/snap",
        "rbd://fsid/images-2/i/s",
    ),
    *(
        "s3://s3.example.org/bucket/i",
        "s3://key:secret@s3.example.org/bucket/i",
        "s3+https://key:secret@h/bucket/i?x=@",
    ),
    *("s3://s3.example.org/bucket/i?x=@", "s3://[@", "s3://[x]@[/i", "s3://a@b@s3.example.org/bucket/i#@", ""),
    *("vsphere://[host]/folder/i", "swift://u:k@h/c/i", "unknown://x"),
)

_VOLUME_IDS = st.sampled_from(VOLUME_IDS)
_STORE_NAMES = st.sampled_from([*NAMES, *NAMES, *NAMES, *_NO_NAMES])


@st.composite
def stores(draw: DrawFn, names: SearchStrategy[str] = _STORE_NAMES) -> Store:
    """A store, of volumes in three cases of four.

    Args:
        draw: Hypothesis gives it.
        names: what it may be called.
    """
    kind = draw(st.sampled_from([*["cinder"] * 8, "imagevol", "file", "http", "rbd", "s3", "swift", "vmware", "none"]))
    return Store(
        name=draw(names),
        kind=kind,
        volume_type=draw(st.sampled_from(_TYPES)),
        weight=draw(st.integers(-1, 2)),
        readonly=draw(st.integers(0, 9)) == 9,
        can_add=draw(st.integers(0, 9)) < 8,
        can_delete=draw(st.booleans()),
        url_prefix=draw(st.sampled_from([*_PREFIXES.get(kind, ()), None, ""])),
    )


@st.composite
def store_catalogues(draw: DrawFn, *, multi: bool | None = None) -> StoreCatalogue:
    """The stores of a Glance, whose names look alike.

    Args:
        draw: Hypothesis gives it.
        multi: whether there are several; None for either.
    """
    several = draw(st.lists(stores(), min_size=1, max_size=5, unique_by=lambda store: store.name))
    known = [store.name for store in several]
    return StoreCatalogue(
        stores=tuple(several),
        default=draw(st.sampled_from([*known, *known, "fast", "gone", None])),
        multi=draw(st.integers(0, 9)) < 9 if multi is None else multi,
        default_volume_type=draw(st.sampled_from(["ssd", "hdd", None])),
    )


@st.composite
def image_locations(draw: DrawFn, volume_ids: SearchStrategy[str] = _VOLUME_IDS) -> ImageLocation:
    """A location of a store of volumes in nine cases of ten, of today, of the single-store days, or with a flaw.

    Args:
        draw: Hypothesis gives it.
        volume_ids: the volumes that the locations are about.
    """
    volume_id = draw(volume_ids)
    names = st.sampled_from([*NAMES, *NAMES, *RESERVED, *_NO_NAMES])
    form = draw(st.integers(0, 19))
    if form < 10:
        url = f"cinder://{draw(names)}/{volume_id}"
    elif form < 14:
        url = f"cinder://{volume_id}"
    elif form < 16:
        url = f"cinder://{volume_id}{draw(st.sampled_from(['/', '?x=1', '/..', '#', ' ']))}"
    elif form < 18:
        url = draw(location_texts(st.just(volume_id)))
    else:
        url = draw(st.sampled_from(_OTHER_URLS))
    metadata = draw(st.sampled_from([{}, {"store": ""}, {"store": "fast"}, {"store": "gone"}, {"store": draw(names)}]))
    return ImageLocation(url, {**metadata, **draw(st.sampled_from([{}, {}, {"share": "a"}]))})


_LOCATIONS = image_locations()


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationCase:
    """All the facts of one image's migration.

    Args:
        image: with its locations.
        catalogue: today's stores.
        answers: what Cinder says of the volumes.
        renames: the new names of stores, by the old.
    """

    image: Image
    catalogue: StoreCatalogue
    answers: Mapping[str, VolumeAnswer] = field(hash=False)
    renames: Mapping[str, str] = field(hash=False)

    def plan(self, policy: Policy = Policy.STRICT) -> tuple[LocationChange, ...]:
        """Ask the core."""
        return plan_image(
            self.image,
            catalogue=self.catalogue,
            volume_types=self.answers,
            renames=self.renames,
            policy=policy,
        )


@st.composite
def migration_cases(draw: DrawFn, *, locations: SearchStrategy[ImageLocation] = _LOCATIONS) -> MigrationCase:
    """Migrations of an image with up to four locations of three volumes.

    Args:
        draw: Hypothesis gives it.
        locations: what its locations may be.
    """
    said = st.sampled_from(["ssd", "ssd", "hdd", "SSD", None, NotFound(), NoAnswer("it timed out")])
    answers: dict[str, VolumeAnswer] = {volume_id: draw(said) for volume_id in VOLUME_IDS}
    names = st.sampled_from(NAMES)
    return MigrationCase(
        image=Image(id="i", locations=tuple(draw(st.lists(locations, max_size=4)))),
        catalogue=draw(store_catalogues()),
        answers=answers,
        renames=draw(st.dictionaries(names, names, max_size=4)),
    )
