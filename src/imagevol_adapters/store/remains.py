"""What killed Glance processes of this host left half stored: looked for at start, and then once in a while."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import attrs

from imagevol_adapters.transfers import delete_remains

if TYPE_CHECKING:
    from imagevol_adapters.store.driver import Cloud

__all__ = ["Remains"]

_LOOK_SECONDS = 600.0  # between two looks: a worker that is killed alone is followed by no start of Glance


@attrs.define
class Remains:
    """The looks of one process at a store's project."""

    _next: float = attrs.field(default=0.0, init=False)

    def look(self, cloud: Cloud) -> None:
        """Delete what dead processes of this host left in the project of the store's own credentials, if it is time.

        It raises nothing, and does not wait for Cinder to delete.

        Args:
            cloud: with those credentials; in a user's project the metadata of volumes are the user's word.
        """
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LOOK_SECONDS
        delete_remains(volumes=cloud.volumes, attacher=cloud.attacher)
