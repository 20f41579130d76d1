"""The templates of a whole cloud, as an administrator sees and tends them ([template]).

Only the driver of a backend can make a template.  So one is made ahead by asking for a volume, which is deleted again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from typing import Protocol

import attrs

from imagevol_adapters.cleanup import released
from imagevol_core import (
    TEMPLATE_KEY,
    Image,
    ImagevolError,
    InvalidMetadata,
    NoAnswer,
    NotFound,
    ResourceNotFound,
    ServiceError,
    Template,
    TemplateAction,
    TemplateDecision,
    TemplateMetadata,
    TemplateSettings,
    Volume,
    decide_template,
    is_template,
    least_volume_gib,
)

__all__ = [
    "MAKING",
    "ImageFacts",
    "TemplateVolumes",
    "WarmState",
    "Warmed",
    "Warming",
    "images_of",
    "place_of",
    "plan_warming",
    "template_of",
    "templates_of",
    "warm",
]

MAKING = ("creating",)
"""The states of a template that is being made."""


class ImageFacts(Protocol):
    """Glance, as far as images are looked at."""

    def get(self, image_id: str) -> Image:
        """Give what is known of one image."""


class TemplateVolumes(Protocol):
    """Cinder, as far as templates are tended; `CinderVolumes` is one."""

    def listed(self, *, project_id: str, metadata: Mapping[str, str] | None = None) -> Iterator[Volume]:
        """Give the volumes of a project."""

    def create(
        self, *, size_gib: int, name: str, volume_type: str | None = None, image_id: str | None = None
    ) -> Volume:
        """Ask for a volume."""

    def wait(self, volume_id: str) -> Volume:
        """Return when it is available."""

    def delete(self, volume_id: str) -> None:
        """Delete it, and return when it is gone."""


def template_of(volume: Volume, *, now: datetime) -> Template:
    """Give what is known of a template.

    Args:
        volume: whose metadata say that it is one.
        now: the time, with a zone.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> volume = Volume(id="v", size_gib=1, status="available", metadata={"imagevol_template": "e38f"})
    >>> template_of(volume, now=noon).entry.image_id
    'e38f'
    """
    try:
        written = TemplateMetadata.from_volume(volume.metadata)
    except InvalidMetadata:  # of which nothing is known, so that it is stale
        written = None
    known = written or TemplateMetadata(image_id=volume.metadata[TEMPLATE_KEY])
    making = volume.status in MAKING
    age = now - volume.created_at if volume.created_at else timedelta(0)
    entry = known.entry(volume_id=volume.id, size_gib=volume.size_gib)
    return Template(
        entry=replace(entry, host=volume.host, cluster_name=volume.cluster_name),
        status=volume.status,
        project_id=volume.project_id,
        readonly=volume.readonly,
        exhausted=known.exhausted,
        being_made_for=max(age, timedelta(0)) if making else None,
    )


def templates_of(
    volumes: TemplateVolumes, *, project_id: str, now: datetime, image_id: str | None = None
) -> Iterator[tuple[Volume, Template]]:
    """Give the templates of a cloud.

    Args:
        volumes: with credentials of an administrator.
        project_id: Cinder's internal tenant: what any other project's volumes say of themselves, its users may have
            written.
        now: the time, with a zone.
        image_id: of which image; of all when None.
    """
    for volume in volumes.listed(project_id=project_id, metadata={TEMPLATE_KEY: image_id} if image_id else None):
        if volume.status != "deleting" and is_template(volume):
            yield volume, template_of(volume, now=now)


def images_of(templates: Iterable[Template], *, images: ImageFacts) -> dict[str, Image | NotFound | NoAnswer]:
    """Ask Glance for the images that templates are of, each once.

    Args:
        templates: any.
        images: with credentials of an administrator, who sees those of all projects.
    """
    return {image_id: _answer(images, image_id) for image_id in {each.entry.image_id: None for each in templates}}


def _answer(images: ImageFacts, image_id: str) -> Image | NotFound | NoAnswer:
    try:
        return images.get(image_id)
    except ResourceNotFound:
        return NotFound()
    except ServiceError as error:
        return NoAnswer(str(error))


def place_of(volume: Volume) -> str | None:
    """Name the backend of a volume as the driver does that has templates there."""
    return volume.cluster_name or volume.host


# Ahead of the first request.


class WarmState(Enum):
    """What has become of an image that was to have a template."""

    PLANNED = "planned"
    READY = "ready"  # it had one already
    MADE = "made"
    REFUSED = "refused"
    FAILED = "failed"


@attrs.frozen(kw_only=True)
class Warming:
    """That an image is to have a template where volumes of a type are.

    Attributes:
        image: which one.
        volume_type: the type; None for Cinder's default.
        project_id: whose the volume is that is asked for.
        state: `PLANNED`, `READY` or `REFUSED`.
        size_gib: of the volume that is asked for.
        template: the one that is ready.
        reason: why it is so.
    """

    image: Image
    volume_type: str | None
    project_id: str | None
    state: WarmState
    size_gib: int
    template: Volume | None
    reason: str


@attrs.frozen(kw_only=True)
class Warmed:
    """What has become of it.

    Attributes:
        warming: what was planned.
        state: how it ended.
        template: the template; None where there is none.
        reason: why there is none.
    """

    warming: Warming
    state: WarmState
    template: Volume | None = None
    reason: str | None = None


def plan_warming(
    image: Image,
    *,
    volume_type: str | None,
    project_id: str | None,
    internal_tenant: str,
    templates: Iterable[tuple[Volume, Template]],
) -> Warming:
    """Ask the core whether an image may have a template, and whether it has one ([template]).

    Args:
        image: which one.
        volume_type: the type of the volume that is asked for.
        project_id: whose it will be: that must own the image, or the image be public.
        internal_tenant: the project of the templates.
        templates: those of the image.
    """
    size_gib = least_volume_gib(image) or 1  # of an image of no known size no template is made
    present = [each for each in templates if volume_type is None or each[0].volume_type == volume_type]
    volume, template = next(iter(present), (None, None))
    decision = _decided(
        image, project_id=project_id, size_gib=size_gib, internal_tenant=internal_tenant, template=template
    )
    state = {TemplateAction.USE: WarmState.READY, TemplateAction.COPY: WarmState.REFUSED}.get(
        decision.action, WarmState.PLANNED
    )
    return Warming(
        image=image,
        volume_type=volume_type,
        project_id=project_id,
        state=state,
        size_gib=size_gib,
        template=volume if state is WarmState.READY else None,
        reason=decision.because,
    )


def _decided(
    image: Image, *, project_id: str | None, size_gib: int, internal_tenant: str, template: Template | None
) -> TemplateDecision:
    return decide_template(
        image,
        # Whether the type is encrypted is seen when the volume is there: its backend then has made no template.
        target=Volume(id="the new volume", project_id=project_id, size_gib=size_gib, encrypted=False),
        template=template,
        settings=TemplateSettings(enabled=True, trusted_projects=frozenset({internal_tenant})),
    )


def warm(warming: Warming, *, volumes: TemplateVolumes, internal_tenant: str, now: datetime) -> Warmed:
    """Have a template made, by a volume that is deleted again.

    Args:
        warming: what is planned.
        volumes: with credentials of an administrator in the project that asks.
        internal_tenant: the project of the templates.
        now: the time, with a zone.
    """
    if warming.state is not WarmState.PLANNED:
        return Warmed(warming=warming, state=warming.state, template=warming.template, reason=warming.reason)
    image, image_id = warming.image, warming.image.id
    decided = partial(
        _decided, image, project_id=warming.project_id, size_gib=warming.size_gib, internal_tenant=internal_tenant
    )
    try:
        asked = volumes.create(
            size_gib=warming.size_gib, name=f"warm-{image_id}", volume_type=warming.volume_type, image_id=image_id
        )
        with released(f"volume {asked.id}", lambda: volumes.delete(asked.id)):
            made = volumes.wait(asked.id)
            found = templates_of(volumes, project_id=internal_tenant, now=now, image_id=image_id)
            there = [(volume, template) for volume, template in found if place_of(volume) == place_of(made)]
    except ImagevolError as error:
        return Warmed(warming=warming, state=WarmState.FAILED, reason=str(error))
    ready = [volume for volume, template in there if decided(template=template).action is TemplateAction.USE]
    if not ready:
        reason = f"{place_of(made)} made no template: the log of its cinder-volume says why"
        return Warmed(warming=warming, state=WarmState.FAILED, reason=reason)
    return Warmed(warming=warming, state=WarmState.MADE, template=ready[0])
