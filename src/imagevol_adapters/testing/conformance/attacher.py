"""What an `Attacher` must do, a sentence each."""
# ruff: noqa: D102, S101

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import pytest

from imagevol_adapters.ports import AccessMode, Attacher, Attachment, Device, VolumeService
from imagevol_adapters.testing.conformance.fixtures import NOBODY, NewVolume, WithVolumes, read, write
from imagevol_core import (
    GIB,
    AttachFailed,
    DeviceFailed,
)

__all__ = ["AttacherConformance"]


class AttacherConformance(WithVolumes):
    """An `Attacher`, together with the service whose volumes it connects."""

    @pytest.fixture
    def attacher(self) -> Attacher:
        raise NotImplementedError("override this fixture")

    def test_the_connector_of_this_host_can_be_sent_as_json(self, attacher: Attacher) -> None:
        assert json.loads(json.dumps(attacher.connector()))["host"]

    def test_written_data_is_read_by_the_next_attachment(
        self, attacher: Attacher, volumes: VolumeService, new_volume: NewVolume
    ) -> None:
        volume = new_volume()
        data = bytes(range(256)) * 1024
        with _opened(volume.id, AccessMode.WRITE, attacher, volumes) as device:
            assert device.size_bytes == GIB
            write(device, 4096, data)
            write(device, GIB - 512, data[:512])
            device.flush()
            assert read(device, 4096, len(data)) == data
        with _opened(volume.id, AccessMode.READ, attacher, volumes) as device:
            assert device.size_bytes == GIB
            assert read(device, 4096, len(data)) == data
            assert read(device, 4608, 512) == data[512:1024]

    def test_a_device_ends_where_its_volume_does(
        self, attacher: Attacher, volumes: VolumeService, new_volume: NewVolume
    ) -> None:
        with _opened(new_volume().id, AccessMode.WRITE, attacher, volumes) as device:
            assert device.write(GIB - 512, memoryview(bytes(1024))) == 512
            with pytest.raises(DeviceFailed):
                device.write(GIB, memoryview(b"beyond"))
            assert len(read(device, GIB - 512, 1024)) == 512
            assert read(device, GIB, 1) == read(device, 2 * GIB, 1) == b""

    def test_a_device_has_the_size_of_its_volume_also_right_after_it_was_extended(
        self, attacher: Attacher, volumes: VolumeService, new_volume: NewVolume
    ) -> None:
        volume = new_volume()
        for size_gib in (1, 2):
            if size_gib > 1:
                volumes.extend(volume.id, size_gib=size_gib)
            with _opened(volume.id, AccessMode.WRITE, attacher, volumes, size_bytes=size_gib * GIB) as device:
                assert device.size_bytes == size_gib * GIB
                write(device, size_gib * GIB - 512, b"x" * 512)

    def test_a_cleared_range_reads_as_zeros_and_its_neighbors_do_not(
        self, attacher: Attacher, volumes: VolumeService, new_volume: NewVolume
    ) -> None:
        with _opened(new_volume().id, AccessMode.WRITE, attacher, volumes) as device:
            assert device.path.startswith("/")
            write(device, 0, b"x" * 16384)
            if device.clear(4096, 8192):
                assert read(device, 0, 16384) == b"x" * 4096 + bytes(8192) + b"x" * 4096
            else:
                assert not device.can_clear

    def test_nothing_is_written_through_a_device_opened_to_be_read(
        self, attacher: Attacher, volumes: VolumeService, new_volume: NewVolume
    ) -> None:
        volume = new_volume()
        with _opened(volume.id, AccessMode.READ, attacher, volumes) as device:
            before = read(device, 0, 512)
            with pytest.raises(DeviceFailed):
                device.write(0, memoryview(b"x" * 512))
            assert not device.clear(0, 4096)
            assert read(device, 0, 512) == before

    def test_an_error_while_a_device_is_open_goes_on_and_the_volume_is_detached(
        self, attacher: Attacher, volumes: VolumeService, new_volume: NewVolume
    ) -> None:
        volume = new_volume()

        def interrupted() -> None:
            with _opened(volume.id, AccessMode.WRITE, attacher, volumes) as device:
                write(device, 0, b"x" * 512)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert volumes.wait(volume.id).status == "available"
        with _opened(volume.id, AccessMode.READ, attacher, volumes) as device:
            assert read(device, 0, 512) == b"x" * 512

    def test_a_volume_that_is_not_attached_is_not_connected(self, attacher: Attacher, new_volume: NewVolume) -> None:
        attachment = Attachment(id=NOBODY, volume_id=new_volume().id, connection={})
        with pytest.raises(AttachFailed), attacher.open(attachment, mode=AccessMode.READ):
            pass


@contextmanager
def _opened(
    volume_id: str, mode: AccessMode, attacher: Attacher, volumes: VolumeService, *, size_bytes: int | None = None
) -> Iterator[Device]:
    volumes.wait(volume_id)
    attachment = volumes.attach(volume_id, connector=attacher.connector(), mode=mode)
    attachment = attrs.evolve(attachment, size_bytes=size_bytes)
    try:
        with attacher.open(attachment, mode=mode) as device:
            volumes.complete(attachment)
            yield device
    finally:
        volumes.detach(attachment)
