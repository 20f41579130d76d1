"""The rules that `migration` walks: the first that applies says what becomes of a location ([multi]).

`STRICT`: the type of the volume decides which store a location belongs to; what the URL says decides only where the
type leaves a choice; what Cinder did not answer changes nothing.  `UPSTREAM` is what Glance 33.0.0 does when an image
is shown, and, in a table of its own, when a location is added to an image.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from imagevol_core.facts import ImageLocation
from imagevol_core.locations import CinderLocation, UnreadLocation, is_store_name, read_location
from imagevol_core.sentences import listed, quoted
from imagevol_core.stores import RESERVED_STORES, StoreCatalogue, store_of_location
from imagevol_core.verdicts import Choice, Policy

__all__ = [
    "ADDED_RULES",
    "MIGRATION_RULES",
    "PLACEHOLDER",
    "GlanceLookup",
    "LocationOutcome",
    "NoAnswer",
    "NotFound",
    "Placement",
    "VolumeAnswer",
]

_CINDER = "cinder://"
_MEANT_FOR_CINDER = re.compile(r"[\s\x00-\x1f]*cinder:", re.IGNORECASE)
PLACEHOLDER = "pending://"
"""What the URL of a location begins with while Glance imports an image to several stores at once."""

_QUERY = re.compile(r"[?#]")
_S3 = ("s3://", "s3+http://", "s3+https://")


class LocationOutcome(Enum):
    """What becomes of a location; only `CHANGE` and `REPAIR` alter it."""

    KEEP = "keep"
    CHANGE = "change"
    REPAIR = "repair"
    AMBIGUOUS = "ambiguous"
    NO_STORE = "no-store"
    MISSING_VOLUME = "missing-volume"
    NO_ANSWER = "no-answer"
    MALFORMED = "malformed"
    NOT_CINDER = "not-cinder"
    IMPORT_UNFINISHED = "import-unfinished"


@dataclass(frozen=True, slots=True)
class NotFound:
    """Cinder knows no such volume, or Glance no such image, or does not show it to these credentials."""


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Whether there is such a volume, or image, is not known.

    Args:
        reason: why not, in a phrase without credentials; it is told.
    """

    reason: str


