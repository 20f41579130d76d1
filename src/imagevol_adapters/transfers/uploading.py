"""A volume that becomes an image: by registering a clone of it, or by a copy ([clone], [base])."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from functools import partial

import attrs

from imagevol_adapters.cleanup import naming, released, undone_on_failure
from imagevol_adapters.engine import Limits, Progress, TransferProgress, read_device
from imagevol_adapters.gathering import gather_upload
from imagevol_adapters.ports import AccessMode, Attacher, ImageService, VolumeService
from imagevol_adapters.processes import origin
from imagevol_adapters.transfers.attaching import attached, delete_volume, may_live_in, refuse_encrypted
from imagevol_core import (
    FINISHED,
    GIB,
    Image,
    ImagevolError,
    InUse,
    InvalidFact,
    Requester,
    RequestRefused,
    ResourceNotFound,
    ServiceFailed,
    UploadAction,
    UploadPlan,
    UploadSettings,
    UploadStep,
    Volume,
    failed,
)
from imagevol_core.remains import CLONE_OF_KEY, JOURNAL_KEY

__all__ = ["UploadedVolume", "register_clone"]

_LOG = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class UploadedVolume:
    """A volume that is an image now.

    Attributes:
        image: the image, which is active.
        image_volume: the clone that has its data; None where they were copied.
        plan: what was planned; None if an earlier call had done all of it.
        failure: why the volume was copied although the plan was to register it; `leftovers` names what could not be
            cleaned up.
    """

    image: Image
    image_volume: Volume | None = None
    plan: UploadPlan | None = None
    failure: ImagevolError | None = None


@attrs.frozen(kw_only=True)
class _Upload:
    """One upload, and the services that it goes through."""

    volume: Volume
    image: Image
    base_image_id: str | None
    plan: UploadPlan
    images: ImageService
    volumes: VolumeService


def register_clone(
    volume_id: str,
    *,
    image_id: str,
    images: ImageService,
    volumes: VolumeService,
    attacher: Attacher,
    settings: UploadSettings | None = None,
    force: bool = False,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> UploadedVolume:
    """Make a volume an image of Glance, by a clone whose location is registered, or by a copy ([clone]).

    The clone is made by the credentials of `volumes` and belongs to their project, which should be one in which users
    make no volumes.  It is named `image-ID` and is born with the image's id, owner and size.  Whatever fails before the
    image is active, the clone is deleted and the volume's bytes are sent to Glance instead.

    If a call is killed, call again with the same image.  If Glance has taken the clone of the killed call, this call is
    done; if not, it deletes that clone and makes another one.  Two calls for one image must not run at the same time.

    Whether the requester may read the volume is for the caller to know.

    Args:
        volume_id: what is uploaded.
        image_id: a queued image, raw and bare, which stays queued if all fails.
        images: where the image is, with the `service` role, which Glance asks of who registers a location.
        volumes: where the volume is, and where its clone is made.
        attacher: connects the volume to this host, if it is copied.
        settings: what the operator allows; if None, clones, in the project of `volumes`.
        force: whether a volume that is in use is cloned too, as if the power had failed.  It is not copied.
        progress: told how far a copy is.
        limits: how fast a copy can go, and what ends it.

    Raises:
        RequestRefused: the image is not queued, or is neither raw nor bare; or the volume is encrypted.
        InUse: the volume is in use.
        ResourceNotFound: there is no such image, or no such volume; what an earlier call has left for an image that
            was deleted meanwhile is named in `leftovers`.
        DeadlineExceeded: Glance is still at work on the image for another caller, or since an earlier call.
        ImagevolError: the copy failed too; a note says why no clone was registered.  The clone is gone, or named in
            `leftovers`, as where Glance went away when it had been asked to take it: call again when it is back.

    >>> from imagevol_adapters.testing.memory import MemoryAttacher, MemoryImages, MemoryVolumes
    >>> volumes = MemoryVolumes(project_id="service")
    >>> images, attacher = MemoryImages(volumes=volumes), MemoryAttacher(volumes=volumes)
    >>> volume = volumes.wait(volumes.create(size_gib=1, name="disk").id)
    >>> image = images.create(name="of the disk", disk_format="raw")
    >>> done = register_clone(volume.id, image_id=image.id, images=images, volumes=volumes, attacher=attacher)
    >>> done.image.status, done.image.locations[0].url == f"cinder://{done.image_volume.id}"
    ('active', True)
    """
    try:
        image = images.wait(image_id)
    except ResourceNotFound:
        # It may only be hidden from these credentials, and live in one of them.
        with naming(*(f"volume {clone.id}, cloned for image {image_id}" for clone in _remains(image_id, volumes))):
            raise
    remains = _remains(image_id, volumes)
    for clone in remains:
        if _has_taken(image, clone) and clone.metadata[CLONE_OF_KEY] == volume_id:
            return UploadedVolume(image=image, image_volume=clone)
    _discard(remains, image, volumes)
    _expect_queued(image)
    upload = _planned(volume_id, image, images, volumes, settings)
    if upload.volume.status == "in-use" and not force:
        raise InUse(f"volume {volume_id} is in use, and would change meanwhile: detach it, or force it")
    for verdict in failed(upload.plan.verdicts):
        _LOG.info("Volume %s is copied to image %s: %s: %s", volume_id, image_id, verdict.rule, verdict.text)
    if not upload.plan.registers:
        return _copied(upload, attacher, progress, limits)
    try:
        return _registered(upload)
    except ImagevolError as failure:
        _LOG.warning("Volume %s is copied to image %s, as no clone was registered: %s", volume_id, image_id, failure)
        with naming(*failure.leftovers):
            return _copied_instead(upload, attacher, progress, limits, failure=failure)


def _planned(
    volume_id: str, image: Image, images: ImageService, volumes: VolumeService, settings: UploadSettings | None
) -> _Upload:
    """Collect the facts, and ask the core."""
    facts = gather_upload(
        volume_id,
        image=image,
        volumes=volumes,
        requester=Requester(project_id=volumes.project_id),
        settings=settings or UploadSettings(use_cinder_backend=True),
    )
    return _Upload(
        volume=facts.volume,
        image=image,
        base_image_id=facts.base_image_id,
        plan=facts.plan(),
        images=images,
        volumes=volumes,
    )


def _registered(upload: _Upload) -> UploadedVolume:
    """Walk the steps of a registration; where one fails, nothing of it is left that is not named."""
    if upload.plan.project_id != upload.volumes.project_id:
        raise RequestRefused(
            f"the clone must belong to project {upload.plan.project_id}, and these credentials make volumes in "
            f"{upload.volumes.project_id}"
        )
    with ExitStack() as undo:
        registration = _Registration(upload=upload, undo=undo)
        for step in upload.plan.steps:
            _LOG.info("Volume %s, image %s: %s", upload.volume.id, upload.image.id, step.action.value)
            _CARRIED_OUT[step.action](registration, step)
        return UploadedVolume(image=registration.image, image_volume=registration.clone, plan=upload.plan)


@attrs.define(kw_only=True)
class _Registration:
    """How far a registration has come.

    Attributes:
        clone: the clone, as soon as it is available.
        asked: whether Glance may have been asked to take it.
        image: as Glance shows it after that.
    """

    upload: _Upload
    undo: ExitStack
    _clone: Volume | None = None
    asked: bool = False
    _image: Image | None = None

    @property
    def clone(self) -> Volume:
        """The clone, for the steps after the one that makes it."""
        if self._clone is None:
            raise InvalidFact("UploadPlan.steps", "they go on with a clone before there is one; begin with CLONE")
        return self._clone

    @property
    def image(self) -> Image:
        """The image, for the steps after the one that registers the clone."""
        if self._image is None:
            raise InvalidFact("UploadPlan.steps", "no step registers the clone; have a step REGISTER")
        return self._image

    def make_clone(self, _: UploadStep) -> None:
        """Make the clone; it has its marks from its first moment, so that it can be told from all other volumes."""
        image, volumes = self.upload.image, self.upload.volumes
        marks = {key: value for step in self.upload.plan.steps for key, value in step.metadata.items()}
        metadata = {**marks, **origin("upload", image.id).to_volume(), CLONE_OF_KEY: self.upload.volume.id}
        name = _name(image.id)

        def discard() -> None:
            _discard(_remains(image.id, volumes), image, volumes)

        with undone_on_failure(f"a volume named {name}, if Cinder has made one", discard):
            begun = volumes.clone(self.upload.volume.id, name=name, metadata=metadata)
        self.undo.enter_context(undone_on_failure(f"volume {begun.id}", partial(self._withdraw, begun)))
        self._clone = volumes.wait(begun.id)

    def mark(self, step: UploadStep) -> None:
        """Write the record, and that nothing more is written to the clone."""
        written = {**step.metadata, **FINISHED}
        self.upload.volumes.set_metadata(self.clone.id, written)
        self._clone = replace(self.clone, metadata={**self.clone.metadata, **written})

    def mark_read_only(self, _: UploadStep) -> None:
        """Let no attachment write to the clone."""
        self.upload.volumes.set_readonly(self.clone.id, readonly=True)
        self._clone = replace(self.clone, readonly=True)

    def register(self, _: UploadStep) -> None:
        """Ask Glance to take the clone, in the store that the plan names."""
        image, images, plan = self.upload.image, self.upload.images, self.upload.plan
        _expect_queued(images.wait(image.id))  # nothing is asked yet of a Glance that has gone away meanwhile
        self.asked = True
        self._image = images.add_location(image.id, plan.location(self.clone.id), store=plan.store, digest=None)

    def check_registered(self, _: UploadStep) -> None:
        """Make sure that the image lives in the clone.

        Raises:
            ServiceFailed: it does not.
        """
        if not _has_taken(self.image, self.clone):
            raise ServiceFailed(f"Glance, registering a location of image {self.image.id}: it is not in the clone")

    def _withdraw(self, clone: Volume) -> None:
        """Delete the clone, unless Glance has taken it."""
        with suppress(ResourceNotFound):  # the image was there before, and is deleted
            if self.asked and _has_taken(self.upload.images.wait(self.upload.image.id), clone):
                return
        delete_volume(self.upload.volumes, clone.id)


_CARRIED_OUT: Mapping[UploadAction, Callable[[_Registration, UploadStep], None]] = {
    UploadAction.CLONE: _Registration.make_clone,
    UploadAction.MARK: _Registration.mark,
    UploadAction.MARK_READ_ONLY: _Registration.mark_read_only,
    UploadAction.REGISTER: _Registration.register,
    UploadAction.CHECK_REGISTERED: _Registration.check_registered,
}
"""What is done for each step; a plan of `COPY` has no other step."""


def _copied_instead(
    upload: _Upload, attacher: Attacher, progress: Progress | None, limits: Limits | None, *, failure: ImagevolError
) -> UploadedVolume:
    """Copy, unless Glance has taken the clone, and only its answer was lost."""
    try:
        image = upload.images.wait(upload.image.id)
        for clone in _remains(image.id, upload.volumes):
            if _has_taken(image, clone):
                return UploadedVolume(image=image, image_volume=clone, plan=upload.plan)
        return attrs.evolve(_copied(upload, attacher, progress, limits), failure=failure)
    except ImagevolError as error:
        error.add_note(f"before that, no clone was registered: {failure}")
        raise


def _copied(upload: _Upload, attacher: Attacher, progress: Progress | None, limits: Limits | None) -> UploadedVolume:
    """Send the volume's bytes to Glance."""
    volume, image, plan = upload.volume, upload.image, upload.plan
    if (image.disk_format, image.container_format) != ("raw", "bare"):
        raise RequestRefused(
            f"image {image.id} must be {image.disk_format} in {image.container_format}, and a volume's bytes are raw "
            f"and bare: make such an image, or convert the volume's bytes first"
        )
    refuse_encrypted(volume)
    size_bytes = volume.size_gib * GIB
    with (
        attached(
            volume.id,
            mode=AccessMode.READ,
            volumes=upload.volumes,
            attacher=attacher,
            size_bytes=size_bytes,
            multiattach=bool(volume.multiattach),
        ) as device,
        closing(read_device(device, length=size_bytes, what=f"volume {volume.id}", limits=limits)) as parts,
    ):
        active = upload.images.upload(
            image.id,
            _told(parts, size_bytes, progress),
            size_bytes=size_bytes,
            store=plan.store,
            base_image_id=upload.base_image_id,
        )
    return UploadedVolume(image=active, plan=plan)


