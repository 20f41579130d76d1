"""An audit of a cloud that lives on while it is listed: what is given was so at the second look."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from requests_mock import Mocker

from imagevol_adapters.cinder.volumes import CinderVolumes
from imagevol_adapters.cinder.whole_cloud import WholeCinder
from imagevol_adapters.gathering import CloudAudit, gather_audit
from imagevol_adapters.processes import this_process
from imagevol_core import (
    GIB,
    AttachmentFacts,
    AuditSettings,
    CacheEntry,
    Certainty,
    DeepCheck,
    Digest,
    Finding,
    Image,
    ImageLocation,
    RepairAction,
    Store,
    StoreCatalogue,
    TemplateMetadata,
    Volume,
    VolumeOrigin,
)
from tests.adapters.rest import CINDER, offer_cinder, session

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=40)
STORES, INTERNAL, THEIRS = "stores", "internal", "theirs"
CATALOGUE = StoreCatalogue(stores=(Store(name="fast", kind="cinder", volume_type="ssd"),), default="fast")
DIGEST = Digest("sha512", "ab")


def volume_id(number: int) -> str:
    return f"9a1b6b0c-93e4-4a3c-a2a5-{number:012x}"


@attrs.define
class Cloud:
    """Images, volumes and attachments; `then` is what happens after the images were listed."""

    images: dict[str, Image] = attrs.field(factory=dict)
    volumes: dict[str, Volume] = attrs.field(factory=dict)
    attachments: dict[str, tuple[AttachmentFacts, datetime | None]] = attrs.field(factory=dict)
    sees_all: bool = True
    left_out: str | None = None  # of the list of all images
    then: Callable[[], object] = lambda: None
    finally_: Callable[[], object] = lambda: None
    asked: list[str] = attrs.field(factory=list)

    def listed(
        self, image_ids: Sequence[str] | None = None, *, changed_since: datetime | None = None
    ) -> Iterator[Image]:
        if image_ids is None and changed_since is None:
            self.asked.append("images")
            yield from [each for each in self.images.values() if each.id != self.left_out]
            self.then()
        elif changed_since is not None:
            changed = [each for each in self.images.values() if each.updated_at and each.updated_at >= changed_since]
            yield from changed
        else:
            yield from (self.images[each] for each in image_ids or () if each in self.images)

    def all_volumes(self) -> Iterator[Volume]:
        self.asked.append("volumes")
        yield from list(self.volumes.values())
        self.finally_()

    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        return tuple(self.volumes[each] for each in volume_ids if each in self.volumes)

    def recording(self, image_id: str) -> tuple[Volume, ...]:
        return tuple(each for each in self.volumes.values() if each.metadata.get("image_id") == image_id)

    def all_attachments(self) -> Iterator[AttachmentFacts]:
        for facts, _ in list(self.attachments.values()) * 2:  # as where a page comes again
            yield replace(facts, host=None, device=None)

    def attachment_now(self, attachment_id: str) -> tuple[AttachmentFacts, datetime | None] | None:
        return self.attachments.get(attachment_id)

    # What there is.

    def add(self, number: int, *, updated_at: datetime = LONG_AGO, **changes: Any) -> tuple[Image, Volume]:
        """An image that a store of ours has made."""
        volume = Volume(
            **{
                "id": volume_id(number),
                "project_id": STORES,
                "size_gib": 1,
                "status": "available",
                "volume_type": "ssd",
                "readonly": True,
                "metadata": {
                    "glance_image_id": f"image-{number}",
                    "image_owner": THEIRS,
                    "image_size": str(GIB),
                },
                "created_at": LONG_AGO,
                **changes,
            }
        )
        image = Image(
            id=f"image-{number}",
            status="active",
            owner=THEIRS,
            size_bytes=GIB,
            digest=DIGEST,
            updated_at=updated_at,
            locations=(ImageLocation(f"cinder://fast/{volume.id}", {"store": "fast"}),),
        )
        self.images[image.id], self.volumes[volume.id] = image, volume
        return image, volume

    def audit(self, **changes: Any) -> CloudAudit:
        settings = AuditSettings(now=NOW, trusted_projects=frozenset({STORES, INTERNAL}), only_glance=True)
        given: dict[str, Any] = {"settings": settings, "catalogue": CATALOGUE}
        found = gather_audit(images=self, volumes=self, **(given | changes))
        return attrs.evolve(found, clock=lambda: NOW)

    def found(self, **changes: Any) -> list[Finding]:
        return list(self.audit(**changes).findings())


@pytest.fixture
def cloud() -> Cloud:
    cloud = Cloud()
    for number in range(1, 4):
        cloud.add(number)
    return cloud


def kinds(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    return [(each.kind, each.certainty.value) for each in findings]


def template(cloud: Cloud, number: int, **changes: Any) -> Volume:
    """A template of image 1."""
    metadata = TemplateMetadata(image_id="image-1", digest=DIGEST).to_volume()
    named = changes.get("metadata", metadata)["imagevol_template"]
    known = {"metadata": metadata, "project_id": INTERNAL, "name": f"template-{named}"}
    _, volume = cloud.add(number, **(known | changes))
    del cloud.images[f"image-{number}"]
    return volume


class TestSecondLook:
    """What comes and goes while the cloud is listed is no fault."""

    def test_a_healthy_cloud_has_no_finding(self, cloud: Cloud) -> None:
        template(cloud, 8)
        assert cloud.found() == []
        assert cloud.asked == ["images", "volumes"]

    def test_an_image_that_is_made_while_the_cloud_is_listed_is_none(self, cloud: Cloud) -> None:
        cloud.then = lambda: cloud.add(7, updated_at=NOW)
        assert cloud.found() == []

    def test_a_volume_that_comes_to_be_another_images_is_no_orphan(self, cloud: Cloud) -> None:
        _, volume = cloud.add(7)
        (location,) = cloud.images.pop("image-7").locations

        def register() -> None:
            cloud.images["another"] = Image(
                id="another", status="active", owner=THEIRS, size_bytes=GIB, updated_at=NOW, locations=(location,)
            )

        cloud.then = register
        assert cloud.found() == []
        del cloud.images["another"]
        cloud.then = lambda: None
        assert kinds(cloud.found()) == [("image-volume-without-image", "sure")]
        assert volume.id in cloud.volumes

    def test_an_image_that_is_deleted_while_the_cloud_is_listed_is_none(self, cloud: Cloud) -> None:
        def delete() -> None:
            del cloud.images["image-2"]
            del cloud.volumes[volume_id(2)]

        cloud.then = delete
        assert cloud.found() == []

    def test_a_volume_that_was_missed_by_the_listing_is_found_by_the_second_look(self, cloud: Cloud) -> None:
        volume = cloud.volumes.pop(volume_id(2))
        cloud.finally_ = lambda: cloud.volumes.__setitem__(volume.id, volume)
        assert cloud.found() == []

    def test_what_is_mended_meanwhile_is_not_given(self, cloud: Cloud) -> None:
        written = cloud.volumes[volume_id(2)]
        cloud.volumes[written.id] = replace(written, readonly=False)
        audit = cloud.audit()
        (found,) = audit.findings()
        assert found.kind == "not-read-only"
        cloud.finally_ = lambda: cloud.volumes.__setitem__(written.id, written)
        assert cloud.found() == []
        assert list(audit.look_again([found])) == []

    def test_all_volumes_of_an_image_with_several_locations_are_looked_at_again(self, cloud: Cloud) -> None:
        image, _ = cloud.add(7)
        _, second = cloud.add(8)
        (location,) = cloud.images.pop("image-8").locations
        cloud.volumes[second.id] = replace(second, metadata={**second.metadata, "glance_image_id": image.id})
        cloud.images[image.id] = replace(image, locations=(*image.locations, location))
        del cloud.volumes[volume_id(7)]
        (found,) = cloud.found()
        assert [step.action for step in found.repair] == [RepairAction.REMOVE_LOCATION]

    def test_a_list_of_images_that_ends_early_makes_no_orphan_of_a_volume_that_an_image_names(
        self, cloud: Cloud
    ) -> None:
        cloud.add(7, metadata={"glance_image_id": "another"})
        cloud.left_out = "image-7"
        assert cloud.found() == []
        del cloud.images["image-7"]
        assert kinds(cloud.found()) == [("image-volume-without-image", "sure")]

    def test_what_was_not_sure_because_of_another_image_is_not_sure_at_the_second_look(self, cloud: Cloud) -> None:
        cloud.add(7)
        del cloud.images["image-7"]
        cloud.images["image-9"] = Image(
            id="image-9", status="active", updated_at=LONG_AGO, locations=(ImageLocation("cinder://FAST/x"),)
        )
        assert kinds(cloud.found()) == [("image-volume-without-image", "likely")]

    def test_more_findings_than_are_looked_at_together_are_all_given_once(self, cloud: Cloud) -> None:
        for number in range(100, 230):
            cloud.add(number)
            del cloud.images[f"image-{number}"]
        found = cloud.found()
        assert len({each.id for each in found}) == len(found) == 130


class TestTemplates:
    """Templates are known among the volumes of trusted projects."""

    def test_a_template_of_an_image_that_changed_is_stale(self, cloud: Cloud) -> None:
        metadata = TemplateMetadata(image_id="image-1", digest=Digest("sha512", "cd")).to_volume()
        volume = template(cloud, 8, metadata=metadata)
        (found,) = cloud.found()
        assert (found.kind, found.subjects[0].id, found.reclaimable_bytes) == ("template-stale", volume.id, GIB)

    def test_a_template_whose_image_is_gone_is_stale(self, cloud: Cloud) -> None:
        template(cloud, 8, metadata={"imagevol_template": "gone"})
        assert kinds(cloud.found()) == [("template-stale", "sure")]

    @pytest.mark.parametrize("changes", [{"project_id": THEIRS}, {"status": "deleting"}, {"source_volume_id": "other"}])
    def test_a_volume_that_is_no_template_is_not_looked_at(self, cloud: Cloud, changes: dict[str, Any]) -> None:
        template(cloud, 8, **({"metadata": {"imagevol_template": "gone"}} | changes))
        assert cloud.found() == []


class TestAttachments:
    """An attachment is left behind if its process has ended, or if nothing can have had it for so long."""

    def attached(self, cloud: Cloud, made: datetime | None, **changes: Any) -> list[tuple[str, str]]:
        facts = AttachmentFacts(id="a", **({"status": "attached", "volume_id": volume_id(1)} | changes))
        cloud.attachments["a"] = facts, made
        return kinds(cloud.found())

    def test_a_transfer_is_none(self, cloud: Cloud) -> None:
        assert self.attached(cloud, NOW - timedelta(minutes=5)) == []
        here = this_process()
        assert here is not None
        assert self.attached(cloud, LONG_AGO, device=here.to_text()) == []

    def test_an_attachment_of_an_instance_is_no_finding(self, cloud: Cloud) -> None:
        assert self.attached(cloud, LONG_AGO, instance_id="i") == []

    def test_an_attachment_of_a_volume_without_an_image_is_no_finding(self, cloud: Cloud) -> None:
        cloud.volumes["other"] = Volume(id="other", size_gib=1, project_id=THEIRS)
        assert self.attached(cloud, LONG_AGO, volume_id="other") == []

    def test_an_attachment_of_a_dead_process_is_surely_left_behind(self, cloud: Cloud) -> None:
        here = this_process()
        assert here is not None
        dead = replace(here, pid=2**22 + 1)
        assert self.attached(cloud, NOW, device=dead.to_text()) == [("attachment-left-behind", "sure")]

    def test_an_old_one_of_another_host_is_likely_left(self, cloud: Cloud) -> None:
        assert self.attached(cloud, LONG_AGO) == [("attachment-left-behind", "likely")]

    def test_an_incomplete_attachment_belongs_to_the_process_that_creates_the_volume(self, cloud: Cloud) -> None:
        here = this_process()
        assert here is not None
        origin = VolumeOrigin(procedure="add", image_id="image-1", process=replace(here, pid=2**22 + 1))
        volume = cloud.volumes[volume_id(1)]
        cloud.volumes[volume.id] = replace(volume, metadata={**volume.metadata, **origin.to_volume()}, created_at=NOW)
        assert self.attached(cloud, NOW, status="reserved") == [("attachment-left-behind", "sure")]

    def test_an_attachment_that_is_gone_meanwhile_is_no_finding(self, cloud: Cloud) -> None:
        cloud.attachments["a"] = AttachmentFacts(id="a", volume_id=volume_id(1)), LONG_AGO
        audit = cloud.audit()
        (found,) = audit.findings()
        cloud.attachments.clear()
        assert list(audit.look_again([found])) == []


class TestWhatIsNotSeen:
    """What is not looked at is told, and makes nothing sure."""

    def test_without_the_admin_role_what_depends_on_all_is_only_likely(self, cloud: Cloud) -> None:
        del cloud.volumes[volume_id(1)]
        cloud.sees_all = False
        audit = cloud.audit()
        assert kinds(audit.findings()) == [("location-without-volume", "likely")]
        assert sum("admin role" in sentence for sentence in audit.unseen) == 2

    def test_all_that_is_missing_is_told(self, cloud: Cloud) -> None:
        settings = AuditSettings(now=NOW)
        assert len(cloud.audit(settings=settings, catalogue=None).unseen) == 4
        whole = cloud.audit(
            entries=[CacheEntry(volume_id=volume_id(1), image_id="image-1", size_gib=1)],
            checks=[DeepCheck(volume_id=volume_id(1), size_bytes=GIB, digest=DIGEST)],
        )
        assert whole.unseen == ()
        assert list(whole.findings()) == []

    def test_what_a_program_knows_of_the_cache_and_of_the_data_is_used(self, cloud: Cloud) -> None:
        found = cloud.found(
            entries=[CacheEntry(volume_id=volume_id(9), image_id="image-1", size_gib=1)],
            checks=[DeepCheck(volume_id=volume_id(2), size_bytes=GIB, digest=Digest("sha512", "cd"))],
        )
        assert kinds(found) == [("content-differs", "sure"), ("cache-entry-without-volume", "sure")]
        assert found[0].certainty is Certainty.SURE

    def test_what_is_listed_is_counted(self, cloud: Cloud) -> None:
        audit = cloud.audit()
        assert list(audit.findings()) == []
        assert audit.seen == {"images": 3, "volumes": 3, "attachments": 0}


@pytest.fixture
def http() -> Iterator[Mocker]:
    with Mocker() as http:
        offer_cinder(http)
        yield http


@pytest.fixture
def cinder() -> WholeCinder:
    return WholeCinder(CinderVolumes(session=session(CINDER)))


def shown(number: int, **more: Any) -> dict[str, Any]:
    usual = {"size": 1, "status": "available", "metadata": {}, "os-vol-tenant-attr:tenant_id": "p", "attachments": []}
    return {"id": volume_id(number), **usual, **more}


class TestWholeCinder:
    """Everything of a Cinder, by the page."""

    def test_all_projects_are_asked_for_in_pages_of_1000(self, http: Mocker, cinder: WholeCinder) -> None:
        http.get(
            f"{CINDER}/volumes/detail",
            [{"json": {"volumes": [shown(1), shown(2)]}}, {"json": {"volumes": []}}],
        )
        assert [each.id for each in cinder.all_volumes()] == [volume_id(1), volume_id(2)]
        first, second = [request.qs for request in http.request_history if "volumes" in request.path]
        assert (first["limit"], first["all_tenants"]) == (["1000"], ["1"])
        assert second["marker"] == [volume_id(2)]

    @pytest.mark.parametrize(
        "volumes, sees_all",
        [([shown(1)], True), ([], False), ([{"id": "v", "size": 1, "status": "error", "metadata": {}}], False)],
    )
    def test_that_all_projects_are_seen_is_told_by_whose_the_first_volume_is(
        self, http: Mocker, cinder: WholeCinder, volumes: list[Any], sees_all: bool
    ) -> None:
        http.get(f"{CINDER}/volumes/detail", json={"volumes": volumes})
        assert cinder.sees_all is sees_all

    def test_attachments_are_listed_without_how_they_are_connected(self, http: Mocker, cinder: WholeCinder) -> None:
        listed = {"id": "a", "status": "attached", "instance": None, "volume_id": volume_id(1)}
        http.get(f"{CINDER}/attachments", [{"json": {"attachments": [listed]}}, {"json": {"attachments": []}}])
        assert [(each.id, each.volume_id) for each in cinder.all_attachments()] == [("a", volume_id(1))]
        assert not [request for request in http.request_history if "detail" in request.path]

    def attachment(self, http: Mocker, **changes: Any) -> None:
        usual = {"id": volume_id(7), "status": "attached", "instance": None, "volume_id": volume_id(1)}
        attachment = {**usual, "attached_at": "2026-01-20T12:00:00.000000", "connection_info": {}, **changes}
        http.get(f"{CINDER}/attachments/{volume_id(7)}", json={"attachment": attachment})
        http.get(f"{CINDER}/attachments/detail", json={"attachments": [attachment]})

    def test_an_attachment_is_told_with_its_place_and_its_time(self, http: Mocker, cinder: WholeCinder) -> None:
        self.attachment(http)
        place = {"attachment_id": volume_id(7), "host_name": "node", "device": "/dev/vdb"}
        http.get(f"{CINDER}/volumes/{volume_id(1)}", json={"volume": shown(1, attachments=[place])})
        known = cinder.attachment_now(volume_id(7))
        assert known is not None
        assert (known[0].host, known[0].device) == ("node", "/dev/vdb")
        assert known[1] == datetime(2026, 1, 20, 12, tzinfo=UTC)

    def test_an_incomplete_attachment_is_as_old_as_the_last_change_of_its_volume(
        self, http: Mocker, cinder: WholeCinder
    ) -> None:
        self.attachment(http, attached_at="", status="reserved")
        changed = shown(1, updated_at="2026-01-21T12:00:00.000000")
        http.get(f"{CINDER}/volumes/{volume_id(1)}", json={"volume": changed})
        known = cinder.attachment_now(volume_id(7))
        assert known is not None
        assert known[1] == datetime(2026, 1, 21, 12, tzinfo=UTC)

    def test_an_attachment_that_is_gone_or_whose_volume_is_gone_is_left_out(
        self, http: Mocker, cinder: WholeCinder
    ) -> None:
        http.get(f"{CINDER}/attachments/{volume_id(7)}", status_code=404)
        assert cinder.attachment_now(volume_id(7)) is None
        self.attachment(http, attached_at="")
        http.get(f"{CINDER}/volumes/{volume_id(1)}", status_code=404)
        known = cinder.attachment_now(volume_id(7))
        assert known is not None
        assert (known[0].volume_id, known[1]) == (volume_id(1), None)
