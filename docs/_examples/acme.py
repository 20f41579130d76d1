"""A Cinder driver with all that cloning needs: volumes are sparse files in a directory of this host."""

import os
import shutil
import subprocess
from pathlib import Path

from cinder.volume import driver
from oslo_config import cfg

OPTIONS = [cfg.StrOpt("acme_directory", help="Directory of the volumes' files")]
GIB = 2**30


class AcmeDriver(driver.VolumeDriver):
    """Volumes as files; clones share their blocks if the file system can do that."""

    VERSION = "1.0"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)

    @staticmethod
    def get_driver_options():
        return OPTIONS

    def path(self, volume):
        return Path(self.configuration.acme_directory, volume.name)

    def do_setup(self, context):
        Path(self.configuration.acme_directory).mkdir(exist_ok=True)

    def check_for_setup_error(self):
        """There is nothing that can be wrong."""

    # Volumes

    def create_volume(self, volume):
        with self.path(volume).open("xb") as file:
            file.truncate(volume.size * GIB)

    def create_cloned_volume(self, volume, src_vref):
        source, target = self.path(src_vref), self.path(volume)
        # Fast if the file system has reflinks; otherwise cp copies the data.
        command = ["cp", "--reflink=auto", "--sparse=always", source, target]
        subprocess.run(command, check=True)
        os.truncate(target, volume.size * GIB)  # the size of the new volume

    def delete_volume(self, volume):
        self.path(volume).unlink(missing_ok=True)  # also if there is no clone

    def extend_volume(self, volume, new_size):
        os.truncate(self.path(volume), new_size * GIB)

    # Connections: os-brick's LOCAL protocol, which needs no export

    def initialize_connection(self, volume, connector, **kwargs):
        data = {"device_path": str(self.path(volume)), "volume_id": volume.id}
        return {"driver_volume_type": "local", "data": data}

    def terminate_connection(self, volume, connector, **kwargs):
        """Nothing was connected."""

    def create_export(self, context, volume, connector):
        """Nothing is exported."""

    def ensure_export(self, context, volume):
        """Nothing is exported."""

    def remove_export(self, context, volume):
        """Nothing is exported."""

    # Capacity

    def _update_volume_stats(self):
        usage = shutil.disk_usage(self.configuration.acme_directory)
        self._stats = {
            "volume_backend_name": self.configuration.volume_backend_name,
            "vendor_name": "Acme",
            "driver_version": self.VERSION,
            "storage_protocol": "local",
            "total_capacity_gb": usage.total / GIB,
            "free_capacity_gb": usage.free / GIB,
        }
