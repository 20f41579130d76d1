"""What `imagevol explain` says of one volume: what is tried, in order, and the rules that stand against other ways."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import groupby
from typing import Any

import attrs

from imagevol_adapters.gathering import CreationFacts, Unknown, unknown_facts
from imagevol_core import (
    Carrier,
    CreationOutlook,
    CreationPlan,
    CreationStep,
    Effort,
    Policy,
    Rates,
    StepCost,
    Verdict,
    Volume,
    Way,
    WayOutlook,
    expected_seconds,
    failed,
    step_cost,
)
from imagevol_core.sentences import amount, duration, said

__all__ = ["Outcome"]

_SETTING = {"--trusted-project": "clones", "--templates": "templates", "--image-cache": "cache"}
"""The setting that each option tells."""


@attrs.frozen(kw_only=True, slots=False)
class Outcome:
    """How a volume would be created from an image.

    Args:
        facts: what is known.
        policy: whose rules; under `STRICT`, the backend's driver has templates.
        unseen: what these credentials are not shown: the locations, or ids of volumes.
        looked_at: the options by which the operator says what the backend has, and whether their facts are known.
        rates: what was measured on the host; None if nothing was.
        origins: for each fact, its value and where it is from.
    """

    facts: CreationFacts
    policy: Policy
    unseen: tuple[str, ...]
    looked_at: Mapping[str, bool]
    rates: Rates | None = None
    origins: tuple[tuple[str, Any, str], ...] = ()

    @cached_property
    def plan(self) -> CreationPlan:
        """What the policy plans."""
        return self.facts.plan(self.policy)

    @cached_property
    def outlook(self) -> CreationOutlook:
        """What the driver and Cinder do."""
        return self.facts.outlook(self.policy)

    @cached_property
    def unknown(self) -> tuple[Unknown, ...]:
        """What is not known and matters."""
        if self.outlook.refused and not self.outlook.ways:
            return ()
        assumed = frozenset(name for option, name in _SETTING.items() if not self.looked_at.get(option))
        settings = attrs.evolve(self.facts.settings, assumed=assumed)
        return unknown_facts(attrs.evolve(self.facts, settings=settings), policy=self.policy)

    @property
    def refused(self) -> str | None:
        """Why the request fails before anything is tried, and by which rules; None if something is tried."""
        return None if self.outlook.refused is None else _refused(self.outlook)

    @property
    def steps(self) -> tuple[CreationStep, ...]:
        """What is tried, in order; none if the request is refused."""
        return self.outlook.steps

    @property
    def way(self) -> str:
        """What is tried first, by its name; `refused` if nothing is."""
        return self.steps[0].way.value if self.steps else "refused"

    @property
    def passed_over(self) -> tuple[str, ...]:
        """The options that were not given, so that what they say of the backend was not looked at."""
        return tuple(
            option
            for option, given in self.looked_at.items()
            if not given and (option == "--image-cache" or self.policy is Policy.STRICT)
        )

    def cost(self, step: CreationStep) -> StepCost:
        """Give what a step costs."""
        facts, template = self.facts, self.facts.template
        entries = (*facts.entries, *([template.entry] if template else []))
        cached = (
            Volume(id=each.volume_id, size_gib=each.size_gib, host=each.host, cluster_name=each.cluster_name)
            for each in entries
            if each.host
        )
        return step_cost(step, image=facts.image, target=facts.target, sources=(*facts.volumes, *cached))

    def seconds(self, step: CreationStep) -> float | None:
        """Give how long a step takes; None if that is not known."""
        return expected_seconds(self.cost(step), self.rates) if self.rates else None

    def whole_plan(self) -> list[dict[str, Any]]:
        """Give each way in order, as JSON has it."""
        return [self._as_dict(way) for way in self.outlook.ways]

    def unknown_values(self) -> list[dict[str, Any]]:
        """Give what is not known, and what follows from each value, as JSON has it."""
        return [
            {
                "id": each.id,
                "fact": each.fact,
                "option": each.option,
                "values": [
                    {
                        "value": value,
                        "ways": [step.way.value for step in outlook.steps],
                        "refused": None if outlook.refused is None else _refused(outlook),
                    }
                    for value, outlook in each.values
                ],
            }
            for each in self.unknown
        ]

    def _as_dict(self, way: WayOutlook) -> dict[str, Any]:
        order = {id(step): number for number, step in enumerate(self.steps, 1)}
        return {
            "way": way.way.value,
            "by": way.by.value,
            "tried": bool(way.steps),
            "steps": [
                {"order": order[id(step)], "source": step.source, "cost": self._priced(step)} for step in way.steps
            ],
            "against": [verdict.as_dict() for verdict in way.against],
        }

    def _priced(self, step: CreationStep) -> dict[str, Any]:
        cost = self.cost(step)
        return {
            "effort": cost.effort.value,
            "read_bytes": cost.read_bytes,
            "written_bytes": cost.written_bytes,
            "array_bytes": cost.array_bytes,
            "seconds": self.seconds(step),
        }

    def sentences(self) -> Iterator[str]:
        """Give the outcome, and what stands against the other ways, a line each."""
        if self.refused is not None:
            yield f"{self.refused}."
            yield "Nothing is created."
        if self.outlook.left is not None:
            yield f"The driver leaves the request to Cinder, because the strict rules refuse it: {self.outlook.left}."
        yield from self._tried()
        yield from self._not_tried()
        yield from self._image_volumes()
        for each in self.unknown:
            yield f"Not known: {each.fact}{f' ({each.option})' if each.option else ''}."
            for value, outlook in each.values:
                ways = ", ".join(dict.fromkeys(step.way.value for step in outlook.steps))
                yield f"  If {value}: {ways or _refused(outlook)}."
        if self.outlook.ways:
            yield from self._facts()

    def _facts(self) -> Iterator[str]:
        """Say which facts are from where."""
        by_origin: dict[str, list[str]] = {}
        for fact, value, origin in self.origins:
            unset = " not set" if "_" in fact else ""  # an option, and not one of the services' objects
            by_origin.setdefault(origin, []).append(f"{fact}{unset}" if value is None else f"{fact} {said(value)}")
        for origin, facts in by_origin.items():
            yield (
                f"From {origin}: {'; '.join(facts)}."
                if not origin.startswith("not ")
                else f"N{origin[1:]}: {facts[0]}."
            )

    def _tried(self) -> Iterator[str]:
        for step in self.steps:
            told = _TOLD[step.way].format(step=step, source=said(step.source), extended=self._extended(step))
            if step.way is Way.CREATE_TEMPLATE and not self.facts.sees_templates:
                told = _CREATED_IF_MISSING.format(step=step)
            if step is not self.steps[0]:
                told = f"If that fails, {told[0].lower()}{told[1:]}"
            elif self._may_be_cloned:
                told = f"{told}, unless Cinder is shown more than these credentials: {', '.join(self.unseen)}"
            yield f"{told}."
            yield f"  {self._cost_said(step)}."
        if self.outlook.fails is not None:
            yield f"If that fails, the request fails: {self.outlook.fails}."

    def _extended(self, step: CreationStep) -> str:
        smaller = any(each.id == step.source and each.size_gib != step.extend_to_gib for each in self.facts.volumes)
        return f" and extended to {step.extend_to_gib} GiB" if smaller else ""

    def _cost_said(self, step: CreationStep) -> str:
        cost, seconds = self.cost(step), self.seconds(step)
        told = _COSTS[cost.effort].format(
            read=_bytes(cost.read_bytes), written=_bytes(cost.written_bytes), array=_bytes(cost.array_bytes)
        )
        return told if seconds is None else f"{told}; at least {duration(seconds)}"

    @property
    def _may_be_cloned(self) -> bool:
        """Whether only what these credentials are not shown stands in the way of a clone."""
        clone = self.plan.clone
        locations_seen = any(verdict.subject for verdict in clone.verdicts)
        against = [verdict for verdict in failed(clone.verdicts) if verdict.subject is None]
        return bool(self.unseen) and not clone.eligible and len(against) <= (0 if locations_seen else 1)

    def _not_tried(self) -> Iterator[str]:
        """Give the ways that are not tried; those that the same rules stand against together."""
        ways = [way for way in self.outlook.ways if not way.steps and not self._may_be_cached(way.way)]
        for (carrier, _), group in groupby(ways, key=lambda way: (way.by, tuple(map(str, way.against)))):
            together = list(group)
            names = ", ".join(way.way.value for way in together)
            yield f"Not tried by {_CARRIERS[carrier]}: {names}."
            yield from _against(together[0].against)

    def _may_be_cached(self, way: Way) -> bool:
        """Whether nothing but the content of the cache, which no API gives, stands in the way."""
        looks = any(step.way is Way.CREATE_CACHED for step in self.steps)
        return way is Way.CLONE_CACHED and looks and not self.facts.entries

    def _image_volumes(self) -> Iterator[str]:
        clone = self.plan.clone
        if not any(step.way is Way.CLONE_IMAGE_VOLUME for step in self.steps):
            return
        tried = {source.id for source in clone.sources}
        for volume_id in dict.fromkeys(verdict.subject for verdict in clone.verdicts if verdict.subject):
            against = list(_against(failed(verdict for verdict in clone.verdicts if verdict.subject == volume_id)))
            if against and volume_id not in tried:
                yield f"Volume {volume_id} cannot be cloned:"
                yield from against


def _refused(outlook: CreationOutlook) -> str:
    """Say why nothing is created, with each rule by its id."""
    rules = "; ".join(f"{verdict.rule}: {verdict.text}" for verdict in outlook.refused_by) or outlook.refused
    return f"{'The request fails' if outlook.ways else 'Cinder refuses the request'}: {rules}"


_CARRIERS = {Carrier.DRIVER: "the driver", Carrier.CINDER: "Cinder"}
_TOLD = {
    Way.FROM_SNAPSHOT: "Cinder creates the volume from snapshot {source}, if the request has API microversion 3.46 or "
    "later, Cinder shows the requester the snapshot, and it is not larger than the volume",
    Way.CLONE_IMAGE_VOLUME: "The volume is cloned from volume {source}{extended}",
    Way.CLONE_TEMPLATE: "The volume is cloned from template {source}",
    Way.CREATE_TEMPLATE: "The backend creates a template of {step.size_gib} GiB, and the volume is cloned from it",
    Way.AWAIT_TEMPLATE: "The backend waits up to {step.wait} for the template that another request is creating, and "
    "the volume is cloned from it",
    Way.CLONE_CACHED: "The volume is cloned from cached volume {source}",
    Way.CREATE_CACHED: "The volume is cloned from Cinder's image cache or, if the image is not there, Cinder copies "
    "the image's data and adds it to the cache if there is room",
    Way.COPY: "The image's data is copied into the volume",
}

_CREATED_IF_MISSING = (
    "The volume is cloned from the backend's template of the image, which the backend creates with {step.size_gib} GiB "
    "if it has none"
)
_COSTS = {
    Effort.INSTANT: "Cost: instant on the backend, 0 bytes are moved",
    Effort.ARRAY: "Cost: a copy inside the array, up to {array}",
    Effort.HOST: "Cost: a copy through the host, which reads {read} and writes up to {written}",
}


def _bytes(value: int | None) -> str:
    return amount(value, "byte")


def _against(verdicts: Iterable[Verdict]) -> Iterator[str]:
    for verdict in verdicts:
        subject = f" ({said(verdict.subject)})" if verdict.subject else ""
        yield f"  {verdict.rule}{subject}: {verdict.text}."
