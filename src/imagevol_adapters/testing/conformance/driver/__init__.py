"""What a Cinder driver must do that inherits `ImageCloneMixin`: subclass the suite and give it the driver.

Cinder must be installed, and no other service's code be in the process; nothing of a cloud is needed.  What the driver
needs of its host must be there: a volume is really made, cloned, opened and deleted::

    class TestMyDriver(ImageCloneConformance):
        driver_class = MyDriver

        @pytest.fixture
        def backend_options(self) -> dict[str, object]:
            return {"san_ip": "192.0.2.1", "san_login": "conformance", "san_password": os.environ["SAN_PASSWORD"]}
"""

from imagevol_adapters.testing.conformance.driver.clones import CloningConformance
from imagevol_adapters.testing.conformance.driver.planning import PlanConformance
from imagevol_adapters.testing.conformance.driver.side_by_side import SideBySideConformance
from imagevol_adapters.testing.conformance.driver.templates import TemplatesConformance

__all__ = [
    "CloningConformance",
    "ImageCloneConformance",
    "PlanConformance",
    "SideBySideConformance",
    "TemplatesConformance",
]


class ImageCloneConformance(CloningConformance, TemplatesConformance, PlanConformance, SideBySideConformance):
    """A Cinder driver with `ImageCloneMixin`.

    Attributes:
        driver_class: of the driver.
        pool: one of the backend's, in which the volumes are made.
    """
