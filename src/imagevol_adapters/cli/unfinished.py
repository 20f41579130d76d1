"""`imagevol unfinished`: the volumes that are being created, and those that a killed process left."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from cliff.lister import Lister

from imagevol_adapters.cli.app import Imagevol
from imagevol_core import ResourceNotFound

__all__ = ["Unfinished"]

_COLUMNS = (
    "volume_id",
    "volume_status",
    "procedure",
    "host",
    "process",
    "image_id",
    "image_status",
    "attachments",
    "reason",
)


class Unfinished(Lister):
    """List the unfinished volumes of the project, with the state of the process that creates each.

    A dead process left its volume: delete it with `imagevol rm`, and its image, if it is still queued, with `openstack
    image delete`.
    """

    app: Imagevol

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], Iterator[tuple[object, ...]]]:
        """Ask Cinder for the volumes, and this host for the processes."""
        return _COLUMNS, self._rows()

    def _rows(self) -> Iterator[tuple[object, ...]]:
        from imagevol_adapters.transfers import unfinished_volumes

        for volume, decision in unfinished_volumes(self.app.volumes):
            origin = decision.origin
            image_id = origin.image_id if origin else None
            yield (
                volume.id,
                volume.status,
                origin.procedure if origin else None,
                origin.host if origin else None,
                decision.state.value,
                image_id,
                self._image_status(image_id),
                " ".join(holder.id for holder in self.app.volumes.holders(volume.id)),
                decision.reason,
            )

    def _image_status(self, image_id: str | None) -> str | None:
        if image_id is None:
            return None
        try:
            return self.app.images.get(image_id).status
        except ResourceNotFound:
            return None
