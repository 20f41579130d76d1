"""No repair takes data that is needed: what is not shown to be safe is left to a person."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import attrs
import pytest

from imagevol_adapters.gathering.claims import VolumeClaims
from imagevol_adapters.repairing import RepairJournal, RepairResult, RepairState
from imagevol_core import DeepCheck, Digest, Image, ImageLocation, ServiceFailed, Volume, VolumeOrigin
from tests.adapters.repairing_cloud import (
    CATALOGUE,
    DIGEST,
    FAULTS,
    USERS,
    Images,
    RepairCloud,
    Volumes,
)

OTHER_DIGEST = Digest("sha512", "ee" * 64)


@pytest.fixture
def cloud() -> RepairCloud:
    return RepairCloud()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def apply(cloud: RepairCloud, journal: RepairJournal) -> list[RepairResult]:
    with journal:
        return list(cloud.repairs(journal).apply())


def located(volume_id: str) -> ImageLocation:
    return ImageLocation(f"cinder://fast/{volume_id}", {"store": "fast"})


def left(results: Sequence[RepairResult], kind: str) -> bool:
    return {result.state for result in results if result.finding.kind == kind} == {RepairState.LEFT}


class TestNamed:
    """No volume is deleted that an image names, whatever is found of it."""

    def test_the_volume_of_an_active_image_is_not_deleted_because_it_is_marked_unfinished(
        self, cloud: RepairCloud, path: Path
    ) -> None:
        image = cloud.image()
        volume = cloud.volumes.volumes[cloud.of(image)]
        unfinished = VolumeOrigin(procedure="repair", image_id=image.id).to_volume()
        cloud.change(volume.id, metadata={**volume.metadata, **unfinished})
        cloud.repair(path, include_likely=True)
        assert volume.id in cloud.volumes.volumes

    def test_a_template_that_an_image_names_is_not_deleted(self, cloud: RepairCloud, path: Path) -> None:
        template = cloud.template(replace(cloud.images.images[cloud.healthy[0]], id=str(uuid.uuid4())))
        cloud.change(cloud.image(), locations=(located(template.id),))
        cloud.repair(path, include_likely=True)
        assert template.id in cloud.volumes.volumes

    def test_a_volume_that_an_image_names_by_a_slower_clock_is_not_deleted(
        self, cloud: RepairCloud, path: Path
    ) -> None:
        orphan = cloud.volume(replace(cloud.images.images[cloud.healthy[0]], id=str(uuid.uuid4())))
        findings = cloud.audit()
        an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
        cloud.images.images["new"] = Image(
            id="new", status="active", locations=(located(orphan.id),), updated_at=an_hour_ago
        )
        assert left(apply(cloud, cloud.journal(path, findings)), "image-volume-without-image")
        assert orphan.id in cloud.volumes.volumes

    def test_a_volume_whose_image_was_missing_from_the_listing_of_the_audit_is_not_deleted(
        self, cloud: RepairCloud, path: Path
    ) -> None:
        image = cloud.image(updated_at=datetime.now(UTC) - timedelta(days=90))
        volume_id = cloud.of(image)
        cloud.change(volume_id, metadata={"image_id": str(uuid.uuid4())})
        whole = Images.listed

        def listed(
            images: Images, ids: Sequence[str] | None = None, *, changed_since: datetime | None = None
        ) -> Iterator[Image]:
            given = whole(images, ids, changed_since=changed_since)
            cached = ids is None and changed_since is None  # by a proxy, without its last page
            return (each for each in given if not (cached and each.id == image.id))

        with patch.object(Images, "listed", listed):
            cloud.repair(path)
        assert volume_id in cloud.volumes.volumes

    def test_a_location_whose_volume_another_image_names_by_now_is_not_removed(
        self, cloud: RepairCloud, path: Path
    ) -> None:
        FAULTS["content-differs"](cloud)
        (bad,) = cloud.checks
        findings = cloud.audit()
        cloud.images.images["new"] = Image(
            id="new",
            status="active",
            size_bytes=5,
            owner=USERS,
            locations=(located(bad),),
            updated_at=datetime.now(UTC),
        )
        assert left(apply(cloud, cloud.journal(path, findings)), "content-differs")
        assert bad in cloud.volumes.volumes


class TestLastThatServes:
    """A location goes only while another one is shown to serve."""

    @pytest.fixture
    def bad(self, cloud: RepairCloud) -> str:
        FAULTS["content-differs"](cloud)
        (bad,) = cloud.checks
        return bad

    def image_of(self, cloud: RepairCloud) -> Image:
        return cloud.images.images[cloud.healthy[-1]]

    @pytest.mark.parametrize("when", ["before the audit", "between the audit and the repair"])
    def test_the_only_data_of_an_image_is_not_removed_because_it_differs(
        self, cloud: RepairCloud, path: Path, bad: str, when: str
    ) -> None:
        before = cloud.audit()
        cloud.volumes.delete(cloud.of(self.image_of(cloud), 1))
        findings = before if when == "between the audit and the repair" else cloud.audit()
        assert left(apply(cloud, cloud.journal(path, findings)), "content-differs")
        assert bad in cloud.volumes.volumes

    @pytest.mark.parametrize("when", ["before the audit", "between the audit and the repair"])
    def test_no_location_is_removed_if_the_data_of_each_differs(
        self, cloud: RepairCloud, path: Path, bad: str, when: str
    ) -> None:
        before = cloud.audit()
        other = cloud.of(self.image_of(cloud), 1)
        cloud.checks[other] = DeepCheck(volume_id=other, size_bytes=5, digest=OTHER_DIGEST)
        findings = before if when == "between the audit and the repair" else cloud.audit()
        assert left(apply(cloud, cloud.journal(path, findings)), "content-differs")
        assert {bad, other} <= cloud.volumes.volumes.keys()

    def test_a_location_is_removed_although_their_order_changed_while_the_volume_was_read(
        self, cloud: RepairCloud, path: Path
    ) -> None:
        image = cloud.image(copies=2)
        third = cloud.volume(image)
        cloud.change(image, locations=(*image.locations, located(third.id)))
        bad = cloud.of(image, 1)
        cloud.checks[bad] = DeepCheck(volume_id=bad, size_bytes=5, digest=OTHER_DIGEST)
        journal = cloud.journal(path, cloud.audit())
        repairs, whole = cloud.repairs(journal), cloud.read

        def read(volume: Volume, of: Image | None = None) -> DeepCheck | None:
            if len(cloud.images.images[image.id].locations) == 3:  # an operator evacuates the first store
                cloud.images.change_locations(image.id, [{"op": "remove", "path": "/locations/0"}])
            return whole(volume, of)

        with journal:
            list(attrs.evolve(repairs, source=attrs.evolve(repairs.source, read=read)).apply())
        assert third.id in cloud.volumes.volumes
        assert bad not in cloud.volumes.volumes

    def test_that_a_location_is_still_there_is_a_failure(self, cloud: RepairCloud, path: Path, bad: str) -> None:
        findings = cloud.audit()
        with patch.object(Images, "change_locations"):
            (result,) = apply(cloud, cloud.journal(path, findings))
        assert result.state is RepairState.FAILED
        assert bad in cloud.volumes.volumes

    def test_a_location_is_not_removed_while_another_program_changes_them(
        self, cloud: RepairCloud, path: Path, bad: str
    ) -> None:
        journal = cloud.journal(path, cloud.audit())
        image, whole = self.image_of(cloud), VolumeClaims.of

        def of(claims: VolumeClaims, volume_ids: Iterator[str]) -> tuple[Image, ...]:
            found = whole(claims, volume_ids)
            cloud.change(image, locations=image.locations[:1])
            return found

        with patch.object(VolumeClaims, "of", of):
            assert left(apply(cloud, journal), "content-differs")
        assert bad in cloud.volumes.volumes


class TestOfAnother:
    """A location is a user's word: the volume that it names is not changed on it."""

    @pytest.fixture
    def shared(self, cloud: RepairCloud) -> tuple[Image, Image, str]:
        """An image, one of another owner that names its volume too, and the volume."""
        victim = cloud.image(owner="victim", content=b"secret", visibility="private")
        thief = cloud.image(owner="thief")
        cloud.volumes.delete(cloud.of(thief))
        cloud.change(thief, size_bytes=1, locations=victim.locations)
        return victim, thief, cloud.of(victim)

    def test_no_user_gets_a_clone_of_another_owners_data(
        self, cloud: RepairCloud, path: Path, shared: tuple[Image, Image, str]
    ) -> None:
        _, thief, volume_id = shared
        before = set(cloud.volumes.volumes)
        assert left(cloud.repair(path), "volume-in-two-images")
        assert cloud.images.images[thief.id].locations == (located(volume_id),)
        assert set(cloud.volumes.volumes) == before

    def test_a_user_gets_a_clone_of_a_public_image(
        self, cloud: RepairCloud, path: Path, shared: tuple[Image, Image, str]
    ) -> None:
        victim, thief, volume_id = shared
        cloud.change(victim, visibility="public")
        cloud.change(thief, size_bytes=victim.size_bytes)
        cloud.repair(path)
        assert cloud.of(thief) != volume_id
        assert cloud.of(victim) == volume_id

    @pytest.mark.parametrize("records", [True, False])
    def test_the_owner_of_a_volume_that_two_images_name_is_not_overwritten(
        self, cloud: RepairCloud, path: Path, shared: tuple[Image, Image, str], records: bool
    ) -> None:
        volume = cloud.volumes.volumes[shared[2]]
        if not records:
            says = {key: value for key, value in volume.metadata.items() if key not in ("image_id", "glance_image_id")}
            cloud.change(volume.id, metadata=says)
        before = cloud.volumes.volumes[volume.id].metadata
        journal = cloud.journal(path, cloud.audit())
        repairs = cloud.repairs(journal)
        theirs = replace(CATALOGUE, stores=tuple(replace(store, kind="cinder") for store in CATALOGUE.stores))
        source = attrs.evolve(repairs.source, audit=attrs.evolve(repairs.source.audit, catalogue=theirs))
        with journal:
            list(attrs.evolve(repairs, source=source).apply())
        assert cloud.volumes.volumes[volume.id].metadata == before

    def test_the_owner_of_an_image_is_not_recorded_on_a_volume_that_names_another_one(
        self, cloud: RepairCloud, path: Path
    ) -> None:
        image = cloud.image(owner="thief")
        cloud.change(cloud.of(image), metadata={"image_owner": "victim", "image_size": "5"})
        assert left(cloud.repair(path), "owner-differs")
        assert cloud.volumes.volumes[cloud.of(image)].metadata["image_owner"] == "victim"

    @pytest.mark.parametrize("tail_is_zero", [None, False])
    def test_a_users_volume_is_not_changed_because_an_image_of_another_names_it(
        self, cloud: RepairCloud, path: Path, tail_is_zero: bool | None
    ) -> None:
        volume = cloud.volume(project="victim", metadata={}, readonly=False)
        data = b"x" * 20_000
        cloud.volumes.contents[volume.id].write(0, memoryview(data))
        image = cloud.image(owner="thief")
        cloud.volumes.delete(cloud.of(image))
        cloud.change(image, locations=(located(volume.id),))
        if tail_is_zero is not None:
            cloud.checks[volume.id] = DeepCheck(
                volume_id=volume.id, size_bytes=5, digest=DIGEST, tail_is_zero=tail_is_zero
            )
        kind = "not-read-only" if tail_is_zero is None else "tail-not-zero"
        assert left(cloud.repair(path), kind)
        now = cloud.volumes.volumes[volume.id]
        assert (now.readonly, now.metadata) == (False, {})
        assert cloud.volumes.contents[volume.id].read(0, len(data)) == data

    @pytest.mark.parametrize("differs", [{"project_id": "victim"}, {"metadata": {"image_id": str(uuid.uuid4())}}])
    def test_a_volume_of_another_does_not_go_with_a_location_whose_data_differs(
        self, cloud: RepairCloud, path: Path, differs: dict[str, Any]
    ) -> None:
        FAULTS["content-differs"](cloud)
        (bad,) = cloud.checks
        cloud.change(bad, **differs)
        assert left(cloud.repair(path), "content-differs")
        assert bad in cloud.volumes.volumes

    def test_the_volume_of_an_image_in_its_owners_project_is_made_read_only(
        self, cloud: RepairCloud, path: Path
    ) -> None:
        FAULTS["not-read-only"](cloud)
        image = cloud.images.images[cloud.healthy[-1]]
        cloud.change(cloud.of(image), project_id=USERS)
        assert [result.state for result in cloud.repair(path)] == [RepairState.DONE]


