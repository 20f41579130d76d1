"""What a worker does for each kind of transfer, on ports whose calls may go wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import attrs

from imagevol_adapters.attributes import ImageAttributes
from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.engine import read_device
from imagevol_adapters.gathering.store_copies import StoreCopyGathering
from imagevol_adapters.glance.store_copies import GlanceStoreCopies
from imagevol_adapters.ports import AccessMode, Attacher
from imagevol_adapters.relocating import State
from imagevol_adapters.store_copies import CopyEntry, CopyJournal, StoreCopies, chosen_images, plan_copies
from imagevol_adapters.store_copies.reading import VolumeReader
from imagevol_adapters.transfers import attached, open_image_volume, register_clone, register_image
from imagevol_adapters.transfers.attaching import delete_volume
from imagevol_adapters.transfers.creating import answered, answered_image
from imagevol_core import Image, ServiceFailed, StoreCatalogue, UploadSettings, Volume, gib_for, parse_location
from imagevol_core.store_copies import VerifyWish
from tests.faults.load.plan import Data, Job, Source

__all__ = ["Made", "Ports", "WrongData", "done", "held"]


class WrongData(Exception):
    """A transfer gave other bytes than those that were put in, and no error."""


@attrs.frozen(kw_only=True)
class Ports:
    """Services and host of one worker.

    Attributes:
        copies: Glance as `cp` asks it.
        volume_type: of the store `fast`.
        to_store: where `cp` copies to.
    """

    volumes: Any
    images: Any
    attacher: Attacher
    catalogue: Callable[[], StoreCatalogue]
    volume_type: str
    to_store: str = "slow"
    copies: Any = None


@attrs.frozen(kw_only=True)
class Made:
    """What a transfer leaves on purpose, by the data that each must have."""

    images: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()


def done(job: Job, ports: Ports, source: Source | None, *, tag: str) -> Made:
    """Carry out one transfer.

    Args:
        job: which.
        ports: of the worker.
        source: what it reads.
        tag: tells this try of the transfer from every other one.

    Raises:
        WrongData: it gave other bytes.
        ImagevolError: it failed; what it left is named.
    """
    return _KINDS[job.kind](job, ports, source, f"load-{tag}")


def held(image: Image, size_bytes: int, ports: Ports) -> str:
    """Give the sha512 of the first bytes that an image's volumes hold: one, if all of them hold the same."""
    found = set()
    for location in image.locations:
        if location.url.startswith("cinder://"):
            volume_id = parse_location(location.url).volume_id
            with open_image_volume(
                volume_id, volumes=ports.volumes, attacher=ports.attacher, image=image, length=size_bytes, verify=False
            ) as content:
                found.add(_sha512(content.parts))
    return ", ".join(sorted(found))


def _sha512(parts: Iterable[bytes]) -> str:
    made = hashlib.sha512()
    for part in parts:
        made.update(part)
    return made.hexdigest()


def _expect(job: Job, parts: Iterable[bytes]) -> None:
    if _sha512(parts) != job.data.sha512():
        raise WrongData(f"transfer {job.number}, {job.kind}: the digest is wrong")


def _registered(job: Job, ports: Ports, name: str) -> Image:
    known = job.number % 3  # of every third transfer, the length is not known beforehand
    image, _ = register_image(
        job.data.pieces(),
        name=name,
        size_bytes=job.data.size_bytes if known else None,
        images=ports.images,
        volumes=ports.volumes,
        attacher=ports.attacher,
        store="fast",
        volume_type=ports.volume_type,
    )
    return image


def _put(job: Job, ports: Ports, _: Source | None, name: str) -> Made:
    return Made(images=(_registered(job, ports, name).id,))


def _queued(ports: Ports, name: str) -> Image:
    marks = {"load_try": name}  # by which it is found if the answer is lost
    ask = partial(ports.images.create, name=name, disk_format="raw", attributes=ImageAttributes(properties=marks))
    return answered_image(ask, images=ports.images, name=name, marks=marks)


