"""What is missing is surely missing only where the listings show that Glance and Cinder belong together."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core import (
    GIB,
    Certainty,
    ImageLocation,
    RepairAction,
    Store,
    StoreCatalogue,
    Template,
    Volume,
    VolumeOrigin,
    audit,
)
from imagevol_core.auditing import decision
from tests.core.test_auditing import (
    NOW,
    SETTINGS,
    TEMPLATE,
    Cloud,
    entry,
    half_stored,
    hostile_clouds,
    image,
    one,
    uuid,
    volume,
)

SURE, LIKELY = Certainty.SURE, Certainty.LIKELY
BLIND = replace(SETTINGS, shown=frozenset())  # of an audit that begins
HEALTHY = Cloud(images=(image(10),), volumes=(volume(10),))  # of store fast
LOST = Cloud(images=(image(),))
ORPHAN = Cloud(volumes=(volume(),))
REGION = (
    "; only likely, because no location of store 'fast' has its volume in a trusted project of this Cinder: check the "
    "region, --os-region-name and --trusted-project"
)
GLANCE = (
    "; only likely, because no image of this Glance names a volume of type 'ssd' in that project: check that it is "
    "the Glance of these volumes, and --os-region-name"
)


def begun(cloud: Cloud) -> Cloud:
    return replace(cloud, settings=replace(cloud.settings, shown=frozenset()))


def elsewhere(**changes: Any) -> Cloud:
    """A healthy image of another store."""
    return Cloud(images=(image(10, stores=("fast2",)),), volumes=(volume(10, **{"volume_type": "hdd"} | changes),))


def test_a_volume_is_surely_lost_where_another_location_of_its_store_has_its_volume() -> None:
    (found,) = begun(LOST + HEALTHY).audit()
    assert (found.kind, found.certainty) == ("location-without-volume", SURE)
    assert [step.action for step in found.repair] == [RepairAction.DELETE_IMAGE]


@pytest.mark.parametrize(
    "beside",
    [
        Cloud(),
        elsewhere(),
        Cloud(volumes=(volume(10, says={"glance_image_id": None}),)),  # a Cinder of another region
        Cloud(images=HEALTHY.images, volumes=(volume(10, project_id="ours"),)),  # a user may have written it
        Cloud(images=HEALTHY.images, volumes=(volume(10, says={"glance_image_id": None}),)),
    ],
)
def test_where_no_location_of_its_store_has_its_volume_a_person_decides(beside: Cloud) -> None:
    (found,) = [each for each in begun(LOST + beside).audit() if each.subjects[0].id == "image-0"]
    assert (found.kind, found.certainty, found.repair) == ("location-without-volume", LIKELY, ())
    assert found.text.endswith(REGION)


def test_a_location_of_another_store_is_not_removed() -> None:
    two = Cloud(images=(image(stores=("fast", "fast2")),), volumes=(volume(),))
    (found,) = begun(two).audit()
    assert (found.subjects[1].id, found.certainty, found.repair) == (uuid(1000), LIKELY, ())


def test_locations_without_a_store_are_shown_by_others_without_one() -> None:
    lost = Cloud(images=(image(stores=(None,)),))
    (found,) = begun(lost + HEALTHY).audit()
    assert (found.certainty, found.repair) == (LIKELY, ())
    assert "no location without a store has" in found.text
    (found,) = begun(lost + Cloud(images=(image(10, stores=(None,)),), volumes=(volume(10),))).audit()
    assert found.certainty is SURE


def test_what_was_shown_is_kept_as_a_few_texts() -> None:
    shown = set[str]()
    held = HEALTHY + Cloud(images=(image(11, stores=(None,)),), volumes=(volume(11),))
    list(audit(images=held.images, volumes=held.volumes, settings=BLIND, shown=shown))
    assert shown == {"no store", "store 'fast'", "place 'stores' 'ssd'"}


def test_of_a_location_that_names_two_stores_both_must_be_shown_and_it_shows_none() -> None:
    lost = Cloud(images=(image(locations=(ImageLocation(f"cinder://fast/{uuid(0)}", {"store": "fast2"}),)),))
    assert [each.certainty for each in begun(lost + HEALTHY).audit()] == [LIKELY]
    both = HEALTHY + Cloud(images=(image(11, stores=("fast2",)),), volumes=(volume(11, volume_type="hdd"),))
    assert [each.certainty for each in begun(lost + both).audit()] == [SURE]
    named = lost + ORPHAN + Cloud(images=(image(2),))
    assert ("location-without-volume", LIKELY) in {(each.kind, each.certainty) for each in begun(named).audit()}


def test_a_volume_is_surely_an_orphan_where_an_image_names_one_of_its_type_in_its_project() -> None:
    for cloud in (ORPHAN + HEALTHY, HEALTHY + ORPHAN):  # in either order
        (found,) = begun(cloud).audit()
        assert (found.kind, found.certainty) == ("image-volume-without-image", SURE)
        assert [step.action for step in found.repair] == [RepairAction.DELETE_VOLUME]


@pytest.mark.parametrize("beside", [Cloud(), elsewhere(), elsewhere(project_id="ours", volume_type="ssd")])
def test_where_no_image_names_a_volume_of_the_project_and_type_a_person_decides(beside: Cloud) -> None:
    found = [each for each in begun(ORPHAN + beside).audit() if each.subjects[0].id == uuid(0)]
    assert [(each.kind, each.certainty, each.repair) for each in found] == [("image-volume-without-image", LIKELY, ())]
    assert found[0].text.endswith(GLANCE)


def test_volumes_wait_for_what_is_shown_in_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "_MOST_WAITING", 1)
    found = begun(Cloud(volumes=(volume(1), volume(2))) + HEALTHY).audit()
    assert [(each.subjects[0].id, each.certainty) for each in found] == [(uuid(2), LIKELY), (uuid(1), SURE)]


def test_findings_come_in_the_order_of_the_volumes_unless_they_wait_for_what_is_shown() -> None:
    volumes = (volume(10), volume(7), half_stored(), volume(11, readonly=False), volume(8), volume(9, volume_type="x"))
    found = begun(Cloud(images=(image(10), image(11)), volumes=(volume(6, volume_type="x"), *volumes))).audit()
    assert [(each.kind, each.subjects[0].id) for each in found] == [
        ("image-volume-without-image", uuid(7)),
        ("left-unfinished", uuid(0)),
        ("not-read-only", uuid(11)),
        ("image-volume-without-image", uuid(8)),
        ("image-volume-without-image", uuid(6)),
        ("image-volume-without-image", uuid(9)),
    ]


def test_a_volume_that_is_kept_waits_for_nothing() -> None:
    volumes = (volume(7, readonly=False, volume_type="x"), volume(11, readonly=False))
    found = begun(Cloud(images=(image(11),), volumes=volumes, entries=(entry(7, image_id="image-7"),))).audit()
    assert [(each.kind, each.subjects[0].id) for each in found] == [
        ("not-read-only", uuid(7)),
        ("not-read-only", uuid(11)),
    ]


def test_two_images_that_name_a_lost_volume_name_it_once_each() -> None:
    named = image().locations
    found = begun(HEALTHY + Cloud(images=(image(), image(1, locations=named)))).audit()
    assert [each.url for each in found if each.kind == "location-without-volume"] == ["", ""]


def test_a_template_surely_lacks_its_image_where_anything_of_this_glance_is_shown() -> None:
    gone = Template(entry=entry(5, image_id="gone"))
    (found,) = begun(Cloud(templates=(gone,))).audit()
    assert (found.kind, found.certainty, found.repair) == ("template-stale", LIKELY, ())
    assert found.text.endswith(
        "; only likely, because no image of this Glance has a volume in a trusted project of this Cinder: check "
        "--os-region-name"
    )
    for beside in (HEALTHY, Cloud(images=(image(locations=()),), templates=(Template(entry=entry(6)),))):
        (found,) = begun(Cloud(templates=(gone,)) + beside).audit()
        assert (found.certainty, len(found.repair)) == (SURE, 1)
    assert begun(TEMPLATE).audit() == []


@pytest.mark.parametrize(
    "cloud",
    [
        ORPHAN + HEALTHY,
        Cloud(volumes=(half_stored(),)) + HEALTHY,
        Cloud(templates=(Template(entry=entry(5, image_id="gone")),)) + HEALTHY,
    ],
)
def test_where_another_glance_may_have_a_volume_nothing_is_sure_or_deleted_unless_the_operator_says_that_none_has(
    cloud: Cloud,
) -> None:
    (found,) = replace(cloud, settings=replace(SETTINGS, only_glance=False)).audit()
    assert (found.certainty, found.repair, found.reclaimable_bytes) == (LIKELY, (), 0)
    assert found.text.endswith("another Glance may have it in that project: if none has, pass --only-glance")
    (found,) = cloud.audit()
    assert found.repair[-1].action is RepairAction.DELETE_VOLUME
    assert "--only-glance" not in found.text


@pytest.mark.parametrize(
    "making, since",
    [
        (timedelta(days=2), NOW - timedelta(days=2)),
        (NOW - datetime.min.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)),
        (timedelta.max, None),
    ],
)
def test_a_template_is_stale_since_it_was_begun(making: timedelta, since: datetime | None) -> None:
    left = Template(entry=entry(5), being_made_for=making)
    (found,) = Cloud(images=(image(locations=()),), templates=(left,)).audit()
    assert (found.kind, found.since) == ("template-stale", since)


def test_templates_that_are_only_seen_show_that_the_glance_is_theirs() -> None:
    seen = [(Template(entry=entry(5, image_id="gone")), None), (Template(entry=entry(6)), image())]
    (found,) = audit(images=[], volumes=[], templates_seen=seen, settings=BLIND)
    assert (found.subjects[0].id, found.certainty) == (uuid(5), SURE)
    (found,) = audit(images=[], volumes=[], templates_seen=seen[:1], settings=BLIND)
    assert (found.certainty, found.repair) == (LIKELY, ())


@given(st.data())
def test_what_a_listing_has_shown_lets_an_audit_of_a_part_say_the_same(data: st.DataObject) -> None:
    cloud = begun(data.draw(hostile_clouds()))
    shown = set[str]()
    listings: dict[str, Any] = {"images": cloud.images, "volumes": cloud.volumes, "templates": cloud.templates}
    found = list(audit(settings=cloud.settings, shown=shown, **listings))
    again = list(audit(settings=replace(cloud.settings, shown=frozenset(shown)), **listings))
    assert sorted(map(repr, again)) == sorted(map(repr, found))


@given(st.data())
def test_the_text_of_a_likely_finding_says_why_it_is_only_likely(data: st.DataObject) -> None:
    cloud = data.draw(hostile_clouds())
    for each in data.draw(st.sampled_from([cloud, begun(cloud)])).audit():
        assert ("; only likely, because " in each.text) is (each.certainty is LIKELY)


def made(procedure: str, *, finished: bool = True, **changes: Any) -> Volume:
    origin = VolumeOrigin(procedure=procedure, image_id="image-0", finished=finished).to_volume()
    return volume(says={**origin}, **changes)


def test_a_disk_that_an_operator_put_into_a_volume_on_purpose_is_no_orphan() -> None:
    assert (HEALTHY + Cloud(volumes=(made("put"),))).audit() == []


@pytest.mark.parametrize(
    "cloud",
    [
        Cloud(volumes=(made("register"),)),  # by `put --register`
        Cloud(volumes=(made("add"),)),
        Cloud(images=(image(locations=(ImageLocation("file:///x"),)),), volumes=(made("put"),)),  # there is an image
    ],
)
def test_what_was_made_for_an_image_is_an_orphan_without_it(cloud: Cloud) -> None:
    assert [(each.kind, each.certainty) for each in cloud.audit()] == [("image-volume-without-image", SURE)]


def test_an_interrupted_put_is_left_unfinished() -> None:
    found = Cloud(volumes=(made("put", finished=False),)).audit()
    assert [each.kind for each in found] == ["image-volume-without-image", "left-unfinished"]


def test_a_volume_that_an_image_names_is_not_unfinished() -> None:
    assert one(held=made("repair", finished=False)).audit() == []


def copying(name: str = "os_glance_import_task", **changes: Any) -> Cloud:
    """Glance copies an image into another store, whose volume says at once what it is for."""
    copied = image(properties={name: "fast2"})
    return Cloud(images=(copied,), volumes=(volume(), volume(1000, readonly=False, **changes)))


@pytest.mark.parametrize("name", ["os_glance_import_task", "os_glance_importing_to_stores"])
@pytest.mark.parametrize("created_at", [NOW, NOW - SETTINGS.stuck_after, None])
def test_a_volume_into_which_glance_copies_is_no_orphan(name: str, created_at: Any) -> None:
    assert copying(name, created_at=created_at).audit() == []


def test_a_copy_that_takes_too_long_is_a_likely_orphan() -> None:
    (found,) = copying(created_at=NOW - timedelta(days=1, seconds=1)).audit()
    assert (found.certainty, found.reclaimable_bytes) == (LIKELY, GIB)
    assert found.text.endswith("; only likely, because Glance may still be copying the image")
    (found,) = copying("os_glance_failed_import", created_at=NOW - timedelta(days=2)).audit()
    assert found.certainty is SURE


@pytest.mark.parametrize(
    "created_at, why",
    [(NOW - SETTINGS.stuck_after, "it was created 1 day before the audit"), (None, "its age is not known")],
)
def test_a_volume_that_may_be_in_the_making_is_a_likely_orphan(created_at: Any, why: str) -> None:
    (found,) = Cloud(volumes=(volume(created_at=created_at),)).audit()
    assert (found.certainty, found.text.rpartition(", because ")[2]) == (LIKELY, why)


@pytest.mark.parametrize(
    "held, why",
    [
        (volume(project_id=None), "the project of the volume is not known"),
        (volume(project_id="theirs"), "an administrator may have given the image to another project"),
        (volume(says={"image_owner": None}), "the volume does not say whose it is"),
    ],
)
def test_what_is_not_known_of_the_owner_of_a_volume_is_told(held: Volume, why: str) -> None:
    (found,) = one(held=held).audit()
    assert found.text.rpartition("; only likely, because ")[2] == why


def test_a_store_without_a_volume_type_is_named() -> None:
    catalogue = StoreCatalogue(stores=(Store(name="untyped", kind="cinder"), Store(name="other", kind="cinder")))
    (found,) = replace(one(stores=("untyped",)), catalogue=catalogue).audit()
    assert found.text.endswith(
        "; only likely, because store 'untyped' names no volume type, and Cinder's default one is not known"
    )


def test_what_was_shown_of_a_store_is_enough_for_its_locations() -> None:
    cloud = replace(LOST, settings=replace(SETTINGS, shown=frozenset({"store 'fast'"})))
    assert [each.certainty for each in cloud.audit()] == [SURE]


def test_all_that_is_not_known_of_an_orphan_is_told() -> None:
    (found,) = Cloud(volumes=(volume(project_id="theirs", source_volume_id="v", status="creating"),)).audit()
    assert found.text == (
        "it names image 'image-0', which is not among the images; only likely, because the users of project theirs can "
        "write what the volume says and it is a clone of volume v and may have the metadata of that volume and its "
        "status is 'creating'"
    )
