"""Ceph stops while a command or cinder-volume moves an image: all ends well if Ceph is back in time, else by one error.

`nox -s rbd -- --record-faults` writes what came of each into `docs/_data/faults/rbd.json`.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cloud.ports import PATIENCE_SECONDS, inventory
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.test_command_line import CommandLine
from tests.cloud.users import User, content
from tests.rbd.ceph import Osd, ask
from tests.rbd.conftest import BACKENDS_STALL_SECONDS
from tests.rbd.faults import FAULTS, Fault, Tally, files, happened

MIB = 1 << 20
SIZE_BYTES = 192 * MIB
RATE_MIB = 48  # a second, so that there is a middle
STALL_SECONDS = 20
LATE_SECONDS = 60  # for what is cleaned up and closed, on a busy machine
PATIENT_SECONDS = 120  # the deadline of what must end well: an OSD takes its time to start
DATA = random.Random(18).randbytes(8 * MIB) * (SIZE_BYTES // (8 * MIB))


@pytest.fixture
def osd(ceph: Path) -> Iterator[Osd]:
    osd = Osd(ceph)
    yield osd
    osd.resume()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "disk.raw"
    path.write_bytes(DATA)
    return path


Tried = Callable[[str, str, str], None]


@pytest.fixture
def tried(rbd_cloud: Cloud, ceph: Path, osd: Osd, tally: Tally) -> Iterator[Tried]:
    """Note the fault, what it happened to and the outcome; once Ceph is back, nothing may be left anywhere."""
    noted: list[tuple[str, str, str]] = []
    in_cloud, on_host = inventory(rbd_cloud), files()
    yield lambda *each: noted.append(each)
    osd.resume()
    for _ in ticks(PATIENCE_SECONDS):  # Ceph forgets a client that is dead after half a minute
        left = [*(inventory(rbd_cloud) - in_cloud), *(files() - on_host), *watched(ceph)]
        if not left:
            break
    for each in noted:
        tally.add(*each, left_behind=len(left))
    assert left == []


def rbd(ceph: Path, *arguments: str) -> str:
    return ask(ceph.parent, "rbd", "-c", ceph, *arguments)


def watched(ceph: Path) -> list[str]:
    """The images that a client has open, or holds a lock of."""
    names = [f"{pool}/{name}" for pool in ("fast", "slow") for name in rbd(ceph, "ls", pool).split()]
    return [
        name
        for name in names
        if json.loads(rbd(ceph, "status", "--format", "json", name) or "{}").get("watchers")
        or json.loads(rbd(ceph, "lock", "ls", "--format", "json", name) or "[]")
    ]


def deadline(fault: Fault) -> float:
    return PATIENT_SECONDS if fault.ends_well else STALL_SECONDS


def until(holds: Callable[[], bool], *, seconds: float = 60) -> None:
    for _ in ticks(seconds):
        if holds():
            return
    raise AssertionError("not in time")


def objects(ceph: Path, pool: str) -> int:
    """How many objects hold data in a pool."""
    return sum(name.startswith("rbd_data") for name in ask(ceph.parent, "rados", "-c", ceph, "-p", pool, "ls").split())


def content_of(imagevol: CommandLine, volume_id: str) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "back"
        ran = imagevol.run("get", volume_id, target)
        assert ran.returncode == 0, ran.stderr
        return target.read_bytes()


def assert_stalled(said: str, *, names: str, seconds: float) -> None:
    """One line names the volume, the side and what to look at, in time."""
    (line,) = said.splitlines()
    assert names in line
    assert "stalled" in line
    assert "ceph health" in line
    assert "left behind" not in line
    assert seconds <= STALL_SECONDS + LATE_SECONDS


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_put_ends_well_or_by_an_error_that_names_the_volume(
    rbd_cloud: Cloud, ceph: Path, osd: Osd, image: Path, fault: Fault, tried: Tried
) -> None:
    imagevol, over = CommandLine(rbd_cloud, rbd_cloud.clouds_yaml), threading.Event()
    options = ("put", image, "--rate", RATE_MIB, "--volume-type", "fast", "--no-checksum")
    before = objects(ceph, "fast")
    piped = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE}
    with imagevol.start("--stall-seconds", deadline(fault), *options, **piped) as put:
        assert put.stderr
        volume_id = re.findall(r"[0-9a-f-]{36}", put.stderr.readline())[0]
        until(lambda: objects(ceph, "fast") >= before + 4)
        since = time.monotonic()
        ending = happened(fault, osd, over)
        _, said = put.communicate(timeout=300)
        seconds = time.monotonic() - since
    over.set()
    ending.join()
    if fault.ends_well:
        assert put.returncode == 0, said
        assert content_of(imagevol, volume_id) == DATA
        assert imagevol.run("rm", volume_id).returncode == 0
    else:
        assert put.returncode == 1
        assert_stalled(said, names=volume_id, seconds=seconds)
    tried(fault.name, "put", "whole" if fault.ends_well else "error")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_get_ends_well_or_by_an_error_that_names_the_volume(
    rbd_cloud: Cloud, osd: Osd, image: Path, tmp_path: Path, fault: Fault, tried: Tried
) -> None:
    imagevol, over = CommandLine(rbd_cloud, rbd_cloud.clouds_yaml), threading.Event()
    volume_id, target = imagevol.ask("put", image, "--volume-type", "fast")["volume_id"], tmp_path / "back"
    options = ("get", volume_id, target, "--rate", RATE_MIB)
    with imagevol.start("--stall-seconds", deadline(fault), *options, stderr=subprocess.PIPE) as get:
        until(lambda: sum(each.stat().st_blocks * 512 for each in tmp_path.iterdir()) >= 16 * MIB)
        since = time.monotonic()
        ending = happened(fault, osd, over)
        _, said = get.communicate(timeout=300)
        seconds = time.monotonic() - since
    over.set()
    ending.join()
    if fault.ends_well:
        assert get.returncode == 0, said
        assert target.read_bytes() == DATA
    else:
        assert get.returncode == 1
        assert_stalled(said, names=volume_id, seconds=seconds)
        assert list(tmp_path.iterdir()) == []
    assert imagevol.run("rm", volume_id).returncode == 0
    tried(fault.name, "get", "whole" if fault.ends_well else "error")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_template_is_filled_or_given_up_and_the_volume_is_made(
    rbd_cloud: Cloud, ceph: Path, osd: Osd, fault: Fault, tried: Tried
) -> None:
    over = threading.Event()
    with ExitStack() as undo:
        demo = User(rbd_cloud, "demo", undo)
        image_id = demo.image(DATA)
        before = objects(ceph, "slow")
        asked = demo.asked(image_id, "slow")
        until(lambda: objects(ceph, "slow") >= before + 4)
        ending = happened(fault, osd, over)
        if not fault.ends_well:
            until(lambda: "stalled" in demo.said(asked), seconds=BACKENDS_STALL_SECONDS + LATE_SECONDS)
            over.set()
        volume = demo.settled(asked)
        ending.join()
        assert volume.status == "available", demo.said(volume)
        assert content(demo.real, volume.id, len(DATA)) == (1 << 30, DATA)
        assert ("stalled" in demo.said(volume)) is not fault.ends_well
        demo.real.volumes.delete(volume.id)
        for template in demo.real.volumes.with_metadata({"imagevol_template": image_id}):
            demo.real.volumes.delete(template.id)
    tried(fault.name, "a template in cinder-volume", "whole" if fault.ends_well else "copied by Cinder")


@pytest.fixture
def quota(ceph: Path) -> Iterator[Callable[[int], None]]:
    """Set the most bytes that the pool of the volumes may have, and return when Ceph holds it to them."""

    def limit(size_bytes: int) -> None:
        ask(ceph.parent, "ceph", "-c", ceph, "osd", "pool", "set-quota", "fast", "max_bytes", str(size_bytes))
        for _ in ticks(60):
            pools = ask(ceph.parent, "ceph", "-c", ceph, "osd", "pool", "ls", "detail")
            if ("full_quota" in pools) is bool(size_bytes):
                break

    yield limit
    limit(0)


def test_a_full_pool_ends_put_by_an_error_that_says_so_and_no_other_volume_is_touched(
    rbd_cloud: Cloud, ceph: Path, image: Path, quota: Callable[[int], None], tried: Tried
) -> None:
    imagevol = CommandLine(rbd_cloud, rbd_cloud.clouds_yaml)
    other = imagevol.ask("put", image, "--volume-type", "fast")["volume_id"]
    before = objects(ceph, "fast")
    options = ("--stall-seconds", STALL_SECONDS, "put", image, "--rate", 8, "--volume-type", "fast", "--no-checksum")
    with imagevol.start(*options, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as put:
        assert put.stderr
        volume_id = re.findall(r"[0-9a-f-]{36}", put.stderr.readline())[0]
        until(lambda: objects(ceph, "fast") > before)
        quota(MIB)
        _, said = put.communicate(timeout=180)
    assert put.returncode == 1, said
    (line,) = said.splitlines()
    assert volume_id in line
    assert "a pool that is full" in line or "the pool is full" in line
    quota(0)  # to open an image, even to read it, is a write to its pool
    assert content_of(imagevol, other) == DATA
    assert imagevol.run("rm", other).returncode == 0
    tried("the pool is full", "put", "error")
