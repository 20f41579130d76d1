"""The decisions, beside the functions of the services that decide the same.

Cinder's clone decision is in part a query: which volumes there are and on which host. It asks the kindest database that
there is, SQLite in memory; its log is off, and cloning itself costs it nothing.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from resource import RUSAGE_SELF, getrusage
from typing import Any

from benchmarks.pairs import Pair, measure, publish
from imagevol_adapters.testing.strategies import CloneCase
from imagevol_core import (
    Backend,
    CacheEntry,
    CloneSettings,
    Dialect,
    Digest,
    Image,
    ImageLocation,
    LocationOutcome,
    Policy,
    Store,
    StoreCatalogue,
    Volume,
    VolumeAnswer,
    decide_clone,
    decide_freshness,
    parse_location,
    plan_migration,
)
from tests.upstream import cinder_worker as cinder
from tests.upstream.cinder_words import case_for_cinder

HOST = "node@fast#pool"
OWNER = "5b58fffa08b4242988c42950b5f24fcd"
SIZE_GIB = 10
STORES = ("fast", "slow", "archive")


def pairs() -> Iterator[Pair]:
    """Every decision that has a peer."""
    store = import_module("glance_store._drivers.cinder.store")
    url = location(0)
    yield Pair(
        name="parse a location",
        ours=lambda: parse_location(url),
        peer=lambda: cinder.extract(url),
        peer_name="cinder _extract_cinder_ids",
    )
    theirs = store.StoreLocation({}, None, backend_group="fast")
    yield Pair(
        name="parse a location, as glance_store does",
        ours=lambda: parse_location(url, dialect=Dialect.GLANCE_STORE),
        peer=lambda: theirs.parse_uri(url),
        peer_name="glance_store parse_uri",
    )
    for count in (1, 50):
        for policy in Policy:
            yield clone_pair(count, policy)
    yield from freshness_pairs()


def location(number: int) -> str:
    """Where image volume `number` is."""
    return f"cinder://fast/{volume_id(number)}"


def volume_id(number: int) -> str:
    """The id of an image volume."""
    return f"9a1b6b0c-93e4-4a3c-a2a5-{number:012x}"


def clone_pair(count: int, policy: Policy) -> Pair:
    """A clone decision over this many image volumes, of which the last may be cloned."""
    ids = [volume_id(number) for number in range(count)]
    owners = ["somebody"] * (count - 1) + [OWNER]
    image = Image(
        id="i",
        status="active",
        owner=OWNER,
        disk_format="raw",
        container_format="bare",
        size_bytes=SIZE_GIB << 30,
        min_disk_gib=0,
        locations=tuple(ImageLocation(location(number)) for number in range(count)),
    )
    target = Volume(id="t", project_id="user", host=HOST, size_gib=SIZE_GIB, encrypted=False)
    volumes = [
        Volume(
            id=ids[number],
            project_id="service",
            host=HOST,
            size_gib=SIZE_GIB,
            status="available",
            encrypted=False,
            metadata={"image_owner": owners[number], "glance_image_id": "i", "image_size": str(SIZE_GIB << 30)},
        )
        for number in range(count)
    ]
    settings = CloneSettings(allowed_direct_url_schemes=("cinder",), trusted_projects=frozenset({"service"}))

    def ours() -> object:
        return decide_clone(
            image, target=target, volumes=volumes, backend=Backend(), settings=settings, policy=policy
        ).sources

    case = CloneCase(image=image, target=target, volumes=tuple(volumes), backend=Backend(), settings=settings)
    facts = case_for_cinder(case)
    new = cinder.objects.Volume(cinder.CONTEXT, encryption_key_id=None, **without(facts["target"], "encrypted"))
    where = (None, [{"url": url} for url in facts["urls"]])
    task = cinder.Task(clone_across_pools=False)
    cinder.fill(facts["volumes"])

    def theirs() -> object:
        return task._clone_image_volume(cinder.CONTEXT, new, where, facts["image"])

    assert ours()
    assert theirs() == ({"cloned": ids[-1]}, True)
    return Pair(
        name=f"decide a clone, {count} image volume{'s' * (count > 1)}, {policy.value}",
        ours=ours,
        peer=theirs,
        peer_name="cinder _clone_image_volume",
    )


def freshness_pairs() -> Iterator[Pair]:
    """Whether a cached volume still is the image."""
    cache = import_module("cinder.image.cache").ImageVolumeCache
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    image = Image(id="i", updated_at=noon, digest=Digest("sha512", "ab" * 64))
    entry = CacheEntry(volume_id="v", image_id="i", size_gib=1, image_updated_at=noon, digest=image.digest)
    theirs: dict[str, Any] = dict.fromkeys(("id", "image_id", "volume_id", "host", "size", "last_used"))
    theirs["image_updated_at"] = noon.replace(tzinfo=None)
    for policy in Policy:
        yield Pair(
            name=f"decide freshness, {policy.value}",
            ours=partial(decide_freshness, image, entry=entry, policy=policy),
            peer=lambda: cache._should_update_entry(None, theirs, {"updated_at": noon}),
            peer_name="cinder _should_update_entry",
        )


def plan_a_cloud(count: int) -> dict[str, Any]:
    """Plan the migration of this many locations of the single-store days; how fast, how much memory, how many requests.

    Glance asks Cinder for the volume of each location, for each store until one fits.
    """
    stores = tuple(Store(name=name, kind="cinder", volume_type=name) for name in STORES)
    images = (Image(id=str(n), locations=(ImageLocation(f"cinder://{volume_id(n)}"),)) for n in range(count))
    pages = 0

    def types(ids: Sequence[str]) -> dict[str, VolumeAnswer]:
        nonlocal pages
        pages += 1
        return dict.fromkeys(ids, "slow")

    before = getrusage(RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    changed = sum(
        change.outcome is LocationOutcome.CHANGE
        for planned in plan_migration(images, catalogue=StoreCatalogue(stores=stores), volume_types=types)
        for change in planned.changes
    )
    seconds = time.perf_counter() - started
    assert changed == count
    return {
        "locations": count,
        "seconds": round(seconds, 2),
        "locations_per_second": round(count / seconds),
        "peak_growth_mib": round((getrusage(RUSAGE_SELF).ru_maxrss - before) / 1024, 1),
        "requests": pages,
        "requests_upstream": 2 * count,  # the second of three stores fits
    }


def without(facts: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name not in names}


def main() -> None:
    logging.disable()
    cinder.create_tables()
    # In a process of its own: Glance and Cinder register options of the same names.
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.glance", *STORES]
    theirs = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    migrations = [plan_a_cloud(count) | {"theirs_per_second": round(theirs)} for count in (100_000, 1_000_000)]
    publish("decisions", map(measure, pairs()), peers=("cinder", "glance_store"), migrations=migrations)
