"""Which attachment Cinder created for a request of which no answer came, or none could be written down ([store])."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from imagevol_core.facts import Volume
from imagevol_core.remains.attachments import AttachmentFacts, HolderState, unanswered_attachments

__all__ = ["ReservationTry", "lost_attachment", "reserver_of"]

_CLOCK_SECONDS = 2  # Cinder writes whole seconds, and clocks differ a little
_LATEST_SECONDS = 60  # after a request Cinder may still carry it out, though the process that sent it was killed


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationTry:
    """A request to reserve a volume, of which a process wrote down no answer yet.

    Args:
        device: what Cinder would show as the device of the attachment; it names the process.
        asked_at: right before the request was sent, by the clock of the host.
        state: whether the process has ended.
    """

    device: str
    asked_at: datetime
    state: HolderState


def lost_attachment(
    volume: Volume, attachments: Iterable[AttachmentFacts], *, asked_at: datetime, seconds: float
) -> AttachmentFacts | None:
    """Give the attachment that Cinder created for a request of which no answer came; None if it cannot be told.

    Cinder keeps no time of an attachment that reserves a volume, but it changes the volume at that moment, and such a
    volume has no other attachment, unless its type is multiattach.

    Args:
        volume: as Cinder shows it after the request.
        attachments: of that volume, at the same time.
        asked_at: when the request was sent, by a clock that is right.
        seconds: how long it took until it failed.

    >>> from datetime import UTC
    >>> now = datetime(2026, 1, 1, tzinfo=UTC)
    >>> volume = Volume(id="7ad3", size_gib=1, status="reserved", updated_at=now)
    >>> lost_attachment(volume, [AttachmentFacts(id="1c2d", status="reserved")], asked_at=now, seconds=0.5).id
    '1c2d'
    """
    found = tuple(attachments)
    lost = unanswered_attachments(found)
    if volume.multiattach or volume.status != "reserved" or len(found) != 1 or not lost or volume.updated_at is None:
        return None
    after = (volume.updated_at - asked_at).total_seconds()
    return lost[0] if -_CLOCK_SECONDS <= after <= seconds + _CLOCK_SECONDS else None


def reserver_of(
    volume: Volume, attachments: Iterable[AttachmentFacts], tries: Iterable[ReservationTry]
) -> tuple[AttachmentFacts, ReservationTry] | None:
    """Give the attachment that reserves a volume and names no process, with the request that it came of.

    A request of a process that runs comes before one of a process that has ended: nothing is taken from who is alive.

    Args:
        volume: as Cinder shows it.
        attachments: of that volume, at the same time, each with the process that is known of it.
        tries: the requests to reserve it that are written down, looked up after the attachments.

    >>> from datetime import UTC
    >>> now = datetime(2026, 1, 1, tzinfo=UTC)
    >>> volume = Volume(id="7ad3", size_gib=1, status="reserved", updated_at=now)
    >>> killed = ReservationTry(device="of a killed process", asked_at=now, state=HolderState.DEAD)
    >>> attachment, found = reserver_of(volume, [AttachmentFacts(id="1c2d", status="reserved")], [killed])
    >>> attachment.id, found.device
    ('1c2d', 'of a killed process')
    """
    known = tuple(attachments)
    fitting = [
        (lost, each)
        for each in tries
        if (lost := lost_attachment(volume, known, asked_at=each.asked_at, seconds=_LATEST_SECONDS))
    ]
    return min(fitting, key=lambda pair: pair[1].state is HolderState.DEAD, default=None)
