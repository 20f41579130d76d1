"""The errors of a transfer that stands still: which side of it does not answer, and since when.

A transfer has three sides: the source that gives data, the device that takes or gives it, and the service that is asked
over the network.  Each has an error of its own, of the family of its fault.  `TransferStalled` is all three.
"""

from __future__ import annotations

from imagevol_core.errors import DeviceFailed, ImagevolError, ServiceUnreachable, SourceFailed
from imagevol_core.sentences import duration

__all__ = ["STALL_SECONDS", "DeviceStalled", "ServiceStalled", "SourceStalled", "TransferStalled"]

STALL_SECONDS = 300.0
"""How long a transfer waits for progress, in seconds, unless it is told otherwise."""


class TransferStalled(ImagevolError, TimeoutError):
    """One side of a transfer made no progress for too long.

    Attributes:
        side: `source`, `device` or `service`.
        what: the file, volume, image or device that did not answer.
        seconds: how long the transfer waited.
        process_id: a program that hangs in the kernel, so that it cannot be ended; None nearly always.
    """

    side = "transfer"

    def __init__(self, sentence: str, *, what: str, seconds: float) -> None:
        """Take the sentence, which each side builds."""
        super().__init__(sentence)
        self.what = what
        self.seconds = seconds
        self.process_id: int | None = None


class SourceStalled(TransferStalled, SourceFailed):
    """The source gave no data for too long.

    >>> print(SourceStalled("the source", seconds=300))
    the source stalled: no data came for 5 minutes; check where the data comes from, and try again
    """

    side = "source"

    def __init__(self, what: str, *, seconds: float) -> None:
        """Name the source."""
        sentence = (
            f"{what} stalled: no data came for {duration(seconds)}; check where the data comes from, and try again"
        )
        super().__init__(sentence, what=what, seconds=seconds)


class DeviceStalled(TransferStalled, DeviceFailed):
    """A call of a device, or of what connects it to this host, did not return in time.

    Attributes:
        doing: the call.
        look_at: what the operator looks at, the end of the sentence.

    >>> print(DeviceStalled("device /dev/sdb", doing="writing", seconds=300))
    device /dev/sdb stalled: writing made no progress for 5 minutes; look at its storage and at the kernel's log
    """

    side = "device"
    look_at = "look at its storage and at the kernel's log"

    def __init__(self, what: str, *, doing: str, seconds: float, look_at: str = look_at) -> None:
        """Name the device and the call, and say what to look at."""
        sentence = f"{what} stalled: {doing} made no progress for {duration(seconds)}; {look_at}"
        super().__init__(sentence, what=what, seconds=seconds)
        self.doing = doing
        self.look_at = look_at


class ServiceStalled(TransferStalled, ServiceUnreachable):
    """A service stopped in the middle of an answer.

    >>> print(ServiceStalled("Glance, reading image 7ad3", seconds=300))
    Glance, reading image 7ad3 stalled: no data came for 5 minutes; look at the log of the service, and try again
    """

    side = "service"

    def __init__(self, what: str, *, seconds: float) -> None:
        """Name the service and what it was asked for."""
        sentence = (
            f"{what} stalled: no data came for {duration(seconds)}; look at the log of the service, and try again"
        )
        super().__init__(sentence, what=what, seconds=seconds)
