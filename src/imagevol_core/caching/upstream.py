"""Where Cinder looks for a cached volume, release by release."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from imagevol_core.caching.facts import CacheKey
from imagevol_core.facts import Volume
from imagevol_core.verdicts import Policy

__all__ = ["UPSTREAM_KEYS"]


def _of_cinder_29(target: Volume, across: bool) -> CacheKey:
    if target.cluster_name:
        return CacheKey(cluster_name=target.cluster_name, by_database=True)
    if across or target.host is None:  # a filter without a value is dropped
        return CacheKey(scope="anywhere", by_database=True)
    return CacheKey(host=target.host, by_database=True)


def _of_cinder_28(target: Volume, _across: bool) -> CacheKey:
    """Cinder 28 makes its cache before it asks the driver what the driver can do, so the cache is told "no"."""
    return _of_cinder_29(target, False)


UPSTREAM_KEYS: Mapping[Policy, Callable[[Volume, bool], CacheKey]] = {
    Policy.UPSTREAM: _of_cinder_29,
    Policy.CINDER_28: _of_cinder_28,
}
