"""Which templates of a cloud are kept, and which go when an operator tidies up ([template]).

A driver replaces and evicts templates when it is asked for a volume.  What no request asks for any more stays:
templates of images that are gone, and of a backend whose limits were lowered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from itertools import groupby
from operator import itemgetter
from typing import cast

from imagevol_core.caching import CacheLimits, decide_freshness, last_use
from imagevol_core.errors import InvalidFact
from imagevol_core.facts import Image, NoAnswer, NotFound
from imagevol_core.sentences import amount, duration, said
from imagevol_core.templates.facts import Template
from imagevol_core.verdicts import Choice, Policy, first_match

__all__ = ["PRUNING_RULES", "PruningOutcome", "TemplateStanding", "plan_pruning"]

ImageAnswer = Image | NotFound | NoAnswer


class PruningOutcome(Enum):
    """Whether a template is deleted.

    `READY` stays and can be cloned; such a template goes only for the limits of its backend, or if all go.  `BUSY`
    stays while it is being made, cloned or changed; `UNKNOWN` stays because Glance did not tell of its image;
    `ELSEWHERE` stays because another Glance may have its image.
    """

    READY = "ready"
    BUSY = "busy"
    UNKNOWN = "unknown"
    ELSEWHERE = "elsewhere"
    GOES = "goes"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateStanding:
    """Whether one template is deleted, and why.

    Attributes:
        template: which one.
        outcome: the answer.
        rule: the id of the rule that decided, or `above-limits`, or `all-go`.
        because: the facts that decided, as a sentence.
    """

    template: Template
    outcome: PruningOutcome
    rule: str
    because: str

    @property
    def goes(self) -> bool:
        """Whether the template is deleted."""
        return self.outcome is PruningOutcome.GOES


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What the rules look at."""

    template: Template
    image: ImageAnswer
    idle: timedelta
    now: datetime
    only_glance: bool


def plan_pruning(
    templates: Iterable[Template],
    *,
    images: Mapping[str, ImageAnswer],
    now: datetime,
    idle: timedelta = timedelta(0),
    limits: CacheLimits | None = None,
    all_go: bool = False,
    only_glance: bool = False,
) -> tuple[TemplateStanding, ...]:
    """Decide which templates to delete, and why ([template]).

    Args:
        templates: of any backends, which their entries' `host` and `cluster_name` name.
        images: what Glance says of each image that a template is of. A template of an image that is not among them
            stays, as if Glance gave no answer.
        now: the time, with a zone.
        idle: templates that were cloned more recently than this stay, because a driver may still be cloning them.
        limits: of each backend. Above them the least recently used templates are deleted, except those that stay. A
            template of an unknown backend counts towards no limit.
        all_go: whether current templates are deleted too, as before templates are given up. Those that are in use, and
            those of an image of which nothing is known, stay.
        only_glance: whether no other Glance has templates in the internal tenant. If another one may have some, an
            image that this one does not have may be an image of the other one.

    Returns:
        A standing for each, in the order of the templates.

    Raises:
        InvalidFact: `now` has no time zone.

    >>> from datetime import UTC
    >>> from imagevol_core import CacheEntry
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> entry = CacheEntry(volume_id="v", image_id="i", size_gib=1, host="node@fast#pool")
    >>> (standing,) = plan_pruning([Template(entry=entry, status="available", readonly=True)],
    ...                            images={"i": NotFound()}, now=noon, only_glance=True)
    >>> standing.goes, standing.because
    (True, 'Glance has no image i')
    """
    if now.utcoffset() is None:
        raise InvalidFact("now", f"{now.isoformat()} has no time zone; give one")
    standings = [
        _standing(
            _Kept(
                template=each,
                image=images.get(each.entry.image_id, _NOT_ASKED),
                idle=idle,
                now=now,
                only_glance=only_glance,
            )
        )
        for each in templates
    ]
    if all_go:
        return tuple(map(_given_up, standings))
    above = _above(standings, limits or CacheLimits())
    return tuple(above.get(standing.template.entry.volume_id, standing) for standing in standings)


def _standing(kept: _Kept) -> TemplateStanding:
    outcome, verdicts = first_match(PRUNING_RULES[Policy.STRICT], kept)
    decided = verdicts[-1]
    return TemplateStanding(template=kept.template, outcome=outcome, rule=decided.rule, because=decided.text)


def _given_up(standing: TemplateStanding) -> TemplateStanding:
    if standing.outcome is not PruningOutcome.READY:
        return standing
    because = "it can be cloned, and all templates are deleted"
    return replace(standing, outcome=PruningOutcome.GOES, rule="all-go", because=because)


def _above(standings: Iterable[TemplateStanding], limits: CacheLimits) -> dict[str, TemplateStanding]:
    """What goes for the limits, by the volumes' ids."""
    placed = ((_place(each), each) for each in standings if not each.goes)
    known = sorted(((place, each) for place, each in placed if place), key=itemgetter(0))
    above: dict[str, TemplateStanding] = {}
    for place, group in groupby(known, key=itemgetter(0)):
        of_place = [standing for _, standing in group]
        size_gib, count = sum(each.template.entry.size_gib for each in of_place), len(of_place)
        for standing in sorted(of_place, key=lambda each: last_use(each.template.entry)):
            if limits.hold(size_gib=size_gib, count=count):
                break
            if standing.outcome is PruningOutcome.READY:
                because = (
                    f"{place} has {amount(count, 'template')} with {size_gib} GiB, and the limit is {_allowed(limits)}"
                )
                above[standing.template.entry.volume_id] = replace(
                    standing, outcome=PruningOutcome.GOES, rule="above-limits", because=because
                )
                size_gib, count = size_gib - standing.template.entry.size_gib, count - 1
    return above


