"""Which images name the volumes that a repair would change or delete: listed once more before it, and then kept up.

The audit's listing of the images is not the last word: it may have ended early, and the clock of this host may not be
Glance's.  So all images are listed once more, by another query than the audit's, and later only those are that have
changed since by Glance's own clock.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta

import attrs

from imagevol_adapters.gathering.audit import AuditedImages
from imagevol_core import Image, named_volume_ids

__all__ = ["VolumeClaims"]

_FROM_THE_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_CLOCKS = timedelta(minutes=10)  # by which the clocks of several Glance hosts may differ
_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")


@attrs.define(kw_only=True)
class VolumeClaims:
    """The images that name some volumes.

    Args:
        images: Glance, with credentials of an administrator.
        volume_ids: which volumes are asked for; of others all images are listed once more.
        clock: counts seconds.
    """

    images: AuditedImages
    volume_ids: frozenset[str] = frozenset()
    clock: Callable[[], float] = time.monotonic
    _claims: dict[str, set[str]] = attrs.field(factory=dict, init=False)
    _since: datetime | None = attrs.field(default=None, init=False)

    def of(self, volume_ids: Iterable[str]) -> tuple[Image, ...]:
        """Give the images whose locations name one of some volumes now, in the order of their ids.

        Args:
            volume_ids: of the volumes.

        Raises:
            ImagevolError: the images cannot be listed.
        """
        wanted = {_spelled(volume_id) for volume_id in volume_ids}
        if not wanted:
            return ()
        if self._since is None or not wanted <= self._claims.keys():
            self._list(wanted | self._claims.keys() | {_spelled(volume_id) for volume_id in self.volume_ids})
        for image in self.images.listed(changed_since=self._since):
            self._note(image)
        ids = sorted({image_id for volume_id in wanted for image_id in self._claims[volume_id]})
        now = self.images.listed(ids) if ids else ()
        return tuple(image for image in now if not wanted.isdisjoint(_named(image)))

    def _list(self, volume_ids: Iterable[str]) -> None:
        began, newest = self.clock(), _FROM_THE_FIRST
        self._claims = {volume_id: set() for volume_id in volume_ids}
        for image in self.images.listed(changed_since=_FROM_THE_FIRST):
            newest = max(newest, image.updated_at or newest)
            self._note(image)
        lasted = timedelta(seconds=self.clock() - began)
        since = min(newest, datetime.now(UTC))
        self._since = max(since, _FROM_THE_FIRST + lasted + _CLOCKS) - lasted - _CLOCKS

    def _note(self, image: Image) -> None:
        for volume_id in _named(image):
            if volume_id in self._claims:
                self._claims[volume_id].add(image.id)


def _named(image: Image) -> Iterator[str]:
    """What its locations name, also where a location is not as Glance writes it."""
    for volume_id in named_volume_ids(image):
        yield _spelled(volume_id)
    for location in image.locations:
        yield from map(_spelled, _UUID.findall(location.url.lower()))


def _spelled(volume_id: str) -> str:
    return volume_id.lower().replace("-", "")
