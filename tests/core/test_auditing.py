"""What an audit finds: nothing where all is well, each kind where its fact is broken, and nothing unknown as sure."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from imagevol_core import (
    FINISHED,
    GIB,
    HOLD,
    AuditedAttachment,
    AuditSettings,
    CacheEntry,
    Certainty,
    DeepCheck,
    Digest,
    Finding,
    Image,
    ImageLocation,
    InvalidFact,
    InvalidSize,
    Policy,
    RepairAction,
    RepairStep,
    Store,
    StoreCatalogue,
    Subject,
    Template,
    Volume,
    VolumeOrigin,
    audit,
    decide_freshness,
    evaluate,
    failed,
    rule_tables,
    total_reclaimable_bytes,
)
from imagevol_core.auditing import (
    ATTACHMENT_RULES,
    CLAIM_RULES,
    ENTRY_RULES,
    IMAGE_RULES,
    IMAGE_VOLUME_RULES,
    TEMPLATE_RULES,
    AuditRule,
    Claim,
    ClaimedVolume,
    Entry,
    Held,
    ImageVolume,
    LeftFile,
    Templated,
    Watched,
)
from tests.cloud.faults import FAULTS

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CREATED = NOW - timedelta(days=30)
SURE, LIKELY = Certainty.SURE, Certainty.LIKELY
CATALOGUE = StoreCatalogue(
    stores=(
        Store(name="fast", kind="cinder", volume_type="ssd"),
        Store(name="fast2", kind="cinder", volume_type="hdd"),
        Store(name="twin", kind="cinder", volume_type="hdd"),
        Store(name="local", kind="file"),
    ),
    default="fast",
)
UNTYPED = replace(CATALOGUE, stores=(Store(name="fast", kind="cinder"), *CATALOGUE.stores[1:]))
BLAKE3 = Digest("blake3", "0b" * 32)
SHOWN = frozenset({"store 'fast'", "no store", "place 'stores' 'ssd'"})
SETTINGS = AuditSettings(
    now=NOW,
    trusted_projects=frozenset({"stores"}),
    images_complete=True,
    volumes_complete=True,
    shown=SHOWN,
    only_glance=True,
)


def uuid(number: int) -> str:
    return f"9a1b6b0c-93e4-4a3c-a2a5-{number:012x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """All the facts of one audit."""

    images: tuple[Image, ...] = ()
    volumes: tuple[Volume, ...] = ()
    attachments: tuple[AuditedAttachment, ...] = ()
    entries: tuple[CacheEntry, ...] = ()
    templates: tuple[Template, ...] = ()
    checks: tuple[DeepCheck, ...] = ()
    files: tuple[LeftFile, ...] = ()
    catalogue: StoreCatalogue | None = CATALOGUE
    settings: AuditSettings = SETTINGS

    def audit(self) -> list[Finding]:
        """What is wrong with it; whatever it is given can be read only once."""
        return list(
            audit(
                images=iter(self.images),
                volumes=iter(self.volumes),
                attachments=iter(self.attachments),
                entries=iter(self.entries),
                templates=iter(self.templates),
                checks=iter(self.checks),
                files=iter(self.files),
                catalogue=self.catalogue,
                settings=self.settings,
            )
        )

    def each(self, change: Callable[[str, tuple[Any, ...]], tuple[Any, ...]]) -> Cloud:
        """The cloud with each of its listings changed."""
        changed: dict[str, Any] = {name: change(name, getattr(self, name)) for name in KEYS}
        return replace(self, **changed)

    def __add__(self, other: Cloud) -> Cloud:
        return self.each(lambda name, rows: rows + getattr(other, name))


def image(number: int = 0, *, stores: tuple[str | None, ...] = ("fast",), **changes: Any) -> Image:
    """An image whose first location is volume `number`."""
    volumes = [uuid(number + 1000 * at) for at in range(len(stores))]
    usual: dict[str, Any] = {
        "id": f"image-{number}",
        "status": "active",
        "owner": "ours",
        "size_bytes": GIB - 7,
        "digest": Digest("sha512", "ab"),
        "updated_at": NOW - timedelta(days=9),
        "locations": tuple(
            ImageLocation(f"cinder://{store}/{volume}", {"store": store})
            if store
            else ImageLocation(f"cinder://{volume}")
            for store, volume in zip(stores, volumes, strict=True)
        ),
    }
    return Image(**(usual | changes))


def volume(number: int = 0, *, says: dict[str, str | None] | None = None, **changes: Any) -> Volume:
    """The volume of that image."""
    said = {"glance_image_id": f"image-{number % 1000}", "image_owner": "ours", "image_size": str(GIB - 7)}
    metadata = {key: value for key, value in (said | (says or {})).items() if value is not None}
    usual: dict[str, Any] = {
        "id": uuid(number),
        "project_id": "stores",
        "size_gib": 1,
        "status": "available",
        "volume_type": "ssd",
        "readonly": True,
        "metadata": metadata,
        "created_at": CREATED,
    }
    return Volume(**(usual | changes))


def one(*, held: Volume | None = None, checks: tuple[DeepCheck, ...] = (), **changes: Any) -> Cloud:
    """A cloud of one image and its volume."""
    return Cloud(images=(image(**changes),), volumes=(held or volume(),), checks=checks)


def entry(number: int, **changes: Any) -> CacheEntry:
    usual: dict[str, Any] = {"volume_id": uuid(number), "image_id": "image-0", "size_gib": 1}
    return CacheEntry(**(usual | {"digest": Digest("sha512", "ab")} | changes))


def template_volume(**changes: Any) -> Volume:
    """A template by what Cinder's API shows; it names no image otherwise."""
    says = UNSAID | {"imagevol_template": "image-0"}
    return volume(5, **{"says": says, "name": "template-image-0"} | changes)


def half_stored(**changes: Any) -> Volume:
    """A volume that a procedure is creating, or was when it was killed."""
    origin = VolumeOrigin(procedure="add", image_id="image-9")
    return volume(**({"created_at": NOW - timedelta(days=9)} | changes), says=UNSAID | origin.to_volume())


UNSAID = dict.fromkeys(("glance_image_id", "image_owner", "image_size"))
GOOD = one()
IMAGE, VOLUME = Subject("image", "image-0"), Subject("volume", uuid(0))
URL = f"cinder://fast/{uuid(0)}"
RUNS = "no service tells whether a process is still at work"
LOST = "a location of the image names volume " + uuid(0)


def step(action: str, subject: Subject, **arguments: str) -> RepairStep:
    return RepairStep(RepairAction(action), subject, tuple(arguments.items()))


def finding(
    kind: str, certainty: Certainty, text: str, *subjects: Subject, repair: tuple[RepairStep, ...], **more: Any
) -> Finding:
    return Finding(kind=kind, subjects=subjects, certainty=certainty, text=text, repair=repair, **more)


