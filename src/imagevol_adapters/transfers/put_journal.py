"""The journal of an image file that is stored in a volume: which volume, and how far it is filled.

The first line says what is stored: the file, the image and what was wished for.  Each further line says what was done
since: the volume and the image that were created, each step of the data, and the end.
"""

from __future__ import annotations

import json
import os
import stat
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from imagevol_adapters.journals import JournalFile, check_head, journal_line, text_of
from imagevol_adapters.processes import this_process
from imagevol_adapters.transfers.keeping import Step, until
from imagevol_core import RequestRefused
from imagevol_core.sentences import said

__all__ = ["FileFacts", "PutJournal", "PutState"]

_VERSION = 1
_KIND = "put"
_DONE, _UNDONE = "done", "undone"


@attrs.frozen(kw_only=True)
class FileFacts:
    """What tells a file from another one, and from itself after it was changed.

    Attributes:
        inode: its number.
        boot: since which start of a host the device has its number; empty where that is not known.
        device: the number of the file system that it is in.
        size_bytes: how many bytes it has.
        written_ns: when its content was written, as far as a program has not set that back.
        changed_ns: when anything of it was changed, which no program can set back.
    """

    inode: int
    boot: str
    device: int
    size_bytes: int
    written_ns: int
    changed_ns: int

    @classmethod
    def of(cls, file: BinaryIO) -> FileFacts:
        """Look at an open file.

        Raises:
            RequestRefused: it is a block device, which does not tell when it was changed.
        """
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise RequestRefused(
                "a block device does not tell whether it was changed: copy it to a file, or leave out --journal"
            )
        here = this_process()
        return cls(
            inode=found.st_ino,
            boot=here.boot_id if here else "",
            device=found.st_dev,
            size_bytes=found.st_size,
            written_ns=found.st_mtime_ns,
            changed_ns=found.st_ctime_ns,
        )

    def is_same(self, now: FileFacts) -> bool:
        """Tell whether it is the same file; after a start of the host its file systems may have other numbers."""
        before = self if self.boot == now.boot else attrs.evolve(self, boot=now.boot, device=now.device)
        return before == now


@attrs.define(kw_only=True)
class PutState:
    """What a journal says.

    Attributes:
        id: the UUID of the journal, with which it marks what it creates.
        cloud: names the cloud.
        file: the file, as it was at the beginning.
        wishes: what was wished for, by option.
        algorithms: the digests that are made.
        image_id: the image; None until it is known.
        image_owner: the project that owns it.
        volume_id: the volume; None until Cinder has created it.
        steps: how far the volume is filled.
        ended: how it ended: `done` or `undone`; None while it has not.
    """

    id: str = ""
    cloud: str = ""
    file: FileFacts | None = None
    wishes: Mapping[str, Any] = attrs.field(factory=dict)
    algorithms: tuple[str, ...] = ()
    image_id: str | None = None
    image_owner: str | None = None
    volume_id: str | None = None
    steps: list[Step] = attrs.field(factory=list)
    ended: str | None = None

    def take(self, value: Any) -> None:
        """Take what the next line says.

        Raises:
            ValueError: it is no line of such a journal; so is every other error.
        """
        if not self.id:
            self._begin(value)
        elif "image" in value:
            self.image_id, owner = text_of(value["image"]), value["owner"]
            self.image_owner = None if owner is None else text_of(owner)
        elif "volume" in value:
            self.volume_id = text_of(value["volume"])
        elif "cut" in value:
            self.steps = until(self.steps, int(value["cut"]))
        elif "ended" in value:
            self.ended = text_of(value["ended"])
        else:
            self.steps.append(Step.from_line(value))

    def _begin(self, value: Any) -> None:
        if (value["journal"], value["kind"]) != (_VERSION, _KIND):
            raise ValueError(f"kind {value['kind']!r} of version {value['journal']!r} is no file that is stored")
        numbers = attrs.fields_dict(FileFacts).keys() - {"boot"}
        file = value["file"]
        self.file = FileFacts(boot=text_of(file["boot"]), **{name: int(file[name]) for name in numbers})
        self.cloud, self.wishes = text_of(value["cloud"]), dict(value["wishes"])
        self.algorithms = tuple(map(text_of, value["algorithms"]))
        self.id = text_of(value["id"])


