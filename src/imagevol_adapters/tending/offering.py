"""A template as a shard for the workers of many hosts: what is offered, and what each side accepts.

All programs that reach the lock service can write on its board.  So a worker takes nothing from a shard but the id of
an image and the name of a volume type: it plans the template itself, by its own configuration.  The feeder believes in
a template when it finds it in Cinder.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from hashlib import sha256
from threading import Event
from typing import Any

import attrs

from imagevol_adapters.fleet import JobOffer, guarded
from imagevol_adapters.fleet.recorded import name_of, reason_of
from imagevol_adapters.fleet.untrusted import id_of, read_outcome, read_plan
from imagevol_adapters.journals import text_of
from imagevol_adapters.ports import Claim
from imagevol_adapters.tending.warming import Warmed, Warmer, WarmState
from imagevol_core import ImagevolError, RequestRefused, TransferCancelled, WarmPlan, WarmWish
from imagevol_core.sharding import Shard, ShardRecord, ShardState

__all__ = ["offered_templates", "warm_job", "warm_kind", "warm_plan", "warm_work"]

_PLAN = frozenset({"image", "volume_type"})
_UNMADE = (WarmState.REFUSED, WarmState.FAILED)


def warm_kind(cloud: str) -> str:
    """Name the work of creating templates in one cloud: a worker with credentials for another does not take it.

    Args:
        cloud: names the cloud, as a journal has it.

    >>> warm_kind("Glance 1f3a, Cinder 77b0, project 9c2e")
    'templates warm of Glance 1f3a, Cinder 77b0, project 9c2e'
    """
    return f"templates warm of {cloud}"


def warm_job(kind: str, wishes: Iterable[WarmWish]) -> str:
    """Name a job: by what is wished, so that the same command goes on with the same job.

    Args:
        kind: of `warm_kind`.
        wishes: the images, each with a volume type.
    """
    wanted = sorted(f"{wish.image.id} {wish.target.volume_type}" for wish in wishes)
    return f"warm-{sha256(repr((kind, wanted)).encode()).hexdigest()[:8]}"


def warm_plan(wish: WarmWish) -> dict[str, Any]:
    """Give what a worker must know to create a template.

    >>> from imagevol_core import Image, Volume
    >>> target = Volume(id="new", size_gib=1, volume_type="ssd")
    >>> warm_plan(WarmWish(image=Image(id="1f3a", status="active"), target=target, pools=()))
    {'image': '1f3a', 'volume_type': 'ssd'}
    """
    return {"image": wish.image.id, "volume_type": wish.target.volume_type}


def warm_work(
    warmer: Warmer, *, wishes: Callable[[str, str | None], Sequence[WarmWish]], stopping: Event
) -> Callable[[Claim], Mapping[str, Any]]:
    """Give what does a shard of this kind: it plans the template itself, and has it created.

    Args:
        warmer: with the services and the internal tenant of this worker.
        wishes: collects the facts of an image, by its id, and a volume type, by its name.
        stopping: set when the worker shall end; a volume that is being created is then deleted.
    """

    def go_on() -> None:
        if stopping.is_set():
            raise TransferCancelled("the worker was stopped")

    def work(claim: Claim) -> Mapping[str, Any]:
        image_id, volume_type = read_plan(claim.shard, _PLAN, _wish)
        volumes = guarded(guarded(warmer.volumes, ["create"], claim.ensure_held), ["create", "find"], go_on)
        planned = warmer.planned(wishes(image_id, volume_type))
        with closing(attrs.evolve(warmer, volumes=volumes).warmed(planned, jobs=1)) as created:
            (ended,) = created
        if ended.state in _UNMADE:
            go_on()
            claim.ensure_held()
            raise RequestRefused(str(ended.reason))
        return {"state": ended.state.value, "place": ended.place, "reason": ended.reason}

    return work


def offered_templates(planned: Sequence[Warmed], *, warmer: Warmer, offer: JobOffer) -> Generator[Warmed, None, None]:
    """Let the workers of many hosts create templates, and give each as soon as it is known; see `Warmer.warmed`.

    If the iteration ends early, what is offered stays on the board, and the workers go on with it.

    Args:
        planned: what `Warmer.planned` gave.
        warmer: with the services of this process; with them it looks for the templates.
        offer: how they are offered.

    Raises:
        InUse: another process feeds the job.
        JobCancelled: another command cancelled it.
        ServiceUnreachable: the board does not answer.
        ServiceFailed: it answers with an error.
    """
    plans = {_shard_id(each.plan.wish): each.plan for each in planned if each.state is WarmState.PLANNED}
    yield from (each for each in planned if each.state is not WarmState.PLANNED)
    shards = [
        Shard(job=offer.job, id=shard_id, kind=offer.kind, work=warm_plan(plan.wish))
        for shard_id, plan in plans.items()
    ]
    with closing(offer.records(shards)) as records:
        for record in records:
            yield _ended(record, plans[record.shard.id], warmer)


def _shard_id(wish: WarmWish) -> str:
    """Name a shard, of no two wishes the same."""
    volume_type = wish.target.volume_type
    return wish.image.id if volume_type is None else f"{wish.image.id}:{volume_type}"


def _ended(record: ShardRecord, plan: WarmPlan, warmer: Warmer) -> Warmed:
    """Give what came of a plan, as Cinder shows it."""
    if record.state is ShardState.SET_ASIDE:
        return Warmed.failed(plan, str(record.reason))
    try:
        place, reason = read_outcome(record.outcome, _told)
        made = warmer.made(plan, place)
    except ImagevolError as error:
        return Warmed.failed(plan, str(error))
    return made or Warmed.failed(plan, f"a worker says that it ended with the template, and Cinder has none: {reason}")


def _told(outcome: Mapping[str, Any]) -> tuple[str, str]:
    """Give where a worker says that the template is, and why."""
    return name_of(outcome["place"]), reason_of(outcome["reason"] or outcome["state"])


def _wish(plan: Mapping[str, Any]) -> tuple[str, str | None]:
    """Give the id of the image, and the name of the volume type."""
    volume_type = plan["volume_type"]
    return id_of(plan["image"]), None if volume_type is None else text_of(volume_type)
