"""Which findings are repaired, in which order, and which steps are still taken after a second look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core import (
    HOLD,
    AttachmentFacts,
    AuditSettings,
    Certainty,
    Finding,
    Image,
    ImageLocation,
    Policy,
    RepairAction,
    RepairOutcome,
    RepairStep,
    RepairStepFacts,
    StepOutcome,
    Store,
    StoreCatalogue,
    Subject,
    Volume,
    decide_repair_step,
    found_again,
    needs_clone,
    plan_repairs,
    rule_tables,
)
from imagevol_core.auditing import (
    CLONE_RULES,
    PLAN_RULES,
    STEP_RULES,
    CloneOutcome,
    LeftFile,
    RepairClone,
    by_hand,
    decide_repair_clone,
    is_risky,
)

A = RepairAction
VOLUME_ID = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
CLONE_ID = "8a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
URL = f"cinder://fast/{VOLUME_ID}"
VOLUME, IMAGE, OTHER, HELD = (
    Subject("volume", VOLUME_ID),
    Subject("image", "image-0"),
    Subject("image", "image-1"),
    Subject("attachment", "attachment-0"),
)
SETTINGS = AuditSettings(
    now=datetime(2026, 1, 1, tzinfo=UTC), trusted_projects=frozenset({"stores"}), images_complete=True
)
CATALOGUE = StoreCatalogue(
    stores=(Store(name="fast", kind="imagevol", volume_type="ssd"), Store(name="slow", kind="cinder"))
)


def finding(*steps: RepairStep, kind: str = "a-rule", about: tuple[Subject, ...] = (), likely: bool = False) -> Finding:
    return Finding(
        kind=kind,
        subjects=about or tuple(dict.fromkeys(step.subject for step in steps)) or (VOLUME,),
        certainty=Certainty.LIKELY if likely else Certainty.SURE,
        text="it is so",
        repair=steps,
    )


def step(action: RepairAction, subject: Subject = VOLUME, **arguments: str) -> RepairStep:
    return RepairStep(action, subject, tuple(arguments.items()))


DELETE = step(A.DELETE_VOLUME)
SHARED = finding(
    step(A.CLONE_VOLUME, image=OTHER.id),
    step(A.SET_LOCATION, OTHER, url=URL, to="the clone"),
    kind="shared",
    about=(VOLUME, IMAGE, OTHER),
)


MIXED = [
    finding(DELETE, kind="a"),
    finding(step(A.SET_READ_ONLY), kind="b"),
    finding(kind="c"),
    finding(step(A.DELETE_IMAGE, OTHER), kind="d", likely=True),
    SHARED,
]


class TestPlan:
    @pytest.mark.parametrize(
        "found, rule, outcome",
        [
            (finding(), "person-decides", RepairOutcome.BY_HAND),
            (finding(DELETE, about=(IMAGE,)), "beyond-its-subjects", RepairOutcome.REFUSED),
            (
                finding(step(A.DELETE_CACHE_ENTRY, Subject("cache-entry", VOLUME_ID))),
                "no-api",
                RepairOutcome.BY_HAND,
            ),
            (finding(DELETE, likely=True), "only-likely", RepairOutcome.ONLY_LIKELY),
            (finding(step(A.DEACTIVATE_IMAGE, IMAGE), likely=True), "only-likely", RepairOutcome.ONLY_LIKELY),
            (finding(step(A.SET_READ_ONLY), likely=True), "repaired", RepairOutcome.REPAIR),
            (finding(DELETE), "repaired", RepairOutcome.REPAIR),
        ],
    )
    def test_what_becomes_of_a_finding_is_said_with_its_reason(
        self, found: Finding, rule: str, outcome: RepairOutcome
    ) -> None:
        plan = plan_repairs([found])
        (repair,) = plan.repairs
        assert (repair.outcome, repair.verdicts[-1].rule) == (outcome, rule)
        assert repair.reason == repair.verdicts[-1].text
        assert plan.planned == ((repair,) if repair.planned else ())
        assert plan.left == (() if repair.planned else (repair,))

    def test_what_is_only_likely_is_deleted_if_the_operator_includes_it(self) -> None:
        assert plan_repairs([finding(DELETE, likely=True)], include_likely=True).planned

    def test_what_no_api_does_is_said_with_what_a_person_does(self) -> None:
        entry = step(A.DELETE_CACHE_ENTRY, Subject("cache-entry", VOLUME_ID))
        assert VOLUME_ID in str(by_hand(entry))
        assert [action for action in RepairAction if by_hand(step(action))] == [A.DELETE_CACHE_ENTRY]

    def test_an_attachment_is_taken_back_before_its_volume_is_deleted(self) -> None:
        attachment = Subject("attachment", "5f0a")
        taken = finding(
            step(A.DISCONNECT, attachment),
            step(A.DELETE_ATTACHMENT, attachment),
            kind="z-attachment",
            about=(attachment, VOLUME),
        )
        deleted = finding(DELETE, kind="a-volume")
        assert [each.finding.kind for each in plan_repairs([deleted, taken]).planned] == ["z-attachment", "a-volume"]

    def test_data_is_separated_before_anything_is_deleted_and_that_before_anything_is_marked(self) -> None:
        marks, deletes = finding(step(A.SET_READ_ONLY), kind="a"), finding(DELETE, kind="b")
        plan = plan_repairs([marks, deletes, SHARED])
        assert [repair.finding for repair in plan.planned] == [SHARED, deletes, marks]
        assert [repair.after for repair in plan.planned] == [(), (SHARED.id,), (SHARED.id,)]

    @pytest.mark.parametrize("action", [A.DELETE_IMAGE, A.REMOVE_LOCATION])
    def test_nothing_is_deleted_or_changed_that_another_image_has_its_data_in(self, action: RepairAction) -> None:
        by_person = replace(SHARED, repair=())
        deletes, marks = finding(step(action, IMAGE), kind="b"), finding(step(A.SET_READ_ONLY), kind="c")
        plan = plan_repairs([by_person, deletes, marks])
        assert {repair.finding.kind: repair.verdicts[-1].rule for repair in plan.repairs} == {
            "shared": "person-decides",
            "b": "shared-data",
            "c": "shared-data",
        }
        assert by_person.id in plan.left[-1].reason

    def test_a_finding_about_one_image_separates_nothing(self) -> None:
        withdraws, deletes = finding(step(A.DEACTIVATE_IMAGE, IMAGE), about=(VOLUME, IMAGE), kind="a"), finding(DELETE)
        plan = plan_repairs([withdraws, deletes])
        assert [(repair.finding, repair.after) for repair in plan.planned] == [(deletes, ()), (withdraws, ())]

    def test_what_changes_no_data_does_not_wait_for_the_separation(self) -> None:
        withdraws = finding(step(A.DEACTIVATE_IMAGE, IMAGE))
        plan = plan_repairs([withdraws, SHARED])
        assert [(repair.finding, repair.after) for repair in plan.planned] == [(SHARED, ()), (withdraws, ())]

    def test_what_takes_an_attachment_back_and_then_deletes_waits_for_the_separation(self) -> None:
        takes = finding(step(A.DELETE_ATTACHMENT, Subject("attachment", "a")), DELETE)
        plan = plan_repairs([takes, SHARED])
        assert [(repair.finding, repair.after) for repair in plan.planned] == [(SHARED, ()), (takes, (SHARED.id,))]

    def test_two_separations_do_not_wait_for_each_other(self) -> None:
        removes = finding(step(A.REMOVE_LOCATION, IMAGE, url=URL), about=SHARED.subjects, kind="z")
        plan = plan_repairs([removes, SHARED])
        assert [(repair.finding, repair.after) for repair in plan.planned] == [(SHARED, ()), (removes, ())]

    def test_findings_of_one_kind_are_repaired_in_the_order_of_their_subjects(self) -> None:
        one, other = finding(step(A.SET_READ_ONLY)), finding(step(A.SET_READ_ONLY, Subject("volume", CLONE_ID)))
        assert [repair.finding for repair in plan_repairs([one, other]).planned] == [other, one]
        assert plan_repairs([other, one]) == plan_repairs([one, other])

    def test_a_finding_that_comes_twice_is_repaired_once(self) -> None:
        assert len(plan_repairs([finding(DELETE), finding(DELETE)]).repairs) == 1

    @given(st.permutations(MIXED), st.booleans())
    def test_the_order_of_the_findings_is_no_matter(self, found: list[Finding], likely: bool) -> None:
        assert plan_repairs(found, include_likely=likely) == plan_repairs(MIXED, include_likely=likely)


VOLUME_THERE = Volume(id=VOLUME_ID, size_gib=1, status="available", project_id="stores", readonly=True)
CLONE_THERE = replace(VOLUME_THERE, id=CLONE_ID)
IMAGE_THERE = Image(id=IMAGE.id, status="active", owner="owner", locations=(ImageLocation(URL, {"store": "fast"}),))
TWO_STORES = (*IMAGE_THERE.locations, ImageLocation("cinder://slow/" + CLONE_ID, {"store": "slow"}))
ATTACHMENT = AttachmentFacts(id=HELD.id, volume_id=VOLUME_ID, status="attached", host="here")
MOVED = step(A.SET_LOCATION, OTHER, url=URL, to="the clone")
CLONED = step(A.CLONE_VOLUME, image=OTHER.id)
OTHER_THERE = replace(IMAGE_THERE, id=OTHER.id)


def facts(*steps: RepairStep, about: tuple[Subject, ...] = (), **known: Any) -> RepairStepFacts:
    """All is as it should be: the first step can be taken."""
    planned = finding(*steps, about=about)
    return RepairStepFacts(
        **{
            "step": steps[0],
            "planned": planned,
            "found": planned,
            "settings": SETTINGS,
            "image": IMAGE_THERE,
            "volume": VOLUME_THERE,
            "attachment": ATTACHMENT,
            "existing": frozenset({VOLUME_ID}),
            "others": (VOLUME_THERE, CLONE_THERE),
            "claimants": (IMAGE_THERE, OTHER_THERE) if needs_clone(steps[0]) else (),
            "project_id": "stores",
            "host": "here",
            "holder": "us",
            "catalogue": CATALOGUE,
            **known,
        }
    )


LIKELY = finding(DELETE, likely=True)
REMOVE = step(A.REMOVE_LOCATION, IMAGE, url=URL)
DISCONNECT, DETACH = step(A.DISCONNECT, HELD), step(A.DELETE_ATTACHMENT, HELD)
RELEASE = step(A.RELEASE_HOLD, holder="a-journal")
HELD_THERE = replace(VOLUME_THERE, metadata={HOLD: "a-journal"})
DETACHING = finding(DISCONNECT, DETACH)
RESERVED = replace(ATTACHMENT, status="reserved", host=None)
SEPARATION = (VOLUME, IMAGE, OTHER)
LONG_AGO = SETTINGS.now - timedelta(days=9)

LOOK = step(A.LOOK_AGAIN)
FILE = LeftFile(host="here", path="/tmp/x", size_bytes=1, changed_at=SETTINGS.now)
WRITES = (step(A.SET_METADATA, image_size="5"), step(A.SET_READ_ONLY), step(A.SET_WRITABLE), step(A.ZERO_TAIL))
USERS_VOLUME = replace(VOLUME_THERE, project_id="owner", readonly=None, metadata={"image_id": IMAGE.id})
WRITABLE = replace(VOLUME_THERE, readonly=False)
WRONG = finding(about=(IMAGE, Subject("volume", CLONE_ID)), kind="content-differs")
IMAGE_AND_FILE = replace(IMAGE_THERE, locations=(*IMAGE_THERE.locations, ImageLocation("file:///x")))

# For each rule, facts by which it decides.
DECIDED: Mapping[str, list[RepairStepFacts]] = {
    "already-as-left": [
        facts(DELETE, volume=None, begun=True),
        facts(DELETE, volume=replace(VOLUME_THERE, status="deleting")),
        facts(step(A.DELETE_IMAGE, IMAGE), image=None, begun=True),
        facts(DETACH, attachment=None, begun=True),
        facts(DISCONNECT, attachment=None, begun=True),
        facts(DISCONNECT, attachment=RESERVED),
        facts(REMOVE, image=replace(IMAGE_THERE, locations=()), begun=True),
        facts(REMOVE, image=None, begun=True),
        facts(MOVED, image=None, begun=True),
        facts(step(A.SET_METADATA, image_size="5"), volume=replace(VOLUME_THERE, metadata={"image_size": "5"})),
        facts(step(A.SET_METADATA, image_size="5"), volume=None, begun=True),
        facts(step(A.SET_READ_ONLY)),
        facts(step(A.DELETE_FILE, Subject("file", "here:/tmp/x")), file=None),
        facts(step(A.RELEASE_HOLD, holder="a"), volume=VOLUME_THERE),
        facts(step(A.RELEASE_HOLD, holder="a"), volume=None, begun=True),
        facts(step(A.SET_READ_ONLY), volume=None, begun=True),
        facts(step(A.SET_WRITABLE), volume=replace(VOLUME_THERE, readonly=False)),
        facts(step(A.SET_WRITABLE), volume=None, begun=True),
        facts(step(A.DEACTIVATE_IMAGE, IMAGE), image=replace(IMAGE_THERE, status="deactivated")),
        facts(step(A.DEACTIVATE_IMAGE, IMAGE), image=None, begun=True),
        facts(CLONED, clone=replace(VOLUME_THERE, id=CLONE_ID)),
    ],
    "not-shown": [
        facts(DELETE, volume=None),
        facts(DELETE, volume=None, found=None),
        facts(step(A.DELETE_IMAGE, IMAGE), image=None),
        facts(DETACH, attachment=None),
        facts(REMOVE, image=replace(IMAGE_THERE, locations=())),
        facts(step(A.SET_READ_ONLY), volume=None, opened=True),
        facts(LOOK, planned=finding(LOOK, DELETE), found=None, volume=None),
    ],
    "images-unseen": [facts(each, settings=replace(SETTINGS, images_complete=False)) for each in (DELETE, REMOVE)],
    "named-by-an-image": [
        facts(DELETE, image=None, claimants=(IMAGE_THERE,)),
        facts(REMOVE, image=replace(IMAGE_THERE, locations=TWO_STORES), claimants=(IMAGE_THERE, OTHER_THERE)),
        facts(step(A.DELETE_IMAGE, IMAGE), claimants=(OTHER_THERE,)),
    ],
    "last-that-serves": [
        facts(REMOVE, others=()),
        facts(REMOVE, others=(VOLUME_THERE,)),
        facts(REMOVE, others=(VOLUME_THERE, replace(CLONE_THERE, status="error"))),
        facts(REMOVE, findings=(WRONG,)),
        facts(step(A.REMOVE_LOCATION, IMAGE, url="file:///x"), others=(), image=IMAGE_AND_FILE),
    ],
    "shared-volume": [
        facts(each, claimants=(IMAGE_THERE, OTHER_THERE), volume=replace(VOLUME_THERE, readonly=None))
        for each in WRITES
    ],
    "volume-of-another": [
        *(
            facts(REMOVE, others=(volume, CLONE_THERE), claimants=(IMAGE_THERE,))
            for volume in (
                replace(USERS_VOLUME, project_id="users"),
                replace(VOLUME_THERE, metadata={"image_id": "another"}),
            )
        ),
        facts(
            step(A.SET_WRITABLE),
            volume=replace(USERS_VOLUME, project_id="users", readonly=False),
            claimants=(IMAGE_THERE,),
        ),
        *(
            facts(each, claimants=(IMAGE_THERE,), volume=volume)
            for each in WRITES
            for volume in (
                replace(USERS_VOLUME, project_id="users"),
                replace(USERS_VOLUME, project_id=None),
                replace(USERS_VOLUME, metadata={"image_id": "another"}),
            )
        ),
    ],
    "owner-not-recorded": [
        facts(step(A.SET_METADATA, image_owner="owner"), claimants=(IMAGE_THERE,)),
        facts(
            step(A.SET_METADATA, image_owner="owner"),
            claimants=(IMAGE_THERE,),
            volume=replace(VOLUME_THERE, metadata={"image_id": OTHER.id}),
        ),
    ],
    "clone-for-another-owner": [
        facts(each, about=SEPARATION, image=replace(OTHER_THERE, owner=owner), planned=SHARED, found=SHARED)
        for each in SHARED.repair
        for owner in ("thief", None)
    ],
    "file-elsewhere": [
        facts(step(action, Subject("file", "there:/tmp/x")), file=None, of_this_host=False, found=None)
        for action in (A.DELETE_FILE, A.LOOK_AGAIN)
    ],
    "puts-back": [
        facts(step(A.SET_READ_ONLY), found=None, opened=True, volume=volume, claimants=(IMAGE_THERE,))
        for volume in (replace(VOLUME_THERE, readonly=False), replace(USERS_VOLUME, readonly=False))
    ],
    "stays-writable": [
        facts(step(A.SET_READ_ONLY), found=None, opened=True, volume=volume, claimants=claimants)
        for volume, claimants in (
            (WRITABLE, ()),
            (WRITABLE, (IMAGE_THERE, OTHER_THERE)),
            (replace(USERS_VOLUME, project_id="users"), (IMAGE_THERE,)),
        )
    ],
    "found-no-more": [facts(DELETE, found=None), facts(step(A.ZERO_TAIL), found=None, opened=True)],
    "less-sure": [facts(DELETE, found=LIKELY), facts(DELETE, found=LIKELY, include_likely=True)],
    "other-repair": [facts(REMOVE, found=finding(step(A.DELETE_IMAGE, IMAGE))), facts(DELETE, found=finding())],
    "likely-still": [facts(DELETE, planned=LIKELY, found=LIKELY)],
    "of-a-user": [
        facts(DELETE, volume=replace(VOLUME_THERE, project_id="users")),
        facts(DELETE, volume=replace(VOLUME_THERE, project_id=None)),
    ],
    "is-a-clone": [facts(DELETE, volume=replace(VOLUME_THERE, source_volume_id="a user's"))],
    "volume-held": [facts(DELETE, volume=replace(VOLUME_THERE, metadata={HOLD: "another"}))],
    "not-at-rest": [
        facts(DELETE, volume=replace(VOLUME_THERE, status=status))
        for status in ("in-use", "creating", "reserved", "error_deleting", "maintenance", None)
    ],
    "has-attachments": [
        facts(DELETE, attachments=(ATTACHMENT,)),
        facts(RELEASE, volume=HELD_THERE, attachments=(RESERVED, ATTACHMENT)),
        facts(RELEASE, volume=HELD_THERE, attachments=(replace(RESERVED, instance_id="nova-1"),)),
        facts(DELETE, attachments=(RESERVED,)),
    ],
    "image-has-data": [
        facts(step(A.DELETE_IMAGE, IMAGE)),
        facts(step(A.DELETE_IMAGE, IMAGE), image=replace(IMAGE_THERE, locations=(ImageLocation("file:///x"),))),
        facts(step(A.DELETE_IMAGE, IMAGE), existing=frozenset()),  # that it is lost is another finding
        facts(step(A.DELETE_IMAGE, IMAGE), about=(IMAGE, VOLUME)),
        facts(
            step(A.DELETE_IMAGE, IMAGE),
            about=(IMAGE, VOLUME),
            existing=frozenset(),
            image=replace(IMAGE_THERE, locations=(*IMAGE_THERE.locations, ImageLocation("file:///x"))),
        ),
    ],
    "image-being-written": [
        facts(
            step(A.DELETE_IMAGE, IMAGE),
            image=replace(IMAGE_THERE, locations=()),
            recording=(replace(VOLUME_THERE, status="error", created_at=LONG_AGO), volume),
        )
        for volume in (
            replace(VOLUME_THERE, status="in-use", updated_at=LONG_AGO),
            replace(VOLUME_THERE, status="extending", updated_at=LONG_AGO),
            VOLUME_THERE,
            replace(VOLUME_THERE, created_at=LONG_AGO, updated_at=SETTINGS.now - SETTINGS.stuck_after),
            replace(VOLUME_THERE, created_at=SETTINGS.now),
        )
    ],
    "volume-named-twice": [
        facts(REMOVE, image=replace(IMAGE_THERE, locations=(*TWO_STORES, ImageLocation(f"cinder://{VOLUME_ID}"))))
    ],
    "attachment-of-an-instance": [
        facts(each, attachment=replace(ATTACHMENT, instance_id="nova-1")) for each in (DISCONNECT, DETACH)
    ],
    "attachment-elsewhere": [
        facts(DISCONNECT, attachment=replace(ATTACHMENT, host="there")),
        facts(DETACH, attachment=replace(ATTACHMENT, host=None)),
        facts(DETACH, attachment=replace(ATTACHMENT, host="there"), volume=None),
    ],
    "attachment-connected": [facts(DETACH), facts(DETACH, attachment=RESERVED)],
    "clone-elsewhere": [
        facts(CLONED, about=SEPARATION, volume=replace(VOLUME_THERE, project_id=project))
        for project in ("tenant", None)
    ],
    "store-deletes": [
        facts(CLONED, about=SEPARATION, image=OTHER_THERE, settings=replace(SETTINGS, delayed_delete=True)),
        facts(CLONED, about=SEPARATION, image=OTHER_THERE, catalogue=None),
        facts(
            CLONED,
            about=SEPARATION,
            image=replace(OTHER_THERE, locations=(ImageLocation(URL, {"store": "slow"}), ImageLocation("file:///x"))),
        ),
    ],
    "acts": [
        facts(RELEASE, volume=HELD_THERE),
        facts(RELEASE, volume=HELD_THERE, attachments=(RESERVED,)),  # of what held it
        facts(LOOK, planned=finding(LOOK, RELEASE), volume=HELD_THERE),
        facts(step(A.DELETE_FILE, Subject("file", "here:/tmp/x")), file=FILE),
        facts(DELETE),
        facts(DELETE, volume=replace(VOLUME_THERE, status="error")),
        facts(DELETE, volume=replace(VOLUME_THERE, metadata={HOLD: "us"})),
        facts(DELETE, planned=LIKELY, found=LIKELY, include_likely=True),
        facts(DELETE, planned=LIKELY),
        facts(step(A.SET_WRITABLE), planned=finding(step(A.SET_WRITABLE), likely=True)),
        facts(step(A.DELETE_IMAGE, IMAGE), about=(IMAGE, VOLUME), existing=frozenset()),
        facts(step(A.DELETE_IMAGE, IMAGE), image=replace(IMAGE_THERE, locations=())),
        facts(
            step(A.DELETE_IMAGE, IMAGE),
            image=replace(IMAGE_THERE, locations=()),
            recording=(replace(VOLUME_THERE, created_at=LONG_AGO),),
        ),
        facts(REMOVE, image=replace(IMAGE_THERE, locations=TWO_STORES)),
        facts(
            REMOVE,
            image=replace(IMAGE_THERE, locations=(*TWO_STORES, ImageLocation(f"cinder://{VOLUME_ID}"))),
            existing=frozenset(),
        ),
        facts(DISCONNECT),
        facts(DETACH, volume=None),
        facts(DETACH, volume=None, attachment=replace(ATTACHMENT, host=None)),
        facts(DETACH, volume=None, attachment=RESERVED),
        facts(DETACH, planned=DETACHING, found=DETACHING),
        facts(DETACH, planned=DETACHING, found=DETACHING, attachment=RESERVED),
        facts(CLONED, about=SEPARATION, image=OTHER_THERE),
        facts(CLONED, about=SEPARATION, image=None),
        facts(MOVED, about=SEPARATION, image=OTHER_THERE, clone=replace(VOLUME_THERE, id=CLONE_ID)),
        facts(step(A.SET_LOCATION, IMAGE, url=URL, to="cinder://slow/v", store="slow")),
        facts(step(A.LOOK_AGAIN)),
        facts(step(A.ZERO_TAIL, from_bytes="5")),
        facts(step(A.ZERO_TAIL, from_bytes="5"), volume=None, begun=True),
        facts(step(A.ZERO_TAIL), volume=USERS_VOLUME, claimants=(IMAGE_THERE,)),
        facts(REMOVE, others=(USERS_VOLUME, CLONE_THERE), claimants=(IMAGE_THERE,)),
        facts(REMOVE, others=(CLONE_THERE,), claimants=(IMAGE_THERE,)),
        facts(LOOK, DELETE, found=finding(DELETE)),  # which has become sure
        facts(LOOK, planned=finding(LOOK, REMOVE), volume=None),
        facts(LOOK, planned=finding(LOOK, DELETE), volume=None),
        facts(REMOVE, findings=(replace(WRONG, kind="not-read-only"), replace(WRONG, subjects=(VOLUME,)))),
        facts(
            step(A.SET_METADATA, image_owner="owner"),
            claimants=(IMAGE_THERE,),
            volume=replace(VOLUME_THERE, metadata={"image_id": IMAGE.id}),
        ),
        facts(
            CLONED,
            planned=SHARED,
            found=SHARED,
            image=replace(OTHER_THERE, owner="thief"),
            claimants=(replace(IMAGE_THERE, visibility="public"), OTHER_THERE),
        ),
    ],
}
OUTCOMES = {
    "already-as-left": StepOutcome.DONE,
    "not-shown": StepOutcome.SKIP,
    "puts-back": StepOutcome.ACT,
    "found-no-more": StepOutcome.GONE,
    "less-sure": StepOutcome.SKIP,
    "other-repair": StepOutcome.SKIP,
    "acts": StepOutcome.ACT,
}


class TestStep:
    @pytest.mark.parametrize("rule", [rule.id for rule in STEP_RULES[Policy.STRICT]])
    def test_each_rule_decides_where_it_should(self, rule: str) -> None:
        for known in DECIDED[rule]:
            decision = decide_repair_step(known)
            assert decision.verdicts[-1].rule == rule, decision.reason
            assert decision.outcome is OUTCOMES.get(rule, StepOutcome.REFUSE)
            assert decision.reason == decision.verdicts[-1].text
            assert decision.step == known.step

    @given(
        status=st.sampled_from(["available", "error", "in-use", "reserved", "attaching", "maintenance", None]),
        project=st.sampled_from(["stores", "tenant", "users", None]),
        attachments=st.sampled_from([(), (ATTACHMENT,)]),
        source=st.sampled_from([None, "another"]),
        held=st.sampled_from(["us", "another", None]),
        found=st.sampled_from([None, finding(DELETE), LIKELY, finding()]),
        likely=st.booleans(),
    )
    def test_no_volume_is_deleted_that_is_a_users_in_use_held_or_in_doubt(
        self,
        status: str | None,
        project: str | None,
        attachments: tuple[AttachmentFacts, ...],
        source: str | None,
        held: str | None,
        found: Finding | None,
        likely: bool,
    ) -> None:
        volume = replace(
            VOLUME_THERE,
            status=status,
            project_id=project,
            source_volume_id=source,
            metadata={HOLD: held} if held else {},
        )
        decision = decide_repair_step(
            facts(DELETE, volume=volume, attachments=attachments, found=found, include_likely=likely)
        )
        if decision.outcome is StepOutcome.ACT:
            assert (status in ("available", "error"), project, attachments, source) == (True, "stores", (), None)
            assert held in ("us", None)
            assert found == finding(DELETE)


class TestAgain:
    def test_the_same_finding_is_found_by_its_id(self) -> None:
        others = [finding(DELETE, kind="other"), finding(DELETE)]
        assert found_again(finding(DELETE, likely=True), others) is others[1]
        assert found_again(finding(DELETE), others[:1]) is None

    def test_the_same_finding_is_found_also_if_it_has_another_repair_now(self) -> None:
        now = finding(step(A.SET_READ_ONLY))
        assert found_again(finding(DELETE), [now]) is now

    def test_the_order_of_its_subjects_makes_no_other_finding(self) -> None:
        turned = replace(SHARED, subjects=SHARED.subjects[::-1])
        assert found_again(SHARED, [turned]) is turned

    def test_what_a_part_of_the_repair_left_is_the_same_finding(self) -> None:
        third = Subject("image", "image-2")
        whole = replace(SHARED, subjects=(*SHARED.subjects, third), repair=(*SHARED.repair, step(A.LOOK_AGAIN)))
        assert found_again(whole, [SHARED]) is SHARED
        assert found_again(SHARED, [whole]) is None
        assert found_again(whole, [replace(SHARED, repair=(step(A.LOOK_AGAIN),))]) is None


class TestSteps:
    def test_what_cannot_be_given_back_is_risky(self) -> None:
        assert {action.value for action in RepairAction if is_risky(step(action))} == {
            *("delete-image", "delete-volume", "delete-attachment", "remove-location"),
            *("deactivate-image", "disconnect", "zero-tail", "delete-file", "release-hold"),
        }

    def test_a_location_that_gets_its_store_needs_no_clone(self) -> None:
        assert needs_clone(MOVED)
        assert needs_clone(CLONED)
        assert not needs_clone(step(A.SET_LOCATION, IMAGE, url=URL, to=URL, store="fast"))
        assert not needs_clone(DELETE)


LEFT = RepairClone(
    volume=replace(CLONE_THERE, source_volume_id=VOLUME_ID), cloned=VOLUME_ID, offered=False, images_complete=True
)


class TestClone:
    """A clone that a repair does not need any more is deleted only if nothing can need it."""

    @pytest.mark.parametrize(
        "changes, rule, outcome",
        [
            ({"named_by": ("image-1",)}, "clone-named", CloneOutcome.KEEP),
            ({"images_complete": False}, "clone-images-unseen", CloneOutcome.NAME),
            ({"cloned": "another"}, "clone-of-another", CloneOutcome.NAME),
            ({"volume": CLONE_THERE}, "clone-of-another", CloneOutcome.NAME),
            ({"offered": True}, "clone-offered", CloneOutcome.NAME),
            ({"attachment_ids": ("a",)}, "clone-in-use", CloneOutcome.NAME),
            ({"volume": replace(LEFT.volume, status="creating")}, "clone-in-use", CloneOutcome.NAME),
            ({"volume": replace(LEFT.volume, status="error")}, "clone-left", CloneOutcome.DELETE),
            ({}, "clone-left", CloneOutcome.DELETE),
        ],
    )
    def test_what_becomes_of_a_clone_is_said_with_its_reason(
        self, changes: dict[str, Any], rule: str, outcome: CloneOutcome
    ) -> None:
        decision = decide_repair_clone(replace(LEFT, **changes))
        assert (decision.outcome, decision.verdicts[-1].rule) == (outcome, rule)
        assert decision.reason == decision.verdicts[-1].text


def test_the_tables_are_among_all_others() -> None:
    tables = [table.rules for table in rule_tables() if table.name.startswith("Repairing")]
    assert tables == [PLAN_RULES[Policy.STRICT], STEP_RULES[Policy.STRICT], CLONE_RULES[Policy.STRICT]]
