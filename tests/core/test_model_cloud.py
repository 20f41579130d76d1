"""A model cloud that lives for years: what must hold after each thing that operators, users and Glance do to it.

The machine keeps its own book: of which volume each location of each image was made.  Whatever is renamed, retired,
retyped, migrated by Glance or by plan, or undone: no location is lost and none changes its volume.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from imagevol_core import (
    Image,
    ImageLocation,
    LocationChange,
    LocationOutcome,
    MigrationTotals,
    NoAnswer,
    Policy,
    Store,
    StoreCatalogue,
    VolumeAnswer,
    parse_location,
    plan_added_location,
    plan_image,
    plan_migration,
    select_stores,
)
from tests.core.migration_cases import applied

TYPES = ("ssd", "hdd", "nvme")
NAMES = ("fast", "fast2", "f", "slow", "slow-2", "1", "archive", "cinder")  # of one letter, and prefixes of each other


class ModelCloud(RuleBasedStateMachine):
    """Stores, volumes with their types, and images with their locations; extend it with rules and invariants."""

    def __init__(self) -> None:
        super().__init__()
        self.stores: list[Store] = []
        self.types: dict[str, VolumeAnswer] = {}
        self.images: dict[str, tuple[ImageLocation, ...]] = {}
        self.made_of: dict[str, list[str]] = {}  # the book: image, and the volumes of its locations in order
        self.renames: dict[str, str] = {}
        self.done: list[LocationChange] = []  # the last plan, as far as it was carried out

    @property
    def catalogue(self) -> StoreCatalogue:
        """Today's stores."""
        return StoreCatalogue(stores=tuple(self.stores), default=self.stores[0].name)

    def plan(self, image_id: str, policy: Policy) -> tuple[LocationChange, ...]:
        """Plan one image."""
        return plan_image(
            Image(id=image_id, locations=self.images[image_id]),
            catalogue=self.catalogue,
            volume_types=self.types,
            renames=self.renames,
            policy=policy,
        )

    def apply(self, change: LocationChange) -> None:
        """Carry a change out."""
        assert change.image_id is not None
        self.images[change.image_id] = applied(change, self.images[change.image_id])

    def new_volume(self, volume_type: str) -> str:
        """Make a volume; some of their ids begin with the name of a store."""
        volume_id = f"{len(self.types) % 2}{len(self.types):07x}-93e4-4a3c-a2a5-3d5bd2d3b6a1"
        self.types[volume_id] = volume_type
        return volume_id

    def without_memory(self) -> None:
        """What was planned is not to be undone any more: the cloud has moved on."""
        self.done = []

    @initialize(types=st.lists(st.sampled_from(TYPES), min_size=1, max_size=4))
    def begin(self, types: list[str]) -> None:
        self.stores = [
            Store(name=name, kind="cinder", volume_type=volume_type)
            for name, volume_type in zip(NAMES, types, strict=False)
        ]

    # What operators do.

    @rule(at=st.integers(0, 9), name=st.sampled_from(NAMES))
    def rename_a_store(self, at: int, name: str) -> None:
        if name not in {store.name for store in self.stores}:
            store = self.stores[at % len(self.stores)]
            self.stores[at % len(self.stores)] = replace(store, name=name)
            self.renames = {old: name if new == store.name else new for old, new in self.renames.items()}
            self.renames[store.name] = name
            self.without_memory()

    @rule(at=st.integers(0, 9))
    def swap_the_names_of_two_stores(self, at: int) -> None:
        one, other = at % len(self.stores), (at + 1) % len(self.stores)
        first, second = self.stores[one], self.stores[other]
        self.stores[one], self.stores[other] = replace(first, name=second.name), replace(second, name=first.name)
        self.renames |= {first.name: second.name, second.name: first.name}
        self.without_memory()

    @precondition(lambda self: len(self.stores) > 1)
    @rule(at=st.integers(0, 9), successor=st.none() | st.integers(0, 9))
    def retire_a_store(self, at: int, successor: int | None) -> None:
        """Its volumes are retyped to its successor's type, if it has one."""
        retired = self.stores.pop(at % len(self.stores))
        if successor is not None:
            heir = self.stores[successor % len(self.stores)]
            self.renames[retired.name] = heir.name
            moved = {volume_id for volume_id, volume_type in self.types.items() if volume_type == retired.volume_type}
            self.types |= dict.fromkeys(moved, heir.volume_type)
        self.without_memory()

    @rule(name=st.sampled_from(NAMES), volume_type=st.sampled_from(TYPES))
    def add_a_store(self, name: str, volume_type: str) -> None:
        if name not in {store.name for store in self.stores}:
            self.stores.append(Store(name=name, kind="cinder", volume_type=volume_type))
            self.without_memory()

    @precondition(lambda self: self.types)
    @rule(at=st.integers(0, 99), volume_type=st.sampled_from([*TYPES, None]))
    def retype_a_volume(self, at: int, volume_type: str | None) -> None:
        self.types[sorted(self.types)[at % len(self.types)]] = volume_type
        self.without_memory()

    @rule()
    def forget_old_names(self) -> None:
        self.renames = {}
        self.without_memory()

    # What users do.

    @rule()
    def upload(self) -> None:
        selection = select_stores(self.catalogue, store_header=None, base_image=None)
        store = self.catalogue.get(selection.primary)
        assert store is not None
        volume_id = self.new_volume(store.volume_type or "")
        location = ImageLocation(f"cinder://{store.name}/{volume_id}", {"store": store.name})
        self.keep_book(f"image-{len(self.images)}", volume_id, location)

    @rule(volume_type=st.sampled_from(TYPES))
    def an_image_of_the_single_store_days(self, volume_type: str) -> None:
        volume_id = self.new_volume(volume_type)
        self.keep_book(f"image-{len(self.images)}", volume_id, ImageLocation(f"cinder://{volume_id}"))

    @precondition(lambda self: self.images)
    @rule(at=st.integers(0, 99), name=st.sampled_from(NAMES), again=st.booleans(), volume_type=st.sampled_from(TYPES))
    def add_a_location(self, at: int, name: str, again: bool, volume_type: str) -> None:
        """Of another volume, or of one that the image is in already; Glance refuses what it has."""
        image_id = sorted(self.images)[at % len(self.images)]
        volume_id = self.made_of[image_id][0] if again else self.new_volume(volume_type)
        location = plan_added_location(
            ImageLocation(f"cinder://{name}/{volume_id}"),
            catalogue=self.catalogue,
            volume_type=self.types[volume_id],
            policy=Policy.UPSTREAM,
        ).after
        if location not in self.images[image_id]:
            self.keep_book(image_id, volume_id, location)

    def keep_book(self, image_id: str, volume_id: str, location: ImageLocation) -> None:
        """Add a location, and write down of which volume it is."""
        self.images[image_id] = (*self.images.get(image_id, ()), location)
        self.made_of.setdefault(image_id, []).append(volume_id)
        self.without_memory()

    # What migrates.

    @precondition(lambda self: self.images)
    @rule(at=st.integers(0, 99))
    def show_an_image(self, at: int) -> None:
        """Glance migrates it lazily."""
        changes = self.plan(sorted(self.images)[at % len(self.images)], Policy.UPSTREAM)
        for change in changes:
            self.apply(change)
        if any(change.alters for change in changes):
            self.without_memory()

    @precondition(lambda self: self.images)
    @rule(page_size=st.integers(1, 4), silent=st.sampled_from([False, False, False, True]), undone=st.booleans())
    def migrate_by_plan(self, page_size: int, silent: bool, undone: bool) -> None:
        """Apply it all, plan again, and perhaps undo it all."""
        as_it_was = dict(self.images)
        before = {image_id: Counter(each.url for each in locations) for image_id, locations in self.images.items()}
        totals = MigrationTotals()
        planned = list(
            plan_migration(
                [Image(id=image_id, locations=locations) for image_id, locations in self.images.items()],
                catalogue=self.catalogue,
                volume_types=lambda volume_ids: {
                    each: NoAnswer("it is down") if silent else self.types[each] for each in volume_ids
                },
                renames=self.renames,
                page_size=page_size,
                totals=totals,
            )
        )
        changes = [change for each in planned for change in each.changes]
        assert totals.locations == len(changes) == sum(map(len, self.images.values()))
        assert not (silent and any(change.alters for change in changes))
        for change in changes:
            self.apply(change)
        for image_id, locations in self.images.items():  # no two have become the same
            after = Counter(location.url for location in locations)
            assert all(count <= max(1, before[image_id][url]) for url, count in after.items())
        self.done = [change for change in changes if change.alters]
        for change in self.done:  # what was changed is kept
            assert change.image_id is not None
            again = self.plan(change.image_id, Policy.STRICT)[change.position]
            assert (again.outcome, again.before) == (LocationOutcome.KEEP, change.after)
        if undone:
            self.undo(backwards=silent)
            assert self.images == as_it_was

    @precondition(lambda self: self.done)
    @rule(backwards=st.booleans())
    def undo(self, backwards: bool) -> None:
        """Whatever the order, exactly what was is there again."""
        for change in reversed(self.done) if backwards else self.done:
            self.apply(change.undo())
        for change in self.done:
            assert change.image_id is not None
            assert self.images[change.image_id][change.position] == change.before
        self.without_memory()

    # What must hold after each of these.

    @invariant()
    def no_location_is_lost_and_none_changes_its_volume(self) -> None:
        volumes = {
            image_id: [parse_location(location.url).volume_id for location in locations]
            for image_id, locations in self.images.items()
        }
        assert volumes == self.made_of


TestModelCloud = ModelCloud.TestCase
TestModelCloud.settings = settings(max_examples=max(300, settings().max_examples), stateful_step_count=40)
