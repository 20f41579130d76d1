"""A repair deletes nothing because of services that do not belong together, or of work that is not done yet."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import pytest

from imagevol_adapters.repairing import RepairJournal, RepairState
from imagevol_core import ImageLocation, VolumeOrigin
from tests.adapters.repairing_cloud import CLOUD, FAULTS, STORES, RepairCloud, Volumes


@pytest.fixture
def cloud() -> RepairCloud:
    return RepairCloud()


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.mark.parametrize("volumes", [0, 1])
def test_images_survive_a_repair_with_the_cinder_of_another_region(
    cloud: RepairCloud, journal: Path, volumes: int
) -> None:
    kept, images = dict(cloud.volumes.volumes), dict(cloud.images.images)
    other = Volumes(project_id=STORES, volume_types={"ssd": False, "hdd": False})
    for _ in range(volumes):
        other.keep(cloud.volume())
    real, cloud.volumes = cloud.volumes, other
    assert cloud.repair(journal, include_likely=True) == []
    assert cloud.images.images == images
    assert kept.keys() <= real.volumes.keys()


def test_a_location_in_a_store_of_another_region_stays(cloud: RepairCloud, journal: Path) -> None:
    image = cloud.image()
    far = ImageLocation(f"cinder://far/{uuid.uuid4()}", {"store": "far"})
    cloud.change(image, locations=(*cloud.images.images[image.id].locations, far))
    assert cloud.repair(journal, include_likely=True) == []
    assert far in cloud.images.images[image.id].locations


def test_image_volumes_survive_a_repair_with_another_glance(cloud: RepairCloud, journal: Path) -> None:
    kept = dict(cloud.volumes.volumes)
    cloud.images.images.clear()
    assert cloud.repair(journal, include_likely=True) == []
    assert cloud.volumes.volumes == kept


@pytest.mark.parametrize("include_likely", [False, True])
def test_the_volumes_of_a_second_glance_in_the_same_project_survive_unless_the_operator_says_that_there_is_none(
    cloud: RepairCloud, journal: Path, include_likely: bool
) -> None:
    theirs = [cloud.image(), cloud.image()]
    kept = [cloud.of(image) for image in theirs]
    unfinished = VolumeOrigin(procedure="add", image_id=theirs[1].id).to_volume()  # its last step was not taken
    cloud.change(kept[1], metadata={**cloud.volumes.volumes[kept[1]].metadata, **unfinished})
    kept.append(cloud.template(theirs[0]).id)
    for image in theirs:
        del cloud.images.images[image.id]  # which the second Glance has
    settings = replace(cloud.settings, only_glance=False)
    with patch.object(RepairCloud, "settings", settings):
        assert cloud.repair(journal, include_likely=include_likely) == []
    assert set(kept) <= cloud.volumes.volumes.keys()
    cloud.repair(journal.with_name("only"), include_likely=True)
    assert not set(kept) & cloud.volumes.volumes.keys()


def test_a_journal_that_does_not_say_that_there_is_one_glance_deletes_no_orphan(
    cloud: RepairCloud, journal: Path
) -> None:
    FAULTS["image-volume-without-image"](cloud)
    cloud.journal(journal, cloud.audit()).close()
    head, *others = journal.read_text().splitlines(keepends=True)
    before = {key: value for key, value in json.loads(head).items() if key != "only_glance"}
    journal.write_text("".join([json.dumps(before) + "\n", *others]))
    kept = dict(cloud.volumes.volumes)
    assert [each.state for each in cloud.resume(journal)] == [RepairState.LEFT]
    assert cloud.volumes.volumes == kept


def test_the_volume_of_an_active_image_is_not_left_unfinished(cloud: RepairCloud, journal: Path) -> None:
    volume_id = cloud.of(cloud.image())
    origin = VolumeOrigin(procedure="repair", image_id="i").to_volume()
    cloud.change(volume_id, metadata={**cloud.volumes.volumes[volume_id].metadata, **origin})
    assert cloud.repair(journal, include_likely=True) == []
    assert volume_id in cloud.volumes.volumes


def test_the_volume_into_which_glance_copies_an_image_stays(cloud: RepairCloud, journal: Path) -> None:
    image = cloud.image(properties={"os_glance_import_task": "t", "os_glance_importing_to_stores": "fast2"})
    copy = cloud.volume(image, volume_type="hdd", created_at=datetime.now(UTC), readonly=False)
    assert cloud.repair(journal, include_likely=True) == []
    assert copy.id in cloud.volumes.volumes


def test_a_disk_that_was_put_into_a_volume_on_purpose_stays(cloud: RepairCloud, journal: Path) -> None:
    asked = str(uuid.uuid4())
    made = VolumeOrigin(procedure="put", image_id=asked, finished=True).to_volume()
    disk = cloud.volume(metadata={**made, "glance_image_id": asked, "image_size": "5"})
    assert cloud.repair(journal, include_likely=True) == []
    assert disk.id in cloud.volumes.volumes


def test_what_the_audit_has_shown_is_in_the_journal_of_its_repair(cloud: RepairCloud, journal: Path) -> None:
    FAULTS["image-volume-without-image"](cloud)
    cloud.journal(journal, cloud.audit()).close()
    with RepairJournal.open(journal, cloud=CLOUD) as opened:
        assert opened.settings.shown == cloud.shown
    assert [each.state for each in cloud.resume(journal)] == [RepairState.DONE]


def test_a_journal_that_does_not_say_what_was_shown_is_read_and_deletes_no_orphan(
    cloud: RepairCloud, journal: Path
) -> None:
    FAULTS["image-volume-without-image"](cloud)
    cloud.journal(journal, cloud.audit()).close()
    head, *others = journal.read_text().splitlines(keepends=True)
    before = {key: value for key, value in json.loads(head).items() if key != "shown"}
    journal.write_text("".join([json.dumps(before) + "\n", *others]))
    kept = dict(cloud.volumes.volumes)
    assert [each.state for each in cloud.resume(journal)] == [RepairState.LEFT]
    assert cloud.volumes.volumes == kept


def test_an_orphan_of_the_images_project_is_still_deleted(cloud: RepairCloud, journal: Path) -> None:
    healthy = cloud.images.images[cloud.healthy[0]]
    orphan = cloud.volume(replace(healthy, id=str(uuid.uuid4())))
    assert [each.state for each in cloud.repair(journal)] == [RepairState.DONE]
    assert orphan.id not in cloud.volumes.volumes
