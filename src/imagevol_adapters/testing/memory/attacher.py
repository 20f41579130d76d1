"""A host in memory, to which volumes in memory are connected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import attrs

from imagevol_adapters.devices.calls import Calls
from imagevol_adapters.ports import AccessMode, Attachment, Device
from imagevol_adapters.testing.memory.volumes import MemoryVolumes
from imagevol_core import AttachFailed, DeviceFailed
from imagevol_core.sentences import amount

__all__ = ["MemoryAttacher"]


@attrs.define
class _Opened:
    """The device of one attachment: closed with it, and read-only if that is."""

    _device: Device
    _what: str
    _writable: bool
    _closed: bool = attrs.field(default=False, init=False)
    calls: Calls = attrs.field(factory=Calls, init=False)
    left: bool = attrs.field(default=False, init=False)

    @property
    def size_bytes(self) -> int:
        """How many bytes there are."""
        return self._device.size_bytes

    @property
    def what(self) -> str:
        """How an error names it."""
        return self._what

    @property
    def look_at(self) -> str:
        """What the operator looks at if it does not answer."""
        return self._device.look_at

    @property
    def path(self) -> str:
        """What it is on this host."""
        return self._device.path

    @property
    def block_device(self) -> bool | None:
        """Whether it is one; None where no other program could open it."""
        return self._device.block_device

    @property
    def direct_io(self) -> bool:
        """Whether it goes past the page cache."""
        return self._device.direct_io

    @property
    def can_clear(self) -> bool:
        """Whether it may be worth calling `clear`."""
        return self._device.can_clear and self._writable

    @property
    def clear_bytes(self) -> int:
        """The most that one call of `clear` can take."""
        return self._device.clear_bytes

    @property
    def guarantee(self) -> str | None:
        """Who promises that it was zero when it was made."""
        return self._device.guarantee

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer."""
        self._check()
        with self.calls:
            return self._device.readinto(offset, buffer)

    def write(self, offset: int, data: memoryview) -> int:
        """Write as much as there is room for."""
        self._check()
        if not self._writable:
            raise DeviceFailed(f"writing at byte {offset} failed: the device of {self._what} is read-only")
        with self.calls:
            return self._device.write(offset, data)

    def clear(self, offset: int, length: int) -> bool:
        """Let a range read as zeros, if the device can."""
        self._check()
        with self.calls:
            return self.can_clear and self._device.clear(offset, length)

    def distrust(self) -> None:
        """Clear nothing again."""
        self._check()
        self._device.distrust()

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        """Yield where data and holes are."""
        self._check()
        return self._device.extents(offset, length)

    def flush(self) -> None:
        """Return when all is on the storage."""
        self._check()
        with self.calls:
            self._device.flush()

    def leave_open(self) -> None:
        """Stay open."""
        self.left = True

    def close(self) -> None:
        """From now on it can do nothing."""
        self._closed = True

    def _check(self) -> None:
        if self._closed:
            raise DeviceFailed(f"the device of {self._what} is closed")


@attrs.define(kw_only=True)
class MemoryAttacher:
    """A host in memory: an `Attacher`.

    Args:
        volumes: the Cinder whose volumes it connects.

    Attributes:
        connected: the volume of each attachment that is connected, by the attachment's id.
        left: the attachments that stay connected, because a call of their device has not returned.
    """

    volumes: MemoryVolumes
    connected: dict[str, str] = attrs.field(factory=dict, init=False, repr=False)
    left: set[str] = attrs.field(factory=set, init=False, repr=False)

    def connector(self) -> Mapping[str, Any]:
        """Tell what Cinder must know of this host."""
        return {"host": "memory", "ip": "127.0.0.1", "platform": "memory", "os_type": "memory"}

    def open(
        self,
        attachment: Attachment,
        *,
        mode: AccessMode,
        keep: Callable[[], bool] | None = None,  # noqa: ARG002 - each attachment has its own connection
    ) -> AbstractContextManager[Device]:
        """Connect the volume while the context lasts."""
        return _Connection(self, attachment, mode)

    def disconnect(self, attachment: Attachment) -> None:
        """Disconnect what is left connected."""
        self.connected.pop(attachment.id, None)

    def is_left(self, attachment: Attachment) -> bool:
        """Tell whether it stays connected, because a call of its device has not returned."""
        return attachment.id in self.left

    def leaving(self, volume_id: str) -> AbstractContextManager[object]:  # noqa: ARG002 - nothing is shared
        """No other process is on this host."""
        return nullcontext()


@attrs.define
class _Connection(AbstractContextManager[Device]):
    """One volume on the host; it stays there until the context is left, also if no reference to it is left."""

    _attacher: MemoryAttacher
    _attachment: Attachment
    _mode: AccessMode
    _device: _Opened | None = attrs.field(default=None, init=False)

    def __enter__(self) -> Device:
        attachment, volumes = self._attachment, self._attacher.volumes
        if attachment.id not in volumes.attachments or attachment.id in self._attacher.connected:
            raise AttachFailed(f"volume {attachment.volume_id} is not to be connected by attachment {attachment.id}")
        writable = self._mode is AccessMode.WRITE
        if writable and attachment.connection["access_mode"] != AccessMode.WRITE.value:
            raise AttachFailed(f"volume {attachment.volume_id} may be read only by attachment {attachment.id}")
        content = volumes.contents[attachment.volume_id]
        if content.size_bytes < (attachment.size_bytes or 0):
            raise DeviceFailed(
                f"volume {attachment.volume_id}: its device has {amount(content.size_bytes, 'byte')}, and "
                f"{attachment.size_bytes} are needed"
            )
        self._attacher.connected[attachment.id] = attachment.volume_id
        self._device = _Opened(content, f"volume {attachment.volume_id}", writable)
        return self._device

    def __exit__(self, *_: object) -> None:
        if self._device is not None and (self._device.calls or self._device.left):
            self._attacher.left.add(self._attachment.id)
            return
        if self._device is not None:
            self._device.close()
        self._attacher.connected.pop(self._attachment.id, None)
