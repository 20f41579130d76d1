"""Hypothesis strategies for the ways between images and volumes: caches, templates, creation, upload.

Each `…Case` holds all the facts of one decision and asks the core with `decide`.  Most facts are in order, so that
every outcome is drawn often.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from imagevol_adapters.testing.dice import Dice
from imagevol_adapters.testing.strategies import CloneCase, clone_cases
from imagevol_core import (
    GIB,
    Admission,
    CacheEntry,
    CacheLimits,
    ConversionSettings,
    CreationPlan,
    Digest,
    Freshness,
    Image,
    ImageCache,
    Policy,
    Requester,
    Template,
    TemplateDecision,
    TemplateSettings,
    UploadPlan,
    UploadSettings,
    Volume,
    VolumeType,
    decide_freshness,
    decide_template,
    plan_admission,
    plan_creation,
    plan_upload,
)

__all__ = [
    "AdmissionCase",
    "CreationCase",
    "FreshnessCase",
    "TemplateCase",
    "UploadCase",
    "admission_cases",
    "cache_entries",
    "cache_limits",
    "creation_cases",
    "freshness_cases",
    "instants",
    "template_cases",
    "upload_cases",
]

_NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
_EAST = timezone(timedelta(hours=5, minutes=30))
_IMAGE_ID, _OTHER_IMAGE_ID = "5f0a4ee8-6a4b-4c68-9c2e-6f8a2b1d3c47", "0d9c1e52-3f7b-4b6a-8e15-7a2c9b4d6e80"
_ONE, _OTHER = Digest("sha512", "0a"), Digest("sha512", "0b")
_HERE = "node@fast#one"
_VOLUME_IDS = tuple(f"{number:08x}-1b7e-4f58-b6c4-0e9d8a7f6b52" for number in range(32))
_PROJECTS = ("ours", "ours", "ours", "ours", "theirs", None)
_NEAR = tuple(_NOON + timedelta(microseconds=offset) for offset in (0, 0, 1, -1, 3_600_000_000))
_ZONES = (UTC, UTC, _EAST, timezone(-timedelta(hours=8)), timezone(timedelta(0), "Z"))


def instants() -> SearchStrategy[datetime]:
    """A few times, of which some are the same instant in other zones, and some differ by a microsecond."""
    return st.builds(lambda at, zone: at.astimezone(zone), st.sampled_from(_NEAR), st.sampled_from(_ZONES))


def cache_limits() -> SearchStrategy[CacheLimits]:
    """Limits, each unlimited as often as not."""
    return st.builds(CacheLimits, max_gib=st.just(0) | st.integers(0, 12), max_count=st.just(0) | st.integers(0, 5))


@st.composite
def cache_entries(draw: DrawFn, *, image_ids: SearchStrategy[str] | None = None) -> CacheEntry:
    """Cached volumes of a few images, in a few places."""
    dice = Dice(draw)
    return CacheEntry(
        volume_id=dice.among(*_VOLUME_IDS),
        image_id=dice.among(_IMAGE_ID, _OTHER_IMAGE_ID) if image_ids is None else draw(image_ids),
        size_gib=dice.among(1, 1, 2, 3, 0),
        image_updated_at=dice.mostly(_NOON, None, _NOON + timedelta(microseconds=1), _NOON.astimezone(_EAST)),
        digest=dice.among(None, _ONE, _OTHER, Digest("sha256", "0a")),
        last_used=dice.among(None, dice.among(*_NEAR).astimezone(dice.among(*_ZONES))),
        host=dice.mostly(_HERE, "node@fast#two", "node@slow#one", "node@fast", None, ""),
        cluster_name=dice.mostly(_HERE, None, "node@fast#two", ""),
        in_use=dice.mostly(False, True),
    )


def _volume_id(entry: CacheEntry) -> str:
    return entry.volume_id


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessCase:
    """All the facts of one decision whether a cached volume still is the image."""

    image: Image
    entry: CacheEntry

    def decide(self, policy: Policy = Policy.STRICT) -> Freshness:
        """Ask the core."""
        return decide_freshness(self.image, entry=self.entry, policy=policy)


def freshness_cases() -> SearchStrategy[FreshnessCase]:
    """An image and what may have been made from it."""
    digests = st.none() | st.sampled_from([_ONE, _OTHER, Digest("sha256", "0a"), Digest("SHA512", "0A")])
    ids = st.sampled_from([_IMAGE_ID, _IMAGE_ID, _OTHER_IMAGE_ID])
    entries = st.builds(
        CacheEntry,
        volume_id=st.just("cached"),
        image_id=ids,
        size_gib=st.integers(0, 3),
        image_updated_at=st.none() | instants(),
        digest=digests,
    )
    images = st.builds(Image, id=st.just(_IMAGE_ID), updated_at=st.none() | instants(), digest=digests)
    return st.builds(FreshnessCase, image=images, entry=entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionCase:
    """All the facts of one decision what to evict."""

    entries: tuple[CacheEntry, ...]
    newcomer_gib: int
    limits: CacheLimits

    def decide(self, policy: Policy = Policy.STRICT) -> Admission:
        """Ask the core."""
        return plan_admission(self.entries, newcomer_gib=self.newcomer_gib, limits=self.limits, policy=policy)


def admission_cases() -> SearchStrategy[AdmissionCase]:
    """Caches of up to eight volumes."""
    return st.builds(
        AdmissionCase,
        entries=st.lists(cache_entries(), max_size=8, unique_by=_volume_id).map(tuple),
        newcomer_gib=st.integers(0, 9),
        limits=cache_limits(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateCase:
    """All the facts of one decision about a template."""

    image: Image
    target: Volume
    template: Template | None
    settings: TemplateSettings
    others: tuple[CacheEntry, ...] = ()
    abandoned: tuple[CacheEntry, ...] = ()
    requester_reads: bool | None = None

    def decide(self, policy: Policy = Policy.STRICT) -> TemplateDecision:
        """Ask the core."""
        return decide_template(
            self.image,
            target=self.target,
            template=self.template,
            settings=self.settings,
            others=self.others,
            abandoned=self.abandoned,
            requester_reads=self.requester_reads,
            policy=policy,
        )


_SIZES = (2 * GIB - 5, 0, GIB, GIB + 1, 3 * GIB + 1, (1 << 53) + 1)
_WORDS: tuple[dict[str, str], ...] = (
    {},
    {"virtual_size": str(GIB + 1)},
    {"virtual_size": "lots"},
    {"virtual_size": "-1"},
    {"virtual_size": "9" * 30},
    {"os_decrypt_size": str(GIB + 1)},
)


@st.composite
def template_cases(draw: DrawFn) -> TemplateCase:
    """An image that may be shared, and its template, mostly whole and fresh."""
    dice = Dice(draw)
    image = Image(
        id=_IMAGE_ID,
        status=dice.mostly("active", "queued", None),
        owner=dice.among(*_PROJECTS),
        visibility=dice.among("public", "private", "private", "shared", "community", None),
        disk_format=dice.among("raw", "raw", "qcow2", None),
        container_format=dice.mostly("bare", "compressed", None),
        size_bytes=dice.mostly(512, None, *_SIZES),
        virtual_size_bytes=dice.mostly(_SIZES[0], None, *_SIZES),
        updated_at=dice.mostly(_NOON, _NOON + timedelta(seconds=1), _NOON.astimezone(_EAST), None),
        digest=dice.among(None, None, None, _ONE, _OTHER),
        properties=dice.mostly(*_WORDS),
    )
    target = Volume(
        id="e5b7a9c1-2d4f-4863-95a7-1c3e5f7a9b0d",
        project_id=dice.among(*_PROJECTS),
        host=_HERE,
        size_gib=dice.mostly(4, 1, 2, 3),
        encrypted=dice.mostly(False, True, None),
    )
    entry = replace(draw(cache_entries()), image_id=_IMAGE_ID, size_gib=dice.mostly(2, 1, 3, 5))
    template = Template(
        entry=entry,
        status=dice.mostly("available", "in-use", "error", None),
        project_id=dice.mostly("templates", "ours", None),
        readonly=dice.mostly(True, False, None),
        encrypted=dice.mostly(False, True, None),
        exhausted=dice.mostly(False, True),
        being_made_for=dice.among(None, None, None, *(timedelta(minutes=at) for at in (0, 29, 30, 31))),
        maker_alive=dice.among(None, True, False),
        stalled=dice.mostly(False, True),
    )
    settings = TemplateSettings(
        enabled=dice.mostly(True, False),
        trusted_projects=frozenset({"templates"}),
        longest_making=timedelta(minutes=30),
        limits=draw(cache_limits()),
        shared=dice.among(False, True),
        enforce_signatures=dice.among(False, True),
    )
    others = draw(st.lists(cache_entries(image_ids=st.just(_OTHER_IMAGE_ID)), max_size=3, unique_by=_volume_id))
    abandoned = dice.among((), (), tuple(replace(each, volume_id=f"{each.volume_id}-") for each in others))
    return TemplateCase(
        image=image,
        target=target,
        template=dice.among(template, template, template, None),
        settings=settings,
        others=tuple(other for other in others if _volume_id(other) != _volume_id(entry)),
        abandoned=abandoned,
        requester_reads=dice.among(None, True, False),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CreationCase:
    """All the facts of one plan how a volume is made from an image."""

    clone: CloneCase
    cache: ImageCache
    template: Template | None
    template_settings: TemplateSettings
    conversion: ConversionSettings
    other_templates: tuple[CacheEntry, ...] = ()
    requester_reads: bool | None = None

    def decide(self, policy: Policy = Policy.STRICT) -> CreationPlan:
        """Ask the core."""
        return plan_creation(
            self.clone.image,
            target=self.clone.target,
            volumes=self.clone.volumes,
            backend=self.clone.backend,
            clone_settings=self.clone.settings,
            cache=self.cache,
            template=self.template,
            template_settings=self.template_settings,
            other_templates=self.other_templates,
            requester_reads=self.requester_reads,
            conversion=self.conversion,
            policy=policy,
        )


_WHOLE = Template(
    entry=CacheEntry(volume_id="template", image_id=_IMAGE_ID, size_gib=1, image_updated_at=_NOON),
    status="available",
    project_id="templates",
    readonly=True,
    encrypted=False,
)
_TEMPLATES = (
    None,
    _WHOLE,
    replace(_WHOLE, entry=replace(_WHOLE.entry, image_updated_at=_NOON - timedelta(days=1))),
    replace(_WHOLE, entry=replace(_WHOLE.entry, image_updated_at=None)),
    replace(_WHOLE, being_made_for=timedelta(minutes=1)),
    replace(_WHOLE, being_made_for=timedelta(minutes=31)),
    replace(_WHOLE, being_made_for=timedelta(minutes=1), maker_alive=False),
    replace(_WHOLE, being_made_for=timedelta(minutes=1), stalled=True),
    replace(_WHOLE, readonly=False),
    replace(_WHOLE, encrypted=True),
    replace(_WHOLE, exhausted=True),
)


_SNAPSHOT = '{"source_type": "snapshot", "boot_index": 0, "snapshot_id": "2f1c7a0e-5b3d-4c8f-9e6a-7d0b1c2e3f4a"}'
_MAPPINGS: tuple[dict[str, str], ...] = (
    {},
    {"block_device_mapping": f"[{_SNAPSHOT}]"},
    {"block_device_mapping": "[{}]"},
    {"block_device_mapping": "[7]"},
)


@st.composite
def creation_cases(draw: DrawFn) -> CreationCase:
    """A clone case on a backend that also has a cache and templates."""
    dice = Dice(draw)
    clone = draw(clone_cases())
    image = replace(
        clone.image,
        visibility="public" if dice.among(True, False) else "private",
        updated_at=dice.mostly(_NOON, _NOON + timedelta(seconds=1)),
        digest=_ONE if dice.among(True, False) else None,
        properties={**clone.image.properties, **dice.mostly(*_MAPPINGS)},
    )
    clone = replace(clone, image=image, volumes=clone.volumes if dice.among(True, False) else ())
    entries = draw(st.lists(cache_entries(), max_size=4, unique_by=_volume_id))
    return CreationCase(
        clone=clone,
        cache=ImageCache(
            enabled=dice.mostly(True, False),
            internal_tenant=dice.mostly(True, False, None),
            entries=tuple(entries),
            limits=draw(cache_limits()),
        ),
        template=dice.among(*_TEMPLATES),
        template_settings=TemplateSettings(enabled=dice.among(True, False), trusted_projects=frozenset({"templates"})),
        conversion=ConversionSettings(
            allowed=dice.mostly(True, False),
            free_bytes=dice.mostly(1 << 80, None, 0, GIB - 512, GIB),
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadCase:
    """All the facts of one plan how a volume becomes an image."""

    volume: Volume
    image: Image
    volume_type: VolumeType | None
    base_image_id: str | None
    requester: Requester
    settings: UploadSettings

    def decide(self, policy: Policy = Policy.STRICT) -> UploadPlan:
        """Ask the core."""
        return plan_upload(
            self.volume,
            image=self.image,
            volume_type=self.volume_type,
            base_image_id=self.base_image_id,
            requester=self.requester,
            settings=self.settings,
            policy=policy,
        )


@st.composite
def upload_cases(draw: DrawFn) -> UploadCase:
    """An upload that mostly registers a clone."""
    dice = Dice(draw)
    store = dice.among(None, "fast", "fast2", "", "a/b", "os_glance_x")
    volume_type = VolumeType(name="quick", extra_specs={} if store is None else {"image_service:store_id": store})
    return UploadCase(
        volume=Volume(
            id="9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1",
            project_id="ours",
            size_gib=draw(st.integers(1, 5)),
            encrypted=dice.mostly(False, True, None),
        ),
        image=Image(
            id=_IMAGE_ID,
            owner=dice.mostly("ours", "theirs", None),
            disk_format=dice.mostly("raw", "qcow2", "RAW", None),
            container_format=dice.mostly("bare", "compressed", None),
        ),
        volume_type=dice.mostly(volume_type, None),
        base_image_id=dice.among(None, "", _OTHER_IMAGE_ID),
        requester=Requester(project_id=dice.mostly("ours", None)),
        settings=UploadSettings(
            use_cinder_backend=dice.mostly(True, False),
            use_internal_tenant=dice.among(False, True),
            internal_tenant=dice.among(None, "internal"),
        ),
    )
