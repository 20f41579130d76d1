"""A running cloud holds what the tests on it take for granted."""

import io
import json
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from cinderclient import client as cinderclient
from cinderclient.exceptions import NotFound
from glanceclient import client as glanceclient
from keystoneauth1.identity.v3 import Password
from keystoneauth1.session import Session

from tests.cloud.processes import marked, ticks
from tests.cloud.record import Cloud
from tests.cloud.settings import BACKENDS, CLOUDS
from tests.cloud.teardown import loop_devices

MIB = 1 << 20
GIB = 1 << 30
PATIENCE = 60.0


class User:
    """Cinder and Glance as one user sees them, with the end of everything that the user makes."""

    def __init__(self, cloud: Cloud, name: str) -> None:
        credentials = json.loads(cloud.clouds_yaml.read_text())["clouds"][name]["auth"]
        session = Session(auth=Password(**credentials))
        self.cinder: Any = cinderclient.Client("3.60", session=session)
        self.glance: Any = glanceclient.Client("2", session=session)
        self.undo = ExitStack()

    def volume(self, size_gib: int = 1, **arguments: Any) -> Any:
        return self.settled(self.cinder.volumes.create(size_gib, **arguments))

    def snapshot(self, volume: Any) -> Any:
        return self.settled(self.cinder.volume_snapshots.create(volume.id))

    def settled(self, thing: Any) -> Any:
        """A new volume or snapshot, when Cinder is done with it."""
        self.undo.callback(delete, thing)
        for _ in ticks(PATIENCE):
            thing.get()
            if thing.status != "creating":
                return thing
        raise AssertionError(f"{thing.id} is still {thing.status}")

    def image(self, content: bytes, *, store: str) -> Any:
        image = self.glance.images.create(disk_format="raw", container_format="bare")
        self.undo.callback(self.glance.images.delete, image.id)
        self.glance.images.upload(image.id, io.BytesIO(content), backend=store)
        return self.glance.images.get(image.id)

    def attach(self, volume: Any) -> tuple[str, Path]:
        """The attachment's id and the device."""
        connector = {"host": "test", "ip": "127.0.0.1", "platform": "x86_64", "os_type": "linux"}
        attachment = self.cinder.attachments.create(volume.id, connector)
        self.cinder.attachments.complete(attachment["id"])
        return attachment["id"], Path(attachment["connection_info"]["device_path"])

    def write(self, volume: Any, content: bytes) -> None:
        attachment, device = self.attach(volume)
        with device.open("r+b") as file:
            file.write(content)
        self.cinder.attachments.delete(attachment)

    def read(self, volume: Any, size: int) -> bytes:
        attachment, device = self.attach(volume)
        with device.open("rb") as file:
            content = file.read(size)
        self.cinder.attachments.delete(attachment)
        return content


def delete(thing: Any) -> None:
    with suppress(NotFound):
        thing.delete()
    wait_until_gone(thing)


def wait_until_gone(thing: Any) -> None:
    for _ in ticks(PATIENCE):
        try:
            thing.get()
        except NotFound:
            return
    raise AssertionError(f"{thing.id} is still there")


def sign_in(name: str) -> Callable[[Cloud], Iterator[User]]:
    def user(cloud: Cloud) -> Iterator[User]:
        user = User(cloud, name)
        with user.undo:
            yield user

    return user


demo = pytest.fixture(sign_in("demo"), name="demo")
admin = pytest.fixture(sign_in("admin"), name="admin")
service = pytest.fixture(sign_in("service"), name="service")


