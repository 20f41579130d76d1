"""What every port must do, as tests: subclass one and give it the port.

The ports in memory and the real ones on real services pass the same classes.  A subclass overrides the fixtures that
raise; pytest finds it by its name::

    class TestMyVolumes(VolumeServiceConformance):
        @pytest.fixture
        def volumes(self) -> VolumeService:
            return MyVolumes()

For failures that show the values, the project's `conftest.py` says first::

    pytest.register_assert_rewrite("imagevol_adapters.testing.conformance")
"""
# ruff: noqa: D102, S101

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, ClassVar

import pytest

from imagevol_adapters.ports import AccessMode, Attacher, Attachment, Device, ImageService, VolumeService
from imagevol_core import (
    GIB,
    AttachFailed,
    DeadlineExceeded,
    DeviceFailed,
    Digest,
    Image,
    InUse,
    NotFound,
    RequestRefused,
    Volume,
    VolumeFailed,
)

__all__ = ["AttacherConformance", "ImageServiceConformance", "VolumeServiceConformance"]

NewVolume = Callable[..., Volume]
NewImage = Callable[..., Image]

_NOBODY = "00000000-0000-4000-8000-000000000000"
_NAME = "imagevol-conformance"


class _WithVolumes:
    """Volumes that are made for one test, and go with it."""

    @pytest.fixture
    def volumes(self) -> VolumeService:
        raise NotImplementedError("override this fixture")

    @pytest.fixture
    def connector(self) -> Mapping[str, Any]:
        return {"host": _NAME, "ip": "127.0.0.1", "platform": "x86_64", "os_type": "linux"}

    @pytest.fixture
    def new_volume(self, volumes: VolumeService) -> Iterator[NewVolume]:
        """Makes an available volume of 1 GiB."""
        with ExitStack() as undo:

            def make(**wishes: Any) -> Volume:
                created = volumes.create(**{"size_gib": 1, "name": _NAME, **wishes})
                undo.callback(_gone, volumes.delete, created.id)
                return volumes.wait(created.id)

            yield make


