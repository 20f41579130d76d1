"""What users have now: the code of glance_store and Cinder itself, with no service behind it.

A volume is the device of the measurement, and is there already. What the services do around a transfer costs nothing
here; what os-brick does when a volume is detached, to flush it, is done for both sides.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.storage import Image

cinder_store = import_module("glance_store._drivers.cinder.store")
CONTEXT = SimpleNamespace(project_id="p", tenant="p", user_id="u")


class GlanceStore(cinder_store.Store):  # type: ignore[misc, name-defined]
    """glance_store's cinder driver, whose volumes are all the same device."""

    def __init__(self, path: Path) -> None:
        self.store_conf = SimpleNamespace(cinder_volume_type=None, cinder_do_extend_attached=False)
        self.backend_group = None
        self._capabilities = -1
        self._path = path
        self.volume_api = SimpleNamespace(create=lambda _, size_gb, **__: Volume(size_gb))

    def get_cinderclient(self, *_: Any, **__: Any) -> Any:
        return None

    def _check_context(self, *_: Any, **__: Any) -> None:
        """It is allowed."""

    def _wait_volume_status(self, volume: Any, *_: Any) -> Any:
        return volume

    @contextmanager
    def _open_cinder_volume(self, _client: Any, _volume: Any, mode: str) -> Iterator[Any]:
        with self._path.open(mode) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    def put(self, image: Image) -> None:
        """Store an image as Glance lets it."""
        self.add("i", image.file(), image.size_bytes, "sha512", context=CONTEXT)

    def chunks(self, size_bytes: int) -> Iterator[bytes]:
        """Read an image as Glance does."""
        yield from self._cinder_volume_data_iterator(None, Volume(1), size_bytes)


class Volume(SimpleNamespace):
    """What glance_store is told of a volume."""

    def __init__(self, size_gib: int) -> None:
        super().__init__(id="v", size=size_gib, metadata={})

    def update_readonly_flag(self, *_: object) -> None:
        """It may."""


class Cinder:
    """Cinder's way from an image to a volume: a temporary file, an inspection, and `qemu-img convert`."""

    def __init__(self, directory: Path) -> None:
        import_module("cinder.objects").register_all()
        configuration = import_module("oslo_config.cfg").CONF
        self._image_utils = import_module("cinder.image.image_utils")
        configuration([], project="cinder", default_config_files=[])
        configuration.set_override("image_conversion_dir", str(directory))
        import_module("cinder.privsep").sys_admin_pctxt.set_client_mode(False)

    def fetch(self, image: Path, device: Path, *, disk_format: str, size_gib: int) -> None:
        """Let `fetch_to_volume_format` put an image file, as Glance would send it, into a device."""
        self._image_utils.fetch_to_volume_format(
            CONTEXT, GlanceOfFile(image, disk_format), "i", str(device), "raw", "1M", size=size_gib
        )


class GlanceOfFile:
    """Cinder's image service, whose images come out of a file and are checked as glanceclient does."""

    def __init__(self, image: Path, disk_format: str) -> None:
        self.temp_images = None  # of images that were fetched before
        self._image = image
        self._format = disk_format

    def show(self, *_: object) -> dict[str, Any]:
        return {"disk_format": self._format, "container_format": "bare", "size": self._image.stat().st_size}

    def download(self, _context: object, _image_id: str, data: Any) -> None:
        digest = hashlib.sha512()
        with self._image.open("rb") as file:
            while chunk := file.read(1 << 20):  # as glanceclient does
                digest.update(chunk)
                data.write(chunk)