KEPT = Subject("volume", uuid(5))
ATTACHMENT = Subject("attachment", "a")
TEMPLATE = Cloud(
    images=(image(),),
    volumes=(volume(), volume(5, says={"image_owner": None, "glance_image_id": "image-0"})),
    templates=(Template(entry=entry(5)),),
)
FILE = LeftFile(
    host="node",
    path="/var/lib/cinder/conversion/imagevol-abcd1234.qcow2",
    size_bytes=4096,
    changed_at=NOW - timedelta(days=9),
    in_use=False,
)
JOURNAL = "no service tells whether its journal is still at work: if you have it, resume or undo it"
BOTH = Cloud(
    images=(image(), image(1, locations=image().locations)),
    volumes=(volume(),),
)


def incomplete(cloud: Cloud) -> Cloud:
    """The same from listings that may have a part missing."""
    return replace(cloud, settings=replace(cloud.settings, images_complete=False, volumes_complete=False))


# For each kind, a cloud in which one fact is broken, and the one finding of it.  A new rule is a new row here.
BREAKS: dict[str, tuple[Cloud, Finding]] = {
    "image-stuck": (
        Cloud(images=(image(status="saving", locations=()),)),
        finding(
            "image-stuck",
            LIKELY,
            f"it is saving and was last touched 9 days before the audit; only likely, because {RUNS}",
            IMAGE,
            repair=(step("look-again", IMAGE), step("delete-image", IMAGE)),
            since=NOW - timedelta(days=9),
        ),
    ),
    "location-without-volume": (
        replace(GOOD, volumes=()),
        finding(
            "location-without-volume",
            SURE,
            f"{LOST}: it is not among the volumes",
            *(IMAGE, VOLUME),
            repair=(step("delete-image", IMAGE),),
        ),
    ),
    "owner-differs": (
        one(held=volume(says={"image_owner": "theirs"})),
        finding(
            "owner-differs",
            SURE,
            "the image belongs to 'ours' and its volume's owner is 'theirs'",
            *(IMAGE, VOLUME),
            repair=(step("set-metadata", VOLUME, image_owner="ours"),),
            since=CREATED,
        ),
    ),
    "size-differs": (
        one(held=volume(says={"image_size": "5"})),
        finding(
            "size-differs",
            SURE,
            f"the image has {GIB - 7} bytes, its volume 1 GiB and image_size 5",
            *(IMAGE, VOLUME),
            repair=(step("set-metadata", VOLUME, image_size=str(GIB - 7)),),
            since=CREATED,
        ),
    ),
    "store-differs": (
        one(stores=("fast2",)),
        finding(
            "store-differs",
            SURE,
            "the URL names store 'fast2', the metadata 'fast2'; the stores of its type 'ssd' are 'fast'",
            *(IMAGE, VOLUME),
            repair=(step("set-location", IMAGE, url=URL.replace("fast", "fast2"), to=URL, store="fast"),),
            since=CREATED,
        ),
    ),
    "content-differs": (
        one(checks=(DeepCheck(volume_id=uuid(0), size_bytes=GIB - 7, digest=Digest("sha512", "cd")),)),
        finding(
            "content-differs",
            SURE,
            "the image's digest is sha512:ab, the volume's sha512:cd",
            *(IMAGE, VOLUME),
            repair=(step("deactivate-image", IMAGE),),
            since=CREATED,
        ),
    ),
    "image-volume-without-image": (
        Cloud(volumes=(volume(),)),
        finding(
            "image-volume-without-image",
            SURE,
            "it names image 'image-0', which is not among the images",
            VOLUME,
            repair=(step("delete-volume", VOLUME),),
            since=CREATED,
            reclaimable_bytes=GIB,
        ),
    ),
    "left-unfinished": (
        Cloud(volumes=(half_stored(),)),
        finding(
            "left-unfinished",
            LIKELY,
            f"procedure add has not finished 9 days after it began; only likely, because {RUNS}",
            VOLUME,
            repair=(step("look-again", VOLUME), step("delete-volume", VOLUME)),
            since=NOW - timedelta(days=9),
            reclaimable_bytes=GIB,
        ),
    ),
    "hold-left": (
        one(held=volume(says={HOLD: "a-journal"}, updated_at=NOW - timedelta(days=9))),
        finding(
            "hold-left",
            LIKELY,
            "journal a-journal holds it, and Cinder changed it 9 days before the audit; only likely, because "
            f"{JOURNAL}",
            VOLUME,
            repair=(step("look-again", VOLUME), step("release-hold", VOLUME, holder="a-journal")),
            since=NOW - timedelta(days=9),
            related=(IMAGE,),
        ),
    ),
    "temporary-file-left": (
        Cloud(files=(FILE,)),
        finding(
            "temporary-file-left",
            SURE,
            "no process uses it; it was written 9 days before the audit",
            FILE.subject,
            repair=(RepairStep(RepairAction.DELETE_FILE, FILE.subject),),
            since=NOW - timedelta(days=9),
            reclaimable_bytes=4096,
        ),
    ),
    "not-read-only": (
        one(held=volume(readonly=False)),
        finding(
            "not-read-only",
            SURE,
            "it is not read-only",
            VOLUME,
            repair=(step("set-read-only", VOLUME),),
            since=CREATED,
            related=(IMAGE,),
        ),
    ),
    "record-differs": (
        Cloud(
            volumes=(volume(says={**VolumeOrigin(procedure="put", image_id="image-0", finished=True).to_volume()}),),
            checks=(
                DeepCheck(
                    volume_id=uuid(0), size_bytes=1, digest=Digest("sha512", "cd"), recorded=Digest("sha512", "ab")
                ),
            ),
        ),
        finding(
            "record-differs",
            SURE,
            "its digest is sha512:cd, and it records sha512:ab",
            VOLUME,
            repair=(),
            since=CREATED,
        ),
    ),
    "tail-not-zero": (
        one(checks=(DeepCheck(volume_id=uuid(0), size_bytes=GIB - 7, tail_is_zero=False),)),
        finding(
            "tail-not-zero",
            SURE,
            f"what comes after the first {GIB - 7} bytes was read",
            VOLUME,
            repair=(
                step("set-writable", VOLUME),
                step("zero-tail", VOLUME, from_bytes=str(GIB - 7)),
                step("set-read-only", VOLUME),
            ),
            since=CREATED,
            related=(IMAGE,),
        ),
    ),
    "volume-in-two-images": (
        BOTH,
        finding(
            "volume-in-two-images",
            SURE,
            "it is a location of 'image-0', 'image-1'",
            *(VOLUME, IMAGE, Subject("image", "image-1")),
            repair=(
                step("clone-volume", VOLUME, image="image-1"),
                step("set-location", Subject("image", "image-1"), url=URL, to="the clone"),
            ),
        ),
    ),
    "attachment-left-behind": (
        replace(GOOD, attachments=(AuditedAttachment(id="a", volume_id=uuid(0), host="node", alive=False),)),
        finding(
            "attachment-left-behind",
            SURE,
            "its process has ended; host 'node'",
            *(ATTACHMENT, VOLUME),
            repair=(step("disconnect", ATTACHMENT), step("delete-attachment", ATTACHMENT)),
            related=(IMAGE,),
        ),
    ),
    "cache-entry-without-volume": (
        replace(GOOD, entries=(entry(5),)),
        finding(
            "cache-entry-without-volume",
            SURE,
            "its volume is not among the volumes",
            Subject("cache-entry", uuid(5)),
            repair=(step("delete-cache-entry", Subject("cache-entry", uuid(5))),),
        ),
    ),
    "template-stale": (
        replace(TEMPLATE, templates=(Template(entry=entry(5, digest=Digest("sha512", "cd"))),)),
        finding(
            "template-stale",
            SURE,
            decide_freshness(image(), entry=entry(5, digest=Digest("sha512", "cd"))).verdicts[-1].text,
            *(KEPT, IMAGE),
            repair=(step("create-template", IMAGE), step("delete-volume", KEPT)),
            since=NOW - timedelta(days=9),
            reclaimable_bytes=GIB,
        ),
    ),
}


