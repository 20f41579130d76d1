"""Which volumes a store gives out and deletes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core import (
    HOLD,
    CustodyDecision,
    Policy,
    Requester,
    Result,
    Verdict,
    Volume,
    decide_adding,
    decide_deletion,
    decide_reading,
)

OWN = Volume(id="v", size_gib=1, project_id="service")
THEIRS = replace(OWN, project_id="theirs")
ELSEWHERE = "the volume lives in project theirs, the store's project is service"
Decide = Callable[..., CustodyDecision]
BOTH = pytest.mark.parametrize("decide", [decide_reading, decide_deletion])


class TestReadingAndDeletion:
    """A volume is an image's where its project says so, or its metadata together with its being read-only."""

    @BOTH
    def test_the_volumes_of_the_stores_own_project_are_its_own(self, decide: Decide) -> None:
        assert decide(OWN, project_id="service").allowed

    @BOTH
    @pytest.mark.parametrize("mark", ["image_id", "glance_image_id", "image_owner"])
    def test_a_volume_of_another_project_that_says_that_it_holds_an_image_belongs_to_it(
        self, decide: Decide, mark: str
    ) -> None:
        assert decide(replace(THEIRS, readonly=True, metadata={mark: "x"}), project_id="service").allowed

    @BOTH
    @pytest.mark.parametrize(
        "readonly, said", [(False, "it is not read-only"), (None, "it is not known whether it is read-only")]
    )
    def test_the_word_of_its_owner_makes_a_writable_volume_no_image_volume(
        self, decide: Decide, readonly: bool | None, said: str
    ) -> None:
        volume = replace(THEIRS, readonly=readonly, metadata={"image_id": "x", "image_owner": "theirs"})
        assert decide(volume, project_id="service").reasons == (f"{ELSEWHERE}; its metadata names an image; {said}",)

    @BOTH
    @pytest.mark.parametrize("metadata", [{}, {"image_size": "1"}, {"image_id": "", "image_owner": ""}])
    def test_any_other_volume_belongs_to_its_project(self, decide: Decide, metadata: dict[str, str]) -> None:
        decision = decide(replace(THEIRS, readonly=True, metadata=metadata), project_id="service")
        assert not decision.allowed
        assert decision.reasons == (f"{ELSEWHERE}; its metadata names no image; it is read-only",)
        assert [verdict.subject for verdict in decision.verdicts] == ["v"] * len(decision.verdicts)

    @BOTH
    @pytest.mark.parametrize("lives, asks", [(None, None), ("p", None), (None, "p")])
    def test_two_projects_that_are_not_known_are_not_the_same(
        self, decide: Decide, lives: str | None, asks: str | None
    ) -> None:
        assert not decide(replace(OWN, project_id=lives), project_id=asks).allowed

    def test_a_held_volume_can_be_read(self) -> None:
        assert decide_reading(replace(OWN, metadata={HOLD: "me"}), project_id="service").allowed

    def test_a_volume_that_is_held_is_not_deleted(self) -> None:
        decision = decide_deletion(replace(OWN, metadata={HOLD: "me"}), project_id="service")
        assert decision.reasons == ("the volume is held by me: it outlives this location",)
        assert decide_deletion(replace(OWN, metadata={HOLD: ""}), project_id="service").allowed

    def test_every_reason_is_given(self) -> None:
        decision = decide_deletion(replace(THEIRS, metadata={HOLD: "me"}), project_id="service")
        assert len(decision.reasons) == 2

    def test_every_rule_that_holds_says_what_it_saw(self) -> None:
        decision = decide_deletion(replace(THEIRS, readonly=True, metadata={"image_id": "i"}), project_id=None)
        assert decision.verdicts == (
            Verdict(
                "volume-is-an-images",
                Result.HOLDS,
                "v",
                "the volume lives in project theirs, the store's project is not known; its metadata names an image; "
                "it is read-only",
            ),
            Verdict("volume-not-held", Result.HOLDS, "v", "no operation holds it"),
        )

    def test_glance_store_asks_no_rule_before_it_reads_or_deletes(self) -> None:
        held = replace(THEIRS, metadata={HOLD: "me"})
        shown = Verdict("volume-shown", Result.HOLDS, "v", "Cinder shows volume v to the store, which asks no more")
        for decide in (decide_reading, decide_deletion):
            assert decide(held, project_id="service", policy=Policy.UPSTREAM) == CustodyDecision(
                allowed=True, verdicts=(shown,)
            )


STORED = replace(OWN, readonly=True, metadata={"image_owner": "mine", "glance_image_id": "i"})
MINE = Requester(project_id="mine")


