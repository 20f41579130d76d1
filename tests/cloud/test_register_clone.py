"""A real volume becomes an image of a real Glance: registered, or copied, and in the end nothing is left."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import attrs
import pytest
from cinderclient.client import Client as CinderClient
from glanceclient.exc import HTTPBadRequest
from glanceclient.v2.images import Controller

from imagevol_adapters.glance.images import GlanceImages
from imagevol_adapters.ports import AccessMode
from imagevol_adapters.processes import origin
from imagevol_adapters.testing.conformance.fixtures import write
from imagevol_adapters.testing.faults import Steps
from imagevol_adapters.transfers import UploadedVolume, attached, register_clone
from imagevol_core import (
    FINISHED,
    GIB,
    AccessDenied,
    Image,
    InUse,
    OverQuota,
    RequestRefused,
    ResourceNotFound,
    ServiceFailed,
    ServiceUnreachable,
    UploadSettings,
)
from tests.cloud.bringup import running
from tests.cloud.conftest import shares_clouds
from tests.cloud.ports import PATIENCE_SECONDS, Ports, nothing_left, ports, sign_in
from tests.cloud.processes import CHECKOUT, ticks
from tests.cloud.record import Cloud
from tests.cloud.restarting import without
from tests.cloud.settings import REGION, Settings
from tests.cloud.test_command_line import CommandLine

MIB = 1 << 20
DATA = random.Random(3).randbytes(3 * MIB + 17)
CLOSED = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def cloud(
    request: pytest.FixtureRequest, able_machine: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    """One in which the type `fast` names its store, which Cinder lets nobody change while it has volumes.

    Locations are registered by the Location API alone, and Glance does not read a GiB to digest each of them.
    """
    if shares_clouds(request):
        with fast_names_its_store(request.getfixturevalue("template_cloud")) as cloud:
            yield cloud
        return
    options = {"show_multiple_locations": "false", "do_secure_hash": "false"}
    settings = Settings(overrides={"glance/glance-api.conf": {"DEFAULT": options}})
    directory = tmp_path_factory.mktemp("cloud")
    with running(directory, settings, keep_logs=True) as own, fast_names_its_store(own) as cloud:
        yield cloud


@contextmanager
def fast_names_its_store(cloud: Cloud) -> Iterator[Cloud]:
    cinder = CinderClient("3.60", session=sign_in(cloud, "admin"), region_name=REGION)
    fast = next(each for each in cinder.volume_types.list() if each.name == "fast")
    fast.set_keys({"image_service:store_id": "fast"})
    yield cloud
    fast.unset_keys(["image_service:store_id"])


@pytest.fixture(autouse=True)
def left(cloud: Cloud) -> Iterator[None]:
    """Every test leaves the cloud as it found it."""
    with nothing_left(cloud):
        yield


@attrs.frozen
class Upload:
    """A user's volume, and an image of theirs that waits for its data."""

    cloud: Cloud
    ports: Ports
    volume_id: str
    image_id: str

    def __call__(self, *, images: Any = None, volumes: Any = None, **wishes: Any) -> UploadedVolume:
        return register_clone(
            self.volume_id,
            image_id=self.image_id,
            images=images or self.ports.images,
            volumes=volumes or self.ports.volumes,
            attacher=self.ports.attacher,
            **wishes,
        )

    @property
    def image(self) -> Image:
        return self.ports.images.get(self.image_id)

    @property
    def read(self) -> bytes:
        """What Glance gives of the image."""
        return b"".join(self.ports.images.read(self.image_id, length=len(DATA)))


NewUpload = Callable[..., Upload]


@pytest.fixture
def new(cloud: Cloud) -> Iterator[NewUpload]:
    """Makes volumes of a type with data in them, and images; all of it goes."""
    real, user = ports(cloud), ports(cloud, "demo")
    with ExitStack() as undo:

        def make(volume_type: str = "fast") -> Upload:
            volume = user.volumes.create(size_gib=1, name="disk", volume_type=volume_type)
            undo.callback(user.volumes.delete, volume.id)
            user.volumes.wait(volume.id)
            with attached(volume.id, mode=AccessMode.WRITE, volumes=user.volumes, attacher=user.attacher) as device:
                write(device, 0, DATA)
                device.flush()
            user.volumes.wait(volume.id)
            image = real.images.create(name="of the disk", disk_format="raw", owner=cloud.project_ids["demo"])
            undo.callback(gone, real, image.id)
            return Upload(cloud, real, volume.id, image.id)

        yield make


def gone(real: Ports, image_id: str) -> None:
    """Delete an image and see its volume go, which Glance does in its own time."""
    try:
        real.images.delete(image_id)
    except ResourceNotFound:
        return
    for _ in ticks(PATIENCE_SECONDS):
        if not real.volumes.named(f"image-{image_id}"):
            return


