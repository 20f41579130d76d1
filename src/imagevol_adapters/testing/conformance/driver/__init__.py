"""The suite that shows what a Cinder driver with `ImageCloneMixin` does.  To test your driver, subclass the suite.

It needs Cinder's code, and no service.  Do not import glance or nova in the same pytest run.  Volumes are really made,
cloned, opened and deleted, so the host needs what your driver needs, such as root and the initiator of the protocol::

    import os
    from collections.abc import Callable

    import pytest

    class TestMyDriver(ImageCloneConformance):
        driver_class = MyDriver

        @pytest.fixture
        def backend_options(self) -> dict[str, object]:
            return {"san_ip": "192.0.2.1", "san_login": "conformance", "san_password": os.environ["SAN_PASSWORD"]}

        @pytest.fixture
        def stored(self) -> Callable[[], list[str]]:
            return lambda: [volume.name for volume in my_client().volumes(pool=self.pool)]

Without `stored`, the suite cannot find what a failed step left on the storage.
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
        driver_class: the class of the driver.
        pool: the pool in which the volumes are made, as after the `#` of `host@backend#pool`; by default `pool`.
    """
