"""What could not be learned of a creation, and what would follow from each value that it can have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import attrs

from imagevol_adapters.gathering.creation import CreationFacts
from imagevol_core import CacheEntry, CreationOutlook, Policy, Template, Way, least_volume_gib
from imagevol_core.sentences import said

__all__ = ["Unknown", "unknown_facts"]

TENANT = "Cinder's internal tenant"


@attrs.frozen(kw_only=True)
class Unknown:
    """A fact that is not known, and that matters.

    Attributes:
        id: which fact; an id stays the same from version to version.
        fact: what is not known, as a part of a sentence.
        option: the option of `imagevol explain` that tells it; None if there is none.
        values: each value that the fact can have, and what follows from it.
    """

    id: str
    fact: str
    option: str | None
    values: tuple[tuple[str, CreationOutlook], ...]

    @property
    def matters(self) -> bool:
        """Whether different values lead to different ways."""
        ways = [[(step.way, step.source) for step in outlook.steps] for _, outlook in self.values]
        return any(each != ways[0] for each in ways)


def unknown_facts(facts: CreationFacts, *, policy: Policy = Policy.STRICT) -> tuple[Unknown, ...]:
    """Give what is not known and matters.

    The facts say what they do not have: settings that are `assumed`, templates that the credentials do not see, and
    what Glance gives a requester of another project.  No API tells whether the driver has the mixin, what is in
    Cinder's image cache, and whether the image's data has the format that the image declares.

    Args:
        facts: what is known.
        policy: whose rules.
    """
    found = _all(facts, strict=policy is Policy.STRICT)
    answers = [
        Unknown(
            id=name, fact=fact, option=option, values=tuple((value, each.outlook(policy)) for value, each in values)
        )
        for name, fact, option, values in found
    ]
    if policy is Policy.STRICT:
        answers.insert(0, _mixin(facts))
    if _may_be_hidden(facts, policy):
        answers.append(_given(facts, policy))
    answers.append(_content(facts, policy))
    return tuple(answer for answer in answers if answer.matters)


def _mixin(facts: CreationFacts) -> Unknown:
    """Whether the driver decides by the strict rules; no API tells, and a class in `cinder.conf` may have any bases."""
    without = "it has not: it does what `--policy upstream` says"
    return Unknown(
        id="mixin",
        fact="whether the driver of the backend has ImageCloneMixin",
        option="--policy upstream",
        values=(("it has", facts.outlook(Policy.STRICT)), (without, facts.outlook(Policy.UPSTREAM))),
    )


def _may_be_hidden(facts: CreationFacts, policy: Policy) -> bool:
    """Whether it matters what Glance says to the requester, and is not known."""
    image = facts.image
    if facts.requester_reads is not None:
        return False
    needed = policy is Policy.STRICT and facts.plan().template.needs_read
    own = image.visibility == "public" or (image.owner is not None and image.owner == facts.target.project_id)
    return needed or (facts.for_another and not own)


def _given(facts: CreationFacts, policy: Policy) -> Unknown:
    """What Glance says to the requester, whose token the credentials do not have."""
    given, kept = (attrs.evolve(facts, requester_reads=reads).outlook(policy) for reads in (True, False))
    why = "Glance gives the requester no data of the image, and the copy fails"
    hidden = CreationOutlook(ways=(), refused="Glance shows the requester no such image")
    values = [("it does", given), ("it does not", _without_reading(kept, why))]
    if facts.for_another and facts.image.visibility != "community":
        values.append(("it does not even show the image", hidden))
    return Unknown(
        id="requester-reads",
        fact="whether Glance gives the requester the image's data",
        option=None,
        values=tuple(values),
    )


def _content(facts: CreationFacts, policy: Policy) -> Unknown:
    """Whether the image is what it is declared to be, which only its data tells."""
    outlook = facts.outlook(policy)
    first = outlook.steps[0].way if outlook.steps else None
    declared = f"the image's data is not {said(facts.image.disk_format)}, and Cinder refuses such data"
    other = _without_reading(outlook, declared) if first in _READS else outlook
    return Unknown(
        id="data-format",
        fact="whether the image's data is in the format that the image declares",
        option=None,
        values=(("it is", outlook), ("it is not", other)),
    )


def _without_reading(outlook: CreationOutlook, why: str) -> CreationOutlook:
    """The same, where each step fails that reads the image's data from Glance."""
    ways = tuple(replace(way, steps=()) if way.way in _READS else way for way in outlook.ways)
    tried = any(way.steps for way in ways)
    return replace(outlook, ways=ways, refused=None if tried else why, fails=why if tried else None)


_READS = frozenset({Way.CREATE_TEMPLATE, Way.CREATE_CACHED, Way.COPY})
_Values = tuple[tuple[str, CreationFacts], ...]


def _all(facts: CreationFacts, *, strict: bool) -> Iterator[tuple[str, str, str | None, _Values]]:
    settings = facts.settings
    if strict and "clones" in settings.assumed:
        projects = frozenset(volume.project_id for volume in facts.volumes if volume.project_id)
        clones = replace(settings.clones, trusted_projects=projects)
        trusting = attrs.evolve(facts, settings=attrs.evolve(settings, clones=clones))
        values = (("the project of the image volume is trusted", trusting), ("it is not", facts))
        yield "trusted-projects", "which projects are trusted", "--trusted-project", values
    if strict and "templates" in settings.assumed:
        templates = replace(settings.templates, enabled=True)
        making = attrs.evolve(facts, settings=attrs.evolve(settings, templates=templates))
        values = (("it does", making), ("it does not", facts))
        yield "templates", "whether the backend makes templates", "--templates", values
    if strict and settings.templates.enabled and not facts.sees_templates:
        yield (
            "template",
            "which templates there are",
            "--internal-tenant",
            (("the image has one", _with_template(facts)), ("it has none", facts)),
        )
    cache = replace(settings.cache, enabled=True, internal_tenant=True)
    if "cache" in settings.assumed:
        cached = attrs.evolve(facts, settings=attrs.evolve(settings, cache=cache))
        yield (
            "image-cache",
            "whether the backend has Cinder's image cache",
            "--image-cache",
            (("it has", cached), ("it has not", facts)),
        )
    elif settings.cache.enabled and settings.cache.internal_tenant and not facts.entries:
        full = attrs.evolve(facts, entries=(_entry(facts, "of the cache"),))
        values = (("it has the image", full), ("it does not have it", facts))
        yield "cached-image", "what Cinder's image cache has", None, values


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
