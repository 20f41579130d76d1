"""Images that workers of many hosts copy between stores: what is offered, and what each side accepts.

All programs that reach the lock service can write on its board.  So a shard has only ids, and how the command wants the
copy made.  A worker plans each image itself: the stores, whether data is deleted and how a copy is verified are its own
options.  It makes the copy only if its own plan makes it in the same way.  It has a lock of the image meanwhile.  The
command looks in Glance at what became of each image.  Before it offers an image, it writes into the journal how the
copy is made, so that it can be taken back.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from functools import partial
from threading import Event
from typing import Any

import attrs

from imagevol_adapters.fleet import JobOffer, asking, guarded, journalled
from imagevol_adapters.fleet.journalled import JournalFeed, LetGo, both_held, offered, only_worker
from imagevol_adapters.fleet.recorded import reason_of
from imagevol_adapters.fleet.untrusted import id_of, read_outcome, read_plan
from imagevol_adapters.gathering.store_copies import StoreCopyGathering
from imagevol_adapters.journals import text_of
from imagevol_adapters.ports import Claim, Locks
from imagevol_adapters.relocating import Outcome, State
from imagevol_adapters.store_copies.copying import StoreCopies
from imagevol_adapters.store_copies.goals import Goal, forward
from imagevol_adapters.store_copies.journal import CopyEntry, CopyJournal, worker_mark
from imagevol_adapters.store_copies.reading import VolumeReader
from imagevol_adapters.store_copies.several import Stopped
from imagevol_adapters.store_ports import PlacedImage, StoreCopyService, StoreCopyVolumes
from imagevol_core import (
    CallerError,
    Image,
    RequestRefused,
    ServiceFailed,
    StorageError,
    TransferCancelled,
    VolumeBusy,
)
from imagevol_core.sentences import quoted, said
from imagevol_core.sharding import Shard, ShardRecord, ShardState
from imagevol_core.store_copies import StoreCopyPlan, StoreCopyWay, VerifyWish

__all__ = ["CopyWorker", "copy_kind", "copy_plan", "end_offer", "kind_of", "offered_copies"]

_PLAN = frozenset({"journal", "image", "way", "source"})
_ENDED = (State.DONE, State.GONE)
_IDS_A_PAGE = 50  # their ids are in a URL
_GLANCE_CHANGES = ("copy_to_store", "change_locations", "delete_from_store")
_CINDER_CHANGES = ("clone", "set_readonly", "set_metadata", "delete", "detach")


def copy_kind(cloud: str, *, from_store: str, to_store: str, move: bool, wish: VerifyWish) -> str:
    """Name the work of copying images: a worker for another cloud, or with other options, takes none.

    Args:
        cloud: names the cloud, as a journal has it.
        from_store: the store whose images are copied.
        to_store: the store that the copies are wanted in.
        move: whether the data in `from_store` is deleted afterwards.
        wish: how copies are verified before that.

    >>> wish = VerifyWish.AUTO
    >>> copy_kind("Glance 1f3a, Cinder 77b0, project 9c2e", from_store="fast", to_store="slow", move=True, wish=wish)
    "cp of Glance 1f3a, Cinder 77b0, project 9c2e, store 'fast' to store 'slow', move, verify auto"
    >>> copy_kind("Glance 1f3a, Cinder 77b0, project 9c2e", from_store="fast", to_store="slow", move=False, wish=wish)
    "cp of Glance 1f3a, Cinder 77b0, project 9c2e, store 'fast' to store 'slow'"
    """
    moves = f", move, verify {wish.value}" if move else ""
    return f"cp of {cloud}, store {quoted(from_store)} to store {quoted(to_store)}{moves}"


def kind_of(copies: StoreCopies, cloud: str) -> str:
    """Name the work of a journal; see `copy_kind`.

    Args:
        copies: with the journal.
        cloud: names the cloud, as a journal has it.

    Raises:
        RequestRefused: its images are of several stores, or go to several, and no worker takes all of them.
    """
    wished = {
        (entry.source, entry.to_store, entry.from_store is not None, copies.wish or entry.wish)
        for entry in copies.journal.entries.values()
    }
    if len(wished) != 1:
        raise RequestRefused(
            f"journal {said(copies.journal.path)} copies images from or to several stores, and workers know one of "
            "each: go on without --board"
        )
    ((from_store, to_store, move, wish),) = wished
    return copy_kind(cloud, from_store=from_store, to_store=to_store, move=move, wish=wish)


def copy_plan(journal_id: str, image_id: str, *, way: StoreCopyWay, source: str | None = None) -> dict[str, Any]:
    """Give what a worker must know to copy an image.

    Args:
        journal_id: in whose name a clone is marked; see `worker_mark`.
        image_id: which image.
        way: how the copy is made.
        source: the volume that is cloned; None if none is.
    """
    return {"journal": journal_id, "image": image_id, "way": way.value, "source": source}


@attrs.frozen(kw_only=True)
class CopyWorker:
    """Copies images for jobs on a board, as far as its own options allow.

    Args:
        images: Glance.
        volumes: Cinder, with the credentials of the stores.
        gathering: collects the facts.
        reader: reads image volumes on this host.
        locks: of all workers.
        stopping: set when the worker shall end; its image goes to another worker.
        from_store: the store whose images it copies.
        to_store: the store that it copies them to.
        move: whether it lets Glance delete the data in `from_store` afterwards.
        wish: how copies are verified before that.
        settle_seconds: see `StoreCopies`.
        retry_seconds: see `StoreCopies`.
    """

    images: StoreCopyService
    volumes: StoreCopyVolumes
    gathering: StoreCopyGathering
    reader: VolumeReader
    locks: Locks
    stopping: Event
    from_store: str
    to_store: str
    move: bool = False
    wish: VerifyWish = VerifyWish.AUTO
    settle_seconds: float = 300
    retry_seconds: float = 1

    def kind(self, cloud: str) -> str:
        """Name the work that it takes; see `copy_kind`."""
        return copy_kind(cloud, from_store=self.from_store, to_store=self.to_store, move=self.move, wish=self.wish)

    def work(self, claim: Claim) -> Mapping[str, Any]:
        """Copy the image of a shard.

        Args:
            claim: of the shard.

        Raises:
            RequestRefused: the plan of the shard is refused.
            TransferCancelled: the worker was stopped.
            VolumeBusy: another program has the volume that must be read, or deleted.
            ServiceError: a service failed, or another worker has the shard now.
        """
        journal_id, image_id, way, source = read_plan(claim.shard, _PLAN, partial(_wanted, claim.shard.id))
        try:
            with only_worker(image_id, self.locks) as lock:
                self._copy(image_id, worker_mark(journal_id), both_held(claim, lock), way, source)
        except Stopped as stopped:
            raise TransferCancelled("the worker was stopped") from stopped
        except VolumeBusy:  # the shard waits until it is free
            raise
        except (CallerError, StorageError) as error:
            if self.stopping.is_set():  # which can be the cause
                raise TransferCancelled("the worker was stopped") from error
            return {"failed": str(error)}
        return {"failed": None}

    def _copy(self, image_id: str, mark: str, check: Callable[[], None], way: StoreCopyWay, source: str | None) -> None:
        placed = next(iter(self.images.placed([image_id])), None)
        if placed is not None and placed.image.id != image_id:
            # MySQL compares ids without regard to case.  The lock of an id in other letters is another one.
            raise RequestRefused(f"Glance names image {said(placed.image.id)} for {said(image_id)}: nothing is copied")
        entry = CopyEntry(
            image=Image(id=image_id) if placed is None else _as_planned(placed.image),
            to_store=self.to_store,
            from_store=self.from_store if self.move else None,
            source=self.from_store,
            wish=self.wish,
            state=State.BEGUN,  # perhaps: Glance goes on with the import of a worker that was killed
        )
        limits = self.reader.limits
        with CopyJournal.create(None, cloud="", entries=[entry], journal_id=mark) as journal:
            copies = _OneCopy(
                journal=journal,
                # A look asks too, because an import that is waited for takes long.
                images=guarded(self.images, (*_GLANCE_CHANGES, "placed"), check),
                volumes=guarded(self.volumes, _CINDER_CHANGES, check),
                gathering=self.gathering,
                read=attrs.evolve(
                    self.reader,
                    limits=limits.sharing(asking(check, limits.shared), cancelled=self.stopping),
                ),
                settle_seconds=self.settle_seconds,
                retry_seconds=self.retry_seconds,
                from_store=self.from_store,
                way=way,
                source=source,
            )
            copies.carry_out(entry, self.stopping)


@attrs.define(kw_only=True)
class _OneCopy(StoreCopies):
    """The copy of one image, which is made only in the way that the shard has too."""

    from_store: str
    way: StoreCopyWay
    source: str | None

    def carry_out(self, entry: CopyEntry, stopping: Event) -> None:
        self._stopping = stopping
        self._copy(entry, forward(entry))

    def plan(self, placed: PlacedImage, goal: Goal, entry: CopyEntry) -> StoreCopyPlan:
        plan = super().plan(placed, goal, entry)
        left = f"image {entry.image_id} is left as it is"
        there = goal.to_store in placed.stores
        if not there and self.from_store not in placed.stores:
            raise RequestRefused(f"{left}: it is not in store {self.from_store}, whose images this worker copies")
        if there and not plan.possible:
            raise RequestRefused(
                f"{left}: {plan.reason}; if a worker that was killed has copied it, use --resume without --board"
            )
        if plan.possible and not there and (plan.way, plan.source) != (self.way, self.source):
            raise RequestRefused(
                f"{left}: this worker plans {_told(plan.way, plan.source)}, and the shard has "
                f"{_told(self.way, self.source)}: something has changed since, the worker has another configuration, "
                "or the shard is forged; use --resume without --board"
            )
        return plan


def offered_copies(
    copies: StoreCopies, *, offer: JobOffer, board: str, let_go: LetGo
) -> Generator[Outcome, None, None]:
    """Let the workers of many hosts copy images, and give what came of each as soon as it is known.

    See `imagevol_adapters.fleet.journalled.offered`.

    Args:
        copies: with the journal, and the services of this process.
        offer: how the images are offered.
        board: names the board, as the journal shall have it.
        let_go: takes all shards of the job off the board.

    Raises:
        RequestRefused: the journal has been undone, or its images were offered on another board.
        InUse: another process feeds the job, or a worker does not end.
        JobCancelled: another command cancelled it.
        ServiceUnreachable: Glance, Cinder or the board does not answer.
        ServiceFailed: one of them failed.
    """
    copies.journal.check_not_undone()
    return offered(_Feed(copies, offer), journal=copies.journal, offer=offer, board=board, let_go=let_go)


def end_offer(journal: CopyJournal, *, board: str, let_go: LetGo) -> None:
    """Take the images of a journal off a board, and write down that no worker copies them any more.

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
    journalled.end_offer(journal, partial(_begun, journal), board=board, let_go=let_go)


