"""Cached volumes: whether one is still the image, where it can be cloned, and what goes for another ([clone])."""

from imagevol_core.caching.admission import ADMISSION_RULES, Admission, plan_admission
from imagevol_core.caching.facts import CacheEntry, CacheKey, CacheLimits, last_use
from imagevol_core.caching.freshness import FRESHNESS_RULES, Freshness, FreshnessOutcome, decide_freshness
from imagevol_core.caching.place import cache_key

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
    "last_use",
    "plan_admission",
]