# What Cinder says of a volume: the name of its type, or None for a volume without a type.
VolumeAnswer = str | NotFound | NoAnswer | None
Ask = Callable[[str], VolumeAnswer]  # by the id of a volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What the strict rules look at.

    Attributes:
        before: the location as it is.
        named: what it names, or why it names nothing.
        multi: whether its Glance has several stores.
        after: the location as it should be; as it is where no store can be chosen.
        answer: what Cinder says of the volume.
        candidates: the names of the stores whose type the volume has, sorted; without those that no location can name.
        chosen: the store that it should be in; None where none can be chosen.
        crowded: the URLs that two locations of the image would have.
    """

    before: ImageLocation
    named: CinderLocation | UnreadLocation
    multi: bool
    after: ImageLocation
    answer: VolumeAnswer = None
    candidates: tuple[str, ...] = ()
    chosen: str | None = None
    crowded: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        before: ImageLocation,
        *,
        catalogue: StoreCatalogue,
        ask: Ask,
        renames: Mapping[str, str],
    ) -> Placement:
        """Find the store that the location should be in."""
        named = read_location(before.url)
        multi = catalogue.multi
        if isinstance(named, UnreadLocation):
            return cls(before=before, named=named, multi=multi, after=before)
        answer = ask(named.volume_id)
        if not multi or not isinstance(answer, str):
            return cls(before=before, named=named, multi=multi, after=before, answer=answer)
        of_type = catalogue.of_type(answer)
        candidates = tuple(sorted(store.name for store in of_type if is_store_name(store.name)))
        chosen = _choose(named.store, candidates, renames)
        after = before
        if chosen is not None:
            url = f"{_CINDER}{chosen}/{named.volume_id}"
            after = ImageLocation(url, {**before.metadata, "store": chosen})
        return cls(
            before=before,
            named=named,
            multi=multi,
            after=after,
            answer=answer,
            candidates=candidates,
            chosen=chosen,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GlanceLookup:
    """What the rules of Glance look at.

    Attributes:
        before: the location as it is.
        after: the location as Glance leaves it; of no meaning where it fails.
        fails: whether Glance fails on it, since it is not a URL.
        image_fails: whether Glance fails on another location of the image.
        kept: why Glance does not look for its store; None where it does.
        associated: the first store whose type the volume has.
        matched: the first store whose prefix the URL begins with.
    """

    before: ImageLocation
    after: ImageLocation
    fails: bool = False
    image_fails: bool = False
    kept: str | None = None
    associated: str | None = None
    matched: str | None = None

    @property
    def named(self) -> CinderLocation | UnreadLocation:
        """What the location names, read strictly, or why it names nothing."""
        return read_location(self.before.url)

    @classmethod
    def when_shown(cls, before: ImageLocation, *, catalogue: StoreCatalogue, ask: Ask) -> GlanceLookup:
        """Look as `ImageRepoProxy.get` does, which is `update_store_in_locations`."""
        kept = _why_kept(before, catalogue)
        lookup = cls(before=before, after=before, kept=kept)
        if before.url.startswith(_S3) and "@" in before.url:
            if _scheme(before.url) is None:
                return replace(lookup, fails=True)
            lookup = replace(lookup, after=replace(before, url=_without_credentials(before.url)))
        if kept is not None:
            return lookup
        return _match(_associate(lookup, catalogue, ask), catalogue)

    @classmethod
    def when_added(cls, before: ImageLocation, *, catalogue: StoreCatalogue, ask: Ask) -> GlanceLookup:
        """Look as the (old) Location API does, which is `get_updated_store_location`."""
        kept = None if catalogue.multi else "enabled_backends is not set"
        lookup = cls(before=before, after=before, kept=kept)
        if kept is not None:
            return lookup
        if before.url.startswith(_CINDER):
            return _associate(lookup, catalogue, ask)
        return _match(lookup, catalogue)


def _choose(in_url: str | None, candidates: tuple[str, ...], renames: Mapping[str, str]) -> str | None:
    """Choose by what the URL names, first as it stands: planned again a renamed location stays, also in a swap."""
    if in_url in candidates:
        return in_url
    renamed = renames.get(in_url) if in_url else None
    if renamed in candidates:
        return renamed
    return candidates[0] if len(candidates) == 1 else None


def _scheme(url: str) -> str | None:
    """None where it is not a URL, of which Glance fails with a ValueError."""
    try:
        return urlsplit(url).scheme
    except ValueError:
        return None


def _why_kept(location: ImageLocation, catalogue: StoreCatalogue) -> str | None:
    if not catalogue.multi:
        return "enabled_backends is not set"
    name = location.metadata.get("store")
    if name and (catalogue.get(name) is not None or name in RESERVED_STORES):
        return f"its metadata name {name!r}, which is a store, and the URL is not looked at"
    return None


def _without_credentials(url: str) -> str:
    """Glance 33 takes the keys out of the locations of its S3 stores, and with them the query."""
    plain = _QUERY.split(url)[0]
    return f"{_scheme(url)}://{plain.rpartition('@')[2]}" if "@" in plain else url


def _associate(lookup: GlanceLookup, catalogue: StoreCatalogue, ask: Ask) -> GlanceLookup:
    """By what follows the last slash, which may be nothing."""
    url = lookup.after.url
    if not url.startswith(_CINDER):
        return lookup
    if _scheme(url) is None:
        return replace(lookup, fails=True)
    volume_id = url.rpartition("/")[2]
    answer = ask(volume_id)
    stores = catalogue.of_type(answer) if isinstance(answer, str) else ()
    if not stores:
        return lookup
    metadata = {**lookup.after.metadata, "store": stores[0].name}
    after = ImageLocation(f"{stores[0].prefix}/{volume_id}", metadata)
    return replace(lookup, after=after, associated=stores[0].name)


def _match(lookup: GlanceLookup, catalogue: StoreCatalogue) -> GlanceLookup:
    if _scheme(lookup.after.url) is None:
        return replace(lookup, fails=True)
    store = store_of_location(lookup.after, catalogue=catalogue, policy=Policy.UPSTREAM)
    if store is None:
        return lookup
    after = replace(lookup.after, metadata={**lookup.after.metadata, "store": store.name})
    return replace(lookup, after=after, matched=store.name)


# When a strict rule applies.


def _single_store(placement: Placement) -> tuple[bool, str]:
    return not placement.multi, f"enabled_backends is {'' if placement.multi else 'not '}set"


def _import_unfinished(placement: Placement) -> tuple[bool, str]:
    if not placement.before.url.startswith(PLACEHOLDER):
        return False, "it is no placeholder of an import"
    store = quoted(placement.before.metadata.get("store"))
    return True, (
        f"it is a placeholder: the import to store {store} is not finished. If no import is under way, it was "
        "interrupted: delete the image, or import it again"
    )


def _not_cinder(placement: Placement) -> tuple[bool, str]:
    if isinstance(placement.named, CinderLocation) or _MEANT_FOR_CINDER.match(placement.before.url):
        return False, "it is meant for a cinder store"
    return True, str(placement.named)


def _malformed(placement: Placement) -> tuple[bool, str]:
    if isinstance(placement.named, CinderLocation):
        return False, f"it names volume {placement.named.volume_id}"
    return True, str(placement.named)


def _no_answer(placement: Placement) -> tuple[bool, str]:
    if isinstance(placement.answer, NoAnswer):
        return True, f"Cinder gives no answer about the volume: {placement.answer.reason!r}"
    return False, "Cinder answers"


def _missing_volume(placement: Placement) -> tuple[bool, str]:
    if isinstance(placement.answer, NotFound):
        return True, "Cinder knows no such volume, or does not show it to these credentials"
    return False, "Cinder knows the volume"


def _no_store(placement: Placement) -> tuple[bool, str]:
    stores = listed(placement.candidates)
    return not placement.candidates, f"the volume's type is {placement.answer!r}, and of that type are stores: {stores}"


def _ambiguous(placement: Placement) -> tuple[bool, str]:
    if placement.chosen is not None:
        return False, f"it belongs to {placement.chosen!r}"
    return True, f"the URL names none of {listed(placement.candidates)}"


def _keep(placement: Placement) -> tuple[bool, str]:
    right = placement.after == placement.before
    return right, f"URL and metadata {'' if right else 'do not both '}name {placement.chosen!r}"


def _duplicate(placement: Placement) -> tuple[bool, str]:
    if placement.after.url in placement.crowded:
        return True, f"the image would have {placement.after.url} twice; take one of the two locations away"
    return False, "no other location of the image would have this URL"


def _repair(placement: Placement) -> tuple[bool, str]:
    in_url = placement.named.store if isinstance(placement.named, CinderLocation) else None
    in_metadata = placement.before.metadata.get("store")
    apart = bool(in_url and in_metadata and in_url != in_metadata)
    return apart, f"the URL names {in_url!r} and the metadata {in_metadata!r}; the volume's type decides"


def _change(placement: Placement) -> tuple[bool, str]:
    return True, f"it becomes {placement.after.url}"


# When a rule of Glance applies.


def _glance_fails(lookup: GlanceLookup) -> tuple[bool, str]:
    if lookup.fails:
        return True, "Glance fails with a ValueError, since this is not a URL, and saves nothing"
    return False, "Glance can read it as far as it looks"


def _image_fails(lookup: GlanceLookup) -> tuple[bool, str]:
    if lookup.image_fails:
        return True, "Glance fails with a ValueError on another location of the image, and saves nothing"
    return False, "Glance can read the other locations of the image"


def _s3_credentials(lookup: GlanceLookup) -> tuple[bool, str]:
    if lookup.before.url.startswith(_S3) and lookup.after.url != lookup.before.url:
        return True, "keys in the URL are taken out"
    return False, "no keys of an S3 store are in the URL"


def _kept(lookup: GlanceLookup) -> tuple[bool, str]:
    return lookup.kept is not None, lookup.kept or "its metadata name no store that there is"


def _associated(lookup: GlanceLookup) -> tuple[bool, str]:
    if lookup.associated is None:
        return False, "no store has the volume's type, or Cinder does not tell it"
    text = f"{lookup.associated!r} is the first store that has the volume's type"
    if lookup.matched in (None, lookup.associated):
        return True, text
    return True, f"{text}, and {lookup.matched!r} overrules it, whose prefix its name begins with"


def _matched(lookup: GlanceLookup) -> tuple[bool, str]:
    if lookup.matched is None:
        return False, "the URL begins with no store's prefix"
    return True, f"{lookup.matched!r} is the first store whose prefix the URL begins with"


def _no_store_upstream(_lookup: GlanceLookup) -> tuple[bool, str]:
    return True, "Glance finds no store; it logs a warning, and asks again every time"


_SPEC = "[multi]"
_SHOWN = "glance.common.store_utils.update_store_in_locations"
_ADDED = "glance.common.store_utils.get_updated_store_location"

_NOT_A_URL = Choice(
    id="not-a-url",
    text="Glance fails on it, since it is not a URL",
    source=_SHOWN,
    applies=_glance_fails,
    outcome=LocationOutcome.MALFORMED,
)
_STORE_KNOWN = Choice(
    id="store-known",
    text="its metadata name a store that there is, whatever its URL says, or there is one store and nothing to choose",
    source=_SHOWN,
    applies=_kept,
    outcome=LocationOutcome.KEEP,
)
_TYPE_ASSOCIATED = Choice(
    id="type-associated",
    text="it is a `cinder://` URL and a store has the type of its volume, the first of several",
    source="glance.common.store_utils._update_cinder_location_and_store_id",
    applies=_associated,
    outcome=LocationOutcome.CHANGE,
)
_PREFIX_MATCHED = Choice(
    id="prefix-matched",
    text="the URL begins with the prefix of a store, the first of several",
    source="glance.common.store_utils._get_store_id_from_uri",
    applies=_matched,
    outcome=LocationOutcome.CHANGE,
)
_NO_STORE = Choice(
    id="no-store",
    text="nothing says which store it is in",
    source=_SHOWN,
    applies=_no_store_upstream,
    outcome=LocationOutcome.NO_STORE,
)

MIGRATION_RULES: Mapping[Policy, tuple[Choice[Any, LocationOutcome], ...]] = {
    Policy.STRICT: (
        Choice(
            id="single-store",
            text="there is one store and its locations need no name",
            source=_SPEC,
            applies=_single_store,
            outcome=LocationOutcome.KEEP,
        ),
        Choice(
            id="import-unfinished",
            text="it is a placeholder, which Glance replaces when the import to that store ends",
            source="glance.async_.flows.parallel_api_image_import",
            applies=_import_unfinished,
            outcome=LocationOutcome.IMPORT_UNFINISHED,
        ),
        Choice(
            id="not-cinder",
            text="it is the location of another kind of store",
            source=_SPEC,
            applies=_not_cinder,
            outcome=LocationOutcome.NOT_CINDER,
        ),
        Choice(
            id="malformed",
            text="it is meant for a cinder store and names no volume",
            source=_SPEC,
            applies=_malformed,
            outcome=LocationOutcome.MALFORMED,
        ),
        Choice(
            id="no-answer",
            text="Cinder does not answer, so that nothing is known",
            source=_SPEC,
            applies=_no_answer,
            outcome=LocationOutcome.NO_ANSWER,
        ),
        Choice(
            id="missing-volume",
            text="Cinder knows no such volume",
            source=_SPEC,
            applies=_missing_volume,
            outcome=LocationOutcome.MISSING_VOLUME,
        ),
        Choice(
            id="no-store",
            text="no store has the type of the volume",
            source=_SPEC,
            applies=_no_store,
            outcome=LocationOutcome.NO_STORE,
        ),
        Choice(
            id="ambiguous",
            text="several stores have the type of the volume, and the URL names none of them, by its old name or new",
            source=_SPEC,
            applies=_ambiguous,
            outcome=LocationOutcome.AMBIGUOUS,
        ),
        Choice(
            id="keep",
            text="URL and metadata name the store that it is in",
            source=_SPEC,
            applies=_keep,
            outcome=LocationOutcome.KEEP,
        ),
        Choice(
            id="duplicate",
            text="it would have the URL of another location of the image, or get it together with another one",
            source=_SPEC,
            applies=_duplicate,
            outcome=LocationOutcome.AMBIGUOUS,
        ),
        Choice(
            id="repair",
            text="URL and metadata name different stores: the type of the volume decides",
            source=_SPEC,
            applies=_repair,
            outcome=LocationOutcome.REPAIR,
        ),
        Choice(
            id="change",
            text="it gets the name of the store that it is in",
            source=_SPEC,
            applies=_change,
            outcome=LocationOutcome.CHANGE,
        ),
    ),
    Policy.UPSTREAM: (
        _NOT_A_URL,
        Choice(
            id="image-not-saved",
            text="Glance fails on another location of the image",
            source=_SHOWN,
            applies=_image_fails,
            outcome=LocationOutcome.KEEP,
        ),
        Choice(
            id="keys-taken-out",
            text="it is of an S3 store and its URL holds keys",
            source="glance.common.store_utils._update_s3_location_credentials",
            applies=_s3_credentials,
            outcome=LocationOutcome.CHANGE,
        ),
        _STORE_KNOWN,
        _TYPE_ASSOCIATED,
        _PREFIX_MATCHED,
        _NO_STORE,
    ),
}

ADDED_RULES: Mapping[Policy, tuple[Choice[Any, LocationOutcome], ...]] = {
    Policy.STRICT: MIGRATION_RULES[Policy.STRICT],
    Policy.UPSTREAM: (
        replace(_NOT_A_URL, source=_ADDED),
        replace(_STORE_KNOWN, source=_ADDED, text="there is one store and nothing to choose"),
        _TYPE_ASSOCIATED,
        replace(_PREFIX_MATCHED, text="it is another URL and begins with the prefix of a store, the first of several"),
        replace(_NO_STORE, source=_ADDED),
    ),
}
