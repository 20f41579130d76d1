"""The rules that `relocation` walks: the first that applies says how locations change, or why not ([multi])."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from imagevol_core.facts import Image, ImageLocation, NoAnswer, NotFound, VolumeAnswer
from imagevol_core.locations import CinderLocation, read_location
from imagevol_core.migration.facts import PLACEHOLDER
from imagevol_core.sentences import listed, quoted, said
from imagevol_core.stores import RESERVED_STORES, StoreCatalogue
from imagevol_core.verdicts import Choice, Policy

__all__ = [
    "RELOCATION_RULES",
    "SILENCE",
    "RelocationFacts",
    "RelocationWay",
    "printed_location",
    "spares_held_volume",
    "unfinished_imports",
    "volume_ids",
]

_HOLDING_KINDS = frozenset({"imagevol"})  # the drivers that let a held volume be
_IMPORTING = "os_glance_importing_to_stores"
SILENCE = NoAnswer("the answer does not mention it")


class RelocationWay(Enum):
    """How the locations of an image are changed to the wanted ones.

    `NOTHING`: they are right already.  `SHOW`, `REPLACE` and `MOVE` change them.  `UNKNOWN`: Cinder did not answer; ask
    again later.  `REFUSED`: there is no way.
    """

    NOTHING = "nothing"
    SHOW = "show"
    REPLACE = "replace"
    MOVE = "move"
    UNKNOWN = "unknown"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelocationFacts:
    """What the rules look at.

    Attributes:
        image: as it is listed.
        wanted: its locations as they are wanted.
        shown: its locations as Glance makes them when it is shown.
        kept: the wanted locations, shown again.
        replaced: the wanted locations as Glance takes them when they are sent.
        catalogue: today's stores.
        answers: what Cinder says of the volumes.
        delayed_delete: whether Glance deletes later.
    """

    image: Image
    wanted: tuple[ImageLocation, ...]
    shown: tuple[ImageLocation, ...]
    kept: tuple[ImageLocation, ...]
    replaced: tuple[ImageLocation, ...]
    catalogue: StoreCatalogue
    answers: Mapping[str, VolumeAnswer]
    delayed_delete: bool

    def answer(self, location: ImageLocation) -> VolumeAnswer:
        """What Cinder says of the volume that the location names."""
        named = read_location(location.url)
        return self.answers.get(named.volume_id, SILENCE) if isinstance(named, CinderLocation) else NotFound()

    def settled(self, location: ImageLocation) -> bool:
        """Whether Glance passes it over when the image is shown."""
        store = location.metadata.get("store")
        return not self.catalogue.multi or store in RESERVED_STORES or self.catalogue.get(store) is not None


def _same(one: Iterable[ImageLocation], other: Iterable[ImageLocation]) -> bool:
    return Counter(one) == Counter(other)


def volume_ids(locations: Iterable[ImageLocation]) -> list[str]:
    """Give the volumes that locations name, in their order."""
    named = (read_location(location.url) for location in locations)
    return [name.volume_id for name in named if isinstance(name, CinderLocation)]


def printed_location(location: ImageLocation) -> str:
    """Give a location as it can be printed: with its store, and without what could be a credential.

    >>> printed_location(ImageLocation("swift://account:user:key@auth.test/c/o", {"store": "objects"}))
    'swift://***@auth.test/c/o in store objects'
    """
    named = read_location(location.url)
    url = str(named) if isinstance(named, CinderLocation) else named.shown
    store = location.metadata.get("store")
    return f"{url} in store {said(store)}" if store else f"{url} in no store"


def unfinished_imports(image: Image) -> tuple[str, ...]:
    """Give the stores to which Glance is importing an image, or was when it was killed.

    Glance's API hides the placeholders of such an import, and shows the names of the stores.

    >>> unfinished_imports(Image(id="i", properties={"os_glance_importing_to_stores": "fast,slow"}))
    ('fast', 'slow')
    """
    return tuple(store for store in image.properties.get(_IMPORTING, "").split(",") if store)


def spares_held_volume(location: ImageLocation, *, catalogue: StoreCatalogue) -> bool:
    """Tell whether a held volume stays when Glance removes a location that names it.

    Args:
        location: the one that is removed.
        catalogue: today's stores.

    >>> from imagevol_core.stores import Store
    >>> ours = StoreCatalogue(stores=(Store(name="fast", kind="imagevol"),))
    >>> spares_held_volume(ImageLocation("cinder://fast/v", {"store": "fast"}), catalogue=ours)
    True
    >>> spares_held_volume(ImageLocation("cinder://fast/v", {"store": "other"}), catalogue=ours)
    False
    """
    return all(kind in _HOLDING_KINDS for _, kind in _removers(location, catalogue))


# When a rule applies.


def _as_wanted(facts: RelocationFacts) -> tuple[bool, str]:
    done = _same(facts.image.locations, facts.wanted)
    return done, f"its locations are {'' if done else 'not '}as they are wanted"


def _no_answer(facts: RelocationFacts) -> tuple[bool, str]:
    for location in (*facts.image.locations, *facts.wanted):
        answer = facts.answer(location)
        if isinstance(answer, NoAnswer):
            return True, f"Cinder gives no answer about the volume of {printed_location(location)}: {answer.reason!r}"
    return False, "Cinder answers"


def _importing(facts: RelocationFacts) -> tuple[bool, str]:
    for location in facts.image.locations:
        if location.url.startswith(PLACEHOLDER):
            return True, f"{printed_location(location)} is the placeholder of an import that is not finished"
    stores = unfinished_imports(facts.image)
    return (True, f"it is being imported to {listed(stores)}") if stores else (False, "no import is at it")


def _not_predicted(facts: RelocationFacts) -> tuple[bool, str]:
    for location in facts.image.locations:
        if not facts.settled(location) and isinstance(facts.answer(location), NotFound):
            text = "its store is not configured, and Cinder shows these credentials no volume of it"
            return True, f"what Glance makes of {printed_location(location)} is not known: {text}"
    return False, "what Glance makes of its locations is known"


def _would_be_undone(facts: RelocationFacts) -> tuple[bool, str]:
    for wanted, kept in zip(facts.wanted, facts.kept, strict=True):
        if wanted != kept:
            return True, (
                f"as soon as the image is shown, Glance itself makes {printed_location(kept)} of "
                f"{printed_location(wanted)}; first give glance-api.conf the stores that it belongs to, and restart "
                "Glance"
            )
    return False, "Glance keeps the locations that are wanted"


def _glance_itself(facts: RelocationFacts) -> tuple[bool, str]:
    same = _same(facts.shown, facts.wanted)
    return same, f"Glance {'comes' if same else 'does not come'} to them by itself when the image is shown"


def _not_active(facts: RelocationFacts) -> tuple[bool, str]:
    status = facts.image.status
    return status != "active", f"its status is {quoted(status)}, and Glance changes locations of active images only"


def _volume_missing(facts: RelocationFacts) -> tuple[bool, str]:
    for location in (*facts.image.locations, *facts.wanted):
        if isinstance(read_location(location.url), CinderLocation) and isinstance(facts.answer(location), NotFound):
            return True, f"Cinder shows these credentials no volume of {printed_location(location)}"
    return False, "Cinder knows the volumes"


def _other_kinds(facts: RelocationFacts) -> tuple[bool, str]:
    for location in (*facts.image.locations, *facts.wanted):
        if not isinstance(read_location(location.url), CinderLocation):
            text = "is not in a volume, so it cannot be held while the image is changed"
            return True, f"{printed_location(location)} {text}; take that location away first"
    return False, "all its locations are in volumes"


def _volumes_differ(facts: RelocationFacts) -> tuple[bool, str]:
    now, then = (set(volume_ids(locations)) for locations in (facts.image.locations, facts.wanted))
    return now != then, f"its locations name {listed(sorted(now))}, and would name {listed(sorted(then))}"


def _same_urls(facts: RelocationFacts) -> tuple[bool, str]:
    taken = _same(facts.replaced, facts.wanted)
    urls = Counter(location.url for location in facts.shown) == Counter(location.url for location in facts.wanted)
    same, kept = "" if urls else "not ", "as they are" if taken else "for others"
    return taken and urls, f"the URLs are {same}the same, and Glance takes them {kept}"


def _associated_elsewhere(facts: RelocationFacts) -> tuple[bool, str]:
    for wanted, replaced in zip(facts.wanted, facts.replaced, strict=True):
        if wanted != replaced and wanted not in facts.shown:
            return True, (
                f"sent {printed_location(wanted)}, Glance takes {printed_location(replaced)}, which is the first store "
                "of the volume's type; give each store a type of its own, or retype the volume to that of its store"
            )
    return False, "Glance takes what is sent as it is"


def _delayed_delete(facts: RelocationFacts) -> tuple[bool, str]:
    if facts.delayed_delete:
        return True, (
            "removing a location makes Glance delete its volume later, when nothing holds it any more: "
            "set delayed_delete = false in glance-api.conf and restart Glance"
        )
    return False, "delayed_delete is not set"


def _unguarded(facts: RelocationFacts) -> tuple[bool, str]:
    for location in (Counter(facts.shown) - Counter(facts.wanted)).elements():
        for name, kind in _removers(location, facts.catalogue):
            if kind not in _HOLDING_KINDS:
                setting = "enabled_backends" if facts.catalogue.multi else "stores of [glance_store]"
                return True, (
                    f"removing a location makes Glance delete its volume, and the driver of {name} cannot be told "
                    f"not to: give it the driver 'imagevol' in {setting} and restart Glance"
                )
    return False, "the driver lets a held volume be"


def _guarded(_facts: RelocationFacts) -> tuple[bool, str]:
    return True, "the new location is added and then the old one removed, while the volume is held"


def _removers(location: ImageLocation, catalogue: StoreCatalogue) -> Sequence[tuple[str, str | None]]:
    """The stores one of which Glance has delete the data of a location, and their drivers."""
    if catalogue.multi:
        name = location.metadata.get("store")
        store = catalogue.get(name)
        return [(repr(name) if name else "its store", store.kind if store else None)]
    return [(repr(store.name), store.kind) for store in catalogue.stores if store.is_cinder]


_SPEC = "[multi]"


_SHOWN = "glance.common.store_utils.update_store_in_locations"
_SENT = "glance.common.store_utils.get_updated_store_location"
_REPLACED = "glance.location._locations_proxy"
_PATCHED = "glance.api.v2.images.ImagesController.update"
_REMOVED = "glance.common.store_utils.safe_delete_from_backend"

RELOCATION_RULES: Mapping[Policy, tuple[Choice[RelocationFacts, RelocationWay], ...]] = {
    Policy.STRICT: (
        Choice(
            id="as-wanted",
            text="nothing: the locations are as they are wanted",
            source=_SPEC,
            applies=_as_wanted,
            outcome=RelocationWay.NOTHING,
        ),
        Choice(
            id="no-answer",
            text="refused: Cinder does not answer, so that nothing is known",
            source=_SPEC,
            applies=_no_answer,
            outcome=RelocationWay.UNKNOWN,
        ),
        Choice(
            id="importing",
            text="refused: an import changes the locations of the image",
            source=_PATCHED,
            applies=_importing,
            outcome=RelocationWay.REFUSED,
        ),
        Choice(
            id="not-predicted",
            text="refused: Glance would also look at a location of which it is not known what it makes of it",
            source=_SHOWN,
            applies=_not_predicted,
            outcome=RelocationWay.REFUSED,
        ),
        Choice(
            id="would-be-undone",
            text="refused: Glance itself would change what is wanted, the next time that the image is shown",
            source=_SHOWN,
            applies=_would_be_undone,
            outcome=RelocationWay.REFUSED,
        ),
        Choice(
            id="glance-itself",
            text="show the image: Glance migrates it by itself, to what is wanted",
            source=_SHOWN,
            applies=_glance_itself,
            outcome=RelocationWay.SHOW,
        ),
        Choice(
            id="not-active",
            text="refused: Glance changes no locations of an image in this state",
            source=_PATCHED,
            applies=_not_active,
            outcome=RelocationWay.REFUSED,
        ),
        Choice(
            id="volume-missing",
            text="refused: Cinder knows no such volume",
            source=_SPEC,
            applies=_volume_missing,
            outcome=RelocationWay.REFUSED,
        ),
        Choice(
            id="other-kinds",
            text="refused: another location cannot be held, and a simultaneous change could delete its data",
            source=_REMOVED,
            applies=_other_kinds,
            outcome=RelocationWay.REFUSED,
        ),
        Choice(
            id="volumes-differ",
            text="refused: a volume would be lost, or another one gained",
            source=_SPEC,
            applies=_volumes_differ,
            outcome=RelocationWay.REFUSED,
        ),
        Choice(
            id="same-urls",
            text="replace the locations by others with the same URLs: Glance takes the metadata",
            source=_REPLACED,
            applies=_same_urls,
            outcome=RelocationWay.REPLACE,
        ),
        Choice(
            id="associated-elsewhere",
            text="refused: Glance would take another store for the location",
            source=_SENT,
            applies=_associated_elsewhere,
            outcome=RelocationWay.REFUSED,
        ),
        Choice(
            id="delayed-delete",
            text="refused: the volume would be deleted when it is held no more",
            source=_REMOVED,
            applies=_delayed_delete,
            outcome=RelocationWay.REFUSED,
        ),
        Choice(
            id="unguarded",
            text="refused: the store's driver deletes the volume with the location that is removed",
            source=_REMOVED,
            applies=_unguarded,
            outcome=RelocationWay.REFUSED,
        ),
        Choice(
            id="guarded",
            text="hold the volume, add the new location, remove the old one, hold it no more",
            source=_REMOVED,
            applies=_guarded,
            outcome=RelocationWay.MOVE,
        ),
    ),
}
