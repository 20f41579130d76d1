"""What the rules of migration look at, and what becomes of a location ([multi])."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from imagevol_core.facts import ImageLocation, VolumeAnswer
from imagevol_core.locations import CinderLocation, UnreadLocation, is_store_name, read_location
from imagevol_core.stores import StoreCatalogue

__all__ = ["PLACEHOLDER", "Ask", "LocationOutcome", "Placement"]


CINDER = "cinder://"
PLACEHOLDER = "pending://"
"""What the URL of a location begins with while Glance imports an image to several stores at once."""


class LocationOutcome(Enum):
    """What becomes of a location.

    `KEEP`: it is right.  `CHANGE` and `REPAIR` alter it, `REPAIR` if its URL and its metadata disagree.  Nothing is
    altered in any other case: several stores have the type (`AMBIGUOUS`), no store has it (`NO_STORE`), Cinder has no
    such volume (`MISSING_VOLUME`) or does not answer (`NO_ANSWER`), the location names no volume (`MALFORMED`,
    `NOT_CINDER`), or it is a placeholder of an import (`IMPORT_UNFINISHED`).
    """

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
        chosen: the store that it should be in; None if none can be chosen.
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
            url = f"{CINDER}{chosen}/{named.volume_id}"
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


def _choose(in_url: str | None, candidates: tuple[str, ...], renames: Mapping[str, str]) -> str | None:
    """Choose by what the URL names, first as it stands: planned again a renamed location stays, also in a swap."""
    if in_url in candidates:
        return in_url
    renamed = renames.get(in_url) if in_url else None
    if renamed in candidates:
        return renamed
    return candidates[0] if len(candidates) == 1 else None
