"""One image brought to other locations: what the list of images does not show is not believed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from imagevol_adapters.cinder.volume_pages import is_volume_id
from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.relocating.holding import Hold
from imagevol_adapters.relocating.journal import Entry, State
from imagevol_adapters.relocating.moving import Mover
from imagevol_adapters.relocating.services import LocationService, VolumeHolder
from imagevol_core import (
    Image,
    ImageLocation,
    LocationChange,
    Relocation,
    RelocationWay,
    RequestRefused,
    ServiceUnreachable,
    StoreCatalogue,
    plan_relocation,
    relocated,
)

__all__ = ["Changer", "volume_ids"]


@attrs.frozen(kw_only=True)
class Changer:
    """Changes the locations of images, one image after the other.

    Args:
        images: Glance.
        volumes: Cinder, with credentials that see the volumes of the stores.
        catalogue: the stores as Glance has them now.
        delayed_delete: the option of that name in `glance-api.conf`.
        settle_seconds: how long a change may take to be seen, and the reservation of another process to be used.
    """

    images: LocationService
    volumes: VolumeHolder
    catalogue: StoreCatalogue
    delayed_delete: bool = False
    settle_seconds: float = 10

    def change(self, entry: Entry, changes: Sequence[LocationChange], hold: Hold) -> State:
        """Change one image, as far as it is not changed yet.

        Args:
            entry: which image, and how far it has come.
            changes: of its locations.
            hold: of its volumes; it is ended, unless a request may be under way that needs it.

        Returns:
            `DONE`, or `GONE` if there is no such image.

        Raises:
            CallerError: the image is left as it is, or its volumes must stay held.
            ServiceError: a service failed, or Glance made something else of a location than was predicted.
        """
        with undone_on_failure(f"hold {hold.journal_id} of the volumes of image {entry.image_id}", hold.end):
            state = State.DONE if self._changed(entry, changes, hold) else State.GONE
            hold.end()
        return state

    def _changed(self, entry: Entry, changes: Sequence[LocationChange], hold: Hold) -> bool:
        """Change one image; False where it is gone."""
        mover = Mover(images=self.images, volumes=self.volumes, settle_seconds=self.settle_seconds)
        image = mover.listed(entry.image_id)
        locations = image.locations if image else ()
        if entry.state in (State.BEGUN, State.UNDOING):
            hold.needed = any({change.before, change.after} <= set(locations) for change in entry.changes)
            hold.take_up(volume_ids((*locations, *(change.after for change in changes))))
        if image is None:
            return False
        relocation = self._relocation(image, relocated(locations, changes))
        if relocation.way is not RelocationWay.NOTHING:
            hold.remember()
            mover.carry_out(relocation, hold)
        hold.needed = False
        return True

    def _relocation(self, image: Image, wanted: Sequence[ImageLocation]) -> Relocation:
        relocation = plan_relocation(
            image,
            wanted=wanted,
            catalogue=self.catalogue,
            volume_types=self.volumes.types_of(_named((*image.locations, *wanted))),
            delayed_delete=self.delayed_delete,
        )
        if not relocation.planned:
            refuse = ServiceUnreachable if relocation.way is RelocationWay.UNKNOWN else RequestRefused
            raise refuse(f"image {image.id} is left as it is: {relocation.reason}")
        return relocation


def volume_ids(locations: Iterable[ImageLocation]) -> list[str]:
    """Give the volumes of locations that could have been held.

    >>> volume_ids([ImageLocation("cinder://fast/9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"), ImageLocation("file:///7")])
    ['9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1']
    """
    return [volume_id for volume_id in _named(locations) if is_volume_id(volume_id)]


def _named(locations: Iterable[ImageLocation]) -> list[str]:
    """What Glance would ask Cinder about."""
    ids = (location.url.rpartition("/")[2] for location in locations if location.url.startswith("cinder://"))
    return list(dict.fromkeys(ids))
