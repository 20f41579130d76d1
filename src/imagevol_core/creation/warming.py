"""Which templates can be created ahead of the first volume, where, and why not the others ([template]).

Only a backend's driver creates templates, when it creates a volume from the image.  What such a volume would come to on
each pool is what `plan_creation` says.  The plan as a whole keeps to the limits of each backend, so that no template is
created only to be evicted by the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from typing import cast

from imagevol_core.caching import CacheEntry
from imagevol_core.cloning import CloneSettings
from imagevol_core.creation.decision import CreationPlan, plan_creation
from imagevol_core.creation.facts import ConversionSettings, Way
from imagevol_core.facts import Backend, Image, Volume, VolumeType
from imagevol_core.sentences import said
from imagevol_core.templates import Template, TemplateAction, TemplateSettings
from imagevol_core.verdicts import Choice, Policy, Verdict, first_match

__all__ = ["WARM_RULES", "WarmOutcome", "WarmPlan", "WarmPool", "WarmWish", "may_serve", "plan_warming"]


class WarmOutcome(Enum):
    """What the plan says of one image and volume type.

    `PLANNED`: a template will be created.  `READY`: there is one.  `NOT_NEEDED`: volumes are fast without one.
    `REFUSED`: there can be none, and the plan says why.
    """

    PLANNED = "planned"
    READY = "ready"
    NOT_NEEDED = "not-needed"
    REFUSED = "refused"


def may_serve(volume_type: VolumeType | None, *, backend_name: str | None) -> bool:
    """Tell whether volumes of a type may be created on a backend, as far as the backend's name decides.

    Args:
        volume_type: the type; None if it is not known.
        backend_name: the backend's `volume_backend_name`; None if it has none.

    >>> fast = VolumeType(name="ssd", extra_specs={"volume_backend_name": "fast"})
    >>> may_serve(fast, backend_name="fast"), may_serve(fast, backend_name="slow")
    (True, False)
    >>> either = VolumeType(name="any", extra_specs={"capabilities:volume_backend_name": "<or> fast <or> slow"})
    >>> may_serve(either, backend_name="slow")
    True
    """
    specs = volume_type.extra_specs if volume_type else {}
    wanted = [specs[key] for key in _BACKEND_NAME if key in specs]
    return all(each == backend_name or each.split()[:1] in _OPERATORS for each in wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmPool:
    """A pool in which Cinder may create the volume.

    Args:
        name: `host@backend#pool`, or `cluster@backend#pool` if Cinder runs active-active.
        backend: what its backend can do.
        clone_settings: what the operator allows of clones there.
        template_settings: what the operator allows of templates there.
        conversion: what the operator allows of images in other formats than raw.
    """

    name: str
    backend: Backend = field(default_factory=Backend)
    clone_settings: CloneSettings = field(default_factory=CloneSettings)
    template_settings: TemplateSettings = field(default_factory=TemplateSettings)
    conversion: ConversionSettings = field(default_factory=ConversionSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmWish:
    """An image that should get a template for volumes of a type.

    Args:
        image: which image.
        target: the volume that would be created, with its size, project, type and encryption.
        pools: where Cinder may create it.
        volumes: the volumes that the image's locations name, as far as they exist.
        requester_reads: whether Glance gave the image's data to the requester's own token; None if it was not asked.
    """

    image: Image
    target: Volume
    pools: tuple[WarmPool, ...]
    volumes: tuple[Volume, ...] = ()
    requester_reads: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmPlan:
    """Whether a template can be created for one image and volume type.

    Attributes:
        wish: which one.
        outcome: what it comes to.
        rule: the id of the rule that decided.
        because: the facts that decided, as a sentence.
        pool: the name of the pool that they are about; None if Cinder has none for this type.
        template: the id of the template that is ready; None if none is.
        needs_read: whether the outcome may change if Glance gives the requester the image's data. Ask, and plan again.
        verdicts: what each rule said, up to the one that decided.
    """

    wish: WarmWish
    outcome: WarmOutcome
    rule: str
    because: str
    pool: str | None
    template: str | None
    needs_read: bool
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """What the rules look at: what a volume from the image comes to on one pool."""

    pool: WarmPool | None
    plan: CreationPlan | None
    evicted: tuple[CacheEntry, ...] = ()
    wanted: frozenset[str] = frozenset()

    @property
    def planned(self) -> CreationPlan:
        """The plan, for the rules after the one that says that there is none."""
        return cast(CreationPlan, self.plan)

    @property
    def way(self) -> Way:
        """What is tried first, for the rules after the one that says that nothing is."""
        return self.planned.steps[0].way

    @property
    def source(self) -> str | None:
        """What is cloned first."""
        return self.planned.steps[0].source


def plan_warming(wishes: Iterable[WarmWish], *, templates: Iterable[Template]) -> tuple[WarmPlan, ...]:
    """Plan which templates to create, in the order of the wishes ([template]).

    A wish that needs a template counts towards the limits of its pool for all later ones.  If it could only be granted
    by evicting a template that another wish needs, it is refused.  If a type has several pools, a template is planned
    as soon as one of them can have one.

    Args:
        wishes: the images, each with a volume type.
        templates: all templates that there are.  Of one image and pool, the newest first.

    Returns:
        A plan for each wish.

    Raises:
        InvalidFact: a volume is listed twice and differs.

    >>> image = Image(id="i", status="active", visibility="public", disk_format="raw", container_format="bare",
    ...               size_bytes=700)
    >>> pool = WarmPool(name="h@fast#one", template_settings=TemplateSettings(enabled=True))
    >>> target = Volume(id="t", project_id="p", size_gib=1, encrypted=False)
    >>> (plan,) = plan_warming([WarmWish(image=image, target=target, pools=(pool,))], templates=())
    >>> plan.outcome.value, plan.pool
    ('planned', 'h@fast#one')
    >>> off = replace(pool, template_settings=TemplateSettings())
    >>> (plan,) = plan_warming([WarmWish(image=image, target=target, pools=(off,))], templates=())
    >>> plan.outcome.value, plan.because
    ('refused', "templates are not enabled: set image_template_enabled in the backend's section of cinder.conf")
    """
    wishes = tuple(wishes)
    wanted = frozenset(wish.image.id for wish in wishes)
    present: dict[str | None, list[Template]] = {}
    for template in templates:
        present.setdefault(_place(template.entry), []).append(template)
    return tuple(_planned(wish, present, wanted) for wish in wishes)


def _planned(wish: WarmWish, present: dict[str | None, list[Template]], wanted: frozenset[str]) -> WarmPlan:
    """Plan for the pool that promises most, and let what is planned count there."""
    candidates = [_candidate(wish, pool, present.get(pool.name, ()), wanted) for pool in wish.pools]
    decided = [(each, _decided(wish, each)) for each in candidates or [_Candidate(pool=None, plan=None)]]
    candidate, plan = min(decided, key=lambda each: _ORDER.index(each[1].outcome))
    if plan.outcome is WarmOutcome.PLANNED and candidate.planned.template.size_gib is not None:
        evicted = {entry.volume_id for entry in candidate.evicted}
        pool = cast(WarmPool, candidate.pool)
        staying = [each for each in present.get(pool.name, ()) if each.entry.volume_id not in evicted]
        present[pool.name] = [*staying, _newcomer(wish, pool, candidate.planned.template.size_gib)]
    return replace(plan, needs_read=any(each.needs_read for _, each in decided))


def _candidate(wish: WarmWish, pool: WarmPool, present: Iterable[Template], wanted: frozenset[str]) -> _Candidate:
    of_image = [each for each in present if each.entry.image_id == wish.image.id]
    newest = of_image[0].entry.volume_id if of_image else None
    others = {each.entry.volume_id: each.entry for each in present if each.entry.volume_id != newest}
    plan = plan_creation(
        wish.image,
        target=replace(wish.target, host=pool.name, cluster_name=None),
        volumes=[replace(each, host=each.cluster_name or each.host) for each in wish.volumes],
        backend=pool.backend,
        clone_settings=pool.clone_settings,
        template=of_image[0] if of_image else None,
        template_settings=pool.template_settings,
        other_templates=others.values(),
        requester_reads=wish.requester_reads,
        conversion=pool.conversion,
    )
    evicted = tuple(others[volume_id] for volume_id in plan.template.remove_first if volume_id in others)
    return _Candidate(pool=pool, plan=plan, evicted=evicted, wanted=wanted)


def _decided(wish: WarmWish, candidate: _Candidate) -> WarmPlan:
    outcome, verdicts = first_match(WARM_RULES[Policy.STRICT], candidate)
    return WarmPlan(
        wish=wish,
        outcome=outcome,
        rule=verdicts[-1].rule,
        because=verdicts[-1].text,
        pool=candidate.pool.name if candidate.pool else None,
        template=candidate.source if outcome is WarmOutcome.READY else None,
        needs_read=candidate.plan is not None and candidate.plan.template.needs_read,
        verdicts=verdicts,
    )


def _newcomer(wish: WarmWish, pool: WarmPool, size_gib: int) -> Template:
    """The template that is planned, as the later wishes see it: the most recently used one, which is evicted last."""
    entry = CacheEntry(
        volume_id=f"the template of image {wish.image.id} on {pool.name}",
        image_id=wish.image.id,
        size_gib=size_gib,
        digest=wish.image.digest,
        image_updated_at=wish.image.updated_at,
        last_used=_LATEST,
    )
    project_id = next(iter(pool.template_settings.trusted_projects), None)
    return Template(entry=entry, status="available", project_id=project_id, readonly=True, encrypted=False)


def _place(entry: CacheEntry) -> str | None:
    return entry.cluster_name or entry.host


# What each wish comes to on a pool.


def _no_pool(candidate: _Candidate) -> tuple[bool, str]:
    if candidate.pool is None:
        return True, "Cinder has no pool for volumes of this type"
    return False, f"the volume may be created on {said(candidate.pool.name)}"


def _no_volume(candidate: _Candidate) -> tuple[bool, str]:
    refused = candidate.planned.refused
    return refused is not None, refused or "the volume can be created"


def _from_snapshot(candidate: _Candidate) -> tuple[bool, str]:
    if candidate.way is Way.FROM_SNAPSHOT:
        return True, "Cinder creates the volume from a snapshot"
    return False, "Cinder does not create the volume from a snapshot"


def _cloned_already(candidate: _Candidate) -> tuple[bool, str]:
    if candidate.way is Way.CLONE_IMAGE_VOLUME:
        return True, f"the backend clones the image volume {said(candidate.source)}"
    return False, "no image volume can be cloned there"


def _ready(candidate: _Candidate) -> tuple[bool, str]:
    return candidate.planned.template.action is TemplateAction.USE, candidate.planned.template.because


def _no_template(candidate: _Candidate) -> tuple[bool, str]:
    return candidate.planned.template.action is TemplateAction.COPY, candidate.planned.template.because


def _evicts_wanted(candidate: _Candidate) -> tuple[bool, str]:
    for entry in candidate.evicted:
        if entry.image_id in candidate.wanted:
            text = f"its driver would evict the template of image {said(entry.image_id)}, which was also asked for"
            return True, f"{text}: raise the limits of the backend"
    return False, "no template of these images is evicted for it"


def _possible(candidate: _Candidate) -> tuple[bool, str]:
    room = "".join(f"; template {said(entry.volume_id)} makes room" for entry in candidate.evicted)
    return True, f"{candidate.planned.template.because}{room}"


_BACKEND_NAME = ("volume_backend_name", "capabilities:volume_backend_name")
_OF_STRINGS = ("s==", "s!=", "s<", "s<=", "s>", "s>=")
# With one of these Cinder compares otherwise, so that only trying can tell.
_OPERATORS = [[word] for word in ("<in>", "<or>", "<is>", "=", "==", "!=", ">=", "<=", *_OF_STRINGS)]
_LATEST = datetime.max.replace(tzinfo=UTC)
_ORDER = tuple(WarmOutcome)
_SPEC = "[template]"

WARM_RULES: Mapping[Policy, tuple[Choice[_Candidate, WarmOutcome], ...]] = {
    Policy.STRICT: (
        Choice(
            id="no-pool",
            text="refused: Cinder has no pool for the type",
            source=_SPEC,
            applies=_no_pool,
            outcome=WarmOutcome.REFUSED,
        ),
        Choice(
            id="no-volume",
            text="refused: no volume can be created",
            source=_SPEC,
            applies=_no_volume,
            outcome=WarmOutcome.REFUSED,
        ),
        Choice(
            id="from-snapshot",
            text="not needed: Cinder creates the volume from a snapshot",
            source=_SPEC,
            applies=_from_snapshot,
            outcome=WarmOutcome.NOT_NEEDED,
        ),
        Choice(
            id="cloned-already",
            text="not needed: the backend clones an image volume",
            source=_SPEC,
            applies=_cloned_already,
            outcome=WarmOutcome.NOT_NEEDED,
        ),
        Choice(
            id="ready",
            text="ready: there is a template of the image",
            source=_SPEC,
            applies=_ready,
            outcome=WarmOutcome.READY,
        ),
        Choice(
            id="no-template",
            text="refused: the image may have no template",
            source=_SPEC,
            applies=_no_template,
            outcome=WarmOutcome.REFUSED,
        ),
        Choice(
            id="evicts-wanted",
            text="refused: it would evict a template that was also asked for",
            source=_SPEC,
            applies=_evicts_wanted,
            outcome=WarmOutcome.REFUSED,
        ),
        Choice(
            id="possible",
            text="planned: the driver creates a template",
            source=_SPEC,
            applies=_possible,
            outcome=WarmOutcome.PLANNED,
        ),
    )
}