class TestEachKind:
    """Each kind is found when and only when its one fact is broken."""

    def test_every_rule_has_its_case(self) -> None:
        tables = [table for table in rule_tables() if table.name.startswith("Auditing")]
        assert {rule.id for table in tables for rule in table.rules} == BREAKS.keys()
        assert {table.policy for table in tables} == {Policy.STRICT}

    @pytest.mark.parametrize("kind", BREAKS)
    def test_each_fault_is_found_and_nothing_else_with_it(self, kind: str) -> None:
        cloud, expected = BREAKS[kind]
        assert cloud.audit() == [expected]

    @given(st.data(), st.sampled_from(sorted(BREAKS)))
    def test_each_fault_is_found_alone_in_any_cloud(self, data: st.DataObject, kind: str) -> None:
        broken, expected = BREAKS[kind]
        cloud = data.draw(clouds(first=10))
        assert (cloud + broken).audit() == [expected]


class TestConsistent:
    """An audit of a consistent cloud finds nothing."""

    @pytest.mark.parametrize("cloud", [Cloud(), GOOD, incomplete(GOOD), TEMPLATE, one(owner=None), one(digest=None)])
    def test_the_clouds_of_the_examples_are_consistent(self, cloud: Cloud) -> None:
        assert cloud.audit() == []

    @given(st.data())
    def test_a_consistent_cloud_has_no_finding(self, data: st.DataObject) -> None:
        assert data.draw(clouds()).audit() == []


class TestOrder:
    """Independent of the order of inputs, and of what comes twice."""

    @given(st.data(), st.randoms())
    def test_the_order_of_what_the_services_list_changes_no_finding(self, data: st.DataObject, random: Any) -> None:
        cloud = data.draw(hostile_clouds())
        shuffled = cloud.each(lambda _, rows: tuple(random.sample(rows, len(rows))))
        twice = replace(shuffled, images=shuffled.images * 2, volumes=shuffled.volumes * 2)
        expected = sorted(map(repr, cloud.audit()))
        assert sorted(map(repr, shuffled.audit())) == expected
        assert sorted(map(repr, twice.audit())) == expected

    @given(st.data())
    def test_no_two_findings_have_the_same_id(self, data: st.DataObject) -> None:
        ids = [each.id for each in data.draw(hostile_clouds()).audit()]
        assert len(set(ids)) == len(ids)

    @given(st.data())
    def test_a_finding_keeps_its_id_whatever_else_changes(self, data: st.DataObject) -> None:
        cloud = data.draw(hostile_clouds())
        later = replace(cloud.settings, now=NOW + data.draw(st.timedeltas(timedelta(0), timedelta(days=900))))
        tomorrow = replace(data.draw(clouds(first=20)) + cloud, settings=later)
        assert {each.id for each in cloud.audit()} <= {each.id for each in tomorrow.audit()}

    def test_what_comes_twice_hides_nothing_behind_it(self) -> None:
        stuck, of_stuck = BREAKS["image-stuck"]
        assert replace(stuck, images=(image(1, locations=()),) * 2 + stuck.images).audit() == [of_stuck]
        writable, of_writable = BREAKS["not-read-only"]
        anybodys = volume(2, says={"glance_image_id": None})
        assert replace(writable, volumes=(anybodys,) * 2 + writable.volumes).audit() == [of_writable]

    def test_a_location_that_names_no_volume_hides_none_behind_it(self) -> None:
        located = image(locations=(ImageLocation("file:///x"), *image().locations))
        assert [each.kind for each in Cloud(images=(located,)).audit()] == ["location-without-volume"]


