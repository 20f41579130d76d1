"""What the tests of every port make, and what goes with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from imagevol_adapters.ports import Device, VolumeService
from imagevol_core import ResourceNotFound, Volume

__all__ = ["NAME", "NOBODY", "NewVolume", "WithVolumes", "gone", "read", "write"]

NewVolume = Callable[..., Volume]

NOBODY = "00000000-0000-4000-8000-000000000000"
NAME = "imagevol-conformance"


class WithVolumes:
    """Volumes that are made for one test, and go with it."""

    @pytest.fixture
    def volumes(self) -> VolumeService:
        """The service that is tested, or whose volumes are."""
        raise NotImplementedError("override this fixture")

    @pytest.fixture
    def connector(self) -> Mapping[str, Any]:
        """What is told of a host that nothing is really connected to."""
        return {"host": NAME, "ip": "127.0.0.1", "platform": "x86_64", "os_type": "linux"}

    @pytest.fixture
    def new_volume(self, volumes: VolumeService) -> Iterator[NewVolume]:
        """Makes an available volume of 1 GiB."""
        with ExitStack() as undo:

            def make(**wishes: Any) -> Volume:
                created = volumes.create(**{"size_gib": 1, "name": NAME, **wishes})
                undo.callback(gone, volumes.delete, created.id)
                return volumes.wait(created.id)

            yield make


def gone(delete: Callable[[str], None], thing_id: str) -> None:
    """Delete what a test may have deleted itself."""
    with suppress(ResourceNotFound):
        delete(thing_id)


def read(device: Device, offset: int, length: int) -> bytes:
    """Read all that a device has there, up to its end, however many steps that takes."""
    buffer, done = bytearray(length), 0
    while done < length and (count := device.readinto(offset + done, memoryview(buffer)[done:])):
        done += count
    return bytes(buffer[:done])


def write(device: Device, offset: int, data: bytes) -> None:
    """Write all data, however many steps that takes."""
    rest = memoryview(data)
    while rest:
        written = device.write(offset, rest)
        offset, rest = offset + written, rest[written:]
