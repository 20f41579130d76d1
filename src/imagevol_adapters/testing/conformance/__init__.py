"""What every port must do, as tests: subclass one and give it the port.

The ports in memory and the real ones on real services pass the same classes.  A subclass overrides the fixtures that
raise; pytest finds it by its name::

    class TestMyVolumes(VolumeServiceConformance):
        volume_type = "thin"

        @pytest.fixture
        def volumes(self) -> VolumeService:
            return MyVolumes()
"""

import pytest

# So that a failure shows the values.
MODULES = (
    *("attacher", "devices", "driver", "images", "limits", "locations", "locks", "repair_images", "shards"),
    *("store_copies", "template_volumes", "volume_holder", "volumes", "workers"),
)
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in MODULES))

from imagevol_adapters.testing.conformance.attacher import AttacherConformance  # noqa: E402
from imagevol_adapters.testing.conformance.devices import DeviceConformance  # noqa: E402
from imagevol_adapters.testing.conformance.images import ImageServiceConformance  # noqa: E402
from imagevol_adapters.testing.conformance.limits import WorkerLimitsConformance  # noqa: E402
from imagevol_adapters.testing.conformance.locations import LocationServiceConformance  # noqa: E402
from imagevol_adapters.testing.conformance.locks import LocksConformance  # noqa: E402
from imagevol_adapters.testing.conformance.repair_images import RepairImagesConformance  # noqa: E402
from imagevol_adapters.testing.conformance.shards import ShardsConformance  # noqa: E402
from imagevol_adapters.testing.conformance.store_copies import StoreCopyServiceConformance  # noqa: E402
from imagevol_adapters.testing.conformance.template_volumes import TemplateVolumesConformance  # noqa: E402
from imagevol_adapters.testing.conformance.volume_holder import VolumeHolderConformance  # noqa: E402
from imagevol_adapters.testing.conformance.volumes import VolumeServiceConformance  # noqa: E402
from imagevol_adapters.testing.conformance.workers import WorkersConformance  # noqa: E402

__all__ = [
    "AttacherConformance",
    "DeviceConformance",
    "ImageServiceConformance",
    "LocationServiceConformance",
    "LocksConformance",
    "RepairImagesConformance",
    "ShardsConformance",
    "StoreCopyServiceConformance",
    "TemplateVolumesConformance",
    "VolumeHolderConformance",
    "VolumeServiceConformance",
    "WorkerLimitsConformance",
    "WorkersConformance",
]
