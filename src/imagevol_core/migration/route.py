"""How Glance is brought to change an image's locations without ever deleting the volume that they name ([multi]).

Glance 33 has no request that writes a location as it is told.  Showing an image, it migrates locations by itself.
Replacing them, it takes new metadata for the same URLs and refuses other URLs.  Removing one, it deletes the volume,
which the new location names too.  So there are three ways, each of them only where what Glance makes of it is known
beforehand, and the last only where the store's driver lets a held volume be.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from imagevol_core.errors import InvalidFact
from imagevol_core.facts import Image, ImageLocation, VolumeAnswer
from imagevol_core.migration.route_rules import (
    RELOCATION_RULES,
    SILENCE,
    RelocationFacts,
    RelocationWay,
    printed_location,
    unfinished_imports,
    volume_ids,
)
from imagevol_core.migration.target import LocationChange, plan_added_location, plan_image
from imagevol_core.secret_text import shown_url
from imagevol_core.stores import StoreCatalogue
from imagevol_core.verdicts import Policy, Verdict, first_match

__all__ = ["Relocation", "RelocationWay", "plan_relocation", "printed_location", "relocated", "unfinished_imports"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relocation:
    """How the locations of one image are changed to the wanted ones.

    Attributes:
        image_id: whose locations.
        way: how.
        before: the locations as they are saved.
        shown: what Glance makes of them as soon as anything but a list of images looks at the image.
        wanted: what they become.
        verdicts: which rules were looked at, up to the one that applies.
    """

    image_id: str
    way: RelocationWay
    before: tuple[ImageLocation, ...]
    shown: tuple[ImageLocation, ...]
    wanted: tuple[ImageLocation, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def planned(self) -> bool:
        """Whether there is a way, or nothing to do."""
        return self.way not in (RelocationWay.REFUSED, RelocationWay.UNKNOWN)

    @property
    def adding(self) -> tuple[ImageLocation, ...]:
        """The locations that must be added to those that are shown."""
        return tuple((Counter(self.wanted) - Counter(self.shown)).elements())

    @property
    def removing(self) -> tuple[ImageLocation, ...]:
        """The locations that must be removed from those that are shown, after the others were added."""
        return tuple((Counter(self.shown) - Counter(self.wanted)).elements())

    @property
    def volume_ids(self) -> tuple[str, ...]:
        """The volumes that any of the locations names, each once."""
        return tuple(dict.fromkeys(volume_ids((*self.shown, *self.wanted))))

    @property
    def reason(self) -> str:
        """Why this way, or why none."""
        return self.verdicts[-1].text


def plan_relocation(
    image: Image,
    *,
    wanted: Sequence[ImageLocation],
    catalogue: StoreCatalogue,
    volume_types: Mapping[str, VolumeAnswer],
    delayed_delete: bool = False,
) -> Relocation:
    """Decide how the locations of an image are changed to the wanted ones, whatever Glance does meanwhile ([multi]).

    Glance sorts locations by the weights of their stores, so their order does not count.

    Args:
        image: as a list of images gives it, since showing it may change it already.
        wanted: its locations as they shall be, as `relocated` gives them.
        catalogue: today's stores.
        volume_types: what Cinder says of each volume that the locations name, by id.
        delayed_delete: the option of that name in `glance-api.conf`.

    Returns:
        The way, or why there is none.

    >>> from imagevol_core import Store
    >>> volume = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
    >>> catalogue = StoreCatalogue(stores=(Store(name="fast", kind="cinder", volume_type="ssd"),))
    >>> def way(now, wanted):
    ...     image = Image(id="i", status="active", locations=(now,))
    ...     return plan_relocation(image, wanted=(wanted,), catalogue=catalogue, volume_types={volume: "ssd"})
    >>> today = ImageLocation(f"cinder://fast/{volume}", {"store": "fast"})
    >>> way(ImageLocation(f"cinder://{volume}"), today).way.value
    'show'
    >>> way(today, ImageLocation(f"cinder://{volume}")).way.value
    'refused'
    >>> print(way(ImageLocation(f"cinder://slow/{volume}", {"store": "fast"}), today).verdicts[-1])
    applies unguarded (i): removing a location makes Glance delete its volume, and the driver of 'fast' cannot be told \
not to: give it the driver 'imagevol' in enabled_backends and restart Glance
    """
    wanted = tuple(wanted)
    facts = RelocationFacts(
        image=image,
        wanted=wanted,
        shown=_shown(image, catalogue, volume_types),
        kept=_shown(replace(image, locations=wanted), catalogue, volume_types),
        replaced=tuple(_added(location, catalogue, volume_types) for location in wanted),
        catalogue=catalogue,
        answers=volume_types,
        delayed_delete=delayed_delete,
    )
    way, verdicts = first_match(RELOCATION_RULES[Policy.STRICT], facts, subject=image.id)
    return Relocation(
        image_id=image.id,
        way=way,
        before=image.locations,
        shown=facts.shown,
        wanted=wanted,
        verdicts=verdicts,
    )


def relocated(locations: Sequence[ImageLocation], changes: Iterable[LocationChange]) -> tuple[ImageLocation, ...]:
    """Give an image's locations with the changes made that are not made yet, wherever in their order Glance has them.

    Args:
        locations: of the image, as they are now; of a change that was broken off both locations may be there.
        changes: of its locations; those that alter nothing are passed over.

    Raises:
        InvalidFact: of a change neither location is there.

    >>> old, new = ImageLocation("cinder://old/v"), ImageLocation("cinder://new/v")
    >>> from imagevol_core import LocationOutcome
    >>> change = LocationChange(outcome=LocationOutcome.CHANGE, before=old, after=new, verdicts=())
    >>> relocated([old], [change]) == relocated([old, new], [change]) == relocated([new], [change]) == (new,)
    True
    """
    left: list[ImageLocation | None] = list(locations)
    places: defaultdict[ImageLocation, deque[int]] = defaultdict(deque)
    for at, location in enumerate(locations):
        places[location].append(at)
    for change in changes:
        if not change.alters:
            continue
        before, after = places[change.before], places[change.after]
        if not before and not after:
            before_url, after_url = shown_url(change.before.url), shown_url(change.after.url)
            raise InvalidFact("locations", f"neither {before_url} nor {after_url} is there as planned")
        if before:
            at = before.popleft()
            left[at] = None if after else change.after
            if not after:
                after.append(at)
    return tuple(location for location in left if location is not None)


def _shown(
    image: Image, catalogue: StoreCatalogue, volume_types: Mapping[str, VolumeAnswer]
) -> tuple[ImageLocation, ...]:
    changes = plan_image(image, catalogue=catalogue, volume_types=volume_types, policy=Policy.UPSTREAM)
    return tuple(change.after for change in changes)


def _added(
    location: ImageLocation, catalogue: StoreCatalogue, volume_types: Mapping[str, VolumeAnswer]
) -> ImageLocation:
    volume_id = location.url.rpartition("/")[2]
    answer = volume_types.get(volume_id, SILENCE)
    return plan_added_location(location, catalogue=catalogue, volume_type=answer, policy=Policy.UPSTREAM).after
