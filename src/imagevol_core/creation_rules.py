"""The rules that `creation` walks: of the request, of the cache, and of each way to a volume ([clone], [template]).

`STRICT` goes every way that is open; `UPSTREAM` is the order in which Cinder 29.0.0 tries them, and where it stops.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from imagevol_core.caching import CacheEntry, CacheLimits, cache_key, decide_freshness, last_use, plan_admission
from imagevol_core.cloning import CloneDecision
from imagevol_core.errors import InvalidSize
from imagevol_core.facts import Backend, Image, Volume
from imagevol_core.sentences import said
from imagevol_core.sizing import gib_for, image_fits, least_size_bytes, virtual_size_bytes
from imagevol_core.template_rules import least_gib_upstream
from imagevol_core.templates import TemplateAction, TemplateDecision
from imagevol_core.verdicts import Policy, Rule, Verdict, evaluate, failed

__all__ = [
    "CACHE_RULES",
    "CREATION_RULES",
    "STOP_RULES",
    "WAY_RULES",
    "CacheUse",
    "ConversionSettings",
    "Creation",
    "ImageCache",
    "Lookup",
    "look_up",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCache:
    """The cached volumes of a backend, and what the operator allows of them.

    Args:
        enabled: whether the backend has a cache (Cinder's `image_volume_cache_enabled`).
        internal_tenant: whether Cinder's internal tenant, to whom the cached volumes belong, is configured.
        entries: the cached volumes of the backend; under `UPSTREAM` of all of them, most recently used first.
        limits: how large it may grow.
    """

    enabled: bool = False
    internal_tenant: bool | None = None
    entries: tuple[CacheEntry, ...] = ()
    limits: CacheLimits = field(default_factory=CacheLimits)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionSettings:
    """What the operator allows of images in other formats than raw.

    Args:
        allowed: whether they are converted (the contrary of Cinder's `image_conversion_disable`).
        free_bytes: what is free where Cinder converts them (`image_conversion_dir`); None where that is not known.
            Only Cinder asks, and also where it then converts nothing.

    Raises:
        InvalidSize: less than nothing is free.
    """

    allowed: bool = True
    free_bytes: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no directory has."""
        if self.free_bytes is not None and self.free_bytes < 0:
            raise InvalidSize("ConversionSettings.free_bytes", self.free_bytes, "give 0 or more, or None")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """What the cache has for one request.

    Attributes:
        fresh: the entries to clone, best first.
        stale: the volumes of entries that are no longer the image.
        newcomer_gib: the size of a cached volume to be made.
        admitted: whether it may be made.
        evict: the volumes that go for it, in this order.
        cannot_serve: why there is nothing to clone; empty where there is.
        cannot_admit: why none may be made; empty where one may.
        verdicts: whether the cache serves the request at all, then what was said of each entry, and of admission.
    """

    fresh: tuple[CacheEntry, ...] = ()
    stale: tuple[str, ...] = ()
    newcomer_gib: int | None = None
    admitted: bool = False
    evict: tuple[str, ...] = ()
    cannot_serve: str = ""
    cannot_admit: str = ""
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """What the rules about the request and about the ways look at."""

    image: Image
    target: Volume
    found: Lookup
    clone: CloneDecision
    template: TemplateDecision
    conversion: ConversionSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUse:
    """What the rules about the cache look at."""

    target: Volume
    cache: ImageCache


# What the cache has.


def look_up(image: Image, *, target: Volume, backend: Backend, cache: ImageCache, policy: Policy) -> Lookup:
    """Find what the cache has for a request, and what must go for what it has not."""
    use = CacheUse(target=target, cache=cache)
    serves = evaluate(CACHE_RULES[policy], use)
    if in_the_way := failed(serves):
        text = _texts(in_the_way)
        return Lookup(cannot_serve=text, cannot_admit=text, verdicts=serves)
    key = cache_key(target, clone_across_pools=backend.clone_across_pools, policy=policy)
    here = tuple(entry for entry in cache.entries if entry.image_id == image.id and key.matches(entry))
    found = _LOOK_UPS[policy](image, use, here)
    return replace(found, verdicts=serves + found.verdicts)


def _look_up(image: Image, use: CacheUse, here: tuple[CacheEntry, ...]) -> Lookup:
    target, cache = use.target, use.cache
    verdicts, stale = _freshness(image, here, Policy.STRICT)
    fresh = [entry for entry in here if entry.volume_id not in stale]
    fits = tuple(
        Verdict("volume-fits", _fits(entry, target), entry.volume_id, _sizes(entry, target)) for entry in fresh
    )
    usable = sorted((entry for entry in fresh if _fits(entry, target)), key=last_use, reverse=True)
    newcomer_gib = gib_for(least_size_bytes(image) or 0) if virtual_size_bytes(image) else target.size_gib
    kept = (entry for entry in cache.entries if entry.volume_id not in stale)
    admission = plan_admission(kept, newcomer_gib=newcomer_gib, limits=cache.limits)
    return Lookup(
        fresh=tuple(sorted(usable, key=lambda entry: entry.host != target.host)),
        stale=stale,
        newcomer_gib=newcomer_gib,
        admitted=admission.admitted,
        evict=tuple(entry.volume_id for entry in admission.evict),
        cannot_serve="" if usable else _texts(failed(verdicts + fits)) or _NOTHING,
        cannot_admit=_texts(failed(admission.verdicts)),
        verdicts=verdicts + fits + admission.verdicts,
    )


def _look_up_upstream(image: Image, use: CacheUse, here: tuple[CacheEntry, ...]) -> Lookup:
    """Cinder looks at the first row of its query, and counts those in the very pool of the new volume."""
    target, cache = use.target, use.cache
    verdicts, stale = _freshness(image, here[:1], Policy.UPSTREAM)
    newcomer_gib = least_gib_upstream(image) or target.size_gib
    pool = cache_key(target, policy=Policy.UPSTREAM)
    kept = (entry for entry in cache.entries if pool.matches(entry) and entry.volume_id not in stale)
    admission = plan_admission(kept, newcomer_gib=newcomer_gib, limits=cache.limits, policy=Policy.UPSTREAM)
    return Lookup(
        fresh=() if stale else here[:1],
        stale=stale,
        newcomer_gib=newcomer_gib,
        admitted=admission.admitted,
        evict=tuple(entry.volume_id for entry in admission.evict),
        cannot_serve="" if here and not stale else _texts(failed(verdicts)) or _NOTHING,
        cannot_admit=_texts(failed(admission.verdicts)),
        verdicts=verdicts + admission.verdicts,
    )


_LOOK_UPS = {Policy.STRICT: _look_up, Policy.UPSTREAM: _look_up_upstream}
_NOTHING = "the cache has no volume of this image where it could be cloned"


def _freshness(
    image: Image, entries: Iterable[CacheEntry], policy: Policy
) -> tuple[tuple[Verdict, ...], tuple[str, ...]]:
    """A verdict on each entry, which fails where it is stale; and the volumes of those."""
    judged = [(entry.volume_id, decide_freshness(image, entry=entry, policy=policy)) for entry in entries]
    verdicts = tuple(
        freshness.verdicts[-1]._replace(passed=freshness.fresh, subject=volume_id) for volume_id, freshness in judged
    )
    return verdicts, tuple(volume_id for volume_id, freshness in judged if not freshness.fresh)


def _fits(entry: CacheEntry, target: Volume) -> bool:
    return entry.size_gib <= target.size_gib


def _sizes(entry: CacheEntry, target: Volume) -> str:
    return f"it has {entry.size_gib} GiB and the new volume {target.size_gib} GiB"


def _texts(verdicts: Iterable[Verdict]) -> str:
    return "; ".join(f"{each.subject}: {each.text}" if each.subject else each.text for each in verdicts)


# Does the cache serve the request at all?


def _cache_enabled(use: CacheUse) -> tuple[bool, str]:
    return use.cache.enabled, f"the cache is {'' if use.cache.enabled else 'not '}enabled"


def _internal_tenant_known(use: CacheUse) -> tuple[bool, str]:
    known = use.cache.internal_tenant
    return known is True, f"whether Cinder's internal tenant is configured: {_YES[known]}"


def _target_not_encrypted(use: CacheUse) -> tuple[bool, str]:
    return use.target.encrypted is False, f"whether the new volume is encrypted: {_YES[use.target.encrypted]}"


def _target_not_encrypted_upstream(use: CacheUse) -> tuple[bool, str]:
    return not use.target.encrypted, f"whether the new volume is encrypted: {_YES[use.target.encrypted]}"


# Can the request be met at all?


def _image_active(creation: Creation) -> tuple[bool, str]:
    return creation.image.status == "active", f"the image's status is {said(creation.image.status)}"


def _image_fits(creation: Creation) -> tuple[bool, str]:
    verdict = image_fits(creation.image, size_gib=creation.target.size_gib)
    return verdict.passed, verdict.text


def _image_fits_upstream(creation: Creation) -> tuple[bool, str]:
    verdict = image_fits(creation.image, size_gib=creation.target.size_gib, policy=Policy.UPSTREAM)
    return verdict.passed, verdict.text


def _driver_answers(creation: Creation) -> tuple[bool, str]:
    fails = creation.template.action is TemplateAction.FAIL and not creation.target.encrypted
    return not fails, creation.template.because if fails else "the driver does not fail"


# Can this way be gone?


def _clone_image_volume(creation: Creation) -> tuple[bool, str]:
    clone = creation.clone
    if clone.eligible:
        return True, f"it can be cloned from volume {', or else '.join(source.id for source in clone.sources)}"
    return False, _texts(failed(clone.verdicts))


def _clone_template(creation: Creation) -> tuple[bool, str]:
    return creation.template.action is TemplateAction.USE, creation.template.because


def _create_template(creation: Creation) -> tuple[bool, str]:
    wanted = creation.template.action in (TemplateAction.CREATE, TemplateAction.REPLACE)
    convertible, text = _convertible(creation)
    return wanted and convertible, text if wanted and not convertible else creation.template.because


def _await_template(creation: Creation) -> tuple[bool, str]:
    return creation.template.action is TemplateAction.WAIT, creation.template.because


def _clone_cached(creation: Creation) -> tuple[bool, str]:
    found = creation.found
    return bool(found.fresh), found.cannot_serve or f"the cache has {_volumes(found.fresh)}"


def _create_cached(creation: Creation) -> tuple[bool, str]:
    found = creation.found
    if found.fresh:
        return False, f"the cache already has {_volumes(found.fresh)}"
    if not found.admitted:
        return False, found.cannot_admit
    convertible, text = _convertible(creation)
    return convertible, f"the cache has room for {found.newcomer_gib} GiB" if convertible else text


def _convertible(creation: Creation) -> tuple[bool, str]:
    disk_format, allowed = creation.image.disk_format, creation.conversion.allowed
    text = f"the image's disk_format is {said(disk_format)}; whether images are converted: {_YES[allowed]}"
    return disk_format == "raw" or allowed, text


def _volumes(entries: Iterable[CacheEntry]) -> str:
    return f"volume {', '.join(entry.volume_id for entry in entries)}"


# What Cinder does instead: the driver comes first, and there are conditions in which the request fails.


def _clone_template_upstream(creation: Creation) -> tuple[bool, str]:
    return _driver(creation, TemplateAction.USE)


def _create_template_upstream(creation: Creation) -> tuple[bool, str]:
    return _driver(creation, TemplateAction.CREATE, TemplateAction.REPLACE)


def _driver(creation: Creation, *actions: TemplateAction) -> tuple[bool, str]:
    if creation.target.encrypted:
        return False, "Cinder does not ask the driver where the new volume is encrypted"
    return creation.template.action in actions, creation.template.because


def _clone_cached_upstream(creation: Creation) -> tuple[bool, str]:
    stopped = _stopped(creation)
    return not stopped and bool(creation.found.fresh), stopped or _clone_cached(creation)[1]


def _create_cached_upstream(creation: Creation) -> tuple[bool, str]:
    stopped = _stopped(creation)
    creates, text = _create_cached(creation)
    return not stopped and creates, stopped or text


def _copy_upstream(creation: Creation) -> tuple[bool, str]:
    stopped = _stopped(creation)
    convertible, text = _convertible(creation)
    if stopped or not convertible:
        return False, stopped or f"Cinder fails with an ImageConversionNotAllowed: {text}"
    creates = _create_cached(creation)[0]
    return not creates, "Cinder's copy is what creates the cached volume" if creates else text


def _stopped(creation: Creation) -> str:
    """How the request has failed before anything but an image volume could be cloned; empty where it has not."""
    return _texts(failed(evaluate(STOP_RULES[Policy.UPSTREAM], creation)))


def _locations_are_urls(creation: Creation) -> tuple[bool, str]:
    """Cinder reads them last: it does not come so far where anything else stands in the way of a clone."""
    failures = {verdict.rule: verdict.text for verdict in failed(creation.clone.verdicts) if verdict.subject is None}
    text = failures.pop("locations-are-urls", None)
    failures.pop("has-cinder-location", None)
    if text and not failures:
        return False, text
    return True, "Cinder does not fail over a location"


def _times_known(creation: Creation) -> tuple[bool, str]:
    undated = [verdict.text for verdict in creation.found.verdicts if verdict.rule == "undated"]
    return not undated, undated[0] if undated else "Cinder does not fail over a time"


def _room_to_convert(creation: Creation) -> tuple[bool, str]:
    free_bytes, size_bytes = creation.conversion.free_bytes, creation.image.size_bytes or 0
    if free_bytes is None or free_bytes > size_bytes:
        return True, "Cinder finds room to convert the image, whether it converts it or not"
    return False, f"Cinder fails with an ImageTooBig: {free_bytes} bytes are free to convert {size_bytes}"


# The words that the sentences are made of, and the tables.

_YES = {True: "yes", False: "no", None: "not known"}


_SPEC = "[clone] [template]"
_API = "cinder.volume.volume_utils.check_image_metadata"
_FLOW = "cinder CreateVolumeFromSpecTask._create_from_image"
_CACHE = "cinder CreateVolumeFromSpecTask._prepare_image_cache_entry"
_COPY = "cinder CreateVolumeFromSpecTask._create_from_image_cache_or_download"

CACHE_RULES: Mapping[Policy, tuple[Rule[CacheUse], ...]] = {
    Policy.STRICT: (
        Rule(id="cache-enabled", text="the backend has a cache", source=_SPEC, predicate=_cache_enabled),
        Rule(
            id="internal-tenant-known",
            text="Cinder's internal tenant, whose the cached volumes are, is configured",
            source=_SPEC,
            predicate=_internal_tenant_known,
        ),
        Rule(
            id="target-not-encrypted",
            text="the new volume is known not to be encrypted",
            source=_SPEC,
            predicate=_target_not_encrypted,
        ),
    ),
    Policy.UPSTREAM: (
        Rule(id="cache-enabled", text="the backend has a cache", source=_FLOW, predicate=_cache_enabled),
        Rule(
            id="target-not-encrypted",
            text="the new volume has no encryption key",
            source=_FLOW,
            predicate=_target_not_encrypted_upstream,
        ),
        Rule(
            id="internal-tenant-known",
            text="Cinder's internal tenant is configured",
            source=_CACHE,
            predicate=_internal_tenant_known,
        ),
    ),
}

CREATION_RULES: Mapping[Policy, tuple[Rule[Creation], ...]] = {
    Policy.STRICT: (
        Rule(id="image-active", text="the image is active", source=_SPEC, predicate=_image_active),
        Rule(
            id="image-fits",
            text="the image, as stored, as a disk, and its min_disk, fits the new volume",
            source=_SPEC,
            predicate=_image_fits,
        ),
    ),
    Policy.UPSTREAM: (
        Rule(id="image-active", text="the image is active", source=_API, predicate=_image_active),
        Rule(
            id="image-fits",
            text="the image fits, with the virtual size rounded through a float",
            source=_API,
            predicate=_image_fits_upstream,
        ),
        Rule(
            id="driver-answers",
            text="the driver's `clone_image`, which is asked unless the new volume is encrypted, does not raise",
            source=_FLOW,
            predicate=_driver_answers,
        ),
    ),
}

STOP_RULES: Mapping[Policy, tuple[Rule[Creation], ...]] = {
    Policy.UPSTREAM: (
        Rule(
            id="locations-are-urls",
            text="every location that Cinder reads, of whatever scheme, is a URL",
            source="cinder CreateVolumeFromSpecTask._extract_cinder_ids",
            predicate=_locations_are_urls,
        ),
        Rule(
            id="times-known",
            text="the image and what the cache has of it are dated",
            source="cinder ImageVolumeCache._should_update_entry",
            predicate=_times_known,
        ),
        Rule(
            id="room-to-convert",
            text="more is free in `image_conversion_dir` than the image has, be it cloned from the cache or streamed",
            source="cinder.image.image_utils.check_available_space",
            predicate=_room_to_convert,
        ),
    ),
}

WAY_RULES: Mapping[Policy, tuple[Rule[Creation], ...]] = {
    Policy.STRICT: (
        Rule(
            id="clone-image-volume",
            text="clone a volume that a location names",
            source="[clone]",
            predicate=_clone_image_volume,
        ),
        Rule(id="clone-template", text="clone the template", source="[template]", predicate=_clone_template),
        Rule(id="clone-cached", text="clone a cached volume", source="[clone]", predicate=_clone_cached),
        Rule(
            id="create-template",
            text="make the template, and clone it",
            source="[template]",
            predicate=_create_template,
        ),
        Rule(id="create-cached", text="make a cached volume, and clone it", source="[clone]", predicate=_create_cached),
        Rule(
            id="await-template",
            text="wait for the template that somebody else makes, and clone it",
            source="[template]",
            predicate=_await_template,
        ),
        Rule(id="copy", text="copy the image", source="[clone]", predicate=_convertible),
    ),
    Policy.UPSTREAM: (
        Rule(
            id="clone-template", text="the driver clones its template", source=_FLOW, predicate=_clone_template_upstream
        ),
        Rule(
            id="create-template",
            text="the driver makes its template, and clones it",
            source=_FLOW,
            predicate=_create_template_upstream,
        ),
        Rule(
            id="clone-image-volume",
            text="clone the newest volume that a location names",
            source="cinder CreateVolumeFromSpecTask._clone_image_volume",
            predicate=_clone_image_volume,
        ),
        Rule(
            id="create-cached",
            text="copy the image, and clone the copy into the cache",
            source=_CACHE,
            predicate=_create_cached_upstream,
        ),
        Rule(id="clone-cached", text="clone the cached volume", source=_COPY, predicate=_clone_cached_upstream),
        Rule(id="copy", text="copy the image", source=_COPY, predicate=_copy_upstream),
    ),
}
