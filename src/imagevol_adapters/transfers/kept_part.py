"""The part of an image that a stopped command keeps: a file beside the one that is wanted, and a journal of it.

Both belong to this user alone, and are opened without following links.  The file gets the wanted name when it is whole.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from errno import EEXIST, EINVAL, ELOOP, EOPNOTSUPP, EPERM
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.file_deadline import in_time
from imagevol_adapters.journals import JournalFile, journal_line, text_of
from imagevol_adapters.opening import is_private, open_file
from imagevol_adapters.transfers.keeping import Step, until
from imagevol_core import Digest, ImagevolError, RequestRefused
from imagevol_core.resuming import (
    FinishedFile,
    FinishedOutcome,
    KeptPart,
    PartialOutcome,
    ReadImage,
    decide_finished,
    decide_partial,
)
from imagevol_core.sentences import said

__all__ = ["PartFile", "finish_whole", "part_file"]

_LOG = logging.getLogger(__name__)
_VERSION = 1
_KIND = "get"
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINKS = (EPERM, EOPNOTSUPP)
_UMASK = 0o077  # if the kernel does not tell
_PRIVATE = 0o600


class PartFile(JournalFile):
    """A part of an image in a file of its own, and the journal that says how far it is.

    Attributes:
        steps: how far the file is.
    """

    def __init__(self, target: Path, descriptor: int, *, file: int, steps: list[Step]) -> None:
        """Take what is open: the journal of a target by its descriptor, and the file."""
        super().__init__(_journal(target), descriptor)
        self.steps = steps
        self._target = target
        self._file = file

    @property
    def data_path(self) -> Path:
        """A name by which the open file can be opened again, whatever has become of its own name."""
        return _open_again(self._file)

    def cut(self, position: int, size_bytes: int) -> None:
        """Forget what comes after a position, and let the file have its whole length, of holes.

        Raises:
            OSError: the file system has no room for such a file.
            ServiceFailed: the journal cannot be written.
        """
        if any(step.position > position for step in self.steps):
            self._append(journal_line({"cut": position}))
            self.steps = until(self.steps, position)
        for length in (position, size_bytes):
            in_time(partial(os.ftruncate, self._file, length), self._target)

    def keep(self, step: Step) -> None:
        """Write down how far the file is; when this returns, that is on the storage.

        Raises:
            ServiceFailed: it cannot be written.
        """
        self._append(journal_line(step.to_line()))
        self.steps.append(step)

    def finish(self) -> None:
        """Give the file the wanted name, which must be free, and the mode of a new file.

        Raises:
            OSError: the name is not free, or cannot be given.
        """
        in_time(self._finish, self._target)

    def _finish(self) -> None:
        # With a directory, Python lets the kernel follow the link.
        anywhere = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.link(self.data_path, self._target, src_dir_fd=anywhere)
        except OSError as error:
            if error.errno not in _NO_LINKS and not os.fstat(self._file).st_nlink:
                raise RequestRefused(
                    f"{said(_part(self._target))} was deleted while it was written: run the command again"
                ) from error
            if error.errno not in _NO_LINKS:
                raise
            self._rename()
        finally:
            os.close(anywhere)
        os.fchmod(self._file, _new_mode())
        self.discard()

    def discard(self) -> None:
        """Delete file and journal; the journal last, because it says whose the file is.

        What has either name now and is another file stays.
        """
        in_time(lambda: _unlink(self._file, _part(self._target)), self._target)
        self.remove()

    def _rename(self) -> None:
        """Rename the file, on a file system without hard links.

        An empty file holds the wanted name first, because renaming overwrites; the journal says that it is ours.
        """
        part = _part(self._target)
        self._append(journal_line({"naming": True}))
        held = os.open(self._target, _NEW, _PRIVATE)  # a file that came before keeps the name
        try:
            with undone_on_failure(f"file {said(self._target)}", lambda: _unlink(held, self._target)):
                if not _same(self._file, part):
                    raise RequestRefused(f"{said(part)} is another file now: delete it, and run the command again")
                part.replace(self._target)
        finally:
            os.close(held)
        if not _same(self._file, self._target):
            raise RequestRefused(
                f"{said(self._target)} is a file that took the place of {said(part)}: delete it, and run the command "
                "again"
            )

    def close(self) -> None:
        """Leave both to others; what hangs is closed later."""
        with suppress(TimeoutError):
            in_time(lambda: os.close(self._file), self._target)
        super().close()


@contextmanager
def part_file(target: Path, image: ReadImage, *, tell: Callable[[str], object]) -> Iterator[PartFile | None]:
    """Open what an earlier command kept of an image, or begin.

    Args:
        target: the file that is wanted, which must not exist.
        image: what is read.
        tell: is told in a sentence if an earlier part is not used, or none can be kept.

    Yields:
        The part; None if none can be kept.

    Raises:
        RequestRefused: the target exists, another user could write to what is kept, or nothing can be written there.
        InUse: another process is at it.
    """
    with _refused(target):
        if "\0" in str(target):
            raise OSError(EINVAL, "a file name cannot have a NUL in it")
        opened = in_time(lambda: _taken_up(target, image, tell), target, late=_left_alone)
        if opened is None:
            yield None
            return
        with opened:
            yield opened


def _taken_up(target: Path, image: ReadImage, tell: Callable[[str], object]) -> PartFile | None:
    found = _Found.look(target)
    try:
        found.free(target)
        if os.path.lexists(target):
            raise FileExistsError(EEXIST, os.strerror(EEXIST))
        decision = decide_partial(image, found.kept)
        if decision.outcome is PartialOutcome.REFUSE:
            raise RequestRefused(f"{said(_part(target))}: {decision.reason}: delete it, or give another file")
        if decision.outcome is PartialOutcome.DO_WITHOUT:
            tell(f"This transfer cannot be resumed: {decision.reason}.")
            return None
        if decision.outcome is PartialOutcome.BEGIN_ANEW:
            tell(f"Reading the image anew: {decision.reason}.")
            found.delete(target)
        if decision.outcome is PartialOutcome.GO_ON:
            return found.opened(target)
        found.close()
        return _begun(target, image)
    finally:
        found.close()


def _left_alone(opened: PartFile | None) -> None:
    """Close what was opened too late."""
    if opened is not None:
        opened.close()


def finish_whole(target: Path, image: ReadImage, verify: Callable[[Path], bool]) -> bool:
    """Do the rest of a command that was killed right after it gave the file its name, and tell whether there was one.

    `decide_finished` says whether a file that has the name counts.

    Args:
        target: the file that is wanted.
        image: what is read.
        verify: tells whether the open file of a path has the data of the image.

    Raises:
        RequestRefused: the journal is malformed.
        InUse: another process is at it.
        ImagevolError: whatever else `verify` raises.
    """
    with _refused(target):
        found, file = in_time(lambda: _looked(target), target, late=lambda late: _closed(*late))
        try:
            if file is None:
                return False
            facts = in_time(lambda: found.finished(file, target), target)
            if decide_finished(image, facts).outcome is FinishedOutcome.READ:
                facts = replace(facts, is_image=verify(_open_again(file)))
            decision = decide_finished(image, facts)
            _LOG.debug("%s: %s", target, decision.reason)
            if decision.outcome is not FinishedOutcome.COUNT:
                return False
            in_time(partial(os.fchmod, file, _new_mode()), target)
            in_time(lambda: found.delete(target), target)
            return True
        finally:
            with suppress(TimeoutError):
                in_time(lambda: _closed(found, file), target)


def _looked(target: Path) -> tuple[_Found, int | None]:
    """Open what there is of an earlier command, and the file that has the name."""
    found = _Found.look(target)
    try:
        return found, open_file(target, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return found, None
    except BaseException:
        found.close()
        raise


def _closed(found: _Found, file: int | None) -> None:
    if file is not None:
        os.close(file)
    found.close()


@attrs.define(kw_only=True)
class _Found:
    """What is there of an earlier command: its journal and its file, as far as they can be opened."""

    private: bool = True
    image: ReadImage | None = None
    inode: int | None = None
    naming: bool = False
    steps: list[Step] = attrs.field(factory=list)
    journal: int | None = None
    file: int | None = None

    @classmethod
    def look(cls, target: Path) -> _Found:
        """Open both, and read the journal if no other user could have written it."""
        found = cls()
        with undone_on_failure("what was opened", found.close):
            found.journal = found._open(_journal(target), os.O_APPEND, names=1)
            if found.journal is None or not found.private:
                return found
            descriptor, found.journal = found.journal, None  # closed by what follows if it fails
            found.journal = JournalFile.read_opened(_journal(target), descriptor, found._take, lambda: None)
            found.file = found._open(_part(target), 0, names=1)
            if found.file is not None and os.fstat(found.file).st_ino != found.inode:
                os.close(found.file)
                found.file = None
        return found

    @property
    def kept(self) -> KeptPart | None:
        """What the core must know of it."""
        if self.journal is None and self.private:
            return None
        return KeptPart(image=self.image, private=self.private, there=self.file is not None)

    def opened(self, target: Path) -> PartFile:
        """Give both to the caller."""
        journal, file = self.journal, self.file
        self.journal = self.file = None
        return PartFile(target, -1 if journal is None else journal, file=-1 if file is None else file, steps=self.steps)

    def finished(self, file: int, target: Path) -> FinishedFile:
        """What the core must know of the open file that has the wanted name."""
        facts = os.fstat(file)
        return FinishedFile(
            image=self.image,
            named=facts.st_ino == self.inode and (self.file is None or _same(self.file, target)),
            own=facts.st_uid == os.geteuid(),
            other_names=facts.st_nlink - (1 if self.file is None else 2),
            mode_kept=stat.S_IMODE(facts.st_mode) in (_PRIVATE, _new_mode()),
        )

    def free(self, target: Path) -> None:
        """Delete the empty file with which a command that was killed held the wanted name."""
        if not self.naming or not self.private or self.file is None:
            return
        try:
            held = open_file(target, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return
        try:
            if is_private(held) and not os.fstat(held).st_size and not _same(self.file, target):
                _unlink(held, target)
        finally:
            os.close(held)

    def delete(self, target: Path) -> None:
        """Delete both; a file that the journal does not name yet is empty, or not of the command."""
        part = _part(target)
        if self.file is not None:
            _unlink(self.file, part)
        elif self.inode is None and part.is_file() and not part.stat().st_size:
            part.unlink(missing_ok=True)
        _journal(target).unlink(missing_ok=True)

    def close(self) -> None:
        """Close what is open."""
        for descriptor in (self.journal, self.file):
            if descriptor is not None:
                os.close(descriptor)
        self.journal = self.file = None

    def _open(self, path: Path, flags: int, *, names: int) -> int | None:
        try:
            descriptor = open_file(path, os.O_RDWR | os.O_NOFOLLOW | flags)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == ELOOP:
                self.private = False
                return None
            raise
        self.private &= is_private(descriptor, names=names)
        return descriptor

    def _take(self, value: Any) -> None:
        """Take what the next line of the journal says."""
        if self.image is None:
            if (value["journal"], value["kind"]) != (_VERSION, _KIND):
                raise ValueError(f"kind {value['kind']!r} of version {value['journal']!r} is no part of an image")
            if not isinstance(value["size"], int):
                raise ValueError("a size is not a number")
            digest = Digest(*map(text_of, value["digest"]))
            self.image = ReadImage(source=text_of(value["source"]), size_bytes=value["size"], digest=digest)
        elif "inode" in value:
            self.inode = int(value["inode"])
        elif "naming" in value:
            self.naming = True
        elif "cut" in value:
            self.steps = until(self.steps, int(value["cut"]))
        else:
            self.steps.append(Step.from_line(value))


def _begun(target: Path, image: ReadImage) -> PartFile:
    """Begin a journal and then a file, so that a file without a journal is of no command."""
    head = {
        "journal": _VERSION,
        "kind": _KIND,
        "source": image.source,
        "size": image.size_bytes,
        "digest": [image.digest.algorithm, image.digest.value] if image.digest else None,
    }
    descriptor = os.open(_journal(target), _NEW | os.O_APPEND, 0o600)
    journal = JournalFile(_journal(target), descriptor)
    journal.begin(journal_line(head), named=True)
    with undone_on_failure(f"journal {said(journal.path)}", journal.close):
        with undone_on_failure(f"journal {said(journal.path)}", journal.remove):
            file = os.open(_part(target), _NEW, 0o600)
        opened = PartFile(target, descriptor, file=file, steps=[])
        with undone_on_failure(f"file {said(_part(target))}", opened.discard):
            opened._append(journal_line({"inode": os.fstat(file).st_ino}))
    return opened


def _part(target: Path) -> Path:
    return target.with_name(f"{target.name}.imagevol-part")


def _journal(target: Path) -> Path:
    return target.with_name(f"{target.name}.imagevol-journal")


def _same(file: int, path: Path) -> bool:
    try:
        found = path.stat(follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and os.path.samestat(found, os.fstat(file))


def _unlink(file: int, path: Path) -> None:
    """Delete a name of an open file, and not of another one that has it now."""
    if _same(file, path):
        path.unlink(missing_ok=True)


def _open_again(file: int) -> Path:
    return Path(f"/proc/self/fd/{file}")


def _new_mode() -> int:
    """The mode of a new file."""
    return 0o666 & ~_umask()


def _umask() -> int:
    """The umask of this process, without a moment in which it is another one."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return _UMASK
    return next((int(line.split()[1], 8) for line in lines if line.startswith("Umask:")), _UMASK)


@contextmanager
def _refused(target: Path) -> Iterator[None]:
    """Translate what the operating system says of the names."""
    try:
        yield
    except ImagevolError:
        raise  # some are the operating system's errors too
    except FileExistsError as error:
        taken = error.filename or target
        raise RequestRefused(f"{said(taken)} exists already: give the name of a new file") from error
    except OSError as error:
        raise RequestRefused(
            f"{said(target)} cannot be written: {error.strerror}; give a new file in a directory with room for it"
        ) from error
