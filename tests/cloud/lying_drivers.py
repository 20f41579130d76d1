"""Volume drivers that lie, for `imagevol validate`: what they do wrong, no service notices."""

from __future__ import annotations

import os
import subprocess

from cinder.objects.volume import Volume

from tests.cloud.volume_driver import GIB, ReflinkFileDriver


class OldDataDriver(ReflinkFileDriver):
    """New volumes hold what the last deleted one held, and extensions do not read as zeros."""

    def create_volume(self, volume: Volume) -> None:
        super().create_volume(volume)
        deleted = self._directory / ".deleted"
        if deleted.exists():
            deleted.replace(self._path(volume))
            os.truncate(self._path(volume), volume.size * GIB)

    def delete_volume(self, volume: Volume) -> None:
        path = self._path(volume)
        if path.exists():
            subprocess.run(["cp", "--reflink=always", path, self._directory / ".deleted"], check=True)
        super().delete_volume(volume)

    def extend_volume(self, volume: Volume, new_size: int) -> None:
        super().extend_volume(volume, new_size)
        with self._path(volume).open("r+b") as file:
            file.seek(volume.size * GIB + 4096)
            file.write(b"of another volume")


class EmptyCloneDriver(ReflinkFileDriver):
    """Clones are empty."""

    def create_cloned_volume(self, volume: Volume, src_vref: Volume) -> None:
        self.create_volume(volume)
