"""Whether a cached volume still is the image ([template])."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from imagevol_core.caching.admission import SPEC
from imagevol_core.caching.facts import CacheEntry, is_one_instant
from imagevol_core.facts import Image
from imagevol_core.sentences import said
from imagevol_core.verdicts import Choice, Policy, Verdict, first_match, table_of

__all__ = ["FRESHNESS_RULES", "Freshness", "FreshnessOutcome", "decide_freshness"]


# Whether it is still the image.


class FreshnessOutcome(Enum):
    """Whether a cached volume still holds the image.

    `STALE`: nothing shows that it is the image.  `OTHER_BYTES`: it is known to be another.  `FAILS`: the request fails,
    as in Cinder where a time is not known.
    """

    FRESH = "fresh"
    STALE = "stale"
    OTHER_BYTES = "other-bytes"
    FAILS = "fails"


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """Whether a cached volume still holds the image.

    Attributes:
        outcome: the answer.
        verdicts: the rules that were looked at, up to the one that decided.
    """

    outcome: FreshnessOutcome
    verdicts: tuple[Verdict, ...]

    @property
    def fresh(self) -> bool:
        """Whether it is still the image."""
        return self.outcome is FreshnessOutcome.FRESH

    @property
    def rule(self) -> str:
        """The id of the rule that decided."""
        return self.verdicts[-1].rule

    @property
    def because(self) -> str:
        """The facts that decided, as a sentence."""
        return self.verdicts[-1].text


class _Pair(NamedTuple):
    image: Image
    entry: CacheEntry


def decide_freshness(image: Image, *, entry: CacheEntry, policy: Policy = Policy.STRICT) -> Freshness:
    """Decide whether a cached volume still holds the image ([template]).

    Args:
        image: as Glance shows it now.
        entry: the cached volume.
        policy: whose rules.  Under `UPSTREAM`, what Cinder 29.0.0 answers (`ImageVolumeCache._should_update_entry`).

    Returns:
        The answer, and the rule that gave it, which is the first that applies.

    >>> from datetime import UTC, datetime
    >>> from imagevol_core import Digest
    >>> entry = CacheEntry(volume_id="v", image_id="i", size_gib=1, digest=Digest("sha512", "ab"),
    ...                    image_updated_at=datetime(2025, 1, 1, tzinfo=UTC))
    >>> edited = Image(id="i", digest=Digest("sha512", "ab"), updated_at=datetime(2026, 1, 1, tzinfo=UTC))
    >>> decide_freshness(edited, entry=entry).rule
    'same-multihash'
    >>> decide_freshness(edited, entry=entry, policy=Policy.UPSTREAM).rule
    'other-instant'
    """
    outcome, verdicts = first_match(table_of(FRESHNESS_RULES, policy), _Pair(image, entry))
    return Freshness(outcome=outcome, verdicts=verdicts)


def _other_image(pair: _Pair) -> tuple[bool, str]:
    there, here = pair.entry.image_id, pair.image.id
    return there != here, f"it was made from image {said(there)}; this is image {said(here)}"


def _same_multihash(pair: _Pair) -> tuple[bool, str]:
    now, then = pair.image.digest, pair.entry.digest
    if now is not None and now == then:
        return True, f"the image's multihash is still {now.short}"
    short = now is None or then is None or now.short != then.short
    texts = (said(each and (each.short if short else each)) for each in (now, then))
    return False, "the image's multihash is {}, and was {}".format(*texts)


def _other_multihash(pair: _Pair) -> tuple[bool, str]:
    same, text = _same_multihash(pair)
    return None not in (pair.image.digest, pair.entry.digest) and not same, text


def _same_instant(pair: _Pair) -> tuple[bool, str]:
    now, then = pair.image.updated_at, pair.entry.image_updated_at
    if now is not None and then is not None and is_one_instant(now, then):
        return True, f"the image's updated_at is {now}, as it was"
    return False, f"the image's updated_at is {said(now)}, and was {said(then)}"


def _undated(pair: _Pair) -> tuple[bool, str]:
    undated = pair.image.updated_at is None or pair.entry.image_updated_at is None
    return undated, "Cinder fails with an AttributeError" if undated else "both times are known"


def _otherwise(pair: _Pair) -> tuple[bool, str]:
    return True, _same_instant(pair)[1]


_UPDATE = "cinder ImageVolumeCache._should_update_entry"
FRESHNESS_RULES: Mapping[Policy, tuple[Choice[_Pair, FreshnessOutcome], ...]] = {
    Policy.STRICT: (
        Choice(
            id="other-image",
            text="stale: made from another image",
            source=SPEC,
            applies=_other_image,
            outcome=FreshnessOutcome.OTHER_BYTES,
        ),
        Choice(
            id="same-multihash",
            text="fresh: the bytes are the same, whatever the dates say",
            source=SPEC,
            applies=_same_multihash,
            outcome=FreshnessOutcome.FRESH,
        ),
        Choice(
            id="other-multihash",
            text="stale: the bytes are others",
            source=SPEC,
            applies=_other_multihash,
            outcome=FreshnessOutcome.OTHER_BYTES,
        ),
        Choice(
            id="same-instant",
            text="fresh: the image was not edited since",
            source=SPEC,
            applies=_same_instant,
            outcome=FreshnessOutcome.FRESH,
        ),
        Choice(
            id="not-known-same",
            text="stale: nothing shows that the bytes are the same",
            source=SPEC,
            applies=_otherwise,
            outcome=FreshnessOutcome.STALE,
        ),
    ),
    Policy.UPSTREAM: (
        Choice(
            id="same-instant",
            text="fresh: the image was not edited since",
            source=_UPDATE,
            applies=_same_instant,
            outcome=FreshnessOutcome.FRESH,
        ),
        Choice(
            id="undated",
            text="a time is not known: the request fails",
            source=_UPDATE,
            applies=_undated,
            outcome=FreshnessOutcome.FAILS,
        ),
        Choice(
            id="other-instant",
            text="stale: the image was edited, in any way",
            source=_UPDATE,
            applies=_otherwise,
            outcome=FreshnessOutcome.STALE,
        ),
    ),
}
