"""The journal of copies between stores: what is planned, what has begun and what is done, each written before it is so.

The first line says of which cloud it is, those up to `{"planned": N}` what is planned for each image, and each further
line how far one image has come, or whether workers of many hosts may be copying images.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import attrs

from imagevol_adapters.fleet.journalled import OfferedJournal, read_board
from imagevol_adapters.journals import check_head, journal_line, text_of
from imagevol_adapters.relocating import State
from imagevol_core import (
    Digest,
    Image,
    RequestRefused,
)
from imagevol_core.store_copies import (
    StoreCopyPlan,
    StoreCopyWay,
    VerifyWish,
    place_in_store,
)

__all__ = ["CopyEntry", "CopyJournal", "worker_mark"]

_VERSION = 1
_KIND = "store-copies"


@attrs.frozen(kw_only=True)
class CopyEntry:
    """One image that is copied or moved.

    Attributes:
        image: as it was planned: its id, size and digest.
        to_store: the store that the copy is wanted in.
        from_store: the store whose copy is deleted afterwards; None if none is.
        source: a store that the image was in before.
        wish: how the operator wants the copy verified.
        state: how far it has come.
        reason: why it failed.
        made: how the copy in `to_store` was made; None if it was there before.
        remade: how the copy in `from_store` was made again, when this was undone.
        verified: the store whose copy was verified.
        verified_place: where that copy was.
        source_place: where the data was in `source` when it was planned; None if Glance did not show it.
        registered: the clones that were seen in a location of the image; they are never deleted as left over.
        cloned: the volumes that were cloned for the image.
    """

    image: Image
    to_store: str
    from_store: str | None
    source: str
    wish: VerifyWish = VerifyWish.AUTO
    state: State = State.PLANNED
    reason: str | None = None
    made: StoreCopyWay | None = None
    remade: StoreCopyWay | None = None
    verified: str | None = None
    verified_place: str | None = None
    source_place: str | None = None
    registered: tuple[str, ...] = ()
    cloned: tuple[str, ...] = ()

    @property
    def image_id(self) -> str:
        """Which image."""
        return self.image.id

    @classmethod
    def of(
        cls, plan: StoreCopyPlan, *, stores: Iterable[str], wish: VerifyWish, source: str | None = None
    ) -> CopyEntry:
        """Give what a journal keeps of a plan.

        Args:
            plan: of one image.
            stores: the stores that it is in.
            wish: how the operator wants the copy verified.
            source: the store of which all images are copied; None if images were named.
        """
        image = Image(id=plan.image.id, size_bytes=plan.image.size_bytes, digest=plan.image.digest)
        from_store = plan.from_store if plan.verification else None
        source = from_store or source or next(store for store in stores if store != plan.to_store)
        return cls(
            image=image,
            to_store=plan.to_store,
            from_store=from_store,
            source=source,
            source_place=place_in_store(source, plan.image.locations),
            wish=wish,
        )


class CopyJournal(OfferedJournal):
    """A journal that is open, and that no other process has until it is closed.

    Attributes:
        entries: how far each image has come, in the order of the plan.
        had_workers: whether its images were ever offered to the workers of many hosts.
    """

    def __init__(
        self,
        path: Path,
        descriptor: int,
        head: Mapping[str, str],
        entries: dict[str, CopyEntry],
        *,
        offered: str | None = None,
        had_workers: bool = False,
    ) -> None:
        """Take what `create` or `open` has found."""
        super().__init__(path, descriptor)
        self.entries = entries
        self.offered = offered
        self.had_workers = had_workers
        self._head = head
        self._one_line = Lock()

    @classmethod
    def create(
        cls, path: Path | None, *, cloud: str, entries: Iterable[CopyEntry], journal_id: str | None = None
    ) -> CopyJournal:
        """Write down what is planned, before anything is changed.

        Args:
            path: of a file that does not exist yet; None for a journal that is gone with this process.
            cloud: names the cloud that the plan is of.
            entries: each image.
            journal_id: its UUID; None for a new one.

        Raises:
            RequestRefused: there is such a file, or none can be made.
            ServiceFailed: it cannot be written to its end.
        """
        head = {"kind": _KIND, "id": journal_id or str(uuid.uuid4()), "cloud": cloud}
        planned = {entry.image_id: entry for entry in entries}
        lines = [
            journal_line({"journal": _VERSION, **head}),
            *(journal_line(_written(entry)) for entry in planned.values()),
            journal_line({"planned": len(planned)}),
        ]
        name, descriptor = cls.create_unnamed() if path is None else (path, cls.create_file(path))
        journal = cls(name, descriptor, head, planned)
        journal.begin(b"".join(lines), kept=path is not None)
        return journal

    @classmethod
    def open(cls, path: Path, *, cloud: str) -> CopyJournal:
        """Take up a journal where it ends.

        Args:
            path: of the file.
            cloud: the one that it must be of.

        Raises:
            RequestRefused: there is no such file, another user could have written it, a line is malformed, or it is
                another cloud's.
            InUse: another process has it open.
        """
        read = _Reading()

        def check() -> None:
            check_head(
                path,
                read.head,
                planned=read.planned,
                cloud=cloud,
                so="it has changed nothing: delete it, and plan anew",
            )

        descriptor = cls.open_file(path, read.take, check)
        return cls(path, descriptor, read.head, read.entries, offered=read.offered, had_workers=read.had_workers)

    @property
    def id(self) -> str:
        """Its UUID, with which it marks the volumes that it creates."""
        return self._head["id"]

    @property
    def job(self) -> str:
        """Names its copies on a board of shards, the same each time that the journal is opened."""
        return f"cp-{self.id[:8]}"

    @property
    def marks(self) -> tuple[str, ...]:
        """What the volumes are marked with that it, or a worker for it, has created."""
        return (self.id, worker_mark(self.id)) if self.had_workers else (self.id,)

    def check_not_undone(self) -> None:
        """Hold that nothing of it was taken back.

        Raises:
            RequestRefused: something was.
        """
        if any(entry.state in (State.UNDOING, State.UNDONE) for entry in self.entries.values()):
            raise RequestRefused(f"journal {self.path} has been undone: plan anew, with another journal")

    def record_offered(self, board: str | None) -> None:
        """Write down by which board workers of many hosts may be copying its images from now on."""
        super().record_offered(board)
        self.had_workers |= board is not None

    def record(self, image_id: str, state: State, *, reason: str | None = None, **changes: Any) -> CopyEntry:
        """Write down how far an image has come; when this returns, it is on the storage.

        Args:
            image_id: which image.
            state: how far.
            reason: why not further.
            changes: of `made`, `remade`, `verified`, `verified_place`, `registered` and `cloned`.

        Raises:
            ServiceFailed: it cannot be written, which ends all: so it would be for every other image.
        """
        entry = attrs.evolve(self.entries[image_id], state=state, reason=reason, **changes)
        line = {
            "image": image_id,
            "state": state.value,
            "reason": reason,
            "made": entry.made and entry.made.value,
            "remade": entry.remade and entry.remade.value,
            "verified": entry.verified,
            "verified_place": entry.verified_place,
            "registered": list(entry.registered),
            "cloned": list(entry.cloned),
        }
        with self._one_line:
            self._append(journal_line({key: value for key, value in line.items() if value}))
        self.entries[image_id] = entry
        return entry


def worker_mark(journal_id: str) -> str:
    """Give the UUID with which a worker of another host marks the volumes that it creates for a journal.

    A shard tells the worker the journal, and can be forged.  If it named the journal of a `cp` without a board, and the
    worker marked volumes with that UUID, they would be taken for those of that `cp`.

    Args:
        journal_id: of the journal.

    >>> worker_mark("0e6b5a0e-6a0c-4d8c-9d9e-2f6f5a1c7b11")
    '9e51226f-14c6-5f0d-a5b9-b037824942cd'
    """
    return str(uuid.uuid5(uuid.UUID(journal_id), "a worker of imagevol cp"))


@attrs.define
class _Reading:
    """What was read of a journal so far."""

    head: dict[str, str] = attrs.field(factory=dict)
    planned: bool = False
    offered: str | None = None
    had_workers: bool = False
    entries: dict[str, CopyEntry] = attrs.field(factory=dict)

    def take(self, value: Any) -> None:
        """Take what the next line says."""
        if not self.head:
            if (value["journal"], value["kind"]) != (_VERSION, _KIND):
                raise ValueError(f"kind {value['kind']!r} of version {value['journal']!r} is no copy between stores")
            self.head = {key: text_of(value[key]) for key in ("kind", "id", "cloud")}
        elif self.planned and "offered" in value:
            self.offered, self.had_workers = read_board(value), True
        elif self.planned:
            self.entries[value["image"]] = _advanced(self.entries[value["image"]], value)
        elif "planned" in value:
            self.planned = value["planned"] == len(self.entries)
        else:
            entry = _planned(value)
            self.entries[entry.image_id] = entry


def _written(entry: CopyEntry) -> dict[str, Any]:
    digest = entry.image.digest
    return {
        "image": entry.image_id,
        "size": entry.image.size_bytes,
        "digest": [digest.algorithm, digest.value] if digest else None,
        "to": entry.to_store,
        "from": entry.from_store,
        "source": entry.source,
        "source_place": entry.source_place,
        "verify": entry.wish.value,
    }


def _planned(value: Mapping[str, Any]) -> CopyEntry:
    size_bytes, digest = value["size"], value["digest"]
    if size_bytes is not None and not isinstance(size_bytes, int):
        raise ValueError("a size is not a number")
    return CopyEntry(
        image=Image(
            id=text_of(value["image"]), size_bytes=size_bytes, digest=Digest(*map(text_of, digest)) if digest else None
        ),
        to_store=text_of(value["to"]),
        from_store=_optional(value["from"]),
        source=text_of(value["source"]),
        source_place=_optional(value.get("source_place")),
        wish=VerifyWish(value["verify"]),
    )


def _advanced(entry: CopyEntry, value: Mapping[str, Any]) -> CopyEntry:
    made, remade = (value.get(key) for key in ("made", "remade"))
    return attrs.evolve(
        entry,
        state=State(value["state"]),
        reason=_optional(value.get("reason")),
        made=None if made is None else StoreCopyWay(made),
        remade=None if remade is None else StoreCopyWay(remade),
        verified=_optional(value.get("verified")),
        verified_place=_optional(value.get("verified_place")),
        registered=tuple(map(text_of, value.get("registered", ()))),
        cloned=tuple(map(text_of, value.get("cloned", ()))),
    )


def _optional(value: object) -> str | None:
    return None if value is None else text_of(value)