@contextmanager
def quota(cloud: Cloud, project: str, **limits: int) -> Iterator[None]:
    """Limits of Cinder's, while the context lasts."""
    cinder = CinderClient("3.60", session=sign_in(cloud, "admin"), region_name=REGION)
    project_id = cloud.project_ids[project]
    cinder.quotas.update(project_id, **limits)
    try:
        yield
    finally:
        cinder.quotas.update(project_id, **dict.fromkeys(limits, -1))


class TestRegistered:
    # Whose type names the store, and whose does not.
    @pytest.mark.parametrize("store", [pytest.param("fast", marks=pytest.mark.smoke), "slow"])
    def test_the_image_lives_in_a_clone_in_the_services_project(self, cloud: Cloud, new: NewUpload, store: str) -> None:
        upload = new(store)
        done = upload()
        clone = done.image_volume
        assert done.plan is not None
        assert done.plan.store == {"fast": "fast"}.get(store)
        assert (done.failure, done.image.status, done.image.size_bytes) == (None, "active", GIB)
        assert clone is not None
        assert [(one.url, one.metadata) for one in done.image.locations] == [
            (f"cinder://{store}/{clone.id}", {"store": store})
        ]
        shown = upload.ports.volumes.wait(clone.id)
        assert (shown.project_id, shown.volume_type) == (cloud.project_ids["service"], store)
        assert (shown.readonly, shown.host) == (True, cloud.backend_hosts[store])
        assert shown.metadata == {
            **origin("upload", upload.image_id).to_volume(),
            **FINISHED,
            "glance_image_id": upload.image_id,
            "image_id": upload.image_id,
            "image_owner": cloud.project_ids["demo"],
            "image_size": str(GIB),
            "imagevol_clone_of": upload.volume_id,
        }
        assert upload.read == DATA
        again = upload().image_volume
        assert again is not None
        assert replace(again, updated_at=shown.updated_at) == shown

    def test_a_volume_of_its_owner_may_be_cloned_from_it(self, cloud: Cloud, new: NewUpload) -> None:
        upload = new()
        done = upload()
        ask = ("explain", upload.image_id, "--size", 1, "--host", cloud.backend_hosts["fast"])
        who = ("--trusted-project", cloud.project_ids["service"], "--project", cloud.project_ids["demo"])
        answer = CommandLine(cloud, cloud.clouds_yaml).ask(*ask, *who)
        assert done.image_volume is not None
        assert answer["sources"] == [done.image_volume.id], answer["verdicts"]

    def test_cinder_itself_copies_where_the_type_names_a_store(self, cloud: Cloud, new: NewUpload) -> None:
        """What upstream does with the same volume: it says nothing, and the image's volume is no clone."""
        upload = new("fast")
        image = upload_by_cinder(upload)
        try:
            (volume,) = upload.ports.volumes.named(f"image-{image.id}")
            log = cloud.log("cinder").read_text().splitlines()
            clones = [line for line in log if "reflink clone" in line and upload.volume_id in line]
            assert (image.status, len(clones)) == ("active", 1)
            assert volume.id not in clones[0]
        finally:
            gone(upload.ports, image.id)


def upload_by_cinder(upload: Upload) -> Image:
    """Let Cinder upload the volume, and give the image as it is when Cinder is done; it may be none."""
    cinder = CinderClient("3.60", session=sign_in(upload.cloud, "demo"), region_name=REGION)
    _, answer = cinder.volumes.upload_to_image(upload.volume_id, False, "by cinder", "bare", "raw", "private", False)
    image_id = answer["os-volume_upload_image"]["image_id"]
    for _ in ticks(PATIENCE_SECONDS):
        if cinder.volumes.get(upload.volume_id).status != "uploading":
            break
    return upload.ports.images.get(image_id)


class At(Steps):
    """Steps, before one of which something happens."""

    def __init__(self, step: str, happens: Callable[[], object]) -> None:
        super().__init__()
        self.step, self.happens = step, happens

    def take(self, name: str) -> None:
        super().take(name)
        if name == self.step:
            self.step = ""
            self.happens()


