"""Ceph stops while the engine moves an image: that ends well if Ceph is back in time, else by one clear error.

The same through Cinder and the command line, for which more has to be started, is in `test_osd_stopped`.
"""

from __future__ import annotations

import hashlib
import random
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs
import pytest

from imagevol_adapters.brick import BrickAttacher, become_privileged
from imagevol_adapters.engine import Limits, read_device, write_stream
from imagevol_adapters.engine.threads import threads_left
from imagevol_adapters.ports import AccessMode, Attachment, Device
from imagevol_adapters.qemu.converter import QemuConverter
from imagevol_adapters.transfers.filling import fill_device
from imagevol_core import DeviceStalled, Digest, Image, ZeroHandling
from tests.cloud.processes import ticks
from tests.rbd.ceph import Osd, ask
from tests.rbd.faults import FAULTS, Fault, Tally, files, happened

MIB = 1 << 20
PARTS = 96  # of 1 MiB
MIDDLE = 40
STALL_SECONDS = 20
LATE_SECONDS = 60  # for what is cleaned up and closed, on a busy machine
PATIENT_SECONDS = 120  # the deadline of what must end well: an OSD takes its time to start
PARTS_OF = [random.Random(number).randbytes(MIB) for number in range(8)]
DATA = b"".join(PARTS_OF[number % 8] for number in range(PARTS))
DIGEST = Digest("sha512", hashlib.sha512(DATA).hexdigest())

Middle = Callable[[int], None]
"""Is told which part comes next."""


@attrs.frozen
class Volume:
    """An image of Ceph, as Cinder would let this host connect it."""

    name: str
    attachment: Attachment


@pytest.fixture
def volume(ceph: Path, tmp_path: Path) -> Iterator[Volume]:
    become_privileged(tmp_path / "locks")
    linuxrbd, rbd = import_module("os_brick.initiator.linuxrbd"), import_module("rbd")
    volume_id = str(uuid.uuid4())
    name = f"volume-{volume_id}"
    with linuxrbd.RBDClient("admin", "fast", conffile=str(ceph)) as client:
        rbd.RBD().create(client.ioctx, name, (PARTS + 4) * MIB)
    host = ask(ceph.parent, "ceph", "-c", ceph, "mon", "dump", "--format", "json")
    port = int(host.partition('"v1","addr":"127.0.0.1:')[2].partition('"')[0])
    connection = {
        "driver_volume_type": "rbd",
        "name": f"fast/{name}",
        "hosts": ["127.0.0.1"],
        "ports": [str(port)],
        "cluster_name": "ceph",
        "auth_enabled": False,
        "auth_username": None,
    }
    yield Volume(name, Attachment(id="a", volume_id=volume_id, connection=connection))
    for _ in ticks(60):
        if not watchers(ceph, name):
            break
    with linuxrbd.RBDClient("admin", "fast", conffile=str(ceph)) as client:
        rbd.RBD().remove(client.ioctx, name)


def watchers(ceph: Path, name: str) -> bool:
    return "watcher=" in ask(ceph.parent, "rbd", "-c", ceph, "status", f"fast/{name}")


def parts(middle: Middle) -> Iterator[bytes]:
    for number in range(PARTS):
        middle(number)
        yield PARTS_OF[number % 8]


def write(device: Device, middle: Middle, limits: Limits, _: Path) -> None:
    write_stream(parts(middle), device, size_bytes=len(DATA), zeros=ZeroHandling.SKIP, algorithms=(), limits=limits)


def read(device: Device, middle: Middle, limits: Limits, _: Path) -> None:
    for number, _part in enumerate(read_device(device, length=len(DATA), digest=DIGEST, limits=limits)):
        middle(number)


def template(device: Device, middle: Middle, limits: Limits, directory: Path) -> None:
    image = Image(id="i", disk_format="raw", container_format="bare", size_bytes=len(DATA), digest=DIGEST)
    fill_device(parts(middle), device, image=image, converter=QemuConverter(), directory=directory, limits=limits)


def template_of_a_qcow2(device: Device, middle: Middle, limits: Limits, directory: Path) -> None:
    raw, qcow2 = directory / "raw", directory / "qcow2"
    raw.write_bytes(DATA)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2], check=True)
    content = qcow2.read_bytes()
    image = Image(
        id="i",
        disk_format="qcow2",
        container_format="bare",
        size_bytes=len(content),
        digest=Digest("sha512", hashlib.sha512(content).hexdigest()),
    )

    def ranges(offset: int) -> Iterator[bytes]:
        for at in range(offset, len(content), MIB):
            if not offset:
                middle(at // MIB)
            yield content[at : at + MIB]

    converter = QemuConverter(stall_seconds=limits.stall_seconds)
    fill_device(ranges, device, image=image, converter=converter, directory=directory, limits=limits)


WORK: dict[str, Callable[[Device, Middle, Limits, Path], None]] = {
    "an image into a volume": write,
    "a volume, read and verified": read,
    "a template": template,
    "a template of a qcow2": template_of_a_qcow2,
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize("what", WORK)
def test_it_ends_well_or_by_one_error_and_leaves_nothing(
    ceph: Path, osd: Osd, volume: Volume, tally: Tally, tmp_path: Path, what: str, fault: Fault
) -> None:
    before, over, began = files(), threading.Event(), list[float]()
    seconds = PATIENT_SECONDS if fault.ends_well else STALL_SECONDS
    attacher, limits = BrickAttacher(stall_seconds=seconds), Limits(stall_seconds=seconds)
    if what == "a volume, read and verified":
        with BrickAttacher().open(volume.attachment, mode=AccessMode.WRITE) as device:
            write(device, lambda _: None, Limits(), tmp_path)

    def middle(number: int) -> None:
        if number == MIDDLE and not began:
            ending.append(happened(fault, osd, over))
            began.append(time.monotonic())

    ending: list[Any] = []
    outcome, took, error = "whole", 0.0, None
    try:
        with attacher.open(volume.attachment, mode=AccessMode.WRITE) as device:
            WORK[what](device, middle, limits, tmp_path)
    except DeviceStalled as stalled:
        outcome, took, error = "error", time.monotonic() - began[0], stalled
    finally:
        over.set()
        for thread in ending:
            thread.join()
    osd.resume()
    for _ in ticks(60):  # Ceph forgets a client that is dead after half a minute, and a thread closes what hung
        left = [*(files() - before), *(["a client"] if watchers(ceph, volume.name) else [])]
        left += ["an attachment"] if attacher.is_left(volume.attachment) else []
        left += ["a thread"] if threads_left() else []
        if not left:
            break
    tally.add(fault.name, what, outcome, left_behind=len(left))
    assert left == []
    assert outcome == ("whole" if fault.ends_well else "error")
    if error is not None:
        assert volume.attachment.volume_id in str(error)
        assert "ceph health" in str(error)
        assert error.leftovers == ()
    assert took <= STALL_SECONDS + LATE_SECONDS
    if fault.ends_well:
        with attacher.open(volume.attachment, mode=AccessMode.READ) as device:
            assert b"".join(read_device(device, length=len(DATA))) == DATA
