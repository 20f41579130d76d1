"""The ports in memory pass the suite that the real ones pass on real services."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pytest

from imagevol_adapters.ports import Attacher, ImageService, Lock, Locks, VolumeService
from imagevol_adapters.testing.conformance import (
    AttacherConformance,
    ImageServiceConformance,
    LocksConformance,
    VolumeServiceConformance,
)
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryImages, MemoryLocks, MemoryVolumes


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