class TestNotShown:
    @pytest.mark.parametrize("fault", ["image-volume-without-image", "left-unfinished", "not-read-only"])
    def test_a_volume_that_is_not_shown_for_a_moment_is_left_and_repaired_later(
        self, cloud: RepairCloud, path: Path, fault: str
    ) -> None:
        FAULTS[fault](cloud)
        journal = cloud.journal(path, cloud.audit(), include_likely=True)
        with patch.object(Volumes, "find", lambda _volumes, _ids: ()):
            assert left(apply(cloud, journal), fault)
        assert [result.state for result in cloud.resume(path)] == [RepairState.DONE]
        assert cloud.audit() == []

    def test_what_another_finding_of_the_repair_has_deleted_is_done(self, cloud: RepairCloud, path: Path) -> None:
        gone = replace(cloud.images.images[cloud.healthy[0]], id=str(uuid.uuid4()))
        orphan = cloud.volume(gone)
        unfinished = VolumeOrigin(procedure="add", image_id=gone.id).to_volume()
        cloud.change(orphan.id, metadata={**orphan.metadata, **unfinished})
        states = {result.state for result in cloud.repair(path, include_likely=True)}
        assert states <= {RepairState.DONE, RepairState.GONE}
        assert orphan.id not in cloud.volumes.volumes


