"""Faults of a cloud, one for each rule of an audit: how each is made on real services, and what it is about."""

from __future__ import annotations

import mmap
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING, Any

from imagevol_adapters.ports import AccessMode
from imagevol_adapters.transfers import attached, store_image
from imagevol_core import HOLD, ResourceNotFound, VolumeOrigin

if TYPE_CHECKING:  # the test of the core that reads the table needs none of it
    from tests.cloud.users import User

__all__ = ["FAULTS", "Planted", "Site"]

_BLOCK = mmap.mmap(-1, 4096)  # which direct I/O can take
_BLOCK.write(b"old data" * 512)

Subjects = frozenset[tuple[str, str]]


@dataclass
class Site:
    """Where faults are planted.

    Attributes:
        service: the user of the stores, who is an administrator.
        make_template: makes an image that is in no volume, and a template of it, and gives their ids.
        run_sql: changes a row of a service's database.
    """

    service: User
    make_template: Callable[[], tuple[str, str]]
    run_sql: Callable[[str, str, tuple[Any, ...]], None]

    @property
    def directory(self) -> Path:
        """Where images are converted."""
        return Path(self.service.cloud.directory) / "conversion"

    @property
    def volumes(self) -> Any:
        """Cinder, as the stores ask it."""
        return self.service.real.volumes

    def image(self, data: bytes = b"the image" * 1000) -> tuple[str, str]:
        """An image that the store has made, and its volume."""
        image_id = self.service.image(data)
        volume_id = self.service.real.images.get(image_id).locations[0].url[-36:]
        self.service.undo.callback(self._delete, volume_id)
        return image_id, volume_id

    def volume(self, metadata: Mapping[str, str]) -> str:
        """A volume of the stores' project."""
        volume_id: str = self.volumes.create(size_gib=1, name="planted", volume_type="fast", metadata=metadata).id
        self.service.undo.callback(self._delete, volume_id)
        self.volumes.wait(volume_id)
        return volume_id

    def _delete(self, volume_id: str) -> None:
        try:
            self.volumes.delete(volume_id)
        except ResourceNotFound:
            return


@dataclass(frozen=True)
class Planted:
    """A fault that was planted.

    Attributes:
        subjects: what the finding names, as kind and id.
    """

    subjects: Subjects


def _about(*subjects: tuple[str, str]) -> Planted:
    return Planted(frozenset(subjects))


def _image_stuck(site: Site) -> Planted:
    image_id: str = site.service.glance.images.create(disk_format="raw", container_format="bare")["id"]
    site.service.undo.callback(site.service._forget, image_id)
    return _about(("image", image_id))


def _location_without_volume(site: Site) -> Planted:
    image_id, volume_id = site.image()
    site.volumes.delete(volume_id)
    return _about(("image", image_id), ("volume", volume_id))


def _owner_differs(site: Site) -> Planted:
    image_id, volume_id = site.image()
    site.volumes.set_metadata(volume_id, {"image_owner": "another project"})
    return _about(("image", image_id), ("volume", volume_id))


def _size_differs(site: Site) -> Planted:
    image_id, volume_id = site.image()
    site.volumes.set_metadata(volume_id, {"image_size": "5"})
    return _about(("image", image_id), ("volume", volume_id))


def _store_differs(site: Site) -> Planted:
    image_id, volume_id = site.image()
    url = f"cinder://slow/{volume_id}"
    site.run_sql("glance", "UPDATE image_locations SET value = %s WHERE image_id = %s", (url, image_id))
    return _about(("image", image_id), ("volume", volume_id))


def _content_differs(site: Site) -> Planted:
    image_id, volume_id = site.image()
    with _written(site, volume_id) as device:
        _write(device, 0)
    return _about(("image", image_id), ("volume", volume_id))


def _record_differs(site: Site) -> Planted:
    """A volume that no image names, as `imagevol put` makes one without `--register`."""
    real = site.service.real
    stored = store_image(
        [b"the image" * 1000],
        image_id=str(uuid.uuid4()),
        image_owner=None,
        size_bytes=9000,
        volumes=real.volumes,
        attacher=real.attacher,
        volume_type="fast",
    )
    site.service.undo.callback(site._delete, stored.volume.id)
    with _written(site, stored.volume.id) as device:
        _write(device, 0)
    return _about(("volume", stored.volume.id))


