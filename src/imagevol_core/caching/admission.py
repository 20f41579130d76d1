"""Whether a cached volume still is the image, where it must be to serve, and what goes for another ([template]).

Cinder compares `updated_at`, so that any edit of an image's metadata, and Glance's own migration of its locations,
makes it copy again what has not changed.  The multihash says what matters: whether the bytes are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from imagevol_core.caching.facts import CacheEntry, CacheLimits, last_use
from imagevol_core.errors import InvalidFact, InvalidSize
from imagevol_core.verdicts import Policy, Requirement, Verdict, evaluate, failed, table_of

__all__ = ["ADMISSION_RULES", "Admission", "plan_admission"]


SPEC = "[template]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Whether a volume is added to the cache, and which entries are deleted to make room.

    Attributes:
        admitted: whether it is added.
        evict: the entries to delete first, in this order; empty if it is not admitted.
        verdicts: what each rule said.
    """

    admitted: bool
    evict: tuple[CacheEntry, ...]
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Newcomer:
    size_gib: int
    limits: CacheLimits
    staying: tuple[CacheEntry, ...]


def plan_admission(
    entries: Iterable[CacheEntry], *, newcomer_gib: int, limits: CacheLimits, policy: Policy = Policy.STRICT
) -> Admission:
    """Decide which entries to delete to make room for another one; a refusal deletes nothing.

    The least recently used entries are deleted, and no more than are needed.  An entry that is in use is never deleted.
    Among entries of equal age, and among those never used, the volume id decides.

    Args:
        entries: all that count towards the limits.
        newcomer_gib: the size of the new entry, in GiB.
        limits: how large the cache can be afterwards.
        policy: whose rules.  Under `UPSTREAM`, what Cinder 29.0.0 does (`ImageVolumeCache.ensure_space`): it takes
            the entries as its database lists them, most recently used first, and does not ask whether one is in use.

    Raises:
        InvalidFact: a volume is listed twice and differs.
        InvalidSize: the newcomer's size is negative.

    >>> from datetime import UTC, datetime
    >>> entries = [CacheEntry(volume_id=f"day {day}", image_id="i", size_gib=2,
    ...                       last_used=datetime(2026, 1, day, tzinfo=UTC)) for day in (2, 1)]
    >>> admission = plan_admission(entries, newcomer_gib=3, limits=CacheLimits(max_gib=5))
    >>> [entry.volume_id for entry in admission.evict]
    ['day 1']
    """
    if newcomer_gib < 0:
        raise InvalidSize("newcomer_gib", newcomer_gib, "give a size of 0 or more")
    known: dict[str, CacheEntry] = {}
    for entry in entries:
        if known.setdefault(entry.volume_id, entry) != entry:
            raise InvalidFact("entries", f"volume {entry.volume_id} is listed twice and differs; list each once")
    staying, going = table_of(_QUEUES, policy)(tuple(known.values()))
    newcomer = _Newcomer(size_gib=newcomer_gib, limits=limits, staying=staying)
    verdicts = evaluate(table_of(ADMISSION_RULES, policy), newcomer)
    admitted = not failed(verdicts)
    evict = _evict(newcomer, going) if admitted else ()
    return Admission(admitted=admitted, evict=evict, verdicts=verdicts)


def _evict(newcomer: _Newcomer, going: tuple[CacheEntry, ...]) -> tuple[CacheEntry, ...]:
    """The shortest beginning of `going` without which the limits hold."""
    everything = newcomer.staying + going
    size_gib = newcomer.size_gib + sum(entry.size_gib for entry in everything)
    evicted = 0
    while not newcomer.limits.hold(size_gib=size_gib, count=1 + len(everything) - evicted):
        size_gib -= going[evicted].size_gib
        evicted += 1
    return going[:evicted]


Entries = tuple[CacheEntry, ...]


def _least_recent_first(entries: Entries) -> tuple[Entries, Entries]:
    """Those that stay whatever happens, and the others in the order in which they go."""
    staying = tuple(entry for entry in entries if entry.in_use)
    return staying, tuple(sorted((entry for entry in entries if not entry.in_use), key=last_use))


def _last_listed_first(entries: Entries) -> tuple[Entries, Entries]:
    return (), entries[::-1]


_QUEUES = {Policy.STRICT: _least_recent_first, Policy.UPSTREAM: _last_listed_first}


def _fits_max_gib(newcomer: _Newcomer) -> tuple[bool, str]:
    least = newcomer.size_gib + sum(entry.size_gib for entry in newcomer.staying)
    text = f"it and what is in use have {least} GiB and {_limit(newcomer.limits.max_gib)}"
    return newcomer.limits.hold(size_gib=least, count=0), text


def _fits_max_count(newcomer: _Newcomer) -> tuple[bool, str]:
    least = 1 + len(newcomer.staying)
    text = f"it and what is in use are {least} and {_limit(newcomer.limits.max_count)}"
    return newcomer.limits.hold(size_gib=0, count=least), text


def _limit(limit: int) -> str:
    return f"the limit is {limit}" if limit else "there is no limit"


_SPACE = "cinder ImageVolumeCache.ensure_space"
ADMISSION_RULES: Mapping[Policy, tuple[Requirement[_Newcomer], ...]] = {
    Policy.STRICT: (
        Requirement(
            id="fits-max-gib",
            text="it fits the limit in GiB beside what is in use",
            source=SPEC,
            holds=_fits_max_gib,
        ),
        Requirement(
            id="fits-max-count",
            text="it fits the limit in volumes beside what is in use",
            source=SPEC,
            holds=_fits_max_count,
        ),
    ),
    Policy.UPSTREAM: (
        Requirement(id="fits-max-gib", text="alone it fits the limit in GiB", source=_SPACE, holds=_fits_max_gib),
    ),
}
