"""Users of a cloud who have images and make volumes of them, and what these hold."""

from __future__ import annotations

import io
import random
from contextlib import ExitStack, suppress
from typing import Any

from cinderclient.client import Client as CinderClient
from glanceclient.exc import HTTPNotFound
from glanceclient.v2.client import Client as GlanceClient

from imagevol_adapters.engine import read_device
from imagevol_adapters.ports import AccessMode
from imagevol_adapters.transfers import attached
from imagevol_core import ResourceNotFound
from tests.cloud.ports import Ports, ports, sign_in
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.settings import REGION

DATA = random.Random(11).randbytes(3 * (1 << 20) + 77)
PATIENCE_SECONDS = 60


class User:
    """A user of a cloud, whose things are gone afterwards."""

    def __init__(self, cloud: Cloud, name: str, undo: ExitStack) -> None:
        session = self.session = sign_in(cloud, name)
        self.cloud, self.name = cloud, name
        self.cinder: Any = CinderClient("3.60", session=session, region_name=REGION)
        self.glance: Any = GlanceClient(session=session, region_name=REGION)
        self.real = ports(cloud)
        self.undo = undo

    def image(self, data: bytes = DATA, *, store: str = "fast", disk_format: str = "raw") -> str:
        image_id: str = self.glance.images.create(disk_format=disk_format, container_format="bare")["id"]
        self.undo.callback(self._forget, image_id)
        self.glance.images.upload(image_id, io.BytesIO(data), image_size=len(data), backend=store)
        return image_id

    def _forget(self, image_id: str) -> None:
        with suppress(HTTPNotFound):  # the test has deleted it
            self.glance.images.delete(image_id)

    def volume(self, image_id: str, volume_type: str = "fast", *, size_gib: int = 1) -> Any:
        return self.settled(self.asked(image_id, volume_type, size_gib=size_gib))

    def asked(self, image_id: str, volume_type: str = "fast", *, size_gib: int = 1) -> Any:
        """A volume that Cinder has just been asked for."""
        volume = self.cinder.volumes.create(size_gib, volume_type=volume_type, imageRef=image_id)
        self.undo.callback(delete, self.real, volume.id)
        return volume

    def settled(self, volume: Any) -> Any:
        """The volume when Cinder is done with it, for better or worse."""
        for _ in ticks(PATIENCE_SECONDS):
            volume = self.cinder.volumes.get(volume.id)
            if volume.status in ("available", "error"):
                break
        return volume

    def said(self, volume: Any) -> str:
        """What the driver has logged of a volume."""
        logs = (self.cloud.directory / "log").glob("cinder*.log")
        lines = (line for log in logs for line in log.read_text(errors="replace").splitlines())
        return "\n".join(line for line in lines if "imagevol_adapters.driver" in line and volume.id in line)


def content(real: Ports, volume_id: str, length: int = len(DATA)) -> tuple[int, bytes]:
    """How large a volume is, and how it begins."""
    with attached(volume_id, mode=AccessMode.READ, volumes=real.volumes, attacher=real.attacher) as device:
        return device.size_bytes, b"".join(read_device(device, length=length))


def delete(real: Ports, volume_id: str) -> None:
    with suppress(ResourceNotFound):  # Glance deletes what it has a location of
        real.volumes.delete(volume_id)


def image_volume(user: User, image_id: str) -> str:
    """The volume that an image lives in."""
    (location,) = user.glance.images.get(image_id)["locations"]
    found: str = location["url"].rpartition("/")[2]
    return found
