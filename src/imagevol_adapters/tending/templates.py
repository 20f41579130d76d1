"""The templates of a whole cloud, as an administrator sees and tends them ([template])."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from imagevol_adapters.closing import closing
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
    TemplateMetadata,
    Volume,
    is_template,
)

__all__ = [
    "MAKING",
    "ImageData",
    "ImageFacts",
    "TemplateVolumes",
    "gives_data",
    "images_of",
    "place_of",
    "template_of",
    "templates_of",
]

MAKING = ("creating",)
"""The states of a template that is being made."""

_UNDATED = datetime.min.replace(tzinfo=UTC)


class ImageFacts(Protocol):
    """Glance, as far as images are looked at."""

    def get(self, image_id: str) -> Image:
        """Give what is known of one image."""


class ImageData(Protocol):
    """Glance, as far as images are read; `GlanceImages` is one."""

    def read(self, image_id: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Give an image's data, whole or a part."""


class TemplateVolumes(Protocol):
    """Cinder, as far as templates are tended; `CinderVolumes` is one."""

    def listed(self, *, project_id: str, metadata: Mapping[str, str] | None = None) -> Iterator[Volume]:
        """Give the volumes of a project."""


def template_of(volume: Volume, *, now: datetime) -> Template:
    """Give what is known of a template.

    Args:
        volume: whose metadata says that it is one.
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
        encrypted=volume.encrypted,
        exhausted=known.exhausted,
        stalled=known.stalled,
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

    Yields:
        Each template, the newest first, as their drivers look at them.
    """
    found = volumes.listed(project_id=project_id, metadata={TEMPLATE_KEY: image_id} if image_id else None)
    there = [
        volume
        for volume in found
        if volume.status != "deleting"
        and is_template(volume)
        and image_id in (None, volume.metadata[TEMPLATE_KEY])  # a database may compare without case
    ]
    for volume in sorted(there, key=lambda each: each.created_at or _UNDATED, reverse=True):
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


def gives_data(images: ImageData, image_id: str) -> bool:
    """Read the first byte of an image, and tell whether Glance gives it to these credentials.

    That Glance shows the image is no proof: its policy `download_image` may still refuse the data.

    Args:
        images: with the credentials of the requester.
        image_id: which image.
    """
    try:
        data = images.read(image_id, offset=0, length=1)
        with closing(data):
            return bool(next(data, b""))
    except ImagevolError:
        return False
