"""The journal of a migration: what is to be changed, what has begun and what is done, each written before it is so.

A file of one JSON object a line, which only ever grows.  The first line says of which cloud and plan it is, those
up to `{"planned": N}` what is to be changed, and each further line how far one image has come.  A line counts when it
is whole: what a crash has torn off at the end was not done yet.
"""

from __future__ import annotations

import fcntl
import json
import operator
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import attrs

from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.error_text import one_line
from imagevol_adapters.opening import open_file
from imagevol_adapters.translation import Table, translated
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
from imagevol_core.sentences import said

__all__ = ["Entry", "Journal", "State"]

_VERSION = 1
_LONGEST_LINE = 16 << 20  # in bytes: of one image and all of its locations
_READING: Table = ((OSError, RequestRefused, "copy it to another disk"),)
_WRITING: Table = ((OSError, ServiceFailed, "give a journal in another directory"),)


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
    """A journal that is open, and that no other process has until it is closed."""

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
            raise RequestRefused(
                f"journal {said(path)} exists: give another name, or go on with it by --resume"
            ) from error
        except (OSError, ValueError) as error:  # a name with a NUL in it is a ValueError
            reason = getattr(error, "strerror", None) or one_line(error)
            raise RequestRefused(f"journal {said(path)} cannot be written: {reason}") from error
        journal = cls(path, descriptor, head, {})
        left = f"the beginning of journal {said(path)}"
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
            InUse: another process has it open.
        """
        try:
            descriptor = open_file(path, os.O_RDWR | os.O_APPEND)
        except OSError as error:
            raise RequestRefused(f"journal {said(path)} cannot be opened: {error.strerror}") from error
        try:
            _lock(descriptor, path)
            with os.fdopen(os.dup(descriptor), "rb") as file, translated(_READING, doing=f"journal {said(path)}"):
                head, entries, whole_bytes = _read(path, file)
            if head["cloud"] != cloud:
                raise RequestRefused(
                    f"journal {said(path)} is of another cloud: its Glance is {head['cloud']}, not {cloud}"
                )
            with translated(_READING, doing=f"journal {said(path)}"):
                os.ftruncate(descriptor, whole_bytes)
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
        with translated(_WRITING, doing=f"the directory of journal {said(self.path)}"):
            directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)  # or the name may be lost with a file that is not
            finally:
                os.close(directory)

    def _append(self, data: bytes) -> None:
        """Write all of it or nothing: after a torn line no other could be read."""
        length = os.fstat(self._descriptor).st_size
        with undone_on_failure(
            f"a torn line in journal {said(self.path)}", lambda: os.ftruncate(self._descriptor, length)
        ):
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
                os.fsync(self._descriptor)
            except OSError as error:
                raise ServiceFailed(f"journal {said(self.path)} cannot be written: {error.strerror}") from error


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InUse(f"journal {said(path)} is in use by another process: let it end") from error
    except OSError as error:
        raise RequestRefused(
            f"journal {said(path)} cannot be locked: {error.strerror}; use another file system"
        ) from error


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


def _read(path: Path, file: BinaryIO) -> tuple[Mapping[str, Any], dict[str, Entry], int]:
    """The head, how far each image has come, line by line, and where the last whole line ends."""
    head: Mapping[str, Any] | None = None
    planned = False
    entries: dict[str, Entry] = {}
    whole_bytes = 0
    for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE + 1), b""), 1):
        try:
            if len(line) > _LONGEST_LINE:
                raise ValueError(f"it is longer than {_LONGEST_LINE} bytes")
            if not line.endswith(b"\n"):  # a crash has torn it off
                break
            value = json.loads(line)
            if head is None:
                head = _head(value)
            elif planned:
                entries[value["image"]] = _advanced(entries[value["image"]], value)
            elif "planned" in value:
                planned = value["planned"] == len(entries)
            else:
                entries[_text(value["image"])] = _planned(value)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            why = one_line(error)
            raise RequestRefused(f"journal {said(path)}, line {number}: it is no line of a journal ({why})") from error
        whole_bytes += len(line)
    if head is None or not planned:
        raise RequestRefused(
            f"journal {said(path)} ends before its plan does, so that it has changed nothing: delete it, and plan anew"
        )
    return head, entries, whole_bytes


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a text is missing: there is a {type(value).__name__}")
    return value


def _texts(value: Mapping[str, Any]) -> dict[str, str]:
    return {_text(key): _text(each) for key, each in value.items()}


def _head(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if value["journal"] != _VERSION:
        raise ValueError(f"version {value['journal']!r} is not {_VERSION}")
    texts = {key: _text(value[key]) for key in ("id", "cloud")}
    return {**texts, "stores": list(value["stores"]), "renames": _texts(value["renames"])}


def _planned(value: Mapping[str, Any]) -> Entry:
    image_id = _text(value["image"])
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
    return ImageLocation(_text(value["url"]), _texts(value["metadata"]))


def _advanced(entry: Entry, value: Mapping[str, Any]) -> Entry:
    return attrs.evolve(
        entry,
        state=State(value["state"]),
        reason=None if value.get("reason") is None else _text(value["reason"]),
        attachments=_texts(value.get("attachments", {})),
    )
