"""What could not be learned of a creation, and what would follow from each value that it can have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import attrs

from imagevol_adapters.gathering.creation import CreationFacts
from imagevol_core import CacheEntry, CreationOutlook, Policy, Template, least_volume_gib

__all__ = ["Unknown", "unknown_facts"]

TENANT = "Cinder's internal tenant"


@attrs.frozen(kw_only=True)
class Unknown:
    """A fact that is not known, and that matters.

    Attributes:
        fact: what is not known, as a part of a sentence.
        option: by which the operator can tell; None if there is none.
        values: each value that it can have, and what follows from it.
    """

    fact: str
    option: str | None
    values: tuple[tuple[str, CreationOutlook], ...]

    @property
    def matters(self) -> bool:
        """Whether different values lead to different ways."""
        ways = [[(step.way, step.source) for step in outlook.steps] for _, outlook in self.values]
        return any(each != ways[0] for each in ways)


def unknown_facts(
    facts: CreationFacts, *, policy: Policy, looked_at: frozenset[str], sees_templates: bool
) -> tuple[Unknown, ...]:
    """Give what is not known and matters.

    Args:
        facts: what is known.
        policy: whose rules.
        looked_at: the options `--trusted-project`, `--templates` and `--image-cache`, as far as their facts are known.
        sees_templates: whether the templates that there are were looked at.
    """
    found = _all(facts, looked_at, sees_templates, strict=policy is Policy.STRICT)
    answers = [
        Unknown(fact=fact, option=option, values=tuple((value, each.outlook(policy)) for value, each in values))
        for fact, option, values in found
    ]
    if policy is Policy.STRICT:
        answers.insert(0, _mixin(facts))
    return tuple(answer for answer in answers if answer.matters)


def _mixin(facts: CreationFacts) -> Unknown:
    """Whether the driver decides by the strict rules; no API tells, and a class in `cinder.conf` may have any bases."""
    without = "it has not: it does what `--policy upstream` says"
    return Unknown(
        fact="whether the driver of the backend has ImageCloneMixin",
        option="--policy upstream",
        values=(("it has", facts.outlook(Policy.STRICT)), (without, facts.outlook(Policy.UPSTREAM))),
    )


_Values = tuple[tuple[str, CreationFacts], ...]


def _all(
    facts: CreationFacts, looked_at: frozenset[str], sees_templates: bool, *, strict: bool
) -> Iterator[tuple[str, str | None, _Values]]:
    settings = facts.settings
    if strict and "--trusted-project" not in looked_at:
        projects = frozenset(volume.project_id for volume in facts.volumes if volume.project_id)
        clones = replace(settings.clones, trusted_projects=projects)
        trusting = attrs.evolve(facts, settings=attrs.evolve(settings, clones=clones))
        values = (("the project of the image volume is trusted", trusting), ("it is not", facts))
        yield "which projects are trusted", "--trusted-project", values
    if strict and "--templates" not in looked_at:
        templates = replace(settings.templates, enabled=True)
        making = attrs.evolve(facts, settings=attrs.evolve(settings, templates=templates))
        yield "whether the backend makes templates", "--templates", (("it does", making), ("it does not", facts))
    if strict and settings.templates.enabled and not sees_templates:
        yield (
            "which templates there are",
            "--internal-tenant",
            (("the image has one", _with_template(facts)), ("it has none", facts)),
        )
    if strict and facts.requester_reads is None and facts.plan().template.needs_read:
        given, refused = (attrs.evolve(facts, requester_reads=reads) for reads in (True, False))
        answers = (("it does", given), ("it does not", refused))
        yield "whether Glance gives the requester the image's data", None, answers
    cache = replace(settings.cache, enabled=True, internal_tenant=True)
    if "--image-cache" not in looked_at:
        cached = attrs.evolve(facts, settings=attrs.evolve(settings, cache=cache))
        yield (
            "whether the backend has Cinder's image cache",
            "--image-cache",
            (("it has", cached), ("it has not", facts)),
        )
    elif settings.cache.enabled and settings.cache.internal_tenant and not facts.entries:
        full = attrs.evolve(facts, entries=(_entry(facts, "of the cache"),))
        yield "what Cinder's image cache has", None, (("it has the image", full), ("it does not have it", facts))


def _with_template(facts: CreationFacts) -> CreationFacts:
    template = Template(
        entry=_entry(facts, "that is the template"),
        status="available",
        project_id=TENANT,
        readonly=True,
        encrypted=False,
    )
    trusted = replace(facts.settings.templates, trusted_projects=frozenset({TENANT}))
    return attrs.evolve(facts, template=template, settings=attrs.evolve(facts.settings, templates=trusted))


def _entry(facts: CreationFacts, volume_id: str) -> CacheEntry:
    image, target = facts.image, facts.target
    return CacheEntry(
        volume_id=volume_id,
        image_id=image.id,
        size_gib=min(least_volume_gib(image) or 1, target.size_gib),
        image_updated_at=image.updated_at,
        digest=image.digest,
        last_used=image.updated_at,
        host=target.host,
        cluster_name=target.cluster_name,
    )
