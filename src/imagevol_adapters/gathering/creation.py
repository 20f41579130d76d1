"""The facts of a volume that will be made from an image: what `plan_creation` asks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

import attrs

from imagevol_adapters.gathering.settings import CinderSettings
from imagevol_adapters.tending.templates import ImageData, TemplateVolumes, gives_data, place_of, templates_of
from imagevol_core import (
    Backend,
    CacheEntry,
    CreationOutlook,
    CreationPlan,
    Image,
    Policy,
    Template,
    TemplateSettings,
    Volume,
    cache_key,
    foresee,
    named_volume_ids,
    plan_creation,
)

__all__ = ["Cloud", "CloudVolumes", "CreationFacts", "CreationSource", "gather_creation"]


class CreationSource(Protocol):
    """Where the facts of a creation come from: the cinder-volume that runs, or the APIs of the services."""

    @property
    def project_id(self) -> str | None:
        """The project of the token with which `gives_data` asks Glance.

        In cinder-volume this is the requester's own project.  In a program it is the project of the credentials.
        """

    @property
    def sees_templates(self) -> bool:
        """Whether `templates` gives the templates that there are."""

    def find(self, volume_ids: Iterable[str]) -> Iterable[Volume]:
        """Give those of the volumes that exist."""

    def templates(self, target: Volume) -> Iterable[Template]:
        """Give all templates of the target's backend; of one image, the newest first."""

    def cache_entries(self) -> Iterable[CacheEntry]:
        """Give what is in Cinder's image cache on all backends, the most recently used first."""

    def gives_data(self, image_id: str) -> bool:
        """Tell whether Glance gives the requester the data of an image."""


@attrs.frozen(kw_only=True)
class CreationFacts:
    """All that is known of a volume that will be made from an image.

    Attributes:
        image: with its locations.
        target: the volume, with its final size, its project, and where it will be.
        volumes: those that the locations name, as far as they exist.
        backend: what the target's backend can do.
        settings: what the operator has configured.
        entries: what is in Cinder's image cache, on all backends.
        template: the newest template of the image on the target's backend; None if there is none.
        others: all other templates there, superseded ones of this image among them.
        abandoned: those of other images that were left half made; none of them is among the others.
        requester_reads: whether Glance gives the requester the image's data; None if it was not asked.
        for_another: whether the target is of another project than the credentials, so that Glance cannot be asked what
            it gives the requester.
        sees_templates: whether the templates that there are were looked for.
    """

    image: Image
    target: Volume
    volumes: tuple[Volume, ...]
    backend: Backend
    settings: CinderSettings
    entries: tuple[CacheEntry, ...] = ()
    template: Template | None = None
    others: tuple[CacheEntry, ...] = ()
    abandoned: tuple[CacheEntry, ...] = ()
    requester_reads: bool | None = None
    for_another: bool = False
    sees_templates: bool = True

    def plan(self, policy: Policy = Policy.STRICT) -> CreationPlan:
        """Plan how the volume is made.

        Args:
            policy: whose rules.  Under `UPSTREAM`, what Cinder itself does with a driver that has no templates.
        """
        strict, across = policy is Policy.STRICT, self.backend.clone_across_pools
        here = cache_key(self.target, clone_across_pools=across)
        entries = tuple(entry for entry in self.entries if here.matches(entry)) if strict else self.entries
        return plan_creation(
            self.image,
            target=self.target,
            volumes=self.volumes,
            backend=self.backend,
            clone_settings=self.settings.clones_of(policy),
            cache=replace(self.settings.cache, entries=entries),
            template=self.template if strict else None,
            template_settings=self.settings.templates if strict else TemplateSettings(),
            other_templates=self.others if strict else (),
            abandoned_templates=self.abandoned if strict else (),
            requester_reads=self.requester_reads,
            conversion=self.settings.conversion,
            policy=policy,
        )

    def outlook(self, policy: Policy = Policy.STRICT) -> CreationOutlook:
        """Say what the driver and Cinder do one after the other.

        Args:
            policy: under `STRICT` with the driver of this project, under `UPSTREAM` without it.
        """
        plan = self.plan(policy)
        return foresee(plan, self.plan(Policy.UPSTREAM) if policy is Policy.STRICT else plan)


def gather_creation(
    image: Image, *, target: Volume, backend: Backend, settings: CinderSettings, source: CreationSource
) -> CreationFacts:
    """Collect the facts that `plan_creation` asks for.

    Facts that cannot change the plan are not collected: templates are listed only if they are enabled, and Glance is
    asked for the image's data only if a template would serve another project than the image's owner.

    Args:
        image: with its locations.
        target: the volume that will be made.  Its project is the requester's.
        backend: what its backend can do.
        settings: what the operator has configured for it.
        source: where everything else comes from.

    Raises:
        ImagevolError: what the source raises.
    """
    templates = tuple(source.templates(target)) if settings.templates.enabled else ()
    template = next((each for each in templates if each.entry.image_id == image.id), None)
    abandoned = tuple(each.entry for each in templates if each.abandoned and each.entry.image_id != image.id)
    apart = {entry.volume_id for entry in abandoned}
    cached = settings.cache.enabled and settings.cache.internal_tenant
    facts = CreationFacts(
        image=image,
        target=target,
        volumes=tuple(source.find(named_volume_ids(image))),
        backend=backend,
        settings=settings,
        entries=tuple(source.cache_entries()) if cached else (),
        template=template,
        others=tuple(each.entry for each in templates if each is not template and each.entry.volume_id not in apart),
        abandoned=abandoned,
        for_another=target.project_id != source.project_id,
        sees_templates=source.sees_templates,
    )
    if not facts.for_another and facts.plan().template.needs_read:
        return attrs.evolve(facts, requester_reads=source.gives_data(image.id))
    return facts


class CloudVolumes(TemplateVolumes, Protocol):
    """Cinder, as far as a creation is planned; `CinderVolumes` is one."""

    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        """Give those of the volumes that exist, in the order asked."""


@attrs.frozen(kw_only=True)
class Cloud:
    """The APIs of the services, as a source for `gather_creation`.  No API tells what is in Cinder's image cache.

    Args:
        volumes: Cinder.
        images: Glance.
        project_id: the project of the credentials, which need not be the requester's.
        internal_tenant: the project of Cinder's internal tenant, to which templates belong; None if it is not known.
            Then no template is seen.  To list its volumes, the credentials need the admin role.

    >>> from imagevol_adapters.testing.memory import MemoryImages, MemoryVolumes
    >>> volumes = MemoryVolumes()
    >>> cloud = Cloud(volumes=volumes, images=MemoryImages(volumes=volumes), project_id="demo")
    >>> cloud.find(["9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"])
    ()
    """

    volumes: CloudVolumes
    images: ImageData
    project_id: str | None
    internal_tenant: str | None = None

    @property
    def sees_templates(self) -> bool:
        """Whether the internal tenant is known."""
        return self.internal_tenant is not None

    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        """Give those of the volumes that exist."""
        return self.volumes.find(volume_ids)

    def templates(self, target: Volume) -> Iterable[Template]:
        """Give all templates of the target's backend."""
        if self.internal_tenant is None:
            return ()
        found = templates_of(self.volumes, project_id=self.internal_tenant, now=datetime.now(UTC))
        return [template for volume, template in found if place_of(volume) == place_of(target)]

    def cache_entries(self) -> tuple[CacheEntry, ...]:
        """Give nothing: no API tells."""
        return ()

    def gives_data(self, image_id: str) -> bool:
        """Read the first byte of the image."""
        return gives_data(self.images, image_id)
