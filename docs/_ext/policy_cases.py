"""What both policies are asked for the page of differences; a test holds that they differ in every case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from imagevol_core import (
    Backend,
    CacheEntry,
    CloneSettings,
    Dialect,
    Digest,
    Image,
    ImageLocation,
    InvalidLocation,
    Policy,
    Requester,
    Store,
    StoreCatalogue,
    UploadSettings,
    Volume,
    VolumeType,
    cache_key,
    decide_clone,
    decide_freshness,
    failed,
    image_fits,
    parse_location,
    plan_location,
    plan_upload,
    select_stores,
    upload_headers,
)

VOLUME = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One question, and why the two policies answer differently."""

    asked: str
    answer: Callable[[Policy], str]
    why: str


def clone(
    *,
    image: Callable[[Image], Image] = lambda i: i,
    volume: Callable[[Volume], Volume] = lambda v: v,
    across: bool = False,
) -> Callable[[Policy], str]:
    """Ask for a clone that nothing stands in the way of, but for what is changed."""
    usual_image = Image(
        id="i",
        status="active",
        owner="tenant",
        disk_format="raw",
        container_format="bare",
        size_bytes=1,
        min_disk_gib=0,
        locations=(ImageLocation(f"cinder://fast/{VOLUME}"),),
    )
    usual_volume = Volume(
        id=VOLUME,
        project_id="service",
        host="node@fast#pool",
        size_gib=1,
        status="available",
        encrypted=False,
        metadata={"image_owner": "tenant", "glance_image_id": "i"},
    )

    def answer(policy: Policy) -> str:
        decision = decide_clone(
            image(usual_image),
            target=Volume(id="new", project_id="tenant", host="node@fast#pool", size_gib=1, encrypted=False),
            volumes=[volume(usual_volume)],
            backend=Backend(clone_across_pools=across),
            settings=CloneSettings(
                allowed_direct_url_schemes=("cinder",), trusted_projects=frozenset({"service"}), enforce_signatures=True
            ),
            policy=policy,
        )
        if decision.eligible:
            return "cloned"
        return f"not cloned ({', '.join(verdict.rule for verdict in failed(decision.verdicts))})"

    return answer


def location_of(url: str) -> Callable[[Policy], str]:
    """Ask what a location names; Cinder's reading stands for upstream's."""
    dialects = {Policy.STRICT: Dialect.STRICT, Policy.UPSTREAM: Dialect.CINDER}

    def answer(policy: Policy) -> str:
        try:
            return f"volume {parse_location(url, dialect=dialects[policy]).volume_id}"
        except InvalidLocation as error:
            return error.reason

    return answer


def migrated(url: str, store: str | None, volume_type: str, *stores: Store) -> Callable[[Policy], str]:
    """Ask what a location becomes."""

    def answer(policy: Policy) -> str:
        change = plan_location(
            ImageLocation(url, {"store": store} if store else {}),
            catalogue=StoreCatalogue(stores=stores, default=stores[0].name),
            volume_type=volume_type,
            policy=policy,
        )
        return f"{change.outcome.value}: store {change.after.metadata.get('store')}, {change.after.url}"

    return answer


def selected(header: str | None, base: Image | None) -> Callable[[Policy], str]:
    """Ask which store an upload lands in."""
    stores = (
        Store(name="fast", kind="cinder"),
        Store(name="web", kind="http", readonly=True),
        Store(name="slow", kind="cinder"),
    )

    def answer(policy: Policy) -> str:
        selection = select_stores(
            StoreCatalogue(stores=stores, default="fast"), store_header=header, base_image=base, policy=policy
        )
        if selection.refused:
            return f"refused: {selection.refused}"
        return ", then a copy in ".join(filter(None, [selection.primary, ", ".join(selection.copies)]))

    return answer