class TestRepair:
    """Repairs never touch an object that is not named in the finding; what is not sure is looked at again first."""

    @given(st.data())
    def test_a_repair_touches_only_what_its_finding_names(self, data: st.DataObject) -> None:
        for each in data.draw(hostile_clouds()).audit():
            assert {every.subject for every in each.repair} <= set(each.subjects)
            again = [every.subject for every in each.repair if every.action is RepairAction.LOOK_AGAIN]
            assert again == (list(each.subjects) if each.certainty is LIKELY and each.repair else [])
            assert [every.action for every in each.repair[: len(again)]] == [RepairAction.LOOK_AGAIN] * len(again)

    def test_the_last_location_is_not_removed_nor_one_when_all_are_lost(self) -> None:
        two = one(stores=("fast", "fast"))
        second = volume(1000)
        found = replace(two, volumes=(second,)).audit()
        assert [each.repair for each in found] == [(step("remove-location", IMAGE, url=URL),)]
        found = replace(two, volumes=()).audit()
        assert [each.repair for each in found] == [(step("delete-image", IMAGE),)] * 2
        elsewhere = image(locations=(ImageLocation(URL, {"store": "fast"}), ImageLocation("file:///x")))
        assert [each.repair for each in Cloud(images=(elsewhere,)).audit()] == [
            (step("remove-location", IMAGE, url=URL),)
        ]

    def test_a_location_of_altered_data_is_removed_where_another_one_serves(self) -> None:
        check = DeepCheck(volume_id=uuid(0), size_bytes=1, digest=Digest("sha512", "cd"))
        cloud = Cloud(images=(image(stores=("fast", "fast")),), volumes=(volume(), volume(1000)), checks=(check,))
        assert [each.repair for each in cloud.audit()] == [(step("remove-location", IMAGE, url=URL),)]

    def test_data_that_is_not_of_the_recorded_blake3_is_found_in_an_image_without_a_multihash(self) -> None:
        check = DeepCheck(volume_id=uuid(0), size_bytes=1, digest=Digest("blake3", "0c" * 32), recorded=BLAKE3)
        (found,) = one(digest=None, checks=(check,)).audit()
        said = f"the volume's digest is blake3:{'0c' * 32}, and blake3:{'0b' * 32} was recorded"
        assert (found.kind, found.text) == ("content-differs", said)

    @pytest.mark.parametrize(
        "cloud, repair",
        [
            *(
                (
                    one(held=volume(project_id="theirs"), visibility=visibility),
                    (step("look-again", IMAGE), step("look-again", VOLUME), step("deactivate-image", IMAGE)),
                )
                for visibility in ("private", "shared")
            ),
            *(
                (one(held=volume(project_id="theirs"), visibility=visibility), ())
                for visibility in ("public", "community", None)  # which other projects use
            ),
            (
                one(size_bytes=GIB + 1, held=volume(says={"image_size": str(GIB + 1)})),
                (step("deactivate-image", IMAGE),),
            ),
            (one(held=volume(volume_type="hdd")), ()),  # of two stores, which?
            (one(held=volume(volume_type="tape")), ()),
            (Cloud(images=BOTH.images, volumes=(volume(says={"glance_image_id": None}),)), ()),
            (Cloud(images=BOTH.images, volumes=(volume(says={"glance_image_id": "image-9"}),)), ()),
            (Cloud(volumes=(half_stored(project_id="theirs"),)), ()),  # a user may have written it
            (Cloud(volumes=(half_stored(created_at=None),)), BREAKS["left-unfinished"][1].repair),
            (
                Cloud(volumes=(volume(says=UNSAID | {HOLD: "a"}, project_id="theirs"),)),
                (),  # a user may have written it
            ),
        ],
    )
    def test_a_repair_waits_for_a_fact_or_a_person_where_one_must_decide(
        self, cloud: Cloud, repair: tuple[RepairStep, ...]
    ) -> None:
        assert [each.repair for each in cloud.audit()] == [repair]

    @given(st.data())
    def test_bytes_come_back_only_where_a_volume_or_a_file_is_deleted(self, data: st.DataObject) -> None:
        cloud = data.draw(hostile_clouds())
        sizes = {each.entry.volume_id: each.entry.size_gib * GIB for each in cloud.templates}
        sizes |= {each.id: each.size_gib * GIB for each in cloud.volumes}
        sizes |= {each.subject.id: each.size_bytes for each in cloud.files}
        deletes = (RepairAction.DELETE_VOLUME, RepairAction.DELETE_FILE)
        for each in cloud.audit():
            deleted = [every.subject.id for every in each.repair if every.action in deletes]
            assert each.reclaimable_bytes == sum(sizes[about] for about in deleted)

    def test_the_bytes_of_a_volume_that_is_deleted_for_two_reasons_count_once(self) -> None:
        both = half_stored(metadata={"image_id": "i", **half_stored().metadata})
        found = Cloud(volumes=(both, volume(1))).audit()
        assert sorted(each.kind for each in found) == ["image-volume-without-image"] * 2 + ["left-unfinished"]
        assert [total_reclaimable_bytes(found), total_reclaimable_bytes([])] == [2 * GIB, 0]

    def test_a_mend_that_is_left_to_a_person_gives_nothing_back(self) -> None:
        (found,) = Cloud(volumes=(half_stored(project_id="theirs"),)).audit()
        assert (found.repair, found.reclaimable_bytes) == ((), 0)

    def test_a_finding_can_be_given_as_json(self) -> None:
        assert BREAKS["size-differs"][1].as_dict() == {
            "id": "51d80d950b5c",
            "rule": "size-differs",
            "certainty": "sure",
            "subjects": [{"kind": "image", "id": "image-0"}, {"kind": "volume", "id": uuid(0)}],
            "since": "2026-01-30T12:00:00+00:00",
            "reclaimable_bytes": 0,
            "text": f"the image has {GIB - 7} bytes, its volume 1 GiB and image_size 5",
            "repair": [
                {
                    "action": "set-metadata",
                    "subject": {"kind": "volume", "id": uuid(0)},
                    "arguments": {"image_size": str(GIB - 7)},
                }
            ],
        }
        assert BREAKS["cache-entry-without-volume"][1].as_dict()["since"] is None

    def test_two_locations_that_name_one_volume_are_two_findings(self) -> None:
        urls = [f"cinder://{uuid(0)}", URL]
        both = image(locations=tuple(map(ImageLocation, urls)))
        one_url = image(locations=(ImageLocation(urls[0]),))
        found = Cloud(images=(both,)).audit()
        assert [each.kind for each in found] == ["location-without-volume"] * 2
        assert found[0].id == Cloud(images=(one_url,)).audit()[0].id != found[1].id

    def test_a_finding_can_be_shown(self) -> None:
        assert str(BREAKS["size-differs"][1]) == (
            f"size-differs (image image-0, volume {uuid(0)}), sure: "
            f"the image has {GIB - 7} bytes, its volume 1 GiB and image_size 5"
        )
        assert str(step("set-metadata", VOLUME, image_size="5")) == f"set-metadata volume {uuid(0)} image_size='5'"
        assert str(step("delete-volume", VOLUME)) == f"delete-volume {uuid(0)}"


