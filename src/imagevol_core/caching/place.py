"""Where a cached volume can be cloned: which volumes of a cache serve a new volume ([template])."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from imagevol_core.caching.facts import CacheEntry
from imagevol_core.collation import in_database
from imagevol_core.facts import Volume
from imagevol_core.verdicts import Policy

__all__ = ["CacheKey", "cache_key"]


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
