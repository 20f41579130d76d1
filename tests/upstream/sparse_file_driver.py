"""A Cinder driver on sparse files, which needs neither reflinks nor root; and what may be wrong with one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cinder.volume import driver
from oslo_config import cfg

from imagevol_adapters.devices import PathDevice, PlainDevice
from imagevol_adapters.driver import ImageCloneMixin
from imagevol_adapters.ports import Device
from imagevol_core import GIB

OPTIONS = [cfg.StrOpt("sparsefile_directory", help="Directory of the volumes' files")]


class SparseFileDriver(driver.VolumeDriver):
    """Volumes as sparse files, whose clones are copies."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)

    @property
    def directory(self) -> str:
        directory: str = self.configuration.sparsefile_directory
        return directory

    def path(self, volume: Any) -> Path:
        return Path(self.directory, volume.name)

    def check_for_setup_error(self) -> None:
        """There is nothing that could be wrong."""

    def create_volume(self, volume: Any) -> dict[str, Any] | None:
        with self.path(volume).open("xb") as file:
            file.truncate(volume.size * GIB)
        return None

    def delete_volume(self, volume: Any) -> None:
        self.path(volume).unlink(missing_ok=True)

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> dict[str, Any] | None:
        self.create_volume(volume)
        subprocess.run(["cp", "--sparse=always", self.path(src_vref), self.path(volume)], check=True)
        os.truncate(self.path(volume), volume.size * GIB)
        return None


class TemplatingFileDriver(ImageCloneMixin, SparseFileDriver):
    """The same with clones and templates; its volumes are opened as the files that they are."""

    @contextmanager
    def imagevol_open_volume(self, context: Any, volume: Any, *, writable: bool) -> Iterator[Device]:
        with PathDevice.open(self.path(volume), writable=writable) as device:
            yield device


class UsedStorage(TemplatingFileDriver):
    """New volumes hold what others have left there, which is no defect."""

    def create_volume(self, volume: Any) -> None:
        super().create_volume(volume)
        with self.path(volume).open("r+b") as file:
            for gib in range(volume.size):
                file.seek(gib * GIB + GIB // 2)
                file.write(b"somebody else's")


class WithoutAPath(PlainDevice):
    """The file of a volume, by a handle."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @property
    def size_bytes(self) -> int:
        return os.fstat(self.fd).st_size

    def readinto(self, offset: int, buffer: memoryview) -> int:
        return os.preadv(self.fd, [buffer], offset)

    def write(self, offset: int, data: memoryview) -> int:
        return os.pwrite(self.fd, data, offset)

    def flush(self) -> None:
        os.fsync(self.fd)


class DeviceOfItsOwn(UsedStorage):
    """Opens its volumes by handles, which no other program can."""

    @contextmanager
    def imagevol_open_volume(self, context: Any, volume: Any, *, writable: bool) -> Iterator[Device]:
        fd = os.open(self.path(volume), os.O_RDWR)
        try:
            yield WithoutAPath(fd)
        finally:
            os.close(fd)


# Defects, which the conformance suite must find.


class BehindTheBase(SparseFileDriver, ImageCloneMixin):
    """Inherits the mixin where Cinder's base class comes first."""

    imagevol_open_volume = TemplatingFileDriver.imagevol_open_volume


class OptionsOfItsOwn(TemplatingFileDriver):
    """Publishes its options and forgets those of the mixin."""

    @staticmethod
    def get_driver_options() -> list[cfg.Opt]:
        return list(OPTIONS)


class Raising(TemplatingFileDriver):
    """Looks at the location before the mixin does."""

    def clone_image(self, context: Any, volume: Any, image_location: Any, image_meta: Any, image_service: Any) -> Any:
        image_location[0].partition(":")
        return super().clone_image(context, volume, image_location, image_meta, image_service)


class OldStyle(TemplatingFileDriver):
    """Answers whether it cloned, as drivers did once."""

    def clone_image(self, *request: Any) -> Any:
        return super().clone_image(*request)[1]


class NeverExtends(TemplatingFileDriver):
    """A clone is as large as what it is a clone of."""

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> None:
        super().create_cloned_volume(volume, src_vref)
        os.truncate(self.path(volume), src_vref.size * GIB)


class SharedStorage(TemplatingFileDriver):
    """A clone is the same storage by another name."""

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> None:
        os.link(self.path(src_vref), self.path(volume))
        os.truncate(self.path(volume), max(volume.size, src_vref.size) * GIB)


class KeepsHalfClones(TemplatingFileDriver):
    """Deletes what it knows to be whole, and leaves the rest."""

    def delete_volume(self, volume: Any) -> None:
        if volume.status != "creating":
            super().delete_volume(volume)


class LosesWrites(TemplatingFileDriver):
    """What is written to a volume never reaches the storage."""

    @contextmanager
    def imagevol_open_volume(self, context: Any, volume: Any, *, writable: bool) -> Iterator[Device]:
        path = self.path(volume)
        copy = path.with_name("copy")
        subprocess.run(["cp", "--sparse=always", path, copy], check=True)
        try:
            with PathDevice.open(copy, writable=writable) as device:
                yield device
        finally:
            copy.unlink()
