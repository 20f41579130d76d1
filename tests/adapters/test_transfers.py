"""The procedures: in the specification's order, and whatever fails, nothing is left that the error does not name."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import attrs
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.engine import Hole, Limits, TransferProgress
from imagevol_adapters.ports import AccessMode
from imagevol_adapters.processes import origin
from imagevol_adapters.testing.faults import Steps
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryImages, MemoryVolumes
from imagevol_adapters.transfers import (
    StoredImage,
    StoreSettings,
    attached,
    delete_image_volume,
    open_image_volume,
    register_image,
    store_image,
)
from imagevol_core import (
    FINISHED,
    GIB,
    AttachFailed,
    ContentMismatch,
    DeadlineExceeded,
    DeviceFailed,
    Digest,
    FreshThin,
    Growth,
    Image,
    ImageLocation,
    ImagevolError,
    ImageVolumeMetadata,
    InUse,
    InvalidFact,
    InvalidMetadata,
    InvalidSize,
    RequestRefused,
    ResourceNotFound,
    ServiceFailed,
    ServiceUnreachable,
    SourceFailed,
    TransferCancelled,
    UnsafeImage,
    Volume,
    VolumeFailed,
    WrongLength,
)

IMAGE_ID = "5f0a4ee8-6a4b-4c68-9c2e-6f8a2b1d3c47"
DATA = bytes(range(256)) * 100 + b"end"
SHA512 = Digest("sha512", hashlib.sha512(DATA).hexdigest())
BLAKE3 = Digest("blake3", blake3(DATA).hexdigest())
MD5 = hashlib.md5(DATA).hexdigest()


BYTES = ("device.write", "device.clear", "device.readinto", "device.extents")
"""The steps that are taken as often as there are parts."""


class World:
    """Ports in memory, watched; what is left in them can be looked at."""

    def __init__(self, steps: Steps | None = None, *, cinder: type[MemoryVolumes] = MemoryVolumes) -> None:
        self.memory = cinder(volume_types={"fast": False, "secret": True})
        self.memory_images = MemoryImages(volumes=self.memory, project_id="p", stores=("fast",))
        self.memory_attacher = MemoryAttacher(volumes=self.memory)
        self.watch(steps or Steps())

    def watch(self, steps: Steps) -> None:
        self.steps = steps
        self.volumes = steps.volumes(self.memory)
        self.images = steps.images(self.memory_images)
        self.attacher = steps.attacher(self.memory_attacher)

    def store(self, data: bytes = DATA, **wishes: Any) -> StoredImage:
        arguments: dict[str, Any] = {"image_id": IMAGE_ID, "image_owner": "p", "size_bytes": len(data), **wishes}
        return store_image(
            iter([data[:1000], data[1000:]]),
            volumes=self.volumes,
            attacher=self.attacher,
            **arguments,
        )

    def register(self, data: bytes = DATA, **wishes: Any) -> tuple[Image, StoredImage]:
        arguments: dict[str, Any] = {"name": "disk", "size_bytes": len(data), "store": "fast", **wishes}
        return register_image(
            iter([data]),
            images=self.images,
            volumes=self.volumes,
            attacher=self.attacher,
            **arguments,
        )

    def read(self, volume_id: str, *, offset: int = 0, length: int | None = None) -> bytes:
        with open_image_volume(
            volume_id, volumes=self.volumes, attacher=self.attacher, offset=offset, length=length
        ) as content:
            data = b"".join(content.parts)
            assert len(data) == content.size_bytes
            return data

    def delete(self, volume_id: str) -> None:
        delete_image_volume(volume_id, volumes=self.volumes, images=self.images)

    @property
    def left(self) -> set[tuple[str, str]]:
        """What exists, each by its kind and id."""
        return {
            *(("volume", name) for name in self.memory.volumes),
            *(("attachment", name) for name in self.memory.attachments),
            *(("image", name) for name in self.memory_images.images),
            *(("device of volume", name) for name in self.memory_attacher.connected.values()),
        }


def named_leftovers(error: BaseException) -> set[tuple[str, str]]:
    """What an error says is left, each by its kind and id."""
    notes = [note.removeprefix("left behind: ") for note in getattr(error, "__notes__", ())]
    found = set()
    for text in (*getattr(error, "leftovers", ()), *notes):
        # Of these only the services know.
        if re.match(r"volume image-\S+, if Cinder has created it|image \w+, if Glance has created it", text):
            continue
        match = re.match(r"(volume|attachment|image|device of volume) ([0-9a-f-]{36})", text)
        assert match, text
        assert isinstance(error, ImagevolError) is (text in str(error))
        found.add((match[1], match[2]))
    return found


@pytest.fixture
def world() -> World:
    return World()


class TestStoring:
    def test_the_steps_are_in_the_order_of_the_specification(self, world: World) -> None:
        world.store()
        assert [step for step in world.steps.taken if step not in BYTES] == [
            "volumes.create",
            "volumes.wait",
            "attacher.connector",
            "volumes.attach",
            "volumes.complete",
            "attacher.open",
            "device.flush",
            "attacher.close",
            "volumes.detach",
            "volumes.wait",
            "volumes.set_readonly",
            "volumes.set_metadata",
            "volumes.get",
        ]

    def test_a_stored_image_is_in_a_marked_volume_that_says_all_about_it(self, world: World) -> None:
        progress: list[TransferProgress] = []
        stored = world.store(progress=progress.append)
        (volume,) = world.memory.volumes.values()
        assert stored.volume == volume
        assert (volume.size_gib, volume.status, volume.volume_type, volume.readonly) == (1, "available", "fast", True)
        assert volume.metadata == {
            **origin("put", IMAGE_ID).to_volume(),
            **FINISHED,
            "image_id": IMAGE_ID,
            "glance_image_id": IMAGE_ID,
            "image_owner": "p",
            "image_size": str(len(DATA)),
            "os_hash_algo": "sha512",
            "os_hash_value": SHA512.value,
            "checksum": MD5,
            "imagevol_blake3": BLAKE3.value,
        }
        assert stored.record == ImageVolumeMetadata.from_volume(volume.metadata)
        assert progress[-1].done_bytes == stored.report.size_bytes == len(DATA)
        assert world.memory.contents[volume.id].read(0, len(DATA) + 9) == DATA + bytes(9)
        assert world.left == {("volume", volume.id)}

    def test_a_volume_that_is_closed_is_not_taken_for_an_empty_image(self, world: World) -> None:
        volume_id = world.store().volume.id
        with open_image_volume(volume_id, volumes=world.volumes, attacher=world.attacher) as content:
            pass
        with pytest.raises(DeviceFailed, match="read it while the context lasts"):
            b"".join(content.parts)

    def test_another_digest_algorithm_is_recorded_if_it_is_asked_for(self, world: World) -> None:
        stored = world.store(settings=StoreSettings(hash_algorithm="sha256"), image_owner=None)
        assert stored.record.digest == Digest("sha256", hashlib.sha256(DATA).hexdigest())
        assert stored.record.image_owner is None

    def test_an_empty_image_is_an_image(self, world: World) -> None:
        stored = world.store(b"")
        assert (stored.volume.size_gib, stored.record.size_bytes) == (1, 0)
        assert world.read(stored.volume.id) == b""

    @pytest.mark.parametrize("size_bytes, size_gib", [(GIB, 1), (GIB + 1, 2), (5 * GIB, 5)])
    def test_the_volume_is_as_large_as_it_must_be(self, world: World, size_bytes: int, size_gib: int) -> None:
        with pytest.raises(WrongLength):
            store_image(
                self.watching(world, size_gib),
                image_id=IMAGE_ID,
                image_owner="p",
                size_bytes=size_bytes,
                volumes=world.volumes,
                attacher=world.attacher,
            )

    @staticmethod
    def watching(world: World, size_gib: int) -> Iterator[bytes]:
        (volume,) = world.memory.volumes.values()
        assert (volume.size_gib, volume.status) == (size_gib, "in-use")
        yield b"not all of it"

    @pytest.mark.parametrize(
        "wish, expected",
        [
            ({"size_bytes": -1}, InvalidSize),
            ({"size_bytes": len(DATA) - 1}, WrongLength),
            ({"size_bytes": len(DATA) + 1}, WrongLength),
            ({"size_bytes": 101 * GIB}, VolumeFailed),
            ({"volume_type": "secret"}, RequestRefused),
            ({"volume_type": "none"}, RequestRefused),
            ({"settings": StoreSettings(hash_algorithm="rot13")}, InvalidFact),
        ],
    )
    def test_what_cannot_be_stored_leaves_nothing(
        self, world: World, wish: dict[str, Any], expected: type[ImagevolError]
    ) -> None:
        with pytest.raises(expected) as caught:
            world.store(**wish)
        assert caught.value.leftovers == ()
        assert world.left == set()

    def test_an_encrypted_volume_is_never_attached(self, world: World) -> None:
        with pytest.raises(RequestRefused, match=r"of type secret is encrypted.*choose a type without encryption"):
            world.store(volume_type="secret")
        assert world.steps.taken == ["volumes.create", "volumes.wait", "volumes.delete"]

    @pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt, ServiceFailed, SystemExit, ZeroDivisionError])
    def test_data_that_fail_leave_nothing(self, world: World, kind: type[BaseException]) -> None:
        def broken() -> Iterator[bytes]:
            yield DATA[:100]
            raise kind("stop")

        with pytest.raises(SourceFailed if kind is OSError else kind):
            store_image(
                broken(),
                image_id=IMAGE_ID,
                image_owner="p",
                size_bytes=len(DATA),
                volumes=world.volumes,
                attacher=world.attacher,
            )
        assert world.left == set()

    def test_without_the_legacy_digest_the_volume_has_none(self, world: World) -> None:
        stored = world.store(settings=StoreSettings(checksum=False))
        assert (stored.record.digest, stored.record.checksum) == (SHA512, None)
        assert "checksum" not in stored.volume.metadata

    def test_a_transfer_that_is_cancelled_leaves_nothing(self, world: World) -> None:
        limits = Limits()
        limits.cancelled.set()
        with pytest.raises(TransferCancelled):
            world.store(limits=limits)
        assert world.left == set()


class UsedStorage(MemoryVolumes):
    """A Cinder whose new volumes hold what somebody else left, and that says how often it extended one."""

    device: ClassVar[dict[str, Any]] = {}

    def create(self, **wishes: Any) -> Volume:
        volume = super().create(**wishes)
        content = self.contents[volume.id]
        content.write(0, memoryview(OLD))
        for name, value in self.device.items():
            setattr(content, name, value)
        return volume


class CannotClear(UsedStorage):
    device: ClassVar[dict[str, Any]] = {"can_clear": False}


class Promises(UsedStorage):
    device: ClassVar[dict[str, Any]] = {"guarantee": "rbd"}


OLD = b"secret" * 50_000


class TestOldData:
    """What somebody else left on the storage never shows through, unless something proves that there is nothing."""

    def content(self, world: World) -> bytes:
        (device,) = world.memory.contents.values()
        return device.read(0, len(OLD))

    @pytest.mark.parametrize("cinder", [UsedStorage, CannotClear])
    def test_old_data_is_gone_before_the_volume_becomes_an_image(self, cinder: type[MemoryVolumes]) -> None:
        world = World(cinder=cinder)
        data = DATA + bytes(100_000) + DATA
        world.store(data)
        assert self.content(world) == data + bytes(len(OLD) - len(data))

    def test_with_a_proof_of_zeros_nothing_is_cleared(self) -> None:
        world = World(cinder=UsedStorage)
        report = world.store(settings=StoreSettings(zero_proof=lambda path: FreshThin(path=path))).report
        assert (report.zeroed_bytes, report.written_bytes) == (0, len(DATA))
        assert self.content(world) == DATA + OLD[len(DATA) :]

    def test_with_the_guarantee_of_the_driver_nothing_is_cleared(self) -> None:
        report = World(cinder=Promises).store().report
        assert (report.zeroed_bytes, report.written_bytes, report.skipped_bytes) == (0, len(DATA), GIB - len(DATA))


class Growing(MemoryVolumes):
    """A Cinder that says to which sizes it extended."""

    sizes: ClassVar[list[int]] = []

    def extend(self, volume_id: str, *, size_gib: int) -> Volume:
        assert self.volumes[volume_id].status == "available"
        self.sizes.append(size_gib)
        return super().extend(volume_id, size_gib=size_gib)


class DoesNotGrow(MemoryVolumes):
    """A host that does not see that a volume was extended."""

    def extend(self, volume_id: str, *, size_gib: int) -> Volume:
        size_bytes = self.contents[volume_id].size_bytes
        volume = super().extend(volume_id, size_gib=size_gib)
        self.contents[volume_id].size_bytes = size_bytes
        return volume


class TestUnknownLength:
    """A volume grows under a stream of which nobody knows the length."""

    def store(self, world: World, size_bytes: int) -> StoredImage:
        source: list[bytes | Hole] = [Hole(size_bytes - len(DATA)), DATA] if size_bytes else []
        return store_image(
            source,
            image_id=IMAGE_ID,
            image_owner="p",
            size_bytes=None,
            volumes=world.volumes,
            attacher=world.attacher,
            settings=StoreSettings(hash_algorithm="sha1", checksum=False, growth=Growth(percent=100)),
        )

    @pytest.mark.parametrize(
        "size_bytes, sizes", [(0, []), (GIB, []), (GIB + 1, [2]), (5 * GIB // 2, [2, 4]), (4 * GIB + 1, [2, 4, 8])]
    )
    def test_a_volume_for_a_stream_of_unknown_length_is_extended_while_it_is_detached(
        self, size_bytes: int, sizes: list[int]
    ) -> None:
        world = World(cinder=Growing)
        Growing.sizes.clear()
        stored = self.store(world, size_bytes)
        assert Growing.sizes == sizes
        assert (stored.record.size_bytes, stored.volume.size_gib) == (size_bytes, (sizes or [1])[-1])
        if size_bytes:
            assert world.read(stored.volume.id, offset=size_bytes - len(DATA)) == DATA

    def test_a_device_that_does_not_grow_with_its_volume_is_an_error(self) -> None:
        world = World(cinder=DoesNotGrow)
        with pytest.raises(DeviceFailed, match=f"has {GIB} bytes, and {2 * GIB} are needed"):
            self.store(world, GIB + 1)
        assert world.left == set()

    def test_a_backend_that_has_no_more_room_leaves_nothing(self, world: World) -> None:
        world.memory.capacity_gib = 1
        with pytest.raises(VolumeFailed, match="the backend is full"):
            self.store(world, GIB + 1)
        assert world.left == set()


class TestRegistering:
    def test_the_image_is_in_glance_and_its_data_in_the_volume(self, world: World) -> None:
        image, stored = world.register(owner="q", visibility="public")
        assert (image.status, image.owner, image.visibility, image.disk_format) == ("active", "q", "public", "raw")
        assert (image.size_bytes, image.digest) == (len(DATA), SHA512)
        assert image.locations == (ImageLocation(f"cinder://fast/{stored.volume.id}", {"store": "fast"}),)
        assert (stored.record.image_id, stored.record.image_owner) == (image.id, "q")
        assert b"".join(world.images.read(image.id)) == DATA
        assert world.left == {("volume", stored.volume.id), ("image", image.id)}

    def test_the_steps_around_the_storing_are_in_order(self, world: World) -> None:
        world.register()
        stored = World()
        stored.store()
        begin, *storing, registered, end = world.steps.taken
        assert (begin, registered, end) == ("images.create", "images.add_location", "images.unset_properties")
        assert [step for step in storing if step not in BYTES] == [
            step for step in stored.steps.taken if step not in BYTES
        ]

    def test_a_stream_of_unknown_length_is_one_too_unless_it_is_empty(self, world: World) -> None:
        image, stored = world.register(size_bytes=None)
        assert (image.size_bytes, stored.volume.size_gib) == (len(DATA), 1)
        left = world.left
        with pytest.raises(UnsafeImage, match="has-data"):
            world.register(b"", size_bytes=None)
        assert world.left == left

    def test_without_a_store_the_location_is_as_in_the_single_store_days(self, world: World) -> None:
        image, stored = world.register(store=None)
        assert [location.url for location in image.locations] == [f"cinder://{stored.volume.id}"]

    @pytest.mark.parametrize("wish", [{"store": "no/store"}, {"store": ""}, {"size_bytes": 0}])
    def test_what_glance_would_not_take_is_refused_before_anything_is_made(
        self, world: World, wish: dict[str, Any]
    ) -> None:
        with pytest.raises(RequestRefused):
            world.register(**wish)
        assert world.steps.taken == []


def store(world: World) -> None:
    world.store()


def register(world: World) -> None:
    world.register()


def read(world: World) -> None:
    world.read(next(iter(world.memory.volumes)))


def read_a_part(world: World) -> None:
    world.read(next(iter(world.memory.volumes)), offset=7, length=1000)


def delete(world: World) -> None:
    world.delete(next(iter(world.memory.volumes)))


@attrs.frozen
class Case:
    """A procedure that can be run in a world, and what must be there for it."""

    run: Callable[[World], None]
    needs_image: bool

    def world(self) -> World:
        world = World()
        if self.needs_image:
            world.store()
        world.watch(Steps())
        return world

    def steps(self) -> list[str]:
        world = self.world()
        self.run(world)
        return world.steps.taken


def some_of(steps: list[str]) -> Iterator[tuple[int, str]]:
    """Give each step and its number, but of those that move bytes, which repeat, the first few and the last."""
    moving = [number for number, step in enumerate(steps) if step in BYTES]
    for number, step in enumerate(steps):
        if number not in moving[8:-2]:
            yield number, step


CASES = {
    "store": Case(store, needs_image=False),
    "register": Case(register, needs_image=False),
    "read": Case(read, needs_image=True),
    "read a part": Case(read_a_part, needs_image=True),
    "delete": Case(delete, needs_image=True),
}
EVERY_STEP = pytest.mark.parametrize(
    "case, number",
    [
        pytest.param(case, number, id=f"{name}-{number}-{step}")
        for name, case in CASES.items()
        for number, step in some_of(case.steps())
    ],
)
RELEASES = {"attacher.close", "volumes.detach", "volumes.delete", "images.delete"}
FAULTS: dict[str, Callable[[], BaseException]] = {
    "ours": lambda: ServiceFailed("no answer"),
    "ours of the storage": lambda: AttachFailed("no path"),
    "an interrupt": KeyboardInterrupt,
    "a defect": lambda: ZeroDivisionError("oops"),
}


class TestEveryFailure:
    """Each step of each procedure fails once."""

    @EVERY_STEP
    @pytest.mark.parametrize("lasting", [False, True])
    @pytest.mark.parametrize("fault", FAULTS)
    def test_what_is_left_is_what_the_error_names(self, case: Case, number: int, lasting: bool, fault: str) -> None:
        world = case.world()
        before = world.left
        world.watch(Steps(fail_at=number, lasting=lasting, fault=FAULTS[fault]))
        with pytest.raises(type(FAULTS[fault]())) as caught:
            case.run(world)
        assert named_leftovers(caught.value) == world.left - before

    @EVERY_STEP
    @pytest.mark.parametrize("fault", FAULTS)
    def test_what_can_be_undone_is_undone(self, case: Case, number: int, fault: str) -> None:
        world = case.world()
        before = world.left
        world.watch(Steps(fail_at=number, fault=FAULTS[fault]))
        with pytest.raises(type(FAULTS[fault]())):
            case.run(world)
        if world.steps.taken[number] not in RELEASES:
            assert world.left == before

    @EVERY_STEP
    def test_after_a_failure_the_procedure_can_be_repeated(self, case: Case, number: int) -> None:
        world = case.world()
        world.watch(Steps(fail_at=number))
        with pytest.raises(ServiceFailed):
            case.run(world)
        if world.steps.taken[number] in RELEASES:
            return
        world.watch(Steps())
        case.run(world)
        assert world.memory.attachments == {}

    def test_a_volume_whose_creation_was_not_answered_is_gone(self) -> None:
        class Lost(MemoryVolumes):
            def create(self, **wishes: Any) -> Volume:
                super().create(**wishes)
                raise ServiceUnreachable("the answer was lost")

        world = World(cinder=Lost)
        with pytest.raises(ServiceUnreachable) as caught:
            world.store()
        assert (world.memory.volumes, caught.value.leftovers) == ({}, ())

    @pytest.mark.parametrize("status, left", [("deleting", False), ("detaching", True), (None, False)])
    def test_a_volume_that_cinder_is_still_deleting_is_not_left_behind(self, status: str | None, left: bool) -> None:
        class Slow(MemoryVolumes):
            def delete(self, volume_id: str, *, wait: bool = True) -> None:
                if status is None:
                    super().delete(volume_id)
                else:
                    self._change(volume_id, status=status)
                raise DeadlineExceeded(f"volume {volume_id} is not gone", seconds=10)

        world = World(cinder=Slow)
        with pytest.raises(WrongLength) as caught:
            world.store(size_bytes=1)
        named = tuple(f"volume {each} (volume {each} is not gone after 10 seconds)" for each in world.memory.volumes)
        assert caught.value.leftovers == (named if left else ())

    def test_a_volume_that_somebody_else_deleted_meanwhile_is_as_wanted(self, world: World) -> None:
        def broken() -> Iterator[bytes]:
            yield DATA
            world.memory.attachments.clear()
            world.memory.volumes.clear()
            raise OSError("the disk is gone")

        with pytest.raises(SourceFailed) as caught:
            store_image(
                broken(),
                image_id=IMAGE_ID,
                image_owner="p",
                size_bytes=len(DATA),
                volumes=world.volumes,
                attacher=world.attacher,
            )
        assert caught.value.leftovers == ()


class TestReading:
    @given(st.binary(max_size=100), st.integers(0, 110), st.none() | st.integers(0, 110))
    def test_any_range_of_an_image_volume_can_be_read(self, data: bytes, offset: int, length: int | None) -> None:
        world = World()
        volume_id = world.store(data).volume.id
        end = None if length is None else offset + length
        assert world.read(volume_id, offset=offset, length=length) == data[offset:end]
        assert world.memory.attachments == {}

    @pytest.mark.parametrize("offset, length", [(-1, None), (0, -1), (-1, -1)])
    def test_a_range_that_there_cannot_be_is_refused(self, world: World, offset: int, length: int | None) -> None:
        with pytest.raises(InvalidSize):
            world.read("any", offset=offset, length=length)
        assert world.steps.taken == []

    def test_a_read_attaches_read_only_and_detaches_in_order(self, world: World) -> None:
        volume_id = world.store().volume.id
        world.watch(Steps())
        world.read(volume_id)
        assert world.steps.taken == [
            "volumes.get",
            "attacher.connector",
            "volumes.attach",
            "volumes.complete",
            "attacher.open",
            "device.extents",
            "device.readinto",
            "attacher.close",
            "volumes.detach",
        ]

    def test_a_volume_that_may_be_attached_twice_is_let_go_under_the_hosts_lock(self, world: World) -> None:
        volume_id = world.store().volume.id
        world.memory.volumes[volume_id] = replace(world.memory.volumes[volume_id], multiattach=True)
        world.watch(Steps())
        world.read(volume_id)
        assert world.steps.taken[-3:] == ["attacher.leaving", "attacher.close", "volumes.detach"]

    def test_a_reader_that_hands_the_data_on_can_leave_out_the_verification(self, world: World) -> None:
        volume_id = world.store().volume.id
        world.memory.contents[volume_id].write(0, memoryview(b"!"))
        with open_image_volume(volume_id, volumes=world.volumes, attacher=world.attacher, verify=False) as content:
            assert b"".join(content.parts) == b"!" + DATA[1:]

    @pytest.mark.parametrize("recorded", [True, False])
    def test_a_digest_that_the_reader_gives_counts_before_the_one_that_the_volume_records(
        self, world: World, recorded: bool
    ) -> None:
        volume = world.store().volume
        if not recorded:
            kept = {key: value for key, value in volume.metadata.items() if "hash" not in key and "blake3" not in key}
            world.memory.volumes[volume.id] = replace(volume, status="available", metadata=kept)
        read = partial(open_image_volume, volume.id, volumes=world.volumes, attacher=world.attacher)
        wrong = Digest("sha256", "ab" * 32)
        with pytest.raises(ContentMismatch) as caught, read(digest=wrong) as content:
            deque(content.parts, maxlen=0)
        assert content.digest == wrong
        assert caught.value.expected == str(wrong)
        right = Digest("sha256", hashlib.sha256(DATA).hexdigest())
        with read(digest=right) as content:
            assert b"".join(content.parts) == DATA
        with read() as content:
            assert (content.digest is not None) is recorded
        for unverified in ({"verify": False}, {"length": 3}):
            with read(digest=wrong, **unverified) as content:
                assert content.digest is None

    def test_a_volume_that_cannot_be_read_is_not_attached(self, world: World) -> None:
        volume_id = world.store().volume.id
        world.watch(Steps())

        def refuse(volume: Volume) -> None:
            raise RequestRefused(f"volume {volume.id} is somebody's")

        with (
            pytest.raises(RequestRefused, match=f"volume {volume_id} is somebody's"),
            open_image_volume(volume_id, volumes=world.volumes, attacher=world.attacher, permit=refuse),
        ):
            pass
        assert world.steps.taken == ["volumes.get"]

    def test_altered_data_are_an_error_at_their_end(self, world: World) -> None:
        volume_id = world.store().volume.id
        world.memory.contents[volume_id].write(100, memoryview(b"!"))
        with pytest.raises(ContentMismatch, match=f"volume {volume_id} has been altered") as caught:
            world.read(volume_id)
        assert caught.value.expected == str(BLAKE3)
        assert world.memory.attachments == {}

    def test_a_part_of_altered_data_cannot_be_told(self, world: World) -> None:
        volume_id = world.store().volume.id
        world.memory.contents[volume_id].write(0, memoryview(b"!"))
        assert world.read(volume_id, offset=1) == DATA[1:]
        assert world.read(volume_id, length=2) == b"!" + DATA[1:2]

    def test_a_range_that_is_the_whole_is_checked_as_the_whole(self, world: World) -> None:
        volume_id = world.store().volume.id
        world.memory.contents[volume_id].write(0, memoryview(b"!"))
        with pytest.raises(ContentMismatch):
            world.read(volume_id, length=len(DATA) + 100)

    def test_a_volume_that_records_nothing_is_read_as_a_whole(self, world: World) -> None:
        volume_id = world.memory.wait(world.memory.create(size_gib=1, name="n").id).id
        world.memory.contents[volume_id].write(3, memoryview(b"data"))
        with open_image_volume(volume_id, volumes=world.volumes, attacher=world.attacher) as content:
            assert content.size_bytes == GIB
            assert next(content.parts)[:9] == b"\0\0\0data\0\0"
        assert world.memory.attachments == {}

    def test_a_volume_that_is_smaller_than_it_says_is_an_error_and_never_a_short_image(self, world: World) -> None:
        volume_id = world.memory.wait(world.memory.create(size_gib=1, name="n").id).id
        world.memory.set_metadata(volume_id, {"image_size": str(GIB + 1)})
        with pytest.raises(DeviceFailed, match=f"ends at byte {GIB}"):
            world.read(volume_id, offset=GIB - 1)

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, OSError, GeneratorExit])
    def test_a_read_that_is_stopped_in_the_middle_leaves_no_attachment(
        self, world: World, kind: type[BaseException]
    ) -> None:
        volume_id = world.store().volume.id
        with (
            pytest.raises(kind),
            open_image_volume(volume_id, volumes=world.volumes, attacher=world.attacher) as content,
        ):
            raise kind(next(content.parts))
        assert world.left == {("volume", volume_id)}

    def test_an_encrypted_volume_is_never_attached(self, world: World) -> None:
        volume_id = world.store().volume.id
        world.memory.volumes[volume_id] = replace(world.memory.volumes[volume_id], encrypted=True)
        world.watch(Steps())
        with pytest.raises(RequestRefused, match="is encrypted"):
            world.read(volume_id)
        assert world.steps.taken == ["volumes.get"]

    def test_metadata_that_make_no_sense_are_refused(self, world: World) -> None:
        volume_id = world.store().volume.id
        world.memory.set_metadata(volume_id, {"image_size": "lots"})
        with pytest.raises(InvalidMetadata):
            world.read(volume_id)
        assert world.memory.attachments == {}


class TestAttached:
    def test_a_volume_that_is_in_use_is_not_touched(self, world: World) -> None:
        volume_id = world.store().volume.id
        there = world.memory.attach(volume_id, connector={}, mode=AccessMode.READ)
        with pytest.raises(InUse), suppress(ResourceNotFound):
            world.read(volume_id)
        assert world.memory.attachments == {there.id: there}

    def test_an_image_volume_is_not_written_again(self, world: World) -> None:
        volume_id = world.store().volume.id
        with (
            pytest.raises(InUse, match="read-only"),
            attached(volume_id, mode=AccessMode.WRITE, volumes=world.volumes, attacher=world.attacher),
        ):
            pass
        assert world.left == {("volume", volume_id)}


class TestDeleting:
    def test_an_image_that_glance_may_hide_keeps_its_volume(self, world: World) -> None:
        """Glance answers for another project's private image as for one that does not exist."""
        volume_id = world.store(image_owner="another-project").volume.id
        world.memory_images.sees_all = False
        with pytest.raises(RequestRefused, match="credentials of an administrator"):
            world.delete(volume_id)
        assert volume_id in world.memory.volumes
        world.memory_images.sees_all = True
        world.delete(volume_id)
        assert volume_id not in world.memory.volumes

    def test_an_image_of_the_own_project_is_not_hidden(self, world: World) -> None:
        world.memory_images.sees_all = False
        world.delete(world.store(image_owner=world.memory.project_id).volume.id)
        assert world.memory.volumes == {}

    def test_an_image_volume_is_gone(self, world: World) -> None:
        world.delete(world.store().volume.id)
        assert world.left == set()

    @pytest.mark.parametrize("metadata", [{}, {"image_size": "1"}, {"name": "mine"}])
    def test_a_volume_that_holds_no_image_is_refused(self, world: World, metadata: dict[str, str]) -> None:
        volume = world.memory.wait(world.memory.create(size_gib=1, name="data").id)
        world.memory.set_metadata(volume.id, metadata)
        with pytest.raises(RequestRefused, match=rf"volume {volume.id} holds no image.*openstack volume delete"):
            world.delete(volume.id)
        assert world.left == {("volume", volume.id)}

    def test_a_volume_that_an_image_lives_in_is_refused(self, world: World) -> None:
        image, stored = world.register()
        with pytest.raises(InUse, match=rf"has the data of image {image.id}.*openstack image delete"):
            world.delete(stored.volume.id)
        assert world.left == {("volume", stored.volume.id), ("image", image.id)}

    def test_a_volume_whose_image_does_not_show_its_locations_is_refused(self, world: World) -> None:
        image, stored = world.register()
        world.memory_images.images[image.id] = replace(image, locations=())
        with pytest.raises(InUse):
            world.delete(stored.volume.id)

    def test_a_volume_whose_image_lives_elsewhere_goes(self, world: World) -> None:
        image, stored = world.register()
        elsewhere = ImageLocation("file:///elsewhere")
        world.memory_images.images[image.id] = replace(image, locations=(elsewhere,))
        world.delete(stored.volume.id)
        assert world.left == {("image", image.id)}

    def test_a_volume_that_is_attached_is_in_use(self, world: World) -> None:
        volume_id = world.store().volume.id
        world.memory.attach(volume_id, connector={}, mode=AccessMode.READ)
        with pytest.raises(InUse):
            world.delete(volume_id)

    def test_a_volume_that_there_is_not_is_not_found(self, world: World) -> None:
        with pytest.raises(ResourceNotFound):
            world.delete(IMAGE_ID)
