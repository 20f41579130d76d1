"""Whether an attachment that keeps a volume busy was left by a process that is dead ([store]).

A process that is killed cannot detach its volume, which then stays in use for ever.  So each of our attachments names
its process, in the field that Cinder shows as the attachment's device.  Another process of the same host that finds the
volume busy can tell that this process has ended, and take its attachment back.

Only certainty counts.  The attachment of an instance, of another program, of another host or of a process that may be
running is never taken back.  A process ID alone proves nothing: other processes get it later, and each container counts
its own.  So the record also has the start of the process, the namespaces that both count in, and the boot.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import cast

from imagevol_core.sentences import said
from imagevol_core.verdicts import Choice, Policy, Verdict, first_match, table_of

__all__ = [
    "RECLAIM_RULES",
    "AttachmentFacts",
    "HolderState",
    "ProcessRecord",
    "ReclaimDecision",
    "RunningProcess",
    "decide_process",
    "decide_reclaim",
    "holder_of",
    "unanswered_attachments",
]

_LABEL = "imagevol"
_RECORD = re.compile(
    r"(?:.* )?imagevol host=([0-9a-f]{16}|-) boot=([0-9a-f-]{32,36}) ns=(\d{1,20}[.]\d{1,20}) pid=(\d{1,10}) "
    r"start=(\d{1,20})",
    re.ASCII,
)
_INCOMPLETE = ("reserved", "attaching")
_FREE = "openstack --os-volume-api-version 3.27 volume attachment delete"


class HolderState(Enum):
    """Whether the process that made an attachment or a volume has ended: `DEAD`, `ALIVE`, or `UNKNOWN` on this host."""

    DEAD = "dead"
    ALIVE = "alive"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """A name of a process that no other process has, on any host and at any time.

    Args:
        host: a digest of what tells this host from all others, also after a restart; None if that is not known.
        boot_id: of the running kernel; it differs after each start.
        namespaces: those by which process IDs and times are counted, as `PID.TIME`.
        pid: the process ID in that namespace.
        started: when it was started, in clock ticks since the boot.
    """

    host: str | None = None
    boot_id: str
    namespaces: str
    pid: int
    started: int

    def to_text(self, label: str = "") -> str:
        """Give the record as one line of text, which fits into the 255 characters that Cinder keeps.

        Args:
            label: the beginning of the text, for people.

        >>> here = ProcessRecord(boot_id="3c9f7d34-0f0e-4a3f-9d3c-0c8a1b9f2d11", namespaces="4.5", pid=7, started=123)
        >>> here.to_text("glance_store")
        'glance_store imagevol host=- boot=3c9f7d34-0f0e-4a3f-9d3c-0c8a1b9f2d11 ns=4.5 pid=7 start=123'
        """
        text = (
            f"{_LABEL} host={self.host or '-'} boot={self.boot_id} ns={self.namespaces} pid={self.pid} "
            f"start={self.started}"
        )
        return f"{label} {text}" if label else text

    @classmethod
    def from_text(cls, text: str | None) -> ProcessRecord | None:
        """Read a record out of what Cinder shows as an attachment's device; None if there is none.

        >>> ProcessRecord.from_text("/dev/vdb") is None
        True
        """
        found = _RECORD.fullmatch(text) if text else None
        if found is None:
            return None
        host, boot_id, namespaces, pid, started = found.groups()
        return cls(
            host=None if host == "-" else host,
            boot_id=boot_id,
            namespaces=namespaces,
            pid=int(pid),
            started=int(started),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentFacts:
    """An attachment of a volume, as Cinder shows it.

    Args:
        id: the attachment's UUID.
        status: Cinder's: `reserved`, `attaching`, `attached`.
        instance_id: the instance that it is for; None if it is for none.
        host: where the volume is attached, which Cinder shows to administrators and services only.
        device: what Cinder shows as the device, which names the process of one of ours; None until it is attached.
        volume_id: what is attached; None if it is not known.
    """

    id: str
    status: str | None = None
    instance_id: str | None = None
    host: str | None = None
    device: str | None = None
    volume_id: str | None = None

    @property
    def process(self) -> ProcessRecord | None:
        """The process that made it, if it says so."""
        return ProcessRecord.from_text(self.device)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningProcess:
    """What this host knows of a process ID.

    Args:
        exists: whether a process has it now.
        started: when that was started; None if that cannot be read.
    """

    exists: bool
    started: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReclaimDecision:
    """Whether an attachment that keeps a volume busy was left by a dead process.

    Attributes:
        attachment_id: which one.
        state: whether the process that made it is dead.
        verdicts: each rule that was looked at, up to the one that applies.
        instance_id: the instance that has it; None if none has.
        volume_id: the volume; None if it is not known.
    """

    attachment_id: str
    state: HolderState
    verdicts: tuple[Verdict, ...]
    instance_id: str | None = None
    volume_id: str | None = None

    @property
    def reason(self) -> str:
        """Why, as a sentence."""
        return self.verdicts[-1].text

    def __str__(self) -> str:
        """Who has the volume, and what frees it if that is not known here."""
        text = f"attachment {self.attachment_id}: {self.reason}"
        if self.instance_id:
            command = f"openstack server remove volume {said(self.instance_id)} {self.volume_id or 'VOLUME'}"
            return f"{text}; detach it with `{command}`"
        if self.state is not HolderState.UNKNOWN:
            return text
        return f"{text}; if nothing uses it, free it with `{_FREE} {self.attachment_id}`"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the rules look at; no attachment where only a process is asked for."""

    attachment: AttachmentFacts | None = None
    host: str | None = None
    record: ProcessRecord | None
    here: ProcessRecord | None
    running: RunningProcess | None


