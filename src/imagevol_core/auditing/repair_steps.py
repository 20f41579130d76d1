"""Whether a step of a repair may still be taken, by what was gathered right before it.

Between the audit and the repair an image can become active, a volume can be attached, and a location can be added.  So
the audit is asked once more before each step, about the same subjects, and a step is taken only if it would be part of
the repair of the same finding today.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from imagevol_core.auditing.decision import Finding
from imagevol_core.auditing.facts import RepairAction, RepairStep
from imagevol_core.auditing.repair_facts import RepairStepFacts, StepOutcome
from imagevol_core.auditing.repair_rules import STEP_RULES
from imagevol_core.verdicts import Policy, Verdict, first_match

__all__ = ["StepDecision", "decide_repair_step", "found_again"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDecision:
    """What becomes of a step, and why.

    Attributes:
        step: the step.
        outcome: what becomes of it.
        verdicts: each rule that was looked at, up to the one that applies.
    """

    step: RepairStep
    outcome: StepOutcome
    verdicts: tuple[Verdict, ...]

    @property
    def reason(self) -> str:
        """Why, and what a person has to do if it is refused, as a sentence."""
        return self.verdicts[-1].text


def decide_repair_step(facts: RepairStepFacts) -> StepDecision:
    """Say whether a step of a repair is taken, by what was gathered right before it.

    Args:
        facts: what is known.

    >>> from datetime import UTC, datetime
    >>> from imagevol_core import AuditSettings, Certainty, RepairAction, Subject, Volume
    >>> step = RepairStep(RepairAction.DELETE_VOLUME, Subject("volume", "7ad3"))
    >>> planned = Finding(kind="image-volume-without-image", subjects=(step.subject,), certainty=Certainty.SURE,
    ...                   text="", repair=(step,))
    >>> attached = Volume(id="7ad3", size_gib=1, status="in-use", project_id="stores")
    >>> settings = AuditSettings(now=datetime(2026, 1, 1, tzinfo=UTC), trusted_projects=frozenset({"stores"}),
    ...                          images_complete=True)
    >>> facts = RepairStepFacts(step=step, planned=planned, found=planned, settings=settings, volume=attached)
    >>> decision = decide_repair_step(facts)
    >>> decision.outcome.value, decision.reason
    ('refuse', "volume 7ad3 is 'in-use', and a volume is deleted only while it is 'available' or 'error'")
    """
    outcome, verdicts = first_match(STEP_RULES[Policy.STRICT], facts, subject=str(facts.step.subject))
    return StepDecision(step=facts.step, outcome=outcome, verdicts=verdicts)


def found_again(planned: Finding, findings: Iterable[Finding]) -> Finding | None:
    """Give the finding of a later audit that is the planned one, or what a part of its repair has left of it.

    Args:
        planned: as it was.
        findings: of the later audit.

    >>> from imagevol_core import Certainty, RepairAction, Subject
    >>> volume, one, two, three = Subject("volume", "v"), *(Subject("image", name) for name in "abc")
    >>> def shared(*images):
    ...     clones = [RepairStep(RepairAction.CLONE_VOLUME, volume, (("image", each.id),)) for each in images[1:]]
    ...     return Finding(kind="volume-in-two-images", subjects=(volume, *images), certainty=Certainty.SURE, text="",
    ...                    repair=tuple(clones))
    >>> left = found_again(shared(one, two, three), [shared(one, three)])
    >>> [str(about) for about in left.subjects]
    ['volume v', 'image a', 'image c']
    """
    alike = [finding for finding in findings if finding.kind == planned.kind]
    same = next((finding for finding in alike if finding.id == planned.id), None)
    return same or next((finding for finding in alike if _is_left_of(finding, planned)), None)


def _is_left_of(finding: Finding, planned: Finding) -> bool:
    """Tell whether a finding is about nothing else, and a step of its repair was planned."""
    steps = {step for step in planned.repair if step.action is not RepairAction.LOOK_AGAIN}
    return set(finding.subjects) <= set(planned.subjects) and not steps.isdisjoint(finding.repair)
