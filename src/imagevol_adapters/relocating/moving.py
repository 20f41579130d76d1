"""How Glance is brought to other locations of an image: each step is verified by a list, which changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import attrs

from imagevol_adapters.relocating.holding import Hold
from imagevol_adapters.relocating.services import LocationService, VolumeHolder
from imagevol_adapters.waiting import wait_until
from imagevol_core import (
    CallerError,
    DeadlineExceeded,
    Image,
    ImageLocation,
    Relocation,
    RelocationWay,
    ServiceFailed,
    printed_location,
)

__all__ = ["Mover"]

_BEING_LOST = ("deleted", "deleting", "error_deleting")


@attrs.frozen(kw_only=True)
class Mover:
    """Changes the locations of images, and sees what became of them.

    Args:
        images: Glance.
        volumes: Cinder.
        settle_seconds: how long a change may take to be seen.
    """

    images: LocationService
    volumes: VolumeHolder
    settle_seconds: float

    def carry_out(self, relocation: Relocation, hold: Hold) -> None:
        """Change the locations of one image as planned.

        Raises:
            ServiceFailed: Glance made something else of a location than was predicted, or a volume is lost.
        """
        _WAYS[relocation.way](self, relocation, hold)

    def move(
        self,
        image_id: str,
        *,
        there: Iterable[ImageLocation],
        adding: Iterable[ImageLocation],
        removing: Iterable[ImageLocation],
        hold: Hold,
    ) -> None:
        """Add, then remove: never is there no location, and never a moment in which a held volume may be deleted.

        Args:
            image_id: whose locations.
            there: those that it has.
            adding: those that are added.
            removing: those that are removed.
            hold: of the volumes that stay.
        """
        left = list(there)
        for location in adding:
            left.append(location)
            addition = {"op": "add", "path": "/locations/-", "value": _sent(location)}
            self.images.change_locations(image_id, [addition])
            self.verify(image_id, left)
        for location in removing:
            at = self.verify(image_id, left).index(location)
            left.remove(location)
            self._remove(image_id, at, hold)
            self.verify(image_id, left)
        hold.needed = False
        volumes = {volume.id: volume.status for volume in self.volumes.find(hold.volume_ids)}
        for volume_id in hold.volume_ids:
            if volumes.get(volume_id, "deleted") in _BEING_LOST:
                raise ServiceFailed(f"image {image_id}: its volume {volume_id} is lost")

    def verify(self, image_id: str, expected: Sequence[ImageLocation]) -> tuple[ImageLocation, ...]:
        """Return when the list shows these locations, in its order."""

        def seen() -> tuple[ImageLocation, ...]:
            image = self.listed(image_id)
            return image.locations if image else ()

        try:
            return wait_until(
                seen,
                lambda locations: _same(locations, expected),
                what=f"image {image_id} has not its new locations",
                seconds=self.settle_seconds,
            )
        except DeadlineExceeded as error:
            raise ServiceFailed(
                f"image {image_id}: Glance made {_printed(seen())} of its locations, and not {_printed(expected)} as "
                "was predicted: see the log of glance-api, and whether all of them have this configuration"
            ) from error

    def listed(self, image_id: str) -> Image | None:
        """Give an image as a list shows it; None if there is none."""
        return next(iter(self.images.listed([image_id])), None)

    def _show(self, relocation: Relocation, _hold: Hold) -> None:
        """Let Glance do what it does by itself."""
        if not _same(relocation.before, relocation.shown):
            self.images.get(relocation.image_id)
            self.verify(relocation.image_id, relocation.shown)

    def _replace(self, relocation: Relocation, hold: Hold) -> None:
        self._show(relocation, hold)
        value = [_sent(location) for location in relocation.wanted]
        self.images.change_locations(relocation.image_id, [{"op": "replace", "path": "/locations", "value": value}])
        self.verify(relocation.image_id, relocation.wanted)

    def _move(self, relocation: Relocation, hold: Hold) -> None:
        hold.begin(relocation.volume_ids)
        self._show(relocation, hold)
        self.move(
            relocation.image_id,
            there=relocation.shown,
            adding=relocation.adding,
            removing=relocation.removing,
            hold=hold,
        )

    def _remove(self, image_id: str, at: int, hold: Hold) -> None:
        # A request may be under way that deletes what is not held, also when it has failed for us: the volumes are let
        # go only when the list shows that it has ended, or Glance has said that it does nothing.
        was_needed, hold.needed = hold.needed, True
        try:
            self.images.change_locations(image_id, [{"op": "remove", "path": f"/locations/{at}"}])
        except CallerError:
            hold.needed = was_needed
            raise


_WAYS: dict[RelocationWay, Callable[[Mover, Relocation, Hold], None]] = {
    RelocationWay.SHOW: Mover._show,
    RelocationWay.REPLACE: Mover._replace,
    RelocationWay.MOVE: Mover._move,
}


def _sent(location: ImageLocation) -> dict[str, object]:
    return {"url": location.url, "metadata": dict(location.metadata)}


def _same(one: Iterable[ImageLocation], other: Iterable[ImageLocation]) -> bool:
    return Counter(one) == Counter(other)


def _printed(locations: Iterable[ImageLocation]) -> str:
    return ", ".join(map(printed_location, locations)) or "none"
