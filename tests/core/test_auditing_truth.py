"""What is sure is true: random clouds whose history is known, of which an operator sees a part.

The machine writes down what is wrong when it breaks it.  A finding that is sure must be in that book, however little
of the cloud is seen.  If all of it is seen at one instant, all that is in the book is found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from imagevol_core import (
    GIB,
    AuditedAttachment,
    AuditSettings,
    CacheEntry,
    Certainty,
    DeepCheck,
    Digest,
    Finding,
    Image,
    ImageLocation,
    Store,
    StoreCatalogue,
    Template,
    Volume,
    VolumeOrigin,
    audit,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LONG_AGO, JUST_NOW = NOW - timedelta(days=40), NOW - timedelta(minutes=5)
STORES, INTERNAL = "the stores' project", "the internal tenant"
CATALOGUE = StoreCatalogue(
    stores=(
        Store(name="fast", kind="cinder", volume_type="ssd"),
        Store(name="slow", kind="cinder", volume_type="hdd"),
        Store(name="local", kind="file"),
    ),
    default="fast",
)
DIGEST, OTHER_DIGEST = Digest("sha512", "ab"), Digest("sha512", "cd")
CLOUDS = 10_000 if settings().max_examples >= 500 else settings().max_examples  # the long form is `nox -s property`


@dataclass
class World:
    """A cloud as it is, and the book of what is wrong in it: a rule, and the ids that it is about."""

    images: dict[str, Image] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)
    attachments: list[AuditedAttachment] = field(default_factory=list)
    entries: list[CacheEntry] = field(default_factory=list)
    templates: list[Template] = field(default_factory=list)
    checks: dict[str, DeepCheck] = field(default_factory=dict)
    book: set[tuple[str, frozenset[str]]] = field(default_factory=set)
    restored: set[str] = field(default_factory=set)  # images that Glance has deleted, and can give back

    def note(self, kind: str, *ids: str) -> None:
        """Write down what is wrong."""
        self.book.add((kind, frozenset(ids)))

    def add(self, number: int, *, status: str = "active", store: str = "fast", **changes: Any) -> tuple[str, str]:
        """An image that a store of ours has made, and its volume."""
        image_id, volume_id = f"image-{number}", f"9a1b6b0c-93e4-4a3c-a2a5-{number:012x}"
        url = f"cinder://{store}/{volume_id}"
        self.images[image_id] = Image(
            id=image_id,
            status=status,
            owner="theirs",
            size_bytes=GIB - 7,
            digest=DIGEST,
            created_at=LONG_AGO,
            updated_at=LONG_AGO,
            locations=(ImageLocation(url, {"store": store}),),
        )
        said = {"glance_image_id": image_id, "image_owner": "theirs", "image_size": str(GIB - 7)}
        self.volumes[volume_id] = Volume(
            **{
                "id": volume_id,
                "project_id": STORES,
                "size_gib": 1,
                "status": "available",
                "volume_type": "ssd" if store == "fast" else "hdd",
                "readonly": True,
                "metadata": said,
                "created_at": LONG_AGO,
                **changes,
            }
        )
        return image_id, volume_id

    def change_image(self, image_id: str, **changes: Any) -> None:
        self.images[image_id] = replace(self.images[image_id], **changes)

    def change_volume(self, volume_id: str, **changes: Any) -> None:
        self.volumes[volume_id] = replace(self.volumes[volume_id], **changes)

    def say(self, volume_id: str, **says: str) -> None:
        volume = self.volumes[volume_id]
        self.change_volume(volume_id, metadata={**volume.metadata, **says})


Story = Callable[[World, int], None]


# What is right, and may look wrong.


def an_image(world: World, number: int) -> None:
    _, volume_id = world.add(number)
    world.checks[volume_id] = DeepCheck(volume_id=volume_id, size_bytes=GIB - 7, digest=DIGEST, tail_is_zero=True)


def an_image_in_two_stores(world: World, number: int) -> None:
    image_id, _ = world.add(number)
    first = world.images[image_id].locations
    _, second = world.add(number + 1, store="slow")
    (other,) = world.images.pop(f"image-{number + 1}").locations
    world.say(second, glance_image_id=image_id)
    world.change_image(image_id, locations=(*first, other))


def an_image_in_another_project(world: World, number: int) -> None:
    _, volume_id = world.add(number)
    world.change_volume(volume_id, project_id="theirs", metadata={"image_size": str(GIB - 7)})


def a_large_image_that_is_being_uploaded(world: World, number: int) -> None:
    image_id, volume_id = world.add(number, status="saving")
    world.change_image(image_id, locations=())
    origin = VolumeOrigin(procedure="add", image_id=image_id).to_volume()
    world.change_volume(volume_id, status="in-use", readonly=False, metadata=origin)
    world.attachments.append(AuditedAttachment(id=f"of-{volume_id}", volume_id=volume_id, attached_at=LONG_AGO))


def what_a_user_wrote(world: World, number: int) -> None:
    image_id, volume_id = world.add(number)
    del world.images[image_id]
    world.change_volume(volume_id, project_id="theirs", readonly=False)


def what_cinder_cloned_of_what_a_user_wrote(world: World, number: int) -> None:
    image_id, volume_id = world.add(number, project_id=INTERNAL, source_volume_id="a user's")
    del world.images[image_id]  # the user's word: there was none
    if number % 2:
        entry = CacheEntry(volume_id=volume_id, image_id="image-0", size_gib=1, digest=DIGEST)
        world.entries.append(entry)


def a_template(world: World, number: int) -> None:
    image_id, volume_id = world.add(number)
    world.add(number + 1, project_id=INTERNAL, metadata={})
    del world.images[f"image-{number + 1}"]
    kept = volume_id[:-12] + f"{number + 1:012x}"
    world.templates.append(Template(entry=CacheEntry(volume_id=kept, image_id=image_id, size_gib=1, digest=DIGEST)))


def a_template_that_is_being_made(world: World, number: int) -> None:
    a_template(world, number)
    world.templates[-1] = replace(
        world.templates[-1], being_made_for=timedelta(minutes=1), entry=replace(world.templates[-1].entry, digest=None)
    )


def a_deleted_image_that_glance_keeps(world: World, number: int) -> None:
    image_id, _ = world.add(number)
    del world.images[image_id]
    world.restored.add(image_id)


def a_volume_that_cinder_is_deleting(world: World, number: int) -> None:
    image_id, _ = world.add(number, status="active")
    del world.images[image_id]
    (volume,) = [each for each in world.volumes.values() if each.metadata.get("glance_image_id") == image_id]
    world.change_volume(volume.id, status="deleting")


def a_download(world: World, number: int) -> None:
    _, volume_id = world.add(number)
    world.change_volume(volume_id, status="in-use")
    world.attachments.append(AuditedAttachment(id=f"of-{volume_id}", volume_id=volume_id, attached_at=JUST_NOW))


# What is wrong.


def a_lost_volume(world: World, number: int) -> None:
    image_id, volume_id = world.add(number)
    del world.volumes[volume_id]
    world.note("location-without-volume", image_id, volume_id)


def an_orphan(world: World, number: int) -> None:
    image_id, volume_id = world.add(number)
    del world.images[image_id]
    world.note("image-volume-without-image", volume_id)


def an_orphan_of_another_place(world: World, number: int) -> None:
    image_id, volume_id = world.add(number)
    world.change_image(image_id, locations=(ImageLocation("file:///images/one"),))
    world.note("image-volume-without-image", volume_id)


def another_owner(world: World, number: int) -> None:
    image_id, volume_id = world.add(number)
    world.say(volume_id, image_owner="ours")
    world.note("owner-differs", image_id, volume_id)


def another_size(world: World, number: int) -> None:
    image_id, volume_id = world.add(number)
    world.say(volume_id, image_size="5")
    world.note("size-differs", image_id, volume_id)


def another_store(world: World, number: int) -> None:
    image_id, volume_id = world.add(number)
    world.change_volume(volume_id, volume_type="hdd")
    world.note("store-differs", image_id, volume_id)


def altered(world: World, number: int) -> None:
    image_id, volume_id = world.add(number)
    world.checks[volume_id] = DeepCheck(volume_id=volume_id, size_bytes=1, digest=OTHER_DIGEST, tail_is_zero=False)
    world.note("content-differs", image_id, volume_id)
    world.note("tail-not-zero", volume_id)


def writable(world: World, number: int) -> None:
    _, volume_id = world.add(number)
    world.change_volume(volume_id, readonly=False)
    world.note("not-read-only", volume_id)


def shared(world: World, number: int) -> None:
    image_id, volume_id = world.add(number)
    other = f"image-{number + 1}"
    world.images[other] = replace(world.images[image_id], id=other)
    world.note("volume-in-two-images", volume_id, image_id, other)


def a_dead_process(world: World, number: int) -> None:
    _, volume_id = world.add(number)
    left = AuditedAttachment(id=f"of-{volume_id}", volume_id=volume_id, alive=False)
    world.attachments.append(left)
    world.note("attachment-left-behind", left.id, volume_id)


def a_cache_without_its_volume(world: World, number: int) -> None:
    entry = CacheEntry(volume_id=f"9a1b6b0c-93e4-4a3c-a2a5-{number:012x}", image_id="image-0", size_gib=1)
    world.entries.append(entry)
    world.note("cache-entry-without-volume", entry.volume_id)


def a_stale_template(world: World, number: int) -> None:
    a_template(world, number)
    entry = replace(world.templates[-1].entry, digest=OTHER_DIGEST)
    world.templates[-1] = replace(world.templates[-1], entry=entry)
    world.note("template-stale", entry.volume_id, entry.image_id)


RIGHT: tuple[Story, ...] = (
    *(an_image, an_image_in_two_stores, an_image_in_another_project, a_large_image_that_is_being_uploaded),
    *(what_a_user_wrote, what_cinder_cloned_of_what_a_user_wrote, a_template, a_template_that_is_being_made),
    *(a_deleted_image_that_glance_keeps, a_volume_that_cinder_is_deleting, a_download),
)
WRONG: tuple[Story, ...] = (
    *(a_lost_volume, an_orphan, an_orphan_of_another_place, another_owner, another_size, another_store, altered),
    *(writable, shared, a_dead_process, a_cache_without_its_volume, a_stale_template),
)


@st.composite
def worlds(draw: DrawFn) -> World:
    """Some of what is right and some of what is wrong."""
    world = World()
    for at, story in enumerate(draw(st.lists(st.sampled_from((*RIGHT, *WRONG)), max_size=8))):
        story(world, 10 * at + 10)
    return world


def looked_at(world: World, view: AuditSettings, **changes: Any) -> list[Finding]:
    listings: dict[str, Any] = {
        "images": list(world.images.values()),
        "volumes": list(world.volumes.values()),
        "attachments": world.attachments,
        "entries": world.entries,
        "templates": world.templates,
        "checks": list(world.checks.values()),
        "catalogue": CATALOGUE,
    }
    return list(audit(settings=view, **(listings | changes)))


def whole(world: World) -> AuditSettings:
    """The settings of an administrator who sees everything."""
    return AuditSettings(
        now=NOW,
        trusted_projects=frozenset({STORES, INTERNAL}),
        images_complete=True,
        volumes_complete=True,
        delayed_delete=bool(world.restored),
        only_glance=True,
    )


def told(findings: list[Finding]) -> set[tuple[str, frozenset[str]]]:
    return {(each.kind, frozenset(subject.id for subject in each.subjects)) for each in findings}


@settings(max_examples=CLOUDS)
@given(st.data())
def test_what_is_sure_is_true_however_little_is_seen(data: st.DataObject) -> None:
    """The listings may have parts missing, and every fact of them."""
    world = data.draw(worlds())
    seen = data.draw(st.sampled_from([16, 15, 8, 0]))  # of 16 rows

    def some(rows: list[Any], facts: list[str]) -> list[Any]:
        kept = [row for row in rows if seen == 16 or data.draw(st.integers(0, 15)) < seen]
        unknown = st.sets(st.sampled_from(facts), max_size=2)
        return [replace(row, **dict.fromkeys(data.draw(unknown))) for row in kept]

    def some_said(volume: Volume) -> Volume:
        unsaid = data.draw(st.sets(st.sampled_from(["image_owner", "image_size", "glance_image_id"]), max_size=1))
        return replace(volume, metadata={key: value for key, value in volume.metadata.items() if key not in unsaid})

    images = some(list(world.images.values()), ["status", "owner", "size_bytes", "digest", "updated_at"])
    hidden = data.draw(st.booleans())  # Glance may show no locations
    found = looked_at(
        world,
        replace(whole(world), images_complete=seen == 16, volumes_complete=seen == 16),
        images=[replace(each, locations=()) for each in images] if hidden else images,
        volumes=[
            some_said(each)
            for each in some(
                list(world.volumes.values()), ["project_id", "volume_type", "readonly", "status", "created_at"]
            )
        ],
        attachments=some(world.attachments, ["host", "attached_at"]),
        entries=some(world.entries, ["digest", "last_used"]),
        templates=some(world.templates, ["status", "readonly"]),
        checks=some(list(world.checks.values()), ["digest", "tail_is_zero"]),
        catalogue=data.draw(st.sampled_from([CATALOGUE, None])),
    )
    assert told([each for each in found if each.certainty is Certainty.SURE]) <= world.book


@settings(max_examples=CLOUDS)
@given(worlds())
def test_what_is_sure_is_true_and_all_that_is_wrong_is_found_where_all_is_seen(world: World) -> None:
    found = looked_at(world, whole(world))
    assert told([each for each in found if each.certainty is Certainty.SURE]) <= world.book <= told(found)


def renamed(world: World, stores: str) -> None:
    """The same images in stores of these names, whose volumes are in a Cinder of their own."""
    for each in world.images.values():
        located = (
            ImageLocation(
                location.url.replace("://", f"://{stores}-"), {"store": f"{stores}-{location.metadata['store']}"}
            )
            if location.metadata
            else location
            for location in each.locations
        )
        world.change_image(each.id, locations=tuple(located))


@st.composite
def regions(draw: DrawFn) -> tuple[World, World]:
    """Two regions, with nothing in common but the ids of their projects."""
    here, there = World(), World()
    for world, first in ((here, 10), (there, 10_010)):
        for at, story in enumerate(draw(st.lists(st.sampled_from((*RIGHT, *WRONG)), max_size=6))):
            story(world, 10 * at + first)
    return here, there


@settings(max_examples=CLOUDS)
@given(regions())
def test_what_is_sure_is_true_where_the_services_are_of_two_regions(both: tuple[World, World]) -> None:
    """One Glance of two regions, a Glance of one with the Cinder of the other, and two Glances of one project."""
    here, there = both
    book = here.book | there.book
    crossed = looked_at(there, whole(there), images=list(here.images.values()))
    renamed(there, "far")
    shared = looked_at(here, whole(here), images=[*here.images.values(), *there.images.values()])
    for each in there.volumes.values():
        there.change_volume(each.id, volume_type=f"far {each.volume_type}")
    mixed = looked_at(here, whole(here), volumes=[*here.volumes.values(), *there.volumes.values()])
    assert told([each for each in (*crossed, *shared, *mixed) if each.certainty is Certainty.SURE]) <= book
