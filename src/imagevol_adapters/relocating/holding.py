"""Volumes that cannot be deleted while the locations that name them change.

Twice: by a mark that our store driver honours, and by a reservation, because of which Cinder refuses to delete a volume
for whatever driver a Glance may still be running with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import attrs

from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.ports import AccessMode, Attachment
from imagevol_adapters.relocating.services import VolumeHolder
from imagevol_adapters.waiting import wait_until
from imagevol_core import HOLD, DeadlineExceeded, InUse

__all__ = ["Hold"]


@attrs.define(kw_only=True)
class Hold:
    """Volumes that are held in the name of a journal.

    Args:
        journal_id: of the journal.
        volumes: Cinder.
        write: writes into the journal that the change has begun, and by which attachments its volumes are reserved.
        attachments: by which its volumes are reserved, by volume, as the journal says.
        seconds: how long the reservation of another process may last before it is used.

    Attributes:
        volume_ids: which volumes.
        needed: whether a request may be under way that deletes them when they are let go.
    """

    journal_id: str
    volumes: VolumeHolder
    write: Callable[[Mapping[str, str]], object]
    attachments: Mapping[str, str]
    seconds: float
    volume_ids: tuple[str, ...] = attrs.field(default=(), init=False)
    needed: bool = attrs.field(default=False, init=False)

    def begin(self, volume_ids: Sequence[str]) -> None:
        """Hold them.

        Raises:
            InUse: one is attached, or another journal's.
        """
        for volume in self.volumes.find(volume_ids):
            holder = volume.metadata.get(HOLD, self.journal_id)
            if holder != self.journal_id:
                raise InUse(f"volume {volume.id} is held by journal {holder}: resume or undo that one first")
        self.volume_ids = tuple(volume_ids)
        for volume_id in volume_ids:
            self.volumes.set_metadata(volume_id, {HOLD: self.journal_id})
            attachment = self.volumes.reserve(volume_id, mode=AccessMode.READ)
            left = f"attachment {attachment.id} of volume {volume_id}"
            with undone_on_failure(left, partial(self.volumes.detach, attachment)):
                self.remember({**self.attachments, volume_id: attachment.id})

    def take_up(self, volume_ids: Sequence[str]) -> None:
        """Give back the reservations of a process that was killed; the marks stay.

        What it could not write down any more is told from another's, which is about to attach, by its staying.
        """
        self.volume_ids = tuple(volume_ids)
        for volume_id in self._marked():
            self._free(volume_id)
            seen = {attachment.id for attachment in self.volumes.reservations(volume_id)}
            with suppress(DeadlineExceeded):
                wait_until(
                    partial(self._staying, volume_id, seen),
                    lambda staying: not staying,
                    what=f"volume {volume_id} is reserved",
                    seconds=self.seconds,
                )
            for attachment_id in seen:
                self.volumes.detach(Attachment(id=attachment_id, volume_id=volume_id, connection={}))

    def end(self) -> None:
        """Let them go, as far as they are held by this journal.

        Raises:
            InUse: they must stay held.
        """
        if self.needed:
            raise InUse("a request may be under way that would delete them; resume or undo the journal")
        marked = self._marked()
        reserved = [volume_id for volume_id in self.volume_ids if volume_id in self.attachments]
        for volume_id in dict.fromkeys((*marked, *reserved)):  # also if Cinder does not show it for a moment
            self._free(volume_id)
        for volume_id in dict.fromkeys((*marked, *self._marked())):
            self.volumes.unset_metadata(volume_id, [HOLD])

    def remember(self, attachments: Mapping[str, str] | None = None) -> None:
        """Write down that the change has begun, and by which attachments its volumes are reserved."""
        self.attachments = self.attachments if attachments is None else attachments
        self.write(self.attachments)

    def _marked(self) -> list[str]:
        volumes = self.volumes.find(self.volume_ids) if self.volume_ids else ()
        return [volume.id for volume in volumes if volume.metadata.get(HOLD) == self.journal_id]

    def _free(self, volume_id: str) -> None:
        known = self.attachments.get(volume_id)
        if known is not None:
            self.volumes.detach(Attachment(id=known, volume_id=volume_id, connection={}))
            self.remember({key: value for key, value in self.attachments.items() if key != volume_id})

    def _staying(self, volume_id: str, seen: set[str]) -> set[str]:
        """Which of the reservations that were seen are still there."""
        seen &= {attachment.id for attachment in self.volumes.reservations(volume_id)}
        return seen
