"""A new template for an image, on the backend of an old one: only the backend's driver creates templates."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import attrs

from imagevol_adapters.cleanup import released
from imagevol_adapters.gathering.repair import REPAIRED_BY
from imagevol_adapters.processes import origin
from imagevol_adapters.tending import WarmVolumes, place_of, templates_of
from imagevol_adapters.transfers.creating import answered
from imagevol_core import Image, ServiceFailed, Volume, decide_freshness, least_volume_gib

__all__ = ["TemplateMaker"]


@attrs.frozen(kw_only=True)
class TemplateMaker:
    """Has drivers create templates, by temporary volumes.

    Args:
        volumes: Cinder, with credentials of an administrator.
        holder: the id of the journal, by which a temporary volume is found again.
    """

    volumes: WarmVolumes
    holder: str

    def __call__(self, image: Image, old: Volume) -> None:
        """Create a volume of the image, of the type of the old template, and delete it again.

        Args:
            image: the image.
            old: a template of it that is out of date.

        Raises:
            ServiceFailed: the driver created no template.
            ImagevolError: what Cinder answers.
        """
        marks = {REPAIRED_BY: self.holder, **origin("warm", image.id).to_volume()}
        for left in self.volumes.with_metadata({REPAIRED_BY: self.holder, "imagevol_procedure": "warm"}):
            self.volumes.delete(left.id)  # of a process that was killed
        name = f"warm-{image.id}"
        ask = partial(
            self.volumes.create,
            size_gib=max(old.size_gib, least_volume_gib(image) or 1),
            name=name,
            volume_type=old.volume_type,
            image_id=image.id,
            metadata=marks,
        )
        made = answered(ask, volumes=self.volumes, name=name, metadata=marks)
        with released(f"volume {made.id}", lambda: self.volumes.delete(made.id)):
            place = place_of(self.volumes.wait(made.id))
        found = templates_of(self.volumes, project_id=str(old.project_id), now=datetime.now(UTC), image_id=image.id)
        if not any(decide_freshness(image, entry=template.entry).fresh for _, template in found):
            raise ServiceFailed(
                f"{place} created no template of image {image.id}: see the log of its cinder-volume, or prune the old "
                "one with `imagevol templates prune`"
            )
