"""A Glance whose `enabled_backends` names our driver where it named upstream's, and its users."""

from __future__ import annotations

import hashlib
import io
import os
import random
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
import requests
from blake3 import blake3
from glanceclient import exc as glance_errors
from glanceclient.v2.client import Client as GlanceClient
from keystoneauth1 import exceptions as keystone_errors

from imagevol_adapters.closing import closing
from imagevol_adapters.ports import AccessMode
from imagevol_core import HOLD, VolumeOrigin
from tests.cloud.ports import Ports, nothing_left, ports, sign_in
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.restarting import glance_with, kill, start
from tests.cloud.settings import REGION

MIB = 1 << 20
DATA = random.Random(7).randbytes(9 * MIB + 77)


@pytest.fixture(scope="module")
def real(imagevol_cloud: Cloud) -> Ports:
    return ports(imagevol_cloud)


@pytest.fixture(autouse=True)
def left(imagevol_cloud: Cloud) -> Iterator[None]:
    with nothing_left(imagevol_cloud):
        yield


def glance(cloud: Cloud, name: str = "demo") -> Any:
    return GlanceClient(session=sign_in(cloud, name), region_name=REGION)


Uploaded = Callable[..., Any]


@pytest.fixture
def uploaded(imagevol_cloud: Cloud) -> Iterator[Uploaded]:
    """Uploads images, which are gone afterwards."""
    client = glance(imagevol_cloud)
    admin = glance(imagevol_cloud, "admin")

    def upload(data: bytes = DATA, *, size_bytes: int | None = None, store: str | None = "fast") -> Any:
        image = client.images.create(disk_format="raw", container_format="bare")
        undo.callback(delete, image.id)
        client.images.upload(image.id, io.BytesIO(data), image_size=size_bytes, backend=store)
        return client.images.get(image.id)

    def delete(image_id: str) -> None:
        try:
            admin.images.delete(image_id)
        except glance_errors.HTTPNotFound:
            return

    with ExitStack() as undo:
        yield upload


def volume_id(image: Any) -> str:
    (location,) = image["locations"]
    found: str = location["url"].rpartition("/")[2]
    return found


def download(cloud: Cloud, image: Any, headers: dict[str, str] | None = None, *, name: str = "demo") -> bytes:
    """Without glanceclient, which would notice by the digest what the service did not."""
    answer = sign_in(cloud, name).get(f"{cloud.image_url}/v2/images/{image['id']}/file", headers=headers or {})
    content: bytes = answer.content
    return content


@pytest.mark.parametrize("store", [pytest.param("fast", marks=pytest.mark.smoke), "slow"])
def test_an_image_goes_in_and_out_and_away(imagevol_cloud: Cloud, real: Ports, uploaded: Uploaded, store: str) -> None:
    image = uploaded(store=store)
    assert image["locations"] == [{"url": f"cinder://{store}/{volume_id(image)}", "metadata": {"store": store}}]
    assert (image["status"], image["size"], image["stores"]) == ("active", len(DATA), store)
    assert image["checksum"] == hashlib.md5(DATA).hexdigest()
    assert (image["os_hash_algo"], image["os_hash_value"]) == ("sha512", hashlib.sha512(DATA).hexdigest())
    volume = real.volumes.get(volume_id(image))
    assert volume.project_id == imagevol_cloud.project_ids["service"]
    assert (volume.volume_type, volume.host) == (store, imagevol_cloud.backend_hosts[store])
    assert (volume.status, volume.readonly, volume.size_gib) == ("available", True, 1)
    made_by = VolumeOrigin.from_volume(volume.metadata)
    assert made_by is not None
    assert (made_by.procedure, made_by.image_id, made_by.finished) == ("add", image["id"], True)
    assert volume.metadata == {
        **made_by.to_volume(),
        "glance_image_id": image["id"],
        "image_id": image["id"],
        "image_owner": imagevol_cloud.project_ids["demo"],
        "image_size": str(len(DATA)),
        "os_hash_algo": "sha512",
        "os_hash_value": image["os_hash_value"],
        "checksum": image["checksum"],
        "imagevol_blake3": blake3(DATA).hexdigest(),
    }
    assert download(imagevol_cloud, image) == DATA
    assert download(imagevol_cloud, image, {"Range": "bytes=5-9437200"}) == DATA[5:9437201]
    assert download(imagevol_cloud, image, {"Range": "bytes=-9"}) == DATA[-9:]
    glance(imagevol_cloud).images.delete(image["id"])
    for _ in ticks(60):
        if not real.volumes.find([volume.id]):
            break
    assert real.volumes.find([volume.id]) == ()


def test_many_clients_at_once_are_all_given_the_image(imagevol_cloud: Cloud, uploaded: Uploaded) -> None:
    image = uploaded()
    with ThreadPoolExecutor(16) as pool:
        downloads = pool.map(lambda _: download(imagevol_cloud, image) == DATA, range(16))
        assert list(downloads) == [True] * 16


