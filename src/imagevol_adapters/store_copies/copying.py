"""Planned copies carried out, or taken back, image by image: journalled before, looked at again before each step.

A copy is deleted only after the other one was verified.  Glance copies in the background, so that an import goes on
when this process is killed: it is waited for by the process that takes over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event
from typing import Any

import attrs

from imagevol_adapters.cleanup import naming
from imagevol_adapters.error_text import one_line
from imagevol_adapters.gathering.store_copies import StoreCopyGathering
from imagevol_adapters.relocating import Outcome, State
from imagevol_adapters.store_copies.cloning import CloneOfStore
from imagevol_adapters.store_copies.goals import Goal, backward, forward
from imagevol_adapters.store_copies.journal import CopyEntry, CopyJournal
from imagevol_adapters.store_copies.several import Stopped, several
from imagevol_adapters.store_ports import PlacedImage, StoreCopyService, StoreCopyVolumes
from imagevol_adapters.waiting import wait_until
from imagevol_core import (
    CallerError,
    ContentMismatch,
    ImagevolError,
    RequestRefused,
    ResourceNotFound,
    ServiceFailed,
    StorageError,
    decide_store_removal,
    plan_store_copy,
)
from imagevol_core.store_copies import (
    CloneLeft,
    StoreCopyPlan,
    StoreCopyStep,
    StoreCopyWay,
    VerifyWish,
    decide_discard,
    place_in_store,
    volume_in_store,
)

__all__ = ["Reader", "StoreCopies"]

_TASK = "os_glance_import_task"
_ATTEMPTS = 5
_UNREAD = "run it on a host that can attach it, or go on with --verify glance to rely on what was verified before"
_UNTRUE = (
    "a worker says that it is copied, and Glance does not show it: use --resume, and look who can write on the board"
)
_LEAST_RATE = 1 << 20  # bytes a second that an import makes at least

Reader = Callable[[str, PlacedImage], None]
"""Reads the image volume of that id, and raises `ContentMismatch` if it does not hold the image."""


@attrs.define(kw_only=True)
class StoreCopies:
    """One journal, and the cloud that it is of.

    Args:
        journal: open.
        images: Glance.
        volumes: Cinder, with the credentials of the stores.
        gathering: collects the facts.
        read: reads an image volume on this host.
        settle_seconds: how long Glance may take for a change, beside the time for the bytes of an image.
        jobs: how many images are copied at once, at most.
        retry_seconds: how long to wait before Glance is asked a second time; each further wait is twice as long.
        wish: how the operator wants copies verified in this run; as they were planned when None.
    """

    journal: CopyJournal
    images: StoreCopyService
    volumes: StoreCopyVolumes
    gathering: StoreCopyGathering
    read: Reader
    settle_seconds: float = 300
    jobs: int = 1
    retry_seconds: float = 1
    wish: VerifyWish | None = None
    _stopping: Event = attrs.field(factory=Event, init=False)

    def apply(self) -> Iterator[Outcome]:
        """Copy or move what is planned and not done yet; also what has failed before is tried again.

        Yields:
            What came of each image.

        Raises:
            RequestRefused: the journal has been undone, or workers of many hosts may be copying its images.
            ServiceError: a service failed. The journal says how far it came.
        """
        self.journal.check_not_undone()
        self.journal.check_not_offered()
        return self._carry_out(self.to_apply(), forward)

    def to_apply(self) -> list[CopyEntry]:
        """Give what `apply` would try to do."""
        return [entry for entry in self.journal.entries.values() if entry.state not in (State.DONE, State.GONE)]

    def undo(self) -> Iterator[Outcome]:
        """Take back what has been done, the last first; also what was begun and is half done.

        Yields:
            What came of each image.

        Raises:
            RequestRefused: workers of many hosts may be copying its images.
            ServiceError: as for `apply`.
        """
        self.journal.check_not_offered()
        return self._carry_out(self.to_undo(), backward)

    def to_undo(self) -> list[CopyEntry]:
        """Give what `undo` would try to take back, the last first."""
        untouched = (State.PLANNED, State.UNDONE, State.GONE)
        return [entry for entry in reversed(self.journal.entries.values()) if entry.state not in untouched]

    def plan(self, placed: PlacedImage, goal: Goal, entry: CopyEntry) -> StoreCopyPlan:
        """Say what is left to do for an image.

        Args:
            placed: the image.
            goal: what shall become of it.
            entry: how far it has come.

        Raises:
            ImagevolError: a fact cannot be collected.
        """
        now = place_in_store(goal.to_store, placed.image.locations)
        replaced = entry.verified == goal.to_store and now != entry.verified_place
        facts = self.gathering.facts(
            placed,
            to_store=goal.to_store,
            move=goal.removed is not None,
            from_store=goal.removed,
            wish=self.wish or entry.wish,
            made=StoreCopyWay.NOTHING if replaced else goal.made,
            known_good=now is not None and now == goal.good_place,
        )
        return plan_store_copy(facts)

    def _carry_out(self, entries: Iterable[CopyEntry], goal_of: Callable[[CopyEntry], Goal]) -> Iterator[Outcome]:
        def carried_out(entry: CopyEntry) -> Outcome:
            reason, begun = None, time.monotonic()
            try:
                state = self._copy(entry, goal_of(entry))
            except (CallerError, StorageError) as error:
                state, reason = State.FAILED, str(error)
            self.journal.record(entry.image_id, state, reason=reason)
            return Outcome(entry.image_id, state, reason, time.monotonic() - begun)

        self._stopping.clear()
        return several(carried_out, entries, jobs=self.jobs, stopping=self._stopping)

    def _copy(self, entry: CopyEntry, goal: Goal) -> State:
        """Do what is left to do for one image, and say how far it has come."""
        placed = self._settled(entry) if entry.state is not State.PLANNED else self._look(entry)
        if placed is None:
            return self._gone(entry)
        entry = self._registered(entry, placed)
        plan = self.plan(placed, goal, entry)
        if StoreCopyStep.CLONE not in plan.steps:
            self._discard(entry, placed)
        if not plan.possible:
            raise RequestRefused(f"image {entry.image_id} is left as it is: {plan.reason}")
        for step in plan.steps:
            _STEPS[step](self, self.journal.entries[entry.image_id], goal, plan)
        self._ended(entry, goal)
        return goal.done

    def looked_at(self, image_id: str, reason: str | None) -> Outcome:
        """Write down what came of an image that a worker of another host copied, as Glance shows it.

        Args:
            image_id: which image.
            reason: why the worker failed, as it says; None if it says that it did not.

        Raises:
            ServiceError: Glance or Cinder failed, or the journal cannot be written.
        """
        entry = self.journal.entries[image_id]
        try:
            placed = self._look(entry)
            state = self._gone(entry) if placed is None else self._found(entry, placed)
            reason = (reason or _UNTRUE) if state is State.FAILED else None
        except (CallerError, StorageError) as error:
            state, reason = State.FAILED, str(error)
        self.journal.record(image_id, state, reason=reason)
        return Outcome(image_id, state, reason)

    def _found(self, entry: CopyEntry, placed: PlacedImage) -> State:
        """Say whether an image is where it shall be; a clone that a killed worker has left is then deleted."""
        entry = self._registered(entry, placed)
        if entry.to_store not in placed.stores or entry.from_store in placed.stores:
            return State.FAILED
        self._discard(entry, placed)
        return State.DONE

    def _gone(self, entry: CopyEntry) -> State:
        """An image that is not shown is gone only if it surely is."""
        if not self.images.is_gone(entry.image_id):
            raise RequestRefused(self._unseen(entry))
        self._discard(entry, None)
        return State.GONE

    def _unseen(self, entry: CopyEntry) -> str:
        return (
            f"Glance shows these credentials no image {entry.image_id}: use those of an administrator, and run the "
            "command with --resume or --undo again"
        )

    def _ended(self, entry: CopyEntry, goal: Goal) -> PlacedImage:
        """Look whether the image is in the store that it shall be in."""
        placed = self._there(entry)
        if goal.to_store not in placed.stores:
            raise RequestRefused(f"image {entry.image_id} is not in store {goal.to_store} any more: plan anew")
        return placed

    def _cloned(self, entry: CopyEntry) -> bool:
        return StoreCopyWay.CLONE in (entry.made, entry.remade)

    def _registered(self, entry: CopyEntry, placed: PlacedImage) -> CopyEntry:
        """Write down which clones are the image's data, so that they are never deleted as left over."""
        if not self._cloned(entry) or not placed.locations_shown:
            return entry
        seen = self._clone_of(entry).in_locations(placed.image.locations)
        new = tuple(volume_id for volume_id in seen if volume_id not in entry.registered)
        if not new:
            return entry
        registered = (*entry.registered, *new)
        return self.journal.record(entry.image_id, entry.state, reason=entry.reason, registered=registered)

    def _discard(self, entry: CopyEntry, placed: PlacedImage | None) -> None:
        """Delete the clones that this journal has made and that were never in a location."""
        if not self._cloned(entry):
            return
        if placed is not None and not placed.locations_shown:
            clone = CloneLeft(image_id=entry.image_id, volume_id="its clone", locations_shown=False)
            raise RequestRefused(f"image {entry.image_id} is left as it is: {decide_discard(clone).reason}")
        self._clone_of(entry).discard(placed.image.locations if placed else ())

    @contextmanager
    def without_successor(self) -> Iterator[None]:
        """Clean up at the end of the context, because no process will go on with the journal.

        Clones that Glance was never told of are deleted.  An error that ends the context names the others.
        """
        try:
            yield
        except BaseException:
            with naming(*self._abandoned()):
                raise
        self._abandoned()

    def _abandoned(self) -> tuple[str, ...]:
        left: list[str] = []
        for entry in self.journal.entries.values():
            if entry.state is State.DONE or not self._cloned(entry):
                continue
            try:
                placed = self._look(entry)
                named = self._clone_of(entry).abandon(placed.image.locations if placed else ())
                left.extend(f"volume {each}" for each in named)
            except ImagevolError as error:
                left.append(f"the clone for image {entry.image_id}, if there is one ({one_line(error)})")
        return tuple(left)

    def _clone_of(self, entry: CopyEntry) -> CloneOfStore:
        return CloneOfStore(
            volumes=self.volumes,
            marks=self.journal.marks,
            image_id=entry.image_id,
            registered=self.journal.entries[entry.image_id].registered,
            cloned=self.journal.entries[entry.image_id].cloned,
            named=self.gathering.named.by,
        )

    def _import(self, entry: CopyEntry, goal: Goal, _plan: StoreCopyPlan) -> None:
        """Let Glance copy the data, and return when it has."""
        self._begin(entry, goal, StoreCopyWay.IMPORT)
        self._asked(
            entry,
            lambda: self.images.copy_to_store(entry.image_id, goal.to_store),
            lambda placed: _TASK in placed.image.properties or goal.to_store in placed.stores,
        )
        placed = self._settled(entry)
        if placed is None:
            raise RequestRefused(self._unseen(entry))
        if goal.to_store not in placed.stores:
            raise RequestRefused(
                f"Glance has not copied image {entry.image_id} to store {goal.to_store}: see the log of glance-api, "
                "and run the command with --resume"
            )

    def _clone(self, entry: CopyEntry, goal: Goal, plan: StoreCopyPlan) -> None:
        """Clone the image volume, and tell Glance of the clone."""
        self._begin(entry, goal, StoreCopyWay.CLONE, cloned=tuple(dict.fromkeys((*entry.cloned, str(plan.source)))))
        clone = self._clone_of(entry)
        store = self.gathering.catalogue.get(goal.to_store)
        volume_type = (store and store.volume_type) or self.gathering.catalogue.default_volume_type
        volume = clone.made(str(plan.source), image=plan.image, volume_type=volume_type)
        value = {"url": f"cinder://{goal.to_store}/{volume.id}", "metadata": {"store": goal.to_store}}
        try:
            self.images.change_locations(entry.image_id, [{"op": "add", "path": "/locations/-", "value": value}])
        except CallerError:
            self._discard(self.journal.entries[entry.image_id], self._there(entry))
            raise
        placed = self._there(entry)
        if volume_in_store(goal.to_store, placed.image.locations) != volume.id:
            raise ServiceFailed(
                f"image {entry.image_id}: Glance has not taken volume {volume.id} into store {goal.to_store}: see the "
                "log of glance-api"
            )
        self._registered(self.journal.entries[entry.image_id], placed)

    def _begin(self, entry: CopyEntry, goal: Goal, way: StoreCopyWay, **more: Any) -> None:
        changes: dict[str, Any] = {goal.mark: way, "verified": None, "verified_place": None, **more}
        self.journal.record(entry.image_id, goal.begun, **changes)

    def _read(self, entry: CopyEntry, goal: Goal, _plan: StoreCopyPlan) -> None:
        """Read the copy on this host; one that this journal made and that is not the image is deleted again."""
        placed = self._there(entry)
        volume_id = volume_in_store(goal.to_store, placed.image.locations)
        if volume_id is None:
            raise RequestRefused(f"image {entry.image_id} has no volume in store {goal.to_store} any more")
        try:
            self.read(volume_id, placed)
        except ContentMismatch:
            self._withdraw(entry, goal)
            raise
        except ResourceNotFound:
            raise
        except (CallerError, StorageError) as error:
            if goal.good_place is None and goal.made is not StoreCopyWay.IMPORT:
                raise
            raise RequestRefused(f"volume {volume_id} cannot be read again: {error}; {_UNREAD}") from error
        self._verified(entry, goal, placed)

    def _compare(self, entry: CopyEntry, goal: Goal, _plan: StoreCopyPlan) -> None:
        """Take Glance's word, which compared what it wrote; whether it is still the same image is asked at the end."""
        self._verified(entry, goal, self._there(entry))

    def _verified(self, entry: CopyEntry, goal: Goal, placed: PlacedImage) -> None:
        place = place_in_store(goal.to_store, placed.image.locations)
        if place is None:
            raise RequestRefused(f"Glance does not show where image {entry.image_id} is in store {goal.to_store}")
        self.journal.record(entry.image_id, goal.begun, verified=goal.to_store, verified_place=place)

    def _remove(self, entry: CopyEntry, goal: Goal, _plan: StoreCopyPlan) -> None:
        """Have Glance delete the data in a store; of several locations there, one after the other."""
        if goal.removed is None:
            return
        good_place = entry.verified_place if entry.verified == goal.to_store else goal.good_place
        self.journal.record(entry.image_id, goal.begun)
        while goal.removed in (placed := self._ended(entry, goal)).stores:
            self._delete(entry, placed, kept=goal.to_store, removed=goal.removed, good_place=good_place)

    def _withdraw(self, entry: CopyEntry, goal: Goal) -> None:
        made = getattr(self.journal.entries[entry.image_id], goal.mark)
        if made is not None and goal.removed is not None and entry.verified != goal.to_store:
            placed = self._there(entry)
            place = place_in_store(goal.removed, placed.image.locations)
            self._delete(entry, placed, kept=goal.removed, removed=goal.to_store, good_place=place)

    def _delete(
        self, entry: CopyEntry, placed: PlacedImage, *, kept: str, removed: str, good_place: str | None
    ) -> None:
        removal = decide_store_removal(
            self.gathering.removal(
                placed,
                kept=kept,
                removed=removed,
                planned=entry.image,
                verified=good_place is not None,
                verified_place=good_place,
            )
        )
        if not removal.allowed:
            raise RequestRefused(f"image {entry.image_id} stays in store {removed}: {removal.reason}")
        self._asked(
            entry,
            lambda: self.images.delete_from_store(entry.image_id, removed),
            lambda placed: removed not in placed.stores,
        )

    def _asked(self, entry: CopyEntry, ask: Callable[[], None], done: Callable[[PlacedImage], bool]) -> None:
        """Ask Glance for something, again if it fails and has not done it.

        Glance 33 answers 500 if its database lets only one of two simultaneous requests pass, and also if a store
        cannot delete its data.

        Raises:
            RequestRefused: it fails each time, which is no reason to leave the other images as they are.
        """
        for attempt in range(_ATTEMPTS):
            try:
                ask()
            except ServiceFailed as error:
                failure = error
            else:
                return
            placed = self._look(entry)
            if placed is None or done(placed):
                return
            self._stopping.wait(self.retry_seconds * 2**attempt)
        raise RequestRefused(str(failure)) from failure

    def _look(self, entry: CopyEntry) -> PlacedImage | None:
        return next(iter(self.images.placed([entry.image_id])), None)

    def _there(self, entry: CopyEntry) -> PlacedImage:
        placed = self._look(entry)
        if placed is None:
            raise RequestRefused(self._unseen(entry))
        return placed

    def _settled(self, entry: CopyEntry) -> PlacedImage | None:
        """Look at an image when Glance is not at work on it any more."""

        def looked() -> PlacedImage | None:
            if self._stopping.is_set():
                raise Stopped
            return self._look(entry)

        return wait_until(
            looked,
            lambda placed: placed is None or _TASK not in placed.image.properties,
            what=f"Glance is still importing image {entry.image_id}",
            seconds=self.settle_seconds + (entry.image.size_bytes or 0) / _LEAST_RATE,
        )


_STEPS: Mapping[StoreCopyStep, Callable[[StoreCopies, CopyEntry, Goal, StoreCopyPlan], None]] = {
    StoreCopyStep.CLONE: StoreCopies._clone,
    StoreCopyStep.IMPORT: StoreCopies._import,
    StoreCopyStep.READ: StoreCopies._read,
    StoreCopyStep.COMPARE: StoreCopies._compare,
    StoreCopyStep.REMOVE: StoreCopies._remove,
}