def decide_reclaim(
    attachment: AttachmentFacts,
    *,
    here: ProcessRecord | None,
    running: RunningProcess | None = None,
    maker: ProcessRecord | None = None,
    policy: Policy = Policy.STRICT,
) -> ReclaimDecision:
    """Decide whether an attachment was left by a process that is dead ([store]).

    Args:
        attachment: as Cinder shows it.
        here: this process; None if this host does not tell.
        running: what this host knows of the process ID that the attachment names; None if it was not asked.
        maker: the process that creates the volume, if it is unfinished; `holder_of` says when the attachment is its.
        policy: whose rules.  Under `UPSTREAM`, those of glance_store 5.7.0, which takes nothing back.

    >>> boot = "3c9f7d34-0f0e-4a3f-9d3c-0c8a1b9f2d11"
    >>> gone = ProcessRecord(boot_id=boot, namespaces="4.5", pid=7, started=123)
    >>> here = ProcessRecord(boot_id=boot, namespaces="4.5", pid=8, started=456)
    >>> left = AttachmentFacts(id="9ab1", device=gone.to_text())
    >>> decision = decide_reclaim(left, here=here, running=RunningProcess(exists=False))
    >>> decision.state, decision.reason
    (<HolderState.DEAD: 'dead'>, 'its process 7 on this host has ended')
    >>> str(decide_reclaim(AttachmentFacts(id="9ab1", instance_id="d2f7", device="/dev/vdb"), here=here))
    'attachment 9ab1: it is of instance d2f7; detach it with `openstack server remove volume d2f7 VOLUME`'
    """
    asked = _Asked(
        attachment=attachment,
        host=attachment.host,
        record=holder_of(attachment, maker=maker),
        here=here,
        running=running,
    )
    state, verdicts = first_match(table_of(RECLAIM_RULES, policy), asked, subject=attachment.id)
    return ReclaimDecision(
        attachment_id=attachment.id,
        state=state,
        verdicts=verdicts,
        volume_id=attachment.volume_id,
        instance_id=attachment.instance_id if policy is Policy.STRICT else None,
    )


def holder_of(attachment: AttachmentFacts, *, maker: ProcessRecord | None) -> ProcessRecord | None:
    """Give the process that has an attachment; None if it is not known.

    Cinder does not show the device of an attachment that is not complete.  On a volume that a procedure is still
    creating, such an attachment is of the process that creates it.

    Args:
        attachment: as Cinder shows it.
        maker: the process that creates the volume, if it is unfinished.

    >>> maker = ProcessRecord(boot_id="3c9f7d34-0f0e-4a3f-9d3c-0c8a1b9f2d11", namespaces="4.5", pid=7, started=123)
    >>> holder_of(AttachmentFacts(id="9ab1", status="attaching"), maker=maker).pid
    7
    >>> holder_of(AttachmentFacts(id="9ab1", status="attached", device="/dev/vdb"), maker=maker) is None
    True
    """
    return attachment.process or (maker if attachment.status in _INCOMPLETE else None)


def decide_process(
    record: ProcessRecord,
    *,
    here: ProcessRecord | None,
    running: RunningProcess | None = None,
    host: str | None = None,
) -> tuple[HolderState, str]:
    """Decide whether the process of a record is dead, and give the reason as a sentence.

    Args:
        record: the process.
        here: this process; None if this host does not tell.
        running: what this host knows of the record's process ID; None if it was not asked.
        host: the name of the record's host, for the sentence.

    >>> there = ProcessRecord(boot_id="3c9f7d34-0f0e-4a3f-9d3c-0c8a1b9f2d11", namespaces="4.5", pid=7, started=123)
    >>> decide_process(there, here=None)
    (<HolderState.UNKNOWN: 'unknown'>, 'this host does not tell which of its processes run')
    """
    asked = _Asked(host=host, record=record, here=here, running=running)
    state, verdicts = first_match(_PROCESS_RULES, asked)
    return state, verdicts[-1].text


def _of_an_instance(asked: _Asked) -> tuple[bool, str]:
    instance_id = _attachment(asked).instance_id
    return bool(instance_id), f"it is of instance {said(instance_id)}" if instance_id else "it is of no instance"


def _without_record(asked: _Asked) -> tuple[bool, str]:
    if asked.record is not None:
        return False, f"it names process {asked.record.pid}"
    attachment = _attachment(asked)
    return True, f"it names no process of ours (status {said(attachment.status)}, device {said(attachment.device)})"