class TestUnknown:
    """Nothing unknown (None, no answer) is ever reported as sure."""

    @given(st.data())
    def test_a_consistent_cloud_of_which_less_is_known_has_nothing_sure(self, data: st.DataObject) -> None:
        cloud = data.draw(clouds())
        less = incomplete(data.draw(forgotten(cloud)))
        assert [each for each in less.audit() if each.certainty is SURE] == []

    @pytest.mark.parametrize(
        "cloud, kind, certainty",
        [
            (incomplete(replace(GOOD, volumes=())), "location-without-volume", LIKELY),
            (incomplete(Cloud(volumes=(volume(),))), "image-volume-without-image", LIKELY),
            (Cloud(volumes=(volume(project_id="theirs"),)), "image-volume-without-image", LIKELY),
            (Cloud(volumes=(volume(project_id=None),)), "image-volume-without-image", LIKELY),
            (Cloud(volumes=(volume(status="creating"),)), "image-volume-without-image", LIKELY),
            (Cloud(volumes=(volume(status=None),)), "image-volume-without-image", LIKELY),
            (Cloud(volumes=(volume(status="error"),)), "image-volume-without-image", SURE),
            (
                Cloud(volumes=(volume(source_volume_id=uuid(7)),)),
                "image-volume-without-image",
                LIKELY,  # Cinder clones what a user wrote
            ),
            (
                Cloud(volumes=(volume(),), settings=replace(SETTINGS, delayed_delete=True)),
                "image-volume-without-image",
                LIKELY,  # Glance may give the image back
            ),
            (
                Cloud(
                    images=(image(locations=(ImageLocation("file:///x"),)),),
                    volumes=(volume(),),
                    settings=replace(SETTINGS, delayed_delete=True),
                ),
                "image-volume-without-image",
                SURE,
            ),
            (
                Cloud(volumes=(volume(says={"glance_image_id": None, "image_id": "i"}),)),
                "image-volume-without-image",
                SURE,
            ),
            (
                Cloud(
                    images=(image(3, locations=(ImageLocation("cinder://FAST/x"),)),),
                    volumes=(volume(),),
                ),
                "image-volume-without-image",
                LIKELY,  # that location may name it, to somebody
            ),
            (
                Cloud(images=(image(locations=(ImageLocation("file:///x"),)),), volumes=(volume(),)),
                "image-volume-without-image",
                SURE,
            ),
            (one(held=volume(readonly=None)), "not-read-only", LIKELY),
            (one(held=volume(says={"image_owner": None})), "owner-differs", LIKELY),
            (one(held=volume(project_id=None)), "owner-differs", LIKELY),
            (one(held=volume(project_id="theirs")), "owner-differs", LIKELY),  # the image may have been given away
            (one(held=volume(says={"image_size": None})), "size-differs", LIKELY),
            (one(held=volume(says={"image_size": "lots"})), "size-differs", SURE),
            (one(size_bytes=GIB + 1, held=volume(says={"image_size": None})), "size-differs", SURE),
            (Cloud(images=(image(status="queued", locations=()),)), "image-stuck", LIKELY),
            (Cloud(images=(image(status="importing", locations=(), updated_at=None),)), "image-stuck", LIKELY),
            (Cloud(images=(image(status="uploading", locations=()),)), "image-stuck", LIKELY),  # it may go on
            (
                replace(GOOD, attachments=(AuditedAttachment(id="a", volume_id=uuid(0)),)),
                "attachment-left-behind",
                LIKELY,
            ),
            (
                Cloud(attachments=(AuditedAttachment(id="a", volume_id=uuid(0)),)),
                "attachment-left-behind",
                SURE,  # of a volume that is gone
            ),
            (incomplete(replace(GOOD, entries=(entry(5),))), "cache-entry-without-volume", LIKELY),
            (replace(TEMPLATE, templates=(Template(entry=entry(5, digest=None)),)), "template-stale", LIKELY),
            (replace(TEMPLATE, templates=(Template(entry=entry(5, image_id="gone")),)), "template-stale", SURE),
            (
                incomplete(replace(TEMPLATE, templates=(Template(entry=entry(5, image_id="gone")),))),
                "template-stale",
                LIKELY,
            ),
        ],
    )
    def test_a_finding_is_less_sure_if_less_is_known(self, cloud: Cloud, kind: str, certainty: Certainty) -> None:
        assert [(each.kind, each.certainty) for each in cloud.audit()] == [(kind, certainty)]

    @pytest.mark.parametrize(
        "cloud",
        [
            one(held=volume(says={"glance_image_id": None})),  # a location names it
            Cloud(volumes=(volume(says={"glance_image_id": None}),), entries=(entry(0),)),
            Cloud(volumes=(volume(says={"glance_image_id": None}),), templates=(Template(entry=entry(0)),)),
            Cloud(volumes=(volume(),)),  # it names an image
            Cloud(images=(image(),)),  # a location names what was not listed
        ],
    )
    def test_an_attachment_counts_where_anything_says_that_its_volume_holds_an_image(self, cloud: Cloud) -> None:
        attached = incomplete(replace(cloud, attachments=(AuditedAttachment(id="a", volume_id=uuid(0), alive=False),)))
        found = [(each.kind, each.certainty) for each in attached.audit() if each.subjects[0] == ATTACHMENT]
        assert found == [("attachment-left-behind", SURE)]

    @pytest.mark.parametrize(
        "held, found",
        [
            (half_stored(), ["left-unfinished", "attachment-left-behind"]),
            (half_stored(project_id="of anyone"), ["left-unfinished"]),
            (volume(says=UNSAID), []),
            (volume(says={**UNSAID, **VolumeOrigin(procedure="add", image_id="i").to_volume(), **FINISHED}), []),
        ],
    )
    def test_an_attachment_counts_while_a_procedure_of_the_stores_fills_its_volume(
        self, held: Volume, found: list[str]
    ) -> None:
        left = AuditedAttachment(id="a", volume_id=uuid(0), alive=False)
        assert [each.kind for each in Cloud(volumes=(held,), attachments=(left,)).audit()] == found

    @pytest.mark.parametrize(
        "named, catalogue, expected",
        [
            ("fast", None, []),
            ("gone", None, []),
            ("gone", CATALOGUE, [SURE]),
            ("gone", replace(CATALOGUE, multi=False), []),
            (None, CATALOGUE, []),  # of the single-store days
            ("untyped", CATALOGUE, [LIKELY]),
            ("untyped", replace(CATALOGUE, default_volume_type="ssd"), []),
            ("untyped", replace(CATALOGUE, default_volume_type="hdd"), [SURE]),
        ],
    )
    def test_a_location_is_compared_with_what_is_known_of_its_store(
        self, named: str | None, catalogue: StoreCatalogue | None, expected: list[Certainty]
    ) -> None:
        if named == "untyped" and catalogue:
            catalogue = replace(catalogue, stores=(*catalogue.stores, Store(name="untyped", kind="cinder")))
        found = replace(one(stores=(named,)), catalogue=catalogue).audit()
        assert [(each.kind, each.certainty) for each in found] == [("store-differs", sure) for sure in expected]

    @pytest.mark.parametrize("catalogue", [None, CATALOGUE, replace(CATALOGUE, multi=False), UNTYPED])
    def test_url_and_metadata_that_disagree_are_enough(self, catalogue: StoreCatalogue | None) -> None:
        located = image(locations=(ImageLocation(URL, {"store": "fast2"}),))
        for held in (volume(), volume(volume_type=None)):
            found = Cloud(images=(located,), volumes=(held,), catalogue=catalogue).audit()
            assert [(each.kind, each.certainty, each.text) for each in found] == [
                ("store-differs", SURE, "the URL names store 'fast', the metadata 'fast2'")
            ]

    def test_a_type_that_is_not_known_tells_nothing(self) -> None:
        assert one(held=volume(volume_type=None), stores=("fast2",)).audit() == []


def attached(at: datetime | None, **changes: Any) -> Cloud:
    """A cloud of an image whose volume has an attachment."""
    return replace(
        GOOD, attachments=(AuditedAttachment(id="a", volume_id=uuid(0), host="node", attached_at=at, **changes),)
    )


