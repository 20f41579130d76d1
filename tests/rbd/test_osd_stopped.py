"""Ceph stops in the middle of a transfer: the transfer ends well when Ceph is back in time, else by one clear error.

`nox -s rbd -- --record-faults` writes what came of each into `docs/_data/faults/ceph.json`.
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

import attrs
import pytest

from tests.cloud.ports import PATIENCE_SECONDS, inventory
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.test_command_line import CommandLine
from tests.cloud.users import User, content
from tests.faults.recorded import Tally, record
from tests.rbd.ceph import Osd, ask
from tests.rbd.conftest import STALL_SECONDS

MIB = 1 << 20
SIZE_BYTES = 192 * MIB
RATE_MIB = 48  # a second, so that there is a middle
LATE_SECONDS = 4  # for what is cleaned up, and for Python to start and to end
DATA = random.Random(18).randbytes(8 * MIB) * (SIZE_BYTES // (8 * MIB))


@attrs.frozen
class Fault:
    """Something that happens to Ceph, and whether the transfer ends well all the same."""

    name: str
    begins: Callable[[Osd], None]
    seconds: float
    ends_well: bool


FAULTS = [
    Fault("the OSD hangs for 2 s", Osd.pause, 2, ends_well=True),
    Fault("the OSD is killed and started again", Osd.kill, 0, ends_well=True),
    Fault("the OSD hangs past the deadline", Osd.pause, STALL_SECONDS + LATE_SECONDS, ends_well=False),
    Fault(
        "the OSD is killed and stays away past the deadline", Osd.kill, STALL_SECONDS + LATE_SECONDS, ends_well=False
    ),
]


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


@pytest.fixture(scope="module")
def tally(pytestconfig: pytest.Config) -> Iterator[Tally]:
    """Counts what came of each fault."""
    tally = Tally()
    yield tally
    if pytestconfig.getoption("--record-faults"):
        record("ceph", tally.rows())


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


def files() -> set[str]:
    """What os-brick and qemu-img keep for a while."""
    return {
        each.name for each in Path(tempfile.gettempdir()).iterdir() if each.name.startswith(("brickrbd_", "imagevol"))
    }


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


def happened(fault: Fault, osd: Osd) -> threading.Thread:
    """Let it happen, and end after its time while the transfer goes on."""

    def end() -> None:
        time.sleep(fault.seconds)
        osd.resume()

    fault.begins(osd)
    thread = threading.Thread(target=end)
    thread.start()
    return thread


def assert_stalled(ran: subprocess.Popen[str], said: str, *, since: float, names: str) -> None:
    """One line names the volume, the side and what to look at, in time."""
    assert ran.returncode == 1, said
    lines = [line for line in said.splitlines() if "stalled" in line]
    assert len(lines) == 1, said
    assert names in lines[0]
    assert "ceph health" in lines[0]
    assert "Traceback" not in said
    assert time.monotonic() - since <= STALL_SECONDS + LATE_SECONDS


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_put_ends_well_or_by_an_error_that_names_the_volume(
    rbd_cloud: Cloud, osd: Osd, image: Path, fault: Fault, tried: Tried
) -> None:
    imagevol = CommandLine(rbd_cloud, rbd_cloud.clouds_yaml)
    options = (
        "--stall-seconds",
        STALL_SECONDS,
        "put",
        image,
        "--rate",
        RATE_MIB,
        "--volume-type",
        "fast",
        "--no-checksum",
    )
    with imagevol.start(*options, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as put:
        assert put.stderr
        first = put.stderr.readline()
        volume_id = re.findall(r"[0-9a-f-]{36}", first)[0]
        time.sleep(1.5)
        since = time.monotonic()
        ending = happened(fault, osd)
        _, said = put.communicate(timeout=120)
        if fault.ends_well:
            ending.join()
            assert put.returncode == 0, said
            assert content_of(imagevol, volume_id) == DATA
            assert imagevol.run("rm", volume_id).returncode == 0
            tried(fault.name, "put", "whole")
            return
        assert_stalled(put, said, since=since, names=volume_id)
        tried(fault.name, "put", "error")
        ending.join()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_get_ends_well_or_by_an_error_that_names_the_volume(
    rbd_cloud: Cloud, osd: Osd, image: Path, tmp_path: Path, fault: Fault, tried: Tried
) -> None:
    imagevol = CommandLine(rbd_cloud, rbd_cloud.clouds_yaml)
    volume_id, target = imagevol.ask("put", image, "--volume-type", "fast")["volume_id"], tmp_path / "back"
    options = ("--stall-seconds", STALL_SECONDS, "get", volume_id, target, "--rate", RATE_MIB)
    with imagevol.start(*options, stderr=subprocess.PIPE) as get:
        for _ in ticks(60):
            if target.exists() or list(tmp_path.iterdir()):
                break
        time.sleep(1)
        since = time.monotonic()
        ending = happened(fault, osd)
        _, said = get.communicate(timeout=120)
        if fault.ends_well:
            assert get.returncode == 0, said
            assert target.read_bytes() == DATA
        else:
            assert_stalled(get, said, since=since, names=volume_id)
            assert list(tmp_path.iterdir()) == []
        tried(fault.name, "get", "whole" if fault.ends_well else "error")
        ending.join()
    assert imagevol.run("rm", volume_id).returncode == 0


@pytest.fixture
def quota(ceph: Path) -> Iterator[Callable[[int], None]]:
    """Set the most bytes that the pool of the volumes may have, and return when Ceph holds it to them."""

    def limit(size_bytes: int) -> None:
        ask(ceph.parent, "ceph", "-c", ceph, "osd", "pool", "set-quota", "fast", "max_bytes", str(size_bytes))
        for _ in ticks(60):
            if ("full_quota" in ask(ceph.parent, "ceph", "-c", ceph, "osd", "pool", "ls", "detail")) is bool(
                size_bytes
            ):
                break

    yield limit
    limit(0)


def test_a_full_pool_ends_put_by_an_error_that_says_so_and_no_other_volume_is_touched(
    rbd_cloud: Cloud, image: Path, quota: Callable[[int], None], tried: Tried
) -> None:
    imagevol = CommandLine(rbd_cloud, rbd_cloud.clouds_yaml)
    other = imagevol.ask("put", image, "--volume-type", "fast")["volume_id"]
    options = ("--stall-seconds", STALL_SECONDS, "put", image, "--rate", 8, "--volume-type", "fast", "--no-checksum")
    with imagevol.start(*options, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as put:
        assert put.stderr
        volume_id = re.findall(r"[0-9a-f-]{36}", put.stderr.readline())[0]
        time.sleep(1.5)
        quota(MIB)
        _, said = put.communicate(timeout=120)
    assert put.returncode == 1, said
    (line,) = [line for line in said.splitlines() if volume_id in line]
    assert "pool" in line
    assert "full" in line
    assert content_of(imagevol, other) == DATA
    quota(0)
    assert imagevol.run("rm", other).returncode == 0
    tried("the pool is full", "put", "error")


def content_of(imagevol: CommandLine, volume_id: str) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "back"
        ran = imagevol.run("get", volume_id, target)
        assert ran.returncode == 0, ran.stderr
        return target.read_bytes()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_template_is_filled_or_given_up_and_the_volume_is_made(
    rbd_cloud: Cloud, ceph: Path, osd: Osd, fault: Fault, tried: Tried
) -> None:
    with ExitStack() as undo:
        demo = User(rbd_cloud, "demo", undo)
        image_id = demo.image(DATA)
        asked = demo.asked(image_id, "slow")
        for _ in ticks(60):
            if objects(ceph) >= 4:
                break
        ending = happened(fault, osd)
        volume = demo.settled(asked)
        ending.join()
        assert volume.status == "available", demo.said(volume)
        assert content(demo.real, volume.id, len(DATA)) == (1 << 30, DATA)
        said = demo.said(volume)
        assert ("stalled" in said) is not fault.ends_well, said
        tried(fault.name, "template", "whole" if fault.ends_well else "copied by Cinder")
        demo.real.volumes.delete(volume.id)
        for template in demo.real.volumes.with_metadata({"imagevol_template": image_id}):
            demo.real.volumes.delete(template.id)


def objects(ceph: Path) -> int:
    """How many objects hold data in the pool of the templates."""
    return sum(
        name.startswith("rbd_data") for name in ask(ceph.parent, "rados", "-c", ceph, "-p", "slow", "ls").split()
    )
