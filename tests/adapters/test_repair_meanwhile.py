"""What a repair leaves alone because of what happens meanwhile, and what it does with what it has made itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from imagevol_adapters.ports import AccessMode
from imagevol_adapters.repairing import Actions, RepairJournal, RepairResult, RepairState
from imagevol_core import HOLD, AttachmentFacts, Finding, ImageLocation, RepairAction, RepairStepFacts
from tests.adapters.history import Killed
from tests.adapters.repairing_cloud import CLOUD, FAULTS, RepairCloud, Volumes, killed

JUST_NOW = timedelta(minutes=5)


@pytest.fixture(autouse=True)
def fast_storage() -> Iterator[None]:
    """No test ends the machine, so that nothing has to reach the storage."""
    with patch("imagevol_adapters.journals.os.fsync"):
        yield


@pytest.fixture
def cloud() -> RepairCloud:
    return RepairCloud()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def apply(cloud: RepairCloud, journal: RepairJournal) -> list[RepairResult]:
    with journal:
        return list(cloud.repairs(journal).apply())


def of_kind(findings: list[Finding], kind: str) -> list[Finding]:
    return [finding for finding in findings if finding.kind == kind]


@pytest.mark.parametrize("visibility, status", [("public", "active"), ("private", "deactivated")])
def test_an_image_that_other_projects_use_is_not_withdrawn_because_it_was_given_away(
    cloud: RepairCloud, path: Path, visibility: str, status: str
) -> None:
    image = cloud.image(owner="publisher", visibility=visibility)
    cloud.change(cloud.of(image), project_id="builder")
    cloud.repair(path)
    assert cloud.images.images[image.id].status == "active"
    cloud.repair(path.with_name("another"), include_likely=True)
    assert cloud.images.images[image.id].status == status


class TestAttachments:
    """An attachment goes only if its volume is gone, or was disconnected on this host."""

    def attached(self, cloud: RepairCloud, host: str) -> str:
        volume_id = cloud.of(cloud.image())
        connector = {**cloud.attacher.connector(), "host": host}
        cloud.volumes.complete(cloud.volumes.attach(volume_id, connector=connector, mode=AccessMode.READ))
        (attachment_id,) = cloud.volumes.attachments
        return attachment_id

    @pytest.mark.parametrize("host, told", [("another-glance", True), ("another-glance", False), ("memory", True)])
    def test_the_attachment_of_an_upload_stays_if_cinder_shows_no_volume_for_a_moment(
        self, cloud: RepairCloud, path: Path, host: str, told: bool
    ) -> None:
        attachment_id = self.attached(cloud, host)
        volume_id = cloud.volumes.attachments[attachment_id].volume_id
        said = AttachmentFacts(id=attachment_id, volume_id=volume_id, status="attached", host=host if told else None)
        with (
            patch.object(Volumes, "find", lambda _volumes, _ids: ()),
            patch.object(Volumes, "all_volumes", lambda _volumes: iter(())),
            patch.object(Volumes, "attachment_now", lambda _volumes, _id: (said, None)),
        ):
            found = of_kind(cloud.audit(), "attachment-left-behind")
            (result,) = apply(cloud, cloud.journal(path, found))
        assert result.state is RepairState.LEFT
        assert attachment_id in cloud.volumes.attachments

    def test_the_attachment_of_a_volume_that_is_gone_is_deleted(self, cloud: RepairCloud, path: Path) -> None:
        attachment_id = self.attached(cloud, "another-glance")
        del cloud.volumes.volumes[cloud.volumes.attachments[attachment_id].volume_id]
        found = of_kind(cloud.audit(), "attachment-left-behind")
        with patch.object(Volumes, "_change"):  # of a volume that is gone
            (result,) = apply(cloud, cloud.journal(path, found))
        assert result.state is RepairState.DONE
        assert attachment_id not in cloud.volumes.attachments


class TestUploads:
    """An image in the making is not deleted while its data may be written, however long that takes."""

    @pytest.mark.parametrize(
        "changes, state",
        [
            ({"status": "in-use"}, RepairState.LEFT),
            ({"status": "extending"}, RepairState.LEFT),
            ({"updated_at": datetime.now(UTC) - JUST_NOW}, RepairState.LEFT),
            ({"created_at": None}, RepairState.LEFT),
            ({}, RepairState.DONE),
        ],
    )
    def test_an_image_whose_volume_was_changed_lately_is_not_deleted(
        self, cloud: RepairCloud, path: Path, changes: dict[str, Any], state: RepairState
    ) -> None:
        image = cloud.image(status="saving", size_bytes=None)
        cloud.change(cloud.of(image), readonly=False, **changes)
        cloud.change(image, locations=())
        found = of_kind(cloud.audit(), "image-stuck")
        (result,) = apply(cloud, cloud.journal(path, found, include_likely=True))
        assert result.state is state
        assert (image.id in cloud.images.images) is (state is RepairState.LEFT)

    def test_an_image_with_a_location_is_not_deleted_because_it_is_stuck(self, cloud: RepairCloud, path: Path) -> None:
        image = cloud.image(status="saving")
        found, volume_id = cloud.audit(), cloud.of(image)
        whole = Volumes.find
        with patch.object(Volumes, "find", lambda self, ids: tuple(v for v in whole(self, ids) if v.id != volume_id)):
            (result,) = apply(cloud, cloud.journal(path, found, include_likely=True))
        assert result.state is RepairState.LEFT
        assert image.id in cloud.images.images


class TestClones:
    """A clone that a repair has made is an image's, or it is deleted, or it is named."""

    def killed_after_the_clone(self, cloud: RepairCloud, path: Path, line: int = 2) -> tuple[str, list[str]]:
        FAULTS["volume-in-two-images"](cloud)
        before = set(cloud.volumes.volumes)
        journal = cloud.journal(path, cloud.audit())
        (entry,) = journal.entries.values()
        with journal, suppress(Killed), killed(line):
            list(cloud.repairs(journal).apply())
        (clone,) = set(cloud.volumes.volumes) - before
        return clone, [step.subject.id for step in entry.finding.repair if step.action.value == "set-location"]

    def test_a_clone_for_an_image_that_is_deleted_meanwhile_is_deleted(self, cloud: RepairCloud, path: Path) -> None:
        clone, image_ids = self.killed_after_the_clone(cloud, path)
        for image_id in image_ids:
            del cloud.images.images[image_id]
        assert [result.state for result in cloud.resume(path)] == [RepairState.LEFT]
        assert clone not in cloud.volumes.volumes

    def test_a_clone_that_is_not_ours_by_its_source_is_named_and_stays(self, cloud: RepairCloud, path: Path) -> None:
        clone, image_ids = self.killed_after_the_clone(cloud, path)
        cloud.change(clone, source_volume_id="a colleague's")
        for image_id in image_ids:
            del cloud.images.images[image_id]
        (result,) = cloud.resume(path)
        assert f"volume {clone}, which this repair has cloned, was left" in str(result.reason)
        assert clone in cloud.volumes.volumes

    def test_a_clone_that_is_not_there_any_more_is_made_again(self, cloud: RepairCloud, path: Path) -> None:
        clone, _ = self.killed_after_the_clone(cloud, path)
        cloud.volumes.delete(clone)
        assert [result.state for result in cloud.resume(path)] == [RepairState.LEFT]
        assert [result.state for result in cloud.resume(path)] == [RepairState.DONE]

    def test_a_volume_with_the_marks_of_the_repair_is_no_clone_of_it(self, cloud: RepairCloud, path: Path) -> None:
        clone, _ = self.killed_after_the_clone(cloud, path, line=1)
        cloud.change(clone, source_volume_id=None)
        assert [result.state for result in cloud.resume(path)] == [RepairState.DONE]
        named = {location.url[-36:] for image in cloud.images.images.values() for location in image.locations}
        assert clone not in named

    @pytest.mark.parametrize("line", range(1, 16))
    def test_two_repairs_of_one_sharing_leave_no_clone(self, cloud: RepairCloud, path: Path, line: int) -> None:
        FAULTS["volume-in-two-images"](cloud)
        found, before = cloud.audit(), {image_id: cloud.content(image_id) for image_id in cloud.healthy}
        one, two = cloud.journal(path, found), cloud.journal(path.with_name("two"), found)
        first, second, whole, left = cloud.repairs(one), cloud.repairs(two), RepairJournal.record, [line]

        def record(journal: RepairJournal, *arguments: Any, **named: Any) -> Any:
            entry = whole(journal, *arguments, **named)
            if journal is one:
                left[0] -= 1
                if left[0] == 0:
                    list(second.apply())
            return entry

        with one, two, patch.object(RepairJournal, "record", record):
            list(first.apply())
        cloud.resume(path), cloud.resume(path.with_name("two"))
        named = {location.url[-36:] for image in cloud.images.images.values() for location in image.locations}
        assert set(cloud.volumes.volumes) == named
        assert {image_id: cloud.content(image_id) for image_id in cloud.healthy} == before
        assert not cloud.volumes.attachments