def test_every_service_runs_and_is_known_as_the_clouds(cloud: Cloud) -> None:
    assert cloud.services() == dict.fromkeys(("mariadb", "keystone", "cinder", "glance"), True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_volume_lives_in_the_backend_of_its_type(cloud: Cloud, admin: User, backend: str) -> None:
    volume = admin.volume(volume_type=backend)
    assert volume.status == "available"
    assert getattr(volume, "os-vol-host-attr:host") == cloud.backend_hosts[backend]


def test_a_volume_keeps_what_was_written_to_it(demo: User) -> None:
    volume = demo.volume()
    demo.write(volume, b"kept" * MIB)
    assert demo.read(volume, 4 * MIB) == b"kept" * MIB


def test_a_loop_device_goes_with_the_last_attachment(cloud: Cloud, admin: User) -> None:
    kind = admin.cinder.volume_types.create("shared")
    admin.undo.callback(admin.cinder.volume_types.delete, kind)
    kind.set_keys({"volume_backend_name": "fast", "multiattach": "<is> True"})
    volume = admin.volume(volume_type="shared")
    first, device = admin.attach(volume)
    second, same_device = admin.attach(volume)
    assert same_device == device
    admin.cinder.attachments.delete(first)
    assert str(device) in loop_devices(cloud.directory)
    admin.cinder.attachments.delete(second)
    assert str(device) not in loop_devices(cloud.directory)


def test_a_clone_shares_blocks_and_has_a_life_of_its_own(cloud: Cloud, demo: User) -> None:
    source = demo.volume()
    demo.write(source, b"first" * MIB)
    clone = demo.volume(2, source_volid=source.id)
    demo.write(source, b"other" * MIB)
    assert clone.size == 2
    assert demo.read(clone, 5 * MIB) == b"first" * MIB
    lines = cloud.log("cinder").read_text().splitlines()
    assert [x for x in lines if "reflink clone" in x and source.id in x and x.endswith(clone.id)]


def test_a_snapshot_becomes_a_volume(demo: User) -> None:
    source = demo.volume()
    demo.write(source, b"then")
    snapshot = demo.snapshot(source)
    demo.write(source, b"now.")
    assert demo.read(demo.volume(snapshot_id=snapshot.id), 4) == b"then"


def test_an_attached_volume_grows(demo: User) -> None:
    volume = demo.volume()
    attachment, device = demo.attach(volume)
    volume.extend(volume, 2)
    for _ in ticks(PATIENCE):
        volume.get()
        if volume.status != "extending":
            break
    with device.open("rb") as file:
        assert file.seek(0, io.SEEK_END) == 2 * GIB
    demo.cinder.attachments.delete(attachment)


def test_a_volume_that_does_not_fit_its_backend_is_in_error(demo: User) -> None:
    assert demo.volume(10_000).status == "error"


@pytest.mark.parametrize("store", ["fast", "slow", "local"])
def test_an_image_comes_back_from_each_store(demo: User, store: str) -> None:
    content = bytes(range(256)) * 4096
    image = demo.image(content, store=store)
    assert (image.status, image.stores) == ("active", store)
    assert b"".join(demo.glance.images.data(image.id)) == content


def test_a_volume_of_an_image_in_the_same_backend_is_cloned(cloud: Cloud, demo: User) -> None:
    image = demo.image(b"image" * MIB, store="fast")
    logged = len(cloud.log("cinder").read_text())
    volume = demo.volume(imageRef=image.id, volume_type="fast")
    assert "Will clone a volume from the image volume" in cloud.log("cinder").read_text()[logged:]
    assert demo.read(volume, 5 * MIB) == b"image" * MIB


def test_a_volume_becomes_an_image_by_the_new_location_api(service: User) -> None:
    volume = service.volume(volume_type="fast")
    image = service.glance.images.create(disk_format="raw", container_format="bare")
    service.glance.images.add_image_location(image.id, f"cinder://fast/{volume.id}", {})
    for _ in ticks(PATIENCE):
        # Glance goes on reading an image that is active already, and cannot delete it before the volume is detached.
        hashed = service.glance.images.get(image.id).os_hash_value
        if hashed and volume.manager.get(volume.id).status == "available":
            break
    locations = service.glance.images.get_image_locations(image.id)
    # With the image goes its volume.
    service.glance.images.delete(image.id)
    wait_until_gone(volume)
    assert locations == [{"url": f"cinder://fast/{volume.id}", "metadata": {"store": "fast"}}]


def test_passwords_are_in_no_log_and_no_argument_and_no_file_of_others(cloud: Cloud) -> None:
    clouds = json.loads(cloud.clouds_yaml.read_text())["clouds"]
    passwords = {clouds[name]["auth"]["password"] for name in CLOUDS}
    arguments = [Path(f"/proc/{pid}/cmdline") for pid in marked(cloud.directory)]
    public = [*arguments, *cloud.directory.glob("log/*"), cloud.directory / "cloud.json"]
    shown = [path for path in public for password in passwords if password in path.read_text()]
    assert shown == []
    assert stat.S_IMODE(cloud.directory.stat().st_mode) == 0o700
    private = [cloud.clouds_yaml, *(p for p in cloud.directory.glob("etc/**/*") if p.is_file())]
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
