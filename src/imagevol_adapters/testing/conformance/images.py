"""What an `ImageService` must do, a sentence each."""
# ruff: noqa: D102, S101

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any, ClassVar

import pytest

from imagevol_adapters.attributes import ImageAttributes
from imagevol_adapters.ports import ImageService, VolumeService
from imagevol_adapters.testing.conformance.fixtures import NAME, NOBODY, NewVolume, WithVolumes, gone
from imagevol_adapters.waiting import wait_until
from imagevol_core import (
    GIB,
    AccessDenied,
    DeadlineExceeded,
    DeviceFailed,
    Digest,
    Image,
    RequestRefused,
    ResourceNotFound,
    ServiceFailed,
)

__all__ = ["ImageServiceConformance"]


NewImage = Callable[..., Image]


class ImageServiceConformance(WithVolumes):
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
                image = images.create(**{"name": f"{NAME}-{uuid.uuid4()}", "disk_format": "raw", **wishes})
                undo.callback(gone, images.delete, image.id)
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

    def test_an_image_has_the_owner_that_was_asked_for(self, new_image: NewImage) -> None:
        image = new_image(owner="0123456789abcdef0123456789abcdef", visibility="private")
        assert (image.owner, image.visibility) == ("0123456789abcdef0123456789abcdef", "private")

    def test_a_new_image_has_the_attributes_that_were_given(self, images: ImageService, new_image: NewImage) -> None:
        asked = ImageAttributes(
            container_format="ovf",
            min_disk_gib=3,
            min_ram_mib=512,
            hidden=True,
            tags=("one", "two"),
            properties={"os_distro": "debian"},
        )
        image = new_image(attributes=asked)
        assert images.get(image.id) == image
        assert (image.container_format, image.min_disk_gib) == ("ovf", 3)
        assert image.properties == {"os_distro": "debian"}

    def test_queued_images_are_found_by_their_properties_until_these_are_deleted(
        self, images: ImageService, new_image: NewImage
    ) -> None:
        marks = {"imagevol_state": "unfinished", "imagevol_host": f"{uuid.uuid4()}"}
        for hidden in (False, True):
            properties = {**marks, "os_distro": "debian"}
            image = new_image(attributes=ImageAttributes(hidden=hidden, properties=properties))
            new_image(attributes=ImageAttributes(properties={**marks, "imagevol_state": "finished"}))
            assert images.with_properties(marks, status="queued") == (image,)
            assert images.with_properties(marks, status="active") == ()
            assert images.unset_properties(image.id, [*marks, "none"]).properties == {"os_distro": "debian"}
            assert images.get(image.id).properties == {"os_distro": "debian"}
            assert images.with_properties(marks, status="queued") == ()

    def test_a_protected_image_is_not_deleted(self, images: ImageService, new_image: NewImage) -> None:
        image = new_image(attributes=ImageAttributes(protected=True))
        images.protect(image.id, protected=True)
        with pytest.raises(AccessDenied):
            images.delete(image.id)
        images.protect(image.id, protected=False)
        images.delete(image.id)
        with pytest.raises(ResourceNotFound):
            images.get(image.id)

    def test_a_hidden_image_is_found_by_its_name(self, images: ImageService, new_image: NewImage) -> None:
        name = f"hidden-{uuid.uuid4()}"
        image = new_image(name=name, attributes=ImageAttributes(hidden=True))
        assert images.find(name).id == image.id

    def test_an_unknown_disk_format_is_refused(self, new_image: NewImage) -> None:
        with pytest.raises(RequestRefused):
            new_image(disk_format="papyrus")

    def test_an_image_that_does_not_exist_is_not_found(self, images: ImageService) -> None:
        for ask in (
            lambda: images.get(NOBODY),
            lambda: images.find(NOBODY),
            lambda: images.wait(NOBODY),
            lambda: images.find(NAME),
            lambda: images.add_location(NOBODY, f"cinder://store/{NOBODY}", store=None, digest=None),
            lambda: images.upload(NOBODY, [b"data"], size_bytes=4),
            lambda: b"".join(images.read(NOBODY)),
            lambda: images.protect(NOBODY, protected=False),
            lambda: images.unset_properties(NOBODY, ["os_distro"]),
            lambda: images.delete(NOBODY),
        ):
            with pytest.raises(ResourceNotFound):
                ask()

    def test_an_image_is_found_by_its_id_and_by_a_name_that_no_other_has(
        self, images: ImageService, new_image: NewImage
    ) -> None:
        name = f"{NAME}-{uuid.uuid4()}"
        image = new_image(name=name)
        assert images.find(image.id) == images.find(name) == image
        new_image(name=name)
        with pytest.raises(RequestRefused):
            images.find(name)

    @pytest.mark.parametrize("fault", [None, ServiceFailed("the source is gone")])
    @pytest.mark.parametrize("known", [True, False])
    def test_the_data_of_an_upload_is_closed_however_it_ends(
        self, images: ImageService, new_image: NewImage, known: bool, fault: Exception | None
    ) -> None:
        closed: list[str] = []

        class Data(Iterator[bytes]):
            parts: Iterator[bytes | Exception] = iter([b"data", *([fault] if fault else [])])

            def __next__(self) -> bytes:
                part = next(self.parts)
                if isinstance(part, Exception):
                    raise part
                return part

            def close(self) -> None:
                closed.append("closed")

        with suppress(ResourceNotFound, ServiceFailed):
            images.upload(new_image().id if known else NOBODY, Data(), size_bytes=None, store=self.store)
        assert closed

    @pytest.mark.parametrize("announced", [True, False])
    def test_uploaded_data_comes_back_whole_and_in_part(
        self, images: ImageService, new_image: NewImage, announced: bool
    ) -> None:
        data = bytes(range(256)) * 20
        parts = [data[:1000], b"", data[1000:1001], data[1001:]]
        image = images.upload(new_image().id, parts, size_bytes=len(data) if announced else None, store=self.store)
        assert (image.status, image.size_bytes) == ("active", len(data))
        assert image.digest == Digest("sha512", hashlib.sha512(data).hexdigest())
        assert [location.metadata["store"] for location in image.locations] == [self.store]
        for offset, length in (
            (0, None),
            (0, 10),
            (7, 1000),
            (5000, None),
            (5119, 50),
            (5120, 1),
            (9999, None),
            (3, 0),
        ):
            end = None if length is None else offset + length
            assert b"".join(images.read(image.id, offset=offset, length=length)) == data[offset:end]

    def test_a_queued_image_and_an_active_one_are_not_being_imported(
        self, images: ImageService, new_image: NewImage
    ) -> None:
        image = new_image()
        assert images.wait(image.id) == image
        uploaded = images.upload(image.id, [b"data"], size_bytes=4, store=self.store, base_image_id=NOBODY)
        assert images.wait(image.id).status == uploaded.status == "active"

    def test_an_image_of_no_bytes_can_be_uploaded(self, images: ImageService, new_image: NewImage) -> None:
        image = images.upload(new_image().id, [], size_bytes=0, store=self.store)
        assert (image.status, image.size_bytes) == ("active", 0)
        assert b"".join(images.read(image.id)) == b""

    @pytest.mark.parametrize("announced", [3, 5])
    def test_data_of_another_length_is_refused(self, images: ImageService, new_image: NewImage, announced: int) -> None:
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
        status = wait_until(  # Glance needs a moment to notice that nothing more comes
            lambda: images.get(image.id).status,
            lambda status: status != "saving",
            what="the image is not queued again",
            seconds=60,
        )
        assert status == "queued"

    def test_an_unknown_store_is_refused(self, images: ImageService, new_image: NewImage) -> None:
        with pytest.raises(RequestRefused):
            images.upload(new_image().id, [b"data"], size_bytes=4, store="no-such-store")

    def test_an_image_that_has_data_takes_no_other_data(self, images: ImageService, new_image: NewImage) -> None:
        image = images.upload(new_image().id, [b"data"], size_bytes=4, store=self.store)
        with pytest.raises(RequestRefused):
            images.upload(image.id, [b"more"], size_bytes=4, store=self.store)
        with pytest.raises(RequestRefused):
            images.add_location(image.id, f"cinder://{self.volume_store}/{NOBODY}", store=None, digest=None)

    def test_a_volume_becomes_an_image_of_the_size_that_it_records(
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

    def test_a_volume_without_a_record_becomes_an_image_of_the_size_of_the_volume(
        self, images: ImageService, new_image: NewImage, new_volume: NewVolume
    ) -> None:
        volume = new_volume(volume_type=self.volume_type)
        url = f"cinder://{self.volume_store}/{volume.id}"
        digest = Digest("md5", "cd573cfaace07e7949bc0c46028904ff")
        image = images.add_location(new_image().id, url, store=self.volume_store, digest=digest)
        assert (image.status, image.size_bytes) == ("active", GIB)

    def test_data_with_another_digest_is_refused(
        self, impatient: ImageService, volumes: VolumeService, new_image: NewImage, new_volume: NewVolume
    ) -> None:
        volume = new_volume(volume_type=self.volume_type)
        volumes.set_metadata(volume.id, {"image_size": "4096"})
        image = new_image()
        url = f"cinder://{self.volume_store}/{volume.id}"
        with pytest.raises((DeadlineExceeded, ServiceFailed)):
            impatient.add_location(image.id, url, store=self.volume_store, digest=Digest("sha512", "ab" * 64))
        left = wait_until(  # Glance may be at it for longer than the impatient wait
            lambda: impatient.get(image.id),
            lambda image: image.status != "importing",
            what=f"image {image.id} is still importing",
            seconds=300,
        )
        assert left.status == "queued"

    @pytest.mark.parametrize("url", [f"cinder://{{store}}/{NOBODY}", "file:///etc/hostname", "no-url"])
    def test_a_location_without_data_is_refused(self, impatient: ImageService, new_image: NewImage, url: str) -> None:
        image = new_image()
        with pytest.raises((DeadlineExceeded, RequestRefused, ServiceFailed)):
            impatient.add_location(image.id, url.format(store=self.volume_store), store=None, digest=None)
        assert impatient.get(image.id).status == "queued"

    def test_a_volume_that_records_an_image_of_no_bytes_is_refused(
        self, impatient: ImageService, volumes: VolumeService, new_image: NewImage, new_volume: NewVolume
    ) -> None:
        volume = new_volume(volume_type=self.volume_type)
        volumes.set_metadata(volume.id, {"image_size": "0"})
        url = f"cinder://{self.volume_store}/{volume.id}"
        with pytest.raises((DeadlineExceeded, RequestRefused, ServiceFailed)):
            impatient.add_location(new_image().id, url, store=self.volume_store, digest=None)

    def test_a_deleted_image_takes_its_volume_with_it(
        self, images: ImageService, volumes: VolumeService, new_image: NewImage, new_volume: NewVolume
    ) -> None:
        volume = new_volume(volume_type=self.volume_type)
        volumes.set_metadata(volume.id, {"image_size": "512"})
        image = new_image()
        url = f"cinder://{self.volume_store}/{volume.id}"
        digest = Digest("sha512", hashlib.sha512(bytes(512)).hexdigest())
        images.add_location(image.id, url, store=self.volume_store, digest=digest)
        images.delete(image.id)
        with pytest.raises(ResourceNotFound):
            images.get(image.id)
        with suppress(ResourceNotFound):
            volumes.delete(volume.id)  # returns when it is gone, also if Glance began
        assert volumes.find([volume.id]) == ()

    def test_a_volume_that_was_made_from_an_image_has_its_bytes(
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

    def test_a_clone_has_the_bytes_of_its_volume_and_knows_its_image(
        self, images: ImageService, volumes: VolumeService, new_image: NewImage, new_volume: NewVolume
    ) -> None:
        image = images.upload(new_image().id, [b"data" * 1024], size_bytes=4096, store=self.store)
        source = new_volume(image_id=image.id, volume_type=self.volume_type)
        clone = volumes.clone(source.id, name=NAME, metadata={"image_size": "4096"})
        try:
            volumes.wait(clone.id)
            assert volumes.base_image_id(source.id) == volumes.base_image_id(clone.id) == image.id
            url = f"cinder://{self.volume_store}/{clone.id}"
            twin = images.add_location(new_image().id, url, store=self.volume_store, digest=image.digest)
            assert b"".join(images.read(twin.id)) == b"data" * 1024
            images.delete(twin.id)
        finally:
            gone(volumes.delete, clone.id)
