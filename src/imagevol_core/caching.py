"""Whether a cached volume still is the image, where it must be to serve, and what goes for another ([template]).

Cinder compares `updated_at`, so that any edit of an image's metadata, and Glance's own migration of its locations,
makes it copy again what has not changed.  The multihash says what matters: whether the bytes are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Literal, NamedTuple

from imagevol_core.collation import in_database
from imagevol_core.errors import InvalidFact, InvalidSize
from imagevol_core.facts import Digest, Image, Volume
from imagevol_core.sentences import said
from imagevol_core.verdicts import Choice, Policy, Requirement, Verdict, evaluate, failed, first_match

__all__ = [
    "ADMISSION_RULES",
    "FRESHNESS_RULES",
    "Admission",
    "CacheEntry",
    "CacheKey",
    "CacheLimits",
    "Freshness",
    "FreshnessOutcome",
    "cache_key",
    "decide_freshness",
    "plan_admission",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """A volume that is kept to be cloned, and what was known of its image when it was written.

    Args:
        volume_id: the volume.
        image_id: the image that it holds.
        size_gib: its size.
        image_updated_at: the image's `updated_at` then, with a time zone.
        digest: the image's multihash then.
        last_used: when it was last cloned, with a time zone.
        host: `host@backend#pool` of the volume.
        cluster_name: `cluster@backend#pool` of the volume, where Cinder runs active-active.
        in_use: whether something depends on it just now, such as a clone in the making.

    Raises:
        InvalidFact: a time has no zone, so that it names no instant.
        InvalidSize: the size is negative.
    """

    volume_id: str
    image_id: str
    size_gib: int
    image_updated_at: datetime | None = None
    digest: Digest | None = None
    last_used: datetime | None = None
    host: str | None = None
    cluster_name: str | None = None
    in_use: bool = False

    def __post_init__(self) -> None:
        """Refuse what no entry can be."""
        if self.size_gib < 0:
            raise InvalidSize("CacheEntry.size_gib", self.size_gib, "give a size of 0 or more")
        for name, value in (("image_updated_at", self.image_updated_at), ("last_used", self.last_used)):
            if value is not None and value.utcoffset() is None:
                raise InvalidFact(f"CacheEntry.{name}", f"{value.isoformat()} has no time zone; give one")


# Whether it is still the image.


class FreshnessOutcome(Enum):
    """What a cached volume is worth.

    `STALE`: nothing shows that it is the image.  `OTHER_BYTES`: it is known to be another.  `FAILS`: the request fails,
    as in Cinder where a time is not known.
    """

    FRESH = "fresh"
    STALE = "stale"
    OTHER_BYTES = "other-bytes"
    FAILS = "fails"


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """Whether a cached volume may be cloned in place of the image.

    Attributes:
        outcome: what it is worth.
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
    """Say whether a cached volume still is the image ([template]).

    Args:
        image: as Glance shows it now.
        entry: the cached volume.
        policy: whose rules.  Under `UPSTREAM`, what Cinder 29.0.0 answers (`ImageVolumeCache._should_update_entry`).

    Returns:
        The answer, and the rule that gave it, which is the first that applies.

    >>> from datetime import UTC, datetime
    >>> entry = CacheEntry(volume_id="v", image_id="i", size_gib=1, digest=Digest("sha512", "ab"),
    ...                    image_updated_at=datetime(2025, 1, 1, tzinfo=UTC))
    >>> edited = Image(id="i", digest=Digest("sha512", "ab"), updated_at=datetime(2026, 1, 1, tzinfo=UTC))
    >>> decide_freshness(edited, entry=entry).rule
    'same-multihash'
    >>> decide_freshness(edited, entry=entry, policy=Policy.UPSTREAM).rule
    'other-instant'
    """
    outcome, verdicts = first_match(FRESHNESS_RULES[policy], _Pair(image, entry))
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
    if now is not None and then is not None and _is_one_instant(now, then):
        return True, f"the image's updated_at is {now}, as it was"
    return False, f"the image's updated_at is {said(now)}, and was {said(then)}"