class TestWhatIsNoFault:
    """What looks like a fault, and is none, or belongs to another kind."""

    @pytest.mark.parametrize(
        "cloud",
        [
            Cloud(volumes=(volume(says={"glance_image_id": None}, readonly=None),)),  # anybody's
            Cloud(images=(image(locations=()),), volumes=(volume(),)),  # that may not be seen
            Cloud(images=(image(status="queued", locations=(), updated_at=NOW),), volumes=(volume(),)),
            Cloud(images=(image(status="saving", updated_at=NOW - timedelta(days=1), locations=()),)),
            one(held=volume(says={"image_size": None}), size_bytes=GIB),
            one(size_bytes=None),
            one(digest=None, checks=(DeepCheck(volume_id=uuid(0), size_bytes=1, digest=Digest("sha512", "cd")),)),
            one(checks=(DeepCheck(volume_id=uuid(0), size_bytes=1, digest=Digest("md5", "cd"), tail_is_zero=True),)),
            one(checks=(DeepCheck(volume_id=uuid(0), size_bytes=1, digest=BLAKE3, recorded=BLAKE3),)),
            Cloud(
                volumes=(volume(9, says={"glance_image_id": None}),),
                attachments=(AuditedAttachment(id="a", volume_id=uuid(9)),),
            ),
            replace(GOOD, attachments=(AuditedAttachment(id="a", volume_id=uuid(0), alive=True),)),
            incomplete(Cloud(attachments=(AuditedAttachment(id="a", volume_id=uuid(9), alive=False),))),
            replace(TEMPLATE, templates=(Template(entry=entry(5, digest=None), being_made_for=timedelta(1)),)),
            replace(GOOD, volumes=(*GOOD.volumes, volume(5)), entries=(entry(5),)),  # kept, and no location's
            one(locations=image().locations * 2),
            one(held=volume(project_id="ours", says={"image_owner": None})),
            Cloud(volumes=(half_stored(created_at=NOW - timedelta(hours=1)),)),
            Cloud(volumes=(half_stored(status="deleting"),)),
            Cloud(volumes=(volume(status="deleting"),)),
            attached(NOW - SETTINGS.stuck_after),
            replace(TEMPLATE, volumes=(volume(), half_stored(number=5))),
            Cloud(images=(image(),), volumes=(volume(), template_volume())),
        ],
    )
    def test_what_is_no_fault_is_not_found(self, cloud: Cloud) -> None:
        assert cloud.audit() == []

    def test_an_attachment_that_is_too_old_for_a_transfer_is_told(self) -> None:
        (found,) = attached(NOW - timedelta(days=2)).audit()
        assert (found.kind, found.certainty, found.since) == (
            "attachment-left-behind",
            LIKELY,
            NOW - timedelta(days=2),
        )
        assert found.text == (
            "it is not known whether its process runs; host 'node'; it was attached 2 days before the audit; "
            "only likely, because this host cannot tell whether its process runs"
        )
        (found,) = attached(NOW, alive=False).audit()
        assert found.certainty is SURE

    def test_an_image_whose_time_is_in_the_future_is_not_stuck(self) -> None:
        late = image(status="saving", updated_at=NOW - timedelta(days=1, microseconds=1), locations=())
        assert [each.kind for each in Cloud(images=(late,)).audit()] == ["image-stuck"]

    def test_a_missing_volume_of_two_images_is_of_two_images(self) -> None:
        found = replace(BOTH, volumes=()).audit()
        assert sorted(each.kind for each in found) == ["location-without-volume"] * 2 + ["volume-in-two-images"]
        assert [each.repair for each in found if each.kind == "volume-in-two-images"] == [()]

    def test_an_attachment_of_a_volume_that_is_gone_is_not_disconnected(self) -> None:
        (found,) = Cloud(attachments=(AuditedAttachment(id="a", volume_id=uuid(0), alive=True),)).audit()
        assert found.repair == (step("delete-attachment", ATTACHMENT),)
        assert found.text == f"its volume {uuid(0)} is not among the volumes"

    def test_a_template_of_an_image_that_is_gone_is_not_made_again(self) -> None:
        (found,) = replace(TEMPLATE, templates=(Template(entry=entry(5, image_id="gone")),)).audit()
        assert found.repair == (step("delete-volume", KEPT),)
        assert found.text == "its image gone is not among the images"

    def test_a_template_that_was_only_found_among_the_volumes_is_looked_at_after_them(self) -> None:
        order: list[str] = []

        def volumes() -> Iterator[Volume]:
            order.append("volumes")
            yield volume()

        def templates() -> Iterator[tuple[Template, Image | None]]:
            order.append("templates")
            yield Template(entry=entry(5)), image()
            yield Template(entry=entry(6)), None

        found = list(audit(images=[image()], volumes=volumes(), templates_seen=templates(), settings=SETTINGS))
        assert order == ["volumes", "templates"]
        assert [(each.kind, each.subjects[0].id) for each in found] == [("template-stale", uuid(6))]

    def test_a_volume_that_a_user_calls_a_template_is_none(self) -> None:
        written = template_volume(project_id="theirs", metadata={"imagevol_template": "i", "glance_image_id": "i"})
        assert [each.kind for each in Cloud(volumes=(written,)).audit()] == ["image-volume-without-image"]

    def test_a_template_that_can_be_written_is_found(self) -> None:
        found = Cloud(images=(image(),), volumes=(volume(), template_volume(readonly=False))).audit()
        assert [each.kind for each in found] == ["not-read-only"]

    def test_a_template_that_is_in_the_making_for_too_long_is_likely_left(self) -> None:
        making = Template(entry=entry(5), being_made_for=timedelta(days=1, seconds=1))
        (found,) = replace(TEMPLATE, templates=(making,)).audit()
        assert (found.kind, found.certainty, found.repair, found.reclaimable_bytes) == ("template-stale", LIKELY, (), 0)
        assert found.text == f"it has been in the making for 24 hours; only likely, because {RUNS}"
        assert found.since == NOW - timedelta(days=1, seconds=1)
        assert replace(TEMPLATE, images=(), volumes=(), templates=(making,)).audit()[0].certainty is LIKELY

    def test_a_template_that_may_be_stale_says_what_is_not_known(self) -> None:
        kept = entry(5, digest=None, image_updated_at=NOW)
        (found,) = replace(TEMPLATE, templates=(Template(entry=kept),)).audit()
        verdicts = decide_freshness(image(), entry=kept).verdicts
        assert verdicts[-1].text != verdicts[0].text
        assert found.text == f"{verdicts[-1].text}; only likely, because the data of the image may be the same"

    def test_incomplete_listings_are_told(self) -> None:
        cloud = Cloud(
            images=(image(),),
            volumes=(volume(7),),
            entries=(entry(5),),
            templates=(Template(entry=entry(6, image_id="gone")),),
        )
        only, of_images = "only likely, because", "the credentials do not show all images"
        of_volumes = "the credentials do not show all volumes"
        assert sorted(each.text for each in incomplete(cloud).audit()) == [
            f"{LOST}: it is not among the volumes that were listed; {only} {of_volumes}",
            f"it names image 'image-7', which is not among the images that were listed; {only} {of_images}",
            f"its image gone is not among the images that were listed; {only} {of_images}",
            f"its volume is not among the volumes that were listed; {only} {of_volumes}",
        ]

    def test_what_is_recorded_of_another_image_is_told(self) -> None:
        (found,) = Cloud(images=(image(locations=(ImageLocation("file:///x"),)),), volumes=(volume(),)).audit()
        assert found.text == "it names image 'image-0', whose locations are known and are others"

    def test_what_is_not_recorded_is_told(self) -> None:
        (found,) = one(held=volume(says={"image_size": None})).audit()
        assert (
            found.text
            == f"the image has {GIB - 7} bytes, its volume 1 GiB and no image_size, so that all of it is read; only "
            "likely, because the volume does not say how much of it is the image"
        )
        (found,) = one(size_bytes=GIB + 1).audit()
        assert found.text == f"the image has {GIB + 1} bytes, its volume 1 GiB"

    def test_metadata_that_makes_no_sense_is_shown_in_the_finding(self) -> None:
        (found,) = one(held=volume(says={"image_size": "lots"})).audit()
        assert found.text == (
            f"the image has {GIB - 7} bytes, its volume 1 GiB; "
            "volume metadata image_size='lots': it is not a number of bytes"
        )


