"""A planned migration carried out, or taken back, image by image: journalled before, verified after.

What the list of images does not show is not believed, and what was not predicted ends the migration.  A volume that is
held is let go only when nothing can be under way any more that would delete it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import attrs

from imagevol_adapters.cinder.volume_pages import is_volume_id
from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.relocating.holding import Hold
from imagevol_adapters.relocating.journal import Entry, Journal, State
from imagevol_adapters.relocating.moving import Mover
from imagevol_adapters.relocating.services import LocationService, VolumeHolder
from imagevol_core import (
    CallerError,
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

__all__ = ["Migration", "Outcome"]


@attrs.frozen
class Outcome:
    """What came of one image.

    Attributes:
        image_id: which.
        state: how far it has come now.
        reason: why not further.
        seconds: how long that took; 0 if it was not measured.
    """

    image_id: str
    state: State
    reason: str | None
    seconds: float = attrs.field(default=0, eq=False)


@attrs.define(kw_only=True)
class Migration:
    """One journal, and the cloud that it is of.

    Args:
        journal: open.
        images: Glance.
        volumes: Cinder, with credentials that see the volumes of the stores.
        catalogue: the stores as Glance has them now.
        delayed_delete: the option of that name in `glance-api.conf`.
        settle_seconds: how long a change may take to be seen, and the reservation of another process to be used.
    """

    journal: Journal
    images: LocationService
    volumes: VolumeHolder
    catalogue: StoreCatalogue
    delayed_delete: bool = False
    settle_seconds: float = 10

    def apply(self) -> Iterator[Outcome]:
        """Change what is planned and not changed yet; also what has failed before is tried again.

        Yields:
            What came of each image.

        Raises:
            RequestRefused: the journal has been undone.
            ServiceError: a service failed, or Glance made something else of a location than was predicted.  The
                journal says how far it came.
        """
        if any(entry.state in (State.UNDOING, State.UNDONE) for entry in self.journal.entries.values()):
            raise RequestRefused(f"journal {self.journal.path} has been undone: plan anew, with another journal")
        return self._carry_out(self.to_apply(), _forward, State.BEGUN, State.DONE)

    def to_apply(self) -> list[Entry]:
        """Give what `apply` would try to change."""
        return [entry for entry in self.journal.entries.values() if entry.state not in (State.DONE, State.GONE)]

    def undo(self) -> Iterator[Outcome]:
        """Change back what has been changed, the last first; also what was begun and is half done.

        Yields:
            What came of each image.

        Raises:
            ServiceError: as for `apply`.
        """
        return self._carry_out(self.to_undo(), _backward, State.UNDOING, State.UNDONE)

    def to_undo(self) -> list[Entry]:
        """Give what `undo` would try to change back, the last first."""
        untouched = (State.PLANNED, State.UNDONE, State.GONE)
        return [entry for entry in reversed(self.journal.entries.values()) if entry.state not in untouched]

    def _carry_out(
        self,
        entries: Iterable[Entry],
        wanted: Callable[[Entry], Sequence[LocationChange]],
        begun: State,
        done: State,
    ) -> Iterator[Outcome]:
        for entry in entries:
            hold = Hold(
                journal_id=self.journal.id,
                volumes=self.volumes,
                write=partial(self._write, entry.image_id, begun),
                attachments=entry.attachments,
                seconds=self.settle_seconds,
            )
            reason = None
            try:
                with undone_on_failure(f"hold {self.journal.id} of the volumes of image {entry.image_id}", hold.end):
                    state = done if self._change(entry, wanted(entry), hold) else State.GONE
                    hold.end()
                self.journal.record(entry.image_id, state)
            except CallerError as error:
                state, reason = State.FAILED, str(error)
                kept = hold.attachments if hold.needed else None
                self.journal.record(entry.image_id, begun if hold.needed else state, reason=reason, attachments=kept)
            yield Outcome(entry.image_id, state, reason)

    def _write(self, image_id: str, begun: State, attachments: Mapping[str, str]) -> None:
        self.journal.record(image_id, begun, attachments=attachments)

    def _change(self, entry: Entry, changes: Sequence[LocationChange], hold: Hold) -> bool:
        """Change one image; False where it is gone."""
        image = self._mover.listed(entry.image_id)
        locations = image.locations if image else ()
        if entry.state in (State.BEGUN, State.UNDOING):
            hold.needed = any({change.before, change.after} <= set(locations) for change in entry.changes)
            hold.take_up(_volume_ids((*locations, *(change.after for change in changes))))
        if image is None:
            return False
        relocation = self._relocation(image, relocated(locations, changes))
        if relocation.way is not RelocationWay.NOTHING:
            hold.remember()
            self._mover.carry_out(relocation, hold)
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

    @property
    def _mover(self) -> Mover:
        return Mover(images=self.images, volumes=self.volumes, settle_seconds=self.settle_seconds)


def _forward(entry: Entry) -> Sequence[LocationChange]:
    return entry.changes


def _backward(entry: Entry) -> Sequence[LocationChange]:
    return [change.undo() for change in reversed(entry.changes)]


def _volume_ids(locations: Iterable[ImageLocation]) -> list[str]:
    """The volumes that could have been held."""
    return [volume_id for volume_id in _named(locations) if is_volume_id(volume_id)]


def _named(locations: Iterable[ImageLocation]) -> list[str]:
    """What Glance would ask Cinder about."""
    ids = (location.url.rpartition("/")[2] for location in locations if location.url.startswith("cinder://"))
    return list(dict.fromkeys(ids))
