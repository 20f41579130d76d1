"""Which findings of an audit are repaired, in which order, and what is left to a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from imagevol_core.auditing.decision import Finding
from imagevol_core.auditing.facts import Certainty, RepairAction, RepairStep, Subject
from imagevol_core.auditing.repair_facts import OF_DATA, OF_VOLUMES, is_risky
from imagevol_core.sentences import listed, said
from imagevol_core.verdicts import Choice, Policy, Verdict, first_match

__all__ = [
    "PLAN_RULES",
    "PlannedRepair",
    "RepairOutcome",
    "RepairPlan",
    "by_hand",
    "plan_repairs",
]

_PAGE = "'Findings of an audit, and their repair'"
_NO_API = frozenset({RepairAction.DELETE_CACHE_ENTRY})


class RepairOutcome(Enum):
    """What becomes of a finding.

    `BY_HAND`: only a person can do or decide it. `ONLY_LIKELY`: it would be repaired if the operator includes what is
    only likely. `REFUSED`: its repair could change or delete what another finding is about.
    """

    REPAIR = "repair"
    BY_HAND = "by-hand"
    ONLY_LIKELY = "only-likely"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRepair:
    """What becomes of one finding.

    Attributes:
        finding: the finding.
        outcome: what becomes of it.
        after: the ids of the findings that must have been repaired before, or its own repair is not begun.
        verdicts: each rule that was looked at, up to the one that applies.
    """

    finding: Finding
    outcome: RepairOutcome
    after: tuple[str, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def planned(self) -> bool:
        """Whether it is repaired."""
        return self.outcome is RepairOutcome.REPAIR

    @property
    def reason(self) -> str:
        """Why, and what a person has to do if it is not repaired, as a sentence."""
        return self.verdicts[-1].text


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairPlan:
    """What becomes of the findings of an audit.

    Attributes:
        repairs: each finding once; those that are repaired stand in the order in which they are.
    """

    repairs: tuple[PlannedRepair, ...]

    @property
    def planned(self) -> tuple[PlannedRepair, ...]:
        """What is repaired, in order."""
        return tuple(repair for repair in self.repairs if repair.planned)

    @property
    def left(self) -> tuple[PlannedRepair, ...]:
        """What is not repaired."""
        return tuple(repair for repair in self.repairs if not repair.planned)


_OF_ATTACHMENTS = frozenset({RepairAction.DISCONNECT, RepairAction.DELETE_ATTACHMENT})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the rules look at.

    Attributes:
        finding: the finding.
        include_likely: whether the operator includes what is only likely.
        shared: other findings, that several images have their data in a volume, with a subject in common.
        unshared: the ids of those that are repaired before.
    """

    finding: Finding
    include_likely: bool
    shared: tuple[Finding, ...]
    unshared: frozenset[str]


def plan_repairs(findings: Iterable[Finding], *, include_likely: bool = False) -> RepairPlan:
    """Say which findings are repaired, in which order, and why the others are not.

    What gives each of several images its own volume comes first, then what takes an attachment back, without which no
    volume can be deleted, then what deletes, then everything else: it is looked at again before each step, so that what
    a deletion has mended is not repaired once more.

    Args:
        findings: of one audit, all of them; of one that comes twice the first counts.
        include_likely: whether the operator includes what is only likely.

    >>> volume = Subject("volume", "7ad3")
    >>> steps = (RepairStep(RepairAction.LOOK_AGAIN, volume), RepairStep(RepairAction.DELETE_VOLUME, volume))
    >>> found = Finding(kind="left-unfinished", subjects=(volume,), certainty=Certainty.LIKELY, text="", repair=steps)
    >>> (repair,) = plan_repairs([found]).repairs
    >>> repair.outcome.value, repair.reason
    ('only-likely', 'the finding is only likely, and delete-volume 7ad3 cannot be taken back: check it, and then add \
--include-likely')
    >>> len(plan_repairs([found], include_likely=True).planned)
    1
    """
    known = {finding.id: finding for finding in reversed(list(findings))}
    in_order = sorted(
        known.values(), key=lambda each: (_rank(each), each.kind, [str(about) for about in each.subjects])
    )
    sharing: dict[Subject, list[Finding]] = {}
    for finding in in_order:
        if _is_sharing(finding):
            for about in finding.subjects:
                sharing.setdefault(about, []).append(finding)
    repairs, planned = [], set[str]()
    for finding in in_order:
        others = {other.id: other for about in finding.subjects for other in sharing.get(about, ())}
        others.pop(finding.id, None)
        shared = tuple(others.values())
        asked = _Asked(
            finding=finding, include_likely=include_likely, shared=shared, unshared=frozenset(planned & others.keys())
        )
        outcome, verdicts = first_match(PLAN_RULES[Policy.STRICT], asked, subject=finding.id)
        waits = any(step.action in OF_DATA | OF_VOLUMES for step in finding.repair) and _rank(finding) > 0
        after = tuple(other.id for other in shared if other.id in planned) if waits else ()
        repairs.append(PlannedRepair(finding=finding, outcome=outcome, after=after, verdicts=verdicts))
        if outcome is RepairOutcome.REPAIR:
            planned.add(finding.id)
    return RepairPlan(repairs=tuple(repairs))


