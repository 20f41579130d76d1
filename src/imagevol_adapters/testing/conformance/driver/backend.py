"""The driver that is tested, as Cinder would use it, and the fixtures that give it."""
# ruff: noqa: S101

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any, ClassVar

import attrs
import pytest
from cinder import exception
from cinder.volume import configuration, manager, rpcapi

from imagevol_adapters.driver.services import locks_of_cinder
from imagevol_adapters.ports import Device
from imagevol_adapters.testing.conformance.driver.offline import SECTION, SERVICE, OfflineCinder, OfflineImages
from imagevol_adapters.testing.conformance.fixtures import read, write
from imagevol_core import GIB, ImageVolumeMetadata

__all__ = ["DATA", "FELL_THROUGH", "Backend", "Content", "WithDriver"]

MIB = 1 << 20
# Zeros within, and an end that is nowhere aligned.
DATA = hashlib.shake_256(b"begin").digest(MIB) + bytes(2 * MIB) + hashlib.shake_256(b"end").digest(MIB + 77)
FELL_THROUGH = (None, False)


@attrs.frozen
class Content:
    """What is on a volume.

    Attributes:
        size_bytes: of the volume.
        begins: the sha512 of as much of it as an image has.
        zeros_behind: whether all the rest is zeros.
    """

    size_bytes: int
    begins: str
    zeros_behind: bool = True

    @classmethod
    def of(cls, data: bytes, *, size_gib: int = 1) -> Content:
        """Say what a volume must hold that was made from an image."""
        return cls(size_gib * GIB, hashlib.sha512(data).hexdigest())

    @classmethod
    def on(cls, device: Device, length: int) -> Content:
        """Say what is on a device, of which an image is the beginning."""
        begin, step = read(device, 0, length), bytes(MIB)
        rest = (
            read(device, at, min(MIB, end - at))
            for start, end, is_data in device.extents(length, device.size_bytes - length)
            if is_data
            for at in range(start, end, MIB)
        )
        zeros_behind = all(piece == step[: len(piece)] for piece in rest)
        return cls(device.size_bytes, hashlib.sha512(begin).hexdigest(), zeros_behind)


@attrs.frozen(kw_only=True)
class Backend:
    """A driver, and a Cinder that uses it.

    Attributes:
        driver: is set up.
        cinder: what there is of Cinder.
        images: Glance's.
        stored: names what the storage keeps.
    """

    driver: Any
    cinder: OfflineCinder
    images: OfflineImages
    stored: Callable[[], Collection[str]]

    def image_volume(self, image: Mapping[str, Any], *, size_gib: int = 1, **wishes: Any) -> Any:
        """Make a volume that holds an image, in the project of Glance's stores; the test must allow its clones."""
        record = ImageVolumeMetadata(image_id=image["id"], image_owner=image["owner"], size_bytes=image["size"])
        volume = self.cinder.volume(size_gib=size_gib, project_id=SERVICE, metadata=record.to_volume())
        self.put(volume, self.images.data[image["id"]])
        volume.update({"status": "available", **wishes})
        volume.save()
        return volume

    def put(self, volume: Any, data: bytes) -> None:
        """Make a volume on the storage, and write to it."""
        self._updated(volume, self.driver.create_volume(volume))
        with self.driver.imagevol_open_volume(self.cinder.admin, volume, writable=True) as device:
            write(device, 0, data)
            device.flush()

    def cloned(self, source: Any, **wishes: Any) -> Any:
        """Clone a volume by the driver alone, and save the driver's update in the record of the clone, as Cinder does.

        Args:
            source: the volume.
            wishes: values of the record of the clone.
        """
        volume = self.cinder.volume(**wishes)
        self._updated(volume, self.driver.create_cloned_volume(volume, source))
        return volume

    def allow_clones(self) -> None:
        """Let image volumes be cloned by the strict rules."""
        self.cinder.set("image_clone_direct_url_schemes", ["cinder"])
        self.cinder.set("image_clone_trusted_projects", [SERVICE])

    def clone_image(self, volume: Any, image: Any, location: Any = None) -> tuple[dict[str, Any] | None, bool]:
        """Ask the driver as Cinder does, and hold what it answers to the contract."""
        answer = self.driver.clone_image(self.cinder.requester(volume.project_id), volume, location, image, self.images)
        assert type(answer) is tuple
        update, cloned = answer
        assert type(cloned) is bool
        assert update is None or type(update) is dict
        return update, cloned

    def made(self, image: Mapping[str, Any], location: Any = None, **wishes: Any) -> Any:
        """Give a volume that the driver made from an image without Cinder's copy."""
        volume = self.cinder.volume(**wishes)
        update, cloned = self.clone_image(volume, image, location)
        assert cloned
        self._updated(volume, update)
        volume.update({"status": "available"})
        volume.save()
        return volume

    def falls_through(self, volume: Any, image: Any, location: Any = None) -> None:
        """Make sure that the driver leaves a volume to Cinder, that nothing is left, and that Cinder can go on."""
        before = self._everything(volume)
        assert self.clone_image(volume, image, location) == FELL_THROUGH
        assert self._everything(volume) == before
        self._updated(volume, self.driver.create_volume(volume))
        with self.driver.imagevol_open_volume(self.cinder.admin, volume, writable=False) as device:
            assert device.size_bytes == volume.size * GIB

    def content(self, volume: Any, length: int = len(DATA)) -> Content:
        """Say what is on a volume."""
        with self.driver.imagevol_open_volume(self.cinder.admin, volume, writable=False) as device:
            return Content.on(device, length)

    def remove_all(self) -> None:
        """Delete every volume, clones before what they are clones of."""
        for volume in sorted(self.cinder.volumes().values(), key=lambda each: each.created_at, reverse=True):
            with suppress(exception.CinderException):
                self.driver.delete_volume(volume)

    def _everything(self, volume: Any) -> tuple[Any, ...]:
        """What must be as before when nothing was done."""
        known = {each.id: (each.status, each.size, dict(each.metadata)) for each in self.cinder.volumes().values()}
        return known.keys(), known[volume.id], sorted(self.stored())

    @staticmethod
    def _updated(volume: Any, update: Mapping[str, Any] | None) -> None:
        volume.update(update or {})
        volume.save()


