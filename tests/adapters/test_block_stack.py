"""Long requests go only to drivers that are known to take them, whatever is stacked on top."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagevol_adapters.devices.block_stack import takes_long_requests

NUMBER = os.makedev(253, 7)


class Sysfs:
    """A sysfs with the block devices that a test adds."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def add(self, name: str, *below: Path, partition: bool = False) -> Path:
        """A device, with those that it is made of."""
        device = self.directory / "devices" / name
        (device / "slaves").mkdir(parents=True)
        for each in below:
            (device / "slaves" / each.name).symlink_to(each)
        if partition:
            (device / "partition").write_text("1\n")
        return device

    def loop(self, backing: Path) -> Path:
        """A loop device over a file or a device."""
        device = self.add("loop0")
        (device / "loop").mkdir()
        (device / "loop" / "backing_file").write_text(f"{backing}\n")
        return device

    def takes_long_requests(self, device: Path) -> bool:
        place = self.directory / "253:7"
        place.symlink_to(device)
        return takes_long_requests(NUMBER, sysfs=self.directory)


@pytest.fixture
def sysfs(tmp_path: Path) -> Sysfs:
    return Sysfs(tmp_path)


@pytest.mark.parametrize("name", ["sda", "sdaa", "vdb", "rbd0"])
def test_drivers_with_wide_lengths_take_long_requests(sysfs: Sysfs, name: str) -> None:
    assert sysfs.takes_long_requests(sysfs.add(name))


@pytest.mark.parametrize("name", ["nvme0n1", "nvme1c0n1", "nbd0", "drbd0", "dm-0", "md0", "sr0", "0"])
def test_any_other_driver_takes_no_long_requests(sysfs: Sysfs, name: str) -> None:
    assert not sysfs.takes_long_requests(sysfs.add(name))


@pytest.mark.parametrize("names, expected", [(["sda", "sdb"], True), (["sda", "nvme0n1"], False), (["nvme0n1"], False)])
def test_a_stack_of_devices_takes_long_requests_if_all_drivers_below_do(
    sysfs: Sysfs, names: list[str], expected: bool
) -> None:
    paths = sysfs.add("dm-0", *(sysfs.add(name) for name in names))
    assert sysfs.takes_long_requests(sysfs.add("dm-1", paths)) is expected


@pytest.mark.parametrize("name, expected", [("sda", True), ("nvme0n1", False)])
def test_a_partition_takes_long_requests_if_its_disk_does(sysfs: Sysfs, name: str, expected: bool) -> None:
    sysfs.add(name)
    assert sysfs.takes_long_requests(sysfs.add(f"{name}/part1", partition=True)) is expected


def test_a_loop_device_over_a_file_of_this_host_takes_long_requests(sysfs: Sysfs, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert sysfs.takes_long_requests(sysfs.loop(tmp_path / "file"))


@pytest.mark.parametrize("backing", ["/dev/null", "/nowhere/file", "/tmp/file (deleted)"])
def test_a_loop_device_over_anything_else_takes_no_long_requests(sysfs: Sysfs, backing: str) -> None:
    assert not sysfs.takes_long_requests(sysfs.loop(Path(backing)))


def test_a_device_that_sysfs_does_not_know_takes_no_long_requests(tmp_path: Path) -> None:
    assert not takes_long_requests(NUMBER, sysfs=tmp_path)
