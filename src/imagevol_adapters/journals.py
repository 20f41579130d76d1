"""Journals: files of one JSON object a line that only ever grow, of which a process that takes over can go on.

A line counts when it is whole: what a crash has torn off at the end was not done yet.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from errno import EEXIST, EISDIR, ELOOP, EOPNOTSUPP
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.error_text import one_line
from imagevol_adapters.file_deadline import in_time
from imagevol_adapters.opening import open_file, who_else_writes
from imagevol_adapters.translation import Table, translated
from imagevol_core import InUse, RequestRefused, ServiceFailed
from imagevol_core.sentences import said

__all__ = ["JournalFile", "check_head", "journal_line", "text_of", "texts_of"]

_NEW = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
_LONGEST_LINE = 16 << 20  # in bytes: of one image and all of its locations
_READING: Table = ((OSError, RequestRefused, "copy it to another disk"),)
_WRITING: Table = ((OSError, ServiceFailed, "give a journal in another directory"),)


class JournalFile:
    """A journal that is open, and that no other process has until it is closed."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """Take what `create_file` or `open_file` has given."""
        self.path = path
        self._descriptor = descriptor

    @staticmethod
    def create_file(path: Path) -> int:
        """Give the descriptor of a new file, which is not locked yet.

        It gets its name when `begin` has written its first lines, so that a process that is killed before leaves none.
        On a file system without such files it has the name at once.

        Raises:
            RequestRefused: there is such a file, or none can be made.
        """
        try:
            return in_time(lambda: _created(path), path, late=os.close)
        except FileExistsError as error:
            raise _taken(path) from error
        except (OSError, ValueError) as error:  # a name with a NUL in it is a ValueError
            reason = getattr(error, "strerror", None) or one_line(error)
            raise RequestRefused(f"journal {said(path)} cannot be written: {reason}") from error

    @staticmethod
    def create_unnamed() -> tuple[Path, int]:
        """Give a path and a descriptor of a new file that is gone with this process."""
        descriptor = os.memfd_create("imagevol-journal", os.MFD_CLOEXEC)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
        return Path(f"/proc/self/fd/{descriptor}"), descriptor

    @staticmethod
    def open_file(path: Path, take: Callable[[Any], None], check: Callable[[], None]) -> int:
        """Give the descriptor of a file that is there, locked, after it was read.

        What a journal says is done, so a link is refused, and a file that another user could have written.

        Args:
            path: of the file.
            take: is given what each whole line says.
            check: is called after the last one; what it raises ends the opening.

        Raises:
            RequestRefused: there is no such file, another user could have written it, or a line is malformed.
            InUse: another process has it open.
        """
        try:
            descriptor, reason = in_time(lambda: _opened(path), path, late=lambda late: os.close(late[0]))
        except OSError as error:
            why = "it is a link: give the name of the file itself" if error.errno == ELOOP else error.strerror
            raise RequestRefused(f"journal {said(path)} cannot be opened: {why}") from error
        if reason:
            os.close(descriptor)
            raise RequestRefused(
                f"journal {said(path)} is not yours alone: {reason}; if you trust it, give a copy of it that you own, "
                "with mode 600"
            )
        return JournalFile.read_opened(path, descriptor, take, check)

    @staticmethod
    def read_opened(path: Path, descriptor: int, take: Callable[[Any], None], check: Callable[[], None]) -> int:
        """Lock and read a file that is open for reading and appending, and give its descriptor.

        Args:
            path: of the file.
            descriptor: of the file; closed if this fails.
            take: is given what each whole line says.
            check: is called after the last one; what it raises ends the opening.

        Raises:
            RequestRefused: a line is malformed.
            InUse: another process has it open.
        """
        try:
            lock_file(descriptor, path)
            with translated(_READING, doing=f"journal {said(path)}"):
                whole_bytes = in_time(lambda: _read(path, descriptor, take), path)
            check()
            with translated(_READING, doing=f"journal {said(path)}"):
                in_time(lambda: os.ftruncate(descriptor, whole_bytes), path)
        except BaseException:
            _close(descriptor, path)
            raise
        return descriptor

    def begin(self, data: bytes, *, kept: bool = True, named: bool = False) -> None:
        """Lock a new file, write its first lines and give it its name; it is deleted if that fails.

        Args:
            data: the first lines.
            kept: whether the file has a name, and so stays after this process.
            named: whether it was created with its name.

        Raises:
            RequestRefused: there is a file of that name by now.
            InUse: another process has it, or deleted it before it was locked.
            ServiceFailed: it cannot be written to its end.
        """
        left = f"the beginning of journal {said(self.path)}"
        with undone_on_failure(left, self.close), undone_on_failure(left, self.remove):
            with translated(_WRITING, doing=f"journal {said(self.path)}"):
                unnamed = not (named or in_time(lambda: os.fstat(self._descriptor).st_nlink, self.path))
            lock_file(self._descriptor, self.path, named=not unnamed)
            self._append(data)
            if not kept:
                return
            if unnamed:
                self._give_name()
            with translated(_WRITING, doing=f"the directory of journal {said(self.path)}"):
                in_time(lambda: _flush_directory(self.path.parent), self.path)

    def _give_name(self) -> None:
        try:
            in_time(lambda: _link(self._descriptor, self.path), self.path)
        except FileExistsError as error:
            raise _taken(self.path) from error
        except OSError as error:
            raise ServiceFailed(f"journal {said(self.path)} cannot be written: {error.strerror}") from error

    def remove(self) -> None:
        """Delete the file, unless another process has it, or its name is another file's now.

        Raises:
            OSError: it cannot be deleted.
        """
        try:
            lock_file(self._descriptor, self.path)
        except InUse:
            return
        except RequestRefused:
            pass  # without locks no other process has it
        in_time(lambda: self.path.unlink(missing_ok=True), self.path)

    def close(self) -> None:
        """Leave it to others."""
        _close(self._descriptor, self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, data: bytes) -> None:
        """Write all of it or nothing: after a torn line no other could be read.  It is on the storage then."""
        with self._failing():
            in_time(lambda: self._written(data), self.path)

    def _written(self, data: bytes) -> None:
        length = os.fstat(self._descriptor).st_size
        with (
            undone_on_failure(
                f"a torn line in journal {said(self.path)}", lambda: os.ftruncate(self._descriptor, length)
            ),
            self._failing(),
        ):
            while data:
                data = data[os.write(self._descriptor, data) :]
            os.fsync(self._descriptor)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ServiceFailed(f"journal {said(self.path)} cannot be written: {error.strerror}") from error


def _unnamed(directory: Path) -> int | None:
    """Open a new file without a name, which is gone with its last user; None if there can be none."""
    try:
        descriptor = os.open(directory, _NEW | os.O_TMPFILE, 0o600)
    except OSError as error:
        if error.errno in (EOPNOTSUPP, EISDIR):  # of the file system, or of an old kernel
            return None
        raise
    if os.path.exists(f"/proc/self/fd/{descriptor}"):  # noqa: PTH110 - by it the file gets its name
        return descriptor
    os.close(descriptor)
    return None


def _created(path: Path) -> int:
    with suppress(FileNotFoundError):
        os.lstat(path)
        raise FileExistsError(EEXIST, os.strerror(EEXIST))
    descriptor = _unnamed(path.parent)
    return os.open(path, _NEW | os.O_CREAT | os.O_EXCL, 0o600) if descriptor is None else descriptor


def _opened(path: Path) -> tuple[int, str]:
    """Open a file, and say which other user can have written it."""
    descriptor = open_file(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW)
    return descriptor, who_else_writes(descriptor)


def _link(descriptor: int, path: Path) -> None:
    # With a directory, Python lets the kernel follow the link.
    anywhere = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=anywhere)
    finally:
        os.close(anywhere)


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)  # or the name may be lost with a file that is not
    finally:
        os.close(descriptor)


def _close(descriptor: int, path: Path) -> None:
    """Close a file; if its storage hangs, it is closed later."""
    with suppress(TimeoutError):
        in_time(lambda: os.close(descriptor), path)


def _taken(path: Path) -> RequestRefused:
    return RequestRefused(f"journal {said(path)} exists: give another name, or go on with it by --resume")


def lock_file(descriptor: int, path: Path, *, named: bool = True) -> None:
    """Keep a journal from other processes.

    Args:
        descriptor: of the open file.
        path: of the file.
        named: whether it has its name already.

    Raises:
        InUse: another process has it, or deleted it before it was locked.
        RequestRefused: the file system has no locks.
    """
    try:
        in_time(lambda: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB), path)
    except BlockingIOError as error:
        raise InUse(f"journal {said(path)} is in use by another process: let it end") from error
    except OSError as error:
        raise RequestRefused(
            f"journal {said(path)} cannot be locked: {error.strerror}; use another file system"
        ) from error
    try:
        named_still = not named or in_time(lambda: is_named(descriptor, path), path)
    except TimeoutError as error:
        raise RequestRefused(f"journal {said(path)} cannot be opened: {error.strerror}") from error
    if not named_still:
        raise InUse(f"journal {said(path)} was deleted or replaced by another process: run the command again")


def is_named(descriptor: int, path: Path) -> bool:
    """Tell whether a path still is one of an open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False