def by_hand(step: RepairStep) -> str | None:
    """Say what a person has to do where no API carries a step out; None where one does.

    >>> by_hand(RepairStep(RepairAction.DELETE_VOLUME, Subject("volume", "7ad3"))) is None
    True
    """
    if step.action not in _NO_API:
        return None
    volume_id = said(step.subject.id)
    return (
        f"no API deletes it: delete the row of volume {volume_id} from image_volume_cache_entries in Cinder's database"
    )


def _rank(finding: Finding) -> int:
    """What separates data comes first, then what takes attachments back, then what deletes."""
    if _is_sharing(finding):
        return 0
    actions = {step.action for step in finding.repair}
    if actions & _OF_ATTACHMENTS:
        return 1
    return 2 if actions & OF_DATA else 3


def _is_sharing(finding: Finding) -> bool:
    """Tell whether a finding is that several images have their data in one volume."""
    return sum(about.kind == "image" for about in finding.subjects) > 1


def _person_decides(asked: _Asked) -> tuple[bool, str]:
    if asked.finding.repair:
        return False, "the rule has a repair"
    return True, (
        f"no repair is safe without a person who decides: look up {said(asked.finding.kind)} on the page {_PAGE} of "
        "the documentation"
    )


def _beyond(asked: _Asked) -> tuple[bool, str]:
    beyond = [step for step in asked.finding.repair if step.subject not in asked.finding.subjects]
    if not beyond:
        return False, "its repair changes only what it names"
    return True, f"its repair would change what it does not name: {beyond[0]}"


def _no_api(asked: _Asked) -> tuple[bool, str]:
    texts = [text for step in asked.finding.repair if (text := by_hand(step))]
    return bool(texts), texts[0] if texts else "each step can be carried out through the APIs"


def _only_likely(asked: _Asked) -> tuple[bool, str]:
    risky = [step for step in asked.finding.repair if is_risky(step)]
    if asked.finding.certainty is Certainty.SURE or asked.include_likely or not risky:
        return False, f"the finding is {asked.finding.certainty.value}, and its repair is allowed"
    return True, (
        f"the finding is only likely, and {risky[0]} cannot be taken back: check it, and then add --include-likely"
    )


def _shared(asked: _Asked) -> tuple[bool, str]:
    left = [other.id for other in asked.shared if other.id not in asked.unshared]
    changing = [step for step in asked.finding.repair if step.action in OF_DATA | OF_VOLUMES]
    if not left or not changing:
        return False, "no other image's data is changed"
    return True, f"{changing[0]} could change or delete the data of another image: repair finding {listed(left)} first"


def _repaired(asked: _Asked) -> tuple[bool, str]:
    return True, "; ".join(map(str, asked.finding.repair))


_SPEC = "[store]"

PLAN_RULES: Mapping[Policy, tuple[Choice[_Asked, RepairOutcome], ...]] = {
    Policy.STRICT: (
        Choice(
            id="person-decides",
            text="leave it: a person has to decide",
            source=_SPEC,
            applies=_person_decides,
            outcome=RepairOutcome.BY_HAND,
        ),
        Choice(
            id="beyond-its-subjects",
            text="refuse: the repair would change what the finding does not name",
            source=_SPEC,
            applies=_beyond,
            outcome=RepairOutcome.REFUSED,
        ),
        Choice(
            id="no-api",
            text="leave it: no API can do it",
            source="cinder.image.cache.ImageVolumeCache",
            applies=_no_api,
            outcome=RepairOutcome.BY_HAND,
        ),
        Choice(
            id="only-likely",
            text="leave it: it is only likely, and a step of the repair cannot be taken back",
            source=_SPEC,
            applies=_only_likely,
            outcome=RepairOutcome.ONLY_LIKELY,
        ),
        Choice(
            id="shared-data",
            text="refuse: several images have their data in the volume, and it would be changed or deleted",
            source="OSSN-0065",
            applies=_shared,
            outcome=RepairOutcome.REFUSED,
        ),
        Choice(
            id="repaired",
            text="repair it",
            source=_SPEC,
            applies=_repaired,
            outcome=RepairOutcome.REPAIR,
        ),
    ),
}
