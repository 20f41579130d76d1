"""The seam to the bytes of a volume; `imagevol_adapters.ports` gives this protocol with all others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

__all__ = ["CLEAR_BYTES", "Device"]

CLEAR_BYTES = 16 << 20
"""The most that one request clears of a device of any kind. Every protocol can count so few blocks."""


class Device(Protocol):
    """The bytes of an attached volume.  `PlainDevice` is a base class for your own: all but four members are safe."""

    @property
    def path(self) -> str:
        """The path of a device or a file on this host, or a name that begins with a slash."""

    @property
    def what(self) -> str:
        """The name of the device in an error; of a volume it begins with `volume` and the ID of the volume."""

    @property
    def look_at(self) -> str:
        """What the operator looks at if a call hangs, as an error says it; if in doubt, `DeviceStalled.look_at`."""

    @property
    def size_bytes(self) -> int:
        """How many bytes there are."""

    @property
    def block_device(self) -> bool | None:
        """Whether the path is one of a block device; None if no other program, such as qemu-img, can open it."""

    @property
    def direct_io(self) -> bool:
        """Whether reads and writes bypass the page cache of this host."""

    @property
    def can_clear(self) -> bool:
        """Whether `clear` can do anything."""

    @property
    def clear_bytes(self) -> int:
        """The most bytes that one call of `clear` can take, a multiple of `CLEAR_BYTES`; if in doubt, `CLEAR_BYTES`."""

    @property
    def guarantee(self) -> str | None:
        """The name of the driver, if it promises that a new volume reads as zeros; if in doubt, None."""

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from `offset` on, as much as goes at once, and give how much that was; 0 only at the end.

        Raises:
            DeviceFailed: it cannot be read.
        """

    def write(self, offset: int, data: memoryview) -> int:
        """Write from `offset` on, as much as goes at once, and give how much that was.

        Raises:
            DeviceFailed: nothing can be written.
        """

    def clear(self, offset: int, length: int) -> bool:
        """Let a range read as zeros without being sent any, by one way that the device has; the engine reads it back.

        Args:
            offset: a multiple of 4096.
            length: a multiple of 4096, but for the device's end; at most `clear_bytes`.

        Returns:
            Whether it does now.  If not, nothing is known of what the range holds, and zeros must be written; while
            `can_clear`, the next call tries another way.
        """

    def distrust(self) -> None:
        """Never again use the way that cleared last: what it said was cleared was not."""

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        """Yield where data and holes of a range begin and end, and whether it is data; holes read as zeros.

        Raises:
            DeviceFailed: it cannot be found out.
        """

    def flush(self) -> None:
        """Return when all that was written is on the storage.

        Raises:
            DeviceFailed: it is not.
        """

    def leave_open(self) -> None:
        """Stay open and connected at the end of the context: another program uses it, and cannot be ended."""
