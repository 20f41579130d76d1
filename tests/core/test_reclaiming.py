"""An attachment is taken back if, and only if, it is certain that the process that made it has ended."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core import (
    AttachmentFacts,
    HolderState,
    Policy,
    ProcessRecord,
    RunningProcess,
    decide_process,
    decide_reclaim,
    unanswered_attachments,
)

BOOT = "3c9f7d34-0f0e-4a3f-9d3c-0c8a1b9f2d11"
EARLIER = "00000000-0f0e-4a3f-9d3c-0c8a1b9f2d11"
HERE = ProcessRecord(host="0123456789abcdef", boot_id=BOOT, namespaces="4026531836.4026531834", pid=8, started=456)
GONE = replace(HERE, pid=7, started=123)
NO_PROCESS = RunningProcess(exists=False)

records = st.builds(
    ProcessRecord,
    host=st.none() | st.from_regex(r"\A[0-9a-f]{16}\Z"),
    boot_id=st.uuids().map(str),
    namespaces=st.tuples(st.integers(0, 2**32), st.integers(0, 2**32)).map(lambda pair: "{}.{}".format(*pair)),
    pid=st.integers(1, 2**22),
    started=st.integers(0, 2**63),
)


def attachment(record: ProcessRecord | None = GONE, **facts: str) -> AttachmentFacts:
    return AttachmentFacts(id="9ab1", status="attached", device=record.to_text() if record else None, **facts)


class TestRecord:
    """A record goes through Cinder, which keeps 255 characters and gives them back as the attachment's device."""

    @given(records, st.text(st.characters(categories=("L", "N", "P")), max_size=30))
    def test_the_record_of_a_process_is_read_as_it_was_written(self, record: ProcessRecord, label: str) -> None:
        text = record.to_text(label)
        assert ProcessRecord.from_text(text) == record
        assert len(text) <= 255

    def test_a_label_stands_before_it_if_there_is_one(self) -> None:
        text = f"imagevol host=0123456789abcdef boot={BOOT} ns=4026531836.4026531834 pid=8 start=456"
        assert HERE.to_text() == text
        assert HERE.to_text("glance_store") == f"glance_store {text}"

    @given(st.text(max_size=300))
    def test_a_text_of_another_program_is_no_record(self, text: str) -> None:
        assert ProcessRecord.from_text(text) is None

    @pytest.mark.parametrize(
        "text",
        [
            None,
            "",
            "/dev/vdb",
            "glance_store",
            HERE.to_text() + " ",
            HERE.to_text() + "\n",
            HERE.to_text().replace("pid=8", "pid=-8"),
            HERE.to_text().replace("pid=8", "pid=\u0668"),
            HERE.to_text().replace("pid=8", "pid=" + "8" * 30),
            HERE.to_text().replace(" start=456", ""),
            "x" + HERE.to_text(),
        ],
    )
    def test_a_text_that_is_nearly_a_record_is_none(self, text: str | None) -> None:
        assert ProcessRecord.from_text(text) is None