class _Feed(JournalFeed[Outcome]):
    """The images of a journal as shards, each planned shortly before it is offered."""

    def __init__(self, copies: StoreCopies, offer: JobOffer) -> None:
        self._copies = copies
        self._entries = copies.journal.entries
        self._journal = copies.journal
        self._offer = offer

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, shard: object) -> bool:
        return any(each == shard for each in self)

    def __iter__(self) -> Iterator[Shard | ShardRecord]:
        image_ids = list(self._entries)
        for start in range(0, len(image_ids), _IDS_A_PAGE):
            page = image_ids[start : start + _IDS_A_PAGE]
            left = [each for each in page if self._entries[each].state not in _ENDED]
            placed = {each.image.id: each for each in self._copies.images.placed(left)}
            for image_id in page:
                if image_id in left:
                    yield self._shard(image_id, self._plan(self._entries[image_id], placed.get(image_id)))
                else:
                    yield ShardRecord(shard=self._shard(image_id, {}), state=ShardState.DONE)

    def begin(self, shard: Shard) -> None:
        """Write down that an image has begun, and how its copy is made."""
        entry, way, source = self._entries[shard.id], StoreCopyWay(shard.work["way"]), shard.work["source"]
        changes: dict[str, Any] = {}
        if entry.made is None and way is not StoreCopyWay.NOTHING:
            changes = {"made": way, "verified": None, "verified_place": None}
        if source is not None and source not in entry.cloned:
            changes["cloned"] = (*entry.cloned, source)
        if changes or entry.state is not State.BEGUN:
            self._journal.record(shard.id, State.BEGUN, **changes)

    def ended(self, record: ShardRecord) -> Iterator[Outcome]:
        """Write down what came of an image, as Glance and Cinder show it."""
        if self._entries[record.shard.id].state not in _ENDED:
            yield self._copies.looked_at(record.shard.id, _reason(record))

    def begun(self) -> list[str]:
        """Give the ids of the shards that a worker may have."""
        return _begun(self._journal)

    def _shard(self, image_id: str, work: Mapping[str, Any]) -> Shard:
        return Shard(job=self._offer.job, id=image_id, kind=self._offer.kind, work=work)

    def _plan(self, entry: CopyEntry, placed: PlacedImage | None) -> dict[str, Any]:
        """Say how a copy is made: as it was begun, so that what a killed process has left is found again."""
        way, source = entry.made or StoreCopyWay.NOTHING, None
        if way is StoreCopyWay.CLONE:
            source = entry.cloned[-1]
        elif way is StoreCopyWay.NOTHING and placed is not None:
            try:
                plan = self._copies.plan(placed, forward(entry), entry)
            except CallerError:  # the worker says of this image what stands against it
                pass
            else:
                way, source = (plan.way, plan.source) if plan.possible else (way, None)
        return copy_plan(self._journal.id, entry.image_id, way=way, source=source)


