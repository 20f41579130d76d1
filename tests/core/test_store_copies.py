"""How an image comes to be in another store, and when its data in the first one may be deleted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core import (
    GIB,
    HOLD,
    Digest,
    Image,
    ImageLocation,
    KeptCopy,
    Policy,
    Store,
    StoreCatalogue,
    StoreCopyFacts,
    Volume,
    VolumeType,
    decide_store_removal,
    failed,
    plan_store_copy,
)
from imagevol_core.store_copies import (
    CLONE_SOURCE_RULES,
    DISCARD_RULES,
    IMPORT_RULES,
    KEPT_RULES,
    STORE_COPY_RULES,
    STORE_COPY_WAY_RULES,
    VERIFICATION_RULES,
    CloneLeft,
    StoreCopyStep,
    StoreCopyWay,
    Verification,
    VerificationFacts,
    VerifyWish,
    decide_discard,
    decide_verification,
    place_in_store,
    stores_on_backend,
    volume_in_store,
    volumes_in_store,
)

V, W = "1a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1", "2a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
STORES = StoreCatalogue(
    stores=(
        Store(name="fast", kind="cinder", volume_type="ssd"),
        Store(name="quick", kind="cinder", volume_type="ssd-quick"),
        Store(name="slow", kind="cinder", volume_type="hdd"),
        Store(name="plain", kind="cinder"),
        Store(name="files", kind="file"),
        Store(name="web", kind="http"),
        Store(name="old", kind="file", readonly=True),
    ),
    default_volume_type="ssd-default",
)
TYPES = {
    name: VolumeType(name=name, extra_specs={"volume_backend_name": backend})
    for name, backend in (("ssd", "array"), ("ssd-quick", "array"), ("ssd-default", "array"), ("hdd", "disks"))
}
VOLUME = Volume(
    id=V,
    project_id="service",
    size_gib=2,
    status="available",
    volume_type="ssd",
    encrypted=False,
    readonly=True,
    metadata={"glance_image_id": "i", "image_size": str(GIB + 1)},
)
HELD = replace(VOLUME, metadata={**VOLUME.metadata, HOLD: "a migration"})
IMAGE = Image(
    id="i",
    status="active",
    disk_format="raw",
    container_format="bare",
    size_bytes=GIB + 1,
    digest=Digest("sha512", "0f"),
    locations=(ImageLocation(f"cinder://fast/{V}", {"store": "fast"}),),
)
CLONED = StoreCopyFacts(
    image=IMAGE,
    stores=("fast",),
    to_store="quick",
    catalogue=STORES,
    locations_shown=True,
    import_methods=frozenset({"copy-image"}),
    volumes={V: VOLUME},
    volume_types=TYPES,
    project_id="service",
)
IMPORTED = replace(CLONED, to_store="slow")


def image(facts: StoreCopyFacts = CLONED, **changes: Any) -> StoreCopyFacts:
    return replace(facts, image=replace(facts.image, **changes))


def volume(**changes: Any) -> StoreCopyFacts:
    return replace(CLONED, volumes={V: replace(VOLUME, **changes)})


def at(store: str, place: str = V) -> ImageLocation:
    return ImageLocation(f"cinder://{store}/{place}", {"store": store})


# For each rule, what it alone stands in the way of.  A new rule is a new row here.
STANDS_AGAINST_ANY_COPY: dict[str, StoreCopyFacts] = {
    "copy-store-exists": replace(CLONED, to_store="quikc"),
    "copy-store-accepts": replace(CLONED, to_store="old"),
    "copied-image-active": image(status="deactivated"),
    "no-import-running": image(properties={"os_glance_importing_to_stores": "slow"}),
    "copy-source-known": replace(CLONED, stores=("fast", "former")),
    "other-store": replace(CLONED, stores=("fast", "quick"), move=True, from_store="quick"),
    "leaving-seen": replace(CLONED, move=True, locations_shown=False),
    "leaving-is-image": replace(CLONED, move=True, volumes={}),
    "leaving-not-held": replace(CLONED, move=True, volumes={V: HELD}),
    "leaving-not-shared": replace(CLONED, move=True, named_by={V: ("i", "another")}),
}
STANDS_AGAINST_THE_IMPORT: dict[str, StoreCopyFacts] = {
    "import-offered": replace(IMPORTED, import_methods=frozenset({"web-download"})),
    "formats-set": image(IMPORTED, container_format=None),
}
STANDS_AGAINST_THE_CLONE: dict[str, StoreCopyFacts] = {
    "into-volumes": replace(CLONED, to_store="files"),
    "locations-change": replace(CLONED, locations_shown=False),
    "source-found": replace(CLONED, volumes={}),
    "source-available": volume(status="in-use", readonly=None),
    "source-project": replace(CLONED, project_id="demo"),
    "source-not-encrypted": volume(encrypted=None),
    "source-settled": volume(migration_status="migrating"),
    "source-is-image": volume(metadata={"glance_image_id": "another"}),
    "source-same-backend": replace(CLONED, to_store="slow"),
    "glance-chooses-store": replace(
        CLONED,
        catalogue=replace(STORES, stores=(Store(name="first", kind="cinder", volume_type="ssd-quick"), *STORES.stores)),
    ),
}


@pytest.mark.parametrize("rule, facts", STANDS_AGAINST_ANY_COPY.items())
def test_each_rule_about_the_image_alone_stands_against_any_copy(rule: str, facts: StoreCopyFacts) -> None:
    plan = plan_store_copy(facts)
    assert [verdict.rule for verdict in failed(plan.verdicts)] == [rule]
    assert (plan.possible, plan.way, plan.steps) == (False, StoreCopyWay.REFUSED, ())
    assert plan.reason == failed(plan.verdicts)[0].text


@pytest.mark.parametrize("rule, facts", STANDS_AGAINST_THE_CLONE.items())
def test_each_rule_about_a_volume_alone_leaves_the_copy_to_glance(rule: str, facts: StoreCopyFacts) -> None:
    plan = plan_store_copy(facts)
    assert [verdict.rule for verdict in failed(plan.verdicts)] == [rule]
    assert (plan.way, plan.source, plan.steps) == (StoreCopyWay.IMPORT, None, (StoreCopyStep.IMPORT,))
    assert (plan.glance_bytes, plan.host_bytes) == (GIB + 1, 0)


@pytest.mark.parametrize("rule, facts", STANDS_AGAINST_THE_IMPORT.items())
def test_each_rule_about_the_import_alone_stands_against_it(rule: str, facts: StoreCopyFacts) -> None:
    plan = plan_store_copy(facts)
    assert {verdict.rule for verdict in failed(plan.verdicts)} == {rule, "source-same-backend"}
    assert not plan.possible
    assert all(verdict.text in plan.reason for verdict in failed(plan.verdicts))


def test_every_rule_has_its_row() -> None:
    for rules, rows in (
        (STORE_COPY_RULES, STANDS_AGAINST_ANY_COPY),
        (CLONE_SOURCE_RULES, STANDS_AGAINST_THE_CLONE),
        (IMPORT_RULES, STANDS_AGAINST_THE_IMPORT),
        (KEPT_RULES, STANDS_AGAINST_THE_REMOVAL),
        (DISCARD_RULES, STANDS_AGAINST_DISCARDING),
    ):
        assert list(rows) == [rule.id for rule in rules[Policy.STRICT]]
    assert list(WAYS) == [rule.id for rule in STORE_COPY_WAY_RULES[Policy.STRICT]]
    assert list(VERIFIED) == [rule.id for rule in VERIFICATION_RULES[Policy.STRICT]]


WAYS: dict[str, tuple[StoreCopyFacts, StoreCopyWay]] = {
    "copy-refused": (image(status="queued"), StoreCopyWay.REFUSED),
    "copy-exists": (replace(CLONED, to_store="fast"), StoreCopyWay.NOTHING),
    "clone-in-storage": (CLONED, StoreCopyWay.CLONE),
    "import-by-glance": (IMPORTED, StoreCopyWay.IMPORT),
    "no-way-to-copy": (replace(IMPORTED, import_methods=frozenset()), StoreCopyWay.REFUSED),
}


@pytest.mark.parametrize("rule", WAYS)
def test_the_first_way_that_applies_is_taken(rule: str) -> None:
    facts, way = WAYS[rule]
    plan = plan_store_copy(facts)
    assert (plan.way, [verdict.rule for verdict in plan.verdicts if verdict.applies]) == (way, [rule])


def test_a_clone_moves_no_byte_and_is_of_the_volume_that_passes() -> None:
    both = (at("former", W), at("fast"))
    facts = replace(image(locations=both), stores=("fast", "slow"))
    plan = plan_store_copy(facts)
    assert (plan.way, plan.source, plan.glance_bytes) == (StoreCopyWay.CLONE, V, 0)
    assert {verdict.subject for verdict in failed(plan.verdicts)} == {W}


def test_a_clone_of_the_same_type_needs_nothing_known_of_the_type() -> None:
    facts = replace(volume(volume_type="ssd-default"), to_store="plain", volume_types={})
    assert plan_store_copy(facts).way is StoreCopyWay.CLONE


@pytest.mark.parametrize(
    "facts, part",
    [
        (replace(CLONED, catalogue=StoreCatalogue(stores=(), multi=False)), "Glance has one store"),
        (replace(CLONED, to_store="os_glance_staging_store"), "Glance has no store"),
        (replace(CLONED, to_store="web"), "store 'web' is read-only"),
        (image(properties={"os_glance_import_task": "task"}), "Glance is importing the image"),
        (replace(CLONED, stores=("fast", "slow"), move=True), "the image is in 'fast', 'slow': name the store"),
        (replace(CLONED, move=True), "the image leaves store 'fast'"),
        (replace(CLONED, to_store="fast", move=True), "the image is in no other store"),
        (replace(CLONED, stores=()), "Glance says of no store that the image is in it"),
        (image(locations=(at("fast"), at("fast"))), "a location of the image names no store"),
        (volume(metadata={"image_size": "5"}), "it holds 5 bytes, and the image has 1073741825"),
        (volume(metadata={"image_size": "lots"}), "it is not a number of bytes"),
        (volume(size_gib=1, metadata={}), "it has 1 GiB, and the image needs 2 GiB"),
        (image(size_bytes=None), "and the image has not known"),
        (replace(CLONED, encrypted_types=frozenset({"ssd-quick"})), "volumes of type 'ssd-quick' are encrypted"),
        (volume(volume_type=None), "types not known and 'ssd-quick' are not known to be on one backend"),
        (image(locations=()), "Glance shows no location of the image in a volume"),
    ],
)
def test_a_sentence_says_what_stands_against_it(facts: StoreCopyFacts, part: str) -> None:
    assert part in " ".join([verdict.text for verdict in plan_store_copy(facts).verdicts])


def test_what_glance_does_not_say_of_its_methods_stands_against_nothing() -> None:
    assert plan_store_copy(replace(IMPORTED, import_methods=None)).way is StoreCopyWay.IMPORT


FAST, FILES = STORES.stores[0], STORES.stores[4]
MADE = VerificationFacts(image=IMAGE, store=FAST, way=StoreCopyWay.IMPORT, locations_shown=True)
VERIFIED: dict[str, tuple[VerificationFacts, Verification]] = {
    "known-good": (
        replace(MADE, known_good=True, way=StoreCopyWay.NOTHING, store=FILES, wish=VerifyWish.READ),
        Verification.KNOWN,
    ),
    "no-digest-to-compare": (replace(MADE, image=replace(IMAGE, digest=None)), Verification.REFUSED),
    "read-not-possible": (replace(MADE, wish=VerifyWish.READ, store=FILES), Verification.REFUSED),
    "read-wished": (replace(MADE, wish=VerifyWish.READ), Verification.READ),
    "read-again": (replace(MADE, known_good=True, there_before=True), Verification.READ),
    "glance-compared": (MADE, Verification.WRITTEN),
    "glance-alone": (replace(MADE, way=StoreCopyWay.CLONE, wish=VerifyWish.GLANCE), Verification.REFUSED),
    "copy-not-readable": (replace(MADE, way=StoreCopyWay.NOTHING, locations_shown=False), Verification.REFUSED),
    "read-on-host": (replace(MADE, way=StoreCopyWay.CLONE), Verification.READ),
}


@pytest.mark.parametrize("rule", VERIFIED)
def test_the_first_way_to_verify_that_applies_is_taken(rule: str) -> None:
    facts, expected = VERIFIED[rule]
    verification, verdicts = decide_verification(facts)
    assert (verification, verdicts[-1].rule) == (expected, rule)


KNOWN = replace(MADE, known_good=True, there_before=True)


@pytest.mark.parametrize(
    "facts, verification",
    [
        (KNOWN, Verification.READ),
        (replace(KNOWN, wish=VerifyWish.READ), Verification.READ),
        (replace(KNOWN, wish=VerifyWish.GLANCE), Verification.KNOWN),
        (replace(KNOWN, store=FILES), Verification.KNOWN),
        (replace(KNOWN, store=None), Verification.KNOWN),
        (replace(KNOWN, locations_shown=False), Verification.KNOWN),
        (replace(KNOWN, image=replace(IMAGE, digest=None)), Verification.REFUSED),
        (replace(KNOWN, image=replace(IMAGE, digest=None), wish=VerifyWish.GLANCE), Verification.KNOWN),
        (replace(MADE, there_before=True), Verification.READ),
        (replace(MADE, there_before=True, wish=VerifyWish.GLANCE), Verification.WRITTEN),
        (replace(MADE, there_before=True, store=FILES), Verification.WRITTEN),
    ],
)
def test_what_was_good_before_this_run_is_read_again_where_it_can_be(
    facts: VerificationFacts, verification: Verification
) -> None:
    assert decide_verification(facts)[0] is verification


def test_a_clone_without_a_source_is_no_clone_of_the_journal() -> None:
    assert not decide_discard(replace(LEFT, source=None, cloned=())).allowed


def test_a_clone_that_nothing_may_verify_is_left_for_glances_own_copy() -> None:
    moved = replace(CLONED, move=True, from_store="fast")
    assert plan_store_copy(moved).steps == (StoreCopyStep.CLONE, StoreCopyStep.READ, StoreCopyStep.REMOVE)
    assert plan_store_copy(moved).host_bytes == GIB + 1
    by_glance = plan_store_copy(replace(moved, wish=VerifyWish.GLANCE))
    assert by_glance.steps == (StoreCopyStep.IMPORT, StoreCopyStep.COMPARE, StoreCopyStep.REMOVE)
    assert any("the clone could not be verified" in verdict.text for verdict in by_glance.verdicts)
    neither = plan_store_copy(replace(moved, wish=VerifyWish.GLANCE, import_methods=frozenset()))
    assert "pass --verify read" in neither.reason


def test_what_cannot_be_verified_is_not_moved() -> None:
    plan = plan_store_copy(replace(image(IMPORTED, digest=None), move=True, from_store="fast"))
    assert (plan.way, plan.possible, plan.steps) == (StoreCopyWay.IMPORT, False, ())
    assert "no multihash" in plan.reason
    assert plan_store_copy(image(IMPORTED, digest=None)).possible


def test_what_is_not_in_the_store_is_not_deleted_there() -> None:
    plan = plan_store_copy(replace(IMPORTED, move=True, from_store="files"))
    assert (plan.verification, plan.steps) == (None, (StoreCopyStep.IMPORT,))


def test_what_this_made_before_is_verified_as_it_was_made() -> None:
    there = replace(CLONED, to_store="files", stores=("fast", "files"), move=True, from_store="fast")
    assert not plan_store_copy(there).possible
    assert plan_store_copy(replace(there, made=StoreCopyWay.IMPORT)).steps == (
        StoreCopyStep.COMPARE,
        StoreCopyStep.REMOVE,
    )


def test_a_new_clone_is_read_though_the_copy_that_is_gone_was_written_by_glance() -> None:
    gone = replace(CLONED, move=True, made=StoreCopyWay.IMPORT)
    assert plan_store_copy(gone).steps == (StoreCopyStep.CLONE, StoreCopyStep.READ, StoreCopyStep.REMOVE)


def test_what_was_copied_from_the_kept_copy_is_deleted_when_that_was_read_again() -> None:
    back = replace(CLONED, to_store="fast", stores=("fast", "slow"), move=True, from_store="slow", known_good=True)
    assert plan_store_copy(back).steps == (StoreCopyStep.READ, StoreCopyStep.REMOVE)
    assert plan_store_copy(replace(back, wish=VerifyWish.GLANCE)).steps == (StoreCopyStep.REMOVE,)


KEPT = KeptCopy(
    image=replace(IMAGE, locations=(at("fast"), at("slow", W))),
    stores=("fast", "slow"),
    kept="slow",
    removed="fast",
    planned=IMAGE,
    verified=True,
    verified_place=f"volume {W}",
    locations_shown=True,
    volumes={V: VOLUME, W: replace(VOLUME, id=W)},
    named_by={V: ("i",)},
)
STANDS_AGAINST_THE_REMOVAL: dict[str, KeptCopy] = {
    "removed-seen": replace(KEPT, locations_shown=False),
    "kept-image-active": replace(KEPT, image=replace(KEPT.image, status="deactivated")),
    "kept-image-settled": replace(KEPT, image=replace(KEPT.image, properties={"os_glance_import_task": "task"})),
    "kept-copy-exists": replace(KEPT, stores=("fast",)),
    "kept-image-same": replace(KEPT, planned=replace(IMAGE, size_bytes=1)),
    "kept-copy-verified": replace(KEPT, verified=False),
    "kept-copy-apart": replace(
        KEPT, image=replace(IMAGE, locations=(at("fast"), at("slow"))), verified_place=f"volume {V}"
    ),
    "kept-copy-unmoved": replace(KEPT, verified_place=None),
    "kept-volume-exists": replace(KEPT, volumes={V: VOLUME}),
    "removed-is-image": replace(KEPT, volumes={W: VOLUME}),
    "removed-not-held": replace(KEPT, volumes={V: HELD, W: VOLUME}),
    "removed-not-shared": replace(KEPT, named_by={V: ("another", "i")}),
}


@pytest.mark.parametrize("rule", STANDS_AGAINST_THE_REMOVAL)
def test_each_rule_alone_stands_against_deleting_a_copy(rule: str) -> None:
    removal = decide_store_removal(STANDS_AGAINST_THE_REMOVAL[rule])
    assert ([verdict.rule for verdict in failed(removal.verdicts)], removal.allowed) == ([rule], False)
    assert removal.reason
    assert decide_store_removal(KEPT).allowed


@pytest.mark.parametrize(
    "metadata", [{}, {"glance_image_id": "another"}, {"glance_image_id": "i", "image_size": "lots"}]
)
def test_a_volume_that_does_not_say_that_it_is_the_image_is_not_deleted(metadata: dict[str, str]) -> None:
    not_this = replace(KEPT, volumes={**KEPT.volumes, V: replace(VOLUME, metadata=metadata)})
    assert [verdict.rule for verdict in failed(decide_store_removal(not_this).verdicts)] == ["removed-is-image"]


@pytest.mark.parametrize("changes", [{"status": "error"}, {"readonly": False}])
def test_a_volume_that_may_have_other_data_by_now_is_not_the_one_that_is_kept(changes: dict[str, Any]) -> None:
    changed = replace(KEPT, volumes={V: VOLUME, W: replace(VOLUME, **changes)})
    assert [verdict.rule for verdict in failed(decide_store_removal(changed).verdicts)] == ["kept-volume-exists"]


LEFT = CloneLeft(image_id="i", volume_id=V, locations_shown=True, source=W, cloned=("another", W))
STANDS_AGAINST_DISCARDING: dict[str, CloneLeft] = {
    "discard-seen": replace(LEFT, locations_shown=False),
    "discard-is-clone": replace(LEFT, source="a-colleagues"),
    "discard-never-registered": replace(LEFT, registered=True),
    "discard-not-named": replace(LEFT, named_by=("another",)),
}


@pytest.mark.parametrize("rule", STANDS_AGAINST_DISCARDING)
def test_each_rule_alone_stands_against_deleting_a_clone(rule: str) -> None:
    discard = decide_discard(STANDS_AGAINST_DISCARDING[rule])
    assert ([verdict.rule for verdict in failed(discard.verdicts)], discard.allowed) == ([rule], False)
    assert decide_discard(LEFT).allowed


def test_a_place_is_a_volume_or_a_url_without_its_password() -> None:
    secret = ImageLocation("swift+https://user:secret@host/container/i", {"store": "objects"})
    assert place_in_store("fast", (secret, at("fast"))) == f"volume {V}"
    assert "secret" not in str(place_in_store("objects", (secret,)))
    assert place_in_store("slow", (secret,)) is None
    assert volumes_in_store("fast", (at("fast"), at("fast", W), at("slow"))) == (V, W)


def test_two_files_of_one_name_are_two_places() -> None:
    locations = (
        ImageLocation("file:///fast/i", {"store": "fast"}),
        ImageLocation("file:///slow/i", {"store": "slow"}),
    )
    files = replace(
        KEPT, image=replace(IMAGE, locations=locations), planned=None, volumes={}, verified_place="file:///slow/i"
    )
    assert decide_store_removal(files).allowed
    same = replace(KEPT, image=replace(IMAGE, locations=(locations[0], replace(locations[0], metadata={}))))
    assert not decide_store_removal(same).allowed


def test_the_volume_of_a_store_is_the_one_that_its_location_names() -> None:
    locations = (ImageLocation("file:///i", {"store": "slow"}), at("fast"), at("slow", W))
    assert (volume_in_store("slow", locations), volume_in_store("fast", locations)) == (W, V)
    assert volume_in_store("quick", locations) is None


@pytest.mark.parametrize(
    "backend, stores", [("array", ("fast", "quick", "plain")), ("disks", ("slow",)), ("other", ()), (None, ())]
)
def test_the_stores_of_a_backend_are_those_whose_volumes_cinder_creates_there(
    backend: str | None, stores: tuple[str, ...]
) -> None:
    assert stores_on_backend(backend, catalogue=STORES, volume_types=TYPES) == stores
    assert stores_on_backend(backend, catalogue=STORES, volume_types={}) == ()


@st.composite
def copies(draw: st.DrawFn) -> StoreCopyFacts:
    """Any image and any stores, most of them with something that stands in the way."""
    names = [store.name for store in STORES.stores]
    stores = tuple(draw(st.lists(st.sampled_from(names), unique=True, max_size=3)))
    return StoreCopyFacts(
        image=replace(
            IMAGE,
            status=draw(st.sampled_from(["active", "active", "queued", "deactivated"])),
            digest=draw(st.sampled_from([IMAGE.digest, None])),
            size_bytes=draw(st.sampled_from([IMAGE.size_bytes, None, 5])),
            disk_format=draw(st.sampled_from(["raw", None])),
            locations=tuple(at(store, draw(st.sampled_from([V, W]))) for store in stores),
        ),
        stores=stores,
        to_store=draw(st.sampled_from([*names, "nosuch"])),
        catalogue=STORES,
        locations_shown=draw(st.booleans()),
        import_methods=draw(st.sampled_from([None, frozenset[str](), frozenset({"copy-image"})])),
        volumes=draw(st.sampled_from([{V: VOLUME}, {}])),
        volume_types=draw(st.sampled_from([TYPES, {}])),
        project_id=draw(st.sampled_from(["service", "demo", None])),
        move=draw(st.booleans()),
        from_store=draw(st.none() | st.sampled_from(names)),
        wish=draw(st.sampled_from(list(VerifyWish))),
        known_good=draw(st.booleans()),
        made=draw(st.sampled_from([None, StoreCopyWay.IMPORT, StoreCopyWay.CLONE])),
    )


@given(copies())
def test_no_plan_deletes_the_last_copy_or_one_before_the_other_is_verified(facts: StoreCopyFacts) -> None:
    plan = plan_store_copy(facts)
    assert plan.reason
    assert plan.possible or plan.steps == ()
    if StoreCopyStep.REMOVE in plan.steps:
        assert plan.steps[-1] is StoreCopyStep.REMOVE
        assert facts.to_store != plan.from_store
        assert plan.from_store in facts.stores
        assert facts.from_store in (None, plan.from_store)
        unread = facts.wish is VerifyWish.GLANCE or not (facts.store.is_cinder and facts.locations_shown)
        relied_on = facts.known_good and plan.way is StoreCopyWay.NOTHING and unread
        assert relied_on or len(plan.steps) > 1
        written = plan.way is StoreCopyWay.IMPORT or (facts.made is StoreCopyWay.IMPORT and unread)
        assert StoreCopyStep.COMPARE not in plan.steps or written
    after = {*facts.stores, facts.to_store} - ({plan.from_store} if StoreCopyStep.REMOVE in plan.steps else set())
    assert not plan.possible or facts.to_store in after


@given(copies())
def test_a_plan_that_is_carried_out_has_nothing_more_to_copy(facts: StoreCopyFacts) -> None:
    plan = plan_store_copy(facts)
    if plan.possible and plan.way is not StoreCopyWay.NOTHING:
        again = replace(facts, stores=(*facts.stores, facts.to_store), move=False, locations_shown=False)
        assert plan_store_copy(again).steps == ()
