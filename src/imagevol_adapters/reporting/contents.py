"""What the page shows, as its readers think of it: places, images with an answer for each place, stores, pools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any

import attrs

from imagevol_core import Way
from imagevol_core.sentences import said

__all__ = [
    "KINDS",
    "Answer",
    "Contents",
    "Kind",
    "ShownImage",
    "ShownJob",
    "ShownPlace",
    "ShownPool",
    "ShownShard",
    "ShownStore",
    "ShownWorker",
]


class Kind(Enum):
    """The kinds of ways that the page counts, the cheapest first."""

    CLONED = "cloned"
    ONCE = "copied once, then cloned"
    COPIED = "copied"
    REFUSED = "refused"


KINDS: Mapping[str, Kind] = {
    Way.FROM_SNAPSHOT.value: Kind.CLONED,
    Way.CLONE_IMAGE_VOLUME.value: Kind.CLONED,
    Way.CLONE_TEMPLATE.value: Kind.CLONED,
    Way.AWAIT_TEMPLATE.value: Kind.CLONED,
    Way.CLONE_CACHED.value: Kind.CLONED,
    Way.CREATE_TEMPLATE.value: Kind.ONCE,
    Way.CREATE_CACHED.value: Kind.ONCE,
    Way.COPY.value: Kind.COPIED,
    "refused": Kind.REFUSED,
}
"""The kind of each outcome that an explanation can have."""


@attrs.frozen(kw_only=True)
class ShownPlace:
    """Where a volume can be, under a policy.

    Attributes:
        host: the pool.
        volume_type: the name of the type; None if none was asked for.
        policy: whose rules; None if the page has those of one policy.
    """

    host: str
    volume_type: str | None = None
    policy: str | None = None

    @property
    def name(self) -> str:
        """What the page calls it.

        >>> ShownPlace(host="node@fast#one", volume_type="ssd").name
        'node@fast#one, type ssd'
        """
        parts = (self.host, f"type {said(self.volume_type)}" if self.volume_type is not None else "", self.policy or "")
        return ", ".join(said(part) for part in parts if part)


@attrs.frozen(kw_only=True)
class Answer:
    """How a volume would be created from an image in a place.

    Attributes:
        way: what is tried first, by its name, or `refused`.
        reason: its source, or what stands in the way of a clone.
        against: if it is not cloned, each rule that stands in the way, with its sentence.
        saved_bytes: what the host does not write because it is cloned.
        saved_seconds: how much sooner the volume is there; None if that is not known.
        copied_bytes: what the host writes; 0 if it is cloned, None if it is not known.
    """

    way: str
    reason: str = ""
    against: tuple[tuple[str, str], ...] = ()
    saved_bytes: int = 0
    saved_seconds: float | None = None
    copied_bytes: int | None = 0


@attrs.frozen(kw_only=True)
class ShownImage:
    """An image, and an answer for each place, in their order.

    Attributes:
        id: its UUID.
        name: what its owner calls it.
        status: `active` or another.
        visibility: `public` or another.
        disk_format: `raw` or another.
        size_bytes: as stored.
        stores: the names of the stores that have its data.
        volume_ids: the image volumes that its locations name.
        answers: one for each place.
    """

    id: str
    name: str | None = None
    status: str | None = None
    visibility: str | None = None
    disk_format: str | None = None
    size_bytes: int | None = None
    stores: tuple[str, ...] = ()
    volume_ids: tuple[str, ...] = ()
    answers: tuple[Answer, ...] = ()


@attrs.frozen(kw_only=True)
class ShownStore:
    """A store of Glance; what is not known is None."""

    name: str
    kind: str | None = None
    volume_type: str | None = None
    default: bool = False
    readonly: bool | None = None


@attrs.frozen(kw_only=True)
class ShownPool:
    """A pool of a backend; what is not known is None."""

    name: str
    backend_name: str | None = None
    protocols: tuple[str, ...] = ()
    clone_across_pools: bool | None = None


@attrs.frozen(kw_only=True)
class ShownJob:
    """A job on a board, as `imagevol fleet status` lists it; what is not known is None.

    Attributes:
        name: which.
        work: its kind, as a person reads it.
        state: whether its command offers shards.
        done: how many shards are done.
        total: how many there are.
        held: how many are being done.
        failed: how many were set aside.
        rate: how many are done an hour.
        left_seconds: how long the rest takes at this rate.
        ends_at: when it ends at this rate, with a time zone.
    """

    name: str
    work: str | None
    state: str
    done: int
    total: int | None
    held: int
    failed: int
    rate: float | None
    left_seconds: float | None
    ends_at: datetime | None


@attrs.frozen(kw_only=True)
class ShownShard:
    """A shard that failed, or that waits because its volume is in use.

    Attributes:
        job: of which job.
        id: of the shard.
        state: `failed` or `waits`.
        reason: why; None if that is not known.
    """

    job: str
    id: str
    state: str
    reason: str | None


@attrs.frozen(kw_only=True)
class ShownWorker:
    """A worker that lives.

    Attributes:
        name: which.
        host: where it runs.
        work: the kinds of work that it takes, as a person reads them.
        backends: that its host can attach.
        held: how many shards it is doing.
        jobs: how many it does at once, at most.
        seen_at: when it last said that it lives, with a time zone; None if that is not known.
    """

    name: str
    host: str
    work: str
    backends: str
    held: int
    jobs: int
    seen_at: datetime | None


@attrs.frozen(kw_only=True)
class Contents:
    """All that one page shows.

    Attributes:
        title: of the page.
        made_at: when, with a time zone.
        command: that made it, as it was typed.
        version: of this distribution.
        counts: how many there are of each kind of thing, by its name in the plural, beside those that the page lists.
        places: where volumes can be.
        images: each read once; they may be a generator.  None if they were not asked for.
        stores: of Glance; None if they were not asked for.
        pools: of Cinder; None if they were not asked for.
        findings: of an audit, in their JSON form; None if there was no audit.
        audit_options: with which the audit was made, so that a repair finds the same.
        reclaimable_bytes: what all findings can give back, each volume counted once.
        jobs: on a board; None if the page is of no board.
        shards: of these jobs, that failed or wait.
        workers: of the board.
        notes: what is not known, or was left out, a sentence each.
    """

    title: str
    made_at: datetime
    command: str
    version: str
    counts: Mapping[str, int] = attrs.field(factory=dict)
    places: Sequence[ShownPlace] = ()
    images: Iterable[ShownImage] | None = ()
    stores: Sequence[ShownStore] | None = None
    pools: Sequence[ShownPool] | None = None
    findings: Sequence[Mapping[str, Any]] | None = None
    audit_options: Sequence[str] = ()
    reclaimable_bytes: int = 0
    jobs: Sequence[ShownJob] | None = None
    shards: Sequence[ShownShard] = ()
    workers: Sequence[ShownWorker] = ()
    notes: Sequence[str] = ()