class VolumeServiceConformance(_WithVolumes):
    """A `VolumeService`.

    Attributes:
        volume_type: one that there is, and that is not encrypted.
        too_large_gib: a size that the service takes, and that the backend then has no room for.
    """

    volume_type: ClassVar[str]
    too_large_gib: ClassVar[int] = 10_000

    @pytest.fixture
    def impatient(self, volumes: VolumeService) -> VolumeService:
        """The same service, that waits but a second."""
        return volumes

    def test_a_new_volume_is_available_once_it_was_waited_for(
        self, volumes: VolumeService, new_volume: NewVolume
    ) -> None:
        volume = new_volume(size_gib=2, volume_type=self.volume_type)
        assert volume == volumes.get(volume.id)
        assert (volume.status, volume.size_gib, volume.volume_type) == ("available", 2, self.volume_type)
        assert (volume.readonly, volume.encrypted, volume.metadata) == (False, False, {})
        assert volume.project_id
        assert volume.created_at

    def test_a_volume_has_a_type_if_none_was_wished(self, new_volume: NewVolume) -> None:
        assert new_volume().volume_type

    @pytest.mark.parametrize(
        "wish", [{"volume_type": "no-such-type"}, {"size_gib": 0}, {"size_gib": -1}, {"image_id": _NOBODY}]
    )
    def test_a_wish_that_cannot_be_met_is_refused(self, new_volume: NewVolume, wish: dict[str, Any]) -> None:
        with pytest.raises(RequestRefused):
            new_volume(**wish)

    def test_a_volume_that_finds_no_room_fails_and_can_be_deleted(self, volumes: VolumeService) -> None:
        created = volumes.create(size_gib=self.too_large_gib, name=_NAME)
        try:
            with pytest.raises(VolumeFailed) as caught:
                volumes.wait(created.id)
            assert (caught.value.volume_id, caught.value.status) == (created.id, "error")
            assert caught.value.reason
            with pytest.raises(InUse):
                volumes.attach(created.id, connector={"host": _NAME}, mode=AccessMode.READ)
        finally:
            volumes.delete(created.id)
        assert volumes.find([created.id]) == ()

    def test_what_does_not_exist_is_not_found(self, volumes: VolumeService, connector: Mapping[str, Any]) -> None:
        for ask in (
            lambda: volumes.get(_NOBODY),
            lambda: volumes.get("no-id-at-all"),
            lambda: volumes.wait(_NOBODY),
            lambda: volumes.set_readonly(_NOBODY, readonly=True),
            lambda: volumes.set_metadata(_NOBODY, {"key": "value"}),
            lambda: volumes.delete(_NOBODY),
            lambda: volumes.attach(_NOBODY, connector=connector, mode=AccessMode.READ),
            lambda: volumes.complete(Attachment(id=_NOBODY, volume_id=_NOBODY, connection={})),
        ):
            with pytest.raises(NotFound):
                ask()

    def test_those_that_exist_are_found_in_the_order_asked(
        self, volumes: VolumeService, new_volume: NewVolume
    ) -> None:
        first, second = new_volume(), new_volume()
        assert volumes.find([second.id, _NOBODY, first.id]) == (second, first)
        assert volumes.find([]) == ()

    def test_metadata_are_added_to_those_that_are_there(self, volumes: VolumeService, new_volume: NewVolume) -> None:
        volume = new_volume()
        volumes.set_metadata(volume.id, {"one": "1", "two": ""})
        volumes.set_metadata(volume.id, {"one": "other", "three": "x" * 255})
        assert volumes.get(volume.id).metadata == {"one": "other", "two": "", "three": "x" * 255}
        with pytest.raises(RequestRefused):
            volumes.set_metadata(volume.id, {"one": "x" * 256})

    def test_a_mark_is_set_and_taken_away_and_is_no_metadata(
        self, volumes: VolumeService, new_volume: NewVolume
    ) -> None:
        volume = new_volume()
        for readonly in (True, False):
            volumes.set_readonly(volume.id, readonly=readonly)
            marked = volumes.get(volume.id)
            assert (marked.readonly, marked.metadata) == (readonly, {})

    def test_a_deleted_volume_is_gone_and_is_not_deleted_twice(
        self, volumes: VolumeService, new_volume: NewVolume
    ) -> None:
        volume = new_volume()
        volumes.delete(volume.id)
        assert volumes.find([volume.id]) == ()
        with pytest.raises(NotFound):
            volumes.delete(volume.id)

    def test_a_volume_that_is_being_made_can_be_deleted(self, volumes: VolumeService) -> None:
        created = volumes.create(size_gib=1, name=_NAME)
        volumes.delete(created.id)
        assert volumes.find([created.id]) == ()

    @pytest.mark.parametrize("mode", AccessMode)
    def test_an_attached_volume_is_in_use_until_it_is_detached(
        self,
        volumes: VolumeService,
        impatient: VolumeService,
        new_volume: NewVolume,
        connector: Mapping[str, Any],
        mode: AccessMode,
    ) -> None:
        volume = new_volume()
        attachment = volumes.attach(volume.id, connector=connector, mode=mode)
        try:
            assert attachment.volume_id == volume.id
            for status in ("attaching", "in-use"):
                assert volumes.get(volume.id).status == status
                for refused in (
                    lambda: volumes.delete(volume.id),
                    lambda: volumes.attach(volume.id, connector=connector, mode=mode),
                ):
                    with pytest.raises(InUse):
                        refused()
                with pytest.raises(RequestRefused):
                    volumes.set_readonly(volume.id, readonly=True)
                volumes.set_metadata(volume.id, {"while": status})
                volumes.complete(attachment)
            with pytest.raises(DeadlineExceeded):
                impatient.wait(volume.id)
        finally:
            volumes.detach(attachment)
        assert volumes.wait(volume.id).status == "available"

    def test_an_attachment_that_is_gone_is_detached_again_but_not_completed(
        self, volumes: VolumeService, new_volume: NewVolume, connector: Mapping[str, Any]
    ) -> None:
        volume = new_volume()
        attachment = volumes.attach(volume.id, connector=connector, mode=AccessMode.READ)
        volumes.detach(attachment)
        volumes.detach(attachment)
        with pytest.raises(NotFound):
            volumes.complete(attachment)

    def test_a_read_only_volume_is_attached_to_be_read_only(
        self, volumes: VolumeService, new_volume: NewVolume, connector: Mapping[str, Any]
    ) -> None:
        volume = new_volume()
        volumes.set_readonly(volume.id, readonly=True)
        with pytest.raises(InUse):
            volumes.attach(volume.id, connector=connector, mode=AccessMode.WRITE)
        assert volumes.wait(volume.id).status == "available"
        volumes.detach(volumes.attach(volume.id, connector=connector, mode=AccessMode.READ))

    def test_an_attachment_does_not_show_what_it_connects_by(
        self, volumes: VolumeService, new_volume: NewVolume, connector: Mapping[str, Any]
    ) -> None:
        attachment = volumes.attach(new_volume().id, connector=connector, mode=AccessMode.READ)
        volumes.detach(attachment)
        assert "connection" not in repr(attachment)


