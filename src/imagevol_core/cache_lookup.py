"""What Cinder's image cache has for a request, and what must go for what it has not ([clone]).

The rules say whether the cache serves the request at all; every cached volume of the image is then looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from imagevol_core.caching import CacheEntry, CacheLimits, cache_key, decide_freshness, last_use, plan_admission
from imagevol_core.collation import in_database
from imagevol_core.facts import Backend, Image, Volume
from imagevol_core.sentences import answered
from imagevol_core.sizing import GIB, gib_for, least_size_bytes, virtual_size_bytes
from imagevol_core.template_rules import least_gib_upstream
from imagevol_core.verdicts import Policy, Rule, Verdict, evaluate, failed, joined

__all__ = ["CACHE_RULES", "CacheUse", "ImageCache", "Lookup", "look_up"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCache:
    """The cached volumes of a backend, and what the operator allows of them.

    Args:
        enabled: whether the backend has a cache (Cinder's `image_volume_cache_enabled`).
        internal_tenant: whether Cinder's internal tenant, to whom the cached volumes belong, is configured.
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
        fails_later: how the request fails once Cinder has copied the image; empty if it does not.
        cannot_serve: why there is nothing to clone; empty where there is.
        cannot_admit: why none may be made; empty where one may.
        verdicts: whether the cache serves the request at all, then what was said of each entry, and of admission.
    """

    fresh: tuple[CacheEntry, ...] = ()
    present: tuple[CacheEntry, ...] = ()
    stale: tuple[str, ...] = ()
    stale_later: tuple[str, ...] = ()
    newcomer_gib: int | None = None
    admitted: bool = False
    evict: tuple[str, ...] = ()
    fails_later: str = ""
    cannot_serve: str = ""
    cannot_admit: str = ""
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUse:
    """What the rules about the cache look at."""

    target: Volume
    cache: ImageCache


# What the cache has.


def look_up(image: Image, *, target: Volume, backend: Backend, cache: ImageCache, policy: Policy) -> Lookup:
    """Find what the cache has for a request, and what must go for what it has not."""
    use = CacheUse(target=target, cache=cache)
    serves = evaluate(CACHE_RULES[policy], use)
    if in_the_way := failed(serves):
        text = joined(in_the_way)
        return Lookup(cannot_serve=text, cannot_admit=text, verdicts=serves)
    key = cache_key(target, clone_across_pools=backend.clone_across_pools, policy=policy)
    spelled = in_database if key.by_database else str
    of_image = (entry for entry in cache.entries if spelled(entry.image_id) == spelled(image.id))
    here = tuple(entry for entry in of_image if key.matches(entry))
    found = _LOOK_UPS[policy](image, use, here)
    return replace(found, verdicts=serves + found.verdicts)


def _look_up(image: Image, use: CacheUse, here: tuple[CacheEntry, ...]) -> Lookup:
    target, cache = use.target, use.cache
    verdicts, stale = _freshness(image, here, Policy.STRICT)
    going = frozenset(stale)
    fresh = [entry for entry in here if entry.volume_id not in going]
    fits = tuple(
        Verdict("volume-fits", _fits(entry, target), entry.volume_id, _sizes(entry, target)) for entry in fresh
    )
    usable = sorted((entry for entry in fresh if _fits(entry, target)), key=last_use, reverse=True)
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
        cannot_serve="" if usable else joined(failed(verdicts + fits)) or _NOTHING,
        cannot_admit=joined(failed(admission.verdicts)),
        verdicts=verdicts + fits + admission.verdicts,
    )


def _look_up_upstream(image: Image, use: CacheUse, here: tuple[CacheEntry, ...]) -> Lookup:
    """Cinder looks at one entry at a time, the most recently used first, and deletes it if it is stale.

    It looks a first time before it does anything, a second time to clone the entry, and a third time, in the very pool
    of the new volume, before it adds what it has copied.  If the first entry is fresh it adds nothing.
    """
    target, cache = use.target, use.cache
    verdicts, stale = _freshness(image, here[:1], Policy.UPSTREAM)
    present, looked_at = here[:1] if not stale else (), here[:1]
    if stale:
        again, stale_again = _freshness(image, here[1:2], Policy.UPSTREAM)
        verdicts, stale, looked_at = verdicts + again, stale + stale_again, here[:2]
    fresh = tuple(entry for entry in looked_at if entry.volume_id not in stale)
    pool, fails_later = cache_key(target, policy=Policy.UPSTREAM), ""
    stale_later: tuple[str, ...] = ()
    if not present:
        last = tuple(entry for entry in (*fresh, *here[2:]) if pool.matches(entry))[:1]
        later, stale_later = _freshness(image, last, Policy.UPSTREAM)
        fails_later = next((verdict.text for verdict in later if verdict.rule == _UNDATED), "")
        verdicts += later if not (fresh or fails_later) else ()
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
_UNDATED = "undated"
_NOTHING = "the cache has no volume of this image where it could be cloned"


def _freshness(
    image: Image, entries: Iterable[CacheEntry], policy: Policy
) -> tuple[tuple[Verdict, ...], tuple[str, ...]]:
    """A verdict on each entry, which fails where it is stale; and the volumes of those."""
    judged = [(entry.volume_id, decide_freshness(image, entry=entry, policy=policy)) for entry in entries]
    verdicts = tuple(
        freshness.verdicts[-1]._replace(passed=freshness.fresh, subject=volume_id) for volume_id, freshness in judged
    )
    return verdicts, tuple(volume_id for volume_id, freshness in judged if not freshness.fresh)


def _fits(entry: CacheEntry, target: Volume) -> bool:
    return entry.size_gib <= target.size_gib


def _sizes(entry: CacheEntry, target: Volume) -> str:
    return f"it has {entry.size_gib} GiB and the new volume {target.size_gib} GiB"


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

CACHE_RULES: Mapping[Policy, tuple[Rule[CacheUse], ...]] = {
    Policy.STRICT: (
        Rule(id="cache-enabled", text="the backend has a cache", source=_SPEC, predicate=_cache_enabled),
        Rule(
            id="internal-tenant-known",
            text="Cinder's internal tenant, whose the cached volumes are, is configured",
            source=_SPEC,
            predicate=_internal_tenant_known,
        ),
        Rule(
            id="target-not-encrypted",
            text="the new volume is known not to be encrypted",
            source=_SPEC,
            predicate=_target_not_encrypted,
        ),
    ),
    Policy.UPSTREAM: (
        Rule(id="cache-enabled", text="the backend has a cache", source=_FLOW, predicate=_cache_enabled),
        Rule(
            id="target-not-encrypted",
            text="the new volume has no encryption key",
            source=_FLOW,
            predicate=_target_not_encrypted_upstream,
        ),
        Rule(
            id="internal-tenant-known",
            text="Cinder's internal tenant is configured",
            source=_CACHE,
            predicate=_internal_tenant_known,
        ),
    ),
}
