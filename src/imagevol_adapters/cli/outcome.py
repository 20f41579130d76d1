"""What `imagevol explain` says of a plan: what is tried, in order, and the rules that stand against the other ways."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import attrs

from imagevol_core import CreationPlan, CreationStep, Policy, Verdict, Way, failed
from imagevol_core.sentences import said

__all__ = ["Outcome"]

_BY_THE_DRIVER = (
    Way.FROM_SNAPSHOT,
    Way.CLONE_IMAGE_VOLUME,
    Way.CLONE_TEMPLATE,
    Way.CREATE_TEMPLATE,
    Way.AWAIT_TEMPLATE,
)
_BY_TEMPLATE = frozenset({Way.CLONE_TEMPLATE, Way.CREATE_TEMPLATE, Way.AWAIT_TEMPLATE})
_NAMES = {
    "--trusted-project": "which projects are trusted",
    "--templates": "templates",
    "--image-cache": "Cinder's image cache",
}


@attrs.frozen(kw_only=True)
class Outcome:
    """How a volume would be created from an image.

    Args:
        plan: what the policy that was asked for plans.
        cinder: what Cinder itself plans: it checks the request before any driver, and does all that no driver does.
        unseen: what these credentials are not shown: the locations, or ids of volumes.
        looked_at: the options by which the operator says what the backend has, and whether they were given.
        sees_templates: whether the templates that there are were looked at.
    """

    plan: CreationPlan
    cinder: CreationPlan
    unseen: tuple[str, ...]
    looked_at: Mapping[str, bool]
    sees_templates: bool = False

    @property
    def refused(self) -> str | None:
        """Why the request fails before anything is tried; None if something is tried."""
        if not self.cinder.accepted:
            return f"Cinder refuses the request: {self.cinder.refused}"
        if not self.plan.accepted:
            return f"The strict rules refuse the request, which Cinder itself accepts: {self.plan.refused}"
        return None if self.steps else f"The request fails: {self.cinder.refused or self.plan.refused}"

    @property
    def steps(self) -> tuple[CreationStep, ...]:
        """What is tried, in order; none if the request is refused."""
        if not (self.cinder.accepted and self.plan.accepted):
            return ()
        return tuple(step for step in self.plan.steps if step.way in _BY_THE_DRIVER or self.cinder.refused is None)

    @property
    def way(self) -> str:
        """What is tried first, by its name; `refused` if nothing is."""
        return self.steps[0].way.value if self.steps else "refused"

    def sentences(self) -> Iterator[str]:
        """Give the outcome, and what stands against the other ways, a line each."""
        if self.refused is not None:
            yield f"{self.refused}."
            return
        yield from self._tried()
        if self.way == Way.FROM_SNAPSHOT.value:
            return
        yield from self._image_volumes()
        ways = {step.way for step in self.steps}
        if self.looked_at["--templates"] and ways.isdisjoint(_BY_TEMPLATE):
            yield "No template is used:"
            yield from _against(self.plan.template.verdicts)
        if self.looked_at["--image-cache"] and Way.CREATE_CACHED not in ways:
            yield "Cinder's image cache is not used:"
            yield from _against(self.plan.cache)
        if self.passed_over:
            yield f"Not looked at: {', '.join(f'{_NAMES[option]} ({option})' for option in self.passed_over)}."

    @property
    def passed_over(self) -> tuple[str, ...]:
        """The options that were not given, so that what they say of the backend was not looked at."""
        return tuple(
            option
            for option, given in self.looked_at.items()
            if not given and (option == "--image-cache" or self.plan.policy is Policy.STRICT)
        )

    def _tried(self) -> Iterator[str]:
        for step in self.steps:
            told = _TOLD[step.way].format(step=step, source=said(step.source))
            if step.way is Way.CREATE_TEMPLATE and not self.sees_templates:
                told = _CREATED_IF_MISSING.format(step=step)
            if step is not self.steps[0]:
                told = f"If that fails, {told[0].lower()}{told[1:]}"
            elif self._may_be_cloned:
                told = f"{told}, unless Cinder is shown more than these credentials: {', '.join(self.unseen)}"
            yield f"{told}."
            if not step.falls_to_next:
                return
        if self.cinder.refused is not None:
            yield f"If that fails, the request fails: {self.cinder.refused}."

    @property
    def _may_be_cloned(self) -> bool:
        """Whether only what these credentials are not shown stands in the way of a clone."""
        clone = self.plan.clone
        locations_seen = any(verdict.subject for verdict in clone.verdicts)
        against = [verdict for verdict in failed(clone.verdicts) if verdict.subject is None]
        return bool(self.unseen) and not clone.eligible and len(against) <= (0 if locations_seen else 1)

    def _image_volumes(self) -> Iterator[str]:
        clone = self.plan.clone
        if not clone.eligible:
            yield "No image volume is cloned:"
        yield from _against(verdict for verdict in clone.verdicts if verdict.subject is None)
        tried = {source.id for source in clone.sources}
        for volume_id in dict.fromkeys(verdict.subject for verdict in clone.verdicts if verdict.subject):
            against = list(_against(verdict for verdict in clone.verdicts if verdict.subject == volume_id))
            if against:
                yield f"Volume {volume_id} cannot be cloned:"
                yield from against
            elif volume_id not in tried:
                yield f"Volume {volume_id} itself could be cloned."


_TOLD = {
    Way.FROM_SNAPSHOT: "Cinder creates the volume from snapshot {source}, if the request has API microversion 3.46 or "
    "later, Cinder shows the requester the snapshot, and it is not larger than the volume",
    Way.CLONE_IMAGE_VOLUME: "The volume is cloned from volume {source} and extended to {step.extend_to_gib} GiB",
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


def _against(verdicts: Iterable[Verdict]) -> Iterator[str]:
    for verdict in failed(verdicts):
        yield f"  {verdict.rule}: {verdict.text}."
