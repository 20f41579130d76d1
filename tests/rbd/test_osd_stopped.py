"""Ceph stops while a command or cinder-volume moves an image: all ends well if Ceph is back in time, else by one error.

`nox -s rbd -- --record-faults` writes what came of each into `docs/_data/faults/rbd.json`.
"""

from __future__ import annotations

import re
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cloud.record import Cloud
from tests.cloud.test_command_line import CommandLine
from tests.cloud.users import User, content
from tests.rbd.ceph import Osd
from tests.rbd.conftest import SERVICES_STALL_SECONDS, Tried
from tests.rbd.faults import FAULTS, Fault, happening, objects, until
from tests.rbd.moving import DATA, LATE_SECONDS, MIB, RATE_MIB, assert_stalled, content_of, deadline


def written(pid: int) -> int:
    """How many bytes a process has written."""
    counts = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(counts["wchar"])


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_put_ends_well_or_by_an_error_that_names_the_volume(
    rbd_cloud: Cloud, ceph: Path, osd: Osd, image: Path, fault: Fault, tried: Tried
) -> None:
    imagevol = CommandLine(rbd_cloud, rbd_cloud.clouds_yaml)
    options = ("put", image, "--rate", RATE_MIB, "--volume-type", "fast", "--no-checksum")
    before = objects(ceph, "fast")
    piped = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE}
    with imagevol.start("--stall-seconds", deadline(fault), *options, **piped) as put:
        assert put.stderr
        volume_id = re.findall(r"[0-9a-f-]{36}", put.stderr.readline())[0]
        until(lambda: objects(ceph, "fast") >= before + 4)
        since = time.monotonic()
        with happening(fault, osd):
            _, said = put.communicate(timeout=300)
            seconds = time.monotonic() - since
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
    imagevol = CommandLine(rbd_cloud, rbd_cloud.clouds_yaml)
    volume_id, target = imagevol.ask("put", image, "--volume-type", "fast")["volume_id"], tmp_path / "back"
    options = ("get", volume_id, target, "--rate", RATE_MIB)
    with imagevol.start("--stall-seconds", deadline(fault), *options, stderr=subprocess.PIPE) as get:
        until(lambda: written(get.pid) >= 16 * MIB)  # into a file that has no name before it is whole
        since = time.monotonic()
        with happening(fault, osd):
            _, said = get.communicate(timeout=300)
            seconds = time.monotonic() - since
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
    with ExitStack() as undo:
        demo = User(rbd_cloud, "demo", undo)
        image_id = demo.image(DATA)
        before = objects(ceph, "slow")
        asked = demo.asked(image_id, "slow")
        until(lambda: objects(ceph, "slow") >= before + 4)
        with happening(fault, osd):
            if not fault.ends_well:
                # Glance reads the image from the same OSD: which of the two gives up first, chance decides.
                until(lambda: "no template: " in demo.said(asked), seconds=SERVICES_STALL_SECONDS + LATE_SECONDS)
        volume = demo.settled(asked)
        assert volume.status == "available", demo.said(volume)
        assert content(demo.real, volume.id, len(DATA)) == (1 << 30, DATA)
        assert ("no template: " in demo.said(volume)) is not fault.ends_well
        demo.real.volumes.delete(volume.id)
        for template in demo.real.volumes.with_metadata({"imagevol_template": image_id}):
            demo.real.volumes.delete(template.id)
    tried(fault.name, "a template in cinder-volume", "whole" if fault.ends_well else "copied by Cinder")