class TestDecision:
    def test_an_attachment_is_taken_back_only_if_its_process_has_ended_for_certain(self) -> None:
        seen = (None, NO_PROCESS, *(RunningProcess(exists=True, started=started) for started in (None, 123, 456, 999)))
        found = set()
        for record, here, running, instance_id in product(
            (
                None,
                *(
                    replace(GONE, host=host, boot_id=boot_id, namespaces=namespaces, pid=pid, started=started)
                    for host, boot_id, namespaces, (pid, started) in product(
                        (None, HERE.host, "fedcba9876543210"),
                        (BOOT, EARLIER),
                        (HERE.namespaces, "1.2"),
                        ((7, 123), (8, 456)),
                    )
                ),
            ),
            (None, HERE, replace(HERE, host=None)),
            seen,
            (None, "d2f7"),
        ):
            decision = decide_reclaim(
                AttachmentFacts(id="9ab1", instance_id=instance_id, device=record.to_text() if record else None),
                here=here,
                running=running,
            )
            comparable = record is not None and here is not None and instance_id is None
            restarted = comparable and record.boot_id != here.boot_id and record.host == here.host is not None  # type: ignore[union-attr]
            same = comparable and (record.boot_id, record.namespaces) == (here.boot_id, here.namespaces)  # type: ignore[union-attr]
            vanished = running is not None and (
                not running.exists or running.started not in (None, record.started if record else None)
            )
            dead = restarted or (same and record != here and vanished)
            assert (decision.state is HolderState.DEAD) == dead, (record, here, running, instance_id)
            found.add(decision.verdicts[-1].rule)
        assert len(found) == 9  # every rule was the one that applied

    @pytest.mark.parametrize(
        "held, running, state, reason",
        [
            (attachment(), NO_PROCESS, "dead", "its process 7 on this host has ended"),
            (attachment(), RunningProcess(exists=True, started=999), "dead", "its process 7 on this host has ended"),
            (attachment(), RunningProcess(exists=True, started=123), "alive", "process 7 on this host has it"),
            (attachment(), RunningProcess(exists=True), "alive", "process 7 on this host has it"),
            (attachment(), None, "alive", "process 7 on this host has it"),
            (attachment(HERE), NO_PROCESS, "alive", "this process, 8, has it"),
            (
                attachment(replace(GONE, boot_id=EARLIER)),
                RunningProcess(exists=True, started=123),
                "dead",
                "its process 7 ended when this host was restarted",
            ),
            (
                attachment(replace(GONE, boot_id=EARLIER, host="fedcba9876543210"), host="glance2"),
                NO_PROCESS,
                "unknown",
                "process 7 has it on another host (glance2)",
            ),
            (
                attachment(replace(GONE, boot_id=EARLIER, host=None)),
                NO_PROCESS,
                "unknown",
                "process 7 has it on another host",
            ),
            (
                attachment(replace(GONE, namespaces="1.2")),
                NO_PROCESS,
                "unknown",
                "process 7 in another container of this host has it (namespaces 1.2)",
            ),
            (attachment(instance_id="d2f7"), NO_PROCESS, "unknown", "it is of instance d2f7"),
            (
                attachment(None),
                NO_PROCESS,
                "unknown",
                "it names no process of ours (status attached, device not known)",
            ),
            (
                AttachmentFacts(id="9ab1", device="/dev/vdb"),
                NO_PROCESS,
                "unknown",
                "it names no process of ours (status not known, device /dev/vdb)",
            ),
        ],
    )
    def test_the_decision_on_an_attachment_says_why(
        self, held: AttachmentFacts, running: RunningProcess | None, state: str, reason: str
    ) -> None:
        decision = decide_reclaim(held, here=HERE, running=running)
        assert (decision.state.value, decision.reason) == (state, reason)
        assert decision.attachment_id == held.id
        assert {verdict.subject for verdict in decision.verdicts} == {held.id}

    def test_what_does_not_apply_is_said_too(self) -> None:
        verdicts = decide_reclaim(attachment(), here=HERE, running=NO_PROCESS).verdicts
        assert [verdict.text for verdict in verdicts[:2]] == ["it is of no instance", "it names process 7"]

    @pytest.mark.parametrize(
        "status, device, state",
        [
            ("reserved", None, HolderState.DEAD),
            ("attaching", None, HolderState.DEAD),
            ("attaching", HERE.to_text(), HolderState.ALIVE),
            ("attached", None, HolderState.UNKNOWN),
            (None, None, HolderState.UNKNOWN),
        ],
    )
    def test_an_incomplete_attachment_of_an_unfinished_volume_is_of_the_process_that_creates_it(
        self, status: str | None, device: str | None, state: HolderState
    ) -> None:
        held = AttachmentFacts(id="9ab1", status=status, device=device)
        assert decide_reclaim(held, here=HERE, running=NO_PROCESS, maker=GONE).state is state
        assert decide_reclaim(replace(held, device=None), here=HERE, running=NO_PROCESS).state is HolderState.UNKNOWN

    def test_a_host_that_does_not_tell_of_its_processes_takes_nothing_back(self) -> None:
        decision = decide_reclaim(attachment(), here=None, running=NO_PROCESS)
        assert decision.state is HolderState.UNKNOWN
        assert decision.reason == "this host does not tell which of its processes run"

    @pytest.mark.parametrize("held", [attachment(), attachment(None), attachment(instance_id="d2f7")])
    def test_glance_store_takes_nothing_back(self, held: AttachmentFacts) -> None:
        decision = decide_reclaim(held, here=HERE, running=NO_PROCESS, policy=Policy.UPSTREAM)
        assert decision.state is HolderState.UNKNOWN
        assert decision.reason == "it is left as it is (status attached)"
        assert decision.instance_id is None

    def test_an_attachment_that_is_not_known_comes_with_the_command_that_frees_it(self) -> None:
        command = "openstack --os-volume-api-version 3.27 volume attachment delete 9ab1"
        assert command in str(decide_reclaim(attachment(None), here=HERE))
        for held in (attachment(), attachment(HERE), attachment(instance_id="d2f7")):
            assert command not in str(decide_reclaim(held, here=HERE, running=NO_PROCESS))

    @pytest.mark.parametrize("volume_id, named", [("7ad3", "7ad3"), (None, "VOLUME")])
    def test_an_attachment_of_an_instance_comes_with_the_command_that_detaches_it(
        self, volume_id: str | None, named: str
    ) -> None:
        held = AttachmentFacts(id="9ab1", instance_id="d2f7", volume_id=volume_id)
        assert f"`openstack server remove volume d2f7 {named}`" in str(decide_reclaim(held, here=HERE))

    def test_a_forged_device_name_stays_on_one_line(self) -> None:
        held = AttachmentFacts(id="9ab1", status="attached", device="red\x1b[31m\n")
        assert str(decide_reclaim(held, here=HERE)).isprintable()


