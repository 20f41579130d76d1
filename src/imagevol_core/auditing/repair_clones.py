"""What becomes of a clone that a repair has made, and that the repair does not need any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from imagevol_core.facts import Volume
from imagevol_core.sentences import listed, quoted, said
from imagevol_core.verdicts import Choice, Policy, Verdict, first_match

__all__ = ["CLONE_RULES", "CloneOutcome", "RepairClone", "RepairCloneDecision", "decide_repair_clone"]

_AT_REST = ("available", "error")


class CloneOutcome(Enum):
    """What becomes of a clone: `KEEP` it, `DELETE` it, or `NAME` it to a person."""

    KEEP = "keep"
    DELETE = "delete"
    NAME = "name"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairClone:
    """A volume with the mark of a repair, which has ended without the finding being repaired.

    Args:
        volume: as Cinder shows it.
        cloned: the volume that the repair clones.
        offered: whether the repair has begun to let an image's location name it.
        named_by: the images whose locations name it.
        attachment_ids: its attachments.
        images_complete: whether every image is seen.
    """

    volume: Volume
    cloned: str
    offered: bool
    named_by: tuple[str, ...] = ()
    attachment_ids: tuple[str, ...] = ()
    images_complete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairCloneDecision:
    """What becomes of a clone, and why.

    Attributes:
        outcome: what becomes of it.
        verdicts: each rule that was looked at, up to the one that applies.
    """

    outcome: CloneOutcome
    verdicts: tuple[Verdict, ...]

    @property
    def reason(self) -> str:
        """Why, as a sentence."""
        return self.verdicts[-1].text


def decide_repair_clone(facts: RepairClone) -> RepairCloneDecision:
    """Say what becomes of a clone whose repair has ended.

    Args:
        facts: the clone.

    >>> clone = Volume(id="c", size_gib=1, status="available", source_volume_id="v")
    >>> decide_repair_clone(RepairClone(volume=clone, cloned="v", offered=False, images_complete=True)).outcome.value
    'delete'
    """
    outcome, verdicts = first_match(CLONE_RULES[Policy.STRICT], facts, subject=facts.volume.id)
    return RepairCloneDecision(outcome=outcome, verdicts=verdicts)


def _named(facts: RepairClone) -> tuple[bool, str]:
    if facts.named_by:
        return True, f"volume {facts.volume.id} is a location of image {listed(facts.named_by)}"
    return False, f"no image names volume {facts.volume.id}"


def _unseen(facts: RepairClone) -> tuple[bool, str]:
    return not facts.images_complete, f"every image is {'' if facts.images_complete else 'not '}seen"


def _no_clone(facts: RepairClone) -> tuple[bool, str]:
    source = facts.volume.source_volume_id
    if source == facts.cloned:
        return False, f"it is a clone of volume {source}"
    return True, f"it has the mark of this repair, and is a clone of volume {said(source)}, not of {facts.cloned}"


def _offered(facts: RepairClone) -> tuple[bool, str]:
    if facts.offered:
        return True, "Glance was asked to take it, and may still do so"
    return False, "Glance was not asked to take it"


def _in_use(facts: RepairClone) -> tuple[bool, str]:
    if facts.attachment_ids:
        return True, f"it has attachments {listed(facts.attachment_ids)}"
    return facts.volume.status not in _AT_REST, f"it is {quoted(facts.volume.status)}"


def _left(facts: RepairClone) -> tuple[bool, str]:
    return True, f"nothing needs volume {facts.volume.id}, which this repair has made"


CLONE_RULES: Mapping[Policy, tuple[Choice[RepairClone, CloneOutcome], ...]] = {
    Policy.STRICT: (
        Choice(
            id="clone-named",
            text="keep it: it is the data of an image",
            source="[store]",
            applies=_named,
            outcome=CloneOutcome.KEEP,
        ),
        Choice(
            id="clone-images-unseen",
            text="name it: an image that is not shown may name it",
            source="[store]",
            applies=_unseen,
            outcome=CloneOutcome.NAME,
        ),
        Choice(
            id="clone-of-another",
            text="name it: it is no clone of the volume that the repair clones",
            source="OSSN-0065",
            applies=_no_clone,
            outcome=CloneOutcome.NAME,
        ),
        Choice(
            id="clone-offered",
            text="name it: Glance was asked to take it",
            source="[store]",
            applies=_offered,
            outcome=CloneOutcome.NAME,
        ),
        Choice(
            id="clone-in-use",
            text="name it: it is not at rest",
            source="cinder.volume.api.API.delete",
            applies=_in_use,
            outcome=CloneOutcome.NAME,
        ),
        Choice(
            id="clone-left",
            text="delete it: the repair made it, and nothing needs it",
            source="[store]",
            applies=_left,
            outcome=CloneOutcome.DELETE,
        ),
    ),
}
