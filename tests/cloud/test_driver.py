"""Volumes from images by a Cinder driver that inherits our mixin, beside Cinder's own rules ([clone])."""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cinderclient import exceptions as cinder_errors
from glanceclient.v2.client import Client as GlanceClient

from imagevol_adapters.engine import write_stream
from imagevol_adapters.glance.images import GlanceImages
from imagevol_adapters.ports import AccessMode
from imagevol_adapters.transfers import attached
from imagevol_core import GIB, ImageVolumeMetadata, Result, Verdict
from tests.cloud.ports import nothing_left, sign_in
from tests.cloud.record import Cloud
from tests.cloud.settings import REGION
from tests.cloud.test_command_line import CommandLine
from tests.cloud.users import DATA, User, content, delete, image_volume

MIB = 1 << 20
FORGED = random.Random(12).randbytes(3 * MIB + 77)


Users = Callable[[str], User]


@pytest.fixture
def users(driver_cloud: Cloud) -> Iterator[Users]:
    with nothing_left(driver_cloud), ExitStack() as undo:
        yield lambda name: User(driver_cloud, name, undo)


@pytest.fixture
def demo(users: Users) -> User:
    return users("demo")


@pytest.mark.parametrize("size_gib", [1, 3])
def test_a_volume_on_the_backend_of_the_images_store_is_a_clone_of_its_size(demo: User, size_gib: int) -> None:
    image_id = demo.image()
    volume = demo.volume(image_id, size_gib=size_gib)
    assert (volume.status, volume.size) == ("available", size_gib)
    assert f"cloned from image volume {image_volume(demo, image_id)}" in demo.said(volume)
    assert content(demo.real, volume.id) == (size_gib * GIB, DATA)


def test_a_volume_on_another_backend_is_copied_and_the_rule_is_named(demo: User) -> None:
    image_id = demo.image()
    volume = demo.volume(image_id, "slow")
    assert content(demo.real, volume.id)[1] == DATA
    assert f"fails volume-same-backend ({image_volume(demo, image_id)})" in demo.said(volume)
    assert "neither cloned nor made from a template" in demo.said(volume)


@pytest.mark.parametrize("volume_type", ["fast", "slow"])
def test_the_command_says_what_the_driver_does(demo: User, driver_cloud: Cloud, volume_type: str) -> None:
    image_id = demo.image()
    said = demo.said(demo.volume(image_id, volume_type))
    settings = ("--trusted-project", driver_cloud.project_ids["service"], "--project", driver_cloud.project_ids["demo"])
    where = ("--size", 1, "--host", driver_cloud.backend_hosts[volume_type])
    explained = CommandLine(driver_cloud, driver_cloud.clouds_yaml).ask("explain", image_id, *where, *settings)
    assert explained["eligible"] is ("cloned from image volume" in said)
    refused = [
        Verdict(**verdict | {"result": Result(verdict["result"])})
        for verdict in explained["verdicts"]
        if verdict["result"] == "fails"
    ]
    logged = re.findall(r"no image volume is cloned: (.*)", said)
    assert logged == (["; ".join(map(str, refused))] if refused else [])


def test_a_larger_image_takes_no_longer_to_clone(demo: User, driver_cloud: Cloud) -> None:
    """An image of 16 GiB is there as soon as one of 1 GiB: nothing of it is read, which no copy could do in time."""
    volumes, images = demo.real.volumes, demo.real.images
    for size_gib in (1, 16):
        stored = volumes.create(size_gib=size_gib, name="image", volume_type="fast")
        demo.undo.callback(delete, demo.real, stored.id)
        volumes.wait(stored.id)
        owner = driver_cloud.project_ids["demo"]
        image = images.create(name="large", disk_format="raw", owner=owner)
        demo.undo.callback(demo.glance.images.delete, image.id)
        record = ImageVolumeMetadata(image_id=image.id, image_owner=owner, size_bytes=size_gib * GIB)
        volumes.set_metadata(stored.id, record.to_volume())
        volumes.set_readonly(stored.id, readonly=True)
        # By the older API: the new one lets Glance read all of it for its digest.
        demo.glance.images.add_location(image.id, f"cinder://fast/{stored.id}", {"store": "fast"})
        volume = demo.volume(image.id, size_gib=size_gib)
        assert f"cloned from image volume {stored.id}" in demo.said(volume)
        assert volume.status == "available"


