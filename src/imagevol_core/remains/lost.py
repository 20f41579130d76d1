"""Which attachment Cinder created for a request of which no answer came ([store])."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from imagevol_core.facts import Volume
from imagevol_core.remains.attachments import AttachmentFacts, unanswered_attachments

__all__ = ["lost_attachment"]

_CLOCK_SECONDS = 2  # Cinder writes whole seconds, and clocks differ a little


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