def _allowed(limits: CacheLimits) -> str:
    count = amount(limits.max_count, "template") if limits.max_count else None
    return " and ".join(filter(None, (count, f"{limits.max_gib} GiB" if limits.max_gib else None)))


def _place(standing: TemplateStanding) -> str | None:
    entry = standing.template.entry
    return entry.cluster_name or entry.host


def _in_use(kept: _Kept) -> tuple[bool, str]:
    entry = kept.template.entry
    if entry.in_use:
        return True, "it is being cloned"
    recent = entry.last_used is not None and kept.now - entry.last_used < kept.idle
    return recent, f"it was last used at {said(entry.last_used)}, and counts as in use for {duration(kept.idle)} after"


def _being_made(kept: _Kept) -> tuple[bool, str]:
    taken = kept.template.being_made_for
    making = taken is not None
    return (
        making,
        f"it has been in the making for {duration(taken)}" if taken is not None else "no process is creating it",
    )


def _busy(kept: _Kept) -> tuple[bool, str]:
    status = kept.template.status
    return status not in ("available", *_BROKEN), f"its status is {said(status)}"


def _no_answer(kept: _Kept) -> tuple[bool, str]:
    if isinstance(kept.image, NoAnswer):
        return True, f"what its image is now is not known: {kept.image.reason}"
    return False, "Glance has answered"


def _image_elsewhere(kept: _Kept) -> tuple[bool, str]:
    image_id = kept.template.entry.image_id
    if isinstance(kept.image, Image):
        return False, f"Glance has an image {image_id}"
    if kept.only_glance:
        return False, "no other Glance has templates here"
    return True, f"Glance has no image {image_id}, and another Glance may have it: if there is none, pass --only-glance"


def _image_gone(kept: _Kept) -> tuple[bool, str]:
    gone = not isinstance(kept.image, Image)
    return gone, f"Glance has {'no' if gone else 'an'} image {kept.template.entry.image_id}"


def _stale(kept: _Kept) -> tuple[bool, str]:
    freshness = decide_freshness(cast(Image, kept.image), entry=kept.template.entry)
    return not freshness.fresh, freshness.because


def _broken(kept: _Kept) -> tuple[bool, str]:
    template = kept.template
    wrong = template.status in _BROKEN or template.readonly is not True
    return wrong, f"its status is {said(template.status)}, and it is {'' if template.readonly else 'not '}read-only"


def _exhausted(kept: _Kept) -> tuple[bool, str]:
    exhausted = kept.template.exhausted
    return exhausted, f"the storage allows {'no ' if exhausted else ''}more clones of it"


def _ready(kept: _Kept) -> tuple[bool, str]:
    return True, _stale(kept)[1]


_NOT_ASKED = NoAnswer("Glance was not asked for it")
_BROKEN = ("error", "error_deleting", "error_extending", "error_managing", "error_restoring")
_SPEC = "[template]"

PRUNING_RULES: Mapping[Policy, tuple[Choice[_Kept, PruningOutcome], ...]] = {
    Policy.STRICT: (
        Choice(
            id="in-use",
            text="stays: it is being cloned, or was just now",
            source=_SPEC,
            applies=_in_use,
            outcome=PruningOutcome.BUSY,
        ),
        Choice(
            id="being-made",
            text="stays: a process is creating it",
            source=_SPEC,
            applies=_being_made,
            outcome=PruningOutcome.BUSY,
        ),
        Choice(
            id="busy",
            text="stays: Cinder does something to it",
            source=_SPEC,
            applies=_busy,
            outcome=PruningOutcome.BUSY,
        ),
        Choice(
            id="no-answer",
            text="stays: what its image is now is not known",
            source=_SPEC,
            applies=_no_answer,
            outcome=PruningOutcome.UNKNOWN,
        ),
        Choice(
            id="image-elsewhere",
            text="stays: its image is not here, and another Glance may have it",
            source=_SPEC,
            applies=_image_elsewhere,
            outcome=PruningOutcome.ELSEWHERE,
        ),
        Choice(
            id="image-gone",
            text="goes: its image is gone",
            source=_SPEC,
            applies=_image_gone,
            outcome=PruningOutcome.GOES,
        ),
        Choice(
            id="stale",
            text="goes: it is not its image any more",
            source=_SPEC,
            applies=_stale,
            outcome=PruningOutcome.GOES,
        ),
        Choice(
            id="broken", text="goes: no driver clones it", source=_SPEC, applies=_broken, outcome=PruningOutcome.GOES
        ),
        Choice(
            id="exhausted",
            text="goes: the storage allows no more clones of it",
            source=_SPEC,
            applies=_exhausted,
            outcome=PruningOutcome.GOES,
        ),
        Choice(id="ready", text="stays, within the limits", source=_SPEC, applies=_ready, outcome=PruningOutcome.READY),
    )
}
