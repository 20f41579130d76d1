"""What a process left half attached is freed by a repair on the host of that process, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imagevol_adapters.ports import AccessMode
from imagevol_adapters.processes import this_process
from imagevol_core import HOLD, ProcessRecord, VolumeOrigin
from tests.adapters.repairing_cloud import OLD, RepairCloud

HERE = this_process()
GONE = 1 << 22  # above what Linux gives


def left_attaching(cloud: RepairCloud, process: ProcessRecord, *, project: str) -> str:
    """An unfinished volume that a process was about to attach, and its attachment."""
    made = VolumeOrigin(procedure="add", image_id="9d5a2f1e-5d0b-4a55-9a07-1f6f3d2d8a01", process=process)
    volume = cloud.volume(metadata=made.to_volume(), readonly=False)
    attachment = cloud.volumes.attach(volume.id, connector=cloud.attacher.connector(), mode=AccessMode.WRITE)
    cloud.attacher.connected[attachment.id] = volume.id
    cloud.change(volume.id, project_id=project)
    return volume.id


@pytest.mark.skipif(HERE is None, reason="this host does not tell its processes")
@pytest.mark.parametrize(
    "process, project, freed",
    [
        ({"pid": GONE}, "stores", True),
        ({"pid": GONE}, "users", False),  # where a user can write which process that was
        ({"pid": GONE, "host": "another"}, "stores", False),
        ({}, "stores", False),  # it runs
    ],
)
def test_an_attachment_that_is_not_complete_is_freed_if_its_process_ended_on_this_host(
    tmp_path: Path, process: dict[str, object], project: str, freed: bool
) -> None:
    cloud = RepairCloud()
    assert HERE is not None
    volume_id = left_attaching(cloud, replace(HERE, **process), project=project)  # type: ignore[arg-type]
    for number in range(2):
        cloud.repair(tmp_path / f"{number}", include_likely=True)
    assert (volume_id not in cloud.volumes.volumes) == freed
    assert (cloud.attacher.connected == {}) == freed


def test_a_hold_and_its_reservation_are_both_gone_after_two_repairs(tmp_path: Path) -> None:
    """A migration was killed, and its journal is lost."""
    cloud = RepairCloud()
    image = cloud.image()
    volume_id = cloud.of(image)
    cloud.volumes.set_metadata(volume_id, {HOLD: "9d5a2f1e-5d0b-4a55-9a07-1f6f3d2d8a02"})
    cloud.volumes.reserve(volume_id, mode=AccessMode.READ)
    cloud.change(volume_id, updated_at=datetime.now(UTC) - OLD)
    for number in range(2):
        cloud.repair(tmp_path / f"{number}", include_likely=True)
    assert cloud.volumes.attachments == {}
    assert HOLD not in cloud.volumes.volumes[volume_id].metadata
    assert cloud.volumes.volumes[volume_id].status == "available"