def _begun(journal: CopyJournal) -> list[str]:
    # That an image failed can be forged, while its worker goes on.
    return [entry.image_id for entry in journal.entries.values() if entry.state in (State.BEGUN, State.FAILED)]


def _reason(record: ShardRecord) -> str | None:
    """Give why a worker did not copy an image; None if it says that it did."""
    if record.state is ShardState.SET_ASIDE:
        return str(record.reason)
    try:
        return read_outcome(record.outcome, _failure)
    except ServiceFailed as error:  # of this image only
        return str(error)


def _failure(outcome: Mapping[str, Any]) -> str | None:
    return None if outcome["failed"] is None else reason_of(outcome["failed"])


def _wanted(shard_id: str, plan: Mapping[str, Any]) -> tuple[str, str, StoreCopyWay, str | None]:
    """Give the journal, the image, and how its copy is made."""
    journal_id, image_id = str(uuid.UUID(text_of(plan["journal"]))), id_of(plan["image"])
    way, source = StoreCopyWay(plan["way"]), None if plan["source"] is None else id_of(plan["source"])
    if shard_id != image_id:
        raise ValueError("it is of another image than the shard")
    if (way is StoreCopyWay.CLONE) is not (source is not None):
        raise ValueError("it has a volume to clone, or none, against its way")
    return journal_id, image_id, way, source


def _told(way: StoreCopyWay, source: str | None) -> str:
    return way.value if source is None else f"{way.value} of volume {source}"


def _as_planned(image: Image) -> Image:
    """Give what must be so of an image still when its data is deleted."""
    return Image(id=image.id, size_bytes=image.size_bytes, digest=image.digest)