def _upload(job: Job, ports: Ports, _: Source | None, name: str) -> Made:
    image = _queued(ports, name)
    with undone_on_failure(f"image {image.id}", partial(ports.images.delete, image.id)):
        ports.images.upload(image.id, job.data.pieces(), size_bytes=job.data.size_bytes, store="fast")
    return Made(images=(image.id,))


def _get(job: Job, ports: Ports, source: Source, _: str) -> Made:
    image = ports.images.get(source.image_id)
    with open_image_volume(source.volume_id, volumes=ports.volumes, attacher=ports.attacher, image=image) as content:
        _expect(job, content.parts)
    return Made()


def _download(job: Job, ports: Ports, source: Source, _: str) -> Made:
    _expect(job, ports.images.read(source.image_id))
    return Made()


def _of_image(job: Job, ports: Ports, source: Source, name: str, undo: ExitStack) -> Volume:
    """A volume from an image, as a user asks Cinder for it, and what it holds."""
    ask = partial(
        ports.volumes.create,
        size_gib=gib_for(job.data.size_bytes),
        name=name,
        volume_type=ports.volume_type,
        image_id=source.image_id,
    )
    volume = answered(ask, volumes=ports.volumes, name=name, metadata={})
    undo.enter_context(undone_on_failure(f"volume {volume.id}", partial(delete_volume, ports.volumes, volume.id)))
    ports.volumes.wait(volume.id)
    with attached(volume.id, mode=AccessMode.READ, volumes=ports.volumes, attacher=ports.attacher) as device:
        _expect(job, read_device(device, length=job.data.size_bytes))
    return volume


def _volume(job: Job, ports: Ports, source: Source, name: str) -> Made:
    with ExitStack() as undo:
        return Made(volumes=(_of_image(job, ports, source, name, undo).id,))


def _clone(job: Job, ports: Ports, source: Source, name: str) -> Made:
    with ExitStack() as undo:
        volume = _of_image(job, ports, source, name, undo)
        image = _queued(ports, name)
        undo.enter_context(undone_on_failure(f"image {image.id}", partial(ports.images.delete, image.id)))
        register_clone(
            volume.id,
            image_id=image.id,
            images=ports.images,
            volumes=ports.volumes,
            attacher=ports.attacher,
            settings=UploadSettings(use_cinder_backend=True),
        )
        return Made(images=(image.id,), volumes=(volume.id,))


def _cp(job: Job, ports: Ports, _: Source | None, name: str) -> Made:
    image = _registered(job, ports, name)
    copies = ports.copies or GlanceStoreCopies(ports.images)
    with undone_on_failure(f"image {image.id}", partial(ports.images.delete, image.id)):
        gathering = StoreCopyGathering(images=copies, volumes=ports.volumes, catalogue=ports.catalogue())
        chosen = chosen_images(copies, [image.id], from_store=None)
        planned = plan_copies(chosen, gathering=gathering, to_store=ports.to_store, wish=VerifyWish.AUTO)
        entries = [CopyEntry.of(plan, stores=placed.stores, wish=VerifyWish.AUTO) for placed, plan in planned]
        with CopyJournal.create(None, cloud="load", entries=entries) as journal:
            carried_out = StoreCopies(
                journal=journal,
                images=copies,
                volumes=ports.volumes,
                gathering=gathering,
                read=VolumeReader(volumes=ports.volumes, attacher=lambda: ports.attacher),
            )
            with carried_out.without_successor():
                (outcome,) = carried_out.apply()
        if outcome.state is not State.DONE:
            raise ServiceFailed(f"copy of image {image.id}: {outcome.reason}")
    return Made(images=(image.id,))


_KINDS: Mapping[str, Callable[..., Made]] = {
    "put": _put,
    "upload": _upload,
    "get": _get,
    "download": _download,
    "volume": _volume,
    "clone": _clone,
    "cp": _cp,
}


def source_of(image: Image, data: Data) -> Source:
    """Give an image that was stored as one that transfers read."""
    return Source(image.id, parse_location(image.locations[0].url).volume_id, data)
