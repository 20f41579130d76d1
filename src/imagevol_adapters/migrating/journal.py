"""The journal of a migration: what is to be changed, what has begun and what is done, each written before it is so.

A file of one JSON object a line, which only ever grows.  The first line says of which cloud and plan it is, those
up to `{"planned": N}` what is to be changed, and each further line how far one image has come.  A line counts when it
is whole: what a crash has torn off at the end was not done yet.
"""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import attrs

from imagevol_adapters.cleanup import undone_on_failure
from imagevol_core import (
    ImageLocation,
    InUse,
    LocationChange,
    LocationOutcome,
    RequestRefused,
    ServiceFailed,
    Store,
    StoreCatalogue,
)

__all__ = ["Entry", "Journal", "State"]

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


class Journal:
    """A journal that is open, and nobody else's until it is closed."""

    def __init__(self, path: Path, descriptor: int, head: Mapping[str, Any], entries: dict[str, Entry]) -> None:
        """Take what `create` or `open` has found."""
        self.path = path
        self.entries = entries
        self._descriptor = descriptor
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
        """Write down what is to be changed, before anything is.

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
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError as error:
            raise RequestRefused(f"journal {path} exists: give another name, or go on with it by --resume") from error
        except OSError as error:
            raise RequestRefused(f"journal {path} cannot be written: {error.strerror}") from error
        journal = cls(path, descriptor, head, {})
        left = f"the beginning of journal {path}"
        with undone_on_failure(left, journal.close), undone_on_failure(left, path.unlink):
            _lock(descriptor, path)
            journal._write_plan(changes)
        return journal

    @classmethod
    def open(cls, path: Path, *, cloud: str) -> Journal:
        """Take up a journal where it ends.

        Args:
            path: of the file.
            cloud: the one that it must be of.

        Raises:
            RequestRefused: there is no such file, a line is malformed, or it is another cloud's.
            InUse: somebody else has it open.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise RequestRefused(f"journal {path} cannot be opened: {error.strerror}") from error
        try:
            _lock(descriptor, path)
            with os.fdopen(os.dup(descriptor), "rb") as file:
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            head, entries = _read(path, whole.splitlines())
            if head["cloud"] != cloud:
                raise RequestRefused(f"journal {path} is of another cloud: its Glance is {head['cloud']}, not {cloud}")
            os.ftruncate(descriptor, len(whole))
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor, head, entries)

    @property
    def id(self) -> str:
        """Its UUID, with which it marks the volumes that it holds."""
        return str(self._head["id"])

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
                    f"journal {self.path} is of another plan: its {what} were {json.dumps(planned)} and are "
                    f"{json.dumps(now)}; undo it under the former ones, or plan anew with another journal"
                )

    def record(
        self, image_id: str, state: State, *, reason: str | None = None, attachments: Mapping[str, str] | None = None
    ) -> Entry:
        """Write down how far an image has come; when this returns, it is on the storage.

        Raises:
            ServiceFailed: it cannot be written, which ends a migration: so it would be for every other image.
        """
        entry = attrs.evolve(self.entries[image_id], state=state, reason=reason, attachments=dict(attachments or {}))
        written = {"image": image_id, "state": state.value, "reason": reason, "attachments": entry.attachments}
        self._append(_line({key: value for key, value in written.items() if value}))
        self.entries[image_id] = entry
        return entry

    def close(self) -> None:
        """Leave it to others."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _write_plan(self, changes: Iterable[Sequence[LocationChange]]) -> None:
        lines = [_line(self._head)]
        for of_image in changes:
            altering = tuple(change for change in of_image if change.alters)
            image_id = str(altering[0].image_id)
            self.entries[image_id] = Entry(image_id=image_id, changes=altering)
            lines.append(_line({"image": image_id, "changes": [_written(change) for change in altering]}))
        self._append(b"".join((*lines, _line({"planned": len(self.entries)}))))
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)  # or the name may be lost with a file that is not
        finally:
            os.close(directory)

    def _append(self, data: bytes) -> None:
        """Write all of it or nothing: behind a torn line no other could be read."""
        length = os.fstat(self._descriptor).st_size
        with undone_on_failure(f"a torn line in journal {self.path}", lambda: os.ftruncate(self._descriptor, length)):
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
                os.fsync(self._descriptor)
            except OSError as error:
                raise ServiceFailed(f"journal {self.path} cannot be written: {error.strerror}") from error


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InUse(f"journal {path} is in use by another process: let it end") from error


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


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


def _read(path: Path, lines: Sequence[bytes]) -> tuple[Mapping[str, Any], dict[str, Entry]]:
    """The head and how far each image has come, line by line."""
    head: Mapping[str, Any] | None = None
    planned = False
    entries: dict[str, Entry] = {}
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line)
            if head is None:
                head = _head(value)
            elif planned:
                entries[value["image"]] = _advanced(entries[value["image"]], value)
            elif "planned" in value:
                planned = value["planned"] == len(entries)
            else:
                entries[value["image"]] = _planned(value)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RequestRefused(
                f"journal {path}, line {number}: it is no line of a journal ({type(error).__name__}: {error})"
            ) from error
    if head is None or not planned:
        raise RequestRefused(
            f"journal {path} ends before its plan does, so that it has changed nothing: delete it, and plan anew"
        )
    return head, entries


def _head(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if value["journal"] != _VERSION:
        raise ValueError(f"version {value['journal']!r} is not {_VERSION}")
    return {key: value[key] for key in ("id", "cloud", "stores", "renames")}


def _planned(value: Mapping[str, Any]) -> Entry:
    image_id = str(value["image"])
    return Entry(
        image_id=image_id,
        changes=tuple(
            LocationChange(
                outcome=LocationOutcome(change["outcome"]),
                before=ImageLocation(change["before"]["url"], change["before"]["metadata"]),
                after=ImageLocation(change["after"]["url"], change["after"]["metadata"]),
                verdicts=(),
                image_id=image_id,
                position=change["position"],
            )
            for change in value["changes"]
        ),
    )


def _advanced(entry: Entry, value: Mapping[str, Any]) -> Entry:
    return attrs.evolve(
        entry,
        state=State(value["state"]),
        reason=value.get("reason"),
        attachments=dict(value.get("attachments", {})),
    )