def _told(parts: Iterator[bytes], total_bytes: int, progress: Progress | None) -> Iterator[bytes]:
    """The same, and how far it is."""
    done_bytes = 0
    for part in parts:
        yield part
        done_bytes += len(part)
        if progress:
            progress(TransferProgress(done_bytes=done_bytes, skipped_bytes=0, total_bytes=total_bytes))


def _name(image_id: str) -> str:
    """As Cinder and glance_store call an image volume."""
    return f"image-{image_id}"


def _remains(image_id: str, volumes: VolumeService) -> list[Volume]:
    """The clones that were made to be registered for this image."""
    clones = [volume for volume in volumes.named(_name(image_id)) if CLONE_OF_KEY in volume.metadata]
    return [clone for clone in clones if JOURNAL_KEY not in clone.metadata]  # which is one of `imagevol cp`


def _has_taken(image: Image, clone: Volume) -> bool:
    return image.status != "queued" and may_live_in(image, clone.id)


def _discard(remains: list[Volume], image: Image, volumes: VolumeService) -> None:
    """Delete those that the image does not live in, also if one of them cannot be."""
    with ExitStack() as discarded:
        for volume in remains:
            if not _has_taken(image, volume):
                discarded.enter_context(released(f"volume {volume.id}", partial(delete_volume, volumes, volume.id)))


def _expect_queued(image: Image) -> None:
    if image.status != "queued":
        raise RequestRefused(f"image {image.id} is '{image.status}', and takes data while it is 'queued'")