class TestClaims:
    """Which images name a volume is listed once, and then kept up."""

    def claims(self, cloud: RepairCloud, *volume_ids: str) -> VolumeClaims:
        return VolumeClaims(images=cloud.images, volume_ids=frozenset(volume_ids))

    def test_all_images_are_listed_once_for_all_volumes(self, cloud: RepairCloud) -> None:
        one, two = (cloud.of(cloud.images.images[image_id]) for image_id in cloud.healthy)
        claims, whole, asked = self.claims(cloud, one, two), Images.listed, list[datetime | None]()

        def listed(
            images: Images, ids: Sequence[str] | None = None, *, changed_since: datetime | None = None
        ) -> Iterator[Image]:
            if ids is None:
                asked.append(changed_since)
            return whole(images, ids, changed_since=changed_since)

        with patch.object(Images, "listed", listed):
            assert [[image.id for image in claims.of([each])] for each in (one, two)] == [
                [image_id] for image_id in cloud.healthy
            ]
            assert claims.of([]) == ()
        newest = max(image.updated_at for image in cloud.images.images.values() if image.updated_at)
        assert [each for each in asked if each and each < newest - timedelta(days=1)] == asked[:1]
        assert None not in asked

    def test_an_image_that_names_the_volume_no_more_is_not_given(self, cloud: RepairCloud) -> None:
        image = cloud.images.images[cloud.healthy[0]]
        volume_id = cloud.of(image)
        claims = self.claims(cloud, volume_id)
        assert claims.of([volume_id]) == (image,)
        cloud.change(image, locations=())
        assert claims.of([volume_id]) == ()
        del cloud.images.images[image.id]
        assert claims.of([volume_id]) == ()

    @pytest.mark.parametrize("url", ["cinder://fast/{}?x=y", "imagevol://{}", "cinder:///{}/"])
    def test_an_image_whose_location_is_malformed_is_given_by_the_id_in_it(self, cloud: RepairCloud, url: str) -> None:
        volume_id = str(uuid.uuid4())
        image = cloud.images.images[cloud.healthy[0]]
        for spelled in (volume_id, volume_id.upper(), volume_id.replace("-", "")):
            cloud.change(image, locations=(ImageLocation(url.format(spelled)),))
            assert [each.id for each in self.claims(cloud).of([volume_id])] == [image.id]

    def test_a_listing_that_fails_is_made_anew(self, cloud: RepairCloud) -> None:
        image = cloud.images.images[cloud.healthy[0]]
        claims = self.claims(cloud, cloud.of(image))
        with patch.object(Images, "listed", side_effect=ServiceFailed("500")), pytest.raises(ServiceFailed):
            claims.of([cloud.of(image)])
        assert claims.of([cloud.of(image)]) == (image,)
