"""The rules that `migration` walks: the first that applies says what becomes of a location ([multi]).

The type of the volume decides which store a location belongs to; what the URL says decides only where the type leaves a
choice; what Cinder did not answer changes nothing.  What Glance does is in `upstream`.
"""

from __future__ import annotations

import re
from typing import Any

from imagevol_core.facts import NoAnswer, NotFound
from imagevol_core.locations import CinderLocation
from imagevol_core.migration.facts import PLACEHOLDER, LocationOutcome, Placement
from imagevol_core.sentences import listed, quoted
from imagevol_core.verdicts import Choice

__all__ = ["STRICT_ADDED_RULES", "STRICT_MIGRATION_RULES"]


_MEANT_FOR_CINDER = re.compile(r"[\s\x00-\x1f]*cinder:", re.IGNORECASE)


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


_SPEC = "[multi]"
STRICT_MIGRATION_RULES: tuple[Choice[Any, LocationOutcome], ...] = (
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
        text="the URL and the metadata name the store that it is in",
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
        text="the URL and the metadata name different stores: the type of the volume decides",
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
)
STRICT_ADDED_RULES: tuple[Choice[Any, LocationOutcome], ...] = STRICT_MIGRATION_RULES
