"""An image volume as a shard for the workers of many hosts: what is offered, and what each side accepts.

All programs that reach the lock service can write on its board.  So a worker takes nothing from a shard but ids, and
looks at the image in Glance itself; what it may believe and change is said on its own command line.  The feeder takes a
digest from the board, so the lock service must be as trustworthy as the workers.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import attrs

from imagevol_adapters.fleet import JobOffer
from imagevol_adapters.fleet.untrusted import id_of, read_outcome, read_plan
from imagevol_adapters.gathering.deep_reading import DeepTarget, OfferedCheck, check_line, deep_targets, read_check
from imagevol_adapters.journals import text_of
from imagevol_adapters.ports import Claim
from imagevol_core import DeepCheck, Image, RequestRefused, ResourceNotFound
from imagevol_core.sharding import Shard

__all__ = ["DeepOffer", "ListedImages", "deep_kind", "deep_outcome", "deep_plan", "deep_work"]

_PLAN = frozenset({"volume", "image", "size_bytes", "algorithm"})


class ListedImages(Protocol):
    """Glance, as a worker asks it."""

    def listed(self, image_ids: Sequence[str] | None = None) -> Iterator[Image]:
        """Give images with their locations."""


@attrs.frozen(kw_only=True)
class DeepOffer(JobOffer):
    """How the volumes of one job are offered to the workers of many hosts; its kind is of `deep_kind`.

    Args:
        backends: the backend that each volume is on, as `host@backend`, by the id of the volume.  Any worker takes a
            volume that is not among them.
    """

    backends: Mapping[str, str] = attrs.field(factory=dict)

    def shard(self, target: DeepTarget) -> Shard:
        """Give the shard of a volume."""
        needs = frozenset(filter(None, [self.backends.get(target.volume_id)]))
        return Shard(job=self.job, id=target.volume_id, kind=self.kind, needs=needs, work=deep_plan(target))


def deep_kind(cloud: str) -> str:
    """Name the work of reading the image volumes of one cloud: a worker with credentials for another does not take it.

    Args:
        cloud: names the cloud, as a journal has it.

    >>> deep_kind("Glance 1f3a, Cinder 77b0, project 9c2e")
    'audit --deep of Glance 1f3a, Cinder 77b0, project 9c2e'
    """
    return f"audit --deep of {cloud}"


def deep_plan(target: DeepTarget) -> dict[str, Any]:
    """Give what a worker must know to read a volume.

    >>> deep_plan(DeepTarget(volume_id="7ad3", size_bytes=7, algorithm=None))
    {'volume': '7ad3', 'image': None, 'size_bytes': 7, 'algorithm': None}
    """
    return {
        "volume": target.volume_id,
        "image": target.image.id if target.image else None,
        "size_bytes": target.size_bytes,
        "algorithm": target.algorithm,
    }


def deep_work(check: OfferedCheck, *, images: ListedImages) -> Callable[[Claim], Mapping[str, Any]]:
    """Give what does a shard of this kind: it looks at the plan, asks Glance for the image, and reads the volume.

    Args:
        check: reads a volume; it is also given `Claim.ensure_held`, to be called now and then.
        images: Glance.
    """

    def work(claim: Claim) -> Mapping[str, Any]:
        target = _target(claim.shard, images)
        return check_line(target, check(target, claim.ensure_held))

    return work


def deep_outcome(outcome: Mapping[str, Any] | None, *, target: DeepTarget) -> DeepCheck:
    """Give what a worker found in a volume.

    Args:
        outcome: of the shard.
        target: what was asked.

    Raises:
        ServiceFailed: it is no answer to this.
    """

    def answered(outcome: Mapping[str, Any]) -> DeepCheck:
        asked, check = read_check(outcome)
        if asked != target:
            raise ValueError("it is of another volume, size or algorithm")
        return check

    return read_outcome(outcome, answered)


def _target(shard: Shard, images: ListedImages) -> DeepTarget:
    """Give what a shard asks for, if its plan can be read and Glance says the same of the image.

    Raises:
        RequestRefused: the plan is refused.
        ResourceNotFound: there is no such image any more.
    """
    target, image_id = read_plan(shard, _PLAN, partial(_asked, shard.id))
    if image_id is None:
        return target
    image = next(iter(images.listed([image_id])), None)
    if image is None:
        raise ResourceNotFound("image", image_id)
    for named in deep_targets([image]):
        if named == target:
            return named
    raise RequestRefused(
        f"image {image_id} does not have the location, size and digest algorithm that the shard names: they have "
        "changed since, or the shard is forged"
    )


def _asked(shard_id: str, plan: Mapping[str, Any]) -> tuple[DeepTarget, str | None]:
    """Give the volume that a plan asks for, and the id of its image."""
    volume_id, size_bytes = id_of(plan["volume"]), operator.index(plan["size_bytes"])
    image_id = None if plan["image"] is None else id_of(plan["image"])
    algorithm = None if plan["algorithm"] is None else text_of(plan["algorithm"])
    if shard_id != volume_id:
        raise ValueError("it is of another volume than the shard")
    if size_bytes < 0:
        raise ValueError("the size is below 0")
    if image_id is None and algorithm is not None:
        raise ValueError("it has an algorithm without an image")
    return DeepTarget(volume_id=volume_id, size_bytes=size_bytes, algorithm=algorithm), image_id
