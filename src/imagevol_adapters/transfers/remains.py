"""What a procedure leaves when its process is killed: an unfinished volume, what has it attached, a queued image."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

import attrs

from imagevol_adapters.lost_answers import only_once
from imagevol_adapters.ports import Attacher, ImageService, VolumeService
from imagevol_adapters.processes import running, this_process
from imagevol_adapters.transfers.attaching import delete_freed
from imagevol_adapters.transfers.reclaiming import reclaim
from imagevol_core import (
    UNFINISHED,
    HolderState,
    Image,
    ImagevolError,
    RemainsAction,
    RemainsDecision,
    ResourceNotFound,
    Volume,
    VolumeOrigin,
    decide_process,
    decide_remains,
)
from imagevol_core.remains import JOURNAL_KEY

__all__ = [
    "UnfinishedImage",
    "delete_remains",
    "looked_at",
    "unfinished_images",
    "unfinished_volumes",
    "unmark_finished",
]

_LOG = logging.getLogger(__name__)


def looked_at(volume: Volume, *, project_id: str | None, named: bool = False) -> RemainsDecision:
    """Ask the core whether a volume was left behind.

    Args:
        volume: as Cinder shows it.
        project_id: the project of the credentials.
        named: whether an operator named this volume.
    """
    origin = VolumeOrigin.from_volume(volume.metadata)
    process = origin.process if origin else None
    return decide_remains(
        volume,
        here=this_process(),
        running=running(process.pid) if process else None,
        project_id=project_id,
        named=named,
        now=datetime.now(UTC),
    )


def unfinished_volumes(volumes: VolumeService) -> Iterator[tuple[Volume, RemainsDecision]]:
    """Give the unfinished volumes of the project, each with what is known of its process ([store]).

    Raises:
        ImagevolError: Cinder cannot list them.
    """
    for volume in volumes.with_metadata(UNFINISHED):
        yield volume, looked_at(volume, project_id=volumes.project_id)


@attrs.frozen(kw_only=True)
class UnfinishedImage:
    """An image without data that a procedure has created.

    Attributes:
        image: the image.
        origin: what it says of the procedure.
        state: whether the process of the procedure is dead.
        reason: why, as a sentence.
        volume: the volume that holds its data, if the procedure was stopped before Glance knew of it.
    """

    image: Image
    origin: VolumeOrigin
    state: HolderState
    reason: str
    volume: Volume | None


def unfinished_images(images: ImageService, volumes: VolumeService) -> Iterator[UnfinishedImage]:
    """Give the queued images that a procedure has created, each with what is known of its process ([store]).

    Raises:
        ImagevolError: Glance or Cinder cannot list them.
    """
    for image in images.with_properties(UNFINISHED, status="queued"):
        origin = VolumeOrigin.from_volume(image.properties)
        if origin is None:
            continue
        state, reason = HolderState.UNKNOWN, "it names no process"
        if origin.process:
            known = running(origin.process.pid)
            state, reason = decide_process(origin.process, here=this_process(), running=known, host=origin.host)
        volume = next(iter(volumes.with_metadata({"image_id": image.id})), None)
        yield UnfinishedImage(image=image, origin=origin, state=state, reason=reason, volume=volume)


def unmark_finished(images: ImageService) -> None:
    """Take the marks of a procedure from images that are whole, if its process was killed before it did so.

    What cannot be changed is named in the log: it is the image of another command.

    Args:
        images: with the credentials of the project whose images they are.
    """
    try:
        for image in images.with_properties(UNFINISHED, status="active"):
            made_by = VolumeOrigin.from_volume(image.properties)
            if made_by is None or made_by.process is None:
                continue
            known = running(made_by.process.pid)
            state, reason = decide_process(made_by.process, here=this_process(), running=known, host=made_by.host)
            if state is HolderState.DEAD:
                images.unset_properties(image.id, [*made_by.to_volume(), *only_once(), JOURNAL_KEY])
                _LOG.info("Image %s is whole and has no marks of its procedure any more: %s", image.id, reason)
    except ImagevolError as error:
        _LOG.warning("Images with marks of a killed process are left: %s", error)


def delete_remains(*, volumes: VolumeService, attacher: Attacher) -> None:
    """Delete what dead processes of this host left in the project, and name in the log what a person must look at.

    What cannot be deleted is named in the log too: a procedure that needs the project goes on.

    Args:
        volumes: with the credentials of a project in which no user creates volumes.
        attacher: this host.
    """
    try:
        project_id = volumes.project_id
        found = [looked_at(each, project_id=project_id) for each in volumes.with_metadata(UNFINISHED)]
    except ImagevolError as error:
        _LOG.warning("Cannot list the volumes that killed processes left: %s", error)
        return
    for decision in found:
        if decision.action is RemainsAction.NAME:
            _LOG.warning("Left behind: %s", decision)
        if decision.action is RemainsAction.DELETE:
            _delete(decision, volumes, attacher)


def _delete(decision: RemainsDecision, volumes: VolumeService, attacher: Attacher) -> None:
    """Delete what one procedure left; another process may do it at the same time."""
    free = partial(reclaim, volumes=volumes, attacher=attacher)
    try:
        with suppress(ResourceNotFound):
            delete_freed(volumes, decision.volume_id, free=free, wait=False)
    except ImagevolError as error:
        _LOG.warning("Left behind: %s: %s", decision, error)
        return
    _LOG.warning("Deleted what a killed process left, %s: %s", decision.about, decision.reason)
