"""A volume becomes an image: whatever fails on the way, it is one in the end or nothing is left that is not named."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from imagevol_adapters.engine import Limits, TransferProgress
from imagevol_adapters.ports import AccessMode
from imagevol_adapters.processes import origin
from imagevol_adapters.testing.faults import Steps
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryImages, MemoryVolumes
from imagevol_adapters.transfers import UploadedVolume, register_clone
from imagevol_core import (
    FINISHED,
    GIB,
    AttachFailed,
    Digest,
    Image,
    ImageLocation,
    InUse,
    OverQuota,
    RequestRefused,
    ResourceNotFound,
    ServiceFailed,
    ServiceUnreachable,
    TransferCancelled,
    UploadSettings,
    Volume,
)

DATA = bytes(range(256)) * 100
MARK = "imagevol_clone_of"


class SparseImages(MemoryImages):
    """A Glance that keeps of what is uploaded only what is not zero, so that a GiB can be uploaded often."""

    def upload(self, image_id: str, data: Iterable[bytes], *, size_bytes: int | None, **wishes: Any) -> Image:
        came, kept = 0, []
        for part in data:
            came += len(part)
            if part != bytes(len(part)):
                kept.append(part)
        assert came == size_bytes == GIB
        return super().upload(image_id, kept, size_bytes=None, **wishes)


class BelievesTheStore(SparseImages):
    """A Glance that finds no store by itself, as one of the older API without `enabled_backends`."""

    def add_location(self, image_id: str, url: str, *, store: str | None, digest: Digest | None) -> Image:
        image = super().add_location(image_id, url, store=store, digest=digest)
        self.images[image_id] = replace(image, locations=(ImageLocation(url, {"store": store} if store else {}),))
        return self.images[image_id]


class TakesAnother(SparseImages):
    """A Glance that answers that an image is active, and has not taken the location."""

    def add_location(self, image_id: str, url: str, *, store: str | None, digest: Digest | None) -> Image:
        del url, store, digest
        elsewhere = (ImageLocation("file:///elsewhere", {"store": "slow"}),)
        return replace(self.images[image_id], status="active", locations=elsewhere)


class World:
    """Ports in memory, watched, with a volume that is to be an image."""

    def __init__(
        self,
        *,
        cinder: type[MemoryVolumes] = MemoryVolumes,
        glance: type[MemoryImages] = SparseImages,
        kind: str = "fast",
    ) -> None:
        self.memory = cinder(
            project_id="service",
            volume_types={"fast": False, "fast2slow": False, "secret": True},
            extra_specs={"fast2slow": {"image_service:store_id": "slow"}},
        )
        self.memory_images = glance(volumes=self.memory, project_id="p", stores=("fast", "slow"))
        self.memory_attacher = MemoryAttacher(volumes=self.memory)
        self.source = self.memory.wait(self.memory.create(size_gib=1, name="disk", volume_type=kind).id).id
        self.memory.contents[self.source].write(0, memoryview(DATA))
        self.image = self.memory_images.create(name="of the disk", disk_format="raw").id
        self.watch(Steps())

    def watch(self, steps: Steps) -> None:
        self.steps = steps
        self.volumes = steps.volumes(self.memory)
        self.images = steps.images(self.memory_images)
        self.attacher = steps.attacher(self.memory_attacher)

    def upload(self, **wishes: Any) -> UploadedVolume:
        return register_clone(
            self.source,
            image_id=self.image,
            images=self.images,
            volumes=self.volumes,
            attacher=self.attacher,
            **wishes,
        )

    @property
    def shown(self) -> Image:
        return self.memory_images.images[self.image]

    @property
    def read(self) -> bytes:
        return next(self.memory_images.read(self.image))[: len(DATA)]

    @property
    def left(self) -> set[tuple[str, str]]:
        """What there is beside the volume and its image, each by its kind and id."""
        urls = [location.url for location in self.shown.locations]
        lived_in = {volume_id for volume_id in self.memory.volumes if any(volume_id in url for url in urls)}
        return {
            *(("volume", volume_id) for volume_id in self.memory.volumes.keys() - {self.source} - lived_in),
            *(("attachment", attachment_id) for attachment_id in self.memory.attachments),
            *(("device of volume", volume_id) for volume_id in self.memory_attacher.connected.values()),
        }


def named(error: BaseException | None) -> set[tuple[str, str]]:
    """What an error says is left, each by its kind and id."""
    texts = (*getattr(error, "leftovers", ()), *getattr(error, "__notes__", ()))
    thing = re.compile(r"(?:left behind: )?(volume|attachment|device of volume) ([0-9a-f-]{36})")
    found = [thing.match(text) for text in texts]
    return {(match[1], match[2]) for match in found if match}


@pytest.fixture
def world() -> World:
    return World()


class TestRegistered:
    def test_the_clone_is_marked_read_only_and_registered_in_this_order(self, world: World) -> None:
        world.upload()
        assert world.steps.taken == [
            "images.wait",
            "volumes.named",
            "volumes.get",
            "volumes.base_image_id",
            "volumes.volume_type",
            "volumes.clone",
            "volumes.wait",
            "volumes.set_metadata",
            "volumes.set_readonly",
            "images.wait",
            "images.add_location",
        ]

    def test_the_steps_of_the_plan_are_what_happens_and_are_in_the_log(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, logger="imagevol_adapters.transfers")
        plan = world.upload().plan
        assert plan
        about = f"Volume {world.source}, image {world.image}: "
        taken = [message.removeprefix(about) for message in caplog.messages if message.startswith(about)]
        assert taken == [step.action.value for step in plan.steps]

    def test_an_image_that_is_active_elsewhere_is_not_the_clone(self) -> None:
        world = World(glance=TakesAnother)
        done = world.upload()
        assert (done.image_volume, done.image) == (None, world.shown)
        assert (world.read, world.left) == (DATA, set())

    @pytest.mark.parametrize("kind, location", [("fast", "cinder://{}"), ("fast2slow", "cinder://slow/{}")])
    def test_the_image_lives_in_a_clone_that_says_all_about_it(self, kind: str, location: str) -> None:
        world = World(kind=kind)
        done = world.upload()
        (clone,) = world.memory.named(f"image-{world.image}")
        assert done.image == world.shown
        assert (done.image_volume, done.failure) == (clone, None)
        assert (clone.project_id, clone.readonly, clone.volume_type) == ("service", True, kind)
        assert clone.metadata == {
            **origin("upload", world.image).to_volume(),
            **FINISHED,
            "image_id": world.image,
            "glance_image_id": world.image,
            "image_owner": "p",
            "image_size": str(GIB),
            MARK: world.source,
        }
        assert [one.url for one in world.shown.locations] == [location.format(clone.id)]
        assert (world.shown.status, world.shown.size_bytes, world.read) == ("active", GIB, DATA)

    @pytest.mark.parametrize("kind, told", [("fast", {}), ("fast2slow", {"store": "slow"})])
    def test_glance_is_told_the_store_of_the_volumes_type(self, kind: str, told: dict[str, str]) -> None:
        world = World(kind=kind, glance=BelievesTheStore)
        world.upload()
        assert [dict(location.metadata) for location in world.shown.locations] == [told]

    def test_a_second_call_gets_the_same_answer_and_makes_no_second_clone(self, world: World) -> None:
        done = world.upload()
        again = world.upload()
        assert (again.image, again.image_volume, again.plan) == (done.image, done.image_volume, None)
        assert len(world.memory.volumes) == 2

    def test_a_volume_in_use_is_cloned_only_by_force(self, world: World) -> None:
        world.memory.complete(world.memory.attach(world.source, connector={}, mode=AccessMode.WRITE))
        with pytest.raises(InUse, match="detach it, or force it"):
            world.upload()
        assert world.upload(force=True).image_volume


class TestCopied:
    """What is not to be registered is copied, with the headers of the plan."""

    @pytest.mark.parametrize("kind, store", [("fast", "fast"), ("fast2slow", "slow")])
    def test_a_copy_goes_to_the_store_of_its_type_and_names_its_base_image(
        self, kind: str, store: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        world = World(kind=kind)
        world.memory.base_images[world.source] = "b"
        caplog.set_level(logging.INFO)
        done = world.upload(settings=UploadSettings())
        assert (done.image, done.image_volume, done.failure) == (world.shown, None, None)
        assert world.shown.locations == (ImageLocation(f"file:///memory/{world.image}", {"store": store}),)
        assert (world.read, world.memory_images.base_images) == (DATA, {world.image: "b"})
        assert world.left == set()
        assert "registration-enabled: image_upload_use_cinder_backend is False" in caplog.text

    def test_a_clone_never_belongs_to_another_project_than_it_should(self, world: World) -> None:
        tenant = UploadSettings(use_cinder_backend=True, use_internal_tenant=True, internal_tenant="internal")
        done = world.upload(settings=tenant)
        assert "must belong to project internal, and these credentials make volumes in service" in str(done.failure)
        assert "volumes.clone" not in world.steps.taken
        assert (world.shown.status, world.left) == ("active", set())

    def test_a_copy_tells_how_far_it_is(self, world: World) -> None:
        told: list[TransferProgress] = []
        world.upload(settings=UploadSettings(), progress=told.append)
        assert told[-1] == TransferProgress(done_bytes=GIB, skipped_bytes=0, total_bytes=GIB)

    def test_a_copy_can_be_cancelled_and_leaves_nothing(self, world: World) -> None:
        limits = Limits()
        limits.cancelled.set()
        with pytest.raises(TransferCancelled):
            world.upload(settings=UploadSettings(), limits=limits)
        assert (world.shown.status, world.left) == ("queued", set())


class TestRefused:
    @pytest.mark.parametrize("wrong", [{"disk_format": "qcow2"}, {"container_format": "ovf"}])
    def test_an_image_of_another_format_is_not_made_of_raw_bytes(self, world: World, wrong: dict[str, str]) -> None:
        world.memory_images.images[world.image] = replace(world.shown, **wrong)  # type: ignore[arg-type]
        with pytest.raises(RequestRefused, match="a volume's bytes are raw"):
            world.upload()
        assert (world.shown.status, world.left) == ("queued", set())

    def test_an_encrypted_volume_is_neither_cloned_nor_attached(self) -> None:
        world = World(kind="secret")
        with pytest.raises(RequestRefused, match="is encrypted"):
            world.upload()
        assert not {"volumes.clone", "volumes.attach"} & set(world.steps.taken)

    def test_an_image_that_has_data_is_left_alone(self, world: World) -> None:
        MemoryImages.upload(world.memory_images, world.image, [b"other data"], size_bytes=10)
        with pytest.raises(RequestRefused, match="is 'active', and takes data while it is 'queued'"):
            world.upload()
        assert world.memory_images.data == {world.image: b"other data"}

    def test_what_another_upload_left_of_an_image_that_is_there_now_goes(self, world: World) -> None:
        clone = world.memory.clone(world.source, name=f"image-{world.image}", metadata={MARK: world.source})
        MemoryImages.upload(world.memory_images, world.image, [b"other data"], size_bytes=10)
        with pytest.raises(RequestRefused):
            world.upload()
        assert clone.id not in world.memory.volumes

    def test_volumes_of_others_stay_whatever_they_are_called(self, world: World) -> None:
        stores = world.memory.create(size_gib=1, name=f"image-{world.image}")
        world.memory.set_metadata(stores.id, {"image_id": world.image, "glance_image_id": world.image})
        world.upload()
        assert stores.id in world.memory.volumes


class LosesAnswers(MemoryVolumes):
    """A Cinder that makes clones, and whose answers get lost."""

    def clone(self, volume_id: str, **wishes: Any) -> Volume:
        super().clone(volume_id, **wishes)
        raise ServiceUnreachable("the connection broke")


class TakesSilently(SparseImages):
    """A Glance that takes locations, and whose answers get lost."""

    def add_location(self, image_id: str, url: str, *, store: str | None, digest: Digest | None) -> Image:
        super().add_location(image_id, url, store=store, digest=digest)
        raise ServiceUnreachable("the connection broke")


class Refuses(SparseImages):
    def add_location(self, image_id: str, url: str, *, store: str | None, digest: Digest | None) -> Image:
        raise RequestRefused("409 Conflict")


class Full(MemoryVolumes):
    def clone(self, volume_id: str, **wishes: Any) -> Volume:
        raise OverQuota("no more volumes")


class Deletes(SparseImages):
    """A Glance of which somebody deletes the image before it takes a location."""

    def add_location(self, image_id: str, url: str, *, store: str | None, digest: Digest | None) -> Image:
        del self.images[image_id]
        raise ResourceNotFound("image", image_id)


class GoesAway(SparseImages):
    """A Glance that takes a location, and goes away before it says so."""

    gone = False

    def add_location(self, image_id: str, url: str, *, store: str | None, digest: Digest | None) -> Image:
        super().add_location(image_id, url, store=store, digest=digest)
        self.gone = True
        raise ServiceUnreachable("the connection broke")

    def wait(self, image_id: str) -> Image:
        if self.gone:
            raise ServiceUnreachable("connection refused")
        return super().wait(image_id)


class TestFallingBack:
    @pytest.mark.parametrize(
        "services, says",
        [
            ({"cinder": Full}, "no more volumes"),
            ({"cinder": LosesAnswers}, "the connection broke"),
            ({"glance": Refuses}, "409 Conflict"),
        ],
    )
    def test_what_fails_is_said_and_the_volume_copied(
        self, services: dict[str, Any], says: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        world = World(kind="fast2slow", **services)
        done = world.upload()
        assert str(done.failure) == says
        assert (done.image, done.image_volume) == (world.shown, None)
        assert world.shown.locations == (ImageLocation(f"file:///memory/{world.image}", {"store": "slow"}),)
        assert (world.read, world.left) == (DATA, set())
        assert f"as no clone was registered: {says}" in caplog.text

    def test_a_full_backend_is_a_reason_too(self, world: World) -> None:
        world.memory.capacity_gib = 1
        assert "the backend is full" in str(world.upload().failure)
        assert (world.shown.status, world.left) == ("active", set())

    def test_a_location_that_was_taken_counts_although_the_answer_was_lost(self) -> None:
        world = World(glance=TakesSilently)
        done = world.upload()
        (clone,) = world.memory.named(f"image-{world.image}")
        assert (done.failure, done.image, done.image_volume) == (None, world.shown, clone)
        assert "volumes.attach" not in world.steps.taken

    def test_an_image_that_was_deleted_meanwhile_is_an_error_and_its_clone_gone(self) -> None:
        world = World(glance=Deletes)
        with pytest.raises(ResourceNotFound) as caught:
            world.upload()
        assert (caught.value.leftovers, set(world.memory.volumes)) == ((), {world.source})

    def test_the_clone_that_an_earlier_call_left_for_a_deleted_or_hidden_image_is_named_and_stays(
        self, world: World
    ) -> None:
        clone = world.memory.clone(world.source, name=f"image-{world.image}", metadata={MARK: world.source})
        del world.memory_images.images[world.image]
        with pytest.raises(ResourceNotFound) as caught:
            world.upload()
        assert caught.value.leftovers == (f"volume {clone.id}, cloned for image {world.image}",)
        assert clone.id in world.memory.volumes

    def test_a_clone_that_glance_may_have_taken_is_never_deleted_and_the_next_call_finds_it(self) -> None:
        world = World(glance=GoesAway)
        with pytest.raises(ServiceUnreachable, match="connection refused") as caught:
            world.upload()
        (clone,) = world.memory.named(f"image-{world.image}")
        assert named(caught.value) == {("volume", clone.id)}
        assert caught.value.__notes__ == ["before that, no clone was registered: " + str(caught.value.__context__)]
        world.memory_images.gone = False  # type: ignore[attr-defined]
        assert world.upload().image_volume == clone
        assert (world.shown.status, world.left) == ("active", set())


FAULTS: dict[str, Callable[[], BaseException]] = {
    "ours": lambda: ServiceFailed("no answer"),
    "ours of the storage": lambda: AttachFailed("no path"),
    "an interrupt": KeyboardInterrupt,
    "a defect": lambda: ZeroDivisionError("oops"),
}
SETTINGS = {"registered": None, "copied": UploadSettings()}
RELEASES = {"attacher.close", "volumes.detach", "volumes.delete"}


def steps_of(settings: UploadSettings | None) -> list[str]:
    world = World()
    world.upload(settings=settings)
    taken = world.steps.taken
    return [step for at, step in enumerate(taken) if not (step.startswith("device.") and step in taken[:at])]


EVERY_STEP = pytest.mark.parametrize(
    "way, number",
    [
        pytest.param(way, number, id=f"{way}-{number}-{step}")
        for way, settings in SETTINGS.items()
        for number, step in enumerate(steps_of(settings))
    ],
)


class TestEveryFailure:
    """Each step fails once, and for good; each is where the process is killed."""

    @staticmethod
    def upload(world: World, way: str) -> tuple[UploadedVolume | None, BaseException | None]:
        try:
            done = world.upload(settings=SETTINGS[way])
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is looked at
            return None, error
        return done, done.failure

    @EVERY_STEP
    @pytest.mark.parametrize("lasting", [False, True])
    @pytest.mark.parametrize("fault", FAULTS)
    def test_every_failure_ends_with_an_image_or_with_an_error_that_names_what_is_left(
        self, way: str, number: int, lasting: bool, fault: str
    ) -> None:
        world = World()
        world.watch(Steps(fail_at=number, lasting=lasting, fault=FAULTS[fault]))
        done, error = self.upload(world, way)
        assert named(error) == world.left
        if not (lasting or world.steps.taken[number] in RELEASES):
            assert world.left == set()
        if done:
            assert (done.image, world.shown.status, world.read) == (world.shown, "active", DATA)
        else:
            assert type(error) is type(FAULTS[fault]())

    @EVERY_STEP
    def test_a_failure_between_clone_and_location_never_fails_the_upload(self, way: str, number: int) -> None:
        world = World()
        world.watch(Steps(fail_at=number))
        done, _ = self.upload(world, way)
        begun = steps_of(None).index("volumes.clone")
        assert bool(done) is (way == "registered" and number >= begun)

    @EVERY_STEP
    def test_a_call_after_a_killed_one_completes_its_work(self, way: str, number: int) -> None:
        world = World()
        world.watch(Steps(fail_at=number, lasting=True, fault=SystemExit))  # nothing is undone, as after kill -9
        with pytest.raises(SystemExit):
            world.upload(settings=SETTINGS[way])
        world.watch(Steps())
        done, error = self.upload(world, way)
        if world.memory.attachments:  # by whom it is held nobody knows: that is for the operator to say
            assert isinstance(error, InUse if world.shown.status == "queued" else RequestRefused)
            assert {kind for kind, _ in world.left} <= {"attachment", "device of volume"}
        else:
            assert done
            assert (world.shown.status, world.read, world.left) == ("active", DATA, set())