def test_an_image_that_is_no_raw_disk_is_copied(demo: User, tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(DATA + bytes(-len(DATA) % 512))
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(tmp_path / "raw"), str(tmp_path / "qcow2")]
    subprocess.run(command, check=True)
    volume = demo.volume(demo.image((tmp_path / "qcow2").read_bytes(), disk_format="qcow2"))
    assert "fails image-raw: the image's disk_format is qcow2" in demo.said(volume)
    assert content(demo.real, volume.id)[1] == DATA


def test_an_image_volume_that_is_in_error_is_not_cloned(demo: User, users: Users) -> None:
    image_id = demo.image()
    stored = image_volume(demo, image_id)
    admin = users("admin")
    admin.cinder.volumes.reset_state(stored, "error")
    try:
        volume = demo.volume(image_id)
        assert f"fails volume-available ({stored})" in demo.said(volume)
        assert volume.status == "error"  # Cinder copies, and Glance cannot read it either
    finally:
        admin.cinder.volumes.reset_state(stored, "available")


def test_a_private_image_of_another_project_is_not_there(demo: User, users: Users) -> None:
    image_id = demo.image()
    with pytest.raises((cinder_errors.BadRequest, cinder_errors.NotFound)):
        users("other").volume(image_id)


def test_a_shared_image_is_cloned_for_whom_it_is_shared_with(demo: User, users: Users, driver_cloud: Cloud) -> None:
    image_id = demo.image()
    demo.glance.image_members.create(image_id, driver_cloud.project_ids["other"])
    volume = users("other").volume(image_id)
    assert "cloned from image volume" in demo.said(volume)
    assert content(demo.real, volume.id)[1] == DATA


def test_an_image_is_cloned_for_its_present_owner(demo: User, users: Users, driver_cloud: Cloud) -> None:
    image_id = demo.image()
    source = image_volume(demo, image_id)
    images = GlanceClient(session=sign_in(driver_cloud, "admin"), region_name=REGION).images
    demo.undo.callback(images.update, image_id, owner=driver_cloud.project_ids["demo"])  # whose user deletes it
    images.update(image_id, owner=driver_cloud.project_ids["other"])
    volume = users("other").volume(image_id)
    assert f"cloned from image volume {source}" in demo.said(volume)
    assert content(demo.real, volume.id)[1] == DATA


def forge(user: User, other: User, image_id: str) -> None:
    """A volume of another project claims to be the image's, and a location names it."""
    forged = other.cinder.volumes.create(1, volume_type="fast")
    other.undo.callback(delete, other.real, forged.id)
    real = user.real
    real.volumes.wait(forged.id)
    with attached(forged.id, mode=AccessMode.WRITE, volumes=real.volumes, attacher=real.attacher) as device:
        write_stream([FORGED], device, size_bytes=len(FORGED))
    real.volumes.wait(forged.id)
    claims = {"image_owner": user.cloud.project_ids["demo"], "glance_image_id": image_id, "image_size": str(len(DATA))}
    other.cinder.volumes.set_metadata(forged.id, claims)
    other.cinder.volumes.update_readonly_flag(forged.id, True)  # else the store refuses the location
    admin = GlanceClient(session=sign_in(user.cloud, "admin"), region_name=REGION)  # the store refuses it of a user
    admin.images.add_location(image_id, f"cinder://fast/{forged.id}", {"store": "fast"})


def test_every_user_who_sees_an_image_sees_in_which_stores_it_is(demo: User, driver_cloud: Cloud) -> None:
    image_id = demo.image(store="fast")
    assert GlanceImages(session=sign_in(driver_cloud, "demo"), region_name=REGION).stores_of(image_id) == ("fast",)


def test_a_users_word_makes_no_image_volume(demo: User, users: Users) -> None:
    image_id = demo.image()
    forge(demo, users("other"), image_id)
    volume = demo.volume(image_id)
    assert content(demo.real, volume.id)[1] == DATA


def test_cinder_itself_clones_the_volume_that_a_users_metadata_calls_an_image_volume(cloud: Cloud) -> None:
    """The same on a Cinder with `cinder` in allowed_direct_url_schemes: the new volume holds what a stranger wrote."""
    with nothing_left(cloud), ExitStack() as undo:
        demo, other = User(cloud, "demo", undo), User(cloud, "other", undo)
        image_id = demo.image()
        forge(demo, other, image_id)
        volume = demo.volume(image_id)
        assert content(demo.real, volume.id)[1] == FORGED


def test_an_operator_is_told_once_where_the_strict_rules_decide_nothing(cloud: Cloud, driver_cloud: Cloud) -> None:
    assert "put it into image_clone_direct_url_schemes" not in driver_cloud.log("cinder").read_text(errors="replace")
    assert re.search("image_clone_direct_url_schemes", cloud.log("cinder").read_text(errors="replace")) is None
