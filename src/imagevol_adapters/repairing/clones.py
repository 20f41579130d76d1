"""The clones that a repair has made and does not need any more: deleted, or named to a person."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from imagevol_adapters.gathering.claims import VolumeClaims
from imagevol_adapters.gathering.repair import REPAIRED_BY, RepairSource
from imagevol_adapters.repairing.journal import RepairJournal
from imagevol_adapters.repairing.services import RepairVolumes
from imagevol_core import Finding, ImagevolError, RepairAction, Volume
from imagevol_core.auditing import CloneOutcome, RepairClone, RepairCloneDecision, decide_repair_clone

__all__ = ["LeftClones"]


@attrs.frozen(kw_only=True)
class LeftClones:
    """The clones of one journal.

    Args:
        journal: of the repair.
        source: where what is known comes from.
        volumes: Cinder.
    """

    journal: RepairJournal
    source: RepairSource
    volumes: RepairVolumes

    def end(self, finding: Finding, *, claims: VolumeClaims) -> Iterator[str]:
        """Delete what the repair of a finding has cloned and does not need any more.

        If the repair is resumed, it begins again with the first clone that is not there.

        Args:
            finding: whose repair has ended.
            claims: which images name which volumes.

        Yields:
            What is left, and why, as a sentence.
        """
        entry = self.journal.entries[finding.id]
        for number, step in enumerate(finding.repair[: entry.begun]):
            if step.action is RepairAction.CLONE_VOLUME:
                yield from self._end(finding, number, dict(step.arguments)["image"], claims)

    def _end(self, finding: Finding, number: int, image_id: str, claims: VolumeClaims) -> Iterator[str]:
        entry, cloned = self.journal.entries[finding.id], finding.repair[number].subject.id
        try:
            clones = self.volumes.with_metadata({REPAIRED_BY: self.journal.id, "image_id": image_id})
            decided = {clone.id: self._decide(clone, cloned, number + 1 in entry.acted, claims) for clone in clones}
            deleted = [clone_id for clone_id, each in decided.items() if each.outcome is CloneOutcome.DELETE]
            if len(deleted) == len(decided) and entry.done <= number + 1:
                self.journal.record(finding.id, entry.state, begun=number, done=number, attachments=entry.attachments)
            for clone_id in deleted:
                self.volumes.delete(clone_id)
            for clone_id, decision in decided.items():
                if decision.outcome is CloneOutcome.NAME:
                    yield f"volume {clone_id}, which this repair has cloned, was left: {decision.reason}"
        except ImagevolError as error:
            yield f"the clone for image {image_id} was left: {error}"

    def _decide(self, clone: Volume, cloned: str, offered: bool, claims: VolumeClaims) -> RepairCloneDecision:
        return decide_repair_clone(
            RepairClone(
                volume=clone,
                cloned=cloned,
                offered=offered,
                named_by=tuple(image.id for image in claims.of([clone.id])),
                attachment_ids=tuple(each.id for each in self.volumes.holders(clone.id)),
                images_complete=self.source.audit.settings.images_complete,
            )
        )
