"""Taking back what dead processes of this host have left attached.

Each of our attachments names its process, as the device that Cinder shows.  A process that finds a volume busy, or
cannot delete it, asks the core which of its attachments are a dead process's, disconnects those from this host and
deletes them.  All others are named, with what is known of them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import attrs

from imagevol_adapters.ports import Attacher, Attachment, VolumeService
from imagevol_adapters.processes import running, this_process
from imagevol_core import (
    AttachmentFacts,
    HolderState,
    ImagevolError,
    ProcessRecord,
    ReclaimDecision,
    VolumeOrigin,
    decide_reclaim,
    holder_of,
)

__all__ = ["Reclaimed", "disconnect_left", "holders", "named", "other_holders", "reclaim"]

_LOG = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class Reclaimed:
    """What became of a volume's attachments.

    Attributes:
        attachment_ids: those that were taken back.
        holders: who has the others, a sentence each.
    """

    attachment_ids: tuple[str, ...] = ()
    holders: tuple[str, ...] = ()


def named(connector: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give what a host tells of itself, with this process in what Cinder shows as the device."""
    process = this_process()
    if process is None:
        return connector
    return {**connector, "mountpoint": process.to_text(str(connector.get("mountpoint") or ""))}


def holders(volume_id: str, volumes: VolumeService) -> tuple[str, ...]:
    """Name what has a volume attached, a sentence each with the command that detaches it; nothing is taken back.

    Raises:
        ImagevolError: what its attachments are, cannot be found out.
    """
    return tuple(str(decision) for _, decision in _decided(volume_id, volumes))


def other_holders(volume_id: str, volumes: VolumeService) -> tuple[str, ...]:
    """Name what has a volume attached and is no dead process of this host, as `holders` does.

    Raises:
        ImagevolError: what its attachments are, cannot be found out.
    """
    decided = _decided(volume_id, volumes)
    return tuple(str(decision) for _, decision in decided if decision.state is not HolderState.DEAD)


def reclaim(
    volume_id: str, *, volumes: VolumeService, attacher: Attacher, locked: bool = False, connected: bool = False
) -> Reclaimed:
    """Take back the attachments of a volume that dead processes of this host have left ([store]).

    Args:
        volume_id: the id of the volume.
        volumes: where it is.
        attacher: this host.
        locked: whether the caller holds `attacher.leaving(volume_id)`.
        connected: whether the caller has the volume connected to this host, by a device that all its attachments share
            and that the caller disconnects.

    Raises:
        ImagevolError: what its attachments are, cannot be found out, or what is left cannot be locked.
    """
    found = _decided(volume_id, volumes)
    if not any(decision.state is HolderState.DEAD for _, decision in found):
        return Reclaimed(holders=tuple(str(decision) for _, decision in found))
    taken, holders = [], []
    # Of two that take it back at the same time, the second must not disconnect what the first has attached since.
    with nullcontext() if locked else attacher.leaving(volume_id):
        found = _decided(volume_id, volumes)
        left = {facts.id: facts for facts, _ in found}
        for facts, decision in found:
            if decision.state is not HolderState.DEAD:
                holders.append(str(decision))
                continue
            shared = connected or any(_may_share(other, facts) for other in left.values() if other is not facts)
            try:
                _take_back(volumes.attachment(facts.id), volumes, None if shared else attacher)
            except ImagevolError as error:
                holders.append(f"attachment {facts.id}: {decision.reason}, and it cannot be taken back: {error}")
                continue
            _LOG.warning("Volume %s: attachment %s was taken back: %s", volume_id, facts.id, decision.reason)
            taken.append(facts.id)
            del left[facts.id]
    return Reclaimed(attachment_ids=tuple(taken), holders=tuple(holders))


def disconnect_left(attachment: AttachmentFacts, *, volumes: VolumeService, attacher: Attacher) -> None:
    """Disconnect from this host what a dead process has left connected; Cinder still has the attachment then.

    A device that another attachment of this host may share stays.

    Args:
        attachment: which one.
        volumes: where its volume is.
        attacher: this host.

    Raises:
        ImagevolError: it may still be connected.
    """
    volume_id = str(attachment.volume_id)
    with attacher.leaving(volume_id):
        others = [other for other in volumes.holders(volume_id) if other.id != attachment.id]
        if not any(_may_share(other, attachment) for other in others):
            attacher.disconnect(volumes.attachment(attachment.id))


def _decided(volume_id: str, volumes: VolumeService) -> list[tuple[AttachmentFacts, ReclaimDecision]]:
    """What the core says of each attachment."""
    here, decided = this_process(), []
    found = volumes.holders(volume_id)
    maker = None if all(facts.process for facts in found) else _maker(volume_id, volumes)
    for facts in found:
        process = holder_of(facts, maker=maker)
        seen = None if process is None else running(process.pid)
        decided.append((facts, decide_reclaim(facts, here=here, running=seen, maker=maker)))
    return decided


def _maker(volume_id: str, volumes: VolumeService) -> ProcessRecord | None:
    """The process that creates the volume; None if it is finished."""
    origin = VolumeOrigin.from_volume(volumes.get(volume_id).metadata)
    return origin.process if origin and not origin.finished else None


def _may_share(other: AttachmentFacts, facts: AttachmentFacts) -> bool:
    """Tell whether another attachment may use the same device of this host; Cinder tells only administrators where."""
    return other.host is None or other.host == facts.host


def _take_back(attachment: Attachment, volumes: VolumeService, attacher: Attacher | None) -> None:
    """Disconnect it from this host, and only then let Cinder forget it: its device could come to be another volume.

    What is only reserved was never connected.
    """
    if attacher is not None and attachment.connection:
        attacher.disconnect(attachment)
    volumes.detach(attachment)
