"""The journal of a migration: what will be changed, what has begun and what is done, each written before it is so.

The first line says of which cloud and plan it is, those up to `{"planned": N}` what will be changed, and each further
line how far one image has come, or whether workers of many hosts may be changing images.
"""

from __future__ import annotations

import json
import operator
import uuid
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import Any

import attrs

from imagevol_adapters.fleet.journalled import OfferedJournal, read_board
from imagevol_adapters.journals import check_head, journal_line, text_of, texts_of
from imagevol_core import ImageLocation, LocationChange, LocationOutcome, RequestRefused, Store, StoreCatalogue
from imagevol_core.sentences import said

__all__ = ["Entry", "Journal", "State", "plan_id"]

_VERSION = 1


class State(Enum):
    """How far an image has come."""

    PLANNED = "planned"
    BEGUN = "begun"
    DONE = "done"
    FAILED = "failed"
    UNDOING = "undoing"
    UNDONE = "undone"
    GONE = "gone"


@attrs.frozen(kw_only=True)
class Entry:
    """One image of a migration.

    Attributes:
        image_id: which.
        changes: of its locations, those that alter them.
        state: how far it has come.
        reason: why it failed.
        attachments: by which its volumes are reserved, by volume.
    """

    image_id: str
    changes: tuple[LocationChange, ...]
    state: State = State.PLANNED
    reason: str | None = None
    attachments: Mapping[str, str] = attrs.field(factory=dict)


class Journal(OfferedJournal):
    """A journal that is open, and that no other process has until it is closed.

    Attributes:
        entries: how far each image has come, in the order of the plan.
    """

    def __init__(
        self,
        path: Path,
        descriptor: int,
        head: Mapping[str, Any],
        entries: dict[str, Entry],
        *,
        offered: str | None = None,
    ) -> None:
        """Take what `create` or `open` has found."""
        super().__init__(path, descriptor)
        self.entries = entries
        self.offered = offered
        self._head = head

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        cloud: str,
        catalogue: StoreCatalogue,
        renames: Mapping[str, str],
        changes: Iterable[Sequence[LocationChange]],
    ) -> Journal:
        """Write down what will be changed, before anything is.

        Args:
            path: of a file that does not exist yet.
            cloud: names the cloud that the plan is of.
            catalogue: today's stores.
            renames: of the stores.
            changes: the locations of each image.

        Raises:
            RequestRefused: there is such a file, or none can be made.
            ServiceFailed: it cannot be written to its end.
        """
        head = {
            "journal": _VERSION,
            "id": str(uuid.uuid4()),
            "cloud": cloud,
            "stores": _stores(catalogue),
            "renames": dict(renames),
        }
        entries, lines = _plan(changes)
        journal = cls(path, cls.create_file(path), head, entries)
        journal.begin(b"".join((journal_line(head), *lines)))
        return journal

    @classmethod
    def open(cls, path: Path, *, cloud: str) -> Journal:
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
        return cls(path, descriptor, read.head or {}, read.entries, offered=read.offered)

    @property
    def id(self) -> str:
        """Its UUID, with which it marks the volumes that it holds."""
        return str(self._head["id"])

    @property
    def job(self) -> str:
        """Names its changes on a board of shards, the same each time that the journal is opened."""
        return f"locations-{self.id[:8]}"

    @property
    def plan_id(self) -> str:
        """Tells its plan from those for other stores or renames; see `plan_id`."""
        return _plan_id(self._head["stores"], self._head["renames"])

    def check_plan(self, *, catalogue: StoreCatalogue, renames: Mapping[str, str]) -> None:
        """Hold that it is the journal of a plan for these stores.

        Args:
            catalogue: today's stores.
            renames: of the stores; none where they are not given anew.

        Raises:
            RequestRefused: it is another one's.
        """
        for what, planned, now in (
            ("stores", self._head["stores"], _stores(catalogue)),
            ("renames", self._head["renames"], dict(renames) or self._head["renames"]),
        ):
            if planned != now:
                raise RequestRefused(
                    f"journal {said(self.path)} is of another plan: its {what} were {json.dumps(planned)} and are "
                    f"{json.dumps(now)}; undo it with the earlier settings, or plan anew with another journal"
                )

    def record(
        self, image_id: str, state: State, *, reason: str | None = None, attachments: Mapping[str, str] | None = None
    ) -> Entry:
        """Write down how far an image has come; when this returns, it is on the storage.

        Raises:
            ServiceFailed: it cannot be written, which ends a migration: so it would be for every other image.
        """
        entry = attrs.evolve(self.entries[image_id], state=state, reason=reason, attachments=dict(attachments or {}))
        self._append(_state_line(entry))
        self.entries[image_id] = entry
        return entry

    def record_all(self, entries: Iterable[Entry]) -> None:
        """Write down how far several images have come, in one piece; when this returns, it is on the storage.

        Raises:
            ServiceFailed: as for `record`.
        """
        entries = list(entries)
        if entries:
            self._append(b"".join(map(_state_line, entries)))
            self.entries.update((entry.image_id, entry) for entry in entries)


