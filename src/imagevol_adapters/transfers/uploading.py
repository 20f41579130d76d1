"""A volume that becomes an image: by registering a clone of it, or by a copy ([clone], [base])."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, suppress
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
    Requester,
    RequestRefused,
    ResourceNotFound,
    UploadAction,
    UploadPlan,
    UploadSettings,
    Volume,
    failed,
)

__all__ = ["UploadedVolume", "register_clone"]

_LOG = logging.getLogger(__name__)
_CLONE_OF = (
    "imagevol_clone_of"  # by which a clone that was killed before it was registered is told from others' volumes
)


@attrs.frozen(kw_only=True)
class UploadedVolume:
    """A volume that is an image now.

    Attributes:
        image: the image, which is active.
        image_volume: the clone that has its data; None where they were copied.
        plan: what was to be done; None where an earlier call had done it all.
        failure: why it was copied although it was to be registered; what that could not clean up is in its `leftovers`.
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

    Whoever is killed in the middle leaves what the next call with the same image finds: a clone that Glance has taken
    ends that call, any other is deleted before it begins anew.  Two calls for one image must not run at the same time.

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
        limits: how fast a copy may go, and what ends it.

    Raises:
        RequestRefused: the image is not queued, or is neither raw nor bare; or the volume is encrypted.
        InUse: the volume is in use.
        ResourceNotFound: there is no such image, or no such volume; what an earlier call has left for an image that
            was deleted meanwhile is named in `leftovers`.
        DeadlineExceeded: Glance is still at work on the image for somebody else, or since an earlier call.
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
        if _has_taken(image, clone) and clone.metadata[_CLONE_OF] == volume_id:
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
    """Clone, mark, register: the clone is marked by the same request that makes it."""
    image, images, volumes, plan = upload.image, upload.images, upload.volumes, upload.plan
    if plan.project_id != volumes.project_id:
        raise RequestRefused(
            f"the clone is to belong to project {plan.project_id}, and these credentials make volumes in "
            f"{volumes.project_id}"
        )
    name = _name(image.id)
    marks = {
        key: value for step in plan.steps if step.action is UploadAction.MARK for key, value in step.metadata.items()
    }

    metadata = {**marks, **origin("upload", image.id).to_volume(), _CLONE_OF: upload.volume.id}

    def discard() -> None:
        _discard(_remains(image.id, volumes), image, volumes)

    with undone_on_failure(f"a volume named {name}, if Cinder has made one", discard):
        clone = volumes.clone(upload.volume.id, name=name, metadata=metadata)
    asked = False

    def withdraw() -> None:
        with suppress(ResourceNotFound):  # the image was there before, and is deleted
            if asked and _has_taken(images.wait(image.id), clone):
                return
        delete_volume(volumes, clone.id)

    with undone_on_failure(f"volume {clone.id}", withdraw):
        clone = replace(volumes.wait(clone.id), readonly=True)
        volumes.set_readonly(clone.id, readonly=True)
        volumes.set_metadata(clone.id, FINISHED)
        clone = replace(clone, metadata={**clone.metadata, **FINISHED})
        _expect_queued(images.wait(image.id))  # nothing is asked yet of a Glance that has gone away meanwhile
        asked = True
        active = images.add_location(image.id, plan.location(clone.id), store=plan.store, digest=None)
    return UploadedVolume(image=active, image_volume=clone, plan=plan)


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
    return [volume for volume in volumes.named(_name(image_id)) if _CLONE_OF in volume.metadata]


def _has_taken(image: Image, clone: Volume) -> bool:
    return image.status != "queued" and may_live_in(image, clone.id)


def _discard(remains: list[Volume], image: Image, volumes: VolumeService) -> None:
    """Delete those that the image does not live in."""
    for volume in remains:
        if not _has_taken(image, volume):
            with released(f"volume {volume.id}", partial(delete_volume, volumes, volume.id)):
                pass


def _expect_queued(image: Image) -> None:
    if image.status != "queued":
        raise RequestRefused(f"image {image.id} is '{image.status}', and takes data while it is 'queued'")
