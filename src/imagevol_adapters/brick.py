"""Volumes on this host, through os-brick.

What os-brick gives back is a path of a block device for most protocols, and a file-like object for Ceph RBD; a `Device`
is either.  Connecting needs root: a program that is root calls `become_privileged` once, others configure privsep.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import attrs
import os_brick
from os_brick import exception as brick_errors
from os_brick.initiator.connector import InitiatorConnector, get_connector_properties
from os_brick.privileged import default as brick_privileges
from oslo_concurrency import lockutils, processutils
from oslo_config import cfg

from imagevol_adapters.cleanup import released
from imagevol_adapters.ports import AccessMode, Attachment, Device
from imagevol_core import AttachFailed, DeviceFailed

__all__ = ["BrickAttacher", "Handle", "HandleDevice", "PathDevice", "become_privileged"]

_FAILURES = (brick_errors.BrickException, processutils.ProcessExecutionError, OSError, ValueError, KeyError)


def become_privileged(lock_path: Path) -> None:
    """Let os-brick do in this process what needs root, and keep its locks in a directory.

    For programs that are root themselves.  Services configure privsep instead, and their own lock directory.

    Args:
        lock_path: made if it is not there; programs that attach on one host must share it.
    """
    lock_path.mkdir(mode=0o700, parents=True, exist_ok=True)
    lockutils.set_defaults(str(lock_path))
    os_brick.setup(cfg.CONF)
    brick_privileges.set_client_mode(False)


@attrs.frozen(kw_only=True)
class BrickAttacher:
    """Connects volumes to this host: an `Attacher`.

    Args:
        root_helper: what os-brick puts before a command that needs root, where privsep does not run it.
        multipath: whether to use several paths to a volume where there are.
        enforce_multipath: whether to refuse to do with one.
        ip: this host's address, for backends that export to addresses.
    """

    root_helper: str = "sudo"
    multipath: bool = False
    enforce_multipath: bool = False
    ip: str = "127.0.0.1"

    def connector(self) -> Mapping[str, Any]:
        """Tell what Cinder must know of this host."""
        try:
            return get_connector_properties(
                self.root_helper, self.ip, self.multipath, self.enforce_multipath, host=socket.gethostname()
            )
        except _FAILURES as error:
            raise AttachFailed(f"this host's initiators cannot be read: {_line(error)}") from error

    @contextmanager
    def open(self, attachment: Attachment, *, mode: AccessMode) -> Iterator[Device]:
        """Connect the volume while the context lasts, and disconnect it whatever happens inside."""
        protocol = str(attachment.connection.get("driver_volume_type"))
        about = f"volume {attachment.volume_id} ({protocol})"
        try:
            connector = InitiatorConnector.factory(
                protocol, self.root_helper, use_multipath=self.multipath, conn=dict(attachment.connection)
            )
            info = connector.connect_volume(dict(attachment.connection))
        except _FAILURES as error:
            raise AttachFailed(f"{about} cannot be connected to this host: {_line(error)}") from error

        def disconnect() -> None:
            # By force: once the attachment is gone, a device left behind can come to hold another tenant's volume.
            try:
                connector.disconnect_volume(dict(attachment.connection), info, force=True)
            except _FAILURES as error:
                raise AttachFailed(f"{about} cannot be disconnected: {_line(error)}") from error

        with (
            released(f"device {info['path']} on {socket.gethostname()}", disconnect),
            _device(info["path"], mode, about) as device,
        ):
            yield device


@contextmanager
def _device(path: Any, mode: AccessMode, about: str) -> Iterator[Device]:
    """The device that os-brick gave: a path, or something to be used like a file."""
    if not isinstance(path, str):
        yield HandleDevice(handle=path)  # os-brick closes it when it disconnects
        return
    flags = os.O_RDWR if mode is AccessMode.WRITE else os.O_RDONLY
    try:
        fd = os.open(path, flags | os.O_CLOEXEC)
    except OSError as error:
        raise AttachFailed(f"{about} is connected and cannot be opened: {error}; run as root") from error
    try:
        yield PathDevice(fd=fd)
    finally:
        os.close(fd)


@attrs.frozen(kw_only=True)
class PathDevice:
    """A block device or a file, by its descriptor: a `Device`."""

    fd: int

    @property
    def size_bytes(self) -> int:
        """How many bytes there are; a block device tells by its end only."""
        return os.lseek(self.fd, 0, os.SEEK_END)

    def read(self, offset: int, length: int) -> bytes:
        """Give up to `length` bytes."""
        try:
            return os.pread(self.fd, length, offset)
        except OSError as error:
            raise DeviceFailed(f"reading at byte {offset} failed: {error}") from error

    def write(self, offset: int, data: memoryview) -> int:
        """Write as much as goes at once."""
        try:
            return os.pwrite(self.fd, data, offset)
        except OSError as error:
            raise DeviceFailed(f"writing at byte {offset} failed: {error}") from error

    def flush(self) -> None:
        """Return when all is on the storage."""
        try:
            os.fsync(self.fd)
        except OSError as error:
            raise DeviceFailed(f"flushing failed: {error}") from error


class Handle(Protocol):
    """What a `HandleDevice` uses of a file-like object."""

    def seek(self, offset: int, whence: int = 0, /) -> object:
        """Go to a place."""

    def tell(self) -> int:
        """Tell the place."""

    def read(self, length: int, /) -> bytes | None:
        """Read from the place on."""

    def write(self, data: bytes, /) -> int | None:
        """Write from the place on."""

    def flush(self) -> None:
        """Write what is held back."""


@attrs.frozen(kw_only=True)
class HandleDevice:
    """A file-like object, as os-brick gives for Ceph RBD: a `Device`.

    librbd raises its own errors, which are not of the operating system's; all are translated here.
    """

    handle: Handle

    @property
    def size_bytes(self) -> int:
        """How many bytes there are."""
        self.handle.seek(0, os.SEEK_END)
        return self.handle.tell()

    def read(self, offset: int, length: int) -> bytes:
        """Give up to `length` bytes."""
        try:
            self.handle.seek(offset)
            return self.handle.read(length) or b""
        except Exception as error:
            raise DeviceFailed(f"reading at byte {offset} failed: {_line(error)}") from error

    def write(self, offset: int, data: memoryview) -> int:
        """Write all of it: librbd takes bytes only, and says nothing of how much it took because it takes all."""
        try:
            self.handle.seek(offset)
            written = self.handle.write(bytes(data))
        except Exception as error:
            raise DeviceFailed(f"writing at byte {offset} failed: {_line(error)}") from error
        return len(data) if written is None else written

    def flush(self) -> None:
        """Return when all is on the storage."""
        try:
            self.handle.flush()
        except Exception as error:
            raise DeviceFailed(f"flushing failed: {_line(error)}") from error


def _line(error: BaseException) -> str:
    """An error on one line, without a command's arguments: those of os-brick's commands may hold secrets."""
    if isinstance(error, processutils.ProcessExecutionError):
        return f"a command failed with exit status {error.exit_code}"
    return " ".join(str(error).split()) or type(error).__name__