class TestProcess:
    """A process that a volume or an attachment names."""

    @pytest.mark.parametrize(
        "record, running, state, text",
        [
            (GONE, NO_PROCESS, HolderState.DEAD, "its process 7 on this host has ended"),
            (
                GONE,
                RunningProcess(exists=True, started=GONE.started),
                *(HolderState.ALIVE, "process 7 on this host has it"),
            ),
            (
                replace(GONE, boot_id=EARLIER, host=None),
                NO_PROCESS,
                *(HolderState.UNKNOWN, "process 7 has it on another host (node1)"),
            ),
        ],
    )
    def test_a_process_is_dead_or_alive_or_not_known(
        self, record: ProcessRecord, running: RunningProcess, state: HolderState, text: str
    ) -> None:
        assert decide_process(record, here=HERE, running=running, host="node1") == (state, text)


class TestUnanswered:
    """Of a new volume, the attachments that no host and no instance has were asked for by its creator."""

    @pytest.mark.parametrize("status", ["reserved", "attaching"])
    def test_an_attachment_that_nothing_holds_belongs_to_the_creator_of_the_volume(self, status: str) -> None:
        lost = AttachmentFacts(id="9ab1", status=status)
        assert unanswered_attachments([lost]) == (lost,)

    @pytest.mark.parametrize(
        "facts",
        [
            {"status": "attached"},
            {"status": None},
            {"status": "reserved", "host": "node1"},
            {"status": "reserved", "instance_id": "d2f7"},
            {"status": "attaching", "host": "node1", "instance_id": "d2f7"},
        ],
    )
    def test_an_attachment_that_a_host_or_an_instance_can_hold_does_not(self, facts: dict[str, str | None]) -> None:
        assert unanswered_attachments([AttachmentFacts(id="9ab1", **facts)]) == ()
