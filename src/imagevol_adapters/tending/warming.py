"""Templates that are created ahead of the first volume ([template]).

Only the driver of a backend creates templates.  So a temporary volume is created from the image, and deleted again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from typing import Protocol

import attrs

from imagevol_adapters.cleanup import released, undone_on_failure
from imagevol_adapters.lost_answers import found_or_deleted, only_once
from imagevol_adapters.ports import VolumeService
from imagevol_adapters.processes import origin
from imagevol_adapters.tending.templates import ImageData, TemplateVolumes, gives_data, place_of, templates_of
from imagevol_adapters.waiting import wait_until
from imagevol_core import (
    ImagevolError,
    Template,
    Volume,
    WarmPlan,
    WarmPool,
    WarmWish,
    plan_warming,
)

__all__ = ["WarmState", "WarmVolumes", "Warmed", "Warmer"]

_CREATING = ("creating", "downloading")


class WarmVolumes(TemplateVolumes, VolumeService, Protocol):
    """Cinder, as far as templates are created ahead; `CinderVolumes` is one."""


class WarmState(Enum):
    """The state of an image that should have a template."""

    PLANNED = "planned"
    READY = "ready"
    NOT_NEEDED = "not-needed"
    MADE = "made"
    REFUSED = "refused"
    FAILED = "failed"


@attrs.frozen(kw_only=True)
class Warmed:
    """What has become of a plan.

    Attributes:
        plan: what was planned.
        state: how it ended.
        place: the backend that it is about; None if it is not known.
        template: the template; None if there is none.
        reason: why it is so; None of a template that was created.
    """

    plan: WarmPlan
    state: WarmState
    place: str | None
    template: Volume | None = None
    reason: str | None = None

    @classmethod
    def of(cls, plan: WarmPlan, templates: Iterable[Volume] = ()) -> Warmed:
        """Give a plan that is not carried out.

        Args:
            plan: any.
            templates: among which its template is, if it has one.
        """
        template = next((each for each in templates if each.id == plan.template), None)
        state = WarmState(plan.outcome.value)
        return cls(plan=plan, state=state, place=plan.pool, template=template, reason=plan.because)

    @classmethod
    def failed(cls, plan: WarmPlan, reason: str, place: str | None = None) -> Warmed:
        """Give a plan of which nothing came.

        Args:
            plan: any.
            reason: why.
            place: the backend that it is about; that of the plan if it is not known.
        """
        return cls(plan=plan, state=WarmState.FAILED, place=place or plan.pool, reason=reason)


@attrs.frozen(kw_only=True)
class Warmer:
    """Plans which templates are created ahead, and has them created.

    Args:
        volumes: with credentials of an administrator in the project that asks.
        images: the same.
        internal_tenant: the project of the templates.
        wait_seconds: how long to wait until one more of the volumes is created.
    """

    volumes: WarmVolumes
    images: ImageData
    internal_tenant: str
    wait_seconds: float

    def planned(self, wishes: Iterable[WarmWish]) -> list[Warmed]:
        """Plan, and ask Glance for the data of those images of other projects that may be served by a template.

        Args:
            wishes: the images, each with a volume type.
        """
        wishes = list(wishes)
        there = list(self._templates())
        templates = [template for _, template in there]
        unread = {plan.wish.image.id for plan in plan_warming(wishes, templates=templates) if plan.needs_read}
        reads = {image_id: gives_data(self.images, image_id) for image_id in unread}
        asked = [replace(wish, requester_reads=reads.get(wish.image.id)) for wish in wishes]
        return [Warmed.of(plan, [volume for volume, _ in there]) for plan in plan_warming(asked, templates=templates)]

    def warmed(self, planned: Sequence[Warmed], *, jobs: int) -> Generator[Warmed, None, None]:
        """Create what is planned, several at once, and give each as soon as it is known; look again with `checked`.

        Args:
            planned: what `planned` gave.
            jobs: how many volumes are being created at once, at most.
        """
        waiting = deque(each.plan for each in planned if each.state is WarmState.PLANNED)
        yield from (each for each in planned if each.state is not WarmState.PLANNED)
        running: dict[str, WarmPlan] = {}
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    plan = waiting.popleft()
                    try:
                        running[self._asked(plan).id] = plan
                    except ImagevolError as error:
                        yield Warmed.failed(plan, str(error))
                for volume_id, reason in self._ended(running) if running else ():
                    yield self._finished(running.pop(volume_id), volume_id, reason)
        except BaseException:
            with ExitStack() as undo:
                for volume_id in running:
                    undo.enter_context(
                        undone_on_failure(f"volume {volume_id}", partial(self.volumes.delete, volume_id))
                    )
                raise

    def checked(self, warmed: Iterable[Warmed]) -> list[Warmed]:
        """Look again which templates are there: a driver evicts some for those that it created later.

        Args:
            warmed: how each has ended.
        """
        warmed = list(warmed)
        if not any(each.template for each in warmed):
            return warmed
        there = list(self._templates())
        return [each if each.template is None or self._is_ready(each, there) else _gone(each) for each in warmed]

    def made(self, plan: WarmPlan, place: str | None) -> Warmed | None:
        """Give what became of a plan if its template is there now, whichever process had it created; None if not.

        Args:
            plan: one that was to be carried out.
            place: the backend on which the template should be.
        """
        template = self._ready(plan, place, list(self._templates(plan.wish.image.id)))
        return None if template is None else Warmed(plan=plan, state=WarmState.MADE, place=place, template=template)

    def _asked(self, plan: WarmPlan) -> Volume:
        target, image_id = plan.wish.target, plan.wish.image.id
        name, metadata = f"warm-{image_id}", {**origin("warm", image_id).to_volume(), **only_once()}
        ask = partial(
            self.volumes.create,
            size_gib=target.size_gib,
            name=name,
            volume_type=target.volume_type,
            image_id=image_id,
            metadata=metadata,
        )
        find = partial(self.volumes.with_metadata, metadata)
        return found_or_deleted(ask, what=f"volume {name}", by="Cinder", find=find, delete=self.volumes.delete)

    def _ended(self, running: Collection[str]) -> list[tuple[str, str | None]]:
        """Wait until Cinder has ended with one of the volumes; give each with which it has, and why it failed if so."""

        def ended() -> list[str]:
            found = {each.id: each for each in self.volumes.find(list(running))}
            return [each for each in running if each not in found or found[each].status not in _CREATING]

        what = f"none of the temporary volumes is available: {', '.join(running)}"
        try:
            return [(each, None) for each in wait_until(ended, bool, what=what, seconds=self.wait_seconds)]
        except ImagevolError as error:
            return [(each, str(error)) for each in running]

    def _finished(self, plan: WarmPlan, volume_id: str, reason: str | None) -> Warmed:
        """Delete the volume, and see what its backend has made of it."""
        place = plan.pool
        try:
            with released(f"volume {volume_id}", partial(self.volumes.delete, volume_id)):
                if reason is None:
                    place = place_of(self.volumes.wait(volume_id))
            if reason is not None:
                return Warmed.failed(plan, reason)
            made = self.made(plan, place)
        except ImagevolError as error:
            return Warmed.failed(plan, f"{reason}; {error}" if reason else str(error), place)
        return made or Warmed.failed(plan, f"{place} created no template: see the log of its cinder-volume", place)

    def _templates(self, image_id: str | None = None) -> Iterator[tuple[Volume, Template]]:
        return templates_of(self.volumes, project_id=self.internal_tenant, now=datetime.now(UTC), image_id=image_id)

    def _is_ready(self, warmed: Warmed, there: Sequence[tuple[Volume, Template]]) -> bool:
        return self._ready(warmed.plan, warmed.place, there) is not None

    @staticmethod
    def _ready(plan: WarmPlan, place: str | None, there: Sequence[tuple[Volume, Template]]) -> Volume | None:
        """Give the template by which a backend would serve the wish now."""
        pools = [each for each in plan.wish.pools if each.name == place] or [_renamed(plan.wish.pools[0], place)]
        (now,) = plan_warming([replace(plan.wish, pools=tuple(pools))], templates=[template for _, template in there])
        return next((volume for volume, _ in there if volume.id == now.template), None)


def _renamed(pool: WarmPool, place: str | None) -> WarmPool:
    """What is allowed on a pool that Cinder's scheduler did not name for the type."""
    return replace(pool, name=place or pool.name)


def _gone(warmed: Warmed) -> Warmed:
    gone = f"template {warmed.template.id if warmed.template else None} was there and does not serve any more"
    reason = f"{gone}: compare the limits of {warmed.place}"
    return attrs.evolve(warmed, state=WarmState.FAILED, template=None, reason=reason)