class TestWritable:
    """What a repair made writable is put back only on an image's own volume, and it is said if it is not."""

    @pytest.mark.parametrize("line", range(1, 10))
    def test_a_volume_that_came_to_a_user_meanwhile_is_not_made_read_only(
        self, cloud: RepairCloud, path: Path, line: int
    ) -> None:
        FAULTS["tail-not-zero"](cloud)
        (volume_id,) = cloud.checks
        journal = cloud.journal(path, cloud.audit())
        with journal, suppress(Killed), killed(line):
            list(cloud.repairs(journal).apply())
        image = cloud.images.images[cloud.healthy[-1]]
        other = cloud.volume(image)
        cloud.change(image, locations=(ImageLocation(f"cinder://fast/{other.id}", {"store": "fast"}),))
        metadata = {key: value for key, value in cloud.volumes.volumes[volume_id].metadata.items() if key == HOLD}
        opened = cloud.volumes.volumes[volume_id].readonly is False
        cloud.change(volume_id, metadata=metadata, project_id="a-user", readonly=False)
        results = cloud.resume(path)
        assert cloud.volumes.volumes[volume_id].readonly is False
        assert all("left writable" in str(result.reason) for result in results if opened)

    def test_that_a_volume_that_is_not_shown_was_left_writable_is_said_and_tried_again(
        self, cloud: RepairCloud, path: Path
    ) -> None:
        FAULTS["tail-not-zero"](cloud)
        (volume_id,) = cloud.checks
        journal = cloud.journal(path, cloud.audit())
        whole, hidden = Volumes.find, [False]

        def act(actions: Actions, facts: RepairStepFacts, hold: Any) -> None:
            if facts.step.action is RepairAction.ZERO_TAIL:
                hidden[0] = True
            else:
                acting(actions, facts, hold)

        def find(volumes: Volumes, ids: Any) -> Any:
            return () if hidden[0] else whole(volumes, ids)

        acting = Actions.act
        with patch.object(Actions, "act", act), patch.object(Volumes, "find", find):
            (result,) = apply(cloud, journal)
        assert result.state is RepairState.LEFT
        assert f"volume {volume_id} was left writable" in str(result.reason)
        cloud.resume(path)
        assert cloud.volumes.volumes[volume_id].readonly is True


