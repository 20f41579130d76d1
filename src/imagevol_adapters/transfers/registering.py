"""Data that becomes an image of Glance without going through Glance."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import attrs

from imagevol_adapters.attributes import ImageAttributes
from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.closing import closed_on_failure
from imagevol_adapters.engine import Limits, Progress, Source
from imagevol_adapters.lost_answers import only_once
from imagevol_adapters.ports import Attacher, Converter, ImageService, VolumeService
from imagevol_adapters.processes import origin
from imagevol_adapters.transfers.attaching import delete_volume
from imagevol_adapters.transfers.creating import answered_image
from imagevol_adapters.transfers.storing import StoredImage, StoreSettings, store_image, store_image_file
from imagevol_core import (
    AccessDenied,
    CinderLocation,
    Digest,
    Image,
    RequestRefused,
    ResourceNotFound,
    is_store_name,
    needs_conversion,
)

__all__ = ["register_image", "register_image_file"]

_NO_DATA = "image {} has no data, and Glance takes no location for that"


def register_image(
    source: Source,
    *,
    name: str,
    size_bytes: int | None,
    images: ImageService,
    volumes: VolumeService,
    attacher: Attacher,
    disk_format: str = "raw",
    store: str | None = None,
    volume_type: str | None = None,
    owner: str | None = None,
    visibility: str | None = None,
    attributes: ImageAttributes | None = None,
    digest: Digest | None = None,
    settings: StoreSettings | None = None,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> tuple[Image, StoredImage]:
    """Store data in a new volume and make them an image of Glance, without sending them through Glance.

    Args:
        source: the data, in pieces of any length, and holes; closed at the end, if it can be closed.
        name: of the image.
        size_bytes: how many bytes there are; None if that is not known.
        images: where the image is made.
        volumes: where the volume is made.
        attacher: connects the volume to this host.
        disk_format: the format of the data: `raw` or `iso`.
        store: the store that the location names; None if Glance has a single store without a name.
        volume_type: the type of the volume, which must be that of the store.
        owner: the project that owns the image; None for the project of the credentials.
        visibility: the visibility of the image; None for Glance's default.
        attributes: all other attributes of the image; None for Glance's defaults.
        digest: the digest that the data must have; None to compare nothing.
        settings: how the image is stored; None to do as Glance does.
        progress: called with a `TransferProgress`, again and again.
        limits: how fast the transfer can go, and what ends it.

    Raises:
        RequestRefused: `store` cannot be the name of one, or there is not one byte, which Glance takes no location for.
        ImagevolError: what `store_image` and the ports raise; in each case image and volume are gone, or named in
            `leftovers`.
    """

    def stored(image: Image) -> StoredImage:
        return store_image(
            source,
            image_id=image.id,
            image_owner=image.owner,
            size_bytes=size_bytes,
            volumes=volumes,
            attacher=attacher,
            declared_format=disk_format,
            digest=digest,
            volume_type=volume_type,
            settings=settings,
            progress=progress,
            limits=limits,
            made_by=origin("register", image.id),
        )

    with closed_on_failure(source):
        if size_bytes == 0:
            raise RequestRefused(_NO_DATA.format(name))
        if needs_conversion(disk_format):
            raise RequestRefused(f"image {name} is {disk_format}: give its file to register_image_file")
        return _registered(
            stored,
            name=name,
            disk_format=disk_format,
            images=images,
            volumes=volumes,
            store=store,
            owner=owner,
            visibility=visibility,
            attributes=attributes or ImageAttributes(),
        )


def register_image_file(
    path: Path,
    *,
    disk_format: str,
    name: str,
    images: ImageService,
    volumes: VolumeService,
    attacher: Attacher,
    converter: Converter,
    store: str | None = None,
    volume_type: str | None = None,
    owner: str | None = None,
    visibility: str | None = None,
    attributes: ImageAttributes | None = None,
    digest: Digest | None = None,
    settings: StoreSettings | None = None,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> tuple[Image, StoredImage]:
    """Store an image file of any format in a new volume and make it an image of Glance: an ISO, or raw.

    Args:
        path: the path of the file.
        disk_format: the format that the file must have, in Glance's words.
        name: of the image.
        images: where the image is made.
        volumes: where the volume is made.
        attacher: connects the volume to this host.
        converter: inspects and converts the file.
        store: the store that the location names; None if Glance has a single store without a name.
        volume_type: the type of the volume, which must be that of the store.
        owner: the project that owns the image; None for the project of the credentials.
        visibility: the visibility of the image; None for Glance's default.
        attributes: all other attributes of the image; None for Glance's defaults.
        digest: the digest that the file must have; None to compare nothing.
        settings: how the image is stored; None to do as Glance does.
        progress: called with a `TransferProgress`, again and again.
        limits: how fast the transfer can go, and what ends it.

    Raises:
        ImagevolError: what `store_image_file` and `register_image` raise.
    """

    def stored(image: Image) -> StoredImage:
        return store_image_file(
            path,
            disk_format=disk_format,
            image_id=image.id,
            image_owner=image.owner,
            volumes=volumes,
            attacher=attacher,
            converter=converter,
            digest=digest,
            volume_type=volume_type,
            settings=settings,
            progress=progress,
            limits=limits,
            made_by=origin("register", image.id),
        )

    return _registered(
        stored,
        name=name,
        disk_format="raw" if needs_conversion(disk_format) else disk_format,
        images=images,
        volumes=volumes,
        store=store,
        owner=owner,
        visibility=visibility,
        attributes=attributes or ImageAttributes(),
    )


def _registered(
    stored: Callable[[Image], StoredImage],
    *,
    name: str,
    disk_format: str,
    images: ImageService,
    volumes: VolumeService,
    store: str | None,
    owner: str | None,
    visibility: str | None,
    attributes: ImageAttributes,
) -> tuple[Image, StoredImage]:
    """Create an image, store its data, and tell Glance where the data is.

    Until then the image has properties that name this process, so that it is found if the process is killed.
    """
    if store is not None and not is_store_name(store):
        raise RequestRefused(f"{store!r} is not the name of a store: see `openstack image stores info`")
    with ExitStack() as undo:
        marks = {**origin("register", None).to_volume(), **only_once()}
        create = partial(images.create, name=name, disk_format=disk_format, owner=owner, visibility=visibility)
        marked = attrs.evolve(attributes, properties={**attributes.properties, **marks})
        try:
            image = answered_image(partial(create, attributes=marked), images=images, name=name, marks=marks)
        except AccessDenied:  # the property protections of Glance may allow only known properties
            image = answered_image(partial(create, attributes=attributes), images=images, name=name, marks=None)
        undo.enter_context(undone_on_failure(f"image {image.id}", lambda: _delete_image(images, image.id)))
        kept = stored(image)
        volume_id = kept.volume.id
        asked = False

        def withdraw() -> None:
            if asked:  # of an image that Glance may have made active, the data goes last
                _delete_image(images, image.id)
            delete_volume(volumes, volume_id)

        undo.enter_context(undone_on_failure(f"volume {volume_id}", withdraw))
        if not kept.record.size_bytes:
            raise RequestRefused(_NO_DATA.format(name))
        location = CinderLocation(store=store, volume_id=volume_id)
        asked = True
        images.add_location(image.id, str(location), store=store, digest=kept.record.digest)
        registered = images.unset_properties(image.id, list(marks))
        if attributes.protected:  # last, because a protected image cannot be deleted if a step fails
            images.protect(image.id, protected=True)
        return registered, kept


def _delete_image(images: ImageService, image_id: str) -> None:
    with suppress(ResourceNotFound):
        images.delete(image_id)
