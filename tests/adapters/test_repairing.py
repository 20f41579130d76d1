"""What an audit found is repaired, wherever it is killed; what changed meanwhile or is a user's is left alone."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar
from unittest.mock import patch

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.ports import AccessMode, Attachment
from imagevol_adapters.processes import this_process
from imagevol_adapters.repairing import RepairJournal, RepairResult, RepairState, TemplateMaker
from imagevol_adapters.testing.memory import MemoryLocations, MemoryVolumes
from imagevol_adapters.testing.memory.device import MemoryDevice
from imagevol_adapters.transfers import disconnect_left
from imagevol_core import (
    HOLD,
    Certainty,
    DeviceFailed,
    Digest,
    Finding,
    Image,
    ImageLocation,
    InUse,
    OverQuota,
    RepairAction,
    RepairStep,
    RequestRefused,
    ServiceFailed,
    ServiceUnreachable,
    Volume,
    VolumeOrigin,
    rule_tables,
    template_name,
)
from tests.adapters.history import Killed
from tests.adapters.repairing_cloud import CATALOGUE, CLOUD, FAULTS, USERS, RepairCloud, killed

ENDED = (RepairState.DONE, RepairState.GONE)
NEVER_THERE = {
    "cache-entry-without-volume",  # Cinder's API does not tell what is in its cache
    "record-differs",  # a person decides which of data and record is right
}


@pytest.fixture
def cloud() -> RepairCloud:
    return RepairCloud()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def kinds(cloud: RepairCloud) -> set[str]:
    return {finding.kind for finding in cloud.audit()}


def contents(cloud: RepairCloud) -> dict[str, set[bytes]]:
    """What the healthy images give."""
    assert {cloud.images.images[image_id].status for image_id in cloud.healthy} == {"active"}
    return {image_id: cloud.content(image_id) for image_id in cloud.healthy}


def planted(cloud: RepairCloud, fault: str) -> dict[str, set[bytes]]:
    """Plant a fault; give what the images must give that are whole, or will be."""
    FAULTS[fault](cloud)
    return {image_id: found - {b"IMAGE"} for image_id, found in contents(cloud).items()}


def nothing_left(cloud: RepairCloud) -> bool:
    """No hold, no attachment, and no volume that is still being created."""
    volumes = cloud.volumes.volumes.values()
    assert not [volume.id for volume in volumes if HOLD in volume.metadata]
    assert not [volume.id for volume in volumes if volume.metadata.get("imagevol_state") == "unfinished"]
    return not cloud.volumes.attachments and not cloud.attacher.connected


def test_every_rule_of_the_audit_has_a_fault_here() -> None:
    rules = {rule.id for table in rule_tables() if table.name.startswith("Auditing") for rule in table.rules}
    assert {name.partition(",")[0] for name in FAULTS} == rules - NEVER_THERE


def test_a_healthy_cloud_needs_no_repair(cloud: RepairCloud, path: Path) -> None:
    assert cloud.audit() == []
    assert cloud.repair(path) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_each_kind_of_finding_is_repaired_and_healthy_images_stay_whole(
    cloud: RepairCloud, path: Path, fault: str
) -> None:
    before = planted(cloud, fault)
    assert kinds(cloud) == {fault.partition(",")[0]}
    results = cloud.repair(path, include_likely=True)
    assert {result.state for result in results} == {RepairState.DONE}
    assert cloud.audit() == []
    assert contents(cloud) == before
    assert nothing_left(cloud)


def test_a_volume_that_a_killed_process_was_filling_goes_with_its_attachment(cloud: RepairCloud, path: Path) -> None:
    before = contents(cloud)
    FAULTS["left-unfinished"](cloud)
    (volume_id,) = [each.id for each in cloud.volumes.volumes.values() if "imagevol_state" in each.metadata]
    gone = "imagevol host=- boot=3c9f7d34-0f0e-4a3f-9d3c-0c8a1b9f2d11 ns=4.5 pid=7 start=123"
    connector = {**cloud.attacher.connector(), "mountpoint": gone}
    cloud.change(volume_id, readonly=False)
    cloud.volumes.complete(cloud.volumes.attach(volume_id, connector=connector, mode=AccessMode.WRITE))
    assert kinds(cloud) == {"left-unfinished", "attachment-left-behind"}
    results = cloud.repair(path, include_likely=True)
    assert [result.state for result in results] == [RepairState.DONE] * 2
    assert (cloud.audit(), contents(cloud), nothing_left(cloud)) == ([], before, True)


def test_an_attachment_that_is_not_complete_is_taken_back_where_its_process_ran(cloud: RepairCloud, path: Path) -> None:
    """Cinder does not tell where it is, and the volume tells who was creating it."""
    here = this_process()
    assert here
    maker = VolumeOrigin(procedure="put", image_id="i", process=replace(here, pid=(1 << 22) - 1))
    cloud.volume(metadata=maker.to_volume(), readonly=False)
    (volume_id,) = [each.id for each in cloud.volumes.volumes.values() if "imagevol_state" in each.metadata]
    connector = {**cloud.attacher.connector(), "host": "memory"}
    cloud.volumes.attach(volume_id, connector=connector, mode=AccessMode.WRITE)
    results = cloud.repair(path, include_likely=True)
    assert [result.state for result in results] == [RepairState.DONE] * 2
    assert (cloud.audit(), nothing_left(cloud)) == ([], True)


class Dying:
    """A port whose process ends at a call, before or after that has done what it is asked."""

    def __init__(self, port: object, calls: list[int], *, after: bool) -> None:
        self._port, self._calls, self._after = port, calls, after

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._port, name)
        if name not in CHANGING:
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self._calls[0] -= 1
            if self._calls[0] < 0:
                if self._calls[0] == -1 and self._after:
                    value(*args, **kwargs)
                raise Killed
            return value(*args, **kwargs)

        return call


CHANGING = {
    *("change_locations", "deactivate", "delete", "clone", "wait", "set_metadata", "unset_metadata", "set_readonly"),
    *("reserve", "detach", "attach", "complete"),
}


class TestKilled:
    """Wherever it is killed, it is resumed to the same end."""

    @pytest.mark.parametrize("kept", [None, 0, 20])
    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_repair_killed_after_any_line_of_its_journal_is_resumed_to_the_same_end(
        self, path: Path, fault: str, kept: int | None
    ) -> None:
        for line in count(1):
            cloud, own = RepairCloud(), path.with_name(f"journal-{line}")
            before = planted(cloud, fault)
            journal = cloud.journal(own, cloud.audit(), include_likely=True)
            with journal, suppress(Killed), killed(line, kept=kept):
                list(cloud.repairs(journal).apply())
                break
            results = cloud.resume(own)
            assert {(result.state, result.reason) for result in results if result.state not in ENDED} == set()
            assert cloud.audit() == []
            assert contents(cloud) == before
            assert nothing_left(cloud)

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_repair_killed_at_any_request_is_resumed_to_the_same_end(
        self, path: Path, fault: str, after: bool
    ) -> None:
        for number in count():
            cloud, own, calls = RepairCloud(), path.with_name(f"journal-{number}"), [number]
            before = planted(cloud, fault)
            journal = cloud.journal(own, cloud.audit(), include_likely=True)
            with journal, suppress(Killed):
                repairs = cloud.repairs(journal)
                dying = [Dying(port, calls, after=after) for port in (cloud.images, cloud.volumes)]
                actions = attrs.evolve(repairs.actions, images=dying[0], volumes=dying[1])
                audit = attrs.evolve(repairs.source.audit, images=dying[0], volumes=dying[1])
                source = attrs.evolve(repairs.source, audit=audit, volumes=dying[1])
                list(attrs.evolve(repairs, actions=actions, source=source).apply())
                break
            results = cloud.resume(own)
            assert {(result.state, result.reason) for result in results if result.state not in ENDED} == set()
            assert cloud.audit() == []
            assert contents(cloud) == before
            assert nothing_left(cloud)


def states(results: Iterable[RepairResult]) -> list[tuple[str, RepairState]]:
    return [(result.finding.kind, result.state) for result in results]


def apply(cloud: RepairCloud, journal: RepairJournal) -> list[RepairResult]:
    with journal:
        return list(cloud.repairs(journal).apply())


class TestUsers:
    """Nothing is deleted on the word of a user."""

    FORGED: ClassVar[dict[str, dict[str, str]]] = {
        "an image that is gone": {"image_id": str(uuid.uuid4()), "glance_image_id": "", "image_owner": USERS},
        "a procedure that ended": VolumeOrigin(procedure="add", image_id="i").to_volume(),
        "a template of no image": {"imagevol_template": str(uuid.uuid4())},
    }

    @pytest.mark.parametrize("says", FORGED)
    def test_a_volume_of_a_user_is_never_deleted_whatever_it_says(
        self, cloud: RepairCloud, path: Path, says: str
    ) -> None:
        volume = cloud.volume(project=USERS, metadata=self.FORGED[says])
        cloud.repair(path, include_likely=True)
        assert volume.id in cloud.volumes.volumes
        assert cloud.volumes.volumes[volume.id].metadata == volume.metadata

    def test_a_volume_of_a_user_is_not_deleted_even_if_an_audit_asks_for_it(
        self, cloud: RepairCloud, path: Path
    ) -> None:
        orphan = cloud.volume(cloud.images.images[cloud.healthy[0]], metadata={"image_id": str(uuid.uuid4())})
        findings = cloud.audit()
        cloud.change(orphan.id, project_id=USERS)
        (result,) = apply(cloud, cloud.journal(path, findings, include_likely=True))
        assert result.state is RepairState.LEFT
        assert orphan.id in cloud.volumes.volumes

    def test_a_clone_that_cinder_made_with_the_metadata_of_a_user_stays(self, cloud: RepairCloud, path: Path) -> None:
        cached = cloud.volume(metadata={"image_id": str(uuid.uuid4())}, source_volume_id="a user's")
        (result,) = cloud.repair(path, include_likely=True)
        assert result.state is RepairState.LEFT
        assert f"openstack volume delete {cached.id}" in str(result.reason)
        assert cached.id in cloud.volumes.volumes


class TestMeanwhile:
    """What changed between the audit and the repair is seen, and what would be wrong by then is not done."""

    def orphan(self, cloud: RepairCloud) -> Volume:
        return cloud.volume(replace(cloud.images.images[cloud.healthy[0]], id=str(uuid.uuid4())))

    def test_a_volume_that_was_attached_is_not_deleted(self, cloud: RepairCloud, path: Path) -> None:
        orphan = self.orphan(cloud)
        findings = cloud.audit()
        cloud.volumes.attach(orphan.id, connector=cloud.attacher.connector(), mode=AccessMode.READ)
        (result,) = apply(cloud, cloud.journal(path, findings))
        assert (result.state, result.done) == (RepairState.LEFT, ())
        assert orphan.id in cloud.volumes.volumes

    def test_a_volume_that_an_image_names_by_now_is_not_deleted(self, cloud: RepairCloud, path: Path) -> None:
        orphan = self.orphan(cloud)
        findings = cloud.audit()
        there = ImageLocation(f"cinder://fast/{orphan.id}", {"store": "fast"})
        cloud.images.images["new"] = Image(id="new", status="active", locations=(there,), updated_at=datetime.now(UTC))
        assert states(apply(cloud, cloud.journal(path, findings))) == [("image-volume-without-image", RepairState.GONE)]
        assert orphan.id in cloud.volumes.volumes

    def test_a_volume_that_a_migration_holds_is_not_deleted(self, cloud: RepairCloud, path: Path) -> None:
        orphan = self.orphan(cloud)
        findings = cloud.audit()
        cloud.volumes.set_metadata(orphan.id, {HOLD: "a migration"})
        (result,) = apply(cloud, cloud.journal(path, findings))
        assert result.state is RepairState.LEFT
        assert "a migration" in str(result.reason)
        assert orphan.id in cloud.volumes.volumes

    def test_an_image_that_was_made_active_is_not_deleted(self, cloud: RepairCloud, path: Path) -> None:
        FAULTS["image-stuck"](cloud)
        findings = cloud.audit()
        (image_id,) = {about.id for finding in findings for about in finding.subjects}
        cloud.images.images[image_id] = replace(cloud.images.images[image_id], status="active")
        assert states(apply(cloud, cloud.journal(path, findings, include_likely=True))) == [
            ("image-stuck", RepairState.GONE)
        ]
        assert image_id in cloud.images.images

    def test_an_image_that_has_data_is_not_deleted_because_it_is_stuck(self, cloud: RepairCloud, path: Path) -> None:
        image = cloud.image(status="saving")
        (result,) = cloud.repair(path, include_likely=True)
        assert result.state is RepairState.LEFT
        assert cloud.of(image) in cloud.volumes.volumes
        assert image.id in cloud.images.images

    def test_a_location_whose_volume_is_back_is_not_removed(self, cloud: RepairCloud, path: Path) -> None:
        image = cloud.image(copies=2)
        lost = cloud.volumes.volumes[cloud.of(image)]
        cloud.volumes.delete(lost.id)
        findings = cloud.audit()
        cloud.volumes.keep(lost)
        assert states(apply(cloud, cloud.journal(path, findings))) == [("location-without-volume", RepairState.GONE)]
        assert len(cloud.images.images[image.id].locations) == 2

    def test_the_last_location_goes_with_its_image_and_not_alone(self, cloud: RepairCloud, path: Path) -> None:
        image = cloud.image(copies=2)
        cloud.volumes.delete(cloud.of(image))
        findings = cloud.audit()
        cloud.volumes.delete(cloud.of(image, 1))
        (result,) = apply(cloud, cloud.journal(path, findings))
        assert (result.state, result.done) == (RepairState.LEFT, ())
        assert "delete-image" in str(result.reason)
        assert len(cloud.images.images[image.id].locations) == 2

    def test_what_is_not_as_sure_as_it_was_is_left(self, cloud: RepairCloud, path: Path) -> None:
        orphan = self.orphan(cloud)
        findings = cloud.audit()
        cloud.images.sees_all = False
        (result,) = apply(cloud, cloud.journal(path, findings, include_likely=True))
        assert result.state is RepairState.LEFT
        assert orphan.id in cloud.volumes.volumes

    def test_an_attachment_of_a_process_that_runs_stays(self, cloud: RepairCloud, path: Path) -> None:
        FAULTS["attachment-left-behind"](cloud)
        findings = cloud.audit()
        (attachment_id,) = cloud.volumes.attachments
        process = this_process()
        assert process is not None
        cloud.volumes._connectors[attachment_id] = {"host": "memory", "mountpoint": process.to_text()}
        apply(cloud, cloud.journal(path, findings, include_likely=True))
        assert attachment_id in cloud.volumes.attachments

    def test_an_attachment_of_another_host_stays_and_its_host_is_named(self, cloud: RepairCloud, path: Path) -> None:
        FAULTS["attachment-left-behind"](cloud)
        (attachment_id,) = cloud.volumes.attachments
        connector = cloud.volumes._connectors[attachment_id]
        cloud.volumes._connectors[attachment_id] = {**connector, "host": "another-host"}
        (result,) = cloud.repair(path, include_likely=True)
        assert (result.state, result.done[1:]) == (RepairState.LEFT, result.finding.repair[1 : len(result.done)])
        assert "another-host" in str(result.reason)
        assert attachment_id in cloud.volumes.attachments


class TestFailing:
    def test_a_step_that_fails_ends_the_repair_of_its_finding_and_the_next_is_repaired(
        self, cloud: RepairCloud, path: Path
    ) -> None:
        FAULTS["left-unfinished"](cloud)
        FAULTS["not-read-only"](cloud)
        with patch.object(MemoryVolumes, "delete", side_effect=InUse("it has a snapshot")):
            results = cloud.repair(path, include_likely=True)
        assert states(results) == [("left-unfinished", RepairState.FAILED), ("not-read-only", RepairState.DONE)]
        assert [step.action for step in results[0].done] == [RepairAction.LOOK_AGAIN]
        assert "it has a snapshot" in str(results[0].reason)
        assert states(cloud.resume(path)) == [("left-unfinished", RepairState.DONE)]
        assert cloud.resume(path) == []

    def test_a_service_that_does_not_answer_ends_all_and_it_is_resumed(self, cloud: RepairCloud, path: Path) -> None:
        FAULTS["not-read-only"](cloud)
        silent = patch.object(MemoryVolumes, "set_readonly", side_effect=ServiceUnreachable("Cinder is down"))
        with silent, pytest.raises(ServiceUnreachable):
            cloud.repair(path)
        assert states(cloud.resume(path)) == [("not-read-only", RepairState.DONE)]

    def test_a_volume_that_was_made_writable_is_read_only_again_if_its_tail_cannot_be_cleared(
        self, cloud: RepairCloud, path: Path
    ) -> None:
        FAULTS["tail-not-zero"](cloud)
        (volume_id,) = cloud.checks
        broken = patch.object(MemoryDevice, "write", side_effect=DeviceFailed("broken"))
        with broken, patch.object(MemoryDevice, "clear", lambda *_: False):
            (result,) = cloud.repair(path)
        assert result.state is RepairState.FAILED
        assert cloud.volumes.volumes[volume_id].readonly
        assert nothing_left(cloud)
        assert states(cloud.resume(path)) == [("tail-not-zero", RepairState.DONE)]
        assert cloud.audit() == []

    def test_that_a_volume_was_left_writable_is_said(self, cloud: RepairCloud, path: Path) -> None:
        FAULTS["tail-not-zero"](cloud)
        (volume_id,) = cloud.checks
        whole = MemoryVolumes.set_readonly

        def stuck(volumes: MemoryVolumes, name: str, *, readonly: bool) -> None:
            if readonly:
                raise RequestRefused("not now")
            whole(volumes, name, readonly=readonly)

        with patch.object(MemoryVolumes, "set_readonly", stuck):
            (result,) = cloud.repair(path)
        assert result.state is RepairState.FAILED
        assert f"volume {volume_id} was left writable" in str(result.reason)

    def test_images_stay_together_if_the_store_would_delete_the_volume_of_the_other(
        self, cloud: RepairCloud, path: Path
    ) -> None:
        FAULTS["volume-in-two-images"](cloud)
        before = contents(cloud)
        theirs = replace(CATALOGUE, stores=tuple(replace(store, kind="cinder") for store in CATALOGUE.stores))
        journal = cloud.journal(path, cloud.audit())
        repairs = cloud.repairs(journal)
        audit = attrs.evolve(repairs.source.audit, catalogue=theirs)
        with journal:
            (result,) = attrs.evolve(repairs, source=attrs.evolve(repairs.source, audit=audit)).apply()
        assert result.state is RepairState.LEFT
        assert "imagevol" in str(result.reason)
        assert contents(cloud) == before
        assert len(cloud.volumes.volumes) == 3

    def test_a_volume_is_not_cloned_into_another_project_than_its_own(self, cloud: RepairCloud, path: Path) -> None:
        FAULTS["volume-in-two-images"](cloud)
        cloud.volumes.project_id = "admin"
        (result,) = cloud.repair(path)
        assert result.state is RepairState.LEFT
        assert "use credentials of the volume's project" in str(result.reason)
        assert len(cloud.volumes.volumes) == 3

    def test_a_location_is_not_removed_if_another_one_of_the_image_names_the_volume(
        self, cloud: RepairCloud, path: Path
    ) -> None:
        FAULTS["content-differs"](cloud)
        (bad,) = cloud.checks
        image = cloud.images.images[cloud.healthy[-1]]
        again = ImageLocation(f"cinder://{bad}", {"store": "fast"})
        cloud.change(image, locations=(image.locations[0], again))
        results = [result for result in cloud.repair(path) if result.finding.kind == "content-differs"]
        assert {result.state for result in results} == {RepairState.LEFT}
        assert bad in cloud.volumes.volumes

    def test_what_waits_for_another_repair_is_left_if_that_fails(self, cloud: RepairCloud, path: Path) -> None:
        FAULTS["volume-in-two-images"](cloud)
        (shared,) = cloud.audit()
        about = next(about for about in shared.subjects if about.kind == "image")
        deletes = Finding(
            kind="z",
            subjects=(about,),
            certainty=Certainty.SURE,
            text="it is so",
            repair=(RepairStep(RepairAction.DELETE_IMAGE, about),),
        )
        with patch.object(MemoryVolumes, "clone", side_effect=OverQuota("no room")):
            results = apply(cloud, cloud.journal(path, [shared, deletes]))
        assert [result.state for result in results] == [RepairState.FAILED, RepairState.LEFT]
        assert shared.id in str(results[1].reason)
        assert about.id in cloud.images.images

    def test_without_a_host_or_a_maker_of_templates_it_is_said_what_to_do(self, cloud: RepairCloud, path: Path) -> None:
        FAULTS["template-stale"](cloud)
        FAULTS["tail-not-zero"](cloud)
        journal = cloud.journal(path, cloud.audit(), include_likely=True)
        repairs = cloud.repairs(journal)
        actions = attrs.evolve(repairs.actions, attacher=None, make_template=None)
        with journal:
            results = list(attrs.evolve(repairs, actions=actions).apply())
        reasons = {result.finding.kind: str(result.reason) for result in results}
        assert {result.state for result in results} == {RepairState.LEFT}
        assert "imagevol templates warm" in reasons["template-stale"]
        assert "host" in reasons["tail-not-zero"]


class TestJournal:
    def test_a_journal_gives_back_what_was_written(self, cloud: RepairCloud, path: Path) -> None:
        for plant in FAULTS.values():
            plant(cloud)
        findings = cloud.audit()
        with cloud.journal(path, findings, include_likely=True) as journal:
            written, settings = journal.entries, journal.settings
        with RepairJournal.open(path, cloud=CLOUD) as journal:
            assert {key: replace(entry.finding, since=None) for key, entry in journal.entries.items()} == {
                key: replace(entry.finding, since=None) for key, entry in written.items()
            }
            assert [entry.after for entry in journal.entries.values()] == [entry.after for entry in written.values()]
            assert (journal.settings, journal.include_likely) == (settings, True)
        assert path.stat().st_mode & 0o777 == 0o600

    def test_a_journal_of_another_cloud_is_refused(self, cloud: RepairCloud, path: Path) -> None:
        cloud.journal(path, []).close()
        with pytest.raises(RequestRefused, match="another cloud"):
            RepairJournal.open(path, cloud="another")

    def test_a_journal_that_another_process_has_is_refused(self, cloud: RepairCloud, path: Path) -> None:
        with cloud.journal(path, []), pytest.raises(InUse):
            RepairJournal.open(path, cloud=CLOUD)

    def test_a_journal_that_exists_is_not_overwritten(self, cloud: RepairCloud, path: Path) -> None:
        path.write_text("mine")
        with pytest.raises(RequestRefused, match="exists"):
            cloud.journal(path, [])
        assert path.read_text() == "mine"

    @given(st.floats(0, 1, exclude_max=True))
    def test_a_journal_whose_plan_is_incomplete_has_repaired_nothing(self, share: float) -> None:
        cloud = RepairCloud()
        FAULTS["not-read-only"](cloud)
        with TemporaryDirectory() as directory:
            path = Path(directory) / "journal"
            cloud.journal(path, cloud.audit()).close()
            whole = path.read_bytes()
            path.write_bytes(whole[: int(len(whole) * share)])
            with pytest.raises(RequestRefused, match="nothing was repaired"):
                RepairJournal.open(path, cloud=CLOUD)

    @pytest.mark.parametrize(
        "old, new",
        [
            ('"repairs":1', '"repairs":2'),
            ('"include_likely":false', '"include_likely":"no"'),
            ('"kind":"not-read-only"', '"kind":"image-stuck"'),
            ('"kind":"not-read-only"', '"kind":7'),
            ('"action":"set-read-only"', '"action":"format-disk"'),
            ('"planned":1', '"planned":[]}\n{"finding":"f","state":"done"'),
        ],
    )
    def test_a_line_that_was_altered_is_refused(self, cloud: RepairCloud, path: Path, old: str, new: str) -> None:
        FAULTS["not-read-only"](cloud)
        cloud.journal(path, cloud.audit()).close()
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        with pytest.raises(RequestRefused):
            RepairJournal.open(path, cloud=CLOUD)


class Source(MemoryLocations):
    """Where a Cinder reads images to create volumes of them."""

    def read(self, image_id: str) -> Iterator[bytes]:
        return iter([b"image"])


class TestTemplateMaker:
    """A driver creates a template when it creates a volume; the volume is temporary."""

    @pytest.fixture
    def stale(self, cloud: RepairCloud) -> tuple[Image, Volume]:
        image = cloud.image(disk_format="raw")
        cloud.volumes.images = Source(volumes=cloud.volumes, catalogue=CATALOGUE)
        cloud.volumes.images.images = cloud.images.images
        return image, cloud.template(image, digest=Digest("sha512", "cd" * 64))

    def test_a_template_is_created_and_the_temporary_volume_goes(
        self, cloud: RepairCloud, stale: tuple[Image, Volume]
    ) -> None:
        image, old = stale
        whole, before = MemoryVolumes.create, set(cloud.volumes.volumes)

        def create(volumes: MemoryVolumes, **wishes: Any) -> Volume:
            cloud.template(image, volume_type=wishes["volume_type"])
            return whole(volumes, **wishes)

        with patch.object(MemoryVolumes, "create", create):
            TemplateMaker(volumes=cloud.volumes, holder="journal")(image, old)
        (made,) = set(cloud.volumes.volumes) - before
        assert cloud.volumes.volumes[made].name == template_name(image.id)

    def test_a_driver_that_creates_no_template_is_an_error_and_nothing_is_left(
        self, cloud: RepairCloud, stale: tuple[Image, Volume]
    ) -> None:
        before = set(cloud.volumes.volumes)
        with pytest.raises(ServiceFailed, match="created no template"):
            TemplateMaker(volumes=cloud.volumes, holder="journal")(*stale)
        assert set(cloud.volumes.volumes) == before

    def test_the_temporary_volume_of_a_killed_process_is_deleted(
        self, cloud: RepairCloud, stale: tuple[Image, Volume]
    ) -> None:
        before = set(cloud.volumes.volumes)
        maker = TemplateMaker(volumes=cloud.volumes, holder="journal")
        dead = patch.object(MemoryVolumes, "wait", side_effect=Killed), patch.object(MemoryVolumes, "delete")
        with dead[0], dead[1], suppress(Killed):
            maker(*stale)
        assert len(cloud.volumes.volumes) == len(before) + 1
        with suppress(ServiceFailed):
            maker(*stale)
        assert set(cloud.volumes.volumes) == before


def test_a_device_that_another_attachment_of_the_host_shares_is_not_disconnected(cloud: RepairCloud) -> None:
    FAULTS["attachment-left-behind"](cloud)
    (left,) = (cloud.volumes.attachment_now(each) for each in cloud.volumes.attachments)
    assert left is not None
    volume_id = str(left[0].volume_id)
    other = Attachment(id="other", volume_id=volume_id, connection={})
    for shared, connected in ((True, True), (False, False)):
        cloud.attacher.connected[left[0].id] = volume_id
        if shared:
            cloud.volumes.attachments["other"] = other
            cloud.volumes._connectors["other"] = {"host": "memory"}
        else:
            del cloud.volumes.attachments["other"]
        disconnect_left(left[0], volumes=cloud.volumes, attacher=cloud.attacher)
        assert (left[0].id in cloud.attacher.connected) is connected
