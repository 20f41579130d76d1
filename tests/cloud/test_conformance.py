"""The real ports on real services pass the suite that the ports in memory pass."""

from __future__ import annotations

from typing import ClassVar

import attrs
import pytest

from imagevol_adapters.glance import GlanceImages
from imagevol_adapters.ports import Attacher, ImageService, VolumeService
from imagevol_adapters.testing.conformance import (
    AttacherConformance,
    ImageServiceConformance,
    VolumeServiceConformance,
)
from tests.cloud.ports import Ports, ports, sign_in
from tests.cloud.record import Cloud


@pytest.fixture(scope="module")
def real(cloud: Cloud) -> Ports:
    return ports(cloud)


@pytest.mark.smoke
class TestCinderVolumes(VolumeServiceConformance):
    volume_type: ClassVar[str] = "slow"

    @pytest.fixture
    def volumes(self, real: Ports) -> VolumeService:
        return real.volumes

    @pytest.fixture
    def impatient(self, real: Ports) -> VolumeService:
        return attrs.evolve(real.volumes, wait_seconds=1)


class TestGlanceImages(ImageServiceConformance):
    store: ClassVar[str] = "local"
    volume_store: ClassVar[str] = "fast"
    volume_type: ClassVar[str] = "fast"

    @pytest.fixture
    def volumes(self, real: Ports) -> VolumeService:
        return real.volumes

    @pytest.fixture
    def images(self, real: Ports) -> ImageService:
        return real.images

    @pytest.fixture
    def impatient(self, real: Ports) -> ImageService:
        return attrs.evolve(real.images, wait_seconds=1)


class TestGlanceImagesInVolumes(TestGlanceImages):
    store: ClassVar[str] = "fast"


@pytest.mark.smoke
class TestBrickAttacher(AttacherConformance):
    @pytest.fixture
    def volumes(self, real: Ports) -> VolumeService:
        return real.volumes

    @pytest.fixture
    def attacher(self, real: Ports) -> Attacher:
        return real.attacher


@pytest.mark.smoke
@pytest.mark.parametrize("name, sees_all", [("admin", True), ("demo", False)])
def test_only_an_administrator_is_shown_every_image(cloud: Cloud, name: str, sees_all: bool) -> None:
    assert GlanceImages(session=sign_in(cloud, name)).sees_all is sees_all