def _undated(pair: _Pair) -> tuple[bool, str]:
    undated = pair.image.updated_at is None or pair.entry.image_updated_at is None
    return undated, "Cinder fails with an AttributeError" if undated else "both times are known"


def _otherwise(pair: _Pair) -> tuple[bool, str]:
    return True, _same_instant(pair)[1]


_YEAR_1 = datetime.min  # noqa: DTZ901 - it is only ever compared with times whose zone was taken off


def _instant(value: datetime) -> timedelta:
    """The time since the year 1 in Greenwich: `==` never holds across zones in an hour that a clock repeats."""
    return value.replace(tzinfo=None) - _YEAR_1 - (value.utcoffset() or timedelta(0))


def _is_one_instant(one: datetime, other: datetime) -> bool:
    if one.tzinfo is UTC is other.tzinfo:  # nearly always, and many times quicker
        return one == other
    return _instant(one) == _instant(other)


_SPEC = "[template]"
_UPDATE = "cinder ImageVolumeCache._should_update_entry"

FRESHNESS_RULES: Mapping[Policy, tuple[Choice[_Pair, FreshnessOutcome], ...]] = {
    Policy.STRICT: (
        Choice(
            id="other-image",
            text="stale: made from another image",
            source=_SPEC,
            applies=_other_image,
            outcome=FreshnessOutcome.OTHER_BYTES,
        ),
        Choice(
            id="same-multihash",
            text="fresh: the bytes are the same, whatever the dates say",
            source=_SPEC,
            applies=_same_multihash,
            outcome=FreshnessOutcome.FRESH,
        ),
        Choice(
            id="other-multihash",
            text="stale: the bytes are others",
            source=_SPEC,
            applies=_other_multihash,
            outcome=FreshnessOutcome.OTHER_BYTES,
        ),
        Choice(
            id="same-instant",
            text="fresh: the image was not edited since",
            source=_SPEC,
            applies=_same_instant,
            outcome=FreshnessOutcome.FRESH,
        ),
        Choice(
            id="not-known-same",
            text="stale: nothing shows that the bytes are the same",
            source=_SPEC,
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


# Where it must be.

Scope = Literal["pool", "backend", "anywhere"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheKey:
    """Where a cached volume must be to serve a new one.

    Attributes:
        host: of the volume, where it matters.
        cluster_name: of the volume; where it is known, hosts do not matter.
        scope: whether it must be in that very pool, in any pool of that backend, or may be anywhere.
        by_database: whether names and ids are compared as Cinder's database compares them (`in_database`).
    """

    host: str | None = None
    cluster_name: str | None = None
    scope: Scope = "pool"
    by_database: bool = False

    def matches(self, entry: CacheEntry) -> bool:
        """Whether a cached volume is there; one of which that is not known is not.

        >>> CacheKey(host="h@fast#a", scope="backend").matches(
        ...     CacheEntry(volume_id="v", image_id="i", size_gib=1, host="h@fast#b"))
        True
        """
        wanted, there = (self.cluster_name, entry.cluster_name) if self.cluster_name else (self.host, entry.host)
        if self.by_database:
            wanted, there = in_database(wanted), in_database(there)
        return _IN_SCOPE[self.scope](wanted, there)


def _is_pool(wanted: str | None, there: str | None) -> bool:
    return bool(wanted) and wanted == there


def _is_backend(wanted: str | None, there: str | None) -> bool:
    return bool(wanted and there and wanted.partition("#")[0] == there.partition("#")[0] != "")


_IN_SCOPE: Mapping[Scope, Callable[[str | None, str | None], bool]] = {
    "pool": _is_pool,
    "backend": _is_backend,
    "anywhere": lambda *_: True,
}


def cache_key(target: Volume, *, clone_across_pools: bool = False, policy: Policy = Policy.STRICT) -> CacheKey:
    """Say where a cached volume must be to serve `target` ([clone]: never on another backend).

    Args:
        target: the volume to be made.
        clone_across_pools: what its backend can do (`Backend.clone_across_pools`).
        policy: whose rules.  Under `UPSTREAM`, what Cinder 29.0.0 asks its database for
            (`ImageVolumeCache._get_query_filters`): with `clone_across_pools` nothing at all, so that a volume of
            another array is found, which then cannot be cloned.  What is evicted it looks up without that.

    >>> target = Volume(id="t", size_gib=1, host="h@fast#a")
    >>> cache_key(target, clone_across_pools=True).scope
    'backend'
    >>> cache_key(target, clone_across_pools=True, policy=Policy.UPSTREAM).scope
    'anywhere'
    """
    return _KEYS[policy](target, clone_across_pools)


def _key(target: Volume, across: bool) -> CacheKey:
    scope: Scope = "backend" if across else "pool"
    return CacheKey(host=target.host, cluster_name=target.cluster_name, scope=scope)


def _key_upstream(target: Volume, across: bool) -> CacheKey:
    if target.cluster_name:
        return CacheKey(cluster_name=target.cluster_name, by_database=True)
    if across or target.host is None:  # a filter without a value is dropped
        return CacheKey(scope="anywhere", by_database=True)
    return CacheKey(host=target.host, by_database=True)


_KEYS = {Policy.STRICT: _key, Policy.UPSTREAM: _key_upstream}


# What goes to make room.


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLimits:
    """How large a cache may grow; 0 is unlimited.

    Args:
        max_gib: all its volumes together (Cinder's `image_volume_cache_max_size_gb`).
        max_count: how many volumes (`image_volume_cache_max_count`).

    Raises:
        InvalidSize: a limit is negative.
    """

    max_gib: int = 0
    max_count: int = 0

    def __post_init__(self) -> None:
        """Refuse what limits nothing."""
        for name, value in (("max_gib", self.max_gib), ("max_count", self.max_count)):
            if value < 0:
                raise InvalidSize(f"CacheLimits.{name}", value, "give 0 for no limit, or more")

    def hold(self, *, size_gib: int, count: int) -> bool:
        """Whether a cache of this size keeps within them."""
        return (not self.max_gib or size_gib <= self.max_gib) and (not self.max_count or count <= self.max_count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Whether a volume is added to the cache, and what goes for it.

    Attributes:
        admitted: whether it is.
        evict: the entries to delete first, in this order; empty where it is not admitted.
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
    """Say which entries go to admit another, least recently used first; a refusal evicts nothing.

    The entries that go are the least recently used ones that may go, and one fewer would not do.  An entry that is in
    use never goes.  Among equals, and among those never used, the volume id decides.

    Args:
        entries: all that count towards the limits.
        newcomer_gib: the size of what is to be admitted.
        limits: how large the cache may be afterwards.
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
    staying, going = _QUEUES[policy](tuple(known.values()))
    newcomer = _Newcomer(size_gib=newcomer_gib, limits=limits, staying=staying)
    verdicts = evaluate(ADMISSION_RULES[policy], newcomer)
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


def last_use(entry: CacheEntry) -> tuple[timedelta, str]:
    """What cached volumes are ordered by: when they were last used, never first; then their ids."""
    return timedelta.min if entry.last_used is None else _instant(entry.last_used), entry.volume_id


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
            source=_SPEC,
            holds=_fits_max_gib,
        ),
        Requirement(
            id="fits-max-count",
            text="it fits the limit in volumes beside what is in use",
            source=_SPEC,
            holds=_fits_max_count,
        ),
    ),
    Policy.UPSTREAM: (
        Requirement(id="fits-max-gib", text="alone it fits the limit in GiB", source=_SPACE, holds=_fits_max_gib),
    ),
}
