"""The base class for a device of your own."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Iterator

from imagevol_adapters.ports import CLEAR_BYTES
from imagevol_core import DeviceStalled

__all__ = ["PlainDevice"]


class PlainDevice(metaclass=ABCMeta):
    """A `Device` whose author writes only `size_bytes`, `readinto`, `write` and `flush`.

    All other members have values that are safe for any storage.  No call clears a range, so zeros are written.  Nothing
    is promised about new volumes.  No program on this host can open the path, so qemu-img sends what it converts to
    this process.

    Attributes:
        path: the name of the device in errors; begins with a slash.
        block_device: None, because no program can open the path.
        direct_io: whether reads and writes bypass the page cache of this host.
        can_clear: whether `clear` can do anything.
        clear_bytes: the most that one call of `clear` can take.
        guarantee: the name of the driver, if it promises that new volumes read as zeros.
        look_at: what the operator looks at if a call does not return; errors end with it.

    >>> class InMemory(PlainDevice):
    ...     size_bytes = 4096
    ...     kept = bytearray(size_bytes)
    ...     def readinto(self, offset, buffer):
    ...         data = self.kept[offset:offset + len(buffer)]
    ...         buffer[:len(data)] = data
    ...         return len(data)
    ...     def write(self, offset, data):
    ...         self.kept[offset:offset + len(data)] = data
    ...         return len(data)
    ...     def flush(self):
    ...         pass
    >>> device = InMemory()
    >>> device.write(0, memoryview(b"data")), device.can_clear, list(device.extents(0, 4096))
    (4, False, [(0, 4096, True)])
    """

    path: str = "/device"
    block_device: bool | None = None
    direct_io: bool = False
    can_clear: bool = False
    clear_bytes: int = CLEAR_BYTES
    guarantee: str | None = None
    look_at: str = DeviceStalled.look_at

    @property
    def what(self) -> str:
        """The name of the device in an error; return `volume` and the ID of the volume if you know it."""
        return f"device {self.path}"

    @property
    @abstractmethod
    def size_bytes(self) -> int:
        """The size of the volume in bytes."""

    @abstractmethod
    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Read into the buffer, from `offset` on, and give how many bytes that were; 0 only at the end.

        Raises:
            DeviceFailed: the storage cannot be read.
        """

    @abstractmethod
    def write(self, offset: int, data: memoryview) -> int:
        """Write from `offset` on, at most up to the end of the device, and give how many bytes that were.

        Raises:
            DeviceFailed: nothing can be written, for example at the end, or if the device is open for reading only.
        """

    @abstractmethod
    def flush(self) -> None:
        """Return when all written data is on the storage.

        Raises:
            DeviceFailed: it is not.
        """

    def clear(self, offset: int, length: int) -> bool:  # noqa: ARG002 - of the protocol
        """Clear nothing: zeros are written instead."""
        return False

    def distrust(self) -> None:  # noqa: B027 - there is nothing to do
        """Change nothing: no range was cleared by a call."""

    def leave_open(self) -> None:  # noqa: B027 - there is nothing to do
        """Change nothing: no other program uses the device."""

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        """Yield the whole range as data, up to the end of the device: all of it is read."""
        end = min(offset + length, self.size_bytes)
        if offset < end:
            yield offset, end, True
