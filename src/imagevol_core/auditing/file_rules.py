"""What must hold of the temporary files that procedures keep on a host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from imagevol_core.auditing.facts import AuditRule, AuditSettings, Repair, RepairAction, Subject, refuse_zoneless
from imagevol_core.auditing.rules import step
from imagevol_core.errors import InvalidSize
from imagevol_core.sentences import answered, duration
from imagevol_core.verdicts import Policy

__all__ = ["FILE_RULES", "KeptFile", "LeftFile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftFile:
    """A temporary file on a host, with a name that our procedures give.

    Args:
        host: the name of the host.
        path: where it is.
        size_bytes: what it takes of the file system.
        changed_at: when it was last written, with a time zone.
        in_use: whether a process has it locked; None where that is not known.

    Raises:
        InvalidFact: `changed_at` has no time zone.
        InvalidSize: the size is negative.
    """

    host: str
    path: str
    size_bytes: int
    changed_at: datetime
    in_use: bool | None = None

    def __post_init__(self) -> None:
        """Refuse what no file can be."""
        refuse_zoneless("LeftFile.changed_at", self.changed_at)
        if self.size_bytes < 0:
            raise InvalidSize("LeftFile.size_bytes", self.size_bytes, "give a size of 0 or more")

    @property
    def subject(self) -> Subject:
        """What a finding names, with the host, because a path is a path of one host."""
        return Subject("file", f"{self.host}:{self.path}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile:
    """A temporary file at a time."""

    file: LeftFile
    settings: AuditSettings

    @property
    def age(self) -> timedelta:
        """How long before the audit it was written."""
        return self.settings.now - self.file.changed_at


def _needed(kept: KeptFile) -> tuple[bool, str]:
    if kept.file.in_use:
        return True, "a process uses it"
    uses = answered(kept.file.in_use, "a process uses it", "no process uses it")
    return kept.age <= kept.settings.stuck_after, f"{uses}; it was written {duration(kept.age)} before the audit"


def _used_perhaps(kept: KeptFile) -> str:
    return "" if kept.file.in_use is False else "this host cannot tell whether a process uses it"


def _delete(kept: KeptFile) -> Repair:
    return (step(RepairAction.DELETE_FILE, kept.file.subject),)


def _of_file(kept: KeptFile) -> tuple[Subject, ...]:
    return (kept.file.subject,)


def _written(kept: KeptFile) -> datetime:
    return kept.file.changed_at


def _size(kept: KeptFile) -> int:
    return kept.file.size_bytes


FILE_RULES: Mapping[Policy, tuple[AuditRule[KeptFile], ...]] = {
    Policy.STRICT: (
        AuditRule(
            id="temporary-file-left",
            text="a process uses it, or it was written within the time that an image may be in the making",
            source="[store]",
            holds=_needed,
            subjects=_of_file,
            doubt=_used_perhaps,
            repair=_delete,
            since=_written,
            reclaims=_size,
        ),
    ),
}