class ImageServiceConformance(_WithVolumes):
    """An `ImageService`, and the volumes that its images live in.

    Attributes:
        store: one that takes uploads.
        volume_store: one whose images live in volumes.
        volume_type: of those volumes.
    """

    store: ClassVar[str]
    volume_store: ClassVar[str]
    volume_type: ClassVar[str]

    @pytest.fixture
    def images(self) -> ImageService:
        raise NotImplementedError("override this fixture")

    @pytest.fixture
    def impatient(self, images: ImageService) -> ImageService:
        """The same service, that waits but a second."""
        return images

    @pytest.fixture
    def new_image(self, images: ImageService) -> Iterator[NewImage]:
        """Makes a queued image, of a name of its own."""
        with ExitStack() as undo:

            def make(**wishes: Any) -> Image:
                image = images.create(**{"name": f"{_NAME}-{uuid.uuid4()}", "disk_format": "raw", **wishes})
                undo.callback(_gone, images.delete, image.id)
                return image

            yield make

    def test_a_new_image_is_queued_and_has_no_data(self, images: ImageService, new_image: NewImage) -> None:
        image = new_image(disk_format="qcow2")
        assert image == images.get(image.id)
        assert (image.status, image.disk_format, image.container_format) == ("queued", "qcow2", "bare")
        assert (image.size_bytes, image.digest, image.locations, image.properties) == (None, None, (), {})
        assert (image.visibility, bool(image.owner)) == ("shared", True)
        with pytest.raises(RequestRefused):
            b"".join(images.read(image.id))

    def test_an_image_is_whose_it_was_wished_to_be(self, new_image: NewImage) -> None:
        image = new_image(owner="0123456789abcdef0123456789abcdef", visibility="private")
        assert (image.owner, image.visibility) == ("0123456789abcdef0123456789abcdef", "private")

    def test_a_format_that_there_is_not_is_refused(self, new_image: NewImage) -> None:
        with pytest.raises(RequestRefused):
            new_image(disk_format="papyrus")

    def test_what_does_not_exist_is_not_found(self, images: ImageService) -> None:
        for ask in (
            lambda: images.get(_NOBODY),
            lambda: images.find(_NOBODY),
            lambda: images.find(_NAME),
            lambda: images.add_location(_NOBODY, f"cinder://store/{_NOBODY}", store=None, digest=None),
            lambda: images.upload(_NOBODY, [b"data"], size_bytes=4),
            lambda: b"".join(images.read(_NOBODY)),
            lambda: images.delete(_NOBODY),
        ):
            with pytest.raises(NotFound):
                ask()

    def test_an_image_is_found_by_its_id_and_by_a_name_that_no_other_has(
        self, images: ImageService, new_image: NewImage
    ) -> None:
        name = f"{_NAME}-{uuid.uuid4()}"
        image = new_image(name=name)
        assert images.find(image.id) == images.find(name) == image
        new_image(name=name)
        with pytest.raises(RequestRefused):
            images.find(name)

    @pytest.mark.parametrize("announced", [True, False])
    def test_uploaded_data_come_back_whole_and_in_part(
        self, images: ImageService, new_image: NewImage, announced: bool
    ) -> None:
        data = bytes(range(256)) * 20
        parts = [data[:1000], b"", data[1000:1001], data[1001:]]
        image = images.upload(
            new_image().id, parts, size_bytes=len(data) if announced else None, store=self.store
        )
        assert (image.status, image.size_bytes) == ("active", len(data))
        assert image.digest == Digest("sha512", hashlib.sha512(data).hexdigest())
        assert [location.metadata["store"] for location in image.locations] == [self.store]
        for offset, length in ((0, None), (0, 10), (7, 1000), (5000, None), (5119, 50), (5120, 1), (9999, None), (3, 0)):
            end = None if length is None else offset + length
            assert b"".join(images.read(image.id, offset=offset, length=length)) == data[offset:end]

    def test_an_empty_image_is_an_image(self, images: ImageService, new_image: NewImage) -> None:
        image = images.upload(new_image().id, [], size_bytes=0, store=self.store)
        assert (image.status, image.size_bytes) == ("active", 0)
        assert b"".join(images.read(image.id)) == b""

    @pytest.mark.parametrize("announced", [3, 5])
    def test_data_of_another_length_are_refused(
        self, images: ImageService, new_image: NewImage, announced: int
    ) -> None:
        image = new_image()
        with pytest.raises(RequestRefused):
            images.upload(image.id, [b"da", b"ta"], size_bytes=announced, store=self.store)
        assert images.get(image.id).status == "queued"

    def test_an_error_of_the_data_is_raised_as_it_is(self, images: ImageService, new_image: NewImage) -> None:
        def broken() -> Iterator[bytes]:
            yield b"da"
            raise DeviceFailed("the volume is gone")

        image = new_image()
        with pytest.raises(DeviceFailed, match="the volume is gone"):
            images.upload(image.id, broken(), size_bytes=4, store=self.store)
        assert images.get(image.id).status == "queued"

    def test_a_store_that_there_is_not_is_refused(self, images: ImageService, new_image: NewImage) -> None:
        with pytest.raises(RequestRefused):
            images.upload(new_image().id, [b"data"], size_bytes=4, store="no-such-store")

    def test_an_image_that_has_data_takes_no_others(
        self, images: ImageService, volumes: VolumeService, new_image: NewImage
    ) -> None:
        image = images.upload(new_image().id, [b"data"], size_bytes=4, store=self.store)
        with pytest.raises(RequestRefused):
            images.upload(image.id, [b"more"], size_bytes=4, store=self.store)
        with pytest.raises(RequestRefused):
            images.add_location(image.id, f"cinder://{self.volume_store}/{_NOBODY}", store=None, digest=None)

    def test_a_volume_becomes_an_image_that_is_as_large_as_it_says(
        self, images: ImageService, volumes: VolumeService, new_image: NewImage, new_volume: NewVolume
    ) -> None:
        volume = new_volume(volume_type=self.volume_type)
        volumes.set_metadata(volume.id, {"image_size": "4096"})
        digest = Digest("sha512", hashlib.sha512(bytes(4096)).hexdigest())
        url = f"cinder://{self.volume_store}/{volume.id}"
        image = images.add_location(new_image().id, url, store=self.volume_store, digest=digest)
        assert (image.status, image.size_bytes, image.digest) == ("active", 4096, digest)
        assert [(one.url, one.metadata) for one in image.locations] == [(url, {"store": self.volume_store})]
        assert b"".join(images.read(image.id)) == bytes(4096)
        with pytest.raises(RequestRefused):
            images.upload(image.id, [b"more"], size_bytes=4, store=self.store)

    def test_a_volume_that_says_nothing_is_an_image_as_large_as_itself(
        self, images: ImageService, new_image: NewImage, new_volume: NewVolume
    ) -> None:
        volume = new_volume(volume_type=self.volume_type)
        url = f"cinder://{self.volume_store}/{volume.id}"
        digest = Digest("md5", "cd573cfaace07e7949bc0c46028904ff")
        image = images.add_location(new_image().id, url, store=self.volume_store, digest=digest)
        assert (image.status, image.size_bytes) == ("active", GIB)

    def test_data_that_are_not_of_the_digest_are_not_taken(
        self, impatient: ImageService, volumes: VolumeService, new_image: NewImage, new_volume: NewVolume
    ) -> None:
        volume = new_volume(volume_type=self.volume_type)
        volumes.set_metadata(volume.id, {"image_size": "4096"})
        image = new_image()
        url = f"cinder://{self.volume_store}/{volume.id}"
        with pytest.raises(DeadlineExceeded):
            impatient.add_location(image.id, url, store=self.volume_store, digest=Digest("sha512", "ab" * 64))
        assert impatient.get(image.id).status == "queued"

    @pytest.mark.parametrize("url", [f"cinder://{{store}}/{_NOBODY}", "file:///etc/hostname", "no-url"])
    def test_a_location_without_data_is_not_taken(
        self, impatient: ImageService, new_image: NewImage, url: str
    ) -> None:
        image = new_image()
        with pytest.raises((DeadlineExceeded, RequestRefused)):
            impatient.add_location(image.id, url.format(store=self.volume_store), store=None, digest=None)
        assert impatient.get(image.id).status == "queued"

    def test_a_volume_with_an_image_of_no_bytes_is_not_taken(
        self, impatient: ImageService, volumes: VolumeService, new_image: NewImage, new_volume: NewVolume
    ) -> None:
        volume = new_volume(volume_type=self.volume_type)
        volumes.set_metadata(volume.id, {"image_size": "0"})
        url = f"cinder://{self.volume_store}/{volume.id}"
        with pytest.raises((DeadlineExceeded, RequestRefused)):
            impatient.add_location(new_image().id, url, store=self.volume_store, digest=None)

    def test_with_an_image_goes_its_volume(
        self, images: ImageService, volumes: VolumeService, new_image: NewImage, new_volume: NewVolume
    ) -> None:
        volume = new_volume(volume_type=self.volume_type)
        volumes.set_metadata(volume.id, {"image_size": "512"})
        image = new_image()
        url = f"cinder://{self.volume_store}/{volume.id}"
        digest = Digest("sha512", hashlib.sha512(bytes(512)).hexdigest())
        images.add_location(image.id, url, store=self.volume_store, digest=digest)
        images.delete(image.id)
        with pytest.raises(NotFound):
            images.get(image.id)
        with suppress(NotFound):
            volumes.delete(volume.id)  # returns when it is gone, whoever began
        assert volumes.find([volume.id]) == ()

    def test_a_volume_made_from_an_image_has_its_bytes(
        self, images: ImageService, volumes: VolumeService, new_image: NewImage, new_volume: NewVolume
    ) -> None:
        queued = new_image()
        with pytest.raises(RequestRefused):
            new_volume(image_id=queued.id)
        image = images.upload(queued.id, [b"data" * 1024], size_bytes=4096, store=self.store)
        volume = new_volume(image_id=image.id, volume_type=self.volume_type)
        volumes.set_metadata(volume.id, {"image_size": "4096"})
        url = f"cinder://{self.volume_store}/{volume.id}"
        twin = images.add_location(new_image().id, url, store=self.volume_store, digest=image.digest)
        assert b"".join(images.read(twin.id)) == b"data" * 1024


