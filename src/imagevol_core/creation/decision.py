"""The way from an image to a volume: all that can be gone, in order, and why not the others ([clone], [template]).

Clone an image volume; clone a template or a cached volume; make a template or a cached volume and clone that; copy.
What fails leaves the next way open, and only a failed copy fails the request.  The volume of Nova's snapshot image is
created from the snapshot, and in no other way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from imagevol_core.caching import CacheEntry
from imagevol_core.cloning import CloneDecision, CloneSettings, decide_clone
from imagevol_core.creation.boot_mapping import boot_mapping
from imagevol_core.creation.cache_lookup import ImageCache, look_up
from imagevol_core.creation.facts import ConversionSettings, Creation, CreationStep, Way
from imagevol_core.creation.rules import STRICT_CREATION_RULES, STRICT_WAY_RULES, Steps
from imagevol_core.creation.upstream import UPSTREAM_CREATION_RULES, UPSTREAM_STOP_RULES, UPSTREAM_WAY_RULES
from imagevol_core.facts import Backend, Image, Volume
from imagevol_core.templates import Template, TemplateDecision, TemplateSettings, decide_template
from imagevol_core.verdicts import Choice, Policy, Requirement, Verdict, evaluate, every_match, failed, table_of

__all__ = [
    "CREATION_RULES",
    "STOP_RULES",
    "WAY_RULES",
    "ConversionSettings",
    "CreationPlan",
    "CreationStep",
    "ImageCache",
    "Way",
    "plan_creation",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreationPlan:
    """What to try to create a volume from an image, in order.

    Attributes:
        policy: whose rules decided.
        steps: the attempts; the first that succeeds is the last that is made.
        accepted: whether the request passes the rules about it, so that the ways were looked at.
        refused: why nothing is tried; None if something is.
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
    abandoned_templates: Iterable[CacheEntry] = (),
    requester_reads: bool | None = None,
    conversion: ConversionSettings = _CONVERTED,
    policy: Policy = Policy.STRICT,
) -> CreationPlan:
    """Plan how a volume is created from an image ([clone], [template]).

    Args:
        image: with its locations.
        target: the volume to be made, with its final size, its project, and where it will be.
        volumes: the volumes that the locations name, as far as they exist.
        backend: what the target's backend can do.
        clone_settings: what the operator allows of clones.
        cache: the cached volumes of the target's backend.
        template: the image's template on that backend; None if there is none.
        template_settings: what the operator allows of templates.
        other_templates: the other templates of the backend.
        abandoned_templates: those of other images there that were left half made.
        requester_reads: whether Glance gave the image's data to the requester's own token in this request; None if
            Glance was not asked.
        conversion: what the operator allows of images in other formats than raw.
        policy: whose rules.  Under `UPSTREAM`, what Cinder 29.0.0 does (`CreateVolumeFromSpecTask._create_from_image`)
            with a driver whose `clone_image` is SolidFire's of cinder 13.0.9.

    Returns:
        Every way that is possible, in order, and why the others are not.

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
            abandoned=abandoned_templates,
            requester_reads=requester_reads,
            policy=policy,
        ),
        conversion=conversion,
    )
    verdicts = evaluate(table_of(CREATION_RULES, policy), creation)
    open_ways, ways = every_match(table_of(WAY_RULES, policy), creation) if not failed(verdicts) else ((), ())
    steps = tuple(step for steps_of in open_ways for step in steps_of(creation))
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


CREATION_RULES: Mapping[Policy, tuple[Requirement[Creation], ...]] = {
    Policy.STRICT: STRICT_CREATION_RULES,
    Policy.UPSTREAM: UPSTREAM_CREATION_RULES,
}
STOP_RULES: Mapping[Policy, tuple[Requirement[Creation], ...]] = {
    Policy.UPSTREAM: UPSTREAM_STOP_RULES,
}
WAY_RULES: Mapping[Policy, tuple[Choice[Creation, Steps], ...]] = {
    Policy.STRICT: STRICT_WAY_RULES,
    Policy.UPSTREAM: UPSTREAM_WAY_RULES,
}
