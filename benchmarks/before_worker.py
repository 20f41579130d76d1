"""Times the decisions of the `imagevol_core` that it imports: `benchmarks.before` runs one of these for each tree.

For each line of the standard input, `NAME CALLS`, it prints the CPU seconds of so many calls.  It takes only names that
both trees have.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import repeat
from typing import Any

from imagevol_core import (
    GIB,
    Backend,
    CacheEntry,
    CacheLimits,
    CloneSettings,
    CopySource,
    CopyTarget,
    Dialect,
    Digest,
    Image,
    ImageCache,
    ImageLocation,
    Inspection,
    Policy,
    Requester,
    Store,
    StoreCatalogue,
    Template,
    TemplateSettings,
    UploadSettings,
    Volume,
    check_image_safety,
    check_stores,
    decide_clone,
    decide_freshness,
    decide_template,
    parse_location,
    plan_admission,
    plan_copy,
    plan_creation,
    plan_location,
    plan_migration,
    plan_upload,
    select_stores,
)

HOST, OWNER, STORES_PROJECT = "node@fast#pool", "5b58fffa08b4242988c42950b5f24fcd", "service"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
POLICIES = (Policy.STRICT, Policy.UPSTREAM)
CATALOGUE = StoreCatalogue(
    stores=tuple(Store(name=name, kind="cinder", volume_type=name) for name in ("fast", "slow", "archive")),
    default="fast",
)
IMAGE = Image(
    id="e38f5596-4bd3-4b63-b4ef-88bcc814ed8e",
    status="active",
    owner=OWNER,
    visibility="private",
    disk_format="raw",
    container_format="bare",
    size_bytes=10 * GIB,
    min_disk_gib=0,
    updated_at=NOON,
    digest=Digest("sha512", "ab" * 64),
)
TARGET = Volume(id="t", project_id=OWNER, host=HOST, size_gib=10, encrypted=False)
SETTINGS = CloneSettings(allowed_direct_url_schemes=("cinder",), trusted_projects=frozenset({STORES_PROJECT}))
ENTRY = CacheEntry(volume_id="v", image_id=IMAGE.id, size_gib=10, image_updated_at=NOON, digest=IMAGE.digest, host=HOST)
TEMPLATES = TemplateSettings(enabled=True, trusted_projects=frozenset({STORES_PROJECT}))
TEMPLATE = Template(entry=ENTRY, status="available", project_id=STORES_PROJECT, readonly=True, encrypted=False)


def volume_id(number: int) -> str:
    return f"9a1b6b0c-93e4-4a3c-a2a5-{number:012x}"


def clone_case(count: int) -> dict[str, Any]:
    """An image in this many volumes, of which the last can be cloned."""
    locations = tuple(ImageLocation(f"cinder://fast/{volume_id(number)}") for number in range(count))
    volumes = [
        Volume(
            id=volume_id(number),
            project_id=STORES_PROJECT,
            host=HOST,
            size_gib=10,
            status="available",
            encrypted=False,
            readonly=True,
            metadata={
                "image_owner": OWNER if number == count - 1 else "another",
                "glance_image_id": IMAGE.id,
                "image_size": str(10 * GIB),
            },
        )
        for number in range(count)
    ]
    return {
        "image": replace(IMAGE, locations=locations),
        "target": TARGET,
        "volumes": volumes,
        "backend": Backend(),
    }


def migrated(count: int) -> None:
    """Plan the locations of a cloud that was of one store."""
    images = (Image(id=str(n), locations=(ImageLocation(f"cinder://{volume_id(n)}"),)) for n in range(count))
    types: Callable[[Any], Any] = lambda ids: dict.fromkeys(ids, "slow")  # noqa: E731
    for _ in plan_migration(images, catalogue=CATALOGUE, volume_types=types):
        pass


def cases() -> Iterator[tuple[str, Callable[[], object]]]:
    """Every decision that is timed."""
    url = f"cinder://fast/{volume_id(0)}"
    for dialect in (Dialect.STRICT, Dialect.GLANCE_STORE):
        yield f"parse a location, {dialect.value}", partial(parse_location, url, dialect=dialect)
    cache = ImageCache(enabled=True, internal_tenant=True, entries=(ENTRY,), limits=CacheLimits(max_count=10))
    others = tuple(replace(ENTRY, volume_id=str(number), image_id=str(number)) for number in range(50))
    local = CopySource(path="a.qcow2", format="qcow2", size_bytes=GIB, virtual_size_bytes=10 * GIB)
    for policy in POLICIES:
        name = policy.value
        for count in (1, 50):
            case = clone_case(count)
            yield f"clone, {count} volumes, {name}", partial(decide_clone, **case, settings=SETTINGS, policy=policy)
        yield (
            f"creation, {name}",
            partial(
                plan_creation,
                **clone_case(3),
                clone_settings=SETTINGS,
                cache=cache,
                template=TEMPLATE,
                template_settings=TEMPLATES,
                policy=policy,
            ),
        )
        yield f"freshness, {name}", partial(decide_freshness, IMAGE, entry=ENTRY, policy=policy)
        for known in (TEMPLATE, None):
            yield (
                f"template, {'used' if known else 'created'}, {name}",
                partial(
                    decide_template,
                    IMAGE,
                    target=TARGET,
                    template=known,
                    settings=TEMPLATES,
                    others=others,
                    policy=policy,
                ),
            )
        yield (
            f"admission among 50, {name}",
            partial(plan_admission, others, newcomer_gib=1, limits=CacheLimits(max_count=40), policy=policy),
        )
        yield (
            f"upload, {name}",
            partial(
                plan_upload,
                TARGET,
                image=IMAGE,
                volume_type=None,
                base_image_id=None,
                requester=Requester(project_id=OWNER),
                settings=UploadSettings(use_cinder_backend=True),
                policy=policy,
            ),
        )
        yield (
            f"stores of an upload, {name}",
            partial(select_stores, CATALOGUE, store_header=None, base_image=clone_case(1)["image"], policy=policy),
        )
        yield (
            f"copy, {name}",
            partial(
                plan_copy,
                local,
                target=CopyTarget(path="/dev/sda", size_bytes=10 * GIB, block_device=True),
                policy=policy,
            ),
        )
        yield (
            f"safety, {name}",
            partial(
                check_image_safety,
                Inspection(formats=("raw",), virtual_size_bytes=10 * GIB),
                declared_format="raw",
                size_gib=10,
                policy=policy,
            ),
        )
        yield (
            f"location, {name}",
            partial(
                plan_location,
                ImageLocation(f"cinder://{volume_id(0)}"),
                catalogue=CATALOGUE,
                volume_type="slow",
                policy=policy,
            ),
        )
    yield (
        "stores of a Glance",
        partial(check_stores, CATALOGUE, credentials={}, volume_types=("fast", "slow", "archive")),
    )
    yield "migration of 1,000 locations", partial(migrated, 1000)


def answered(case: Callable[[], object]) -> str | None:
    """Why a decision cannot be asked for in this tree; None if it can."""
    try:
        case()
    except Exception as error:  # noqa: BLE001 - it is told
        return f"{type(error).__name__}: {error}"
    return None


def main() -> None:
    """Say which there are, and time what is asked for."""
    known = dict(cases())
    print(json.dumps({name: answered(case) for name, case in known.items()}), flush=True)
    for line in sys.stdin:
        name, _, calls = line.rstrip("\n").rpartition(" ")
        case = known[name]
        started = time.process_time()
        for _ in repeat(None, int(calls)):
            case()
        print(time.process_time() - started, flush=True)


if __name__ == "__main__":
    main()
