"""The way from a volume to an image: registered or copied, whose, in which order, with which headers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.testing.way_strategies import UploadCase, upload_cases
from imagevol_core import (
    GIB,
    STORE_SPEC,
    Image,
    ImageVolumeMetadata,
    InvalidFact,
    InvalidSize,
    Policy,
    Requester,
    Result,
    Store,
    StoreCatalogue,
    StoreSelection,
    UploadAction,
    UploadFailure,
    UploadLanding,
    UploadPlan,
    UploadSettings,
    UploadStep,
    Verdict,
    Volume,
    VolumeType,
    check_location,
    failed,
    is_store_name,
    parse_location,
    upload_headers,
)
from imagevol_core.uploading import UPLOAD_RULES
from tests.core.cases import BOTH_POLICIES

VOLUME_ID = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
TYPE = VolumeType(name="quick", extra_specs={STORE_SPEC: "fast"})
GOOD = UploadCase(
    volume=Volume(id=VOLUME_ID, size_gib=2, encrypted=False),
    image=Image(id="i", owner="ours", disk_format="raw", container_format="bare"),
    volume_type=TYPE,
    base_image_id="base",
    requester=Requester(project_id="ours"),
    settings=UploadSettings(use_cinder_backend=True, use_internal_tenant=True, internal_tenant="internal"),
)
policies = st.sampled_from(BOTH_POLICIES)


def image(**changes: object) -> UploadCase:
    """The good case with another image."""
    return replace(GOOD, image=replace(GOOD.image, **changes))  # type: ignore[arg-type]


def settings(**changes: object) -> UploadCase:
    """The good case under another operator."""
    return replace(GOOD, settings=replace(GOOD.settings, **changes))  # type: ignore[arg-type]


def encrypted(value: bool | None) -> UploadCase:
    """The good case with a volume of which this is known."""
    return replace(GOOD, volume=replace(GOOD.volume, encrypted=value))


def typed(store: str | None) -> UploadCase:
    """The good case with a type that names this store."""
    return replace(GOOD, volume_type=VolumeType(name="quick", extra_specs={} if store is None else {STORE_SPEC: store}))


def step(action: UploadAction, **metadata: str) -> UploadStep:
    return UploadStep(action=action, metadata=metadata)


# For each rule, what it alone stands in the way of, and what it says of that.  A new rule is a new row here.
BREAKS = {
    Policy.STRICT: {
        "registration-enabled": (settings(use_cinder_backend=False), "image_upload_use_cinder_backend is False"),
        "image-raw": (image(disk_format="qcow2"), "the image's disk_format will be qcow2"),
        "image-bare": (image(container_format=None), "the image's container_format will be not known"),
        "volume-not-encrypted": (encrypted(None), "it is not known whether the volume is encrypted"),
        "tenant-known": (
            settings(internal_tenant=None),
            "the clone belongs to the internal tenant, which is not known",
        ),
        "owner-known": (
            replace(image(owner=None), requester=Requester()),
            "the image's owner is not known",
        ),
        "type-known": (replace(GOOD, volume_type=None), "the volume's type is not known"),
        "store-valid": (typed("a/b"), "the volume's type names store a/b"),
    },
    Policy.UPSTREAM: {
        "registration-enabled": (settings(use_cinder_backend=False), "image_upload_use_cinder_backend is False"),
        "image-raw": (image(disk_format="RAW"), "the image's disk_format will be RAW"),
        "image-bare": (image(container_format="ovf"), "the image's container_format will be ovf"),
    },
}


class TestRegisterOrCopy:
    """Register a clone (`raw`, `bare`, `image_upload_use_cinder_backend`, not encrypted) or copy."""

    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    def test_each_rule_alone_makes_it_a_copy(self, policy: Policy) -> None:
        assert list(BREAKS[policy]) == [rule.id for rule in UPLOAD_RULES[policy]]
        for rule, (case, text) in BREAKS[policy].items():
            plan = case.decide(policy)
            assert [(verdict.rule, verdict.text) for verdict in failed(plan.verdicts)] == [(rule, text)]
            assert (plan.registers, plan.project_id) == (False, None)
            assert plan.steps == (step(UploadAction.COPY),)

    @given(upload_cases(), policies)
    def test_a_clone_is_registered_if_and_only_if_no_rule_stands_in_the_way(
        self, case: UploadCase, policy: Policy
    ) -> None:
        plan = case.decide(policy)
        assert plan.policy is policy
        assert plan.registers is (not failed(plan.verdicts) and plan.refused is None)
        actions = [each.action for each in plan.steps]
        assert (UploadAction.REGISTER in actions) is plan.registers
        assert UploadAction.COPY not in actions or actions == [UploadAction.COPY]

    @given(upload_cases(), st.sampled_from([True, None]))
    def test_an_encrypted_volume_is_copied(self, case: UploadCase, value: bool | None) -> None:
        assert not replace(case, volume=replace(case.volume, encrypted=value)).decide().registers

    def test_a_rule_of_uploading_that_holds_says_what_it_saw(self) -> None:
        assert [verdict.text for verdict in GOOD.decide().verdicts] == [
            "image_upload_use_cinder_backend is True",
            "the image's disk_format will be raw",
            "the image's container_format will be bare",
            "the volume is not encrypted",
            "the clone belongs to the internal tenant, which is internal",
            "the image's owner is ours",
            "the volume's type is quick",
            "the volume's type names store fast",
        ]
        assert typed(None).decide().verdicts[-1].text == "the volume's type names no store"
        assert encrypted(True).decide().verdicts[3].text == "the volume is encrypted"
        own = settings(use_internal_tenant=False).decide().verdicts[4].text
        assert own == "the clone belongs to the project that uploads, which is ours"


class TestTenant:
    """The internal tenant's if that is wanted and known; wanted and not known: copy, never silently the user's."""

    @pytest.mark.parametrize(
        "wanted, internal, strict, upstream",
        [
            (True, "internal", "internal", "internal"),
            (True, None, None, "ours"),
            (True, "", None, "ours"),
            (False, "internal", "ours", "ours"),
            (False, None, "ours", "ours"),
        ],
    )
    def test_the_clone_belongs_to_the_project_that_the_settings_name(
        self, wanted: bool, internal: str | None, strict: str | None, upstream: str
    ) -> None:
        case = settings(use_internal_tenant=wanted, internal_tenant=internal)
        assert [case.decide(policy).project_id for policy in BOTH_POLICIES] == [strict, upstream]

    @given(upload_cases())
    def test_a_clone_belongs_to_the_user_only_if_that_is_wanted(self, case: UploadCase) -> None:
        plan = case.decide()
        wanted = case.settings.internal_tenant if case.settings.use_internal_tenant else case.requester.project_id
        assert plan.project_id == (wanted if plan.registers else None)

    def test_without_a_project_no_clone_is_registered(self) -> None:
        nobody = replace(settings(use_internal_tenant=False), requester=Requester())
        assert not nobody.decide().registers


class TestOrder:
    """Clone, mark image_owner, glance_image_id, image_size, mark read-only, register, check that Glance has it."""

    def test_a_registration_has_its_steps_in_order(self) -> None:
        assert GOOD.decide().steps == (
            step(UploadAction.CLONE),
            step(UploadAction.MARK, glance_image_id="i", image_id="i", image_owner="ours", image_size=str(2 * GIB)),
            step(UploadAction.MARK_READ_ONLY),
            step(UploadAction.REGISTER),
            step(UploadAction.CHECK_REGISTERED),
        )

    def test_a_registration_of_cinder_has_its_steps_in_order(self) -> None:
        assert image(owner="theirs").decide(Policy.UPSTREAM).steps == (
            step(UploadAction.CLONE),
            step(UploadAction.MARK_READ_ONLY),
            step(UploadAction.MARK, image_owner="ours"),
            step(UploadAction.REGISTER),
            step(UploadAction.MARK, image_owner="ours", glance_image_id="i"),
        )
        nobody = replace(GOOD, requester=Requester()).decide(Policy.UPSTREAM)
        assert nobody.steps[2] == step(UploadAction.MARK, image_owner="")

    @pytest.mark.parametrize(
        "owner, project_id, marked", [("theirs", "ours", "theirs"), (None, "ours", "ours"), ("", "ours", None)]
    )
    def test_the_owner_in_the_metadata_of_a_clone_is_that_of_the_image(
        self, owner: str | None, project_id: str, marked: str | None
    ) -> None:
        plan = replace(image(owner=owner), requester=Requester(project_id=project_id)).decide()
        assert plan.steps[0 if marked is None else 1].metadata.get("image_owner") == marked
        assert plan.registers is (marked is not None)

    @given(upload_cases())
    def test_the_metadata_of_a_clone_can_be_read_back(self, case: UploadCase) -> None:
        for each in case.decide().steps:
            if each.action is UploadAction.MARK:
                record = ImageVolumeMetadata.from_volume(each.metadata)
                assert (record.image_id, record.size_bytes) == (case.image.id, case.volume.size_gib * GIB)


class TestFallingBack:
    """Any failure before the last step deletes the clone and falls back to the copy; over quota too."""

    @given(upload_cases())
    def test_any_failure_of_a_registration_falls_back_to_a_copy(self, case: UploadCase) -> None:
        plan = case.decide()
        assert plan.falls_back_on == frozenset(UploadFailure)
        assert plan.leaves_clone_on == frozenset()
        assert plan.refused is None

    def test_cinder_falls_back_to_a_copy_after_a_few_failures_only(self) -> None:
        plan = GOOD.decide(Policy.UPSTREAM)
        caught = {UploadFailure.CLONE_FAILED, UploadFailure.LOCATION_INVALID, UploadFailure.IMAGE_NOT_FOUND}
        assert plan.falls_back_on == caught
        assert plan.leaves_clone_on == {
            UploadFailure.NOT_ALLOWED,
            UploadFailure.CONFLICT,
            UploadFailure.SERVICE_FAILED,
            UploadFailure.NOT_REGISTERED,
        }

    @pytest.mark.parametrize(
        "case, actions",
        [
            (GOOD, [UploadAction.CLONE, UploadAction.MARK_READ_ONLY, UploadAction.MARK, UploadAction.FAIL]),
            (settings(use_cinder_backend=False), [UploadAction.FAIL]),
        ],
    )
    def test_cinder_fails_where_a_volume_has_no_type(self, case: UploadCase, actions: list[UploadAction]) -> None:
        plan = replace(case, volume_type=None).decide(Policy.UPSTREAM)
        assert [each.action for each in plan.steps] == actions
        assert (plan.registers, plan.falls_back_on) == (False, frozenset())
        assert plan.refused == "Cinder fails with an AttributeError where a volume has no type"
        assert case.decide(Policy.UPSTREAM).refused is None


class TestOutcome:
    """What an upload comes to where nothing goes wrong."""

    @pytest.mark.parametrize("policy, outcome", [(Policy.STRICT, "register"), (Policy.UPSTREAM, "copy")])
    def test_a_location_that_comes_with_a_store_is_refused_by_glance(self, policy: Policy, outcome: str) -> None:
        assert typed("fast").decide(policy).outcome is UploadAction(outcome)

    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    def test_a_location_that_comes_without_a_store_is_taken(self, policy: Policy) -> None:
        assert typed(None).decide(policy).outcome is UploadAction.REGISTER

    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    def test_a_volume_that_is_not_registered_is_copied(self, policy: Policy) -> None:
        assert settings(use_cinder_backend=False).decide(policy).outcome is UploadAction.COPY

    def test_an_upload_that_is_refused_is_neither_registered_nor_copied(self) -> None:
        assert replace(GOOD, volume_type=None).decide(Policy.UPSTREAM).outcome is UploadAction.FAIL


class TestLocation:
    """Glance finds the store of a location by the volume's type, and by nothing else."""

    STORES = (
        Store(name="local", kind="file"),
        Store(name="fast", kind="cinder", volume_type="ssd"),
        Store(name="twin", kind="cinder", volume_type="ssd"),
        Store(name="old", kind="imagevol"),
    )

    @pytest.mark.parametrize("volume_type, store", [("ssd", "fast"), ("lvm", "old"), ("disk", None), (None, None)])
    def test_glance_takes_the_first_store_of_the_type_of_the_volume(
        self, volume_type: str | None, store: str | None
    ) -> None:
        catalogue = StoreCatalogue(stores=self.STORES, default_volume_type="lvm")
        volume = Volume(id=VOLUME_ID, size_gib=1, volume_type=volume_type)
        verdict = check_location(volume, catalogue=catalogue)
        result = Result.FAILS if store is None else Result.HOLDS
        assert (verdict.rule, verdict.result, verdict.subject) == ("store-of-type", result, store)
        assert (f"type {volume_type}" if volume_type else "type not known") in verdict.text
        assert ("Glance drops the location" in verdict.text) is (store is None)

    def test_a_glance_with_one_store_takes_any_location(self) -> None:
        volume = Volume(id=VOLUME_ID, size_gib=1, volume_type="disk")
        verdict = check_location(volume, catalogue=StoreCatalogue(stores=(), multi=False))
        assert verdict == Verdict(
            "store-of-type", Result.HOLDS, None, "Glance has one store, whose volumes may be of any type"
        )