class PutJournal(JournalFile):
    """A journal that is open, and that no other process has until it is closed.

    Attributes:
        state: what it says.
    """

    def __init__(self, path: Path, descriptor: int, state: PutState) -> None:
        """Take what `create` or `open` has found."""
        super().__init__(path, descriptor)
        self.state = state

    @classmethod
    def create(
        cls, path: Path, *, cloud: str, file: FileFacts, wishes: Mapping[str, Any], algorithms: Iterable[str]
    ) -> PutJournal:
        """Write down what is wanted, before anything is created.

        Args:
            path: of a file that does not exist yet.
            cloud: names the cloud.
            file: the file that is stored.
            wishes: what is wished for, by option; values that JSON has.
            algorithms: the digests that are made.

        Raises:
            RequestRefused: there is such a file, or none can be made.
            ServiceFailed: it cannot be written to its end.
        """
        head = {
            "journal": _VERSION,
            "kind": _KIND,
            "id": str(uuid.uuid4()),
            "cloud": cloud,
            "file": attrs.asdict(file),
            "wishes": dict(wishes),
            "algorithms": list(algorithms),
        }
        line, state = journal_line(head), PutState()
        state.take(json.loads(line))
        journal = cls(path, cls.create_file(path), state)
        journal.begin(line)
        return journal

    @classmethod
    def open(cls, path: Path, *, cloud: str) -> PutJournal:
        """Take up a journal where it ends.

        Args:
            path: of the file.
            cloud: the one that it must be of.

        Raises:
            RequestRefused: there is no such file, another user could have written it, a line is malformed, or it is
                another cloud's.
            InUse: another process has it open.
        """
        state = PutState()

        def check() -> None:
            head = {"cloud": state.cloud} if state.id else None
            so = "it has created nothing: delete it, and begin anew"
            check_head(path, head, planned=True, cloud=cloud, so=so)

        return cls(path, cls.open_file(path, state.take, check), state)

    def check_same(self, *, file: FileFacts, wishes: Mapping[str, Any]) -> None:
        """Hold that the journal is of this file and these wishes.

        Raises:
            RequestRefused: it is of others, or has ended without anything to go on with.
        """
        state = self.state
        if state.ended == _UNDONE:
            raise RequestRefused(
                f"journal {said(self.path)}: what it created was deleted again: begin anew, with another journal"
            )
        if state.file is None or not state.file.is_same(file):
            raise RequestRefused(
                f"journal {said(self.path)} is of another file, or the file was changed since: begin anew, with "
                f"another journal{self._left()}"
            )
        wanted = json.loads(json.dumps(dict(wishes)))
        changed = [name for name in wanted.keys() | state.wishes.keys() if wanted.get(name) != state.wishes.get(name)]
        if changed:
            raise RequestRefused(
                f"journal {said(self.path)} was begun with another {min(changed)}: give the same options as then"
            )

    def record(self, **line: Any) -> None:
        """Write down what was done; when this returns, it is on the storage.

        Raises:
            ServiceFailed: it cannot be written.
        """
        self._append(journal_line(line))
        self.state.take(line)

    def end(self, *, undone: bool = False) -> None:
        """Write down that all is done, or that what was created was deleted again."""
        self.record(ended=_UNDONE if undone else _DONE)

    @property
    def is_done(self) -> bool:
        """Whether all is done."""
        return self.state.ended == _DONE

    def _left(self) -> str:
        return f", and delete volume {self.state.volume_id}" if self.state.volume_id else ""
