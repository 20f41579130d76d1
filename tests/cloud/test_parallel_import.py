"""Glance imports an image to several of our stores at once, each in a thread of its own."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from cinderclient.client import Client as CinderClient
from glanceclient import exc as glance_errors
from glanceclient.v2.client import Client as GlanceClient

from imagevol_adapters.transfers import open_image_volume
from imagevol_core import VolumeOrigin
from tests.cloud.ports import Ports, inventory, nothing_left, ports, sign_in
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.restarting import glance_with, kill, start
from tests.cloud.settings import REGION, Settings

MIB = 1 << 20
STORES = ["fast", "slow", "local"]
PARALLEL = {"image_import_opts": {"max_parallel_stores": "4"}}

Importing = Callable[..., Any]


@pytest.fixture(scope="module")
def parallel(imagevol_cloud: Cloud) -> Iterator[Cloud]:
    """A cloud whose Glance imports to four stores at once."""
    with glance_with(imagevol_cloud, PARALLEL) as cloud:
        yield cloud


@pytest.fixture
def real(imagevol_cloud: Cloud) -> Ports:
    return ports(imagevol_cloud)


def client(cloud: Cloud, name: str = "demo") -> Any:
    return GlanceClient(session=sign_in(cloud, name), region_name=REGION)


@pytest.fixture
def importing(imagevol_cloud: Cloud) -> Iterator[Importing]:
    """Imports images, and waits until Glance says how it ended; afterwards they are gone, with all that they left."""

    def imported(data: bytes, *, stores: list[str] = STORES, all_must_succeed: bool = True) -> Any:
        glance = client(imagevol_cloud)
        image_id = glance.images.create(disk_format="raw", container_format="bare")["id"]
        undo.callback(deleted, image_id)
        glance.images.stage(image_id, io.BytesIO(data))
        glance.images.image_import(image_id, method="glance-direct", stores=stores, allow_failure=not all_must_succeed)
        for _ in ticks(300):
            tasks = glance.images.get_associated_image_tasks(image_id)["tasks"]
            if tasks and all(task["status"] in ("success", "failure") for task in tasks):
                return glance.images.get(image_id)
        raise AssertionError(f"image {image_id} is still importing")

    def deleted(image_id: str) -> None:
        try:
            client(imagevol_cloud, "admin").images.delete(image_id)
        except glance_errors.HTTPNotFound:
            return

    with nothing_left(imagevol_cloud), ExitStack() as undo:
        yield imported


def held_by(real: Ports, location: Any) -> tuple[str, str]:
    """What an image volume holds, and what it says of that, as digests."""
    volume = real.volumes.get(location["url"].rpartition("/")[2])
    digest = hashlib.sha512()
    with open_image_volume(volume.id, volumes=real.volumes, attacher=real.attacher) as content:
        for part in content.parts:
            digest.update(part)
    return digest.hexdigest(), volume.metadata["os_hash_value"]


def test_each_store_has_the_image_also_when_several_images_come_at_once(
    parallel: Cloud, real: Ports, importing: Importing
) -> None:
    images = [random.Random(seed).randbytes(24 * MIB + seed) for seed in range(3)]
    with ThreadPoolExecutor(len(images)) as pool:
        imported = list(pool.map(importing, images))
    for data, image in zip(images, imported, strict=True):
        digest = hashlib.sha512(data).hexdigest()
        assert (image["status"], image["size"], image["os_hash_value"]) == ("active", len(data), digest)
        locations = {location["metadata"]["store"]: location for location in image["locations"]}
        assert locations.keys() == set(STORES)
        for store in ("fast", "slow"):
            assert real.volumes.get(locations[store]["url"].rpartition("/")[2]).volume_type == store
            assert held_by(real, locations[store]) == (digest, digest)


@contextmanager
def no_room(cloud: Cloud, real: Ports) -> Iterator[None]:
    """The backend `slow` is full while the context lasts."""
    cinder: Any = CinderClient("3.60", session=sign_in(cloud, "admin"), region_name=REGION)
    volumes = cinder.volumes.list(search_opts={"all_tenants": 1})
    room = Settings().capacity_gib - sum(volume.size for volume in volumes if volume.volume_type == "slow")
    filling = real.volumes.wait(real.volumes.create(size_gib=room, name="filling", volume_type="slow").id)
    try:
        yield
    finally:
        real.volumes.delete(filling.id)


@pytest.mark.parametrize("all_must_succeed", [True, False])
def test_a_store_that_fails_leaves_nothing_of_its_own(
    parallel: Cloud, real: Ports, importing: Importing, all_must_succeed: bool
) -> None:
    """A backend without room: the volume comes to an error after it was asked for."""
    before = inventory(parallel)
    data = random.Random(7).randbytes(24 * MIB)
    with no_room(parallel, real):
        image = importing(data, stores=["slow", "fast"], all_must_succeed=all_must_succeed)
    if all_must_succeed:
        assert image["locations"] == []  # its status stays `importing`, and the placeholders are gone
        expected = {f"image {image['id']}"}
    else:
        (location,) = image["locations"]
        assert (image["status"], location["metadata"]) == ("active", {"store": "fast"})
        assert held_by(real, location)[0] == hashlib.sha512(data).hexdigest()
        expected = {f"image {image['id']}", f"volume {location['url'].rpartition('/')[2]}"}
    for _ in ticks(60):
        if inventory(parallel) - before == expected:
            break
    assert inventory(parallel) - before == expected


def test_what_a_killed_glance_was_storing_is_gone_when_it_starts_again(parallel: Cloud, real: Ports) -> None:
    glance = client(parallel)
    with nothing_left(parallel):
        before = inventory(parallel)
        image_id = glance.images.create(disk_format="raw", container_format="bare")["id"]
        try:
            glance.images.stage(image_id, io.BytesIO(random.Random(3).randbytes(MIB) * 512))
            glance.images.image_import(image_id, method="glance-direct", stores=["fast", "slow"])
            left = set[str]()
            for _ in ticks(60):
                left = {thing.removeprefix("volume ") for thing in inventory(parallel) - before if "volume " in thing}
                if len(left) == 2 and all(volume.status == "in-use" for volume in real.volumes.find(left)):
                    break
            kill(parallel, "glance")
            assert len(left) == 2
            for volume_id in left:
                made_by = VolumeOrigin.from_volume(real.volumes.get(volume_id).metadata)
                assert made_by is not None
                assert (made_by.procedure, made_by.image_id, made_by.finished) == ("add", image_id, False)
                assert made_by.process == real.volumes.holders(volume_id)[0].process
        finally:
            start(parallel, "glance")
        for _ in ticks(60):
            if not real.volumes.find(left):
                break
        assert real.volumes.find(left) == ()
        client(parallel, "admin").images.delete(image_id)
