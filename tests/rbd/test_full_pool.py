"""No space is left while a volume is written: one error says so, and all other volumes are untouched and can be read.

Ceph stops all writes to a pool that is full, and no reads.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cloud.record import Cloud
from tests.cloud.test_command_line import CommandLine
from tests.cloud.users import User
from tests.rbd.conftest import Tried
from tests.rbd.faults import FULL, Full, objects, until
from tests.rbd.moving import DATA, LATE_SECONDS, content_of

FULL_SECONDS = 120  # in which the other volumes are read


@pytest.fixture
def demo(rbd_cloud: Cloud) -> Iterator[User]:
    with ExitStack() as undo:
        yield User(rbd_cloud, "demo", undo)


@pytest.mark.parametrize("full", FULL, ids=lambda full: full.name)
def test_put_ends_by_an_error_that_says_so_and_all_other_volumes_can_be_read(
    rbd_cloud: Cloud, ceph: Path, image: Path, full: Full, tried: Tried, demo: User
) -> None:
    imagevol = CommandLine(rbd_cloud, rbd_cloud.clouds_yaml)
    other, image_id = imagevol.ask("put", image, "--volume-type", "fast")["volume_id"], demo.image(DATA)
    before = objects(ceph, "fast")
    options = ("put", image, "--rate", 2, "--volume-type", "fast", "--no-checksum")
    piped = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE}
    with imagevol.start("--stall-seconds", FULL_SECONDS, *options, **piped) as put:
        assert put.stderr
        volume_id = re.findall(r"[0-9a-f-]{36}", put.stderr.readline())[0]
        until(lambda: objects(ceph, "fast") > before)
        with full(ceph):
            assert content_of(imagevol, other) == DATA
            assert b"".join(demo.glance.images.data(image_id)) == DATA
            # Last, because Cinder then deletes the volume of `put`, which is a write that waits for space, and no call
            # of cinder-volume returns until then.
            _, said = put.communicate(timeout=FULL_SECONDS + 3 * LATE_SECONDS)
    assert put.returncode == 1, said
    (line,) = said.splitlines()
    assert volume_id in line
    assert "a pool that is full" in line or "the pool is full" in line
    assert content_of(imagevol, other) == DATA
    assert imagevol.run("rm", other).returncode == 0
    demo.glance.images.delete(image_id)
    tried(full.name, "put", "error")
    tried(full.name, "get of another volume", "whole")
    tried(full.name, "a download of another image from Glance", "whole")
