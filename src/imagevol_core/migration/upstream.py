"""What Glance 33.0.0 makes of a location, when an image is shown and when a location is added."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from imagevol_core.facts import ImageLocation
from imagevol_core.locations import CinderLocation, UnreadLocation, read_location
from imagevol_core.migration.facts import CINDER, Ask, LocationOutcome
from imagevol_core.stores import RESERVED_STORES, StoreCatalogue, store_of_location
from imagevol_core.verdicts import Choice, Policy

__all__ = ["UPSTREAM_ADDED_RULES", "UPSTREAM_MIGRATION_RULES", "GlanceLookup"]


_QUERY = re.compile(r"[?#]")
_S3 = ("s3://", "s3+http://", "s3+https://")


@dataclass(frozen=True, slots=True, kw_only=True)
class GlanceLookup:
    """What the rules of Glance look at.

    Attributes:
        before: the location as it is.
        after: the location as Glance leaves it; of no meaning where it fails.
        fails: whether Glance fails on it, since it is not a URL.
        image_fails: whether Glance fails on another location of the image.
        kept: why Glance does not look for its store; None if it does.
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
        if before.url.startswith(CINDER):
            return _associate(lookup, catalogue, ask)
        return _match(lookup, catalogue)


def _scheme(url: str) -> str | None:
    """None if it is not a URL, of which Glance fails with a ValueError."""
    try:
        return urlsplit(url).scheme
    except ValueError:
        return None


def _why_kept(location: ImageLocation, catalogue: StoreCatalogue) -> str | None:
    if not catalogue.multi:
        return "enabled_backends is not set"
    name = location.metadata.get("store")
    if name and (catalogue.get(name) is not None or name in RESERVED_STORES):
        return f"its metadata names {name!r}, which is a store, and the URL is not looked at"
    return None


def _without_credentials(url: str) -> str:
    """Glance 33 takes the keys out of the locations of its S3 stores, and with them the query."""
    plain = _QUERY.split(url)[0]
    return f"{_scheme(url)}://{plain.rpartition('@')[2]}" if "@" in plain else url


def _associate(lookup: GlanceLookup, catalogue: StoreCatalogue, ask: Ask) -> GlanceLookup:
    """By what follows the last slash, which may be nothing."""
    url = lookup.after.url
    if not url.startswith(CINDER):
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
    return lookup.kept is not None, lookup.kept or "its metadata names no store that there is"


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
    text="its metadata names a store that there is, whatever its URL says, or there is one store and nothing to choose",
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
UPSTREAM_MIGRATION_RULES: tuple[Choice[Any, LocationOutcome], ...] = (
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
)
UPSTREAM_ADDED_RULES: tuple[Choice[Any, LocationOutcome], ...] = (
    replace(_NOT_A_URL, source=_ADDED),
    replace(_STORE_KNOWN, source=_ADDED, text="there is one store and nothing to choose"),
    _TYPE_ASSOCIATED,
    replace(_PREFIX_MATCHED, text="it is another URL and begins with the prefix of a store, the first of several"),
    replace(_NO_STORE, source=_ADDED),
)