def fresh(image: Image, entry: CacheEntry) -> Callable[[Policy], str]:
    """Ask whether a cached volume still is the image."""

    def answer(policy: Policy) -> str:
        freshness = decide_freshness(image, entry=entry, policy=policy)
        return f"{'fresh' if freshness.fresh else 'stale'} ({freshness.rule})"

    return answer


def uploaded(settings: UploadSettings, store: str | None) -> Callable[[Policy], str]:
    """Ask how a volume becomes an image."""

    def answer(policy: Policy) -> str:
        plan = plan_upload(
            Volume(id="v", project_id="tenant", size_gib=1, encrypted=False),
            image=Image(id="i", owner="tenant", disk_format="raw", container_format="bare"),
            volume_type=VolumeType(name="fast", extra_specs={"image_service:store_id": store} if store else {}),
            base_image_id=None,
            requester=Requester(project_id="tenant"),
            settings=settings,
            policy=policy,
        )
        beside = f", with {dict(plan.location_metadata)} beside the location" if plan.location_metadata else ""
        return f"a clone of project {plan.project_id} is registered{beside}" if plan.registers else "copied"

    return answer


def searched(policy: Policy) -> str:
    """Ask where a cached volume is looked for."""
    target = Volume(id="new", host="node@fast#pool", size_gib=1)
    key = cache_key(target, clone_across_pools=True, policy=policy)
    return f"{key.scope}, for {key.host}" if key.host else key.scope


_ENTRY = CacheEntry(
    volume_id="v", image_id="i", size_gib=4, image_updated_at=NOON, digest=Digest("sha512", "ab"), last_used=NOON
)
_EDITED = Image(id="i", updated_at=NOON.replace(hour=13), digest=Digest("sha512", "ab"))
_REPLACED = replace(_EDITED, updated_at=NOON, digest=Digest("sha512", "cd"))
_BASE = Image(
    id="base",
    locations=(ImageLocation(f"cinder://slow/{VOLUME}", {"store": "slow"}), ImageLocation("x", {"store": "fast"})),
)
_PREFIXES = (
    Store(name="fast", kind="cinder", volume_type="ssd"),
    Store(name="fast2", kind="cinder", volume_type="nvme"),
)
_TWINS = (Store(name="a", kind="cinder", volume_type="ssd"), Store(name="b", kind="cinder", volume_type="ssd"))

