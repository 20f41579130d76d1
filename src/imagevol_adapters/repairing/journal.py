"""The journal of a repair: what is repaired, and how far each repair has come, each written before it is so.

The first line says of which cloud and audit it is, those up to `{"planned": N}` which findings are repaired, and each
further line how far one of them has come.
"""

from __future__ import annotations

import operator
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import attrs

from imagevol_adapters.journals import JournalFile, check_head, journal_line, text_of, texts_of
from imagevol_core import (
    AuditSettings,
    Certainty,
    Finding,
    PlannedRepair,
    RepairAction,
    RepairStep,
    Subject,
)

__all__ = ["RepairEntry", "RepairJournal", "RepairState"]

_VERSION = 1


class RepairState(Enum):
    """How far the repair of a finding has come.

    `GONE`: it was mended in another way meanwhile. `LEFT`: it must not be repaired, or not here.
    """

    PLANNED = "planned"
    BEGUN = "begun"
    DONE = "done"
    GONE = "gone"
    LEFT = "left"
    FAILED = "failed"


@attrs.frozen(kw_only=True)
class RepairEntry:
    """One finding that is repaired.

    Attributes:
        finding: as the audit gave it.
        after: the ids of the findings that must have been repaired before.
        state: how far its repair has come.
        begun: how many of its steps were begun.
        done: how many of its steps were done.
        acted: the numbers of the steps that were carried out, or begun; the others were as they should be.
        reason: why not further.
        attachments: by which volumes are reserved, by volume.
    """

    finding: Finding
    after: tuple[str, ...] = ()
    state: RepairState = RepairState.PLANNED
    begun: int = 0
    done: int = 0
    acted: tuple[int, ...] = ()
    reason: str | None = None
    attachments: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def ended(self) -> bool:
        """Whether nothing is left to try; what was not found may have been hidden for a moment, and is tried again."""
        return self.state is RepairState.DONE

    @property
    def mended(self) -> bool:
        """Whether a repair that waits for this one can be begun."""
        return self.state in (RepairState.DONE, RepairState.GONE)


class RepairJournal(JournalFile):
    """A journal that is open, and that no other process has until it is closed."""

    def __init__(self, path: Path, descriptor: int, head: Mapping[str, Any], entries: dict[str, RepairEntry]) -> None:
        """Take what `create` or `open` has found."""
        super().__init__(path, descriptor)
        self.entries = entries
        self._head = head

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        cloud: str,
        settings: AuditSettings,
        repairs: Sequence[PlannedRepair],
        include_likely: bool = False,
    ) -> RepairJournal:
        """Write down what is repaired, before anything is.

        Args:
            path: of a file that does not exist yet.
            cloud: names the cloud that the findings are of.
            settings: of the audit.
            repairs: those that are planned, in order.
            include_likely: whether what is only likely is included.

        Raises:
            RequestRefused: there is such a file, or none can be made.
            ServiceFailed: it cannot be written to its end.
        """
        head = {
            "repairs": _VERSION,
            "id": str(uuid.uuid4()),
            "cloud": cloud,
            "include_likely": include_likely,
            "audited_at": settings.now.isoformat(),
            "stuck_after_seconds": settings.stuck_after.total_seconds(),
            "trusted_projects": sorted(settings.trusted_projects),
            "images_complete": settings.images_complete,
            "volumes_complete": settings.volumes_complete,
            "delayed_delete": settings.delayed_delete,
            "shown": sorted(settings.shown),
            "only_glance": settings.only_glance,
        }
        entries = {each.finding.id: RepairEntry(finding=each.finding, after=each.after) for each in repairs}
        journal = cls(path, cls.create_file(path), _head(head), entries)
        lines = [journal_line(head), *(journal_line(_written(entry)) for entry in entries.values())]
        journal.begin(b"".join((*lines, journal_line({"planned": len(entries)}))))
        return journal

    @classmethod
    def open(cls, path: Path, *, cloud: str) -> RepairJournal:
        """Take up a journal where it ends.

        Args:
            path: of the file.
            cloud: the one that it must be of.

        Raises:
            RequestRefused: there is no such file, another user could have written it, a line is malformed, or it is
                another cloud's.
            InUse: another process has it open.
        """
        read = _Reading()

        def check() -> None:
            check_head(
                path,
                read.head,
                planned=read.planned,
                cloud=cloud,
                so="nothing was repaired: delete it, and repair with another journal",
            )

        descriptor = cls.open_file(path, read.take, check)
        return cls(path, descriptor, read.head or {}, read.entries)

    @property
    def id(self) -> str:
        """Its UUID, with which it marks the volumes that it holds and creates."""
        return str(self._head["id"])

    @property
    def include_likely(self) -> bool:
        """Whether what is only likely is included."""
        return bool(self._head["include_likely"])

    @property
    def settings(self) -> AuditSettings:
        """The settings of the audit."""
        settings: AuditSettings = self._head["settings"]
        return settings

    def record(
        self,
        finding_id: str,
        state: RepairState,
        *,
        begun: int | None = None,
        done: int | None = None,
        acted: int | None = None,
        reason: str | None = None,
        attachments: Mapping[str, str] | None = None,
    ) -> RepairEntry:
        """Write down how far a repair has come; when this returns, it is on the storage.

        Args:
            finding_id: whose repair.
            state: how far it has come.
            begun: how many of its steps were begun; as before when None.
            done: how many of its steps were done; as before when None.
            acted: the number of the step that is about to be carried out; None if none is.
            reason: why not further.
            attachments: by which volumes are reserved; none when None.

        Raises:
            ServiceFailed: it cannot be written, which ends all repairs.
        """
        old = self.entries[finding_id]
        entry = attrs.evolve(
            old,
            state=state,
            begun=old.begun if begun is None else begun,
            done=old.done if done is None else done,
            acted=old.acted if acted is None else tuple(sorted({*old.acted, acted})),
            reason=reason,
            attachments=dict(attachments or {}),
        )
        written = {
            "finding": finding_id,
            "state": state.value,
            "begun": entry.begun,
            "done": entry.done,
            "reason": reason,
            "attachments": entry.attachments,
        }
        line = {key: value for key, value in written.items() if value}
        self._append(journal_line({**line, "acted": list(entry.acted)}))
        self.entries[finding_id] = entry
        return entry


