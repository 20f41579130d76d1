"""What a step of a creation costs: the bytes that it moves, and which machine moves them ([clone], [template])."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from imagevol_core.creation.facts import CreationStep, Way
from imagevol_core.doctor import Rates
from imagevol_core.facts import Image, Volume, needs_conversion
from imagevol_core.sizing import GIB, least_size_bytes, virtual_size_bytes

__all__ = ["Effort", "StepCost", "expected_seconds", "step_cost"]


class Effort(Enum):
    """Which machine moves the data of a new volume.

    `INSTANT`: none, the backend clones in the pool where the data is.  `ARRAY`: the storage copies from one of its
    pools into another.  `HOST`: the host of the cinder-volume reads the image from Glance and writes the volume.
    """

    INSTANT = "instant-on-the-backend"
    ARRAY = "copy-in-the-array"
    HOST = "copy-through-the-host"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """What a step costs, if the driver clones without a copy in a pool.

    Attributes:
        effort: which machine moves the data.
        read_bytes: how much the host reads from Glance, in bytes; None if it is not known.
        written_bytes: how much the host writes at most, in bytes; None if it is not known.
        array_bytes: how much the storage copies at most, in bytes; None if it is not known.
        makes_another: whether a volume is made beside the new one: the template, or the cached volume.
    """

    effort: Effort
    read_bytes: int | None = 0
    written_bytes: int | None = 0
    array_bytes: int | None = 0
    makes_another: bool = False


def step_cost(step: CreationStep, *, image: Image, target: Volume, sources: Iterable[Volume]) -> StepCost:
    """Give what a step costs: which machine moves the data, and how many bytes.

    Args:
        step: of a plan.
        image: that the plan is about.
        target: the new volume.
        sources: the volumes that can be cloned; one that is not among them counts as in the pool of the new volume.

    >>> image = Image(id="i", disk_format="qcow2", size_bytes=700, virtual_size_bytes=4096)
    >>> target = Volume(id="t", host="h@fast#one", size_gib=1)
    >>> copied = step_cost(CreationStep(way=Way.COPY, extend_to_gib=1), image=image, target=target, sources=())
    >>> copied.effort.value, copied.read_bytes, copied.written_bytes
    ('copy-through-the-host', 700, 4096)
    >>> there = Volume(id="v", host="h@fast#two", size_gib=2)
    >>> step = CreationStep(way=Way.CLONE_IMAGE_VOLUME, source="v", extend_to_gib=3)
    >>> cloned = step_cost(step, image=image, target=target, sources=[there])
    >>> cloned.effort.value, cloned.array_bytes
    ('copy-in-the-array', 2147483648)
    """
    if step.way in _COPIES:
        return StepCost(
            effort=Effort.HOST,
            read_bytes=image.size_bytes,
            written_bytes=_disk_bytes(image),
            makes_another=step.way is not Way.COPY,
        )
    source = next((volume for volume in sources if volume.id == step.source), target)
    if _pool(source) == _pool(target):
        return StepCost(effort=Effort.INSTANT)
    return StepCost(effort=Effort.ARRAY, array_bytes=source.size_gib * GIB)


def expected_seconds(cost: StepCost, rates: Rates) -> float | None:
    """Give the seconds that a step takes at least, as measured on a host; None if a part of it was not measured.

    How fast Glance gives the image, and how fast the storage copies from pool to pool, was not measured: a copy through
    the host takes at least this long.

    Args:
        cost: of the step.
        rates: of the host.

    >>> rates = Rates(host="node", write_bytes_per_second=100.0, attach_seconds=2.0, detach_seconds=1.0,
    ...               clone_seconds=0.5)
    >>> expected_seconds(StepCost(effort=Effort.HOST, written_bytes=1000), rates)
    13.0
    >>> expected_seconds(StepCost(effort=Effort.INSTANT), rates)
    0.5
    >>> expected_seconds(StepCost(effort=Effort.ARRAY), rates) is None
    True
    """
    if cost.effort is not Effort.HOST:
        return rates.clone_seconds if cost.effort is Effort.INSTANT else None
    writing = _writing_seconds(cost.written_bytes, rates.write_bytes_per_second)
    parts = [rates.attach_seconds, writing, rates.detach_seconds, rates.clone_seconds if cost.makes_another else 0]
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _writing_seconds(written_bytes: int | None, speed: float | None) -> float | None:
    """How long the bytes take; None if a size or speed is not known, or no float holds the time."""
    if written_bytes is None or not speed:
        return None
    try:
        seconds = written_bytes / speed
    except OverflowError:  # an image can claim any size
        return None
    return seconds if math.isfinite(seconds) else None


_COPIES = frozenset({Way.COPY, Way.CREATE_TEMPLATE, Way.CREATE_CACHED})


def _disk_bytes(image: Image) -> int | None:
    """How large the disk is; the stored size tells that only of an image that is not unpacked or converted."""
    stored_as_disk = image.container_format == "bare" and not needs_conversion(image.disk_format)
    return least_size_bytes(image) if stored_as_disk or virtual_size_bytes(image) is not None else None


def _pool(volume: Volume) -> str | None:
    return volume.cluster_name or volume.host
