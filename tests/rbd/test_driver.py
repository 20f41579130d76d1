"""Volumes from images on a real Ceph, by Cinder's own driver with our mixin ([clone], [template])."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from imagevol_core import GIB
from tests.cloud.ports import nothing_left
from tests.cloud.record import Cloud
from tests.cloud.users import DATA, User, content, image_volume
from tests.rbd.ceph import ask


@pytest.fixture
def demo(rbd_cloud: Cloud) -> Iterator[User]:
    with nothing_left(rbd_cloud), ExitStack() as undo:
        yield User(rbd_cloud, "demo", undo)


def parent(ceph: Path, pool: str, volume_id: str) -> str:
    """What a volume is a clone of."""
    told = ask(ceph.parent, "rbd", "-c", ceph, "info", "--format", "json", f"{pool}/volume-{volume_id}")
    name: str = json.loads(told)["parent"]["image"]
    return name.removeprefix("volume-")


def test_the_parent_of_a_clone_on_the_same_backend_is_the_image_volume(demo: User, ceph: Path) -> None:
    image_id = demo.image()
    volume = demo.volume(image_id, size_gib=3)
    assert parent(ceph, "fast", volume.id) == image_volume(demo, image_id)
    assert content(demo.real, volume.id) == (3 * GIB, DATA)


def test_the_parent_of_a_clone_on_another_backend_is_a_template(demo: User, ceph: Path) -> None:
    image_id = demo.image()
    first, second = (demo.volume(image_id, "slow", size_gib=size) for size in (1, 2))
    made = parent(ceph, "slow", first.id)
    assert parent(ceph, "slow", second.id) == made
    template = demo.real.volumes.get(made)
    assert (template.metadata["imagevol_template"], template.readonly, template.size_gib) == (image_id, True, 1)
    assert content(demo.real, second.id) == (2 * GIB, DATA)
    for volume in (first, second):
        demo.real.volumes.delete(volume.id)
    demo.real.volumes.delete(made)


def test_a_qcow2_becomes_a_template(demo: User, ceph: Path, tmp_path: Path) -> None:
    raw, qcow2 = tmp_path / "raw", tmp_path / "qcow2"
    disk = DATA + bytes(-len(DATA) % 512)
    raw.write_bytes(disk)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2], check=True)
    image_id = demo.image(qcow2.read_bytes(), disk_format="qcow2")
    volume = demo.volume(image_id, "slow")
    template = demo.real.volumes.get(parent(ceph, "slow", volume.id))
    assert template.metadata["imagevol_template"] == image_id
    assert content(demo.real, volume.id, len(disk)) == (GIB, disk)
    for each in (volume.id, template.id):
        demo.real.volumes.delete(each)