CASES = (
    Case(
        asked="Clone a volume of another project, whose user wrote the image's owner into its metadata",
        answer=clone(volume=lambda volume: replace(volume, project_id="attacker")),
        why="OSSN-0065: users write their volumes' metadata, and Cinder believes them",
    ),
    Case(
        asked="Clone for an image without an owner from a volume without image_owner",
        answer=clone(
            image=lambda image: replace(image, owner=None), volume=lambda volume: replace(volume, metadata={})
        ),
        why="to Cinder two unknown owners are the same",
    ),
    Case(
        asked="Clone a volume that holds another image",
        answer=clone(volume=lambda volume: replace(volume, metadata={**volume.metadata, "glance_image_id": "other"})),
        why="[clone]: the location may name any volume; its own record decides",
    ),
    Case(
        asked="Clone a public image whose owner an administrator changed, from the volume that the store wrote for it",
        answer=clone(
            image=lambda image: replace(image, owner="present owner"),
            volume=lambda volume: replace(volume, readonly=True),
        ),
        why="the store's own record names the image by its id, and no user can write that record",
    ),
    Case(
        asked="Clone an encrypted image volume",
        answer=clone(volume=lambda volume: replace(volume, encrypted=True)),
        why="ciphertext would be taken for the image's data",
    ),
    Case(
        asked="Clone a volume in error",
        answer=clone(volume=lambda volume: replace(volume, status="error")),
        why="Cinder does not look at its status",
    ),
    Case(
        asked="Clone a volume that is being migrated",
        answer=clone(volume=lambda volume: replace(volume, migration_status="migrating")),
        why="its data is in two places",
    ),
    Case(
        asked="Clone a volume larger than the new one",
        answer=clone(volume=lambda volume: replace(volume, size_gib=2)),
        why="a clone cannot shrink",
    ),
    Case(
        asked="Clone from another array, where the backend clones across pools",
        answer=clone(volume=lambda volume: replace(volume, host="node@slow#pool"), across=True),
        why="Cinder then looks at no host at all",
    ),
    Case(
        asked="Clone a signed image whose volume was never verified, where signatures are enforced",
        answer=clone(image=lambda image: replace(image, properties={"img_signature": "…"})),
        why="Cinder verifies only what it downloads",
    ),
    Case(
        asked="Whether 2**53 + 1 bytes fit a volume of 2**23 GiB",
        answer=lambda policy: (
            "fits"
            if image_fits(
                Image(id="i", size_bytes=1, virtual_size_bytes=2**53 + 1, min_disk_gib=0), size_gib=2**23, policy=policy
            ).ok
            else "does not fit"
        ),
        why="Cinder rounds through a float",
    ),
    Case(
        asked=f"Which volume `CINDER://{VOLUME}?x` names",
        answer=location_of(f"CINDER://{VOLUME}?x"),
        why="[multi]: Cinder and glance_store must not read a location differently",
    ),
    Case(
        asked="Which volume `cinder:{VOLUME without hyphens}` names",
        answer=location_of("cinder:" + VOLUME.replace("-", "")),
        why="Cinder takes any spelling of a UUID",
    ),
    Case(
        asked="A location of store fast2 without a store in its metadata, with stores fast and fast2, whose volume was "
        "retyped to the type of no store",
        answer=migrated(f"cinder://fast2/{VOLUME}", None, "gone", *_PREFIXES),
        why="Glance takes the first store whose name the URL begins with",
    ),
    Case(
        asked="A location whose URL and metadata name different stores",
        answer=migrated(f"cinder://fast/{VOLUME}", "fast2", "nvme", *_PREFIXES),
        why="[multi]: Glance looks no further than the metadata",
    ),
    Case(
        asked="A location from the single-store days, with two stores of the volume's type",
        answer=migrated(f"cinder://{VOLUME}", None, "ssd", *_TWINS),
        why="Glance takes the first; nothing shows that it is the right one",
    ),
    Case(
        asked="Where an upload goes whose base image is in stores slow and fast",
        answer=selected(None, _BASE),
        why="[base]: Cinder sends the reference, and nothing in Glance reads it",
    ),
    Case(
        asked="Where an upload goes that names a read-only store",
        answer=selected("web", None),
        why="Glance finds out once it has the data",
    ),
    Case(
        asked="Whether a cached volume is still the image after an edit of the image's metadata",
        answer=fresh(_EDITED, _ENTRY),
        why="the multihash says that the data is the same; Cinder compares updated_at",
    ),
    Case(
        asked="Whether a cached volume is still the image when the multihash differs and the date does not",
        answer=fresh(_REPLACED, _ENTRY),
        why="the data decide",
    ),
    Case(
        asked="Where a cached volume is looked for when the backend clones across pools",
        answer=searched,
        why="Cinder finds those of other arrays, which cannot be cloned",
    ),
    Case(
        asked="Whose clone is registered when the internal tenant is wanted and not configured",
        answer=uploaded(UploadSettings(use_cinder_backend=True, use_internal_tenant=True), None),
        why="[clone]: never silently the user's",
    ),
    Case(
        asked="What is sent beside a location when the volume's type names a store",
        answer=uploaded(UploadSettings(use_cinder_backend=True), "slow"),
        why="Glance 33 refuses the store there, so that Cinder always copies",
    ),
    Case(
        asked="Headers of an upload of 17 bytes",
        answer=lambda policy: str(upload_headers(store="fast", base_image_id=None, size_bytes=17, policy=policy)),
        why="without the size a cinder store extends its volume GiB by GiB",
    ),
)
