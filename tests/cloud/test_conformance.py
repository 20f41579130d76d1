"""The real ports on real services pass the suite that the ports in memory pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import wraps
from typing import Any, ClassVar

import attrs
import pytest

from imagevol_adapters.glance.images import GlanceImages
from imagevol_adapters.ports import Attacher, ImageService, VolumeService
from imagevol_adapters.relocating import LocationService, VolumeHolder
from imagevol_adapters.repairing import RepairImages
from imagevol_adapters.testing.conformance import (
    AttacherConformance,
    ImageServiceConformance,
    LocationServiceConformance,
    RepairImagesConformance,
    TemplateVolumesConformance,
    VolumeHolderConformance,
    VolumeServiceConformance,
)
from imagevol_adapters.testing.conformance.fixtures import gone
from imagevol_adapters.testing.conformance.locations import STORES
from imagevol_adapters.testing.conformance.template_volumes import ListedVolumes
from imagevol_adapters.testing.conformance.volume_holder import HeldVolumes
from tests.cloud import restarting
from tests.cloud.bringup import running
from tests.cloud.moving import Site
from tests.cloud.ports import Ports, ports, sign_in
from tests.cloud.record import Cloud


@pytest.fixture(scope="module")
def real(cloud: Cloud) -> Ports:
    return ports(cloud)


def smoke(*tests: Callable[..., None]) -> Callable[[type], type]:
    """Mark these of a suite's tests for `smoke`."""

    def mark(suite: type) -> type:
        for test in tests:

            @wraps(test)
            def marked(*given: Any, test: Callable[..., None] = test, **named: Any) -> None:
                test(*given, **named)

            setattr(suite, test.__name__, pytest.mark.smoke(marked))
        return suite

    return mark


@smoke(
    VolumeServiceConformance.test_a_new_volume_is_available_once_it_was_waited_for,
    VolumeServiceConformance.test_a_volume_that_cannot_be_created_as_asked_is_refused,
    VolumeServiceConformance.test_a_volume_has_its_metadata_from_the_beginning_and_is_found_by_it,
    VolumeServiceConformance.test_a_volume_grows_and_keeps_what_it_has,
    VolumeServiceConformance.test_a_complete_attachment_shows_which_process_has_it,
    VolumeServiceConformance.test_a_deleted_volume_is_gone_and_is_not_deleted_twice,
)
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


@smoke(
    AttacherConformance.test_written_data_is_read_by_the_next_attachment,
    AttacherConformance.test_nothing_is_written_through_a_device_opened_to_be_read,
)
class TestBrickAttacher(AttacherConformance):
    @pytest.fixture
    def volumes(self, real: Ports) -> VolumeService:
        return real.volumes

    @pytest.fixture
    def attacher(self, real: Ports) -> Attacher:
        return real.attacher


class TestCinderHolder(VolumeHolderConformance):
    volume_types: ClassVar[tuple[str, str]] = ("fast", "slow")

    @pytest.fixture
    def volumes(self, real: Ports) -> HeldVolumes:
        return real.volumes


class TestCinderTemplateVolumes(TemplateVolumesConformance):
    @pytest.fixture
    def volumes(self, cloud: Cloud) -> ListedVolumes:
        return ports(cloud, "admin").volumes

    @pytest.fixture
    def users(self, cloud: Cloud) -> ListedVolumes:
        return ports(cloud, "other").volumes


@pytest.fixture(scope="module")
def moving(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud of its own, because its Glance is restarted."""
    request.getfixturevalue("able_machine")
    with running(tmp_path_factory.mktemp("moving"), keep_logs=True) as cloud:
        yield cloud


@pytest.fixture(scope="class")
def stored(request: pytest.FixtureRequest, moving: Cloud) -> Iterator[tuple[Site, Mapping[str, str]]]:
    """A Glance with the stores of the suite, and the ids of the images that it needs."""
    site = Site.of(moving)
    site.make_types()
    with site.with_one_store():
        try:
            needed = request.cls.images_needed
            made = site.make({name: (history.volume_type, history.saved) for name, history in needed.items()})
            with site.with_stores(STORES, driver=request.cls.driver):
                yield site, made
        finally:
            site.forget()


class TestGlanceLocations(LocationServiceConformance):
    @pytest.fixture
    def locations(self, stored: tuple[Site, Mapping[str, str]]) -> LocationService:
        return stored[0].images

    @pytest.fixture
    def volumes(self, stored: tuple[Site, Mapping[str, str]]) -> VolumeHolder:
        return stored[0].volumes

    @pytest.fixture
    def image_ids(self, stored: tuple[Site, Mapping[str, str]]) -> Mapping[str, str]:
        return stored[1]

    @pytest.fixture
    def hiding(self, stored: tuple[Site, Mapping[str, str]]) -> Iterator[LocationService]:
        site, _ = stored
        with restarting.glance_with(site.cloud, {"DEFAULT": {"show_multiple_locations": "false"}}):
            yield site.images


class TestGlanceRepairImages(RepairImagesConformance):
    @pytest.fixture
    def images(self, real: Ports) -> RepairImages:
        return real.images

    @pytest.fixture
    def new_image(self, real: Ports) -> Iterator[Callable[[str], str]]:
        with ExitStack() as undo:

            def new(status: str) -> str:
                image_id = real.images.create(name="repaired", disk_format="raw").id
                undo.callback(gone, real.images.delete, image_id)
                if status == "active":
                    real.images.upload(image_id, [b"data"], size_bytes=4, store="local")
                return image_id

            yield new


class TestGlanceLocationsByTheDriverOfGlanceStore(TestGlanceLocations):
    driver: ClassVar[str] = "cinder"


@pytest.mark.smoke
@pytest.mark.parametrize("name, sees_all", [("admin", True), ("demo", False)])
def test_only_an_administrator_is_shown_every_image(cloud: Cloud, name: str, sees_all: bool) -> None:
    assert GlanceImages(session=sign_in(cloud, name)).sees_all is sees_all
