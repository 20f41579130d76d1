"""The facts of `check_image_safety` can be filled from real files, and the plans of `plan_copy` do what they say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from imagevol_adapters.inspection.inspector import inspect_file
from imagevol_adapters.qemu.converter import QemuConverter
from imagevol_core import (
    CopyMethod,
    CopySource,
    CopyTarget,
    FreshThin,
    ZeroHandling,
    check_image_safety,
    plan_copy,
)
from tests.adapters.inspecting import MIB, SIZE, made, needed, qemu_img, raw


@pytest.fixture(autouse=True)
def _needed() -> None:
    needed()


@pytest.mark.parametrize("name", ["raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi"])
@pytest.mark.parametrize("zeros", ZeroHandling)
def test_the_command_copies_the_disk_and_nothing_behind_it(name: str, zeros: ZeroHandling, tmp_path: Path) -> None:
    disk, image, target = tmp_path / "disk", tmp_path / "image", tmp_path / "target"
    disk.write_bytes(b"data" * 1000 + bytes(MIB) + b"more" * 1000 + bytes(SIZE - MIB - 8000))
    made_of = {"vhd": "vpc"}.get(name, name)
    qemu_img("convert", "-f", "raw", "-O", made_of, disk, image)
    before = bytes(4 * MIB) if zeros is ZeroHandling.SKIP else b"\xff" * (4 * MIB)
    target.write_bytes(before)
    inspection = QemuConverter().examine(str(image), declared_format=name, size_gib=1, what="the image")
    plan = plan_copy(
        CopySource(
            path=str(image),
            format=inspection.formats[0],
            size_bytes=image.stat().st_size,
            virtual_size_bytes=inspection.virtual_size_bytes,
        ),
        target=CopyTarget(
            path=str(target),
            size_bytes=len(before),
            can_punch=zeros is ZeroHandling.PUNCH,
            zero=FreshThin(path=str(target)) if zeros is ZeroHandling.SKIP else None,
        ),
    )
    assert plan.zeros is zeros
    if name == "raw":
        assert plan.method is CopyMethod.STREAM
        return
    subprocess.run(plan.argv, check=True, capture_output=True)
    size = inspection.virtual_size_bytes
    assert size is not None
    assert size >= SIZE
    assert target.read_bytes() == disk.read_bytes() + bytes(size - SIZE) + before[size:]
    assert plan.zero_from_bytes == (None if zeros is ZeroHandling.SKIP else size)


def test_a_target_that_qemu_img_would_make_longer_is_refused(tmp_path: Path) -> None:
    disk, image, target = tmp_path / "disk", tmp_path / "image", tmp_path / "target"
    disk.write_bytes(b"x" * 1000)
    qemu_img("convert", "-f", "raw", "-O", "qcow2", disk, image)
    target.write_bytes(bytes(1000))
    source = CopySource(path=str(image), format="qcow2", virtual_size_bytes=inspect_file(image).virtual_size_bytes)
    plan = plan_copy(source, target=CopyTarget(path=str(target), size_bytes=1000))
    assert [verdict.rule for verdict in plan.refused] == ["source-fits"]
    qemu_img("convert", "-f", "qcow2", "-O", "raw", "-n", image, target)
    assert target.stat().st_size == 1024


def test_an_upload_is_compressed_and_holds_the_disk(tmp_path: Path) -> None:
    disk, image, again = tmp_path / "disk", tmp_path / "image", tmp_path / "again"
    raw(disk)
    plan = plan_copy(
        CopySource(path=str(disk), format="raw", size_bytes=SIZE),
        target=CopyTarget(path=str(image), format="qcow2", compress=True),
    )
    subprocess.run(plan.argv, check=True, capture_output=True)
    assert check_image_safety(inspect_file(image), declared_format="qcow2", size_gib=1).safe
    qemu_img("convert", "-f", "qcow2", "-O", "raw", image, again)
    assert again.read_bytes() == disk.read_bytes()


def test_no_file_is_created_in_place_of_a_missing_device(tmp_path: Path) -> None:
    image = tmp_path / "image"
    made("qcow2")(image)
    source = CopySource(path=str(image), format="qcow2", virtual_size_bytes=SIZE)
    plan = plan_copy(source, target=CopyTarget(path="/dev/imagevol-none"))
    assert [verdict.rule for verdict in plan.refused] == ["device-exists"]
