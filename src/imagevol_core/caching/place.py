"""Where a cached volume can be cloned: which volumes of a cache serve a new volume ([template])."""

from __future__ import annotations

from imagevol_core.caching.facts import CacheKey, Scope
from imagevol_core.caching.upstream import UPSTREAM_KEYS
from imagevol_core.facts import Volume
from imagevol_core.verdicts import Policy, table_of

__all__ = ["cache_key"]


def cache_key(target: Volume, *, clone_across_pools: bool = False, policy: Policy = Policy.STRICT) -> CacheKey:
    """Give the place where a cached volume must be to serve `target` ([clone]: never on another backend).

    Args:
        target: the volume to be made.
        clone_across_pools: what its backend can do (`Backend.clone_across_pools`).
        policy: whose rules.  Under `UPSTREAM`, what Cinder 29.0.0 asks its database for
            (`ImageVolumeCache._get_query_filters`): with `clone_across_pools` nothing at all, so that a volume of
            another array is found, which then cannot be cloned.  What is evicted it looks up without that.  Under
            `CINDER_28` the pool of the new volume in any case.

    >>> target = Volume(id="t", size_gib=1, host="h@fast#a")
    >>> cache_key(target, clone_across_pools=True).scope
    'backend'
    >>> cache_key(target, clone_across_pools=True, policy=Policy.UPSTREAM).scope
    'anywhere'
    """
    return table_of(_KEYS, policy)(target, clone_across_pools)


def _key(target: Volume, across: bool) -> CacheKey:
    scope: Scope = "backend" if across else "pool"
    return CacheKey(host=target.host, cluster_name=target.cluster_name, scope=scope)


_KEYS = {Policy.STRICT: _key, **UPSTREAM_KEYS}