def plan_id(catalogue: StoreCatalogue, renames: Mapping[str, str]) -> str:
    """Name what a plan depends on beside the images: only the same stores and renames give the same name.

    Args:
        catalogue: the stores.
        renames: of the stores.

    >>> one = StoreCatalogue(stores=(Store(name="fast", kind="cinder", volume_type="ssd"),))
    >>> plan_id(one, {}) == plan_id(one, {}), plan_id(one, {}) == plan_id(one, {"old": "fast"})
    (True, False)
    """
    return _plan_id(_stores(catalogue), dict(renames))


@attrs.define
class _Reading:
    """What was read of a journal so far."""

    head: Mapping[str, Any] | None = None
    planned: bool = False
    offered: str | None = None
    entries: dict[str, Entry] = attrs.field(factory=dict)

    def take(self, value: Any) -> None:
        """Take what the next line says."""
        if self.head is None:
            self.head = _head(value)
        elif self.planned and "offered" in value:
            self.offered = read_board(value)
        elif self.planned:
            self.entries[value["image"]] = _advanced(self.entries[value["image"]], value)
        elif "planned" in value:
            self.planned = value["planned"] == len(self.entries)
        else:
            self.entries[text_of(value["image"])] = _planned(value)


def _plan(changes: Iterable[Sequence[LocationChange]]) -> tuple[dict[str, Entry], list[bytes]]:
    """The changes of each image, and the lines that say them."""
    entries, lines = dict[str, Entry](), []
    for of_image in changes:
        altering = tuple(change for change in of_image if change.alters)
        image_id = str(altering[0].image_id)
        entries[image_id] = Entry(image_id=image_id, changes=altering)
        lines.append(journal_line({"image": image_id, "changes": [_written(change) for change in altering]}))
    return entries, [*lines, journal_line({"planned": len(entries)})]


def _state_line(entry: Entry) -> bytes:
    written = {
        "image": entry.image_id,
        "state": entry.state.value,
        "reason": entry.reason,
        "attachments": entry.attachments,
    }
    return journal_line({key: value for key, value in written.items() if value})


def _plan_id(stores: list[list[str | None]], renames: Mapping[str, str]) -> str:
    return sha256(json.dumps([stores, renames], sort_keys=True).encode()).hexdigest()[:12]


def _stores(catalogue: StoreCatalogue) -> list[list[str | None]]:
    """What a plan depends on, as JSON gives it back; whether images are kept by `cinder` or `imagevol` is no matter."""
    return [[store.name, _of_type(store, catalogue)] for store in catalogue.stores]


def _of_type(store: Store, catalogue: StoreCatalogue) -> str | None:
    return (store.volume_type or catalogue.default_volume_type) if store.is_cinder else store.kind


def _written(change: LocationChange) -> dict[str, Any]:
    return {
        "position": change.position,
        "outcome": change.outcome.value,
        "before": {"url": change.before.url, "metadata": dict(change.before.metadata)},
        "after": {"url": change.after.url, "metadata": dict(change.after.metadata)},
    }


def _head(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if value["journal"] != _VERSION:
        raise ValueError(f"version {value['journal']!r} is not {_VERSION}")
    texts = {key: text_of(value[key]) for key in ("id", "cloud")}
    return {**texts, "stores": list(value["stores"]), "renames": texts_of(value["renames"])}


def _planned(value: Mapping[str, Any]) -> Entry:
    image_id = text_of(value["image"])
    return Entry(
        image_id=image_id,
        changes=tuple(
            LocationChange(
                outcome=LocationOutcome(change["outcome"]),
                before=_location(change["before"]),
                after=_location(change["after"]),
                verdicts=(),
                image_id=image_id,
                position=operator.index(change["position"]),
            )
            for change in value["changes"]
        ),
    )


def _location(value: Mapping[str, Any]) -> ImageLocation:
    return ImageLocation(text_of(value["url"]), texts_of(value["metadata"]))


def _advanced(entry: Entry, value: Mapping[str, Any]) -> Entry:
    return attrs.evolve(
        entry,
        state=State(value["state"]),
        reason=None if value.get("reason") is None else text_of(value["reason"]),
        attachments=texts_of(value.get("attachments", {})),
    )