class TestCopied:
    """Whatever goes wrong with a clone, the volume is copied, and the clone is gone."""

    @staticmethod
    def is_a_copy(upload: Upload, done: UploadedVolume, store: str, failure: type[Exception]) -> None:
        assert type(done.failure) is failure
        assert (done.failure.leftovers, done.image_volume) == ((), None)
        assert [location.metadata["store"] for location in upload.image.locations] == [store]
        assert (done.image.status, done.image.size_bytes, upload.read) == ("active", GIB, DATA)
        volumes = upload.ports.volumes.named(f"image-{upload.image_id}")
        assert ["imagevol_clone_of" in volume.metadata for volume in volumes] == [False] * len(volumes)

    def test_a_location_that_glance_drops_in_the_background_is_noticed(self, new: NewUpload) -> None:
        upload = new("fast2slow")
        self.is_a_copy(upload, upload(), "slow", ServiceFailed)

    def test_a_location_that_glance_refuses_becomes_a_copy(
        self, new: NewUpload, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With 400, when it is asked as Cinder 29 asks it where the type names its store."""
        upload, ask = new(), Controller.add_image_location

        def as_cinder(images: Controller, image_id: str, url: str, _: Mapping[str, str]) -> object:
            return ask(images, image_id, url, {"store": "fast"})

        monkeypatch.setattr(Controller, "add_image_location", as_cinder)
        done = upload()
        assert done.failure is not None
        assert isinstance(done.failure.__cause__, HTTPBadRequest)
        self.is_a_copy(upload, done, "fast", RequestRefused)

    @pytest.mark.parametrize("resource", ["volumes", "gigabytes"])
    def test_a_clone_over_quota_becomes_a_copy(self, cloud: Cloud, new: NewUpload, resource: str) -> None:
        upload = new("fast2slow")
        with quota(cloud, "service", **{f"{resource}_fast2slow": 0}):
            done = upload()
        self.is_a_copy(upload, done, "slow", OverQuota)

    def test_over_quota_cinder_itself_fails_the_upload(self, cloud: Cloud, new: NewUpload) -> None:
        upload = new("fast2slow")
        with quota(cloud, "service", volumes_fast2slow=0), pytest.raises(ResourceNotFound):
            upload_by_cinder(upload)

    def test_a_clone_is_not_made_in_another_project_than_it_should(self, cloud: Cloud, new: NewUpload) -> None:
        upload = new()
        tenant = UploadSettings(use_cinder_backend=True, use_internal_tenant=True, internal_tenant="elsewhere")
        self.is_a_copy(upload, upload(settings=tenant), "fast", RequestRefused)

    def test_credentials_that_cannot_register_a_location_copy(self, cloud: Cloud, new: NewUpload) -> None:
        upload = new()
        self.is_a_copy(upload, upload(images=ports(cloud, "demo").images), "fast", AccessDenied)


class TestErrors:
    """What cannot end as a copy either is an error, and the clone is gone."""

    def test_somebody_else_was_faster(self, new: NewUpload) -> None:
        upload = new()
        steps = At("images.add_location", lambda: upload.ports.images.upload(upload.image_id, [b"x"], size_bytes=1))
        with pytest.raises(RequestRefused, match="active") as caught:
            upload(images=steps.images(upload.ports.images))
        assert caught.value.leftovers == ()
        assert upload.image.size_bytes == 1

    def test_the_image_went_meanwhile(self, new: NewUpload) -> None:
        upload = new()
        steps = At("images.add_location", lambda: upload.ports.images.delete(upload.image_id))
        with pytest.raises(ResourceNotFound) as caught:
            upload(images=steps.images(upload.ports.images))
        assert caught.value.leftovers == ()
        assert upload.ports.volumes.named(f"image-{upload.image_id}") == ()

    @pytest.mark.parametrize("step", ["volumes.clone", "volumes.set_readonly"])
    def test_glance_went_away_before_it_was_asked(self, new: NewUpload, step: str) -> None:
        upload = new()
        images = attrs.evolve(upload.ports.images)

        def away() -> None:
            images.endpoint_override, images._client = CLOSED, None

        steps = At(step, away)
        with pytest.raises(ServiceUnreachable, match="check that the service runs") as caught:
            upload(images=images, volumes=steps.volumes(upload.ports.volumes))
        assert caught.value.leftovers == ()
        assert upload.ports.volumes.named(f"image-{upload.image_id}") == ()
        assert upload.image.status == "queued"

    def test_glance_went_away_when_it_was_asked_and_the_next_call_finds_what_it_took(self, new: NewUpload) -> None:
        upload = new()
        images = GoesAway(session=upload.ports.images.session, region_name=REGION, wait_seconds=PATIENCE_SECONDS)
        with pytest.raises(ServiceUnreachable) as caught:
            upload(images=images)
        (clone,) = upload.ports.volumes.named(f"image-{upload.image_id}")
        assert [leftover for leftover in caught.value.leftovers if clone.id not in leftover] == []
        assert len(caught.value.leftovers) == 1
        done = upload()
        assert done.image_volume is not None
        assert (done.image_volume.id, done.image.status, upload.read) == (clone.id, "active", DATA)

    def test_glance_is_down_until_the_next_call(self, cloud: Cloud, new: NewUpload) -> None:
        upload = new()
        with ExitStack() as meanwhile:
            steps = At("images.add_location", lambda: meanwhile.enter_context(without(cloud, "glance")))
            with pytest.raises(ServiceUnreachable, match="check that the service runs") as caught:
                upload(images=steps.images(upload.ports.images))
            (clone,) = upload.ports.volumes.named(f"image-{upload.image_id}")
            assert len(caught.value.leftovers) == 1
            assert caught.value.leftovers[0].startswith(f"volume {clone.id} (")
        done = upload()
        assert done.image_volume is not None
        assert upload.ports.volumes.named(f"image-{upload.image_id}") == (done.image_volume,)
        assert (done.failure, done.image.status, upload.read) == (None, "active", DATA)


class GoesAway(GlanceImages):
    """Glance, which is gone as soon as it has been asked to take a location."""

    asked = False

    def add_location(self, *arguments: Any, **wishes: Any) -> Image:
        self.asked = True
        return super().add_location(*arguments, **wishes)

    def get(self, image_id: str) -> Image:
        if self.asked:
            self.endpoint_override, self._client = CLOSED, None
        return super().get(image_id)


# Of a registration; before each of these the process is killed, and after the last one there is nothing to do.
STEPS = (
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
)


def kill(upload: Upload, step: int | str) -> subprocess.CompletedProcess[str]:
    """Upload in another process, which does not come to its end."""
    arguments = (upload.cloud.directory, upload.volume_id, upload.image_id, step)
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.cloud.uploader", *map(str, arguments)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )


def let_go(upload: Upload) -> None:
    """What an operator does for a process that died with a volume in its hands."""
    cinder = CinderClient("3.60", session=sign_in(upload.cloud, "admin"), region_name=REGION)
    for attachment in cinder.attachments.list(search_opts={"all_tenants": 1, "volume_id": upload.volume_id}):
        cinder.attachments.delete(attachment.id)


class TestKilled:
    """The process is killed with -9; the next call with the same image ends what it began."""

    def test_a_registration_takes_the_steps_at_which_it_is_killed_here(self, new: NewUpload) -> None:
        upload, steps = new(), Steps()
        upload(images=steps.images(upload.ports.images), volumes=steps.volumes(upload.ports.volumes))
        assert tuple(steps.taken) == STEPS

    @pytest.mark.parametrize("step", [*range(STEPS.index("volumes.clone"), len(STEPS)), "asked"])
    def test_the_next_call_completes_a_killed_registration(self, new: NewUpload, step: int | str) -> None:
        upload = new()
        killed = kill(upload, step)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        remains = upload.ports.volumes.named(f"image-{upload.image_id}")
        assert len(remains) == (step != STEPS.index("volumes.clone"))
        assert [volume.metadata["image_id"] for volume in remains] == [upload.image_id] * len(remains)
        done = upload()
        volumes = upload.ports.volumes.named(f"image-{upload.image_id}")
        assert done.image_volume is not None
        assert [volume.id for volume in volumes] == [done.image_volume.id]
        assert ([volume.id for volume in remains] == [volume.id for volume in volumes]) is (step == "asked")
        assert (done.failure, done.image.status, upload.read) == (None, "active", DATA)

    def test_a_killed_copy_leaves_an_attachment_which_the_next_call_names(self, cloud: Cloud, new: NewUpload) -> None:
        upload = new()
        killed = kill(upload, "copying")
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        try:
            with pytest.raises(InUse, match="is in use, and would change meanwhile: detach it, or force it") as caught:
                upload()
            assert (caught.value.leftovers, upload.image.status) == ((), "queued")
            done = upload(force=True)
            assert done.image_volume is not None
            assert (done.failure, done.image.status, upload.read) == (None, "active", DATA)
        finally:
            let_go(upload)


class TestCommandLine:
    def test_explain_upload_says_what_the_upload_then_does(self, cloud: Cloud, new: NewUpload) -> None:
        imagevol = CommandLine(cloud, cloud.clouds_yaml)
        for volume_type, outcome, stores in (("fast", "register", ["fast"]), ("fast2slow", "copy", ["slow"])):
            upload = new(volume_type)
            said = imagevol.ask("explain-upload", upload.volume_id)
            assert (said["outcome"], said["stores"], said["project_id"]) == (
                outcome,
                stores,
                cloud.project_ids["service"],
            )
            done = upload()
            assert ("copy" if done.image_volume is None else "register") == outcome
            assert [location.metadata["store"] for location in done.image.locations] == stores
            assert done.plan is not None
            assert dict(done.plan.headers) == said["headers"]

    def test_without_administrators_rights_the_type_is_not_known(self, cloud: Cloud, new: NewUpload) -> None:
        upload = new()
        user = ports(cloud, "demo")
        assert user.volumes.volume_type("fast") is None
        with pytest.raises(AccessDenied):
            user.images.catalogue()
        assert {store.name for store in upload.ports.images.catalogue().stores} == {"fast", "slow", "local"}
