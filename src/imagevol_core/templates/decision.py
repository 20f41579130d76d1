"""Whether a template may serve a request, and whether to use, create, replace or await it ([template]).

A template is a volume that holds an image at the least size and is kept only to be cloned: one for each image and
backend, read-only, in a project that no user works in.  It is SolidFire's image caching as the blueprint has it, for
any backend; Cinder dropped its own after 14.0.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from imagevol_core.caching import CacheEntry, CacheLimits, plan_admission
from imagevol_core.errors import InvalidFact
from imagevol_core.facts import Image, Volume
from imagevol_core.templates.facts import (
    OldTemplate,
    Template,
    TemplateAction,
    TemplateRequest,
    TemplateSettings,
    TemplateState,
    least_gib,
    least_gib_upstream,
)
from imagevol_core.templates.rules import STRICT_REQUEST_TEMPLATE_RULES, STRICT_TEMPLATE_STATE_RULES
from imagevol_core.templates.upstream import UPSTREAM_REQUEST_TEMPLATE_RULES, UPSTREAM_TEMPLATE_STATE_RULES
from imagevol_core.verdicts import Choice, Policy, Requirement, Verdict, evaluate, failed, first_match, table_of

__all__ = [
    "REQUEST_TEMPLATE_RULES",
    "TEMPLATE_STATE_RULES",
    "Template",
    "TemplateAction",
    "TemplateDecision",
    "TemplateSettings",
    "decide_template",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateDecision:
    """What to do about the template of an image, for one new volume.

    Attributes:
        policy: whose rules decided.
        action: what to do.
        because: the facts that decided, as a sentence.
        source: the volume to clone; None unless the template is used.
        size_gib: the size of the template to be made, in GiB; None if none is made, or its size is not known.
        remove_first: volumes to delete before a template is made, in this order.
        remove_after: the volume to delete once the new template is ready; its clones are not touched.
        superseded: older templates of the image, to be deleted in the same way; those that are in use stay.
        needs_read: whether a template would serve if Glance gave the requester the image's data, which is not known.
            Ask Glance with the requester's token, and decide again.
        wait: how much longer to wait for the template that another request makes, before the volume is copied.
        verdicts: what each rule said.
    """

    policy: Policy
    action: TemplateAction
    because: str
    source: str | None = None
    size_gib: int | None = None
    remove_first: tuple[str, ...] = ()
    remove_after: str | None = None
    superseded: tuple[str, ...] = ()
    needs_read: bool = False
    wait: timedelta | None = None
    verdicts: tuple[Verdict, ...]


def decide_template(
    image: Image,
    *,
    target: Volume,
    template: Template | None,
    settings: TemplateSettings,
    others: Iterable[CacheEntry] = (),
    abandoned: Iterable[CacheEntry] = (),
    requester_reads: bool | None = None,
    policy: Policy = Policy.STRICT,
) -> TemplateDecision:
    """Decide whether a template serves `target`, and what must be done for that ([template]).

    A caller that makes or deletes a template for the answer must hold the lock of the image and backend, from before
    the facts are collected.

    Args:
        image: as Glance shows it now.
        target: the volume to be made, with its final size and the project that asks for it.
        template: the template of the image on the target's backend; None if there is none.
        settings: what the operator allows.
        others: the other templates of the backend, which count towards the limits.
        abandoned: those of other images that were left half made.  They go before a template is made, and count towards
            no limit.
        requester_reads: whether Glance gave the image's data to the requester's own token in this request; None if
            Glance was not asked.
        policy: whose rules.  Under `UPSTREAM`, what SolidFire's driver in cinder 13.0.9 does (`clone_image`).

    Returns:
        What to do, and why.

    Raises:
        InvalidFact: the template is of another image, or is among the others or the abandoned ones; or a volume is
            listed twice and differs.

    >>> image = Image(id="i", status="active", visibility="public", container_format="bare", size_bytes=700,
    ...               virtual_size_bytes=3 * 2**30)
    >>> target = Volume(id="t", project_id="p", size_gib=10, encrypted=False)
    >>> decision = decide_template(image, target=target, template=None, settings=TemplateSettings(enabled=True))
    >>> decision.action.value, decision.size_gib
    ('create', 3)
    """
    if template is not None and template.entry.image_id != image.id:
        raise InvalidFact("template", f"it is of image {template.entry.image_id}; give the one of image {image.id}")
    others, abandoned = tuple(others), tuple(abandoned)
    there = others + abandoned
    if template is not None and template.entry.volume_id in {entry.volume_id for entry in there}:
        raise InvalidFact("others", f"volume {template.entry.volume_id} is the template itself; give all but that one")
    request = TemplateRequest(
        image=image, target=target, template=template, settings=settings, requester_reads=requester_reads
    )
    verdicts = evaluate(table_of(REQUEST_TEMPLATE_RULES, policy), request)
    if in_the_way := failed(verdicts):
        needs_read = requester_reads is None and _would_serve(policy, replace(request, requester_reads=True))
        return replace(_leave_aside(policy, in_the_way, verdicts), needs_read=needs_read)
    state, looked_at = first_match(table_of(TEMPLATE_STATE_RULES, policy), request)
    decision = _completed(policy, state, request, verdicts + looked_at)
    limited = table_of(_LIMITED, policy)(decision, others, settings.limits)
    left, superseded = _left_behind(limited, abandoned), _superseded(limited, image, others)
    if not left and not superseded:
        return limited
    return replace(limited, remove_first=left + limited.remove_first, superseded=superseded)


def _left_behind(decision: TemplateDecision, abandoned: Iterable[CacheEntry]) -> tuple[str, ...]:
    """Give what goes for no other reason than that nothing will come of it."""
    if decision.policy is not Policy.STRICT or decision.action not in _MAKING:
        return ()
    return tuple(dict.fromkeys(entry.volume_id for entry in abandoned))


def _superseded(decision: TemplateDecision, image: Image, others: Iterable[CacheEntry]) -> tuple[str, ...]:
    if decision.policy is not Policy.STRICT or decision.action not in (TemplateAction.USE, *_MAKING):
        return ()
    older = (entry for entry in others if entry.image_id == image.id and not entry.in_use)
    return tuple(entry.volume_id for entry in older if entry.volume_id not in decision.remove_first)


def _would_serve(policy: Policy, request: TemplateRequest) -> bool:
    return not failed(evaluate(table_of(REQUEST_TEMPLATE_RULES, policy), request))


def _leave_aside(policy: Policy, because: Iterable[Verdict], verdicts: tuple[Verdict, ...]) -> TemplateDecision:
    text = "; ".join(verdict.text for verdict in because)
    return TemplateDecision(policy=policy, action=TemplateAction.COPY, because=text, verdicts=verdicts)


def _admit(decision: TemplateDecision, others: Iterable[CacheEntry], limits: CacheLimits) -> TemplateDecision:
    """Make room for a template that will be made; without room it is not made."""
    if decision.size_gib is None:
        return decision
    admission = plan_admission(others, newcomer_gib=decision.size_gib, limits=limits)
    verdicts = decision.verdicts + admission.verdicts
    if in_the_way := failed(admission.verdicts):
        return _leave_aside(decision.policy, in_the_way, verdicts)
    evict = tuple(entry.volume_id for entry in admission.evict)
    return replace(decision, remove_first=decision.remove_first + evict, verdicts=verdicts)


def _unlimited(decision: TemplateDecision, _others: Iterable[CacheEntry], _limits: CacheLimits) -> TemplateDecision:
    return decision


_LIMITED = {Policy.STRICT: _admit, Policy.UPSTREAM: _unlimited}


# What follows from the state of a template.

_LEAST = {Policy.STRICT: least_gib, Policy.UPSTREAM: least_gib_upstream}


def _completed(
    policy: Policy, state: TemplateState, request: TemplateRequest, verdicts: tuple[Verdict, ...]
) -> TemplateDecision:
    """Give the decision with the volume that is cloned, what is made and what goes for it, and how long to wait."""
    found = request.template.entry.volume_id if request.template else None
    taken = request.template.being_made_for if request.template else None
    return TemplateDecision(
        policy=policy,
        action=state.action,
        because=verdicts[-1].text,
        verdicts=verdicts,
        source=found if state.action is TemplateAction.USE else None,
        size_gib=table_of(_LEAST, policy)(request.image) if state.action in _MAKING else None,
        remove_first=(found,) if found and state.old is OldTemplate.GOES_FIRST else (),
        remove_after=found if state.old is OldTemplate.GOES_AFTER else None,
        wait=request.settings.longest_making - (taken or _NONE) if state.action is TemplateAction.WAIT else None,
    )


_MAKING = (TemplateAction.CREATE, TemplateAction.REPLACE)
_NONE = timedelta(0)


REQUEST_TEMPLATE_RULES: Mapping[Policy, tuple[Requirement[TemplateRequest], ...]] = {
    Policy.STRICT: STRICT_REQUEST_TEMPLATE_RULES,
    Policy.UPSTREAM: UPSTREAM_REQUEST_TEMPLATE_RULES,
}
TEMPLATE_STATE_RULES: Mapping[Policy, tuple[Choice[TemplateRequest, TemplateState], ...]] = {
    Policy.STRICT: STRICT_TEMPLATE_STATE_RULES,
    Policy.UPSTREAM: UPSTREAM_TEMPLATE_STATE_RULES,
}
