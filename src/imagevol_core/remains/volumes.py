"""Whether a volume was left behind by a procedure whose process is dead ([store]).

A volume says from its first moment what it is: the request that creates it also writes which procedure creates it, for
which image, and in which process.  The last step of the procedure marks the volume as finished.  So an unfinished
volume whose process has ended was left behind, and can be told from all others.

On a volume of a user this is the user's word.  Nothing is deleted for it alone: only volumes of the project in which
the store creates them, or a volume that an operator names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from imagevol_core.errors import InvalidFact
from imagevol_core.facts import Volume
from imagevol_core.marks import TEMPLATE_KEY
from imagevol_core.remains.attachments import HolderState, ProcessRecord, RunningProcess, decide_process
from imagevol_core.sentences import duration, said
from imagevol_core.verdicts import Choice, Policy, Verdict, first_match, table_of

__all__ = [
    "CLONE_OF_KEY",
    "FINISHED",
    "JOURNAL_KEY",
    "REMAINS_RULES",
    "UNFINISHED",
    "RemainsAction",
    "RemainsDecision",
    "VolumeOrigin",
    "decide_remains",
]

_STATE = "imagevol_state"
_PROCEDURE = "imagevol_procedure"
_IMAGE = "imagevol_image"
_HOST = "imagevol_host"
_PROCESS = "imagevol_process"
_CLONE = frozenset({"upload", "doctor", "validate", "repair", "cp"})  # the procedures that clone volumes
_HOLDS_AN_IMAGE = ("glance_image_id", "image_id", "image_owner")
_PASSING = ("creating", "downloading", "extending", "detaching", "deleting")

CLONE_OF_KEY = "imagevol_clone_of"
"""The key of the metadata by which a clone that becomes an image names its source, unlike the volumes of others."""

JOURNAL_KEY = "imagevol_journal"
"""The key of the metadata that names the journal of the command that created a volume or an image."""

UNFINISHED: Mapping[str, str] = {_STATE: "unfinished"}
"""The metadata of a volume that a procedure is creating, or was when its process ended."""

FINISHED: Mapping[str, str] = {_STATE: "finished"}
"""The metadata that the last step of a procedure writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeOrigin:
    """The record of the procedure that creates a volume, in the metadata of the volume.

    Args:
        procedure: `put`, `register`, `add`, `upload`, `template`, `warm`, `doctor`, `validate`, `repair` or `cp`.
        image_id: the image that the volume is for.
        host: the name of the host, for a person.
        process: the process that carries the procedure out.
        finished: whether the procedure took its last step.
    """

    procedure: str
    image_id: str | None = None
    host: str | None = None
    process: ProcessRecord | None = None
    finished: bool = False

    def to_volume(self) -> dict[str, str]:
        """Give the metadata for the request that creates the volume; what is not known is left out.

        >>> VolumeOrigin(procedure="put", image_id="e38f").to_volume()
        {'imagevol_state': 'unfinished', 'imagevol_procedure': 'put', 'imagevol_image': 'e38f'}
        """
        pairs = {
            **(FINISHED if self.finished else UNFINISHED),
            _PROCEDURE: self.procedure,
            _IMAGE: self.image_id,
            _HOST: self.host,
            _PROCESS: self.process.to_text() if self.process else None,
        }
        return {key: value for key, value in pairs.items() if value is not None}

    @classmethod
    def from_volume(cls, metadata: Mapping[str, str]) -> VolumeOrigin | None:
        """Read the metadata of a volume; None if no procedure is named.

        >>> VolumeOrigin.from_volume({"imagevol_procedure": "put", "imagevol_state": "finished"}).finished
        True
        >>> VolumeOrigin.from_volume({"name": "disk"}) is None
        True
        """
        procedure = metadata.get(_PROCEDURE)
        if not procedure:
            return None
        return cls(
            procedure=procedure,
            image_id=metadata.get(_IMAGE),
            host=metadata.get(_HOST),
            process=ProcessRecord.from_text(metadata.get(_PROCESS)),
            finished=metadata.get(_STATE) != UNFINISHED[_STATE],
        )


