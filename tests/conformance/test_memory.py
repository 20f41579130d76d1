"""The ports in memory pass the suite that the real ones pass on real services."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import ClassVar

import pytest

from imagevol_adapters.ports import AccessMode, Attacher, ImageService, Lock, Locks, VolumeService
from imagevol_adapters.relocating import LocationService, VolumeHolder
from imagevol_adapters.testing.conformance import (
    AttacherConformance,
    ImageServiceConformance,
    LocationServiceConformance,
    LocksConformance,
    RepairImagesConformance,
    StoreCopyServiceConformance,
    TemplateVolumesConformance,
    VolumeHolderConformance,
    VolumeServiceConformance,
)
from imagevol_adapters.testing.conformance.locations import History
from imagevol_adapters.testing.conformance.template_volumes import ListedVolumes
from imagevol_adapters.testing.conformance.volume_holder import HeldVolumes
from imagevol_adapters.testing.memory import (
    MemoryAttacher,
    MemoryImages,
    MemoryLocations,
    MemoryLocks,
    MemoryStoreCopies,
    MemoryVolumes,
)
from imagevol_adapters.transfers import open_image_volume, register_image
from imagevol_core import AccessDenied, Store, StoreCatalogue, VolumeBusy, may_serve
from tests.conformance.histories import glance_of, make, new_image


@pytest.fixture
def memory() -> MemoryVolumes:
    return MemoryVolumes()


class TestMemoryVolumes(VolumeServiceConformance):
    volume_type: ClassVar[str] = "memory"

    @pytest.fixture
    def volumes(self, memory: MemoryVolumes) -> VolumeService:
        MemoryImages(volumes=memory)
        return memory


class TestMemoryVolumesWithoutImages(VolumeServiceConformance):
    volume_type: ClassVar[str] = "memory"

    @pytest.fixture
    def volumes(self, memory: MemoryVolumes) -> VolumeService:
        return memory


class TestMemoryVolumesOfAUser(VolumeServiceConformance):
    volume_type: ClassVar[str] = "memory"

    @pytest.fixture
    def volumes(self, memory: MemoryVolumes) -> VolumeService:
        return memory.of_project("demo")


class TestMemoryHolder(VolumeHolderConformance):
    volume_types: ClassVar[tuple[str, str]] = ("memory", "encrypted")

    @pytest.fixture
    def volumes(self, memory: MemoryVolumes) -> HeldVolumes:
        return memory


class TestMemoryTemplateVolumes(TemplateVolumesConformance):
    @pytest.fixture
    def volumes(self, memory: MemoryVolumes) -> ListedVolumes:
        return memory

    @pytest.fixture
    def users(self, memory: MemoryVolumes) -> ListedVolumes:
        return memory.of_project("demo")


class TestMemoryLocations(LocationServiceConformance):
    @pytest.fixture
    def locations(self, memory: MemoryVolumes) -> MemoryLocations:
        return glance_of(memory, self.driver)

    @pytest.fixture
    def volumes(self, memory: MemoryVolumes) -> VolumeHolder:
        return memory

    @pytest.fixture
    def image_ids(self, locations: MemoryLocations, memory: MemoryVolumes) -> Mapping[str, str]:
        return make(self.images_needed, locations, memory)

    @pytest.fixture
    def hiding(self, locations: MemoryLocations) -> LocationService:
        locations.shows_locations = False
        return locations


def test_a_location_in_a_store_of_more_weight_comes_first() -> None:
    volumes = MemoryVolumes()
    glance = glance_of(volumes, "imagevol")
    stores = [replace(store, weight=weight) for weight, store in enumerate(glance.catalogue.stores)]
    glance.catalogue = replace(glance.catalogue, stores=tuple(stores))
    saved = (("cinder://fast/V", "fast"), ("cinder://old/V", None), ("cinder://twin/V", "twin"))
    (image_id,) = make({"one": History("fast2", saved)}, glance, volumes).values()
    before, (listed,) = glance.images[image_id].locations, glance.listed()
    assert listed.locations == (before[2], before[0], before[1])
    shown = glance.get(image_id).locations
    assert [location.metadata["store"] for location in shown] == ["twin", "fast", "fast2"]
    assert glance.images[image_id].locations == (shown[1], shown[2], shown[0])
    glance.change_locations(image_id, [{"op": "remove", "path": "/locations/0"}])
    assert glance.images[image_id].locations == (shown[1], shown[2])


class TestMemoryLocationsByTheDriverOfGlanceStore(TestMemoryLocations):
    driver: ClassVar[str] = "cinder"


class TestMemoryRepairImages(RepairImagesConformance):
    @pytest.fixture
    def images(self, memory: MemoryVolumes) -> MemoryLocations:
        return glance_of(memory, "imagevol")

    @pytest.fixture
    def new_image(self, images: MemoryLocations) -> Callable[[str], str]:
        return partial(new_image, images)


class TestMemoryStoreCopies(StoreCopyServiceConformance):
    @pytest.fixture
    def copies(self, memory: MemoryVolumes) -> MemoryStoreCopies:
        stores = (Store(name="one", kind="cinder", volume_type="memory"), Store(name="two", kind="file"))
        return MemoryStoreCopies(volumes=memory, catalogue=StoreCatalogue(stores=stores), looks=1)

    @pytest.fixture
    def image_id(self, copies: MemoryStoreCopies) -> str:
        image_id = str(uuid.uuid4())
        copies.put(image_id, b"data", store=self.source)
        return image_id


class TestMemoryImages(ImageServiceConformance):
    store: ClassVar[str] = "local"
    volume_store: ClassVar[str] = "fast"
    volume_type: ClassVar[str] = "memory"

    @pytest.fixture
    def volumes(self, memory: MemoryVolumes) -> VolumeService:
        return memory

    @pytest.fixture
    def images(self, memory: MemoryVolumes) -> ImageService:
        return MemoryImages(volumes=memory, stores=("fast", "local"))


class TestMemoryAttacher(AttacherConformance):
    @pytest.fixture
    def volumes(self, memory: MemoryVolumes) -> VolumeService:
        return memory

    @pytest.fixture
    def attacher(self, memory: MemoryVolumes) -> Attacher:
        return MemoryAttacher(volumes=memory)


class TestMemoryLocks(LocksConformance):
    @pytest.fixture
    def locks(self) -> MemoryLocks:
        return MemoryLocks()

    @pytest.fixture
    def unreachable(self) -> Locks:
        return MemoryLocks(reachable=False)

    @pytest.fixture
    def lose(self, locks: MemoryLocks) -> Callable[[Lock], None]:
        def lose(lock: Lock) -> None:
            del locks.taken[lock.name]

        return lose


def test_an_administrator_sees_the_pool_of_all_volumes_and_a_user_does_not() -> None:
    volumes = MemoryVolumes(host="node@fast#one")
    (pool,) = volumes.pools()
    assert (pool.name, pool.backend_name) == ("node@fast#one", "fast")
    assert may_serve(volumes.volume_type("memory"), backend_name=pool.backend_name)
    with pytest.raises(AccessDenied, match="use credentials with the admin role"):
        volumes.of_project("demo").pools()


def test_of_several_threads_that_attach_one_volume_one_gets_it() -> None:
    volumes = MemoryVolumes()
    volume = volumes.wait(volumes.create(size_gib=1, name="one").id)
    begin = threading.Barrier(8, timeout=60)

    def attach(_: int) -> bool:
        begin.wait()
        try:
            volumes.attach(volume.id, connector={}, mode=AccessMode.READ)
        except VolumeBusy:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(attach, range(8))) == 1
    assert len(volumes.attachments) == 1


def test_several_threads_store_read_and_delete_images_at_the_same_time() -> None:
    volumes = MemoryVolumes()
    images, attacher = MemoryImages(volumes=volumes), MemoryAttacher(volumes=volumes)

    def use(number: int) -> bytes:
        data = bytes([number]) * 70_000
        image, stored = register_image(
            [data],
            size_bytes=None,
            name="one",
            owner="p",
            store="memory",
            volumes=volumes,
            images=images,
            attacher=attacher,
        )
        assert volumes.named(f"image-{image.id}") or volumes.with_metadata({})
        with open_image_volume(stored.volume.id, volumes=volumes, attacher=attacher) as content:
            read = b"".join(content.parts)
        images.delete(image.id)
        return read

    with ThreadPoolExecutor(4) as threads:
        for number, read in enumerate(threads.map(use, range(16))):
            assert read == bytes([number]) * 70_000
    assert (volumes.volumes, volumes.attachments, images.images) == ({}, {}, {})
