"""The BLAKE3 in a volume's metadata: written with the data, and believed only if no user can have written it."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from imagevol_adapters.engine import BLAKE3
from imagevol_adapters.ports import AccessMode
from imagevol_adapters.qemu.converter import QemuConverter
from imagevol_adapters.store_copies.reading import VolumeReader
from imagevol_adapters.store_ports import PlacedImage
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryDevice, MemoryVolumes
from imagevol_adapters.transfers import (
    StoredImage,
    StoreSettings,
    attached,
    check_image_volume,
    open_image_volume,
    store_image,
)
from imagevol_adapters.transfers.filling import fill_device
from imagevol_core import (
    ContentMismatch,
    DeepCheck,
    Digest,
    Image,
    MissingDependency,
    ServiceFailed,
)

IMAGE_ID = "5f0a4ee8-6a4b-4c68-9c2e-6f8a2b1d3c47"
DATA, ALTERED = b"data" * 5000, b"DATA" * 5000
KEY = "imagevol_blake3"


def sha512_of(data: bytes) -> Digest:
    return Digest("sha512", hashlib.sha512(data).hexdigest())


def blake3_of(data: bytes) -> Digest:
    return Digest(BLAKE3, blake3(data).hexdigest())


IMAGE = Image(id=IMAGE_ID, status="active", disk_format="raw", size_bytes=len(DATA), digest=sha512_of(DATA))


class World:
    """Cinder and this host in memory, as a store sees them, and as a user of another project does."""

    def __init__(self) -> None:
        self.cinder = MemoryVolumes(project_id="service", administrator=True)
        self.users = self.cinder.of_project("theirs")

    def store(self, data: bytes = DATA, *, volumes: MemoryVolumes | None = None, **settings: Any) -> StoredImage:
        there = volumes or self.cinder
        return store_image(
            [data],
            image_id=IMAGE_ID,
            image_owner="theirs",
            size_bytes=len(data),
            volumes=there,
            attacher=MemoryAttacher(volumes=there),
            settings=StoreSettings(**settings),
        )

    def read(self, volume_id: str, **wishes: Any) -> tuple[bytes, Digest | None, str]:
        attacher = MemoryAttacher(volumes=self.cinder)
        with open_image_volume(volume_id, volumes=self.cinder, attacher=attacher, **wishes) as content:
            return b"".join(content.parts), content.digest, content.unverified

    def check(self, volume_id: str, **wishes: Any) -> DeepCheck:
        asked: dict[str, Any] = {"size_bytes": len(DATA), "algorithm": "sha512", "image": IMAGE, **wishes}
        return check_image_volume(volume_id, volumes=self.cinder, attacher=MemoryAttacher(volumes=self.cinder), **asked)

    def compare(self, volume_id: str, *, trust_recorded: bool = False) -> None:
        attacher = MemoryAttacher(volumes=self.cinder)
        reader = VolumeReader(volumes=self.cinder, attacher=lambda: attacher, trust_recorded=trust_recorded)
        reader(volume_id, PlacedImage(image=IMAGE, stores=("fast",), locations_shown=True))

    def recorded(self, volume_id: str) -> str | None:
        return self.cinder.get(volume_id).metadata.get(KEY)

    def alter(self, volume_id: str, data: bytes = ALTERED, *, volumes: MemoryVolumes | None = None) -> None:
        there = volumes or self.cinder
        there.set_readonly(volume_id, readonly=False)
        attacher = MemoryAttacher(volumes=there)
        with attached(volume_id, mode=AccessMode.WRITE, volumes=there, attacher=attacher) as device:
            device.write(0, memoryview(data))
        there.set_readonly(volume_id, readonly=True)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def without_blake3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "blake3", None)


class TestWriting:
    def test_what_is_written_into_a_volume_is_recorded_with_its_blake3(self, world: World) -> None:
        stored = world.store()
        assert world.recorded(stored.volume.id) == blake3_of(DATA).value
        assert (stored.record.blake3, stored.record.digest) == (blake3_of(DATA), sha512_of(DATA))

    def test_none_is_made_if_none_is_wanted(self, world: World) -> None:
        stored = world.store(blake3=False)
        assert world.recorded(stored.volume.id) is None
        assert set(stored.report.digests) == {"md5", "sha512"}

    def test_it_can_be_the_only_digest(self, world: World) -> None:
        stored = world.store(hash_algorithm=None, checksum=False)
        assert stored.report.digests == {BLAKE3: blake3_of(DATA)}
        assert not {"os_hash_algo", "os_hash_value", "checksum"} & set(stored.volume.metadata)
        assert world.read(stored.volume.id) == (DATA, blake3_of(DATA), "")

    @pytest.mark.usefixtures("without_blake3")
    def test_without_the_package_all_is_as_before(self, world: World) -> None:
        stored = world.store()
        assert world.recorded(stored.volume.id) is None
        assert world.read(stored.volume.id) == (DATA, sha512_of(DATA), "")
        with pytest.raises(MissingDependency):
            world.store(blake3=True)


class TestReading:
    def test_who_forges_data_and_record_is_found_by_the_digest_of_glance(self, world: World) -> None:
        volume_id = world.store().volume.id
        world.alter(volume_id)
        world.cinder.set_metadata(volume_id, {KEY: blake3_of(ALTERED).value})
        check = world.check(volume_id)
        assert (check.digest, check.recorded) == (sha512_of(ALTERED), None)
        with pytest.raises(ContentMismatch):
            world.compare(volume_id)
        with pytest.raises(ContentMismatch):
            world.read(volume_id, image=IMAGE)

    def test_the_blake3_is_used_in_place_of_the_multihash_if_the_operator_relies_on_it(self, world: World) -> None:
        volume_id = world.store().volume.id
        assert world.read(volume_id) == (DATA, blake3_of(DATA), "")
        assert world.check(volume_id, trust_recorded=True) == DeepCheck(
            volume_id=volume_id,
            size_bytes=len(DATA),
            digest=blake3_of(DATA),
            recorded=blake3_of(DATA),
            tail_is_zero=True,
        )
        assert world.check(volume_id).digest == sha512_of(DATA)
        world.compare(volume_id)
        world.compare(volume_id, trust_recorded=True)

    def test_a_volume_that_no_image_names_is_compared_with_what_it_records(self, world: World) -> None:
        volume_id = world.store().volume.id
        world.alter(volume_id)
        alone = {"image": None, "algorithm": None}
        check = world.check(volume_id, **alone)
        assert (check.digest, check.recorded) == (blake3_of(ALTERED), blake3_of(DATA))
        world.cinder.unset_metadata(volume_id, [KEY])
        check = world.check(volume_id, record=True, **alone)
        assert (check.digest, check.recorded, world.recorded(volume_id)) == (sha512_of(ALTERED), sha512_of(DATA), None)
        world.alter(volume_id, DATA)
        world.check(volume_id, record=True, **alone)
        assert world.recorded(volume_id) == blake3_of(DATA).value

    def test_altered_data_is_found_by_every_reader(self, world: World) -> None:
        volume_id = world.store().volume.id
        world.alter(volume_id)
        with pytest.raises(ContentMismatch):
            world.read(volume_id)
        for trusting in (True, False):
            with pytest.raises(ContentMismatch):
                world.compare(volume_id, trust_recorded=trusting)
            check = world.check(volume_id, trust_recorded=trusting)
            assert (check.digest, check.recorded) == (sha512_of(ALTERED), None)

    def test_a_user_who_alters_the_data_and_records_its_blake3_is_not_believed(self, world: World) -> None:
        volume_id = world.store(volumes=world.users).volume.id
        world.alter(volume_id, volumes=world.users)
        world.users.set_metadata(volume_id, {KEY: blake3_of(ALTERED).value})
        with pytest.raises(ContentMismatch):
            world.read(volume_id)
        with pytest.raises(ContentMismatch):
            world.compare(volume_id, trust_recorded=True)
        check = world.check(volume_id, trusted_projects={"service"}, trust_recorded=True)
        assert check.digest == sha512_of(ALTERED)

    def test_a_record_that_cinder_copied_from_a_users_volume_is_not_believed(self, world: World) -> None:
        theirs = world.store(volumes=world.users).volume.id
        world.alter(theirs, volumes=world.users)
        forged = {**world.cinder.get(theirs).metadata, KEY: blake3_of(ALTERED).value}
        volume_id = world.cinder.clone(theirs, name=f"image-{IMAGE_ID}", metadata=forged).id
        world.cinder.wait(volume_id)
        world.cinder.set_readonly(volume_id, readonly=True)
        with pytest.raises(ContentMismatch):
            world.compare(volume_id, trust_recorded=True)
        assert world.check(volume_id, trust_recorded=True).digest == sha512_of(ALTERED)

    def test_a_clone_is_verified_by_what_its_source_was_recorded_with(self, world: World) -> None:
        source = world.store().volume.id
        clone = world.cinder.wait(world.cinder.clone(source, name="clone", metadata={}).id).id
        check = world.check(clone, trust_recorded=True)
        assert (check.digest, check.recorded) == (blake3_of(DATA), blake3_of(DATA))
        world.compare(clone, trust_recorded=True)
        world.alter(clone)
        assert world.check(clone, trust_recorded=True).digest == sha512_of(ALTERED)
        world.cinder.set_readonly(source, readonly=False)
        world.alter(clone, DATA)
        assert world.check(clone, trust_recorded=True).digest == sha512_of(DATA)

    def test_a_wrong_record_alone_says_nothing_against_the_data(self, world: World) -> None:
        volume_id = world.store().volume.id
        world.cinder.set_metadata(volume_id, {KEY: blake3_of(ALTERED).value})
        world.compare(volume_id, trust_recorded=True)
        assert world.check(volume_id, trust_recorded=True).digest == sha512_of(DATA)

    def test_of_an_image_without_a_multihash_the_record_is_all_there_is(self, world: World) -> None:
        volume_id = world.store(hash_algorithm=None, checksum=False).volume.id
        bare = Image(id=IMAGE_ID, size_bytes=len(DATA))
        world.alter(volume_id)
        check = world.check(volume_id, image=bare, algorithm=None)
        assert (check.digest, check.recorded) == (blake3_of(ALTERED), blake3_of(DATA))

    def test_why_a_whole_image_is_not_verified_is_told(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        volume_id = world.store(hash_algorithm=None, checksum=False).volume.id
        world.cinder.set_readonly(volume_id, readonly=False)
        assert world.read(volume_id)[1:] == (
            None,
            "records a BLAKE3 that is not believed, because it is not read-only, so its data may have changed",
        )
        monkeypatch.setitem(sys.modules, "blake3", None)
        assert world.read(volume_id)[1:] == (
            None,
            "records a BLAKE3 only, and blake3 is not installed: pip install 'imagevol[blake3]'",
        )


class TestRecording:
    def test_a_volume_without_one_gets_one_at_its_first_verified_read_if_that_is_wanted(self, world: World) -> None:
        volume_id = world.store(blake3=False).volume.id
        world.read(volume_id)
        world.check(volume_id)
        assert world.recorded(volume_id) is None
        world.read(volume_id, record=True)
        assert world.recorded(volume_id) == blake3_of(DATA).value
        assert world.read(volume_id)[1] == blake3_of(DATA)

    def test_a_volume_that_another_driver_filled_gets_the_multihash_of_its_image_too(self, world: World) -> None:
        volume_id = world.store(blake3=False).volume.id
        world.cinder.unset_metadata(volume_id, ["os_hash_algo", "os_hash_value", "checksum"])
        assert world.check(volume_id, record=True).digest == sha512_of(DATA)
        assert world.recorded(volume_id) == blake3_of(DATA).value
        assert world.check(volume_id, trust_recorded=True).recorded == blake3_of(DATA)

    def test_data_that_was_not_verified_is_not_recorded(self, world: World) -> None:
        volume_id = world.store(blake3=False).volume.id
        world.read(volume_id, record=True, length=5)
        world.cinder.unset_metadata(volume_id, ["os_hash_algo", "os_hash_value"])
        world.read(volume_id, record=True)
        world.alter(volume_id)
        world.check(volume_id, record=True)
        assert world.recorded(volume_id) is None

    def test_a_volume_of_a_user_is_not_written(self, world: World) -> None:
        volume_id = world.store(volumes=world.users, blake3=False).volume.id
        assert world.read(volume_id, record=True)[1] == sha512_of(DATA)
        world.check(volume_id, record=True)
        assert world.recorded(volume_id) is None

    def test_a_reader_that_leaves_early_records_nothing(self, world: World) -> None:
        volume_id = world.store(blake3=False).volume.id
        attacher = MemoryAttacher(volumes=world.cinder)
        with open_image_volume(volume_id, volumes=world.cinder, attacher=attacher, record=True) as content:
            next(content.parts)
        assert world.recorded(volume_id) is None

    def test_a_failure_to_record_fails_no_reading(
        self, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        volume_id = world.store(blake3=False).volume.id

        def fail(*_: object) -> None:
            raise ServiceFailed("Cinder")

        monkeypatch.setattr(MemoryVolumes, "set_metadata", fail)
        assert world.read(volume_id, record=True)[0] == DATA
        assert caplog.messages == [f"Volume {volume_id} was verified, and its BLAKE3 is not recorded: Cinder"]

    @pytest.mark.usefixtures("without_blake3")
    def test_without_the_package_nothing_is_read_that_is_to_be_recorded(self, world: World) -> None:
        volume_id = world.store().volume.id
        with pytest.raises(MissingDependency):
            world.read(volume_id, record=True)
        with pytest.raises(MissingDependency):
            world.check(volume_id, record=True)


class TestTemplates:
    def fill(self, device: Any, **facts: Any) -> Digest | None:
        image = Image(id=IMAGE_ID, disk_format="raw", size_bytes=len(DATA), **facts)
        return fill_device([DATA], device, image=image, converter=QemuConverter(), directory=Path("/nowhere"))

    @pytest.mark.parametrize("digest", [sha512_of(DATA), None])
    def test_what_was_read_back_has_a_blake3(self, digest: Digest | None) -> None:
        assert self.fill(MemoryDevice(1 << 20), digest=digest) == blake3_of(DATA)

    def test_a_device_that_keeps_other_bytes_is_found_also_without_a_multihash(self) -> None:
        class Forgetful(MemoryDevice):
            def write(self, offset: int, data: memoryview) -> int:
                return super().write(offset, memoryview(bytes(data).replace(b"data", b"date", 1)))

        with pytest.raises(ContentMismatch):
            self.fill(Forgetful(1 << 20))

    @pytest.mark.usefixtures("without_blake3")
    def test_without_the_package_it_has_none(self) -> None:
        assert self.fill(MemoryDevice(1 << 20), digest=sha512_of(DATA)) is None
