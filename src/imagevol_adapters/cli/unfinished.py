"""`imagevol unfinished`: the volumes and images that are being created, and those that a killed process left."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from cliff.lister import Lister

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.columns import TEXT, TEXT_OR_NULL, Column, Shown
from imagevol_adapters.cli.schemas import json_enum
from imagevol_core import HolderState, ResourceNotFound
from imagevol_core.sentences import said

if TYPE_CHECKING:
    from imagevol_adapters.transfers import UnfinishedImage

__all__ = ["Unfinished"]

_FOUND = 3  # the exit status when there is something to delete


class Unfinished(Shown, Lister):
    """List the unfinished volumes of the project and images without data, with the state of the process of each.

    The exit status is 3 if a process is dead. Delete what it left: first the image, if it is still queued, with
    `openstack image delete`, and then the volume with `imagevol rm`. Run it on the host of the process: no other host
    can tell that the process is dead.
    """

    app: Imagevol
    matters_less = ("attachments", "procedure", "volume_status", "image_status", "host")
    columns: ClassVar[tuple[Column, ...]] = (
        Column("volume_id", TEXT_OR_NULL, "The id of the volume; null if only an image is left."),
        Column("volume_status", TEXT_OR_NULL, "Cinder's status of the volume."),
        Column("procedure", TEXT_OR_NULL, "What created it, such as `put`; null if the volume does not say."),
        Column("host", TEXT_OR_NULL, "The host of the process that created it."),
        Column("process", json_enum(HolderState), "Whether that process is dead or alive, or that is unknown."),
        Column("image_id", TEXT_OR_NULL, "The id of the image."),
        Column("image_status", TEXT_OR_NULL, "Glance's status of the image; null if Glance has no such image."),
        Column("attachments", TEXT, "The ids of the attachments of the volume, with blanks between them."),
        Column("reason", TEXT, "How the state of the process is known, and what to do; it can change."),
    )
    _found = False

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Give 3 if a dead process left a volume."""
        return int(super().run(parsed_args)) or (_FOUND if self._found else 0)

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], Iterator[tuple[object, ...]]]:
        """Ask Cinder for the volumes, whose metadata users can write, and this host for the processes."""
        return self.names(), self._rows()

    def _rows(self) -> Iterator[tuple[object, ...]]:
        from imagevol_adapters.transfers import unfinished_images, unfinished_volumes

        named: set[str | None] = set()
        for volume, decision in unfinished_volumes(self.app.volumes):
            origin = decision.origin
            image_id = origin.image_id if origin else None
            named.add(image_id)
            self._found |= decision.state is HolderState.DEAD
            yield (
                volume.id,
                volume.status,
                origin and said(origin.procedure),
                origin and origin.host and said(origin.host),
                decision.state.value,
                image_id and said(image_id),
                self._image_status(image_id),
                " ".join(holder.id for holder in self.app.volumes.holders(volume.id)),
                decision.reason,
            )
        for unfinished in unfinished_images(self.app.images, self.app.volumes):
            if unfinished.image.id not in named:
                self._found |= unfinished.state is HolderState.DEAD
                yield _row(unfinished)

    def _image_status(self, image_id: str | None) -> str | None:
        if image_id is None:
            return None
        try:
            return self.app.images.get(image_id).status
        except ResourceNotFound:
            return None


def _row(unfinished: UnfinishedImage) -> tuple[object, ...]:
    """An image without data; users can write what it says of its process."""
    image, volume, origin = unfinished.image, unfinished.volume, unfinished.origin
    advice = f"; delete the image with `openstack image delete {image.id}`"
    if volume:
        advice = f"{advice}, and then the volume with `imagevol rm {volume.id}`"
    return (
        volume and volume.id,
        volume and volume.status,
        said(origin.procedure),
        origin.host and said(origin.host),
        unfinished.state.value,
        image.id,
        image.status,
        "",
        f"{unfinished.reason}{advice if unfinished.state is HolderState.DEAD else ''}",
    )