class WithDriver:
    """A driver that is set up for one test.

    Attributes:
        driver_class: of the driver.
        pool: one of the backend's, in which the volumes are made.
    """

    driver_class: ClassVar[Any]
    pool: ClassVar[str] = "pool"

    @pytest.fixture
    def backend_options(self) -> Mapping[str, object]:
        """What is in the backend's section, but for the options of the mixin; by default nothing."""
        return {}

    @pytest.fixture
    def stored(self) -> Callable[[], Collection[str]]:
        """Names what the storage keeps, so that what is left there is seen; by default nothing."""
        return tuple

    @pytest.fixture
    def cinder(self, tmp_path_factory: pytest.TempPathFactory, backend_options: Mapping[str, object]) -> Any:
        """What there is of Cinder."""
        with OfflineCinder.running(
            tmp_path_factory.mktemp("cinder"), options=backend_options, pool=self.pool
        ) as cinder:
            yield cinder

    @pytest.fixture
    def driver(self, cinder: OfflineCinder) -> Iterator[Any]:
        """The driver, as cinder-volume makes it."""
        driver = self.driver_class(
            configuration=configuration.Configuration(manager.volume_backend_opts, config_group=SECTION),
            host=cinder.host.partition("#")[0],
            cluster_name=None,
            is_vol_db_empty=True,
            active_backend_id=None,
        )
        driver.do_setup(cinder.admin)
        driver.check_for_setup_error()
        driver.set_initialized()
        try:
            yield driver
        finally:
            locks_of_cinder().close()
            locks_of_cinder.cache_clear()  # the next test has a lock service of its own

    @pytest.fixture
    def backend(
        self,
        driver: Any,
        cinder: OfflineCinder,
        stored: Callable[[], Collection[str]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> Iterator[Backend]:
        """The driver in use."""

        def delete(_api: object, _context: object, volume: Any, *_how: object) -> None:
            driver.delete_volume(volume)
            volume.destroy()

        monkeypatch.setattr(rpcapi.VolumeAPI, "delete_volume", delete)  # else a message to a service that is not there
        images = OfflineImages()
        services = attrs.evolve(driver.imagevol_services(), gives_data=images.gives_data, range_of=images.range_of)
        monkeypatch.setattr(driver, "imagevol_services", lambda: services)
        backend = Backend(driver=driver, cinder=cinder, images=images, stored=stored)
        try:
            yield backend
        finally:
            monkeypatch.undo()  # what a test has broken
            backend.remove_all()

    @pytest.fixture
    def templating(self, backend: Backend) -> Backend:
        """The driver, with templates."""
        backend.cinder.set("image_template_enabled", True)
        return backend
