"""What a driver with templates and Cinder come to together: every way in order, tried or not ([clone], [template]).

The driver walks its plan as far as it can carry it out.  What the driver leaves, Cinder does by its own rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from imagevol_core.creation.decision import CreationPlan
from imagevol_core.creation.facts import CreationStep, Way
from imagevol_core.verdicts import Policy, Result, Verdict, failed

__all__ = ["Carrier", "CreationOutlook", "WayOutlook", "foresee"]


class Carrier(Enum):
    """What carries out a step: the driver of the backend, or Cinder after it."""

    DRIVER = "driver"
    CINDER = "cinder"


@dataclass(frozen=True, slots=True, kw_only=True)
class WayOutlook:
    """One of the ways from the image to the volume.

    Attributes:
        way: which.
        by: what would carry it out.
        steps: what is tried, in order; empty if this way is not tried.
        against: each rule that stands in its way; empty if it is tried.
    """

    way: Way
    by: Carrier
    steps: tuple[CreationStep, ...] = ()
    against: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreationOutlook:
    """All that the driver and Cinder will try for a request.

    Attributes:
        ways: all of them, in the order in which they come; none if Cinder refuses the request.
        refused: why nothing is made; None if something is tried.
        left: why the driver leaves the whole request to Cinder; None if it does not.
        fails: why the request fails once everything has failed that is tried; None if the last step is Cinder's copy.
        refused_by: each rule for which nothing is made; empty if something is tried.
    """

    ways: tuple[WayOutlook, ...]
    refused: str | None = None
    left: str | None = None
    fails: str | None = None
    refused_by: tuple[Verdict, ...] = ()

    @property
    def steps(self) -> tuple[CreationStep, ...]:
        """Everything that is tried, in order."""
        return tuple(step for way in self.ways for step in way.steps)


def foresee(plan: CreationPlan, cinder: CreationPlan) -> CreationOutlook:
    """Give what the driver and Cinder try one after the other, and what stands in the way of every other way.

    Args:
        plan: by the rules of the driver, `STRICT`, or what Cinder does without it, `UPSTREAM`.
        cinder: what Cinder does by itself, of the same facts.

    >>> from imagevol_core import Backend, CloneSettings, Image, Volume
    >>> from imagevol_core.creation.decision import plan_creation
    >>> image = Image(id="i", status="active", disk_format="raw", container_format="bare", size_bytes=5, min_disk_gib=0)
    >>> target = Volume(id="t", project_id="p", host="h@fast#fast", size_gib=1, encrypted=False)
    >>> both = [plan_creation(image, target=target, volumes=(), backend=Backend(), clone_settings=CloneSettings(),
    ...                       policy=policy) for policy in (Policy.STRICT, Policy.UPSTREAM)]
    >>> [(way.way.value, way.by.value) for way in foresee(*both).ways if way.steps]
    [('copy', 'cinder')]
    """
    if not cinder.accepted:
        return CreationOutlook(ways=(), refused=cinder.refused, refused_by=failed(cinder.verdicts))
    theirs = _of_cinder(cinder)
    if plan.policy is not Policy.STRICT or any(step.way is Way.FROM_SNAPSHOT for step in cinder.steps):
        ways = tuple(way for way in theirs if way.way not in _BY_TEMPLATE or way.steps)
    else:
        ours = _of_driver(plan, cinder)
        tried = frozenset(step.source for way in ours for step in way.steps)
        first, others = theirs[:1], theirs[1:]
        ways = (*first, *ours, *(_not_again(way, tried) for way in others if way.way not in _BY_TEMPLATE))
    steps = [step for way in ways for step in way.steps]
    ends = any(not step.falls_to_next for step in steps)
    why = None if ends else cinder.verdicts[-1].text
    return CreationOutlook(
        ways=ways,
        refused=None if steps else why,
        left=plan.refused if not plan.accepted else None,
        fails=why if steps else None,
        refused_by=() if steps or ends else cinder.verdicts[-1:],
    )


def _of_cinder(cinder: CreationPlan) -> tuple[WayOutlook, ...]:
    return tuple(_outlook(cinder, verdict, Carrier.CINDER) for verdict in _of_ways(cinder))


def _of_driver(plan: CreationPlan, cinder: CreationPlan) -> tuple[WayOutlook, ...]:
    """The driver's ways in the order of its plan, as far as the driver walks it."""
    if not plan.accepted:
        return tuple(WayOutlook(way=way, by=Carrier.DRIVER, against=failed(plan.verdicts)) for way in _DRIVERS)
    ways: list[WayOutlook] = []
    until: Way | None = None
    for verdict in _of_ways(plan):
        outlook = _outlook(plan, verdict, Carrier.DRIVER)
        if outlook.way in _DRIVERS:
            ways.append(_left(outlook, until) if until and outlook.steps else outlook)
        elif until is None and _cinder_clones(outlook, cinder):
            until = outlook.way
    return tuple(ways)


def _cinder_clones(outlook: WayOutlook, cinder: CreationPlan) -> bool:
    """A cached volume that Cinder would not clone is passed over: it compares dates only."""
    clones = {step.source for step in cinder.steps if step.way is Way.CLONE_CACHED}
    return any(step.source in clones for step in outlook.steps)


def _left(outlook: WayOutlook, until: Way) -> WayOutlook:
    text = f"{until.value} comes first, and the driver leaves that to Cinder"
    return WayOutlook(way=outlook.way, by=outlook.by, against=(_does_not_apply(outlook.way, text),))


def _not_again(outlook: WayOutlook, tried: frozenset[str | None]) -> WayOutlook:
    """Cinder's own clone of what the driver has failed to clone is not told a second time."""
    if outlook.way is not Way.CLONE_IMAGE_VOLUME or not outlook.steps:
        return outlook
    steps = tuple(step for step in outlook.steps if step.source not in tried)
    again = () if steps else (_does_not_apply(outlook.way, "the driver has tried the same volume before"),)
    return WayOutlook(way=outlook.way, by=outlook.by, steps=steps, against=again)


def _does_not_apply(way: Way, text: str) -> Verdict:
    return Verdict(way.value, Result.DOES_NOT_APPLY, None, text)


def _of_ways(plan: CreationPlan) -> tuple[Verdict, ...]:
    names = {way.value for way in Way}
    return tuple(verdict for verdict in plan.verdicts if verdict.rule in names)


def _outlook(plan: CreationPlan, verdict: Verdict, by: Carrier) -> WayOutlook:
    way = Way(verdict.rule)
    if verdict.applies:
        return WayOutlook(way=way, by=by, steps=tuple(step for step in plan.steps if step.way is way))
    return WayOutlook(way=way, by=by, against=_against(plan, way) or (verdict,))


def _against(plan: CreationPlan, way: Way) -> tuple[Verdict, ...]:
    if way is Way.CLONE_IMAGE_VOLUME:
        return failed(plan.clone.verdicts)
    if way in _BY_TEMPLATE:
        return failed(plan.template.verdicts)
    if way is Way.CLONE_CACHED:
        return failed(plan.cache)
    if way is Way.CREATE_CACHED:
        return tuple(verdict for verdict in failed(plan.cache) if verdict.subject is None)
    return ()


_BY_TEMPLATE = frozenset({Way.CLONE_TEMPLATE, Way.CREATE_TEMPLATE, Way.AWAIT_TEMPLATE})
_DRIVERS = (Way.CLONE_IMAGE_VOLUME, Way.CLONE_TEMPLATE, Way.CREATE_TEMPLATE, Way.AWAIT_TEMPLATE)
