"""The disk image of the demo is as real ones are."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.cloud.disk_image import GIB, MIB, DiskImage, make_disk_image

pytestmark = pytest.mark.smoke


@pytest.fixture(scope="module")
def image(able_machine: None, tmp_path_factory: pytest.TempPathFactory) -> DiskImage:
    return make_disk_image(tmp_path_factory.mktemp("disk"))


def run(*argv: str | Path) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def test_the_disk_image_has_one_partition_with_a_sound_file_system(image: DiskImage, tmp_path: Path) -> None:
    table = json.loads(run("sfdisk", "--json", image.raw))["partitiontable"]
    (partition,) = table["partitions"]
    assert partition["start"] * table["sectorsize"] == image.file_system_offset
    run("e2fsck", "-f", "-n", f"{image.raw}?offset={image.file_system_offset}")


def test_the_disk_image_is_sparse(image: DiskImage) -> None:
    assert image.size_bytes == image.raw.stat().st_size == GIB
    assert 100 * MIB < image.written_bytes < GIB // 2


def test_the_disk_image_is_the_same_in_both_formats(image: DiskImage) -> None:
    run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", image.raw, image.qcow2)
