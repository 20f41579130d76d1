"""Repairs carried out, one journalled step after the other, each looked at again right before it acts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from imagevol_adapters.gathering.claims import VolumeClaims
from imagevol_adapters.gathering.repair import RepairSource, gather_repair_step
from imagevol_adapters.relocating import Hold
from imagevol_adapters.repairing.acting import Actions, Declined
from imagevol_adapters.repairing.clones import LeftClones
from imagevol_adapters.repairing.journal import RepairEntry, RepairJournal, RepairState
from imagevol_core import (
    Finding,
    ImagevolError,
    RepairAction,
    RepairStep,
    ServiceUnreachable,
    StepDecision,
    StepOutcome,
    decide_repair_step,
)

__all__ = ["RepairResult", "Repairs"]

_ENDING = {
    StepOutcome.GONE: RepairState.GONE,
    StepOutcome.SKIP: RepairState.LEFT,
    StepOutcome.REFUSE: RepairState.LEFT,
}

_TAKES = (RepairAction.DELETE_VOLUME, RepairAction.DELETE_IMAGE, RepairAction.DELETE_ATTACHMENT)


@attrs.frozen(kw_only=True)
class RepairResult:
    """What came of the repair of one finding.

    Attributes:
        finding: the finding.
        state: how far its repair has come now.
        reason: why not further.
        done: the steps that were done.
    """

    finding: Finding
    state: RepairState
    reason: str | None
    done: tuple[RepairStep, ...]


@attrs.frozen(kw_only=True)
class Repairs:
    """One journal, and the cloud that it is of.

    Args:
        journal: open.
        source: where what is known before a step comes from.
        actions: carry the steps out.
    """

    journal: RepairJournal
    source: RepairSource
    actions: Actions
    _claims: VolumeClaims = attrs.field(
        default=attrs.Factory(lambda self: self._volume_claims(), takes_self=True), init=False, repr=False
    )

    def to_repair(self) -> list[RepairEntry]:
        """Give what `apply` would try."""
        return [entry for entry in self.journal.entries.values() if not entry.ended]

    def apply(self) -> Iterator[RepairResult]:
        """Repair what is planned and not repaired yet; what has failed before is tried again.

        Yields:
            What came of each finding.

        Raises:
            ServiceUnreachable: a service does not answer. The journal says how far it came.
            ServiceFailed: the journal cannot be written.
        """
        for entry in self.to_repair():
            yield self._repair(entry.finding)

    def _repair(self, finding: Finding) -> RepairResult:
        entry = self.journal.entries[finding.id]
        waiting = [each for each in entry.after if not self.journal.entries[each].mended]
        if waiting:
            return self._end(finding, RepairState.LEFT, f"finding {', '.join(waiting)} must be repaired first")
        try:
            state, reason = self._steps(finding)
        except ServiceUnreachable:
            raise  # so it would be for every other finding
        except Declined as refusal:
            state, reason = RepairState.LEFT, str(refusal)
        except ImagevolError as error:
            state, reason = RepairState.FAILED, str(error)
        if writable := self._put_back(finding):
            state = RepairState.LEFT if state is RepairState.GONE else state
            reason = "; ".join(filter(None, (reason, writable)))
        if state in (RepairState.GONE, RepairState.LEFT):
            clones = LeftClones(journal=self.journal, source=self.source, volumes=self.actions.volumes)
            reason = "; ".join(filter(None, (reason, *clones.end(finding, claims=self._claims))))
        return self._end(finding, state, reason)

    def _steps(self, finding: Finding) -> tuple[RepairState, str | None]:
        """Take the steps that are not done yet; give how far that came, and why not further."""
        for number in range(self.journal.entries[finding.id].done, len(finding.repair)):
            decision = self._step(finding, number)
            if self.journal.entries[finding.id].done <= number and decision.outcome in _ENDING:
                return _ENDING[decision.outcome], decision.reason
        return RepairState.DONE, None

    def _step(self, finding: Finding, number: int) -> StepDecision:
        step, entry = finding.repair[number], self.journal.entries[finding.id]
        facts = gather_repair_step(
            self.source,
            planned=finding,
            step=step,
            claims=self._claims,
            opened=self._opened(finding),
            begun=entry.begun > number or self._takes_away(step),
        )
        hold = self._hold(finding)
        if entry.begun > number:
            self.actions.take_up(facts, hold)
        decision = decide_repair_step(facts)
        if decision.outcome is StepOutcome.ACT:
            self.journal.record(finding.id, RepairState.BEGUN, begun=number + 1, done=number, acted=number)
            self.actions.act(facts, hold)
        else:
            hold.end()
        if decision.outcome is StepOutcome.DONE:
            self.actions.finish(facts)
        # What is gone when a step was broken off, that step has mended.
        mended = decision.outcome is StepOutcome.GONE and entry.begun > number
        if mended or decision.outcome in (StepOutcome.ACT, StepOutcome.DONE):
            self.journal.record(finding.id, RepairState.BEGUN, begun=number + 1, done=number + 1)
        return decision

    def _volume_claims(self) -> VolumeClaims:
        """Ask for every volume of the journal at once."""
        findings = [entry.finding for entry in self.journal.entries.values() if not entry.ended]
        volume_ids = {about.id for finding in findings for about in finding.subjects if about.kind == "volume"}
        return VolumeClaims(images=self.source.images, volume_ids=frozenset(volume_ids))

    def _takes_away(self, step: RepairStep) -> bool:
        """Whether this journal has begun a step that takes away what a step is about."""
        begun = [each for entry in self.journal.entries.values() for each in entry.finding.repair[: entry.begun]]
        return any(each == step or (each.action in _TAKES and each.subject == step.subject) for each in begun)

    def _hold(self, finding: Finding) -> Hold:
        def write(attachments: Mapping[str, str]) -> None:
            self.journal.record(finding.id, RepairState.BEGUN, attachments=attachments)

        return Hold(
            journal_id=self.journal.id,
            volumes=self.actions.volumes,
            write=write,
            attachments=self.journal.entries[finding.id].attachments,
            seconds=self.actions.settle_seconds,
        )

    def _opened(self, finding: Finding) -> bool:
        """Whether the repair has made a volume writable, and not read-only again."""
        actions = [step.action for step in finding.repair]
        if RepairAction.SET_WRITABLE not in actions or RepairAction.SET_READ_ONLY not in actions:
            return False
        entry = self.journal.entries[finding.id]
        opening, closing = actions.index(RepairAction.SET_WRITABLE), actions.index(RepairAction.SET_READ_ONLY)
        return entry.begun > opening and entry.done <= closing

    def _put_back(self, finding: Finding) -> str | None:
        """Make a volume read-only again that a repair has left writable; give why not, if not."""
        closing = [step for step in finding.repair if step.action is RepairAction.SET_READ_ONLY]
        for step in closing if self._opened(finding) else ():
            try:
                facts = gather_repair_step(self.source, planned=finding, step=step, claims=self._claims, opened=True)
                decision = decide_repair_step(facts)
                if decision.outcome is StepOutcome.ACT:
                    self.actions.set_read_only(step.subject.id)
                elif decision.outcome is not StepOutcome.DONE:
                    return f"{step.subject} was left writable: {decision.reason}"
            except ImagevolError as error:
                return f"{step.subject} was left writable: {error}"
        return None

    def _end(self, finding: Finding, state: RepairState, reason: str | None) -> RepairResult:
        entry = self.journal.entries[finding.id]
        self.journal.record(finding.id, state, reason=reason, attachments=entry.attachments)
        return RepairResult(finding=finding, state=state, reason=reason, done=finding.repair[: entry.done])
