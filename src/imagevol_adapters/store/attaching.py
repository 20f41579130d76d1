"""Volumes on a Glance host: os-brick, and what a service that is not root needs beside it.

NFS shares are mounted as glance_store's own driver mounts them, which counts who uses a mount.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shlex
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from glance_store.common import fs_mount
from oslo_concurrency import processutils
from oslo_privsep import priv_context

from imagevol_adapters.addresses import address_of
from imagevol_adapters.brick import ERRORS, BrickAttacher
from imagevol_adapters.cinder.volumes import CinderVolumes
from imagevol_adapters.cleanup import released
from imagevol_adapters.ports import AccessMode, Attachment
from imagevol_adapters.store.sessions import Options
from imagevol_adapters.translation import Table, translated
from imagevol_core import AttachFailed, RequestRefused

__all__ = ["StoreAttacher", "attacher"]

LOG = logging.getLogger(__name__)

_NO_ADDRESS: Table = ((Exception, AttachFailed, "add it to /etc/hosts"),)
_NOT_ROOT: Table = ((Exception, AttachFailed, "look at rootwrap_config"),)
_MOUNTING: Table = (ERRORS[0], (Exception, AttachFailed, "look at the log of the system"))


def attacher(options: Options, volumes: CinderVolumes) -> StoreAttacher:
    """Give the attacher that a store's options describe."""
    return StoreAttacher(
        root_helper=f"sudo glance-rootwrap {options.rootwrap_config}",
        multipath=options.cinder_use_multipath,
        enforce_multipath=options.cinder_enforce_multipath,
        mountpoint="glance_store",
        stall_seconds=options.image_clone_stall_seconds,
        volumes=volumes,
        mounts=Path(options.cinder_mount_point_base, "nfs"),
    )


@attrs.frozen(kw_only=True)
class StoreAttacher(BrickAttacher):
    """Connects volumes to a Glance host: an `Attacher`.

    Args:
        volumes: where more is known of a volume than its attachment tells.
        mounts: where NFS shares are mounted.
    """

    volumes: CinderVolumes
    mounts: Path

    def connector(self) -> Mapping[str, Any]:
        """Tell what Cinder must know of this host, and os-brick how to become root."""
        self.set_up()
        with translated(_NO_ADDRESS, doing=f"this host's name, {self.host}, has no address"):
            ip = address_of(self.host)
        return super(StoreAttacher, attrs.evolve(self, ip=ip)).connector()

    def connected(
        self, attachment: Attachment, *, mode: AccessMode, keep: Callable[[], bool] | None = None
    ) -> AbstractContextManager[Any]:
        """Connect the volume in the way of its protocol."""
        protocol = str(attachment.connection.get("driver_volume_type")).lower()
        if protocol == "nfs":
            return self._mounted(attachment)
        return super().connected(attachment, mode=mode, keep=keep)

    @contextmanager
    def opening(self, path: str) -> Iterator[None]:
        """Let a device belong to this process's user for as long as it is open."""
        with translated(ERRORS, doing=f"device {path} is not there"):
            before, own = os.stat(path).st_uid, os.getuid()  # noqa: PTH116 - of a device, whatever the path is
        if before == own:
            yield
            return
        self._chown(own, path)
        with released(f"owner {own} of {path}", lambda: self._chown(before, path)):
            yield

    def _chown(self, owner: int, path: str) -> None:
        with translated(_NOT_ROOT, doing=f"{path} cannot be given to user {owner}"):
            processutils.execute("chown", str(owner), path, run_as_root=True, root_helper=self._helper)

    @contextmanager
    def _mounted(self, attachment: Attachment) -> Iterator[str]:
        """Mount an NFS share; the volume is a file in it."""
        volume = self.volumes.get(attachment.volume_id)
        # Cinder tells the format of the file only when it is asked again.
        connection = {**attachment.connection, **self.volumes.attachment(attachment.id).connection}
        for wrong, what in ((volume.encrypted, "encrypted"), (connection.get("format") == "qcow2", "a qcow2 file")):
            if wrong:
                raise RequestRefused(f"volume {volume.id} on NFS is {what}: an image cannot be kept in it")
        export, name, mountpoint = self._share(attachment)
        options, about = connection.get("options"), f"volume {volume.id} (nfs)"
        mount = partial(fs_mount.mount, "nfs", export, name, mountpoint, self.host, self._helper, options)
        with translated(_MOUNTING, doing=f"{export} cannot be mounted on this host"):
            self._bounded(mount, doing=f"mounting {export}", about=about, attachment=attachment)

        def unmount() -> None:
            self._refuse_left(attachment)
            work = partial(self._unmount, attachment)
            self._bounded(work, doing=f"unmounting {export}", about=about, attachment=attachment)

        with released(f"mount {mountpoint} on {self.host}", unmount):
            yield f"{mountpoint}/{name}"

    def _unmount(self, attachment: Attachment) -> None:
        """Unmount an NFS share, if no other attachment uses it."""
        export, name, mountpoint = self._share(attachment)
        with translated(_MOUNTING, doing=f"{export} cannot be unmounted"):
            fs_mount.umount(name, mountpoint, self.host, self._helper)

    def _share(self, attachment: Attachment) -> tuple[str, str, str]:
        """An NFS share, the file in it, and where it is mounted."""
        about = f"what Cinder tells of volume {attachment.volume_id} is not a connection by NFS"
        with translated(ERRORS, doing=about):
            export, name = str(attachment.connection["export"]), str(attachment.connection["name"])
        return export, name, str(self.mounts / hashlib.sha256(export.encode()).hexdigest())

    def disconnect(self, attachment: Attachment) -> None:
        """Disconnect what a process that is dead has left connected, in the way of its protocol."""
        self.set_up()
        if str(attachment.connection.get("driver_volume_type")).lower() == "nfs":
            about = f"volume {attachment.volume_id} (nfs)"
            self._taken_back(partial(self._unmount, attachment), about=about, attachment=attachment)
        else:
            super().disconnect(attachment)

    def set_up(self) -> None:
        """Tell os-brick how to become root."""
        with translated(ERRORS, doing="os-brick cannot be set up"):
            priv_context.init(root_helper=shlex.split(self._helper))

    @property
    def host(self) -> str:
        """This host's name, as Cinder and the mounts know it."""
        return socket.gethostname()
