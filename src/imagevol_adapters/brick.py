"""Volumes on this host, through os-brick.

What os-brick gives back is a path of a block device for most protocols, and a file-like object for Ceph RBD; a `Device`
is either.  Connecting needs root: a program that is root calls `become_privileged` once, others configure privsep.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import attrs
import os_brick
from os_brick import exception as brick_errors
from os_brick.initiator.connector import InitiatorConnector, get_connector_properties
from os_brick.privileged import default as brick_privileges
from oslo_concurrency import lockutils, processutils
from oslo_config import cfg
from oslo_privsep.daemon import FailedToDropPrivileges

from imagevol_adapters.addresses import own_address
from imagevol_adapters.cleanup import released
from imagevol_adapters.devices import PathDevice, RbdDevice
from imagevol_adapters.ports import AccessMode, Attachment, Device
from imagevol_core import AttachFailed

__all__ = ["BrickAttacher", "become_privileged", "open_device"]

_FAILURES = (
    brick_errors.BrickException,
    processutils.ProcessExecutionError,
    FailedToDropPrivileges,  # of privsep, when its helper does not start
    OSError,
    ValueError,
    KeyError,
)


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
        ip: this host's address, for backends that export to addresses; looked up when None.
        mountpoint: what Cinder tells of where the volume is, to whoever looks at its attachments.
    """

    root_helper: str = "sudo"
    multipath: bool = False
    enforce_multipath: bool = False
    ip: str | None = None
    mountpoint: str | None = None

    def connector(self) -> Mapping[str, Any]:
        """Tell what Cinder must know of this host."""
        host = socket.gethostname()
        ip = self.ip or own_address(host)
        try:
            properties = get_connector_properties(
                self.root_helper, ip, self.multipath, self.enforce_multipath, host=host
            )
        except _FAILURES as error:
            raise AttachFailed(f"this host's initiators cannot be read: {_line(error)}") from error
        return properties if self.mountpoint is None else {**properties, "mountpoint": self.mountpoint}

    @contextmanager
    def open(
        self, attachment: Attachment, *, mode: AccessMode, keep: Callable[[], bool] | None = None
    ) -> Iterator[Device]:
        """Connect the volume while the context lasts, and disconnect it whatever happens inside."""
        about = f"volume {attachment.volume_id} ({_protocol(attachment)})"
        with self.connected(attachment, keep=keep) as path, self._opened(path, mode, about, attachment) as device:
            yield device

    def leaving(self, volume_id: str) -> AbstractContextManager[object]:
        """Let no other attachment of the volume leave this host; glance_store's own driver holds the same lock."""
        return lockutils.lock(volume_id, lock_file_prefix="glance_store-", external=True)

    def opening(self, path: str) -> AbstractContextManager[object]:  # noqa: ARG002 - for who is not root
        """Do what it takes to open a path, while the context lasts."""
        return nullcontext()

    def connected(
        self, attachment: Attachment, *, keep: Callable[[], bool] | None = None
    ) -> AbstractContextManager[Any]:
        """Connect the volume by os-brick while the context lasts, and give what os-brick gives.

        Raises:
            AttachFailed: it cannot be connected, or not be let go; then the error names what is left.
        """
        return self._connected(attachment, keep)

    @contextmanager
    def _connected(self, attachment: Attachment, keep: Callable[[], bool] | None) -> Iterator[Any]:
        about = f"volume {attachment.volume_id} ({_protocol(attachment)})"
        connection = dict(attachment.connection)
        try:
            connector = InitiatorConnector.factory(
                _protocol(attachment), self.root_helper, use_multipath=self.multipath, conn=connection
            )
            info = connector.connect_volume(connection)
        except _FAILURES as error:
            raise AttachFailed(f"{about} cannot be connected to this host: {_line(error)}") from error

        def disconnect() -> None:
            if keep is not None and keep():
                return
            # By force: once the attachment is gone, a device left behind can come to hold another tenant's volume.
            try:
                connector.disconnect_volume(connection, info, force=True)
            except _FAILURES as error:
                raise AttachFailed(f"{about} cannot be disconnected: {_line(error)}") from error

        with released(f"device {info['path']} on {socket.gethostname()}", disconnect):
            yield info["path"]

    @contextmanager
    def _opened(self, path: Any, mode: AccessMode, about: str, attachment: Attachment) -> Iterator[Device]:
        """Open what os-brick gave, with whatever that takes."""
        opening = self.opening(path) if isinstance(path, str) else nullcontext()
        with opening, ExitStack() as stack:
            writable = mode is AccessMode.WRITE
            try:
                device = stack.enter_context(open_device(path, writable=writable, name=attachment.volume_id))
            except OSError as error:
                raise AttachFailed(f"{about} is connected and cannot be opened: {error}; run as root") from error
            yield device


@contextmanager
def open_device(path: Any, *, writable: bool, name: str) -> Iterator[Device]:
    """Open what os-brick connected: a path, or, of Ceph RBD, something that is used like a file.

    Args:
        path: what os-brick gave.
        writable: whether it is to be written.
        name: of what has no path.

    Raises:
        OSError: it cannot be opened.
    """
    if not isinstance(path, str):  # os-brick closes it when it disconnects
        yield RbdDevice(image=path.rbd_image, path=f"/{name}")
        return
    with PathDevice.open(Path(path), writable=writable) as device:
        yield device


def _protocol(attachment: Attachment) -> str:
    return str(attachment.connection.get("driver_volume_type"))


def _line(error: BaseException) -> str:
    """An error on one line, without a command's arguments: those of os-brick's commands may hold secrets."""
    if isinstance(error, processutils.ProcessExecutionError):
        return f"a command failed with exit status {error.exit_code}"
    if isinstance(error, FailedToDropPrivileges):
        return "privsep does not start: look at rootwrap, and at helper_command in [privsep_osbrick]"
    return " ".join(str(error).split()) or type(error).__name__
