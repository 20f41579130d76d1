"""Which process of this host attaches a volume, while Cinder does not show it.

Cinder shows the process of an attachment once that is complete.  If the process is killed a moment before, no program
could tell whose the attachment is, and the volume would stay in use for ever.  So the process writes itself down on its
host, beside the locks of this host, until the attachment is complete.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from imagevol_adapters.lock_directory import lock_directory
from imagevol_core import ImagevolError, ProcessRecord

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

    def write(self, attachment_id: str, connector: Mapping[str, Any]) -> None:
        """Note that the process that a connector names is about to connect by an attachment."""
        text = str(connector.get("mountpoint") or "")
        directory = self.directory()
        if directory is None or ProcessRecord.from_text(text) is None:
            return
        try:
            path = _file(lock_directory(directory), attachment_id)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
        except (OSError, ImagevolError) as error:
            _LOG.debug("Attachment %s: this host does not keep which process makes it: %s", attachment_id, error)

    def read(self, attachment_id: str) -> str | None:
        """Give what was written of an attachment, if this user or root wrote it."""
        directory = self.directory()
        if directory is None:
            return None
        with suppress(OSError, UnicodeDecodeError):
            descriptor = os.open(_file(directory, attachment_id), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, encoding="utf-8") as file:
                if os.fstat(descriptor).st_uid in (_ROOT, os.geteuid()):
                    return file.read(_LONGEST)
        return None

    def forget(self, attachment_id: str) -> None:
        """Delete what was written of an attachment, if anything was."""
        directory = self.directory()
        if directory is not None:
            with suppress(OSError):
                _file(directory, attachment_id).unlink()


def _file(directory: Path, attachment_id: str) -> Path:
    return directory / f"imagevol-attaching-{attachment_id.replace('/', '_')}"
