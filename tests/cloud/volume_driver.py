"""A Cinder volume driver on sparse files, for machines that have neither SCSI nor device-mapper.

A volume is a file on a file system with reflinks, so clones and snapshots share their blocks and
take no time. A connected volume is a loop device on that file (os-brick's LOCAL protocol): a device
and not the file itself, because glance_store opens what it is given with `wb`, which would truncate
a file.
"""

import logging
import os
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from castellan import key_manager
from cinder import coordination, exception
from cinder.image import image_utils
from cinder.objects.snapshot import Snapshot
from cinder.objects.volume import Volume
from cinder.volume import configuration, driver, volume_utils
from oslo_config import cfg

from imagevol_adapters.driver import ImageCloneMixin
from tests.cloud.settings import CLONE_SECONDS

LOG = logging.getLogger(__name__)
GIB = 1 << 30
# Between finding a free loop device and taking it, another process may have taken it.
LOOP_ATTEMPTS = 5

OPTIONS = [
    cfg.StrOpt("reflinkfile_directory", help="Directory of the volumes' files"),
    cfg.IntOpt("reflinkfile_capacity_gb", default=100, help="Sum of sizes that fits, in GiB"),
]
cfg.CONF.register_opts(OPTIONS, group=configuration.SHARED_CONF_GROUP)


