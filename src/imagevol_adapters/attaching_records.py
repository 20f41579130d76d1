"""Which process of this host attaches a volume, while Cinder does not show it.

Cinder shows the process of an attachment once that is complete.  If the process is killed a moment before, no program
could tell whose the attachment is, and the volume would stay in use for ever.  So the process writes itself down on its
host, beside the locks of this host, until the attachment is complete: by the volume before it asks for an attachment,
and by the attachment once that has an id.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from imagevol_adapters.lock_directory import lock_directory
from imagevol_adapters.processes import running, this_process
from imagevol_core import HolderState, ImagevolError, ProcessRecord, decide_process
from imagevol_core.remains import ReservationTry

__all__ = ["LOCK_PATH", "AttachingRecords", "host_lock_path"]

LOCK_PATH = Path("/run/imagevol")
"""Where a program of root keeps the locks of this host, if it chooses no other directory."""

_LOG = logging.getLogger(__name__)
_LONGEST = 255  # of what Cinder keeps as the device of an attachment
_ROOT = 0


def host_lock_path() -> Path | None:
    """Give the directory for the locks of this host; None if this process has none."""
    with suppress(ImportError):
        from oslo_concurrency import lockutils  # noqa: PLC0415 - of an extra
        from oslo_config import cfg  # noqa: PLC0415 - of an extra

        if path := lockutils.get_lock_path(cfg.CONF):
            return Path(path)
    return LOCK_PATH if os.geteuid() == _ROOT else None


@attrs.frozen
class AttachingRecords:
    """The attachments that processes of this host have not completed; what cannot be kept is done without.

    Args:
        directory: gives where they are kept, a file each; None to keep nothing.
    """

    directory: Callable[[], Path | None] = lambda: None

    @contextmanager
    def reserving(self, volume_id: str, connector: Mapping[str, Any]) -> Iterator[None]:
        """Note that the process that a connector names asks for an attachment of a volume, until it has an answer.

        If it is interrupted, the note stays: Cinder may have made the attachment.
        """
        path = self._write(_trying(volume_id, secrets.token_hex(8)), connector)
        try:
            yield
        except ImagevolError:
            _delete(path)
            raise
        _delete(path)
        self._tidy(volume_id)  # it has the volume, so that no earlier request of this host can have it

    def write(self, attachment_id: str, connector: Mapping[str, Any]) -> None:
        """Note that the process that a connector names is about to connect by an attachment."""
        self._write(_name(attachment_id), connector)

    def read(self, attachment_id: str) -> str | None:
        """Give what was written of an attachment, if this user or root wrote it."""
        directory = self.directory()
        found = None if directory is None else _read(directory / _name(attachment_id))
        return found[0] if found else None

    def tries(self, volume_id: str) -> tuple[ReservationTry, ...]:
        """Give the requests of this host for an attachment of a volume of which no answer was written yet."""
        return tuple(each for _, each in self._tries(volume_id))

    def forget(self, attachment_id: str | None, volume_id: str) -> None:
        """Delete what was written of an attachment, and what processes that have ended wrote of its volume."""
        directory = self.directory()
        if directory is not None and attachment_id is not None:
            _delete(directory / _name(attachment_id))
        self._tidy(volume_id)

    def _tidy(self, volume_id: str) -> None:
        for path, each in self._tries(volume_id):
            if each.state is HolderState.DEAD:
                _delete(path)

    def _write(self, name: str, connector: Mapping[str, Any]) -> Path | None:
        text = str(connector.get("mountpoint") or "")
        directory = self.directory()
        if directory is None or ProcessRecord.from_text(text) is None:
            return None
        try:
            path = lock_directory(directory) / name
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
        except (OSError, ImagevolError) as error:
            _LOG.debug("%s: this host does not keep which process attaches: %s", name, error)
            return None
        return path

    def _tries(self, volume_id: str) -> Iterator[tuple[Path, ReservationTry]]:
        directory = self.directory()
        if directory is None:
            return
        for path in sorted(directory.glob(_trying(volume_id, "*"))):
            text, written = _read(path) or ("", 0)
            process = ProcessRecord.from_text(text)
            if process is not None:
                state, _ = decide_process(process, here=this_process(), running=running(process.pid))
                yield path, ReservationTry(device=text, asked_at=datetime.fromtimestamp(written, UTC), state=state)


def _delete(path: Path | None) -> None:
    if path is not None:
        with suppress(OSError):
            path.unlink()


def _name(attachment_id: str) -> str:
    return f"imagevol-attaching-{attachment_id.replace('/', '_')}"


def _trying(volume_id: str, number: str) -> str:
    return f"imagevol-reserving-{volume_id.replace('/', '_')}.{number}"


def _read(path: Path) -> tuple[str, float] | None:
    """Give what a file says and when it was written, if this user or root wrote it."""
    with suppress(OSError, UnicodeDecodeError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, encoding="utf-8") as file:
            found = os.fstat(descriptor)
            if found.st_uid in (_ROOT, os.geteuid()):
                return file.read(_LONGEST), found.st_mtime
    return None