LARGE = DATA * 8  # more than what is on its way between Glance and a client who does not read


@pytest.fixture
def cut_short(imagevol_cloud: Cloud, real: Ports, uploaded: Uploaded) -> Any:
    """An image in the middle of whose download Glance was killed, and started again."""
    image = uploaded(LARGE)
    url = f"{imagevol_cloud.image_url}/v2/images/{image['id']}/file"
    with sign_in(imagevol_cloud, "demo").get(url, stream=True) as answer:
        next(answer.iter_content(MIB))
        kill(imagevol_cloud, "glance")
        start(imagevol_cloud, "glance")
    assert real.volumes.get(volume_id(image)).status == "in-use"
    return image


def test_an_image_is_given_again_after_glance_was_killed_in_its_download(
    imagevol_cloud: Cloud, real: Ports, cut_short: Any
) -> None:
    assert download(imagevol_cloud, cut_short) == LARGE
    assert real.volumes.get(volume_id(cut_short)).status == "available"
    assert real.volumes.holders(volume_id(cut_short)) == ()
    log = imagevol_cloud.log("glance").read_text()
    assert re.search(rf"Volume {volume_id(cut_short)}: attachment [\w-]+ was taken back: its process \d+ ", log)


def test_an_image_is_deleted_after_glance_was_killed_in_its_download(
    imagevol_cloud: Cloud, real: Ports, cut_short: Any
) -> None:
    glance(imagevol_cloud).images.delete(cut_short["id"])
    for _ in ticks(60):
        if not real.volumes.find([volume_id(cut_short)]):
            break
    assert real.volumes.find([volume_id(cut_short)]) == ()


def test_an_image_is_given_again_after_a_worker_of_glance_was_killed_in_its_download(
    imagevol_cloud: Cloud, real: Ports, uploaded: Uploaded
) -> None:
    image = uploaded(LARGE)
    url = f"{imagevol_cloud.image_url}/v2/images/{image['id']}/file"
    with sign_in(imagevol_cloud, "demo").get(url, stream=True) as answer:
        next(answer.iter_content(MIB))
        (holder,) = real.volumes.holders(volume_id(image))
        assert holder.process is not None
        os.kill(holder.process.pid, signal.SIGKILL)
        with pytest.raises(requests.RequestException):
            list(answer.iter_content(MIB))
    assert download(imagevol_cloud, image) == LARGE
    assert real.volumes.holders(volume_id(image)) == ()


def test_a_client_is_told_to_come_back_while_another_has_the_volume(
    imagevol_cloud: Cloud, real: Ports, uploaded: Uploaded
) -> None:
    """Cinder's client of Glance does come back, by 503."""
    with glance_with(imagevol_cloud, {"fast": {"cinder_attachment_retry_attempts": "1"}}):
        image = uploaded()
        url = f"{imagevol_cloud.image_url}/v2/images/{image['id']}/file"
        attachment = real.volumes.attach(volume_id(image), connector={"host": "elsewhere"}, mode=AccessMode.READ)
        try:
            assert sign_in(imagevol_cloud, "demo").get(url, raise_exc=False).status_code == 503
            with pytest.raises(glance_errors.HTTPServiceUnavailable):
                glance(imagevol_cloud).images.data(image["id"])
        finally:
            real.volumes.detach(attachment)
        assert download(imagevol_cloud, image) == DATA


def test_copies_are_made_by_glance_and_each_is_deleted_alone(
    imagevol_cloud: Cloud, real: Ports, uploaded: Uploaded
) -> None:
    image = uploaded(store="fast")
    client = glance(imagevol_cloud, "admin")  # who alone may copy, by Glance's policy
    client.images.image_import(image["id"], method="copy-image", stores=["slow"])
    for _ in ticks(60):
        if client.images.get(image["id"])["stores"] == "fast,slow":
            break
    locations = client.images.get(image["id"])["locations"]
    assert [location["metadata"]["store"] for location in locations] == ["fast", "slow"]
    copies = real.volumes.find(location["url"].rpartition("/")[2] for location in locations)
    assert [copy.volume_type for copy in copies] == ["fast", "slow"]
    client.images.delete_from_store("fast", image["id"])
    assert client.images.get(image["id"])["stores"] == "slow"
    assert download(imagevol_cloud, image) == DATA