class TestLanding:
    """What a plan comes to where the stores are known, and where they are not."""

    TAKEN = Verdict("store-of-type", Result.HOLDS, "fast", "store fast has volumes of the type")
    ONLY = Verdict("store-of-type", Result.HOLDS, None, "Glance has one store")
    DROPPED = Verdict("store-of-type", Result.FAILS, None, "no store has volumes of the type")
    SELECTED = StoreSelection(
        primary="slow", copies=("local",), verdicts=(Verdict("base-image", Result.APPLIES, None, "both"),)
    )
    NOWHERE = StoreSelection(primary=None, verdicts=())

    @pytest.mark.parametrize(
        "location, selection, outcome, stores",
        [
            (TAKEN, SELECTED, UploadAction.REGISTER, ("fast",)),
            (ONLY, NOWHERE, UploadAction.REGISTER, ()),
            (DROPPED, SELECTED, UploadAction.COPY, ("slow", "local")),
            (DROPPED, NOWHERE, UploadAction.COPY, ()),
            (None, None, UploadAction.REGISTER, None),
        ],
    )
    def test_a_registered_clone_lands_in_the_store_that_glance_takes(
        self,
        location: Verdict | None,
        selection: StoreSelection | None,
        outcome: UploadAction,
        stores: tuple[str, ...] | None,
    ) -> None:
        plan = typed("fast").decide(Policy.STRICT)
        landing = UploadLanding(plan, location, selection)
        assert (landing.outcome, landing.stores) == (outcome, stores)
        asked = (location,) if location else ()
        assert landing.verdicts == (*plan.verdicts, *asked, *(selection.verdicts if selection else ()))

    @pytest.mark.parametrize("location", [TAKEN, DROPPED, None])
    @pytest.mark.parametrize("selection, stores", [(SELECTED, ("slow", "local")), (None, None)])
    def test_a_copy_lands_in_the_store_that_it_is_sent_to(
        self, location: Verdict | None, selection: StoreSelection | None, stores: tuple[str, ...] | None
    ) -> None:
        plan = settings(use_cinder_backend=False).decide(Policy.STRICT)
        landing = UploadLanding(plan, location, selection)
        assert (landing.outcome, landing.stores) == (UploadAction.COPY, stores)
        assert landing.verdicts == (*plan.verdicts, *(selection.verdicts if selection else ()))

    def test_an_upload_that_fails_lands_nowhere(self) -> None:
        plan = replace(GOOD, volume_type=None).decide(Policy.UPSTREAM)
        assert UploadLanding(plan, self.TAKEN, self.SELECTED).stores == ()


