"""Images as shards for the workers of many hosts: what is offered, and what each side accepts.

All programs that reach the lock service can write on its board.  So no location is on it: a shard has the ids of
images, and a digest of each location before and after.  A worker plans each image itself, by its own configuration, and
makes only those of its own changes that have the digests of the shard.  It has a lock of the image meanwhile, because
a forged shard can name an image that another worker is changing.  The feeder looks in Glance at what became of each
image.  Before it offers an image, it writes into the journal that it has begun, so that all can be changed back.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from threading import Event
from typing import Any

import attrs

from imagevol_adapters.cinder.volume_pages import is_volume_id
from imagevol_adapters.fleet import AHEAD, JobOffer, guarded, journalled
from imagevol_adapters.fleet.journalled import LetGo, both_held, offered, only_worker
from imagevol_adapters.fleet.recorded import reason_of
from imagevol_adapters.fleet.untrusted import id_of, read_outcome, read_plan
from imagevol_adapters.journals import text_of, texts_of
from imagevol_adapters.ports import Claim, Locks
from imagevol_adapters.relocating.applying import Migration, Outcome
from imagevol_adapters.relocating.changing import Changer, volume_ids
from imagevol_adapters.relocating.holding import Hold
from imagevol_adapters.relocating.journal import Entry, Journal, State
from imagevol_adapters.relocating.planning import plan_images
from imagevol_core import (
    HOLD,
    CallerError,
    Image,
    ImageLocation,
    InvalidFact,
    LocationChange,
    LocationOutcome,
    RequestRefused,
    ServiceFailed,
    ServiceUnreachable,
    TransferCancelled,
    relocated,
)
from imagevol_core.sentences import said
from imagevol_core.sharding import Shard, ShardRecord, ShardState

__all__ = ["end_offer", "location_kind", "location_plan", "location_work", "offered_changes"]

_MOST_IMAGES = 50  # in a shard; Glance lists as many in one request
_PLAN = frozenset({"journal", "images"})
_DIGITS = 32
_ENDED = (State.DONE, State.GONE)
_GLANCE_CHANGES = ("get", "change_locations")  # an image that is shown is migrated
_CINDER_CHANGES = ("set_metadata", "unset_metadata", "reserve", "detach")
_UNTRUE = (
    "a worker says that it is changed, and Glance does not show it: use --resume, and look who can write on the board"
)
_HELD = "it is changed, and a volume of it is still held: use --resume"


def location_kind(cloud: str, *, plan: str) -> str:
    """Name the work of changing locations: a worker for another cloud, or with other stores or renames, takes none.

    Args:
        cloud: names the cloud, as a journal has it.
        plan: of `plan_id`.

    >>> location_kind("Glance 1f3a, Cinder 77b0, project 9c2e", plan="c0ffee")
    'locations apply of Glance 1f3a, Cinder 77b0, project 9c2e, stores and renames c0ffee'
    """
    return f"locations apply of {cloud}, stores and renames {plan}"


def location_plan(journal_id: str, entries: Iterable[Entry]) -> dict[str, Any]:
    """Give what a worker must know to change images: no location can be read from it.

    Args:
        journal_id: in whose name volumes are held.
        entries: the images.
    """
    return {"journal": journal_id, "images": {each.image_id: list(map(_digests, each.changes)) for each in entries}}


def location_work(
    changer: Changer, *, renames: Mapping[str, str], locks: Locks, stopping: Event
) -> Callable[[Claim], Mapping[str, Any]]:
    """Give what does a shard of this kind: it plans each image itself, and changes it if the shard wants the same.

    Args:
        changer: with the services and the stores of this worker.
        renames: of the stores, as this worker was told.
        locks: of all workers.
        stopping: set when the worker shall end; the image that is being changed is ended first.
    """

    def work(claim: Claim) -> Mapping[str, Any]:
        journal_id, wanted = read_plan(claim.shard, _PLAN, _wanted)
        images = {image.id: image for image in changer.images.listed(list(wanted))}
        planned = plan_images(
            [_as_planned(image, wanted[image_id]) for image_id, image in images.items() if image_id in wanted],
            catalogue=changer.catalogue,
            volume_types=changer.volumes.types_of,
            renames=renames,
            delayed_delete=changer.delayed_delete,
        )
        own = {each.image.id: each.changes for each in planned}
        failed: dict[str, str] = {}
        for image_id, digests in wanted.items():
            if stopping.is_set():
                raise TransferCancelled("the worker was stopped")
            image = images.get(image_id)
            # One that is gone has nothing to change.  MySQL compares ids without regard to case: then Glance gives an
            # image for an id in other letters, and its lock would be another one.
            if image is None:
                continue
            try:
                changes = _allowed(image, own.get(image_id, ()), digests)
                with only_worker(image_id, locks) as lock:
                    _change(_guarded(changer, both_held(claim, lock)), journal_id, image_id, changes)
            except CallerError as error:
                failed[image_id] = str(error)
            except ServiceFailed as error:  # as of one host, what was not predicted ends it all
                return {"failed": {**failed, image_id: str(error)}, "stopped": str(error)}
        return {"failed": failed, "stopped": None}

    return work


def offered_changes(
    migration: Migration, *, offer: JobOffer, board: str, let_go: LetGo
) -> Generator[Outcome, None, None]:
    """Let the workers of many hosts change images, and give what came of each as soon as it is known.

    See `imagevol_adapters.fleet.journalled.offered`.

    Args:
        migration: with the journal, and the services of this process.
        offer: how the images are offered.
        board: names the board, as the journal shall have it.
        let_go: takes all shards of the job off the board.

    Raises:
        RequestRefused: the journal has been undone, or its images were offered on another board.
        InUse: another process feeds the job, or a worker does not end.
        JobCancelled: another command cancelled it.
        ServiceUnreachable: Glance, Cinder or the board does not answer.
        ServiceFailed: a service failed, or Glance made something else of a location than was predicted.
    """
    migration.check_not_undone()
    feed = _Feed(migration, offer)
    return offered(feed, journal=migration.journal, offer=offer, board=board, let_go=let_go)


def end_offer(journal: Journal, *, board: str, let_go: LetGo) -> None:
    """Take the images of a journal off a board, and write down that no worker changes them any more.

    Args:
        journal: that was offered.
        board: names the board.
        let_go: takes all shards of the job off the board.

    Raises:
        RequestRefused: it was offered on another board.
        InUse: a worker does not end.
        ServiceUnreachable: the board does not answer.
        ServiceFailed: it answers with an error, or the journal cannot be written.
    """
    journalled.end_offer(journal, _Parts(journal).begun, board=board, let_go=let_go)


class _Parts:
    """The images of a journal in parts, the same each time that it is opened."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._ids = tuple(journal.entries)
        # A small plan fills the board once, so that all workers have something to do.
        self._size = max(1, min(_MOST_IMAGES, -(-len(self._ids) // AHEAD)))
        self.count = -(-len(self._ids) // self._size)

    def entries(self, at: int) -> list[Entry]:
        """Give the images of a part, as far as they have come."""
        return [self._journal.entries[each] for each in self._ids[at * self._size : (at + 1) * self._size]]

    def shard_id(self, at: int) -> str:
        return f"{at + 1:06}"

    def begun(self) -> list[str]:
        """Give the ids of the shards that a worker may have."""
        return [self.shard_id(at) for at in range(self.count) if any(map(_may_change, self.entries(at)))]

    def left(self, shard_id: str) -> list[Entry]:
        """Give the images of a shard that are not ended."""
        return [entry for entry in self.entries(int(shard_id) - 1) if entry.state not in _ENDED]


class _Feed(Collection["Shard | ShardRecord"]):
    """The images of a journal as shards, made as they are needed."""

    def __init__(self, migration: Migration, offer: JobOffer) -> None:
        self._migration = migration
        self._journal = migration.journal
        self._offer = offer
        self._parts = _Parts(migration.journal)

    def __len__(self) -> int:
        return self._parts.count

    def __contains__(self, shard: object) -> bool:
        return any(each == shard for each in self)

    def __iter__(self) -> Iterator[Shard | ShardRecord]:
        for at in range(self._parts.count):
            shard_id = self._parts.shard_id(at)
            plan = location_plan(self._journal.id, self._parts.entries(at))
            shard = Shard(job=self._offer.job, id=shard_id, kind=self._offer.kind, work=plan)
            yield shard if self._parts.left(shard_id) else ShardRecord(shard=shard, state=ShardState.DONE)

    def begin(self, shard: Shard) -> None:
        """Write down that the images of a shard have begun."""
        left = self._parts.left(shard.id)
        self._journal.record_all(
            attrs.evolve(entry, state=State.BEGUN, reason=None) for entry in left if not _may_change(entry)
        )

    def begun(self) -> list[str]:
        """Give the ids of the shards that a worker may have."""
        return self._parts.begun()

    def ended(self, record: ShardRecord) -> Iterator[Outcome]:
        """Write down what came of the images of a shard, as Glance and Cinder show it."""
        left = self._parts.left(record.shard.id)
        if not left:
            return
        ids = [entry.image_id for entry in left]
        reasons, stopped = _reasons(record, ids)
        images = {image.id: image for image in self._migration.images.listed(ids)}
        held = self._held(left)
        untold = _UNTRUE if stopped is None else None  # an image that a worker did not come to has no reason
        after = {each.image_id: _ended(each, images.get(each.image_id), reasons, held, untold=untold) for each in left}
        ended = [after[each.image_id] for each in left if after[each.image_id] != each or stopped is None]
        self._journal.record_all(ended)
        for entry in ended:
            yield Outcome(entry.image_id, State.FAILED if entry.reason else entry.state, entry.reason)
        if stopped is not None:
            raise ServiceFailed(stopped)

    def _held(self, entries: Iterable[Entry]) -> frozenset[str]:
        """Give those volumes of images that are held by this journal."""
        volumes = self._migration.volumes.find([each for entry in entries for each in _volumes_of(entry)])
        return frozenset(volume.id for volume in volumes if volume.metadata.get(HOLD) == self._journal.id)


def _may_change(entry: Entry) -> bool:
    return entry.state is State.BEGUN


def _ended(
    entry: Entry, image: Image | None, reasons: Mapping[str, str], held: Collection[str], *, untold: str | None
) -> Entry:
    """Give how far an image has come; one that has failed stays begun, so that its volumes are looked at again."""
    reason = reasons.get(entry.image_id)
    changed = image is None or _is_changed(image, entry)
    if changed and set(_volumes_of(entry)) & set(held):
        reason = reason or _HELD
    elif changed:
        state = State.GONE if image is None else State.DONE
        return attrs.evolve(entry, state=state, reason=None, attachments={})
    return attrs.evolve(entry, state=State.BEGUN, reason=reason or untold)


def _is_changed(image: Image, entry: Entry) -> bool:
    try:
        return Counter(relocated(image.locations, entry.changes)) == Counter(image.locations)
    except InvalidFact:
        return False


def _volumes_of(entry: Entry) -> list[str]:
    return volume_ids(location for change in entry.changes for location in (change.before, change.after))


def _guarded(changer: Changer, check: Callable[[], None]) -> Changer:
    """Give what asks before each change whether the shard and the image are still this worker's."""
    return attrs.evolve(
        changer,
        images=guarded(changer.images, _GLANCE_CHANGES, check),
        volumes=guarded(changer.volumes, _CINDER_CHANGES, check),
    )


def _change(changer: Changer, journal_id: str, image_id: str, changes: Sequence[LocationChange]) -> None:
    hold = Hold(
        journal_id=journal_id,
        volumes=changer.volumes,
        write=lambda _: None,  # the journal of the feeder says already that it has begun
        attachments={},
        seconds=changer.settle_seconds,
    )
    changer.change(Entry(image_id=image_id, changes=tuple(changes), state=State.BEGUN), changes, hold)


def _allowed(image: Image, own: Iterable[LocationChange], digests: Sequence[tuple[str, str]]) -> list[LocationChange]:
    """Give those of the own changes that a shard wants.

    Raises:
        RequestRefused: it wants another one.
        ServiceUnreachable: Cinder does not say of which type a volume is.
    """
    own = list(own)
    unknown = next((change for change in own if change.outcome is LocationOutcome.NO_ANSWER), None)
    if unknown is not None:
        raise ServiceUnreachable(f"image {said(image.id)} is left as it is: {unknown.verdicts[-1].text}")
    named = Counter(location.url.rpartition("/")[2] for location in _as_planned(image, digests).locations)
    if any(count > 1 and is_volume_id(volume_id) for volume_id, count in named.items()):
        # Glance may be removing one of the two, and would delete the volume that is then not held any more.
        raise RequestRefused(
            f"image {said(image.id)} is left as it is: it names a volume twice, and not because of a change that the "
            "shard has: the locations have changed since, or the shard is forged"
        )
    there = {_digest(location) for location in image.locations}
    planned = {_digests(change): change for change in own if change.alters}
    for before, after in digests:
        if (before, after) not in planned and (before in there or after not in there):
            raise RequestRefused(
                f"image {said(image.id)} is left as it is: this worker does not plan what the journal has: the "
                "locations have changed since, or the shard is forged"
            )
    return [planned[each] for each in digests if each in planned]


def _as_planned(image: Image, digests: Iterable[tuple[str, str]]) -> Image:
    """Give an image as it was planned: a change that was broken off may have left both of its locations."""
    locations = list(image.locations)
    for before, after in digests:
        found = [_digest(location) for location in locations]
        if before in found and after in found:
            del locations[found.index(after)]
    return replace(image, locations=tuple(locations))


def _digests(change: LocationChange) -> tuple[str, str]:
    return _digest(change.before), _digest(change.after)


def _digest(location: ImageLocation) -> str:
    text = json.dumps([location.url, sorted(location.metadata.items())])
    return sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGITS]


def _wanted(plan: Mapping[str, Any]) -> tuple[str, dict[str, list[tuple[str, str]]]]:
    """Give the journal that a plan is of, and the digests of each image."""
    journal_id, images = str(uuid.UUID(text_of(plan["journal"]))), dict(plan["images"])
    if not 0 < len(images) <= _MOST_IMAGES:
        raise ValueError(f"it has {len(images)} images")
    if not all(images.values()):
        raise ValueError("it has an image without a change")
    return journal_id, {id_of(image_id): [_read_digests(each) for each in pairs] for image_id, pairs in images.items()}


def _read_digests(value: Any) -> tuple[str, str]:
    before, after = map(text_of, value)
    return before, after


def _reasons(record: ShardRecord, image_ids: Iterable[str]) -> tuple[Mapping[str, str], str | None]:
    """Give why images of a shard failed, and why the job must end, if it must."""
    if record.state is ShardState.SET_ASIDE:
        return dict.fromkeys(image_ids, str(record.reason)), None
    try:
        return read_outcome(record.outcome, _told)
    except ServiceFailed as error:  # of these images only
        return dict.fromkeys(image_ids, str(error)), None


def _told(outcome: Mapping[str, Any]) -> tuple[Mapping[str, str], str | None]:
    stopped = outcome["stopped"]
    failed = {image_id: reason_of(reason) for image_id, reason in texts_of(outcome["failed"]).items()}
    return failed, None if stopped is None else reason_of(stopped)