class RemainsAction(Enum):
    """What to do with an unfinished volume: `DELETE` it, `NAME` it to a person, or `LEAVE` it."""

    DELETE = "delete"
    NAME = "name"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemainsDecision:
    """What to do with an unfinished volume, and why.

    Attributes:
        volume_id: which volume.
        action: `DELETE` if it was certainly left behind, `NAME` if a person has to look, otherwise `LEAVE`.
        state: whether the process that creates it is dead.
        origin: what the volume says; None if it says nothing.
        verdicts: each rule that was looked at, up to the one that applies.
    """

    volume_id: str
    action: RemainsAction
    state: HolderState
    origin: VolumeOrigin | None
    verdicts: tuple[Verdict, ...]

    @property
    def reason(self) -> str:
        """Why, as a sentence; empty without a verdict."""
        return self.verdicts[-1].text if self.verdicts else ""

    @property
    def about(self) -> str:
        """The volume, and what it is."""
        origin = self.origin
        what = f" (procedure {said(origin.procedure)}, image {said(origin.image_id)})" if origin else ""
        return f"volume {self.volume_id}{what}"

    def __str__(self) -> str:
        """The volume, what it is, why this becomes of it, and how a person deletes it."""
        text = f"{self.about}: {self.reason}"
        if self.action is RemainsAction.LEAVE:
            return text
        if self.state is HolderState.DEAD:
            return f"{text}; delete it with `imagevol rm {self.volume_id}`"
        return (
            f"{text}; if that process is gone, delete the volume's attachments, and then the volume with "
            f"`openstack volume delete {self.volume_id}`"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the rules look at."""

    volume: Volume
    origin: VolumeOrigin | None
    state: HolderState
    process: str
    project_id: str | None
    named: bool
    age: timedelta | None
    settle: timedelta


def decide_remains(
    volume: Volume,
    *,
    here: ProcessRecord | None,
    now: datetime,
    running: RunningProcess | None = None,
    project_id: str | None = None,
    named: bool = False,
    settle: timedelta = timedelta(days=1),
    policy: Policy = Policy.STRICT,
) -> RemainsDecision:
    """Decide whether a volume was left behind by a procedure whose process is dead ([store]).

    Args:
        volume: as Cinder shows it.
        here: this process; None if this host does not tell.
        now: the time, with a time zone.
        running: what this host knows of the process ID that the volume names; None if it was not asked.
        project_id: the project of the credentials, in which no user creates volumes; None if it is not known.
        named: whether an operator named this volume; then its metadata need not be more than a user's word.
        settle: the age from which a person is told of a volume whose process is not known.
        policy: whose rules.  Under `UPSTREAM`, those of glance_store 5.7.0, which deletes nothing.

    Raises:
        InvalidFact: `now` has no time zone.

    >>> from datetime import UTC
    >>> boot = "3c9f7d34-0f0e-4a3f-9d3c-0c8a1b9f2d11"
    >>> gone = ProcessRecord(boot_id=boot, namespaces="4.5", pid=7, started=123)
    >>> here = ProcessRecord(boot_id=boot, namespaces="4.5", pid=8, started=456)
    >>> left = Volume(id="7ad3", size_gib=1, project_id="service", metadata=VolumeOrigin(
    ...     procedure="add", image_id="e38f", process=gone).to_volume())
    >>> decision = decide_remains(left, here=here, running=RunningProcess(exists=False), project_id="service",
    ...                           now=datetime(2026, 1, 1, tzinfo=UTC))
    >>> decision.action, decision.reason
    (<RemainsAction.DELETE: 'delete'>, 'its process 7 on this host has ended')
    """
    if now.utcoffset() is None:
        raise InvalidFact("decide_remains.now", f"{now.isoformat()} has no time zone; give one")
    origin = VolumeOrigin.from_volume(volume.metadata)
    state, process = HolderState.UNKNOWN, "it names no process"
    if origin and origin.process:
        state, process = decide_process(origin.process, here=here, running=running, host=origin.host)
    asked = _Asked(
        volume=volume,
        origin=origin,
        state=state,
        process=process,
        project_id=project_id,
        named=named,
        age=now - volume.created_at if volume.created_at else None,
        settle=settle,
    )
    action, verdicts = first_match(table_of(REMAINS_RULES, policy), asked, subject=volume.id)
    return RemainsDecision(volume_id=volume.id, action=action, state=state, origin=origin, verdicts=verdicts)


def _no_origin(asked: _Asked) -> tuple[bool, str]:
    if asked.origin is None:
        return True, "it does not say that a procedure of ours creates it"
    return False, f"procedure {said(asked.origin.procedure)} creates it"


def _finished(asked: _Asked) -> tuple[bool, str]:
    done = asked.origin is not None and asked.origin.finished
    return done, f"its procedure {'took its last step' if done else 'did not take its last step'}"


def _template(asked: _Asked) -> tuple[bool, str]:
    template = bool(asked.volume.metadata.get(TEMPLATE_KEY))
    return template, "it is a template, which the driver replaces" if template else "it is no template"


def _alive(asked: _Asked) -> tuple[bool, str]:
    return asked.state is HolderState.ALIVE, asked.process


def _users_word(asked: _Asked) -> tuple[bool, str]:
    project = asked.volume.project_id
    if asked.named:
        return False, "an operator named it"
    own = project is not None and project == asked.project_id
    return not own, f"it lives in project {said(project)}, the project of the credentials is {said(asked.project_id)}"


def _says_image(asked: _Asked) -> tuple[bool, str]:
    if not any(asked.volume.metadata.get(key) for key in _HOLDS_AN_IMAGE):
        return False, "its metadata names no image"
    return not asked.named, "its metadata names an image, which may use it"


def _copied(asked: _Asked) -> tuple[bool, str]:
    source, procedure = asked.volume.source_volume_id, asked.origin.procedure if asked.origin else None
    if source is None or procedure in _CLONE:
        return False, "its metadata was written for it"
    return True, f"it was cloned from volume {said(source)}, and procedure {said(procedure)} clones none"


def _has_journal(asked: _Asked) -> tuple[bool, str]:
    if not (journal := asked.volume.metadata.get(JOURNAL_KEY)):
        return False, "no journal names it"
    return not asked.named, f"journal {said(journal)} names it, from which its command may go on with --resume"


def _cloned(asked: _Asked) -> tuple[bool, str]:
    source, migration = asked.volume.source_volume_id, asked.volume.migration_status
    if source is None and migration in (None, "", "none"):
        return False, "it was not cloned"
    if source is None:
        return not asked.named, "it was migrated, and Cinder no longer tells of which volume it was cloned"
    return not asked.named, f"it was cloned from volume {said(source)}, and its metadata may be copied from there"


def _changing(asked: _Asked) -> tuple[bool, str]:
    status = asked.volume.status
    if status not in _PASSING:
        return False, f"Cinder is not changing it (status {said(status)})"
    return not asked.named, f"Cinder is changing it (status {status})"


def _dead(asked: _Asked) -> tuple[bool, str]:
    return asked.state is HolderState.DEAD, asked.process


def _recent(asked: _Asked) -> tuple[bool, str]:
    if asked.named or asked.age is None or asked.age >= asked.settle:
        return False, asked.process
    return True, f"{asked.process}, and the volume was created less than {duration(asked.settle)} ago"


def _unknown(asked: _Asked) -> tuple[bool, str]:
    return True, asked.process


def _left_alone(asked: _Asked) -> tuple[bool, str]:
    return True, f"it is left as it is (status {said(asked.volume.status)})"


_SPEC = "[store]"

REMAINS_RULES: Mapping[Policy, tuple[Choice[_Asked, RemainsAction], ...]] = {
    Policy.STRICT: (
        Choice(
            id="no-origin",
            text="leave it: it does not say that a procedure of ours creates it",
            source=_SPEC,
            applies=_no_origin,
            outcome=RemainsAction.LEAVE,
        ),
        Choice(
            id="procedure-finished",
            text="leave it: its procedure finished",
            source=_SPEC,
            applies=_finished,
            outcome=RemainsAction.LEAVE,
        ),
        Choice(
            id="of-the-driver",
            text="leave it: it is a template, which the driver replaces",
            source="[template]",
            applies=_template,
            outcome=RemainsAction.LEAVE,
        ),
        Choice(
            id="metadata-copied",
            text="leave it: Cinder cloned it, as for its cache, and copied the metadata with it",
            source="[clone]",
            applies=_copied,
            outcome=RemainsAction.LEAVE,
        ),
        Choice(
            id="process-alive",
            text="leave it: its process runs",
            source=_SPEC,
            applies=_alive,
            outcome=RemainsAction.LEAVE,
        ),
        Choice(
            id="users-word",
            text="leave it: users can write its metadata, and no operator named it",
            source=_SPEC,
            applies=_users_word,
            outcome=RemainsAction.LEAVE,
        ),
        Choice(
            id="says-image",
            text="name it: it says that it holds an image",
            source=_SPEC,
            applies=_says_image,
            outcome=RemainsAction.NAME,
        ),
        Choice(
            id="has-journal",
            text="name it: its command may go on, from a journal",
            source=_SPEC,
            applies=_has_journal,
            outcome=RemainsAction.NAME,
        ),
        Choice(
            id="was-cloned",
            text="name it: its metadata may be those of the volume that it was cloned from",
            source="[clone]",
            applies=_cloned,
            outcome=RemainsAction.NAME,
        ),
        Choice(
            id="being-changed",
            text="leave it for now: Cinder is changing it",
            source=_SPEC,
            applies=_changing,
            outcome=RemainsAction.LEAVE,
        ),
        Choice(
            id="process-dead",
            text="delete it: its process is dead",
            source=_SPEC,
            applies=_dead,
            outcome=RemainsAction.DELETE,
        ),
        Choice(
            id="process-recent",
            text="leave it: its process may run elsewhere, and it was created a short time ago",
            source=_SPEC,
            applies=_recent,
            outcome=RemainsAction.LEAVE,
        ),
        Choice(
            id="process-unknown",
            text="name it: its process is not known to run",
            source=_SPEC,
            applies=_unknown,
            outcome=RemainsAction.NAME,
        ),
    ),
    Policy.UPSTREAM: (
        Choice(
            id="remains-left-alone",
            text="leave it",
            source="glance_store._drivers.cinder.store.Store",
            applies=_left_alone,
            outcome=RemainsAction.LEAVE,
        ),
    ),
}