class TestSentences:
    """Also a rule that holds says why, though a finding is made only of one that does not."""

    CLAIM = Claim(
        image_id="i",
        owner=None,
        size_bytes=None,
        digest=None,
        url=URL,
        url_store="fast",
        said_store="fast",
        others=0,
    )
    ANYBODYS = ImageVolume(
        volume=volume(),
        recorded=None,
        claimed=False,
        kept=False,
        image_known=False,
        image_settled=False,
        all_read=True,
        check=None,
        settings=SETTINGS,
    )

    def test_the_sentences_about_an_image_say_what_was_found(self) -> None:
        assert texts(IMAGE_RULES, Watched(image=image(), settings=SETTINGS)) == {"image-stuck": "it is 'active'"}

    def test_the_sentences_about_a_location_say_what_was_found(self) -> None:
        placement = ClaimedVolume(
            claim=self.CLAIM, volume_id=uuid(0), found=volume(), check=None, catalogue=CATALOGUE, settings=SETTINGS
        )
        assert texts(CLAIM_RULES, placement) == {
            "location-without-volume": f"{LOST}: it is there",
            "owner-differs": "the image belongs to not known and its volume's owner is 'ours'",
            "size-differs": "the image's size is not known",
            "store-differs": (
                "the URL names store 'fast', the metadata 'fast'; the stores of its type 'ssd' are 'fast'"
            ),
            "content-differs": "the image's digest is not known, the volume's not known",
        }

    def test_the_sentences_about_a_volume_say_what_was_found(self) -> None:
        assert texts(IMAGE_VOLUME_RULES, self.ANYBODYS) == {
            "image-volume-without-image": "it names no image",
            "left-unfinished": "no procedure is creating it",
            "hold-left": "no operation holds it",
            "not-read-only": "nothing depends on its content",
            "record-differs": "its data was not compared with what it records",
            "tail-not-zero": "its tail was not read",
        }
        for held in (replace(self.ANYBODYS, claimed=True), replace(self.ANYBODYS, kept=True)):
            named = texts(IMAGE_VOLUME_RULES, held)
            assert named["image-volume-without-image"] == "an image's location, the cache or a template names it"
            assert named["not-read-only"] == "it is read-only"
        check = DeepCheck(volume_id=uuid(0), size_bytes=1, digest=BLAKE3)
        compared = replace(self.ANYBODYS, check=replace(check, recorded=BLAKE3))
        told = f"its digest is {BLAKE3}, and it records {BLAKE3}"
        assert texts(IMAGE_VOLUME_RULES, compared)["record-differs"] == told
        other = replace(compared, claimed=True, check=replace(check, recorded=Digest("sha512", "ab")))
        assert texts(IMAGE_VOLUME_RULES, other)["record-differs"] == "an image's location names it"
        bare = replace(self.ANYBODYS, check=check)
        told = "its data was not compared with what it records"
        assert texts(IMAGE_VOLUME_RULES, bare)["record-differs"] == told

    def test_the_sentences_about_cached_volumes_and_attachments_say_what_was_found(self) -> None:
        kept = Entry(entry=entry(5), listed=True, settings=SETTINGS)
        assert texts(ENTRY_RULES, kept) == {"cache-entry-without-volume": "its volume is among the volumes"}
        held = Held(
            attachment=AuditedAttachment(id="a", volume_id="v"), holds_image=False, listed=True, settings=SETTINGS
        )
        assert texts(ATTACHMENT_RULES, held) == {
            "attachment-left-behind": "its volume is not known to hold an image, or to be filled with one"
        }
        running = replace(held, holds_image=True, attachment=replace(held.attachment, host="node", alive=True))
        assert texts(ATTACHMENT_RULES, running) == {"attachment-left-behind": "its process runs; host 'node'"}

    def test_the_sentences_about_an_unfinished_volume_say_what_was_found(self) -> None:
        limit = NOW - SETTINGS.stuck_after
        assert "left-unfinished" not in {each.kind for each in Cloud(volumes=(half_stored(created_at=limit),)).audit()}
        (found,) = [
            each for each in Cloud(volumes=(half_stored(created_at=None),)).audit() if each.kind == "left-unfinished"
        ]
        assert found.text == (f"procedure add has not finished, and its age is not known; only likely, because {RUNS}")

    def test_the_sentences_about_a_template_say_what_was_found(self) -> None:
        fresh = Templated(template=Template(entry=entry(5)), image=image(), settings=SETTINGS)
        assert texts(TEMPLATE_RULES, fresh) == {"template-stale": "the image's multihash is still sha512:ab"}
        making = replace(fresh, template=Template(entry=entry(5), being_made_for=timedelta(0)))
        assert texts(TEMPLATE_RULES, making) == {"template-stale": "it is being made"}


def texts(rules: Mapping[Policy, tuple[AuditRule[Any], ...]], facts: object) -> dict[str, str]:
    """What each rule says of facts of which all hold."""
    verdicts = evaluate(rules[Policy.STRICT], facts)
    assert failed(verdicts) == ()
    return {verdict.rule: verdict.text for verdict in verdicts}


class TestFacts:
    """Facts that cannot be are refused."""

    def test_a_time_names_an_instant(self) -> None:
        with pytest.raises(InvalidFact, match=r"AuditSettings\.now: 2026-03-01T12:00:00 has no time zone; give one"):
            AuditSettings(now=NOW.replace(tzinfo=None))
        with pytest.raises(InvalidFact, match=r"AuditedAttachment\.attached_at: 2026-03-01T12:00:00 has no time zone"):
            AuditedAttachment(id="a", volume_id="v", attached_at=NOW.replace(tzinfo=None))

    def test_a_file_has_a_size_and_a_time(self) -> None:
        with pytest.raises(InvalidFact, match=r"LeftFile\.changed_at: 2026-03-01T12:00:00 has no time zone"):
            replace(FILE, changed_at=NOW.replace(tzinfo=None))
        assert replace(FILE, size_bytes=0).size_bytes == 0
        with pytest.raises(InvalidSize, match=r"\ALeftFile\.size_bytes is -1: give a size of 0 or more\Z"):
            replace(FILE, size_bytes=-1)

    def test_a_negative_number_of_bytes_read_is_refused(self) -> None:
        with pytest.raises(InvalidSize, match=r"DeepCheck\.size_bytes is -1: give a size of 0 or more"):
            DeepCheck(volume_id="v", size_bytes=-1)
        assert DeepCheck(volume_id="v", size_bytes=0).tail_is_zero is None

    def test_the_settings_of_most_operators_are_the_defaults(self) -> None:
        assert AuditSettings(now=NOW) == AuditSettings(
            now=NOW,
            stuck_after=timedelta(hours=24),
            trusted_projects=frozenset(),
            images_complete=False,
            volumes_complete=False,
            delayed_delete=False,
            shown=frozenset(),
            only_glance=False,
        )


class TestLinear:
    """Linear, and not holding what it joins: images and volumes go by one at a time."""

    def test_an_audit_keeps_no_image_and_no_volume_in_memory(self) -> None:
        most = 0

        def counted(make: Callable[[int], Any], kind: type[Image | Volume]) -> Iterator[Any]:
            nonlocal most
            for number in range(12):
                yield make(number)
                most = max(most, sum(isinstance(each, kind) for each in gc.get_objects()) - before[kind])

        before = {kind: sum(isinstance(each, kind) for each in gc.get_objects()) for kind in (Image, Volume)}
        found = audit(images=counted(image, Image), volumes=counted(volume, Volume), settings=SETTINGS)
        assert list(found) == []
        assert most <= 2