class AttacherConformance(_WithVolumes):
    """An `Attacher`, together with the service whose volumes it connects."""

    @pytest.fixture
    def attacher(self) -> Attacher:
        raise NotImplementedError("override this fixture")

    def test_what_it_tells_of_this_host_can_be_sent(self, attacher: Attacher) -> None:
        assert json.loads(json.dumps(attacher.connector()))["host"]

    def test_what_was_written_is_read_by_the_next(
        self, attacher: Attacher, volumes: VolumeService, new_volume: NewVolume
    ) -> None:
        volume = new_volume()
        data = bytes(range(256)) * 1024
        with _opened(volume.id, AccessMode.WRITE, attacher, volumes) as device:
            assert device.size_bytes == GIB
            _write(device, 4096, data)
            _write(device, GIB - 512, data[:512])
            device.flush()
            assert device.read(4096, len(data)) == data
        with _opened(volume.id, AccessMode.READ, attacher, volumes) as device:
            assert device.size_bytes == GIB
            assert device.read(4096, len(data)) == data
            assert device.read(4608, 512) == data[512:1024]

    def test_a_device_ends_where_its_volume_does(
        self, attacher: Attacher, volumes: VolumeService, new_volume: NewVolume
    ) -> None:
        with _opened(new_volume().id, AccessMode.WRITE, attacher, volumes) as device:
            assert device.write(GIB - 512, memoryview(bytes(1024))) == 512
            with pytest.raises(DeviceFailed):
                device.write(GIB, memoryview(b"beyond"))
            assert len(device.read(GIB - 512, 1024)) == 512
            assert device.read(GIB, 1) == device.read(2 * GIB, 1) == b""

    def test_nothing_is_written_through_a_device_opened_to_be_read(
        self, attacher: Attacher, volumes: VolumeService, new_volume: NewVolume
    ) -> None:
        volume = new_volume()
        with _opened(volume.id, AccessMode.READ, attacher, volumes) as device:
            before = device.read(0, 512)
            with pytest.raises(DeviceFailed):
                device.write(0, memoryview(b"x" * 512))
            assert device.read(0, 512) == before

    def test_an_error_inside_goes_on_and_the_volume_is_let_go(
        self, attacher: Attacher, volumes: VolumeService, new_volume: NewVolume
    ) -> None:
        volume = new_volume()
        with (
            pytest.raises(KeyboardInterrupt),
            _opened(volume.id, AccessMode.WRITE, attacher, volumes) as device,
        ):
            _write(device, 0, b"x" * 512)
            raise KeyboardInterrupt
        assert volumes.wait(volume.id).status == "available"
        with _opened(volume.id, AccessMode.READ, attacher, volumes) as device:
            assert device.read(0, 512) == b"x" * 512

    def test_what_is_not_attached_is_not_connected(
        self, attacher: Attacher, new_volume: NewVolume
    ) -> None:
        attachment = Attachment(id=_NOBODY, volume_id=new_volume().id, connection={})
        with pytest.raises(AttachFailed), attacher.open(attachment, mode=AccessMode.READ):
            pass


@contextmanager
def _opened(volume_id: str, mode: AccessMode, attacher: Attacher, volumes: VolumeService) -> Iterator[Device]:
    volumes.wait(volume_id)
    attachment = volumes.attach(volume_id, connector=attacher.connector(), mode=mode)
    try:
        with attacher.open(attachment, mode=mode) as device:
            volumes.complete(attachment)
            yield device
    finally:
        volumes.detach(attachment)


def _write(device: Device, offset: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        written = device.write(offset, rest)
        offset, rest = offset + written, rest[written:]


def _gone(delete: Callable[[str], None], thing_id: str) -> None:
    with suppress(NotFound):
        delete(thing_id)