def test_an_image_is_read_from_the_store_that_is_preferred(
    imagevol_cloud: Cloud, real: Ports, uploaded: Uploaded
) -> None:
    data = 8 * DATA  # so much that it is not sent before it is looked for what is read
    shown = uploaded(data, store="fast")
    client = glance(imagevol_cloud, "admin")
    client.images.image_import(shown["id"], method="copy-image", stores=["slow"])
    for _ in ticks(60):
        if client.images.get(shown["id"])["stores"] == "fast,slow":
            break
    assert real.images.takes_preference(shown["id"])
    image = real.images.get(shown["id"])
    volumes = {each.metadata["store"]: each.url.rpartition("/")[2] for each in image.locations}
    for store in ("slow", "fast"):
        parts = real.images.preferring(store).unverified(image, offset=0, length=len(data))
        with closing(parts):
            next(parts)
            assert {name for name, each in volumes.items() if real.volumes.holders(each)} == {store}
            assert len(b"".join(parts)) < len(data)


def test_an_image_can_be_shared_and_given_away(imagevol_cloud: Cloud, uploaded: Uploaded) -> None:
    image = uploaded()
    other = imagevol_cloud.project_ids["other"]
    with pytest.raises(keystone_errors.NotFound):
        download(imagevol_cloud, image, name="other")
    glance(imagevol_cloud).image_members.create(image["id"], other)
    assert download(imagevol_cloud, image, name="other") == DATA
    glance(imagevol_cloud, "admin").images.update(image["id"], owner=other)
    assert download(imagevol_cloud, image, name="other") == DATA
    glance(imagevol_cloud, "other").images.delete(image["id"])


def test_a_user_cannot_add_the_volume_of_another_projects_image_to_an_own_image(
    imagevol_cloud: Cloud, uploaded: Uploaded
) -> None:
    victim = uploaded()
    (location,) = victim["locations"]
    other = glance(imagevol_cloud, "other")
    own = other.images.create(disk_format="raw", container_format="bare")
    try:
        with pytest.raises(glance_errors.HTTPException):
            other.images.add_location(own["id"], location["url"], {})
        assert other.images.get(own["id"])["status"] == "queued"
    finally:
        other.images.delete(own["id"])
    assert download(imagevol_cloud, victim) == DATA


def test_the_owner_of_an_image_and_an_administrator_can_add_its_volume(
    imagevol_cloud: Cloud, uploaded: Uploaded
) -> None:
    image = uploaded()
    (location,) = image["locations"]
    for name in ("demo", "admin"):
        client = glance(imagevol_cloud, name)
        twin = client.images.create(disk_format="raw", container_format="bare")
        client.images.add_location(twin["id"], location["url"], {})
        assert client.images.get(twin["id"])["status"] == "active"
        assert download(imagevol_cloud, twin, name=name) == DATA
        real = ports(imagevol_cloud)
        real.volumes.set_metadata(volume_id(image), {HOLD: "a test"})  # so that the twin's deletion leaves it
        client.images.delete(twin["id"])
        real.volumes.unset_metadata(volume_id(image), [HOLD])
    assert download(imagevol_cloud, image) == DATA


def test_a_length_that_is_told_is_the_volumes(imagevol_cloud: Cloud, real: Ports, uploaded: Uploaded) -> None:
    image = uploaded(size_bytes=len(DATA), store="slow")
    assert real.volumes.get(volume_id(image)).size_gib == 1
    for wrong in (len(DATA) - 1, len(DATA) + 1):
        with pytest.raises(glance_errors.HTTPBadRequest, match=str(wrong)):
            uploaded(size_bytes=wrong)


def test_an_image_without_a_byte_is_an_image(imagevol_cloud: Cloud, uploaded: Uploaded) -> None:
    assert uploaded(b"")["size"] == 0


def test_an_image_that_is_in_use_is_not_deleted(imagevol_cloud: Cloud, real: Ports, uploaded: Uploaded) -> None:
    image = uploaded()
    attachment = real.volumes.attach(volume_id(image), connector={"host": "elsewhere"}, mode=AccessMode.READ)
    try:
        with pytest.raises(glance_errors.HTTPConflict):
            glance(imagevol_cloud).images.delete(image["id"])
    finally:
        real.volumes.detach(attachment)
    assert download(imagevol_cloud, image) == DATA


def test_a_device_that_ends_too_soon_is_an_error_at_the_client(imagevol_cloud: Cloud, uploaded: Uploaded) -> None:
    image = uploaded()
    (file,) = (imagevol_cloud.directory / "volumes/fast").glob(f"*{volume_id(image)}*")
    whole = file.stat().st_size
    os.truncate(file, 6 * MIB)
    with pytest.raises(keystone_errors.InternalServerError):
        download(imagevol_cloud, image)
    os.truncate(file, whole)


def test_a_volume_that_is_gone_is_no_obstacle_to_the_images_deletion(
    imagevol_cloud: Cloud, real: Ports, uploaded: Uploaded
) -> None:
    image = uploaded()
    real.volumes.delete(volume_id(image))
    url = f"{imagevol_cloud.image_url}/v2/images/{image['id']}/file"
    assert sign_in(imagevol_cloud, "demo").get(url).status_code == 204  # Glance's word for it
    glance(imagevol_cloud).images.delete(image["id"])
