"""A cached volume, where it must be, the limits of a cache, and the order in which cached volumes were used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from imagevol_core.collation import in_database
from imagevol_core.errors import InvalidFact, InvalidSize
from imagevol_core.facts import Digest

__all__ = ["CacheEntry", "CacheKey", "CacheLimits", "last_use"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """A volume that is kept to be cloned, and what was known of its image when it was written.

    Args:
        volume_id: the volume.
        image_id: the image that it holds.
        size_gib: its size, in GiB.
        image_updated_at: the image's `updated_at` then, with a time zone.
        digest: the image's multihash then.
        last_used: when it was last cloned, with a time zone.
        host: `host@backend#pool` of the volume.
        cluster_name: `cluster@backend#pool` of the volume, if Cinder runs active-active.
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


_YEAR_1 = datetime.min  # noqa: DTZ901 - it is only ever compared with times whose zone was taken off


def _instant(value: datetime) -> timedelta:
    """The time since the year 1 in Greenwich: `==` never holds across zones in an hour that a clock repeats."""
    return value.replace(tzinfo=None) - _YEAR_1 - (value.utcoffset() or timedelta(0))


def is_one_instant(one: datetime, other: datetime) -> bool:
    if one.tzinfo is UTC is other.tzinfo:  # nearly always, and many times quicker
        return one == other
    return _instant(one) == _instant(other)


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


# What goes to make room.


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLimits:
    """How large a cache can grow; 0 is no limit.

    Args:
        max_gib: the size of all its volumes together, in GiB (Cinder's `image_volume_cache_max_size_gb`).
        max_count: the number of its volumes (`image_volume_cache_max_count`).

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


def last_use(entry: CacheEntry) -> tuple[timedelta, str]:
    """What cached volumes are ordered by: when they were last used, never first; then their ids."""
    return timedelta.min if entry.last_used is None else _instant(entry.last_used), entry.volume_id