class TestAdding:
    """A plain user adds only the volumes of the user's own project."""

    @pytest.mark.parametrize(
        "requester, is_admin",
        [
            (None, False),
            (MINE, False),
            (Requester(project_id="other"), True),
            (Requester(project_id="other", roles=frozenset({"member", "service"})), False),
        ],
    )
    def test_the_owner_and_an_administrator_and_a_service_and_glance_can_add_a_location(
        self, requester: Requester | None, is_admin: bool
    ) -> None:
        assert decide_adding(STORED, project_id="service", requester=requester, is_admin=is_admin).allowed

    @pytest.mark.parametrize("owner", ["theirs", "", None])
    @pytest.mark.parametrize("roles", [frozenset[str](), frozenset({"member", "reader", "admin"})])
    def test_the_volume_of_another_projects_image_is_refused(self, owner: str | None, roles: frozenset[str]) -> None:
        volume = replace(STORED, metadata={"glance_image_id": "i"} if owner is None else {"image_owner": owner})
        decision = decide_adding(volume, project_id="service", requester=replace(MINE, roles=roles))
        assert not decision.allowed
        assert [verdict.rule for verdict in decision.verdicts if verdict.faults] == ["adder-trusted"]

    @pytest.mark.parametrize(
        "requester, is_admin, text",
        [
            (None, False, "Glance asks for itself"),
            (Requester(project_id="other"), True, "the requester is an administrator"),
            (Requester(project_id="other", roles=frozenset({"service"})), False, "the requester is a service"),
            (
                Requester(project_id="other"),
                *(
                    False,
                    (
                        "the requester, of project other, is no administrator and no service, and the volume belongs "
                        "to project mine"
                    ),
                ),
            ),
        ],
    )
    def test_the_verdict_says_who_asks_and_whose_volume_it_is(
        self, requester: Requester | None, is_admin: bool, text: str
    ) -> None:
        decision = decide_adding(STORED, project_id="service", requester=requester, is_admin=is_admin)
        assert [verdict.text for verdict in decision.verdicts if verdict.rule == "adder-trusted"] == [text]
        assert {verdict.subject for verdict in decision.verdicts} == {STORED.id}

    def test_what_is_written_on_the_volume_of_another_project_does_not_count(self) -> None:
        volume = replace(THEIRS, readonly=True, metadata={"image_owner": "mine"})
        assert not decide_adding(volume, project_id="service", requester=MINE).allowed

    def test_a_volume_in_the_own_project_of_the_user_can_be_added(self) -> None:
        volume = replace(STORED, project_id="mine", metadata={"image_id": "i"})
        assert decide_adding(volume, project_id="service", requester=MINE).allowed

    def test_a_store_without_credentials_of_its_own_adds_a_volume_that_cinder_shows(self) -> None:
        assert decide_adding(replace(STORED, project_id="mine"), project_id="mine", requester=MINE).allowed

    def test_a_user_without_a_project_owns_nothing(self) -> None:
        for volume in (STORED, replace(STORED, metadata={"image_owner": ""})):
            assert not decide_adding(volume, project_id="service", requester=Requester()).allowed

    def test_a_volume_that_cannot_be_read_cannot_be_added(self) -> None:
        assert not decide_adding(THEIRS, project_id="service", requester=None).allowed

    def test_glance_store_asks_no_rule_before_a_location_is_added(self) -> None:
        assert decide_adding(THEIRS, project_id="service", requester=MINE, policy=Policy.UPSTREAM).allowed


ASKED = given(
    project_id=st.none() | st.sampled_from(["service", "theirs"]),
    volume=st.builds(
        replace,
        st.just(OWN),
        project_id=st.none() | st.sampled_from(["service", "theirs"]),
        readonly=st.none() | st.booleans(),
        metadata=st.dictionaries(st.sampled_from(["image_id", "image_owner", HOLD, "name"]), st.text(max_size=3)),
    ),
)


@ASKED
def test_a_volume_that_can_be_deleted_can_be_read(project_id: str | None, volume: Volume) -> None:
    if decide_deletion(volume, project_id=project_id).allowed:
        assert decide_reading(volume, project_id=project_id).allowed


@ASKED
def test_a_volume_that_another_project_can_write_is_neither_given_out_nor_deleted(
    project_id: str | None, volume: Volume
) -> None:
    if volume.project_id != project_id and not volume.readonly:
        assert not decide_reading(volume, project_id=project_id).allowed
        assert not decide_deletion(volume, project_id=project_id).allowed
