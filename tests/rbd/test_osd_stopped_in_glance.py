"""Ceph stops while Glance moves an image by our store driver: all ends well if Ceph is back in time, else by one error.

An image is active only if it is whole.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from requests.exceptions import RequestException

from tests.cloud.ports import sign_in
from tests.cloud.record import Cloud
from tests.cloud.test_command_line import CommandLine
from tests.cloud.users import User
from tests.rbd.ceph import Osd
from tests.rbd.conftest import SERVICES_STALL_SECONDS, Tried
from tests.rbd.faults import FAULTS, Fault, happening, objects, until
from tests.rbd.moving import DATA, LATE_SECONDS, MIB, RATE_MIB, logged

STALLED = ("stalled", "ceph health")


class Slow(io.BytesIO):
    """Gives its data at a rate."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        time.sleep(len(data) / (RATE_MIB * MIB))
        return data


@pytest.fixture
def demo(rbd_cloud: Cloud) -> Iterator[User]:
    with ExitStack() as undo:
        yield User(rbd_cloud, "demo", undo)


def created(demo: User, *, data: bytes | None = None) -> str:
    """An image, with data or without, of which the test deletes what is left."""
    image_id: str = demo.glance.images.create(disk_format="raw", container_format="bare")["id"]
    if data is not None:
        demo.glance.images.upload(image_id, io.BytesIO(data), image_size=len(data), backend="fast")
    return image_id


def downloaded(demo: User, image_id: str) -> bytes:
    return b"".join(demo.glance.images.data(image_id))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_an_upload_ends_well_or_by_an_error_and_its_image_is_not_active(
    rbd_cloud: Cloud, ceph: Path, osd: Osd, fault: Fault, tried: Tried, demo: User
) -> None:
    image_id, before = created(demo), objects(ceph, "slow")
    logged_before = len(logged(rbd_cloud, "glance", *STALLED))
    with ThreadPoolExecutor(1) as pool:
        uploading = pool.submit(demo.glance.images.upload, image_id, Slow(DATA), image_size=len(DATA), backend="slow")
        until(lambda: objects(ceph, "slow") >= before + 4 or uploading.done())
        assert not uploading.done(), uploading.exception()
        began = time.monotonic()
        with happening(fault, osd):
            error = uploading.exception(timeout=300)
            seconds = time.monotonic() - began
    if fault.ends_well:
        assert error is None
        assert downloaded(demo, image_id) == DATA
    else:
        assert error is not None
        assert seconds <= SERVICES_STALL_SECONDS + LATE_SECONDS
        assert demo.glance.images.get(image_id)["status"] != "active"
        assert len(logged(rbd_cloud, "glance", *STALLED)) > logged_before  # of a volume: Glance names no image there
    demo.glance.images.delete(image_id)
    tried(fault.name, "an upload to Glance", "whole" if fault.ends_well else "error")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_download_ends_well_or_is_cut_off(rbd_cloud: Cloud, osd: Osd, fault: Fault, tried: Tried, demo: User) -> None:
    image_id = created(demo, data=DATA)
    logged_before = len(logged(rbd_cloud, "glance", *STALLED))
    session = sign_in(rbd_cloud, "demo")
    response = session.get(f"{rbd_cloud.image_url}/v2/images/{image_id}/file", stream=True, timeout=300)
    data, happens, error = bytearray(), False, None
    with ExitStack() as until_the_end:
        try:
            for piece in response.iter_content(MIB):
                data += piece
                time.sleep(1 / RATE_MIB)
                if not happens and len(data) >= 48 * MIB:
                    until_the_end.enter_context(happening(fault, osd))
                    happens = True
        except RequestException as failed:
            error = failed
    assert happens
    if fault.ends_well:
        assert error is None
        assert data == DATA
    else:
        assert error is not None
        assert len(data) < len(DATA)
        assert len(logged(rbd_cloud, "glance", *STALLED)) > logged_before
    assert downloaded(demo, image_id) == DATA
    demo.glance.images.delete(image_id)
    tried(fault.name, "a download from Glance", "whole" if fault.ends_well else "error")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_cp_ends_well_or_by_an_error_and_the_image_is_whole_where_it_was(
    rbd_cloud: Cloud, ceph: Path, osd: Osd, fault: Fault, tried: Tried, demo: User
) -> None:
    imagevol = CommandLine(rbd_cloud, rbd_cloud.clouds_yaml)
    image_id, before = created(demo, data=DATA), objects(ceph, "slow")
    logged_before = len(logged(rbd_cloud, "glance", *STALLED))
    with ThreadPoolExecutor(1) as pool:
        copying = pool.submit(imagevol.run, "cp", image_id, "--to-store", "slow", "--yes")
        until(lambda: objects(ceph, "slow") >= before + 4 or copying.done())
        assert not copying.done(), copying.result()
        with happening(fault, osd):
            ran = copying.result(timeout=400)
    assert (ran.returncode == 0) is fault.ends_well, ran.stderr
    stores = set(demo.glance.images.get(image_id)["stores"].split(","))
    assert stores == ({"fast", "slow"} if fault.ends_well else {"fast"})
    assert downloaded(demo, image_id) == DATA
    if not fault.ends_well:
        assert image_id in ran.stdout + ran.stderr
        assert len(logged(rbd_cloud, "glance", *STALLED)) > logged_before
    demo.glance.images.delete(image_id)
    tried(fault.name, "cp", "whole" if fault.ends_well else "error")
