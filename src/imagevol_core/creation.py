"""The way from an image to a volume: all that can be gone, in order, and why not the others ([clone], [template]).

Clone an image volume; clone a template or a cached volume; make a template or a cached volume and clone that; copy.
What fails leaves the next way open, and only a failed copy fails the request.  The volume of Nova's snapshot image is
created from the snapshot, and in no other way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum

from imagevol_core.boot_mapping import boot_mapping
from imagevol_core.cache_lookup import ImageCache, look_up
from imagevol_core.caching import CacheEntry
from imagevol_core.clone_facts import CloneSettings
from imagevol_core.cloning import CloneDecision, decide_clone
from imagevol_core.creation_rules import CREATION_RULES, WAY_RULES, ConversionSettings, Creation
from imagevol_core.facts import Backend, Image, Volume
from imagevol_core.templates import (
    Template,
    TemplateAction,
    TemplateDecision,
    TemplateSettings,
    decide_template,
)
from imagevol_core.verdicts import Policy, Verdict, evaluate, failed

__all__ = ["ConversionSettings", "CreationPlan", "CreationStep", "ImageCache", "Retry", "Way", "plan_creation"]


class Way(Enum):
    """How a volume is made from an image."""

    FROM_SNAPSHOT = "from-snapshot"
    CLONE_IMAGE_VOLUME = "clone-image-volume"
    CLONE_TEMPLATE = "clone-template"
    CLONE_CACHED = "clone-cached"
    CREATE_TEMPLATE = "create-template"
    CREATE_CACHED = "create-cached"
    AWAIT_TEMPLATE = "await-template"
    COPY = "copy"


class Retry(Enum):
    """Whether a step that failed may be tried again on the same volume.

    `UNTIL_WRITTEN`: not once it has begun to write, for then nobody knows what the volume holds.
    """

    ALWAYS = "always"
    UNTIL_WRITTEN = "until-written"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreationStep:
    """One attempt at making the volume.

    Attributes:
        way: how.
        source: the volume to clone, where there already is one; of `FROM_SNAPSHOT` the snapshot.
        size_gib: the size of the template or cached volume to be made; None where none is, or it is not known.
        extend_to_gib: the size that the new volume must end with.
        remove_first: volumes to delete before, in this order.
        remove_after: volumes to delete once it has succeeded.
        wait: how long to wait for somebody else's template.
        falls_to_next: whether the next step is tried when it fails; if not, the request has failed.
        retry: whether it may itself be tried again.
    """

    way: Way
    source: str | None = None
    size_gib: int | None = None
    extend_to_gib: int
    remove_first: tuple[str, ...] = ()
    remove_after: tuple[str, ...] = ()
    wait: timedelta | None = None
    falls_to_next: bool = True
    retry: Retry = Retry.ALWAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class CreationPlan:
    """What to try, in order.

    Attributes:
        policy: whose rules decided.
        steps: the attempts; the first that succeeds is the last that is made.
        accepted: whether the request passes the rules about it, so that the ways were looked at.
        refused: why nothing is tried; None when something is.
        verdicts: what each rule about the request said, and then for each way whether it can be gone and why.
        clone: what was decided of the image volumes.
        template: what was decided of the template.
        cache: what was said of the cache and of its entries.
    """

    policy: Policy
    steps: tuple[CreationStep, ...]
    accepted: bool
    refused: str | None
    verdicts: tuple[Verdict, ...]
    clone: CloneDecision
    template: TemplateDecision
    cache: tuple[Verdict, ...]


_NO_CACHE, _NO_TEMPLATES, _CONVERTED = ImageCache(), TemplateSettings(), ConversionSettings()


def plan_creation(
    image: Image,
    *,
    target: Volume,
    volumes: Iterable[Volume],
    backend: Backend,
    clone_settings: CloneSettings,
    cache: ImageCache = _NO_CACHE,
    template: Template | None = None,
    template_settings: TemplateSettings = _NO_TEMPLATES,
    other_templates: Iterable[CacheEntry] = (),
    requester_reads: bool | None = None,
    conversion: ConversionSettings = _CONVERTED,
    policy: Policy = Policy.STRICT,
) -> CreationPlan:
    """Plan how a volume is made from an image ([clone], [template]).

    Args:
        image: with its locations.
        target: the volume to be made, with its final size, its project, and where it will be.
        volumes: the volumes that the locations name, as far as they exist.
        backend: what the target's backend can do.
        clone_settings: what the operator allows of clones.
        cache: the cached volumes of the target's backend.
        template: the image's template on that backend; None where there is none.
        template_settings: what the operator allows of templates.
        other_templates: the other templates of the backend.
        requester_reads: whether Glance gave the image's data to the requester's own token in this request; None if
            Glance was not asked.
        conversion: what the operator allows of images in other formats than raw.
        policy: whose rules.  Under `UPSTREAM`, what Cinder 29.0.0 does (`CreateVolumeFromSpecTask._create_from_image`)
            with a driver whose `clone_image` is SolidFire's of cinder 13.0.9.

    Returns:
        Every way that can be gone, in order, and why not the others.

    Raises:
        InvalidFact: a volume is listed twice and differs, or the template is of another image.

    >>> image = Image(id="i", status="active", disk_format="raw", container_format="bare", size_bytes=5)
    >>> target = Volume(id="t", project_id="p", host="h@fast#fast", size_gib=1, encrypted=False)
    >>> plan = plan_creation(image, target=target, volumes=(), backend=Backend(), clone_settings=CloneSettings(),
    ...                      cache=ImageCache(enabled=True, internal_tenant=True))
    >>> [step.way.value for step in plan.steps]
    ['create-cached', 'copy']
    >>> [verdict.text for verdict in plan.verdicts if verdict.rule == "clone-cached"]
    ['the cache has no volume of this image where it could be cloned']
    """
    creation = Creation(
        image=image,
        target=target,
        boot=boot_mapping(image),
        found=look_up(image, target=target, backend=backend, cache=cache, policy=policy),
        clone=decide_clone(
            image, target=target, volumes=volumes, backend=backend, settings=clone_settings, policy=policy
        ),
        template=decide_template(
            image,
            target=target,
            template=template,
            settings=template_settings,
            others=other_templates,
            requester_reads=requester_reads,
            policy=policy,
        ),
        conversion=conversion,
    )
    verdicts = evaluate(CREATION_RULES[policy], creation)
    ways = evaluate(WAY_RULES[policy], creation) if not failed(verdicts) else ()
    steps = tuple(step for way in ways if way.passed for step in _STEPS[policy][Way(way.rule)](creation))
    in_the_way = failed(verdicts) or ways[-1:]
    return CreationPlan(
        policy=policy,
        steps=steps,
        accepted=not failed(verdicts),
        refused=None if steps else "; ".join(verdict.text for verdict in in_the_way),
        verdicts=verdicts + ways,
        clone=creation.clone,
        template=creation.template,
        cache=creation.found.verdicts,
    )


# The steps of each way.

Steps = Callable[[Creation], tuple[CreationStep, ...]]


def _from_snapshot(creation: Creation) -> tuple[CreationStep, ...]:
    step = CreationStep(
        way=Way.FROM_SNAPSHOT,
        source=creation.boot.snapshot_id,
        extend_to_gib=creation.target.size_gib,
        falls_to_next=False,
    )
    return (step,)


def _clone_image_volumes(creation: Creation) -> tuple[CreationStep, ...]:
    size_gib = creation.target.size_gib
    return tuple(
        CreationStep(way=Way.CLONE_IMAGE_VOLUME, source=source.id, extend_to_gib=size_gib)
        for source in creation.clone.sources
    )


def _clone_cached(creation: Creation) -> tuple[CreationStep, ...]:
    size_gib = creation.target.size_gib
    return tuple(
        CreationStep(way=Way.CLONE_CACHED, source=entry.volume_id, extend_to_gib=size_gib)
        for entry in creation.found.fresh
    )


def _clone_cached_upstream(creation: Creation) -> tuple[CreationStep, ...]:
    """What Cinder has found stale before it found this one is gone."""
    return tuple(replace(step, remove_first=creation.found.stale) for step in _clone_cached(creation))


def _create_cached(creation: Creation) -> tuple[CreationStep, ...]:
    """The stale entries go when the new one is ready: until then they serve those who are cloning them."""
    step = CreationStep(
        way=Way.CREATE_CACHED,
        size_gib=creation.found.newcomer_gib,
        extend_to_gib=creation.target.size_gib,
        remove_first=creation.found.evict,
        remove_after=creation.found.stale,
    )
    return (step,)


def _create_cached_upstream(creation: Creation) -> tuple[CreationStep, ...]:
    """Cinder copies into the new volume itself and clones that into its cache, so that it is the copy that can fail."""
    found = creation.found
    step = CreationStep(
        way=Way.CREATE_CACHED,
        size_gib=found.newcomer_gib,
        extend_to_gib=creation.target.size_gib,
        remove_first=() if found.fresh else found.stale,
        remove_after=found.stale_later + found.evict,
        falls_to_next=False,
        retry=Retry.UNTIL_WRITTEN,
    )
    return (step,)


def _copy(creation: Creation) -> tuple[CreationStep, ...]:
    step = CreationStep(
        way=Way.COPY,
        extend_to_gib=creation.target.size_gib,
        remove_after=creation.found.stale,
        falls_to_next=False,
        retry=Retry.UNTIL_WRITTEN,
    )
    return (step,)


def _copy_upstream(creation: Creation) -> tuple[CreationStep, ...]:
    """What is stale goes first, also if nothing takes its place."""
    (step,) = _copy(creation)
    found = creation.found
    return (replace(step, remove_first=() if found.fresh else found.stale, remove_after=found.stale_later),)


def _by_template(creation: Creation) -> tuple[CreationStep, ...]:
    decision = creation.template
    step = CreationStep(
        way=_BY_TEMPLATE[decision.action],
        source=decision.source,
        size_gib=decision.size_gib,
        extend_to_gib=creation.target.size_gib,
        remove_first=decision.remove_first,
        remove_after=() if decision.remove_after is None else (decision.remove_after,),
        wait=decision.wait,
    )
    return (step,)


def _by_driver(creation: Creation) -> tuple[CreationStep, ...]:
    """An exception of the driver's is the request's."""
    return tuple(replace(step, falls_to_next=False) for step in _by_template(creation))


_BY_TEMPLATE = {
    TemplateAction.USE: Way.CLONE_TEMPLATE,
    TemplateAction.CREATE: Way.CREATE_TEMPLATE,
    TemplateAction.REPLACE: Way.CREATE_TEMPLATE,
    TemplateAction.WAIT: Way.AWAIT_TEMPLATE,
}

_STEPS: Mapping[Policy, Mapping[Way, Steps]] = {
    Policy.STRICT: {
        Way.FROM_SNAPSHOT: _from_snapshot,
        Way.CLONE_IMAGE_VOLUME: _clone_image_volumes,
        Way.CLONE_TEMPLATE: _by_template,
        Way.CLONE_CACHED: _clone_cached,
        Way.CREATE_TEMPLATE: _by_template,
        Way.CREATE_CACHED: _create_cached,
        Way.AWAIT_TEMPLATE: _by_template,
        Way.COPY: _copy,
    },
    Policy.UPSTREAM: {
        Way.FROM_SNAPSHOT: _from_snapshot,
        Way.CLONE_TEMPLATE: _by_driver,
        Way.CREATE_TEMPLATE: _by_driver,
        Way.CLONE_IMAGE_VOLUME: _clone_image_volumes,
        Way.CLONE_CACHED: _clone_cached_upstream,
        Way.CREATE_CACHED: _create_cached_upstream,
        Way.COPY: _copy_upstream,
    },
}
