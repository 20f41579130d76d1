"""A volume is deleted as a killed procedure's remains if, and only if, it is certain that it is that."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core import (
    FINISHED,
    UNFINISHED,
    AttachmentFacts,
    HolderState,
    InvalidFact,
    Policy,
    ProcessRecord,
    RemainsAction,
    RemainsDecision,
    RunningProcess,
    Volume,
    VolumeOrigin,
    decide_reclaim,
    decide_remains,
)
from imagevol_core.remains import JOURNAL_KEY
from tests.core.test_reclaiming import GONE, HERE, NO_PROCESS, records

NOW = datetime(2026, 1, 3, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=2)
JUST_NOW = NOW - timedelta(minutes=5)
ELSEWHERE = replace(GONE, boot_id="00000000-0f0e-4a3f-9d3c-0c8a1b9f2d11", host=None)

texts = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=40)
origins = st.builds(
    VolumeOrigin,
    procedure=texts,
    image_id=st.none() | texts,
    host=st.none() | texts,
    process=st.none() | records,
    finished=st.booleans(),
)


def left(
    process: ProcessRecord | None = GONE,
    metadata: dict[str, str] | None = None,
    procedure: str = "add",
    **facts: object,
) -> Volume:
    origin = VolumeOrigin(procedure=procedure, image_id="e38f", host="node1", process=process)
    given = {"project_id": "service", "status": "available", "created_at": LONG_AGO, **facts}
    return Volume(id="7ad3", size_gib=1, metadata={**origin.to_volume(), **(metadata or {})}, **given)  # type: ignore[arg-type]


def decide(volume: Volume, running: RunningProcess | None = NO_PROCESS, **more: object) -> RemainsDecision:
    given = {"here": HERE, "project_id": "service", "now": NOW, **more}
    return decide_remains(volume, running=running, **given)  # type: ignore[arg-type]


class TestOrigin:
    @given(origins)
    def test_the_origin_of_a_volume_is_read_as_it_was_written(self, origin: VolumeOrigin) -> None:
        written = origin.to_volume()
        assert VolumeOrigin.from_volume({"name": "disk", **written}) == origin
        assert all(len(value) <= 255 for value in written.values())

    @given(origins)
    def test_the_last_step_marks_a_volume_as_finished(self, origin: VolumeOrigin) -> None:
        assert VolumeOrigin.from_volume({**origin.to_volume(), **FINISHED}) == replace(origin, finished=True)

    def test_an_unfinished_volume_is_found_by_its_metadata(self) -> None:
        assert UNFINISHED.items() <= VolumeOrigin(procedure="put").to_volume().items()
        assert not UNFINISHED.items() <= VolumeOrigin(procedure="put", finished=True).to_volume().items()

    def test_the_mark_of_an_unfinished_volume_does_not_say_that_it_holds_an_image(self) -> None:
        assert not {"image_id", "glance_image_id", "image_owner"} & left().metadata.keys()


class TestDecision:
    def test_a_volume_is_deleted_only_if_it_was_certainly_left_behind(self) -> None:
        seen = set()
        for process, image, source, project, finished, running, status, template in product(
            (None, GONE, HERE, ELSEWHERE),
            (False, True),
            (None, "0c1d"),
            ("service", "a-users", None),
            (False, True),
            (NO_PROCESS, RunningProcess(exists=True)),
            ("available", "in-use", "creating", "error"),
            (False, True),
        ):
            metadata = {
                **({"image_id": "e38f"} if image else {}),
                **(FINISHED if finished else {}),
                **({"imagevol_template": "e38f"} if template else {}),
            }
            volume = left(process, metadata, source_volume_id=source, project_id=project, status=status)
            decision = decide(volume, running)
            ours = project == "service" and not (image or source or finished or template)
            dead = process == GONE and not running.exists
            assert (decision.action is RemainsAction.DELETE) == (ours and dead and status != "creating"), decision
            seen.add(decision.verdicts[-1].rule)
        seen.add(decide(Volume(id="7ad3", size_gib=1)).verdicts[-1].rule)
        seen.add(decide(left(ELSEWHERE, created_at=JUST_NOW)).verdicts[-1].rule)
        seen.add(decide(left(procedure="upload", source_volume_id="0c1d")).verdicts[-1].rule)
        seen.add(decide(left(metadata={JOURNAL_KEY: "5f0a"})).verdicts[-1].rule)
        assert len(seen) == 13  # every rule was the one that applied

    @pytest.mark.parametrize("procedure", ["put", "register"])
    def test_a_volume_that_a_journal_names_is_deleted_only_if_an_operator_names_it(self, procedure: str) -> None:
        journalled = left(procedure=procedure, metadata={JOURNAL_KEY: "5f0a"})
        decision = decide(journalled)
        assert (decision.action, decision.verdicts[-1].rule) == (RemainsAction.NAME, "has-journal")
        assert "journal 5f0a names it, from which its command may go on with --resume" in str(decision)
        assert decide(journalled, named=True).action is RemainsAction.DELETE

    @pytest.mark.parametrize("key", ["image_id", "glance_image_id", "image_owner"])
    def test_a_volume_that_may_be_an_images_is_only_named(self, key: str) -> None:
        decision = decide(left(metadata={key: "e38f"}))
        assert decision.action is RemainsAction.NAME
        assert str(decision).endswith("; delete it with `imagevol rm 7ad3`")

    def test_a_forged_origin_that_cinder_copied_to_a_clone_deletes_nothing(self) -> None:
        assert decide(left(procedure="upload", source_volume_id="0c1d")).action is RemainsAction.NAME
        assert decide(left(procedure="cp", source_volume_id="0c1d")).action is RemainsAction.NAME

    @pytest.mark.parametrize("procedure", ["doctor", "validate", "upload"])
    def test_a_clone_of_a_procedure_that_clones_is_deleted_if_an_operator_names_it(self, procedure: str) -> None:
        clone = left(procedure=procedure, source_volume_id="0c1d")
        assert decide(clone).action is RemainsAction.NAME
        assert decide(clone, named=True).action is RemainsAction.DELETE

    @pytest.mark.parametrize("procedure", ["upload", "warm", "put"])
    def test_a_migrated_volume_can_be_a_clone(self, procedure: str) -> None:
        migrated = left(procedure=procedure, migration_status="success")
        assert decide(migrated).action is RemainsAction.NAME
        assert decide(migrated, named=True).action is RemainsAction.DELETE
        for no_migration in ("none", "", None):
            volume = left(procedure=procedure, migration_status=no_migration)
            assert decide(volume).action is RemainsAction.DELETE

    @pytest.mark.parametrize("named", [False, True])
    def test_a_copy_of_an_unfinished_volume_in_cinders_cache_is_left_alone(self, named: bool) -> None:
        """Cinder copies the metadata of the volume that asked for the image."""
        decision = decide(left(procedure="warm", source_volume_id="0c1d"), named=named)
        assert decision.action is RemainsAction.LEAVE

    @pytest.mark.parametrize("project_id", ["a-users", None])
    def test_a_users_word_deletes_nothing_unless_an_operator_names_the_volume(self, project_id: str | None) -> None:
        volume = left(project_id=project_id)
        assert decide(volume).action is RemainsAction.LEAVE
        assert decide(volume, project_id=None).action is RemainsAction.LEAVE
        assert decide(volume, named=True).action is RemainsAction.DELETE

    def test_an_operator_who_names_a_volume_whose_process_runs_is_told_so(self) -> None:
        decision = decide(left(), RunningProcess(exists=True, started=GONE.started), named=True)
        assert (decision.action, decision.state) == (RemainsAction.LEAVE, HolderState.ALIVE)

    @pytest.mark.parametrize("process", [None, ELSEWHERE, replace(GONE, namespaces="1.2")])
    def test_a_process_that_is_not_known_is_named_after_a_day(self, process: ProcessRecord | None) -> None:
        assert decide(left(process, created_at=JUST_NOW)).action is RemainsAction.LEAVE
        for decision in (
            decide(left(process)),
            decide(left(process, created_at=None)),
            decide(left(process, created_at=JUST_NOW), named=True),
        ):
            assert decision.action is RemainsAction.NAME
            assert "`openstack volume delete 7ad3`" in str(decision)

    def test_the_decision_on_an_unfinished_volume_says_why(self) -> None:
        assert str(decide(left(), named=True)) == (
            "volume 7ad3 (procedure add, image e38f): its process 7 on this host has ended; "
            "delete it with `imagevol rm 7ad3`"
        )
        assert decide(left(ELSEWHERE)).reason == "process 7 has it on another host (node1)"
        assert str(decide(Volume(id="7ad3", size_gib=1))) == (
            "volume 7ad3: it does not say that a procedure of ours creates it"
        )

    def test_every_rule_that_was_looked_at_says_what_it_saw(self) -> None:
        assert [verdict.text for verdict in decide(left(None)).verdicts] == [
            "procedure add creates it",
            "its procedure did not take its last step",
            "it is no template",
            "its metadata was written for it",
            "it names no process",
            "it lives in project service, the project of the credentials is service",
            "its metadata names no image",
            "no journal names it",
            "it was not cloned",
            "Cinder is not changing it (status available)",
            "it names no process",
            "it names no process",
            "it names no process",
        ]
        assert {verdict.subject for verdict in decide(left(None)).verdicts} == {"7ad3"}

    @pytest.mark.parametrize(
        "volume, named, text",
        [
            (left(metadata=dict(FINISHED)), False, "its procedure took its last step"),
            (left(metadata={"imagevol_template": "e38f"}), False, "it is a template, which the driver replaces"),
            (left(project_id=None), False, "it lives in project not known, the project of the credentials is service"),
            (left(metadata={"image_id": "e38f"}), False, "its metadata names an image, which may use it"),
            (
                left(procedure="put", source_volume_id="0c1d"),
                *(False, "it was cloned from volume 0c1d, and procedure put clones none"),
            ),
            (
                left(procedure="upload", source_volume_id="0c1d"),
                *(False, "it was cloned from volume 0c1d, and its metadata may be copied from there"),
            ),
            (
                left(migration_status="success"),
                *(False, "it was migrated, and Cinder no longer tells of which volume it was cloned"),
            ),
            (left(status="deleting"), False, "Cinder is changing it (status deleting)"),
            (
                left(None, created_at=JUST_NOW),
                *(False, "it names no process, and the volume was created less than 1 day ago"),
            ),
            (left(None, created_at=NOW - timedelta(days=1)), False, "it names no process"),
        ],
    )
    def test_the_rule_that_applies_says_why(self, volume: Volume, named: bool, text: str) -> None:
        assert decide(volume, named=named).reason == text

    def test_the_reason_says_that_an_operator_named_the_volume(self) -> None:
        assert "an operator named it" in [verdict.text for verdict in decide(left(), named=True).verdicts]

    @given(origins)
    def test_forged_metadata_stays_on_one_line(self, origin: VolumeOrigin) -> None:
        forged = replace(origin, procedure="red\x1b[31m\n", image_id="\n", host="\n")
        assert str(decide(Volume(id="7ad3", size_gib=1, metadata=forged.to_volume()))).isprintable()

    def test_a_decision_without_a_verdict_gives_no_reason(self) -> None:
        assert replace(decide(left()), verdicts=()).reason == ""

    def test_glance_store_deletes_nothing(self) -> None:
        decision = decide(left(), policy=Policy.UPSTREAM)
        assert (decision.action, decision.reason) == (RemainsAction.LEAVE, "it is left as it is (status available)")

    def test_a_time_without_a_zone_is_refused(self) -> None:
        with pytest.raises(InvalidFact) as caught:
            decide(left(), now=NOW.replace(tzinfo=None))
        assert str(caught.value) == "decide_remains.now: 2026-01-03T00:00:00 has no time zone; give one"


class TestMaker:
    """An attachment that is not complete shows no process; on an unfinished volume it is its maker's."""

    @pytest.mark.parametrize(
        "status, instance_id, expected",
        [
            ("reserved", None, "dead"),
            ("attaching", None, "dead"),
            ("attached", None, "unknown"),
            (None, None, "unknown"),
            ("attaching", "d2f7", "unknown"),
        ],
    )
    def test_an_attachment_is_taken_back_with_the_dead_creator_of_its_volume(
        self, status: str | None, instance_id: str | None, expected: str
    ) -> None:
        facts = AttachmentFacts(id="9ab1", status=status, instance_id=instance_id)
        assert decide_reclaim(facts, here=HERE, running=NO_PROCESS, maker=GONE).state.value == expected
        assert decide_reclaim(facts, here=HERE, running=NO_PROCESS).state is HolderState.UNKNOWN

    def test_a_process_that_the_attachment_names_counts_more(self) -> None:
        facts = AttachmentFacts(id="9ab1", status="attaching", device=HERE.to_text())
        assert decide_reclaim(facts, here=HERE, running=NO_PROCESS, maker=GONE).state is HolderState.ALIVE
