"""Volumes on this host, through os-brick.

What os-brick gives back is a path of a block device for most protocols, and a file-like object for Ceph RBD; a `Device`
is either.  Connecting needs root: a program of root just does it, others name a `root_helper` or configure privsep.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import attrs
import os_brick
import os_brick.privileged
from os_brick.initiator.connector import InitiatorConnector, get_connector_properties
from oslo_concurrency import lockutils
from oslo_config import cfg
from oslo_privsep.comm import PrivsepTimeout
from oslo_privsep.daemon import FailedToDropPrivileges, ProtocolError

from imagevol_adapters.addresses import own_address
from imagevol_adapters.attaching_records import LOCK_PATH, host_lock_path
from imagevol_adapters.brick_connecting import connect, size_of
from imagevol_adapters.brick_disconnecting import disconnect_by_force
from imagevol_adapters.brick_opening import open_device
from imagevol_adapters.cleanup import released, undone_on_failure
from imagevol_adapters.devices.ceph import (
    LOOK_AT,
    RbdDevice,
    connection_with_deadline,
    is_timeout,
    look_at_for,
)
from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.engine.watching import bounded
from imagevol_adapters.error_text import one_line, secrets_of
from imagevol_adapters.lock_directory import lock_directory
from imagevol_adapters.ports import AccessMode, Attachment, Device
from imagevol_adapters.translation import Table, translated
from imagevol_adapters.waiting import wait_until
from imagevol_core import STALL_SECONDS, AttachFailed, DeadlineExceeded, DeviceFailed, DeviceStalled, ImagevolError
from imagevol_core.sentences import amount, duration

__all__ = ["ERRORS", "LOCK_PATH", "BrickAttacher", "become_privileged"]

T = TypeVar("T")

_CONTEXTS = (
    os_brick.privileged.default,
    *filter(None, [getattr(os_brick.privileged, "brick_privsep_hide_output", None)]),
)
_privileged = False  # whether os-brick does in this process what needs root
_LOG = logging.getLogger(__name__)
_PRIVSEP = "privsep does not run: look at rootwrap, and at helper_command in [privsep_osbrick]"

ERRORS: Table = (
    # Of lock_path, which os-brick asks for when it connects by iSCSI.
    (
        cfg.RequiredOptError,
        AttachFailed,
        "set lock_path in [oslo_concurrency] to a directory that all programs on this host share",
    ),
    (FailedToDropPrivileges, AttachFailed, _PRIVSEP),
    (ProtocolError, AttachFailed, _PRIVSEP),
    (PrivsepTimeout, AttachFailed, _PRIVSEP),
    # Connectors raise what they like, and privsep what was raised in its daemon.
    (Exception, AttachFailed, ""),
)
"""What the errors of os-brick, and of what it uses, are here."""

_LOCKING: Table = ((OSError, AttachFailed, "choose a directory that only root can write to"), *ERRORS)
_OPENING: Table = ((OSError, AttachFailed, "run as root"), (Exception, AttachFailed, ""))


def become_privileged(lock_path: Path = LOCK_PATH) -> None:
    """Let os-brick do in this process what needs root, and keep its locks in a directory.

    For programs that run as root.  Services configure privsep instead, and their own lock directory.  A `BrickAttacher`
    without a `root_helper` calls it in a process of root: call it first to choose another directory.

    Args:
        lock_path: created if it is not there; programs that attach on one host must share it.  Only root may write to
            it, and other users may not be able to exchange it.

    Raises:
        AttachFailed: it cannot be created, or another user can write there.
    """
    global _privileged  # noqa: PLW0603 - what os-brick does is this for the whole process
    with translated(_LOCKING, doing=f"os-brick cannot keep its locks in {lock_path}"):
        directory = lock_directory(lock_path)
        lockutils.set_defaults(str(directory))
        os_brick.setup(cfg.CONF)
        for context in _CONTEXTS:
            context.set_client_mode(False)
    _privileged = True


@attrs.frozen(kw_only=True)
class BrickAttacher:
    """Connects volumes to this host: an `Attacher`.

    Args:
        root_helper: the command that os-brick puts before a command that needs root, such as `sudo`.  By default a
            process of root needs none, and any other uses `sudo`, or `helper_command` of `[privsep_osbrick]`.
        multipath: whether to use all paths to a volume that has several.
        enforce_multipath: whether to fail if multipathd does not run.
        ip: this host's address, for backends that export to addresses; None to look it up.
        mountpoint: the text that Cinder shows as the device of the attachment.
        size_seconds: how many seconds a device can take to show its size after an extension or a connection.
        stall_seconds: how many seconds it can take to connect, open, close or disconnect a volume.
    """

    root_helper: str | None = None
    multipath: bool = False
    enforce_multipath: bool = False
    ip: str | None = None
    mountpoint: str | None = None
    size_seconds: float = 20  # as long as glance_store's driver waits
    stall_seconds: float = STALL_SECONDS
    _left: set[str] = attrs.field(factory=set, init=False, repr=False)

    def connector(self) -> Mapping[str, Any]:
        """Tell what Cinder must know of this host."""
        self.set_up()
        host = socket.gethostname()
        ip = self.ip or own_address(host)
        with translated(ERRORS, doing="this host's initiators cannot be read"):
            properties = get_connector_properties(self._helper, ip, self.multipath, self.enforce_multipath, host=host)
        return properties if self.mountpoint is None else {**properties, "mountpoint": self.mountpoint}

    @contextmanager
    def open(
        self, attachment: Attachment, *, mode: AccessMode, keep: Callable[[], bool] | None = None
    ) -> Iterator[Device]:
        """Connect the volume while the context lasts, and disconnect it whatever happens inside.

        If a call of its device has not returned, it stays connected.
        """
        about = f"volume {attachment.volume_id} ({_protocol(attachment)})"
        connected = self.connected(attachment, mode=mode, keep=keep)
        with connected as path, self._opened(path, mode, about, attachment) as device:
            yield device

    def disconnect(self, attachment: Attachment) -> None:
        """Disconnect, by force, what a process that is dead has left connected; an error counts if it still is."""
        about = f"volume {attachment.volume_id} ({_protocol(attachment)})"
        connection = dict(attachment.connection)
        secrets = tuple(secrets_of(connection))
        left: list[str] = []

        def disconnect() -> None:
            connector = self._connector_for(connection)
            try:
                disconnect_by_force(connector, connection, still_connected=partial(left.append, attachment.id))
            except Exception as error:
                if left or isinstance(error, ImagevolError):
                    raise
                _LOG.warning("%s is disconnected, with an error: %s", about, one_line(error, secrets=secrets))

        with translated(ERRORS, doing=f"{about} cannot be disconnected", secrets=secrets):
            self._taken_back(disconnect, about=about, attachment=attachment)

    def _taken_back(self, disconnect: Callable[[], object], *, about: str, attachment: Attachment) -> None:
        """Disconnect what another process has left, in time; if that ends later, it can be tried again from then on."""

        def disconnected() -> None:
            try:
                disconnect()
            finally:
                self._left.discard(attachment.id)

        self._refuse_left(attachment)
        self._bounded(disconnected, doing="disconnecting", about=about, attachment=attachment)

    def is_left(self, attachment: Attachment) -> bool:
        """Tell whether the volume may still be connected: a call did not return in time, or disconnecting failed."""
        return attachment.id in self._left

    @contextmanager
    def leaving(self, volume_id: str) -> Iterator[None]:
        """Let no other attachment of the volume leave this host; glance_store's own driver holds the same lock."""
        self.set_up()
        with ExitStack() as held:
            over: list[bool] = []

            def take() -> None:
                held.enter_context(lockutils.lock(volume_id, lock_file_prefix="glance_store-", external=True))
                if over:  # it is not waited for any more
                    held.close()

            what = f"the lock of volume {volume_id} on this host"
            try:
                with translated(ERRORS, doing=f"{what} cannot be taken"):
                    bounded(take, what=what, doing="another attachment", seconds=self.stall_seconds, green=True)
            except BaseException:
                over.append(True)
                raise
            yield

    def set_up(self) -> None:
        """Let os-brick do what needs root: in this process if it is root's, else by the helper.

        Raises:
            AttachFailed: the locks cannot be kept, or there is no way to become root.
        """
        if self.root_helper is not None:
            return
        if os.geteuid() == 0:
            if not _privileged:
                become_privileged(host_lock_path() or LOCK_PATH)
        elif shutil.which("sudo") is None and not _has_helper_command():
            raise AttachFailed(
                "connecting a volume needs root, and this user has no sudo: run as root, pass a root_helper, or set "
                "helper_command in [privsep_osbrick]"
            )

    @property
    def _helper(self) -> str:
        return "sudo" if self.root_helper is None else self.root_helper

    def opening(self, path: str) -> AbstractContextManager[object]:  # noqa: ARG002 - for who is not root
        """Do what it takes to open a path, while the context lasts."""
        return nullcontext()

    def connected(
        self, attachment: Attachment, *, mode: AccessMode, keep: Callable[[], bool] | None = None
    ) -> AbstractContextManager[Any]:
        """Connect the volume by os-brick while the context lasts, and give what os-brick gives.

        Raises:
            AttachFailed: it cannot be connected, or not be let go; then the error names what is left.
        """
        return self._connected(attachment, mode, keep)

    @contextmanager
    def _connected(self, attachment: Attachment, mode: AccessMode, keep: Callable[[], bool] | None) -> Iterator[Any]:
        about = f"volume {attachment.volume_id} ({_protocol(attachment)})"
        connection = connection_with_deadline(attachment.connection, self.stall_seconds)
        secrets = tuple(secrets_of(attachment.connection))
        which: dict[str, Any] = {"about": about, "attachment": attachment}
        found: list[Mapping[str, Any]] = []
        gone: list[bool] = []  # whether the device is, once disconnecting was tried

        def is_left() -> bool:
            return not any(gone)

        def disconnect() -> None:
            self._refuse_left(attachment)
            if not found or (keep is not None and keep()):
                return
            left = partial(self._left.add, attachment.id)
            try:
                with translated(ERRORS, doing=f"{about} cannot be disconnected", secrets=secrets):
                    self._bounded(
                        lambda: disconnect_by_force(connector, connection, found[0], still_connected=left),
                        doing="disconnecting",
                        **which,
                    )
            finally:
                gone.append(not self.is_left(attachment))

        with translated(ERRORS, doing=f"{about} cannot be connected to this host", secrets=secrets):
            connector = self._connector_for(connection)
            with undone_on_failure(f"its device on {socket.gethostname()}", disconnect, is_left=is_left):
                connecting = partial(self._connect, connector, connection, about, writable=mode is AccessMode.WRITE)
                self._bounded(lambda: found.append(connecting()), doing="connecting", **which)
            path = found[0].get("path")

        with released(f"device {path} on {socket.gethostname()}", disconnect, is_left=is_left):
            if path is None:
                raise AttachFailed(f"{about} is connected to this host, and os-brick does not say as which device")
            yield path

    def _bounded(self, work: Callable[[], T], *, doing: str, about: str, attachment: Attachment) -> T:
        """Do what may hang; if it has not ended in time, the volume counts as connected.

        Raises:
            DeviceStalled: it has not.
        """
        progress, look_at = list[str](), look_at_for(attachment.connection)

        def noted() -> T:
            progress.append("began")
            try:
                return work()
            finally:
                progress.append("ended")

        try:
            return bounded(noted, what=about, doing=doing, seconds=self.stall_seconds, green=True, look_at=look_at)
        except DeviceStalled:
            if progress != ["began", "ended"]:
                self._left.add(attachment.id)
            raise
        except BaseException:
            if progress == ["began"]:  # it was interrupted, and goes on
                self._left.add(attachment.id)
            raise

    def _connect(
        self, connector: InitiatorConnector, connection: dict[str, Any], about: str, *, writable: bool
    ) -> Mapping[str, Any]:
        """Let os-brick connect.

        Raises:
            DeviceStalled: Ceph has not answered in time, and nothing is connected.
        """
        try:
            return connect(connector, connection, writable=writable)
        except Exception as error:
            if is_timeout(error):
                raise DeviceStalled(about, doing="connecting", seconds=self.stall_seconds, look_at=LOOK_AT) from error
            raise

    def _refuse_left(self, attachment: Attachment) -> None:
        """Do not disconnect what a call still uses."""
        if self.is_left(attachment):
            raise AttachFailed(f"a call of volume {attachment.volume_id} has not returned, and it stays connected")

    def _connector_for(self, connection: Mapping[str, Any]) -> InitiatorConnector:
        protocol = str(connection.get("driver_volume_type"))
        self.set_up()
        return InitiatorConnector.factory(protocol, self._helper, use_multipath=self.multipath, conn=connection)

    @contextmanager
    def _opened(self, path: Any, mode: AccessMode, about: str, attachment: Attachment) -> Iterator[Device]:
        """Open what os-brick gave, with whatever that takes."""
        opening = self.opening(path) if isinstance(path, str) else nullcontext()
        with opening, ExitStack() as stack:
            writable = mode is AccessMode.WRITE
            self._wait_for_size(path, about, attachment)
            with translated(_OPENING, doing=f"{about} is connected and cannot be opened"):
                opened = open_device(path, writable=writable, name=attachment.volume_id, seconds=self.stall_seconds)
                device = stack.enter_context(self._noting(opened, attachment))
            yield device

    @contextmanager
    def _noting(
        self, opened: AbstractContextManager[PathDevice | RbdDevice], attachment: Attachment
    ) -> Iterator[Device]:
        """Note whether a device stays open."""
        device = None
        try:
            with opened as device:
                yield device
        except DeviceStalled:
            if device is None:  # a thread hangs while it opens it
                self._left.add(attachment.id)
            raise
        finally:
            if device is not None and device.left_open:
                self._left.add(attachment.id)

    def _wait_for_size(self, path: Any, about: str, attachment: Attachment) -> None:
        """Return when the device is as large as the attachment says.

        A target may tell an old size for some seconds, and this host keeps what it was told until it asks again.
        """
        wanted, seen, unasked = attachment.size_bytes or 0, 0, ""

        def look() -> int:
            nonlocal seen, unasked
            with translated(_OPENING, doing=f"{about} is connected, and the size of its device cannot be read"):
                seen = size_of(path)
                if seen < wanted and isinstance(path, str):
                    unasked = self._rescan(attachment)
                    seen = size_of(path)
            return seen

        if not wanted:
            return
        try:
            looked = partial(self._bounded, look, doing="asking for the size", about=about, attachment=attachment)
            wait_until(looked, lambda size: size >= wanted, what="its device did not grow", seconds=self.size_seconds)
        except DeadlineExceeded as error:
            where = f"its device {path} on {socket.gethostname()}" if isinstance(path, str) else "its image of Ceph"
            raise DeviceFailed(
                f"{about} is connected, but {where} has {amount(seen, 'byte')} after {duration(error.seconds)}, and "
                f"{wanted} are needed; {unasked}look on the backend how large it is there, and at the kernel's log"
            ) from error

    def _rescan(self, attachment: Attachment) -> str:
        """Have this host ask again how large a device is, and say why it cannot; some find out by themselves or not."""
        connection = dict(attachment.connection)
        try:
            self._connector_for(connection).extend_volume(connection)
        except NotImplementedError:
            return ""
        except Exception as error:  # noqa: BLE001 - connectors raise what they like
            line = one_line(error, secrets=secrets_of(connection))
            _LOG.debug("The size of volume %s is not asked for again: %s", attachment.volume_id, line)
            return f"os-brick cannot ask for the size again: {line}; "
        return ""


def _has_helper_command() -> bool:
    """Tell whether the configuration says how privsep starts."""
    with translated(ERRORS, doing="[privsep_osbrick] cannot be read"):
        return bool(os_brick.privileged.default.conf.helper_command)


def _protocol(attachment: Attachment) -> str:
    return str(attachment.connection.get("driver_volume_type"))
