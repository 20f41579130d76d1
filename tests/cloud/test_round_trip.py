"""An image into a real volume, back, and away: through the library's procedures, on real services."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from cinderclient.client import Client as CinderClient

from imagevol_adapters.engine import read_device
from imagevol_adapters.ports import AccessMode
from imagevol_adapters.transfers import (
    StoredImage,
    attached,
    delete_image_volume,
    open_image_volume,
    register_image,
    store_image,
)
from imagevol_core import ContentMismatch, Image, InUse, RequestRefused, VolumeFailed
from tests.cloud.ports import Ports, nothing_left, ports, sign_in
from tests.cloud.record import Cloud

MIB = 1 << 20
IMAGE_ID = "5f0a4ee8-6a4b-4c68-9c2e-6f8a2b1d3c47"
# Neither a whole number of sectors nor of chunks, with a hole in it.
DATA = random.Random(1).randbytes(9 * MIB) + bytes(8 * MIB) + random.Random(2).randbytes(MIB + 123)


@pytest.fixture(scope="module")
def real(cloud: Cloud) -> Ports:
    return ports(cloud)


@pytest.fixture(autouse=True)
def left(cloud: Cloud) -> Iterator[None]:
    """Every test leaves the cloud as it found it."""
    with nothing_left(cloud):
        yield


def parts() -> Iterator[bytes]:
    """The data, in parts of odd lengths."""
    for offset in range(0, len(DATA), 777_777):
        yield DATA[offset : offset + 777_777]


def store(real: Ports, volume_type: str | None = None) -> StoredImage:
    return store_image(
        parts(),
        image_id=IMAGE_ID,
        image_owner="nobody",
        size_bytes=len(DATA),
        volumes=real.volumes,
        attacher=real.attacher,
        volume_type=volume_type,
    )


def read(real: Ports, volume_id: str, *, offset: int = 0, length: int | None = None) -> bytes:
    with open_image_volume(
        volume_id, volumes=real.volumes, attacher=real.attacher, offset=offset, length=length
    ) as content:
        return b"".join(content.parts)


@pytest.fixture
def stored(real: Ports) -> Iterator[StoredImage]:
    stored = store(real)
    yield stored
    if real.volumes.find([stored.volume.id]):
        real.volumes.delete(stored.volume.id)


@pytest.mark.parametrize("volume_type", [pytest.param("fast", marks=pytest.mark.smoke), "slow"])
def test_an_image_goes_into_a_volume_and_comes_back_and_away(real: Ports, cloud: Cloud, volume_type: str) -> None:
    stored = store(real, volume_type)
    volume = real.volumes.get(stored.volume.id)
    assert volume == stored.volume
    assert (volume.status, volume.size_gib, volume.readonly) == ("available", 1, True)
    assert volume.host == cloud.backend_hosts[volume_type]
    assert volume.metadata.items() > stored.record.to_volume().items()
    assert read(real, volume.id) == DATA
    assert read(real, volume.id, offset=9 * MIB - 5, length=MIB) == DATA[9 * MIB - 5 : 10 * MIB - 5]
    assert read(real, volume.id, offset=len(DATA) - 3, length=MIB) == DATA[-3:]
    delete_image_volume(volume.id, volumes=real.volumes, images=real.images)
    assert real.volumes.find([volume.id]) == ()


@pytest.mark.smoke
def test_an_image_that_was_altered_behind_our_back_is_an_error(real: Ports, stored: StoredImage) -> None:
    volume_id = stored.volume.id
    real.volumes.set_readonly(volume_id, readonly=False)
    with attached(volume_id, mode=AccessMode.WRITE, volumes=real.volumes, attacher=real.attacher) as device:
        flipped = bytes([b"".join(read_device(device, offset=12 * MIB, length=1))[0] ^ 1])
        device.write(12 * MIB, memoryview(flipped))
        device.flush()
    real.volumes.wait(volume_id)
    with pytest.raises(ContentMismatch, match=f"volume {volume_id} has been altered"):
        read(real, volume_id)


def test_an_image_volume_is_not_attached_to_be_written(real: Ports, stored: StoredImage) -> None:
    with (
        pytest.raises(InUse, match="read-only"),
        attached(stored.volume.id, mode=AccessMode.WRITE, volumes=real.volumes, attacher=real.attacher),
    ):
        pass


@pytest.mark.smoke
def test_an_interrupt_in_the_middle_leaves_nothing(real: Ports) -> None:
    def interrupted() -> Iterator[bytes]:
        yield DATA[: 5 * MIB]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store_image(
            interrupted(),
            image_id=IMAGE_ID,
            image_owner=None,
            size_bytes=len(DATA),
            volumes=real.volumes,
            attacher=real.attacher,
        )


def test_a_full_backend_says_so_and_leaves_nothing(real: Ports) -> None:
    with pytest.raises(VolumeFailed, match=r"is 'error' and should be 'available': .") as caught:
        store_image(
            [],
            image_id=IMAGE_ID,
            image_owner=None,
            size_bytes=10_000 << 30,
            volumes=real.volumes,
            attacher=real.attacher,
        )
    assert caught.value.leftovers == ()


def test_a_volume_in_error_is_neither_read_nor_forgotten(cloud: Cloud, real: Ports, stored: StoredImage) -> None:
    CinderClient("3.60", session=sign_in(cloud, "admin")).volumes.reset_state(stored.volume.id, "error")
    with pytest.raises(InUse, match="error state"):
        read(real, stored.volume.id)
    delete_image_volume(stored.volume.id, volumes=real.volumes, images=real.images)


def test_somebody_elses_data_are_not_deleted(real: Ports) -> None:
    volume = real.volumes.wait(real.volumes.create(size_gib=1, name="data").id)
    with pytest.raises(RequestRefused, match="holds no image"):
        delete_image_volume(volume.id, volumes=real.volumes, images=real.images)
    real.volumes.delete(volume.id)


class TestRegistered:
    """An image of Glance, whose data never went through Glance."""

    @pytest.fixture(params=["fast", "slow", None])
    def registered(
        self, request: pytest.FixtureRequest, cloud: Cloud, real: Ports
    ) -> Iterator[tuple[Image, StoredImage]]:
        registered = register_image(
            parts(),
            name="registered",
            size_bytes=len(DATA),
            images=real.images,
            volumes=real.volumes,
            attacher=real.attacher,
            store=request.param,
            volume_type=request.param,
            owner=cloud.project_ids["demo"],
        )
        yield registered
        real.images.delete(registered[0].id)

    def test_glance_gives_the_bytes_and_knows_their_digest(
        self, real: Ports, registered: tuple[Image, StoredImage]
    ) -> None:
        image, stored = registered
        assert (image.status, image.size_bytes, image.digest) == ("active", len(DATA), stored.record.digest)
        assert [stored.volume.id in location.url for location in image.locations] == [True]
        assert b"".join(real.images.read(image.id)) == DATA

    def test_its_volume_is_not_deleted_beneath_it(self, real: Ports, registered: tuple[Image, StoredImage]) -> None:
        with pytest.raises(InUse, match="openstack image delete"):
            delete_image_volume(registered[1].volume.id, volumes=real.volumes, images=real.images)

    @pytest.mark.parametrize("registered", [pytest.param("fast", marks=pytest.mark.smoke), "slow", None], indirect=True)
    def test_a_volume_that_cinder_makes_of_it_is_a_clone_with_the_same_bytes(
        self, cloud: Cloud, registered: tuple[Image, StoredImage]
    ) -> None:
        image, stored = registered
        logged = len(cloud.log("cinder").read_text())
        demo = ports(cloud, "demo")
        created = demo.volumes.create(
            size_gib=1, name="clone", volume_type=stored.volume.volume_type, image_id=image.id
        )
        try:
            demo.volumes.wait(created.id)
            lines = cloud.log("cinder").read_text()[logged:].splitlines()
            assert [line for line in lines if "Will clone a volume from the image volume" in line]
            assert [
                line for line in lines if "reflink clone" in line and stored.volume.id in line and created.id in line
            ]
            with attached(created.id, mode=AccessMode.READ, volumes=demo.volumes, attacher=demo.attacher) as device:
                assert b"".join(read_device(device, length=len(DATA))) == DATA
        finally:
            demo.volumes.delete(created.id)

    def test_glance_gives_an_altered_image_as_an_error(
        self, real: Ports, registered: tuple[Image, StoredImage]
    ) -> None:
        image, stored = registered
        real.volumes.set_readonly(stored.volume.id, readonly=False)
        with attached(stored.volume.id, mode=AccessMode.WRITE, volumes=real.volumes, attacher=real.attacher) as device:
            device.write(10 * MIB, memoryview(b"!"))
        with pytest.raises(ContentMismatch, match=f"image {image.id} has been altered"):
            b"".join(real.images.read(image.id))