@attrs.define
class _Reading:
    """What was read of a journal so far."""

    head: Mapping[str, Any] | None = None
    planned: bool = False
    entries: dict[str, RepairEntry] = attrs.field(factory=dict)

    def take(self, value: Any) -> None:
        """Take what the next line says."""
        if self.head is None:
            self.head = _head(value)
        elif self.planned:
            self.entries[value["finding"]] = _advanced(self.entries[value["finding"]], value)
        elif "planned" in value:
            self.planned = value["planned"] == len(self.entries)
        else:
            entry = _planned(value)
            self.entries[entry.finding.id] = entry


def _head(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if value["repairs"] != _VERSION:
        raise ValueError(f"version {value['repairs']!r} is not {_VERSION}")
    texts = {key: text_of(value[key]) for key in ("id", "cloud")}
    settings = AuditSettings(
        now=datetime.fromisoformat(text_of(value["audited_at"])),
        stuck_after=timedelta(seconds=value["stuck_after_seconds"]),
        trusted_projects=frozenset(map(text_of, value["trusted_projects"])),
        images_complete=_truth(value["images_complete"]),
        volumes_complete=_truth(value["volumes_complete"]),
        delayed_delete=_truth(value["delayed_delete"]),
        # What journals of before do not say:
        shown=frozenset(map(text_of, value.get("shown", ()))),
        only_glance=_truth(value.get("only_glance", False)),
    )
    return {**texts, "include_likely": _truth(value["include_likely"]), "settings": settings}


def _written(entry: RepairEntry) -> dict[str, Any]:
    finding = entry.finding
    return {
        "finding": finding.id,
        "kind": finding.kind,
        "subjects": [[about.kind, about.id] for about in finding.subjects],
        "certainty": finding.certainty.value,
        "text": finding.text,
        "related": [[about.kind, about.id] for about in finding.related],
        "url": finding.url,
        "reclaimable_bytes": finding.reclaimable_bytes,
        "steps": [
            {
                "action": step.action.value,
                "subject": [step.subject.kind, step.subject.id],
                "arguments": dict(step.arguments),
            }
            for step in finding.repair
        ],
        "after": list(entry.after),
    }


def _planned(value: Mapping[str, Any]) -> RepairEntry:
    finding = Finding(
        kind=text_of(value["kind"]),
        subjects=_subjects(value["subjects"]),
        certainty=Certainty(value["certainty"]),
        text=text_of(value["text"]),
        repair=tuple(
            RepairStep(
                RepairAction(step["action"]),
                _subject(step["subject"]),
                tuple(texts_of(step["arguments"]).items()),
            )
            for step in value["steps"]
        ),
        related=_subjects(value["related"]),
        url=text_of(value["url"]),
        reclaimable_bytes=operator.index(value["reclaimable_bytes"]),
    )
    if finding.id != value["finding"]:
        raise ValueError(f"finding {value['finding']!r} is {finding.id}")
    return RepairEntry(finding=finding, after=tuple(map(text_of, value["after"])))


def _subjects(value: Sequence[Sequence[str]]) -> tuple[Subject, ...]:
    return tuple(map(_subject, value))


def _subject(value: Sequence[str]) -> Subject:
    kind, name = value
    return Subject(text_of(kind), text_of(name))


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"true or false is missing: there is a {type(value).__name__}")
    return value


def _advanced(entry: RepairEntry, value: Mapping[str, Any]) -> RepairEntry:
    begun = operator.index(value.get("begun", 0))
    acted = value.get("acted", range(begun))  # a journal of an earlier release does not tell
    return attrs.evolve(
        entry,
        state=RepairState(value["state"]),
        begun=begun,
        acted=tuple(map(operator.index, acted)),
        done=operator.index(value.get("done", 0)),
        reason=None if value.get("reason") is None else text_of(value["reason"]),
        attachments=texts_of(value.get("attachments", {})),
    )