class TestStore:
    """The store of the location is the one of the volume type, sent so that Glance accepts it."""

    @given(upload_cases())
    def test_the_store_of_an_upload_is_in_its_location_and_nowhere_else(self, case: UploadCase) -> None:
        plan = case.decide()
        assert plan.location_metadata == {}
        named = case.volume_type.extra_specs.get(STORE_SPEC) if case.volume_type else None
        assert plan.store == (named or None)
        if plan.registers:
            location = parse_location(plan.location(VOLUME_ID))
            assert (location.store, location.volume_id) == (named or None, VOLUME_ID)
            assert named is None or named == "" or is_store_name(named)

    @pytest.mark.parametrize("store, metadata", [("fast", {"store": "fast"}), (None, {}), ("", {})])
    def test_cinder_also_sends_what_glance_refuses(self, store: str | None, metadata: dict[str, str]) -> None:
        plan = typed(store).decide(Policy.UPSTREAM)
        assert plan.location_metadata == metadata
        assert plan.location("v") == (f"cinder://{store}/v" if store else "cinder://v")


class TestHeaders:
    """Of a copy: the type's store, the volume's own base image, and the size."""

    def test_an_upload_has_all_its_headers(self) -> None:
        assert upload_headers(store="fast", base_image_id="base", size_bytes=5) == {
            "x-image-meta-store": "fast",
            "x-openstack-base-image-ref": "base",
            "x-openstack-image-size": "5",
        }

    @pytest.mark.parametrize("nothing", [None, ""])
    def test_a_volume_that_was_not_created_from_an_image_sends_no_base_reference(self, nothing: str | None) -> None:
        assert upload_headers(store="fast", base_image_id=nothing, size_bytes=None) == {"x-image-meta-store": "fast"}
        assert upload_headers(store=nothing, base_image_id="i", size_bytes=None) == {"x-openstack-base-image-ref": "i"}
        assert replace(GOOD, base_image_id=nothing).decide().headers.keys() == {
            "x-image-meta-store",
            "x-openstack-image-size",
        }

    def test_a_size_of_0_is_sent_too(self) -> None:
        assert upload_headers(store=None, base_image_id=None, size_bytes=0) == {"x-openstack-image-size": "0"}

    def test_cinder_does_not_send_the_size(self) -> None:
        assert GOOD.decide().headers == upload_headers(store="fast", base_image_id="base", size_bytes=2 * GIB)
        headers = upload_headers(store="fast", base_image_id="base", size_bytes=5, policy=Policy.UPSTREAM)
        assert headers == {"x-image-meta-store": "fast", "x-openstack-base-image-ref": "base"}
        assert GOOD.decide(Policy.UPSTREAM).headers == headers

    @pytest.mark.parametrize(
        "changes, sent", [({}, True), ({"disk_format": "qcow2"}, False), ({"container_format": "compressed"}, False)]
    )
    def test_the_size_is_known_of_a_raw_image_only(self, changes: dict[str, str], sent: bool) -> None:
        headers = image(**changes).decide().headers
        assert headers.get("x-openstack-image-size") == (str(2 * GIB) if sent else None)

    @given(st.text(), st.text())
    def test_no_value_of_a_header_makes_another_header(self, store: str, base_image_id: str) -> None:
        try:
            headers = upload_headers(store=store, base_image_id=base_image_id, size_bytes=None)
        except InvalidFact:
            assert not all(value.isascii() and value.isprintable() for value in (store, base_image_id))
        else:
            assert list(headers.values()) == [value for value in (store, base_image_id) if value]

    @pytest.mark.parametrize(
        "store, base_image_id, message",
        [
            ("a\r\nb", None, r"store: 'a\r\nb' cannot stand in a header; give printable ASCII"),
            ("a", "\xe9", r"base_image_id: '\xe9' cannot stand in a header; give printable ASCII"),
        ],
    )
    def test_a_value_that_cannot_stand_in_a_header_is_refused(
        self, store: str | None, base_image_id: str | None, message: str
    ) -> None:
        with pytest.raises(InvalidFact) as raised:
            upload_headers(store=store, base_image_id=base_image_id, size_bytes=None)
        assert str(raised.value) == message

    def test_a_negative_size_is_refused(self) -> None:
        with pytest.raises(InvalidSize) as raised:
            upload_headers(store=None, base_image_id=None, size_bytes=-1)
        assert str(raised.value) == "size_bytes is -1: give a size of 0 or more, or None where it is not known"


def test_a_plan_can_be_kept_in_a_set() -> None:
    plans: set[UploadPlan] = {GOOD.decide(policy) for policy in BOTH_POLICIES}
    assert plans == {GOOD.decide(policy) for policy in BOTH_POLICIES}
