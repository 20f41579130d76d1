"""What a location should become under today's stores, and what a whole cloud's locations should become ([multi]).

The type of the volume decides which store a location belongs to; what the URL and the metadata say decides only where
the type leaves a choice.  Stores are matched whole, never by a prefix.  What Cinder did not answer changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from imagevol_core.errors import InvalidFact
from imagevol_core.facts import Image, ImageLocation, NoAnswer, NotFound, VolumeAnswer
from imagevol_core.locations import CinderLocation, read_location
from imagevol_core.migration.facts import Ask, LocationOutcome, Placement
from imagevol_core.migration.rules import STRICT_ADDED_RULES, STRICT_MIGRATION_RULES
from imagevol_core.migration.upstream import UPSTREAM_ADDED_RULES, UPSTREAM_MIGRATION_RULES, GlanceLookup
from imagevol_core.stores import StoreCatalogue
from imagevol_core.verdicts import Choice, Policy, Verdict, first_match, table_of

__all__ = [
    "ADDED_RULES",
    "MIGRATION_RULES",
    "ImageChanges",
    "LocationChange",
    "LocationOutcome",
    "MigrationTotals",
    "NoAnswer",
    "NotFound",
    "VolumeAnswer",
    "plan_added_location",
    "plan_image",
    "plan_location",
    "plan_migration",
]

_NO_RENAMES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationChange:
    """What becomes of one location.

    Attributes:
        outcome: in a word.
        before: the location as it is.
        after: the location as it should be; the same where nothing is altered.
        verdicts: which rules were looked at, up to the one that applies.
        image_id: whose location it is, where that is known.
        position: its place among the image's locations.
    """

    outcome: LocationOutcome
    before: ImageLocation
    after: ImageLocation
    verdicts: tuple[Verdict, ...]
    image_id: str | None = None
    position: int = 0

    @property
    def alters(self) -> bool:
        """Whether there is something to do."""
        return self.before != self.after

    def undo(self) -> LocationChange:
        """Give the record of how to restore what was before, exactly."""
        return replace(self, before=self.after, after=self.before, verdicts=())


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageChanges:
    """What becomes of the locations of one image.

    Attributes:
        image: as it was given.
        changes: one for each location, in order.
        volume_types: what Cinder said of the volumes, among them all that the image's locations name.
    """

    image: Image
    changes: tuple[LocationChange, ...]
    volume_types: Mapping[str, VolumeAnswer] = field(repr=False, hash=False)

    @property
    def alters(self) -> bool:
        """Whether there is something to do."""
        return any(change.alters for change in self.changes)


@dataclass(slots=True, kw_only=True)
class MigrationTotals:
    """The counts of a plan, which `plan_migration` increases as it goes on.

    Attributes:
        images: how many images were planned.
        pages: how many times Cinder was asked.
        outcomes: how many locations have each outcome.
    """

    images: int = 0
    pages: int = 0
    outcomes: Counter[LocationOutcome] = field(default_factory=Counter)

    @property
    def locations(self) -> int:
        """How many locations were planned."""
        return self.outcomes.total()


def plan_location(
    location: ImageLocation,
    *,
    catalogue: StoreCatalogue,
    volume_type: VolumeAnswer,
    renames: Mapping[str, str] = _NO_RENAMES,
    policy: Policy = Policy.STRICT,
) -> LocationChange:
    """Decide what a location should become under today's stores ([multi]).

    For an image with several locations call `plan_image`: they must not become the same.

    Args:
        location: as Glance has it.
        catalogue: today's stores.
        volume_type: what Cinder says of the volume that the location names: the name of its type, None for a volume
            without one, `NotFound()`, or `NoAnswer(reason)`.
        renames: the present name of each store that was renamed, by its former name.
        policy: whose rules.  Under `UPSTREAM`, what Glance 33.0.0 makes of the location when the image is shown; it
            knows of no renames.  Where the requester may not change the image, Glance shows it so and does not save.

    Returns:
        The outcome, the location as it should be, and why.

    >>> from imagevol_core import Store
    >>> stores = (Store(name="fast", kind="cinder", volume_type="ssd"), Store(name="slow", kind="cinder"))
    >>> change = plan_location(ImageLocation("cinder://9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"),
    ...                        catalogue=StoreCatalogue(stores=stores), volume_type="ssd")
    >>> change.outcome.value, change.after.url, change.after.metadata["store"]
    ('change', 'cinder://fast/9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1', 'fast')
    >>> print(plan_location(change.after, catalogue=StoreCatalogue(stores=stores), volume_type="hdd").verdicts[-1])
    applies no-store (cinder://fast/9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1): the volume's type is 'hdd', and of that \
type are stores: none
    """
    (facts,) = table_of(_FACTS, policy)((location,), lambda _: volume_type, catalogue, renames)
    return _decide(facts, table_of(MIGRATION_RULES, policy))


def plan_added_location(
    location: ImageLocation,
    *,
    catalogue: StoreCatalogue,
    volume_type: VolumeAnswer,
    policy: Policy = Policy.STRICT,
) -> LocationChange:
    """Decide what a location should become when it is added to an image ([multi]).

    Args:
        location: as it is sent to Glance.
        catalogue: today's stores.
        volume_type: what Cinder says of the volume, as for `plan_location`.
        policy: whose rules.  Under `UPSTREAM`, what the Location API of Glance 33.0.0 (the one that is switched on by
            `show_multiple_locations`) makes of it: other than a location that is there, it is looked at anew whatever
            its metadata says.

    Returns:
        The outcome, the location as it should be, and why.

    >>> from imagevol_core import Store
    >>> stores = (Store(name="fast", kind="cinder", volume_type="ssd"),)
    >>> plan_added_location(ImageLocation("cinder://slow/9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1", {"store": "slow"}),
    ...                     catalogue=StoreCatalogue(stores=stores), volume_type="ssd").after.url
    'cinder://fast/9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1'
    """
    return _decide(
        table_of(_ADDED_FACTS, policy)(location, lambda _: volume_type, catalogue), table_of(ADDED_RULES, policy)
    )


def plan_image(
    image: Image,
    *,
    catalogue: StoreCatalogue,
    volume_types: Mapping[str, VolumeAnswer],
    renames: Mapping[str, str] = _NO_RENAMES,
    policy: Policy = Policy.STRICT,
) -> tuple[LocationChange, ...]:
    """Decide what the locations of one image should become, so that no two become the same ([multi]).

    Args:
        image: with its locations.
        catalogue: today's stores.
        volume_types: what Cinder says of each volume that they name, by id; of one that is missing there is no answer.
        renames: as for `plan_location`.
        policy: whose rules.  Under `UPSTREAM` two may become the same; and where Glance fails on one location, none is
            changed.

    Returns:
        A change for each location, in order.

    >>> from imagevol_core import Store
    >>> volume = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
    >>> twice = (ImageLocation(f"cinder://old/{volume}"), ImageLocation(f"cinder://older/{volume}"))
    >>> stores = (Store(name="new", kind="cinder", volume_type="ssd"),)
    >>> changes = plan_image(Image(id="i", locations=twice), catalogue=StoreCatalogue(stores=stores),
    ...                      volume_types={volume: "ssd"})
    >>> [(change.position, change.outcome.value, change.verdicts[-1].rule) for change in changes]
    [(0, 'ambiguous', 'duplicate'), (1, 'ambiguous', 'duplicate')]
    """
    facts = table_of(_FACTS, policy)(
        image.locations, lambda id_: volume_types.get(id_, _NOT_MENTIONED), catalogue, renames
    )
    rules = table_of(MIGRATION_RULES, policy)
    return tuple(_decide(each, rules, image_id=image.id, position=at) for at, each in enumerate(facts))


def plan_migration(
    images: Iterable[Image],
    *,
    catalogue: StoreCatalogue,
    volume_types: Callable[[Sequence[str]], Mapping[str, VolumeAnswer]],
    renames: Mapping[str, str] = _NO_RENAMES,
    policy: Policy = Policy.STRICT,
    page_size: int = 1000,
    totals: MigrationTotals | None = None,
) -> Iterator[ImageChanges]:
    """Decide what all locations of a cloud should become, a page at a time and in constant memory ([multi]).

    Args:
        images: with their locations; they are taken as the plan is.  One that comes twice in a page is planned once.
        catalogue: today's stores.
        volume_types: asked for a page of volume ids at a time, each id once; gives what Cinder says of each.
        renames: as for `plan_location`.
        policy: whose rules.
        page_size: after how many locations a page is full; an image is never divided.
        totals: counts along, where it is given.

    Returns:
        For each image in order, a change for each location, also where there is nothing to do.

    Raises:
        InvalidFact: `page_size` is less than 1.

    >>> from imagevol_core import Store
    >>> volume = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
    >>> catalogue = StoreCatalogue(stores=(Store(name="fast", kind="cinder", volume_type="ssd"),))
    >>> totals = MigrationTotals()
    >>> planned = plan_migration([Image(id="i", locations=(ImageLocation(f"cinder://{volume}"),))],
    ...                          catalogue=catalogue, totals=totals,
    ...                          volume_types=lambda volume_ids: dict.fromkeys(volume_ids, "ssd"))
    >>> [(each.image.id, [change.after.url for change in each.changes]) for each in planned]
    [('i', ['cinder://fast/9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1'])]
    >>> totals.locations, totals.outcomes[LocationOutcome.CHANGE]
    (1, 1)
    """
    if page_size < 1:
        raise InvalidFact("page_size", f"{page_size} is less than 1; give how many locations a page has")
    counted = MigrationTotals() if totals is None else totals
    return _planned(_pages(images, page_size), catalogue, volume_types, renames, policy, counted)


def _planned(
    pages: Iterable[Sequence[Image]],
    catalogue: StoreCatalogue,
    volume_types: Callable[[Sequence[str]], Mapping[str, VolumeAnswer]],
    renames: Mapping[str, str],
    policy: Policy,
    totals: MigrationTotals,
) -> Iterator[ImageChanges]:
    volume_id = table_of(_VOLUME_ID, policy)
    for page in pages:
        named = dict.fromkeys(volume_id(location.url) for image in page for location in image.locations)
        volume_ids = [each for each in named if each]
        if volume_ids:
            totals.pages += 1
        answers = volume_types(volume_ids) if volume_ids else {}
        for image in page:
            totals.images += 1
            changes = plan_image(image, catalogue=catalogue, volume_types=answers, renames=renames, policy=policy)
            totals.outcomes.update(change.outcome for change in changes)
            yield ImageChanges(image=image, changes=changes, volume_types=answers)


def _pages(images: Iterable[Image], page_size: int) -> Iterator[Sequence[Image]]:
    page: dict[str, Image] = {}
    room = page_size
    for image in images:
        if image.id in page:
            continue
        page[image.id] = image
        room -= max(1, len(image.locations))  # images without locations fill memory too
        if room <= 0:
            yield tuple(page.values())
            page, room = {}, page_size
    if page:
        yield tuple(page.values())


# What both policies share: the first rule that applies, and what follows.

_NOT_MENTIONED = NoAnswer("the answer does not mention it")

_ALTERING = (LocationOutcome.CHANGE, LocationOutcome.REPAIR)

_Facts = Placement | GlanceLookup


def _decide(
    facts: _Facts, rules: Sequence[Choice[Any, LocationOutcome]], *, image_id: str | None = None, position: int = 0
) -> LocationChange:
    named = facts.named
    subject = str(named) if isinstance(named, CinderLocation) else named.shown
    outcome, verdicts = first_match(rules, facts, subject=subject)
    if outcome in _ALTERING and facts.after == facts.before:  # Glance finds again what was there
        outcome = LocationOutcome.KEEP
    return LocationChange(
        outcome=outcome,
        before=facts.before,
        after=facts.after if outcome in _ALTERING else facts.before,
        verdicts=verdicts,
        image_id=image_id,
        position=position,
    )


# What the rules look at, of an image's locations together.


def _placements(
    locations: Sequence[ImageLocation], ask: Ask, catalogue: StoreCatalogue, renames: Mapping[str, str]
) -> Sequence[Placement]:
    alone = [Placement.of(location, catalogue=catalogue, ask=ask, renames=renames) for location in locations]
    urls = Counter(placement.after.url for placement in alone) if len(alone) > 1 else {}
    crowded = frozenset(url for url, count in urls.items() if count > 1)
    return [replace(placement, crowded=crowded) for placement in alone] if crowded else alone


def _lookups(
    locations: Sequence[ImageLocation], ask: Ask, catalogue: StoreCatalogue, _renames: Mapping[str, str]
) -> Sequence[GlanceLookup]:
    alone = [GlanceLookup.when_shown(location, catalogue=catalogue, ask=ask) for location in locations]
    return [replace(lookup, image_fails=True) for lookup in alone] if any(each.fails for each in alone) else alone


def _added_placement(location: ImageLocation, ask: Ask, catalogue: StoreCatalogue) -> Placement:
    return Placement.of(location, catalogue=catalogue, ask=ask, renames=_NO_RENAMES)


def _added_lookup(location: ImageLocation, ask: Ask, catalogue: StoreCatalogue) -> GlanceLookup:
    return GlanceLookup.when_added(location, catalogue=catalogue, ask=ask)


def _volume_id(url: str) -> str | None:
    named = read_location(url)
    return named.volume_id if isinstance(named, CinderLocation) else None


def _volume_id_upstream(url: str) -> str | None:
    return url.rpartition("/")[2] if url.startswith("cinder://") else None


_FACTS: Mapping[
    Policy, Callable[[Sequence[ImageLocation], Ask, StoreCatalogue, Mapping[str, str]], Sequence[_Facts]]
] = {
    Policy.STRICT: _placements,
    Policy.UPSTREAM: _lookups,
}
_ADDED_FACTS: Mapping[Policy, Callable[[ImageLocation, Ask, StoreCatalogue], _Facts]] = {
    Policy.STRICT: _added_placement,
    Policy.UPSTREAM: _added_lookup,
}
_VOLUME_ID = {Policy.STRICT: _volume_id, Policy.UPSTREAM: _volume_id_upstream}


MIGRATION_RULES: Mapping[Policy, tuple[Choice[Any, LocationOutcome], ...]] = {
    Policy.STRICT: STRICT_MIGRATION_RULES,
    Policy.UPSTREAM: UPSTREAM_MIGRATION_RULES,
}
ADDED_RULES: Mapping[Policy, tuple[Choice[Any, LocationOutcome], ...]] = {
    Policy.STRICT: STRICT_ADDED_RULES,
    Policy.UPSTREAM: UPSTREAM_ADDED_RULES,
}
