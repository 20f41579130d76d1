"""How much a decision does grows with what it is given and no faster: counted in calls and comparisons, not in time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import FrameType
from typing import Any

import pytest

from imagevol_adapters.testing.way_strategies import CreationCase
from imagevol_core import (
    AuditedAttachment,
    AuditSettings,
    CacheEntry,
    CacheLimits,
    ConversionSettings,
    Image,
    ImageCache,
    ImageLocation,
    LocationChange,
    LocationOutcome,
    NotFound,
    Policy,
    Store,
    StoreCatalogue,
    Template,
    TemplateSettings,
    Volume,
    VolumeAnswer,
    audit,
    check_stores,
    checksum_for,
    plan_admission,
    plan_image,
    plan_migration,
    plan_pruning,
    plan_relocation,
    plan_store_upgrade,
    relocated,
    select_stores,
)
from tests.core import cases
from tests.core.cases import BOTH_POLICIES

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
SMALL, TWICE = 150, 300
MOST = 2.5  # times as much work for twice as much: n log n stays below, n squared is 4


class Counted(str):
    """A text whose comparisons are calls, also those that a list or a tuple makes by itself."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        return str.__hash__(self)


def steps(work: Callable[[], object]) -> int:
    """Count the calls that it makes."""
    count = 0

    def counting(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(counting)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def volume_id(number: int) -> str:
    return Counted(f"9a1b6b0c-93e4-4a3c-a2a5-{number:012d}")


def entry(number: int, **changes: Any) -> CacheEntry:
    fresh = CacheEntry(
        volume_id=volume_id(number),
        image_id=cases.IMAGE_ID,
        size_gib=1,
        image_updated_at=NOON,
        last_used=NOON - timedelta(seconds=number * 7919 % 1000),
        host=cases.GOOD.target.host,
    )
    return replace(fresh, **changes)


def stores(number: int) -> StoreCatalogue:
    return StoreCatalogue(
        stores=tuple(
            Store(name=Counted(f"store{each}"), kind="cinder", volume_type=Counted(f"type{each}"))
            for each in range(number)
        ),
        default="store0",
    )


def located(number: int, id_: str = "i") -> Image:
    return Image(
        id=id_,
        status="active",
        disk_format="raw",
        container_format="bare",
        size_bytes=5,
        updated_at=NOON,
        locations=tuple(
            ImageLocation(Counted(f"cinder://store{each}/{volume_id(each)}"), {"store": Counted(f"store{each}")})
            for each in range(number)
        ),
    )


def held(number: int, **changes: Any) -> Volume:
    metadata = {"image_id": Counted(f"image{number}"), "image_owner": "p", "image_size": "5"}
    return replace(Volume(id=volume_id(number), size_gib=1, status="available", metadata=metadata), **changes)


def creating(name: str, policy: Policy, number: int) -> Callable[[], object]:
    image = replace(cases.GOOD.image, updated_at=NOON, virtual_size_bytes=5)
    case = CreationCase(
        clone=replace(cases.GOOD, image=image, volumes=()),
        cache=dict(caches(number))[name],
        template=None,
        template_settings=TemplateSettings(),
        conversion=ConversionSettings(),
    )
    return lambda: case.decide(policy)


def caches(number: int) -> Iterator[tuple[str, ImageCache]]:
    limits = CacheLimits(max_count=max(1, number // 2))
    for name, entries in {
        "fresh": [entry(each) for each in range(number)],
        "stale": [entry(each, image_updated_at=NOON - timedelta(days=1)) for each in range(number)],
        "of others": [entry(each, image_id="other") for each in range(number)],
        "in use": [entry(each, in_use=True) for each in range(number)],
    }.items():
        yield name, ImageCache(enabled=True, internal_tenant=True, entries=tuple(entries), limits=limits)


def changes_of(number: int) -> tuple[list[ImageLocation], list[LocationChange]]:
    before = list(located(number).locations)
    after = [ImageLocation(Counted(f"{each.url}/new")) for each in before]
    return before, [
        LocationChange(outcome=LocationOutcome.CHANGE, before=old, after=new, verdicts=())
        for old, new in zip(before, reversed(after), strict=True)
    ]


def auditing(number: int) -> Callable[[], object]:
    numbers = range(number)
    return lambda: list(
        audit(
            images=[located(1, Counted(f"image{each}")) for each in numbers]
            + [replace(located(number), id=Counted("many"))],
            volumes=[held(each) for each in range(number // 2)],
            settings=AuditSettings(now=NOON, volumes_complete=True, images_complete=True),
            attachments=[AuditedAttachment(id=Counted(f"a{each}"), volume_id=volume_id(each)) for each in numbers],
            entries=[entry(each, image_id=Counted(f"image{each}")) for each in numbers],
            templates=[Template(entry=entry(each)) for each in numbers],
            catalogue=stores(3),
        )
    )


def pruning(number: int) -> Callable[[], object]:
    templates = [
        Template(entry=entry(each, image_id=Counted(f"image{each}")), status="available", readonly=True)
        for each in range(number)
    ]
    images = {
        template.entry.image_id: NotFound() if each % 2 else replace(cases.GOOD.image, id=template.entry.image_id)
        for each, template in enumerate(templates)
    }
    return lambda: plan_pruning(templates, images=images, now=NOON, limits=CacheLimits(max_count=1))


def migrating(number: int) -> Callable[[], object]:
    images = [located(1, Counted(f"image{each}")) for each in range(number)]

    def named(volume_ids: Sequence[str]) -> dict[str, VolumeAnswer]:
        return dict.fromkeys(volume_ids, "type1")

    return lambda: list(plan_migration(images, catalogue=stores(3), volume_types=named, page_size=7))


def upgrading(number: int) -> Callable[[], object]:
    options: dict[str, str] = {Counted(f"cinder_option_{each}"): "x" for each in range(number)}
    configuration = {"glance_store": {"stores": "cinder", "default_store": "cinder", **options}}
    return lambda: plan_store_upgrade(configuration, names={"cinder": "fast"}, default_volume_type="ssd")


def listing(number: int) -> Callable[[], object]:
    lines = "".join(f"{each:064x}  disk{each}.img\n" for each in range(number))
    return lambda: checksum_for(lines, "disk1.img")


WORK: dict[str, Callable[[int], Callable[[], object]]] = {
    "plan_admission": lambda number: (
        lambda: plan_admission([entry(each) for each in range(number)], newcomer_gib=1, limits=CacheLimits(max_count=1))
    ),
    "decide_clone": lambda number: (
        replace(
            cases.GOOD,
            image=replace(cases.GOOD.image, locations=located(number).locations),
            volumes=tuple(held(each) for each in range(number)),
        ).decide
    ),
    "audit": auditing,
    "plan_pruning": pruning,
    "plan_migration": migrating,
    "plan_image": lambda number: lambda: plan_image(located(number), catalogue=stores(3), volume_types={}),
    "plan_relocation": lambda number: (
        lambda: plan_relocation(
            located(number), wanted=located(number).locations[::-1], catalogue=stores(3), volume_types={}
        )
    ),
    "relocated": lambda number: lambda: relocated(*changes_of(number)),
    "select_stores, locations": lambda number: (
        lambda: select_stores(stores(3), store_header=None, base_image=located(number))
    ),
    "select_stores, stores": lambda number: (
        lambda: select_stores(stores(number), store_header=None, base_image=located(number))
    ),
    "check_stores": lambda number: lambda: check_stores(stores(number), credentials={}, volume_types=[]),
    "plan_store_upgrade": upgrading,
    "checksum_for": listing,
}
for each_policy in BOTH_POLICIES:
    for kind, _ in caches(1):
        WORK[f"plan_creation, {each_policy.value}, entries {kind}"] = partial(creating, kind, each_policy)


@pytest.mark.parametrize("name", WORK)
def test_a_decision_about_twice_as_much_takes_about_twice_as_many_steps(name: str) -> None:
    once, twice = (steps(WORK[name](number)) for number in (SMALL, TWICE))
    assert twice <= MOST * once