def _tail_not_zero(site: Site) -> Planted:
    _, volume_id = site.image()
    with _written(site, volume_id) as device:
        _write(device, device.size_bytes - len(_BLOCK))
    return _about(("volume", volume_id))


def _image_volume_without_image(site: Site) -> Planted:
    said = {"glance_image_id": str(uuid.uuid4()), "image_owner": "p", "image_size": "5"}
    return _about(("volume", site.volume(said)))


def _left_unfinished(site: Site) -> Planted:
    origin = VolumeOrigin(procedure="add", image_id=str(uuid.uuid4()))
    return _about(("volume", site.volume(origin.to_volume())))


def _not_read_only(site: Site) -> Planted:
    _, volume_id = site.image()
    site.volumes.set_readonly(volume_id, readonly=False)
    return _about(("volume", volume_id))


def _volume_in_two_images(site: Site) -> Planted:
    image_id, volume_id = site.image()
    other: str = site.service.glance.images.create(disk_format="raw", container_format="bare")["id"]
    site.service.undo.callback(site.service._forget, other)
    url = site.service.real.images.get(image_id).locations[0].url
    site.service.real.images.add_location(other, url, store="fast", digest=None)
    return _about(("volume", volume_id), ("image", image_id), ("image", other))


def _attachment_left_behind(site: Site) -> Planted:
    _, volume_id = site.image()
    attachment = site.volumes.reserve(volume_id, mode=AccessMode.READ)
    site.service.undo.callback(site.volumes.detach, attachment)
    return _about(("attachment", attachment.id), ("volume", volume_id))


def _cache_entry_without_volume(site: Site) -> Planted:
    """A row of Cinder's cache, which only its database shows: an audit from a program is given it."""
    volume_id, image_id = str(uuid.uuid4()), str(uuid.uuid4())
    site.run_sql(
        "cinder",
        "INSERT INTO image_volume_cache_entries (host, image_id, volume_id, size, last_used) "
        "VALUES (%s, %s, %s, 1, NOW())",
        ("rig@fast#fast", image_id, volume_id),
    )
    site.service.undo.callback(
        site.run_sql, "cinder", "DELETE FROM image_volume_cache_entries WHERE volume_id = %s", (volume_id,)
    )
    return _about(("cache-entry", volume_id))


def _template_stale(site: Site) -> Planted:
    image_id, volume_id = site.make_template()
    site.service.glance.images.delete(image_id)
    return _about(("volume", volume_id), ("image", image_id))


def _write(device: Any, offset: int) -> None:
    assert device.write(offset, memoryview(_BLOCK)) == len(_BLOCK)


@contextmanager
def _written(site: Site, volume_id: str) -> Iterator[Any]:
    site.volumes.set_readonly(volume_id, readonly=False)
    real = site.service.real
    with attached(volume_id, mode=AccessMode.WRITE, volumes=real.volumes, attacher=real.attacher) as device:
        yield device
        device.flush()
    site.volumes.set_readonly(volume_id, readonly=True)


def _hold_left(site: Site) -> Planted:
    _, volume_id = site.image()
    site.volumes.set_metadata(volume_id, {HOLD: str(uuid.uuid4())})
    return _about(("volume", volume_id))


def _temporary_file_left(site: Site) -> Planted:
    """What a cinder-volume that is killed leaves of an image that it converts."""
    site.directory.mkdir(exist_ok=True)
    left = site.directory / "imagevol-abcd1234.qcow2"
    left.write_bytes(b"a part of an image")
    site.service.undo.callback(left.unlink, missing_ok=True)
    return _about(("file", f"{gethostname()}:{left}"))


FAULTS: Mapping[str, Callable[[Site], Planted]] = {
    "image-stuck": _image_stuck,
    "location-without-volume": _location_without_volume,
    "owner-differs": _owner_differs,
    "size-differs": _size_differs,
    "store-differs": _store_differs,
    "content-differs": _content_differs,
    "record-differs": _record_differs,
    "tail-not-zero": _tail_not_zero,
    "image-volume-without-image": _image_volume_without_image,
    "left-unfinished": _left_unfinished,
    "not-read-only": _not_read_only,
    "volume-in-two-images": _volume_in_two_images,
    "attachment-left-behind": _attachment_left_behind,
    "cache-entry-without-volume": _cache_entry_without_volume,
    "template-stale": _template_stale,
    "hold-left": _hold_left,
    "temporary-file-left": _temporary_file_left,
}
"""For each rule of an audit, what breaks it; a test of the core holds that none is missing."""