def _not_told(asked: _Asked) -> tuple[bool, str]:
    return asked.here is None, "this host does not tell which of its processes run"


def _own(asked: _Asked) -> tuple[bool, str]:
    return asked.record == asked.here, f"this process, {_pid(asked)}, has it"


def _restarted(asked: _Asked) -> tuple[bool, str]:
    record, here = _both(asked)
    same = record.host is not None and record.host == here.host
    return same and record.boot_id != here.boot_id, f"its process {record.pid} ended when this host was restarted"


def _elsewhere(asked: _Asked) -> tuple[bool, str]:
    record, here = _both(asked)
    host = f" ({said(asked.host)})" if asked.host else ""
    return record.boot_id != here.boot_id, f"process {record.pid} has it on another host{host}"


def _in_another_namespace(asked: _Asked) -> tuple[bool, str]:
    record, here = _both(asked)
    return (
        record.namespaces != here.namespaces,
        f"process {record.pid} in another container of this host has it (namespaces {record.namespaces})",
    )


def _ended(asked: _Asked) -> tuple[bool, str]:
    record, running = _both(asked)[0], asked.running
    if running is None:
        return False, f"whether process {record.pid} runs is not known"
    replaced = running.started is not None and running.started != record.started
    return not running.exists or replaced, f"its process {record.pid} on this host has ended"


def _runs(asked: _Asked) -> tuple[bool, str]:
    return True, f"process {_pid(asked)} on this host has it"


def _left_alone(asked: _Asked) -> tuple[bool, str]:
    return True, f"it is left as it is (status {said(_attachment(asked).status)})"


def _attachment(asked: _Asked) -> AttachmentFacts:
    """The attachment, for the rules that are only asked of one."""
    return cast(AttachmentFacts, asked.attachment)


def _pid(asked: _Asked) -> int:
    return _both(asked)[0].pid


def _both(asked: _Asked) -> tuple[ProcessRecord, ProcessRecord]:
    """The two processes, which the first rules have seen to be there."""
    return cast(ProcessRecord, asked.record), cast(ProcessRecord, asked.here)


_SPEC = "[store]"

_PROCESS_RULES: tuple[Choice[_Asked, HolderState], ...] = (
    Choice(
        id="not-told",
        text="leave it: this host tells nothing",
        source=_SPEC,
        applies=_not_told,
        outcome=HolderState.UNKNOWN,
    ),
    Choice(id="own", text="leave it: this process has it", source=_SPEC, applies=_own, outcome=HolderState.ALIVE),
    Choice(
        id="restarted",
        text="take it back: the same host was restarted, and its processes ended",
        source=_SPEC,
        applies=_restarted,
        outcome=HolderState.DEAD,
    ),
    Choice(
        id="elsewhere",
        text="leave it: its process is on another host",
        source=_SPEC,
        applies=_elsewhere,
        outcome=HolderState.UNKNOWN,
    ),
    Choice(
        id="in-another-namespace",
        text="leave it: its process is in another container, where process IDs differ",
        source=_SPEC,
        applies=_in_another_namespace,
        outcome=HolderState.UNKNOWN,
    ),
    Choice(
        id="ended",
        text="take it back: no process has its process ID, or one that was started at another time",
        source=_SPEC,
        applies=_ended,
        outcome=HolderState.DEAD,
    ),
    Choice(
        id="runs", text="leave it: its process runs, or may run", source=_SPEC, applies=_runs, outcome=HolderState.ALIVE
    ),
)

RECLAIM_RULES: Mapping[Policy, tuple[Choice[_Asked, HolderState], ...]] = {
    Policy.STRICT: (
        Choice(
            id="of-an-instance",
            text="leave it: an instance has it",
            source=_SPEC,
            applies=_of_an_instance,
            outcome=HolderState.UNKNOWN,
        ),
        Choice(
            id="without-record",
            text="leave it: it names no process",
            source=_SPEC,
            applies=_without_record,
            outcome=HolderState.UNKNOWN,
        ),
        *_PROCESS_RULES,
    ),
    Policy.UPSTREAM: (
        Choice(
            id="left-alone",
            text="leave it",
            source="glance_store._drivers.cinder.store.Store",
            applies=_left_alone,
            outcome=HolderState.UNKNOWN,
        ),
    ),
}


def unanswered_attachments(attachments: Iterable[AttachmentFacts]) -> tuple[AttachmentFacts, ...]:
    """Give the attachments of a new volume that Cinder created and whose answer its creator never received.

    Args:
        attachments: of a volume that nothing but the caller knows. Of any other volume they may be someone else's.

    >>> lost = AttachmentFacts(id="1c2d", status="reserved")
    >>> [each.id for each in unanswered_attachments([lost, AttachmentFacts(id="3e4f", status="attached", host="node")])]
    ['1c2d']
    """
    return tuple(
        each for each in attachments if each.status in _INCOMPLETE and each.host is None and each.instance_id is None
    )