class ReflinkFileDriver(driver.VolumeDriver):
    """Volumes as reflinked files, connected as loop devices of the same host."""

    VERSION = "1.0"
    CI_WIKI_NAME = "None"
    # Whatever one process must know of another is in the directory, and is changed under Cinder's lock.
    SUPPORTS_ACTIVE_ACTIVE = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)
        self._directory = Path(self.configuration.reflinkfile_directory)
        self._capacity_gib: int = self.configuration.reflinkfile_capacity_gb

    def do_setup(self, context: object) -> None:
        self._directory.mkdir(exist_ok=True)

    def check_for_setup_error(self) -> None:
        """Fail at start, not at the first clone, where the file system cannot clone."""
        source, target = self._directory / ".source", self._directory / ".target"
        with self._locked():
            source.write_bytes(b"reflink")
            try:
                _reflink(source, target)
            finally:
                source.unlink()
                target.unlink(missing_ok=True)

    # Volumes and snapshots

    def create_volume(self, volume: Volume) -> None:
        self._admit(volume.size)
        with self._path(volume).open("xb") as file:
            file.truncate(volume.size * GIB)

    def delete_volume(self, volume: Volume) -> None:
        self._delete(self._path(volume))

    def create_cloned_volume(self, volume: Volume, src_vref: Volume) -> None:
        """Take as many seconds as a file in the directory says, as an array may, but no longer than it is there."""
        started, slow = time.monotonic(), self._directory / CLONE_SECONDS
        with suppress(FileNotFoundError):
            while time.monotonic() - started < float(slow.read_text()):
                time.sleep(0.1)
        self._clone(self._path(src_vref), self._path(volume), volume.size)

    def create_snapshot(self, snapshot: Snapshot) -> None:
        self._clone(self._path(snapshot.volume), self._path(snapshot), snapshot.volume_size)

    def delete_snapshot(self, snapshot: Snapshot) -> None:
        self._delete(self._path(snapshot))

    def create_volume_from_snapshot(self, volume: Volume, snapshot: Snapshot) -> None:
        self._clone(self._path(snapshot), self._path(volume), volume.size)

    def extend_volume(self, volume: Volume, new_size: int) -> None:
        path = self._path(volume)
        self._admit(new_size - volume.size)
        os.truncate(path, new_size * GIB)
        for device in _loop_devices(path):
            _run("losetup", "--set-capacity", device)

    def copy_image_to_encrypted_volume(
        self, context: Any, volume: Volume, image_service: Any, image_id: str, disable_sparse: bool = False
    ) -> None:
        """Write the image as LUKS; Cinder's own way would open the volume by device-mapper.

        cryptsetup formats it, because qemu-img fails where it cannot measure how fast the processor is.
        """
        encryption = volume_utils.check_encryption_provider(volume, context)
        key = key_manager.API(cfg.CONF).get(context, encryption["encryption_key_id"])
        path = str(self._path(volume))
        with tempfile.TemporaryDirectory(dir=volume_utils.image_conversion_dir()) as directory:
            raw, secret = f"{directory}/raw", f"{directory}/secret"
            image_utils.fetch_to_raw(context, image_service, image_id, raw, "1M", size=volume.size)
            Path(secret).write_text(key.get_encoded().hex())
            luks = ("--type", "luks1", "--pbkdf-force-iterations", "1000", "--cipher", encryption["cipher"])
            _run("cryptsetup", "luksFormat", "--batch-mode", *luks, "--key-file", secret, path)
            target = ("--target-image-opts", raw, f"driver=luks,file.filename={path},key-secret=key")
            _run("qemu-img", "convert", "-n", "-f", "raw", "--object", f"secret,id=key,file={secret}", *target)

    def local_path(self, volume: Volume) -> str:
        return str(self._path(volume))

    # Connections

    def initialize_connection(self, volume: Volume, connector: object, **_: object) -> dict[str, Any]:
        path = self._path(volume)
        with self._locked():
            devices = _loop_devices(path) or [_attach_loop_device(path)]
            self._count(path, +1)
        return {
            "driver_volume_type": "local",
            "data": {"device_path": devices[0], "volume_id": volume.id},
        }

    def terminate_connection(self, volume: Volume, connector: object, **_: object) -> bool:
        """Whether others are still connected. No connector means all of them."""
        path = self._path(volume)
        with self._locked():
            if self._count(path, -1) > 0 and connector is not None:
                return True
            self._disconnect(path)
            return False

    def ensure_export(self, context: object, volume: Volume) -> None:
        """Nothing to do: a connection is all there is."""

    def create_export(self, context: object, volume: Volume, connector: object) -> None:
        """Nothing to do: a connection is all there is."""

    def remove_export(self, context: object, volume: Volume) -> None:
        """Nothing to do: a connection is all there is."""

    # Capacity

    def _update_volume_stats(self) -> None:
        allocated = self._allocated_gib()
        self._stats = {
            "volume_backend_name": self.configuration.volume_backend_name,
            "vendor_name": "imagevol",
            "driver_version": self.VERSION,
            "storage_protocol": "local",
            "total_capacity_gb": self._capacity_gib,
            "free_capacity_gb": self._capacity_gib - allocated,
            "allocated_capacity_gb": allocated,
            "reserved_percentage": 0,
            "multiattach": True,
            # A new file reads as zeros, so an image's zeros need not be written.
            "sparse_copy_volume": True,
        }

    def _allocated_gib(self) -> int:
        # Sizes as promised, not as used: a backend on sparse files is full when it has no more to
        # promise, and tests that fill one must not depend on what was written.
        sizes = (entry.stat().st_size for entry in os.scandir(self._directory))
        return sum(sizes) // GIB

    def _admit(self, size_gib: int) -> None:
        free = self._capacity_gib - self._allocated_gib()
        if size_gib > free:
            raise exception.VolumeBackendAPIException(
                data=f"{self._directory} is full: {size_gib} GiB are asked for, {free} GiB are free"
            )

    # Files

    def _path(self, stored: Volume | Snapshot) -> Path:
        return self._directory / stored.name

    def _clone(self, source: Path, target: Path, size_gib: int) -> None:
        self._admit(size_gib)
        LOG.info("reflink clone %s -> %s", source, target)
        try:
            _reflink(source, target)
            os.truncate(target, size_gib * GIB)
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def _delete(self, path: Path) -> None:
        with self._locked():
            self._disconnect(path)
        path.unlink(missing_ok=True)

    def _count(self, path: Path, change: int) -> int:
        """How many connections a volume's file has after this one; the loop device goes with the last."""
        counted = _connections(path)
        number = int(counted.read_text()) if counted.exists() else 0
        counted.write_text(str(number + change))
        return number + change

    def _locked(self) -> Any:
        return coordination.COORDINATOR.get_lock(f"reflinkfile-{self._directory.name}")

    def _disconnect(self, path: Path) -> None:
        _connections(path).unlink(missing_ok=True)
        for device in _loop_devices(path):
            # What is in the device's page cache must be in the file before that is cloned.
            _run("blockdev", "--flushbufs", device)
            _run("losetup", "--detach", device)


class CloningFileDriver(ImageCloneMixin, ReflinkFileDriver):
    """The same, which clones image volumes by the strict rules, and has templates."""


def _connections(path: Path) -> Path:
    return path.with_name(f".{path.name}.connections")


def _reflink(source: Path, target: Path) -> None:
    _run("cp", "--reflink=always", str(source), str(target))


def _loop_devices(path: Path) -> list[str]:
    return _run("losetup", "--noheadings", "--output=NAME", "--associated", str(path)).split()


def _attach_loop_device(path: Path) -> str:
    for _ in range(LOOP_ATTEMPTS - 1):
        try:
            return _run("losetup", "--find", "--show", str(path))
        except subprocess.CalledProcessError as error:
            LOG.warning("losetup: %s", error.stderr)
    return _run("losetup", "--find", "--show", str(path))


def _run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
