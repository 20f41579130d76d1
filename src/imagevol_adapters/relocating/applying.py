"""A planned migration carried out, or taken back, image by image: journalled before, verified after.

What was not predicted ends the migration.  A volume that is held is let go only when nothing can be under way any more
that would delete it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import attrs

from imagevol_adapters.relocating.changing import Changer
from imagevol_adapters.relocating.holding import Hold
from imagevol_adapters.relocating.journal import Entry, Journal, State
from imagevol_adapters.relocating.services import LocationService, VolumeHolder
from imagevol_core import CallerError, LocationChange, RequestRefused, StoreCatalogue

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
            RequestRefused: the journal has been undone, or workers of many hosts may be changing its images.
            ServiceError: a service failed, or Glance made something else of a location than was predicted.  The
                journal says how far it came.
        """
        self.journal.check_not_offered()
        self.check_not_undone()
        return self._carry_out(self.to_apply(), _forward, State.BEGUN, State.DONE)

    def check_not_undone(self) -> None:
        """Hold that nothing of the journal was changed back.

        Raises:
            RequestRefused: something was.
        """
        if any(entry.state in (State.UNDOING, State.UNDONE) for entry in self.journal.entries.values()):
            raise RequestRefused(f"journal {self.journal.path} has been undone: plan anew, with another journal")

    def to_apply(self) -> list[Entry]:
        """Give what `apply` would try to change."""
        return [entry for entry in self.journal.entries.values() if entry.state not in (State.DONE, State.GONE)]

    def undo(self) -> Iterator[Outcome]:
        """Change back what has been changed, the last first; also what was begun and is half done.

        Yields:
            What came of each image.

        Raises:
            RequestRefused: workers of many hosts may be changing its images.
            ServiceError: as for `apply`.
        """
        self.journal.check_not_offered()
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
                changed = self.changer.change(entry, wanted(entry), hold)
                state = done if changed is State.DONE else changed
                self.journal.record(entry.image_id, state)
            except CallerError as error:
                state, reason = State.FAILED, str(error)
                kept = hold.attachments if hold.needed else None
                self.journal.record(entry.image_id, begun if hold.needed else state, reason=reason, attachments=kept)
            yield Outcome(entry.image_id, state, reason)

    def _write(self, image_id: str, begun: State, attachments: Mapping[str, str]) -> None:
        self.journal.record(image_id, begun, attachments=attachments)

    @property
    def changer(self) -> Changer:
        """What changes one image."""
        return Changer(
            images=self.images,
            volumes=self.volumes,
            catalogue=self.catalogue,
            delayed_delete=self.delayed_delete,
            settle_seconds=self.settle_seconds,
        )


def _forward(entry: Entry) -> Sequence[LocationChange]:
    return entry.changes


def _backward(entry: Entry) -> Sequence[LocationChange]:
    return [change.undo() for change in reversed(entry.changes)]
