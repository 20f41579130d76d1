"""What Cinder's image cache has for a request, and what must go for what it has not ([clone]).

The rules say whether the cache serves the request at all; every cached volume of the image is then looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from imagevol_core.caching import (
    CacheEntry,
    CacheLimits,
    Freshness,
    FreshnessOutcome,
    cache_key,
    decide_freshness,
    last_use,
    plan_admission,
)
from imagevol_core.collation import in_database
from imagevol_core.facts import Backend, Image, Volume
from imagevol_core.sentences import answered
from imagevol_core.sizing import GIB, gib_for, least_size_bytes, virtual_size_bytes
from imagevol_core.templates import least_gib_upstream
from imagevol_core.verdicts import Policy, Requirement, Verdict, evaluate, failed, joined, table_of

__all__ = ["CACHED_RULES", "CACHE_RULES", "CacheUse", "ImageCache", "Lookup", "look_up"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCache:
    """The cached volumes of a backend, and what the operator allows of them.

    Args:
        enabled: whether the backend has a cache (Cinder's `image_volume_cache_enabled`).
        internal_tenant: whether Cinder's internal tenant, that owns the cached volumes, is configured.
        entries: the cached volumes of the backend; under `UPSTREAM` of all of them, most recently used first.
        limits: how large it may grow.
    """

    enabled: bool = False
    internal_tenant: bool | None = None
    entries: tuple[CacheEntry, ...] = ()
    limits: CacheLimits = field(default_factory=CacheLimits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """What the cache has for one request.

    Attributes:
        fresh: the entries to clone, best first.
        present: the entries for which no other is made.
        stale: the volumes of entries that are no longer the image.
        stale_later: the same, of which Cinder sees that only when it has copied the image.
        newcomer_gib: the size of a cached volume to be made.
        admitted: whether it may be made.
        evict: the volumes that go for it, in this order.
        fails: how the request fails at once; empty if it does not.
        fails_later: how the request fails once Cinder has copied the image; empty if it does not.
        cannot_serve: why there is nothing to clone; empty if there is.
        cannot_admit: why none may be made; empty if one may.
        verdicts: whether the cache serves the request at all, then what was said of each entry, and of admission.
    """

    fresh: tuple[CacheEntry, ...] = ()
    present: tuple[CacheEntry, ...] = ()
    stale: tuple[str, ...] = ()
    stale_later: tuple[str, ...] = ()
    newcomer_gib: int | None = None
    admitted: bool = False
    evict: tuple[str, ...] = ()
    fails: str = ""
    fails_later: str = ""
    cannot_serve: str = ""
    cannot_admit: str = ""
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUse:
    """What the rules about the cache look at."""

    target: Volume
    cache: ImageCache


@dataclass(frozen=True, slots=True, kw_only=True)
class Cached:
    """What the rules about one cached volume of the image look at."""

    entry: CacheEntry
    freshness: Freshness
    target: Volume

    @property
    def fits(self) -> bool:
        """Whether it is no larger than the new volume, which cannot be smaller than what it is cloned from."""
        return self.entry.size_gib <= self.target.size_gib


# What the cache has.


def look_up(image: Image, *, target: Volume, backend: Backend, cache: ImageCache, policy: Policy) -> Lookup:
    """Find what the cache has for a request, and what must go for what it has not."""
    use = CacheUse(target=target, cache=cache)
    serves = evaluate(table_of(CACHE_RULES, policy), use)
    if in_the_way := failed(serves):
        text = joined(in_the_way)
        return Lookup(cannot_serve=text, cannot_admit=text, verdicts=serves)
    key = cache_key(target, clone_across_pools=backend.clone_across_pools, policy=policy)
    spelled = in_database if key.by_database else str
    of_image = (entry for entry in cache.entries if spelled(entry.image_id) == spelled(image.id))
    here = tuple(entry for entry in of_image if key.matches(entry))
    found = table_of(_LOOK_UPS, policy)(image, use, here)
    return replace(found, verdicts=serves + found.verdicts)


def _look_up(image: Image, use: CacheUse, here: tuple[CacheEntry, ...]) -> Lookup:
    target, cache = use.target, use.cache
    verdicts, stale, _ = _judge(image, here, target=target, policy=Policy.STRICT)
    going = frozenset(stale)
    fresh = [entry for entry in here if entry.volume_id not in going]
    usable = sorted((entry for entry in fresh if entry.size_gib <= target.size_gib), key=last_use, reverse=True)
    newcomer_gib = gib_for(least_size_bytes(image) or 0) if virtual_size_bytes(image) else target.size_gib
    kept = (entry for entry in cache.entries if entry.volume_id not in going)
    admission = plan_admission(kept, newcomer_gib=newcomer_gib, limits=cache.limits)
    clonable = tuple(sorted(usable, key=lambda entry: entry.host != target.host))
    return Lookup(
        fresh=clonable,
        present=clonable,
        stale=stale,
        newcomer_gib=newcomer_gib,
        admitted=admission.admitted,
        evict=tuple(entry.volume_id for entry in admission.evict),
        cannot_serve="" if usable else joined(failed(verdicts)) or _NOTHING,
        cannot_admit=joined(failed(admission.verdicts)),
        verdicts=verdicts + admission.verdicts,
    )


def _look_up_upstream(image: Image, use: CacheUse, here: tuple[CacheEntry, ...]) -> Lookup:
    """Cinder looks at one entry at a time, the most recently used first, and deletes it if it is stale.

    It looks a first time before it does anything, a second time to clone the entry, and a third time, in the very pool
    of the new volume, before it adds what it has copied.  If the first entry is fresh it adds nothing.
    """
    target, cache = use.target, use.cache
    look = partial(_judge, image, target=target, policy=Policy.UPSTREAM)
    looked_at = here[:1]
    verdicts, stale, fails = look(looked_at)
    present = () if stale else looked_at
    if stale:
        again = look(here[1:2])
        verdicts, stale, fails = verdicts + again.verdicts, stale + again.stale, fails or again.fails
        looked_at = here[:2]
    fresh = tuple(entry for entry in looked_at if entry.volume_id not in stale)
    pool, fails_later = cache_key(target, policy=Policy.UPSTREAM), ""
    stale_later: tuple[str, ...] = ()
    if not present:
        last = tuple(entry for entry in (*fresh, *here[2:]) if pool.matches(entry))[:1]
        later, stale_later, fails_later = look(last)
        verdicts += later if last != fresh and not fails_later else ()
        present = () if stale_later else last
    newcomer_gib = _measured_gib(image) or target.size_gib
    gone = frozenset(stale + stale_later)
    kept = (entry for entry in cache.entries if pool.matches(entry) and entry.volume_id not in gone)
    admission = plan_admission(kept, newcomer_gib=newcomer_gib, limits=cache.limits, policy=Policy.UPSTREAM)
    return Lookup(
        fresh=fresh,
        present=present,
        stale=stale,
        stale_later=stale_later,
        fails=fails,
        fails_later=fails_later,
        newcomer_gib=newcomer_gib,
        admitted=admission.admitted,
        evict=tuple(entry.volume_id for entry in admission.evict),
        cannot_serve="" if fresh else joined(failed(verdicts)) or _NOTHING,
        cannot_admit=joined(failed(admission.verdicts)),
        verdicts=verdicts + admission.verdicts,
    )


def _measured_gib(image: Image) -> int | None:
    """Give the size that qemu-img will measure, in GiB; None if only Cinder will know it, or it is 0.

    Of a raw image that is the size of its file, in whole blocks.
    """
    if image.virtual_size_bytes is None and image.disk_format == "raw" and image.size_bytes is not None:
        blocks = -(-image.size_bytes // _BLOCK_BYTES)
        return math.ceil(float(blocks * _BLOCK_BYTES) / GIB)
    return least_gib_upstream(image)


_LOOK_UPS = {Policy.STRICT: _look_up, Policy.UPSTREAM: _look_up_upstream}
_BLOCK_BYTES = 512
_NOTHING = "the cache has no volume of this image where it could be cloned"


class _Judged(NamedTuple):
    """What was said of some cached volumes, which of them are stale, and how Cinder fails over one."""

    verdicts: tuple[Verdict, ...] = ()
    stale: tuple[str, ...] = ()
    fails: str = ""


def _judge(image: Image, entries: Iterable[CacheEntry], *, target: Volume, policy: Policy) -> _Judged:
    verdicts: list[Verdict] = []
    stale: list[str] = []
    fails = ""
    for entry in entries:
        cached = Cached(entry=entry, freshness=decide_freshness(image, entry=entry, policy=policy), target=target)
        verdicts.extend(evaluate(table_of(CACHED_RULES, policy), cached, subject=entry.volume_id))
        if not cached.freshness.fresh:
            stale.append(entry.volume_id)
        if cached.freshness.outcome is FreshnessOutcome.FAILS:
            fails = fails or cached.freshness.because
    return _Judged(tuple(verdicts), tuple(stale), fails)


# May a cached volume of the image be cloned?


def _cached_fresh(cached: Cached) -> tuple[bool, str]:
    return cached.freshness.fresh, cached.freshness.because


def _cached_fits(cached: Cached) -> tuple[bool, str]:
    return cached.fits, f"it has {cached.entry.size_gib} GiB and the new volume {cached.target.size_gib} GiB"


# Does the cache serve the request at all?


def _cache_enabled(use: CacheUse) -> tuple[bool, str]:
    return use.cache.enabled, f"the cache is {'' if use.cache.enabled else 'not '}enabled"


def _internal_tenant_known(use: CacheUse) -> tuple[bool, str]:
    known = use.cache.internal_tenant
    text = answered(known, "Cinder's internal tenant is configured", "Cinder's internal tenant is not configured")
    return known is True, text


def _encryption(use: CacheUse) -> str:
    return answered(use.target.encrypted, "the new volume is encrypted", "the new volume is not encrypted")


def _target_not_encrypted(use: CacheUse) -> tuple[bool, str]:
    return use.target.encrypted is False, _encryption(use)


def _target_not_encrypted_upstream(use: CacheUse) -> tuple[bool, str]:
    return not use.target.encrypted, _encryption(use)


_SPEC = "[clone] [template]"
_FLOW = "cinder CreateVolumeFromSpecTask._create_from_image"
_CACHE = "cinder CreateVolumeFromSpecTask._prepare_image_cache_entry"

CACHE_RULES: Mapping[Policy, tuple[Requirement[CacheUse], ...]] = {
    Policy.STRICT: (
        Requirement(id="cache-enabled", text="the backend has a cache", source=_SPEC, holds=_cache_enabled),
        Requirement(
            id="internal-tenant-known",
            text="Cinder's internal tenant, whose the cached volumes are, is configured",
            source=_SPEC,
            holds=_internal_tenant_known,
        ),
        Requirement(
            id="target-not-encrypted",
            text="the new volume is known not to be encrypted",
            source=_SPEC,
            holds=_target_not_encrypted,
        ),
    ),
    Policy.UPSTREAM: (
        Requirement(id="cache-enabled", text="the backend has a cache", source=_FLOW, holds=_cache_enabled),
        Requirement(
            id="target-not-encrypted",
            text="the new volume has no encryption key",
            source=_FLOW,
            holds=_target_not_encrypted_upstream,
        ),
        Requirement(
            id="internal-tenant-known",
            text="Cinder's internal tenant is configured",
            source=_CACHE,
            holds=_internal_tenant_known,
        ),
    ),
}

CACHED_RULES: Mapping[Policy, tuple[Requirement[Cached], ...]] = {
    Policy.STRICT: (
        Requirement(
            id="cached-fresh", text="it still is the image", source="[template]", holds=_cached_fresh, gate=True
        ),
        Requirement(
            id="cached-fits", text="it is not larger than the new volume", source="[clone]", holds=_cached_fits
        ),
    ),
    Policy.UPSTREAM: (
        Requirement(
            id="cached-fresh",
            text="it still is the image, as Cinder sees it; else Cinder deletes it",
            source="cinder ImageVolumeCache._should_update_entry",
            holds=_cached_fresh,
        ),
    ),
}