def check_head(
    path: Path,
    head: Mapping[str, Any] | None,
    *,
    planned: bool,
    cloud: str,
    so: str,
) -> None:
    """Hold that a journal has its whole plan, and is of this cloud.

    Args:
        path: of the file.
        head: its first line; nothing where there is none.
        planned: whether the plan was written to its end.
        cloud: the one that it must be of.
        so: what follows from a plan without an end, and what to do.

    Raises:
        RequestRefused: its plan has no end, or it is another cloud's.
    """
    if not head or not planned:
        raise RequestRefused(f"journal {said(path)} ends before its plan does, so that {so}")
    if head["cloud"] != cloud:
        raise RequestRefused(
            f"journal {said(path)} is of another cloud: it names {said(head['cloud'])}, and the credentials lead to "
            f"{said(cloud)}: give the credentials of that cloud"
        )


def journal_line(value: Mapping[str, Any]) -> bytes:
    """Give a line of a journal."""
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def text_of(value: object) -> str:
    """Give a text that a line must have.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(value, str):
        raise ValueError(f"a text is missing: there is a {type(value).__name__}")
    return value


def texts_of(value: Mapping[str, Any]) -> dict[str, str]:
    """Give texts by name that a line must have.

    Raises:
        ValueError: one of them is something else.
    """
    return {text_of(key): text_of(each) for key, each in value.items()}


def _read(path: Path, descriptor: int, take: Callable[[Any], None]) -> int:
    """Give out what each line says, and tell where the last whole one ends."""
    whole_bytes = 0
    with os.fdopen(os.dup(descriptor), "rb") as file, translated(_READING, doing=f"journal {said(path)}"):
        for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE + 1), b""), 1):
            try:
                if len(line) > _LONGEST_LINE:
                    raise ValueError(f"it is longer than {_LONGEST_LINE} bytes")
                if not line.endswith(b"\n"):  # a crash has torn it off
                    break
                take(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
                why = one_line(error)
                raise RequestRefused(
                    f"journal {said(path)}, line {number}: it is no line of a journal ({why})"
                ) from error
            whole_bytes += len(line)
    return whole_bytes
