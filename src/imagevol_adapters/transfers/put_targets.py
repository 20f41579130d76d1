"""The volume and the image that a stopped command was filling: found by its journal, looked at, and taken up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

import attrs

from imagevol_adapters.attributes import ImageAttributes
from imagevol_adapters.cleanup import naming, undone_on_failure
from imagevol_adapters.ports import Attacher, ImageService, VolumeService
from imagevol_adapters.processes import origin, running, this_process
from imagevol_adapters.transfers.attaching import delete_volume, refuse_encrypted
from imagevol_adapters.transfers.creating import answered
from imagevol_adapters.transfers.put_journal import PutJournal
from imagevol_adapters.transfers.reclaiming import other_holders, reclaim
from imagevol_adapters.transfers.storing import StoredImage, StoreSettings
from imagevol_core import (
    AccessDenied,
    CinderLocation,
    ContentMismatch,
    HolderState,
    Image,
    ImageVolumeMetadata,
    InUse,
    RequestRefused,
    ResourceNotFound,
    UnsafeImage,
    Volume,
    VolumeOrigin,
    WrongLength,
    decide_process,
)
from imagevol_core.remains import JOURNAL_KEY
from imagevol_core.resuming import LeftVolume, Registration, decide_registration, decide_taking_up

__all__ = [
    "Put",
    "Registering",
    "chosen_image",
    "mark_taken",
    "refuse_shared",
    "register",
    "registration",
    "taken_volume",
    "undone_if_wrong",
]

_CHECKSUM = "md5"
_WRONG_DATA = (UnsafeImage, ContentMismatch, WrongLength)  # of which no more will come right


@attrs.frozen(kw_only=True)
class Registering:
    """How a file that is stored becomes an image of Glance.

    Args:
        images: where the image is made.
        name: of the image.
        store: the store that the location names; none of them when None.
        owner: of the image; the project of the credentials when None.
        visibility: of the image; Glance's default when None.
        attributes: all others of the image.
    """

    images: ImageService
    name: str
    store: str | None = None
    owner: str | None = None
    visibility: str | None = None
    attributes: ImageAttributes = attrs.field(factory=ImageAttributes)


@attrs.define(kw_only=True)
class Put:
    """What the steps share."""

    journal: PutJournal
    volumes: VolumeService
    attacher: Attacher
    registering: Registering | None
    settings: StoreSettings
    tell: Callable[[str], object]

    @property
    def procedure(self) -> str:
        """What a volume says of what creates it."""
        return "register" if self.registering else "put"


def chosen_image(put: Put, disk_format: str, image_id: str, image_owner: str | None) -> None:
    """Create the image, or choose its id, unless the journal names it."""
    state, wanted = put.journal.state, put.registering
    if state.image_id is None and wanted is None:
        put.journal.record(image=image_id, owner=image_owner)
    elif state.image_id is None and wanted is not None:
        mark = {JOURNAL_KEY: state.id}
        left = wanted.images.with_properties(mark, status="queued")  # of a process that was killed before it noted it
        image = left[0] if left else _created_image(wanted, disk_format, mark)
        # What no journal names would be left behind, and there is no data in it yet.
        with undone_on_failure(f"image {image.id}", partial(wanted.images.delete, image.id)):
            put.journal.record(image=image.id, owner=image.owner)


def _created_image(wanted: Registering, disk_format: str, mark: Mapping[str, str]) -> Image:
    marks = {**origin("register", None).to_volume(), **mark}
    create = partial(
        wanted.images.create,
        name=wanted.name,
        disk_format=disk_format,
        owner=wanted.owner,
        visibility=wanted.visibility,
    )
    attributes = wanted.attributes
    try:
        return create(attributes=attrs.evolve(attributes, properties={**attributes.properties, **marks}))
    except AccessDenied:  # the property protections of Glance may allow only known properties
        return create(attributes=attributes)


def taken_volume(put: Put, size_gib: int, volume_type: str | None) -> tuple[Volume, bool]:
    """The volume, and whether it is filled: the one that the journal names, or a new one."""
    state, volumes = put.journal.state, put.volumes
    name = f"image-{state.image_id}"
    if state.volume_id is None:
        marked = [each for each in volumes.named(name) if each.metadata.get(JOURNAL_KEY) == state.id]
        if not marked:
            return _created(put, name, size_gib, volume_type), False
        with naming(f"volume {marked[0].id}"):
            put.journal.record(volume=marked[0].id)
    volume_id = str(state.volume_id)
    volume = next(iter(volumes.find([volume_id])), None)
    process, reason = _process(volume)
    left = LeftVolume(
        volume_id=volume_id,
        volume=volume,
        journal_id=state.id,
        image_id=str(state.image_id),
        project_id=volumes.project_id,
        size_gib=size_gib,
        process=process,
        process_reason=reason,
        holders=other_holders(volume_id, volumes) if volume and volume.multiattach else (),
    )
    decision = decide_taking_up(left)
    if volume is None or not decision.allowed:
        raise RequestRefused(
            f"volume {volume_id} is not filled on: {'; '.join(decision.reasons)}; begin anew, with another journal"
        )
    if volume.multiattach:  # Cinder lets it be attached again, so that nothing else asks what a dead process has left
        reclaim(volume_id, volumes=volumes, attacher=put.attacher)
    if volume.status == "creating":
        volumes.wait(volume_id)
    refuse_encrypted(volume)
    return volume, decision.finished


def mark_taken(put: Put, volume: Volume) -> None:
    """Name this process as the one that fills the volume, which it must have attached: before, another one may."""
    mark = origin(put.procedure, put.journal.state.image_id).to_volume()
    if not mark.items() <= volume.metadata.items():
        put.volumes.set_metadata(volume.id, mark)


def refuse_shared(put: Put, volume: Volume) -> None:
    """Refuse a volume that another program has attached since it was looked at: it may have written to it.

    Raises:
        InUse: another program has it attached.  The journal can be taken up again, which reads the data again.
    """
    if volume.multiattach and (others := other_holders(volume.id, put.volumes)):
        raise InUse(
            f"volume {volume.id} was attached by another program while it was filled, and may hold what that wrote: "
            f"{'; '.join(others)}; when it is detached, continue with the same journal, which reads the data again"
        )


def _created(put: Put, name: str, size_gib: int, volume_type: str | None) -> Volume:
    state, volumes = put.journal.state, put.volumes
    metadata = {**origin(put.procedure, state.image_id).to_volume(), JOURNAL_KEY: state.id}
    ask = partial(volumes.create, size_gib=size_gib, name=name, volume_type=volume_type, metadata=metadata)
    created = answered(ask, volumes=volumes, name=name, metadata=metadata)
    with undone_on_failure(f"volume {created.id}", partial(delete_volume, volumes, created.id)):
        put.journal.record(volume=created.id)
    if put.settings.created:
        put.settings.created(created)
    volume = volumes.wait(created.id)
    try:
        refuse_encrypted(volume)
    except RequestRefused:
        with _undoing(put, created.id):
            raise
    return volume


def _process(volume: Volume | None) -> tuple[HolderState, str]:
    """Whether the process that was filling the volume runs; this one has the journal."""
    made_by = VolumeOrigin.from_volume(volume.metadata) if volume else None
    if made_by is None or made_by.process is None:
        return HolderState.UNKNOWN, "it names no process"
    here = this_process()
    if made_by.process == here:
        return HolderState.DEAD, "it names this process"
    known = running(made_by.process.pid)
    return decide_process(made_by.process, here=here, running=known, host=made_by.host)


def registration(put: Put, volume: Volume) -> Registration | None:
    """What is left to do for the image; None if it is not one of Glance.

    Raises:
        RequestRefused: it is not as it was left.
    """
    if put.registering is None:
        return None
    image_id = str(put.journal.state.image_id)
    try:
        image = put.registering.images.wait(image_id)
    except ResourceNotFound:
        image = None
    record = ImageVolumeMetadata.from_volume(volume.metadata)
    outcome, verdicts = decide_registration(image_id, image, volume_id=volume.id, digest=record.digest)
    if outcome is Registration.REFUSE:
        raise RequestRefused(
            f"{verdicts[-1].text}: delete volume {volume.id} with `imagevol rm`, and begin anew, with another journal"
        )
    return outcome


def register(put: Put, stored: StoredImage) -> None:
    """Tell Glance where the data is, if it does not know yet."""
    wanted, image_id = put.registering, str(put.journal.state.image_id)
    if wanted is None:
        return
    if registration(put, stored.volume) is Registration.REGISTER:
        location = CinderLocation(store=wanted.store, volume_id=stored.volume.id)
        wanted.images.add_location(image_id, str(location), store=wanted.store, digest=stored.record.digest)
    wanted.images.unset_properties(image_id, [*origin("register", None).to_volume(), JOURNAL_KEY])
    if wanted.attributes.protected:  # last, because a protected image cannot be deleted if a step fails
        wanted.images.protect(image_id, protected=True)


@contextmanager
def undone_if_wrong(put: Put, volume_id: str) -> Iterator[None]:
    """Delete what was created if the data is wrong, because it will not come right."""
    try:
        yield
    except _WRONG_DATA:
        with _undoing(put, volume_id):
            raise


@contextmanager
def _undoing(put: Put, volume_id: str) -> Iterator[None]:
    """Delete the volume and the image, and let the error that ends the context go on."""
    wanted, image_id = put.registering, str(put.journal.state.image_id)
    with ExitStack() as undo:
        undo.enter_context(undone_on_failure(f"journal {put.journal.path}", lambda: put.journal.end(undone=True)))
        delete = partial(delete_volume, put.volumes, volume_id)
        undo.enter_context(undone_on_failure(f"volume {volume_id}", delete))
        if wanted:
            undo.enter_context(undone_on_failure(f"image {image_id}", partial(wanted.images.delete, image_id)))
        yield