@st.composite
def clouds(draw: DrawFn, *, first: int = 0) -> Cloud:
    """Consistent clouds, whose images and volumes begin with this number."""
    cloud = Cloud(settings=replace(SETTINGS, images_complete=True))
    for number in range(first, first + draw(st.integers(0, 4))):
        cloud += draw(consistent(number))
    return cloud


@st.composite
def consistent(draw: DrawFn, number: int) -> Cloud:
    """An image with what belongs to it, as it should be."""
    digest = draw(st.none() | st.sampled_from([Digest("sha512", "ab"), Digest("SHA256", "0f")]))
    stores = draw(st.sampled_from([("fast",), (None,), ("fast", "twin"), ("fast2",), ()]))
    types = {"fast": "ssd", None: draw(st.sampled_from(["ssd", "tape", None]))}
    size_gib = draw(st.sampled_from([1, 2, 8]))
    size = draw(st.sampled_from([size_gib * GIB, size_gib * GIB - 1, 0]))
    made = image(
        number,
        stores=stores,
        size_bytes=size,
        digest=digest,
        owner=draw(st.sampled_from(["ours", "theirs"])),
        status=draw(st.sampled_from(["active", "deactivated", "active"])),
    )
    if draw(st.booleans()):
        made = replace(made, locations=(*made.locations, ImageLocation("file:///x", {"store": "local"})))
    volumes = []
    for at, store in enumerate(stores):
        in_store = draw(st.booleans())
        says = {"image_size": str(size), "image_owner": made.owner if in_store else "anybody"}
        volumes.append(
            volume(
                number + 1000 * at,
                says=says,
                project_id="stores" if in_store else made.owner,
                size_gib=size_gib,
                volume_type=types.get(store, "hdd"),
                metadata={"image_id": made.id} | says,
            )
        )
    checks = [
        DeepCheck(volume_id=each.id, size_bytes=size, digest=digest, tail_is_zero=True)
        for each in volumes
        if draw(st.booleans())
    ]
    attachments = [AuditedAttachment(id=f"of-{each.id}", volume_id=each.id, alive=True) for each in volumes]
    kept = volume(number + 5000, says={"glance_image_id": None})
    known = {"image_id": made.id, "image_updated_at": made.updated_at, "digest": digest}
    templates, entries = (), ()
    way = draw(st.sampled_from(["none", "cache", "template"]))
    if way == "cache":
        entries = (entry(number + 5000, **known),)  # type: ignore[assignment]
    elif way == "template":
        templates = (Template(entry=entry(number + 5000, **known)),)  # type: ignore[assignment]
    return Cloud(
        images=(made,),
        volumes=(*volumes, *([] if way == "none" else [kept])),
        attachments=tuple(attachments),
        entries=entries,
        templates=templates,
        checks=tuple(checks),
    )


@st.composite
def forgotten(draw: DrawFn, cloud: Cloud) -> Cloud:
    """The same cloud, of which less is known."""

    def some(rows: tuple[Any, ...], facts: list[str]) -> tuple[Any, ...]:
        kept = [row for row in rows if draw(st.integers(0, 9))]
        return tuple(replace(row, **dict.fromkeys(draw(st.sets(st.sampled_from(facts))))) for row in kept)

    volumes = some(cloud.volumes, ["project_id", "volume_type", "readonly", "status"])
    volumes = tuple(
        replace(each, metadata={key: value for key, value in each.metadata.items() if draw(st.integers(0, 3))})
        for each in volumes
    )
    images = some(cloud.images, ["status", "owner", "size_bytes", "digest", "updated_at"])
    images = tuple(replace(each, locations=each.locations if draw(st.integers(0, 3)) else ()) for each in images)
    return replace(
        cloud,
        images=images,
        volumes=volumes,
        attachments=some(cloud.attachments, ["alive", "host"]),
        checks=some(cloud.checks, ["digest", "tail_is_zero"]),
        entries=some(cloud.entries, ["digest", "image_updated_at", "last_used"]),
        catalogue=draw(st.sampled_from([cloud.catalogue, None])),
    )


@st.composite
def hostile_clouds(draw: DrawFn) -> Cloud:
    """Clouds in which anything may be wrong, also several things at once."""
    cloud = draw(clouds(first=10))
    for kind in draw(st.sets(st.sampled_from(sorted(BREAKS)), max_size=4)):
        broken = BREAKS[kind][0]
        cloud += broken.each(partial(new_to, cloud))
    cloud = draw(forgotten(cloud))
    return draw(st.sampled_from([cloud, incomplete(cloud)]))


def new_to(cloud: Cloud, name: str, rows: tuple[Any, ...]) -> tuple[Any, ...]:
    """Those of the rows that the cloud's listing of that name has not."""
    known = {KEYS[name](row) for row in getattr(cloud, name)}
    return tuple(row for row in rows if KEYS[name](row) not in known)


KEYS: dict[str, Callable[[Any], str]] = {
    "images": lambda each: each.id,
    "volumes": lambda each: each.id,
    "attachments": lambda each: each.id,
    "entries": lambda each: each.volume_id,
    "templates": lambda each: each.entry.volume_id,
    "checks": lambda each: each.volume_id,
    "files": lambda each: each.path,
}


def test_on_real_services_every_rule_has_a_fault_that_is_planted() -> None:
    assert FAULTS.keys() == BREAKS.keys()


class TestLeft:
    """What a killed procedure left is found when it is old enough, and nothing shows that it is needed."""

    @pytest.mark.parametrize(
        "changes, certainty",
        [
            ({}, SURE),
            ({"in_use": None}, LIKELY),
            ({"in_use": True}, None),
            ({"changed_at": NOW - SETTINGS.stuck_after}, None),
        ],
    )
    def test_a_file_that_a_process_may_use_is_not_surely_left(
        self, changes: dict[str, Any], certainty: Certainty | None
    ) -> None:
        found = Cloud(files=(replace(FILE, **changes),)).audit()
        assert [each.certainty for each in found] == ([certainty] if certainty else [])

    @pytest.mark.parametrize(
        "changes, found",
        [
            ({"updated_at": NOW - SETTINGS.stuck_after}, 0),
            ({"updated_at": NOW}, 0),
            ({}, 1),
            ({"created_at": None}, 1),
        ],
    )
    def test_a_hold_is_left_when_nothing_has_changed_its_volume_for_long(
        self, changes: dict[str, Any], found: int
    ) -> None:
        kinds = [each.kind for each in one(held=volume(says={HOLD: "a-journal"}, **changes)).audit()]
        assert kinds == ["hold-left"] * found

    def test_what_two_locations_name_stays_held(self) -> None:
        """While one of them is removed, Glance would delete the volume of the other."""
        twice = image(locations=(*image().locations, ImageLocation(f"cinder://{uuid(0)}")))
        for images in ((twice,), BOTH.images):
            found = Cloud(images=images, volumes=(volume(says={HOLD: "a-journal"}),)).audit()
            assert [each.repair for each in found if each.kind == "hold-left"] == [()]

    def test_bytes_of_files_come_back_too(self) -> None:
        assert total_reclaimable_bytes(Cloud(files=(FILE, FILE)).audit()) == 4096