def test_what_was_not_there_for_a_moment_is_looked_at_again_by_a_resume(cloud: RepairCloud, path: Path) -> None:
    FAULTS["image-stuck"](cloud)
    journal = cloud.journal(path, cloud.audit(), include_likely=True)
    found = RepairJournal.open
    (entry,) = journal.entries.values()
    with journal:
        journal.record(entry.finding.id, RepairState.GONE)
    assert [result.state for result in cloud.resume(path)] == [RepairState.DONE]
    assert cloud.audit() == []
    with found(path, cloud=CLOUD) as again:
        assert [each.state for each in again.entries.values()] == [RepairState.DONE]


@pytest.mark.parametrize("fault", ["store-differs", "volume-in-two-images", "tail-not-zero"])
def test_a_volume_that_is_not_shown_for_a_moment_is_not_left_reserved(tmp_path: Path, fault: str) -> None:
    for moment in range(12):
        cloud = RepairCloud()
        FAULTS[fault](cloud)
        before = {image_id: cloud.content(image_id) for image_id in cloud.healthy}
        left, whole, path = [moment], Volumes.find, tmp_path / str(moment)

        def find(volumes: Volumes, ids: Any, left: list[int] = left, whole: Any = whole) -> Any:
            left[0] -= 1
            return () if left[0] == -1 else whole(volumes, ids)

        journal = cloud.journal(path, cloud.audit())
        with patch.object(Volumes, "find", find):
            apply(cloud, journal)
        cloud.resume(path)
        assert cloud.audit() == [], moment
        assert {image_id: cloud.content(image_id) for image_id in cloud.healthy} == before
        assert not cloud.volumes.attachments


class TestHeld:
    """A hold is let go only if it is the one that was found, and nothing is at work on the volume."""

    def held(self, cloud: RepairCloud) -> tuple[str, list[Finding]]:
        FAULTS["hold-left"](cloud)
        volume_id = cloud.of(cloud.images.images[cloud.healthy[-1]])
        return volume_id, cloud.audit()

    def test_a_hold_is_let_go_only_if_the_operator_includes_what_is_likely(
        self, cloud: RepairCloud, path: Path
    ) -> None:
        volume_id, found = self.held(cloud)
        assert apply(cloud, cloud.journal(path, found)) == []
        (result,) = apply(cloud, cloud.journal(path.with_name("likely"), found, include_likely=True))
        assert result.state is RepairState.DONE
        assert HOLD not in cloud.volumes.volumes[volume_id].metadata

    @pytest.mark.parametrize("change", ["another journal", "changed lately"])
    def test_a_hold_that_a_procedure_needs_by_now_stays(self, cloud: RepairCloud, path: Path, change: str) -> None:
        volume_id, found = self.held(cloud)
        if change == "another journal":
            cloud.volumes.set_metadata(volume_id, {HOLD: change})
        else:
            cloud.change(volume_id, updated_at=datetime.now(UTC))
        (result,) = apply(cloud, cloud.journal(path, found, include_likely=True))
        assert result.state in (RepairState.LEFT, RepairState.GONE)
        assert HOLD in cloud.volumes.volumes[volume_id].metadata
