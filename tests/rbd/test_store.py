"""Images of a real Glance in volumes on a real Ceph, by our store driver."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from typing import Any

import pytest
from glanceclient.v2.client import Client as GlanceClient

from tests.cloud.ports import nothing_left, ports, sign_in
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.settings import REGION

MIB = 1 << 20
DATA = random.Random(9).randbytes(9 * MIB) + bytes(40 * MIB) + random.Random(8).randbytes(MIB + 5)


@pytest.fixture(autouse=True)
def left(rbd_cloud: Cloud) -> Iterator[None]:
    with nothing_left(rbd_cloud):
        yield


@pytest.mark.parametrize("told", [True, False])
def test_the_store_keeps_an_image_in_rbd_and_gives_it_out_and_deletes_it(rbd_cloud: Cloud, told: bool) -> None:
    session = sign_in(rbd_cloud, "demo")
    glance: Any = GlanceClient(session=session, region_name=REGION)
    image = glance.images.create(disk_format="raw", container_format="bare")
    glance.images.upload(image["id"], io.BytesIO(DATA), image_size=len(DATA) if told else None, backend="slow")
    (location,) = glance.images.get(image["id"])["locations"]
    volumes = ports(rbd_cloud).volumes
    volume = volumes.get(location["url"].rpartition("/")[2])
    assert (volume.host, volume.readonly) == (rbd_cloud.backend_hosts["slow"], True)
    assert b"".join(glance.images.data(image["id"])) == DATA
    part = session.get(
        f"{rbd_cloud.image_url}/v2/images/{image['id']}/file", headers={"Range": f"bytes={9 * MIB - 4}-{9 * MIB + 4}"}
    )
    assert part.content == DATA[9 * MIB - 4 : 9 * MIB + 5]
    glance.images.delete(image["id"])
    for _ in ticks(60):
        if not volumes.find([volume.id]):
            break
