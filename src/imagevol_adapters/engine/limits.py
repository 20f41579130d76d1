"""How fast a transfer can go, what ends it, and what it tells meanwhile."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping

import attrs

from imagevol_adapters.engine.parts import ALIGNMENT_BYTES, PART_BYTES
from imagevol_adapters.engine.threads import Stopped, lock, pause
from imagevol_adapters.engine.watching import Watch, device_watch
from imagevol_adapters.ports import Device
from imagevol_core import STALL_SECONDS, Digest, InvalidFact, SourceStalled, TransferCancelled

__all__ = ["Limits", "Pace", "Progress", "Throttle", "TransferProgress", "TransferReport"]

_MIB = 1 << 20
_TURNS = 20  # how many parts a second at the least, so that a slow transfer is even, and can be cancelled
_CREDIT_SECONDS = 0.1  # how much of a pause may be made good


@attrs.frozen(kw_only=True)
class TransferProgress:
    """How far a transfer is.

    Attributes:
        done_bytes: how many bytes of the stream are on the device, with those that were skipped.
        skipped_bytes: how many of these were zeros that needed no writing.
        total_bytes: the length of the stream; None if it is not known.
    """

    done_bytes: int
    skipped_bytes: int
    total_bytes: int | None


Pace = Callable[[int], None]
"""Asked before so many bytes are moved; returns when they may be."""

Progress = Callable[[TransferProgress], None]
"""Called now and then in the thread that asked for the transfer; what it raises ends the transfer."""


@attrs.frozen(kw_only=True)
class TransferReport:
    """What a transfer did.

    Attributes:
        read_bytes: how many bytes were read from the source, without the holes that it reported.
        written_bytes: how many bytes were sent to the device; None if another program wrote them.
        zeroed_bytes: how many bytes the device cleared by a call, with those after the image's end.
        skipped_bytes: how many zeros were on the device already.
        size_bytes: the length of the stream.
        seconds: how long the transfer took, with the flush.
        digests: the digests of the whole stream, by algorithm.
        earlier_bytes: how much of the stream an earlier transfer had moved.
    """

    read_bytes: int
    written_bytes: int | None
    zeroed_bytes: int
    skipped_bytes: int
    size_bytes: int
    seconds: float
    digests: Mapping[str, Digest]
    earlier_bytes: int = 0

    @property
    def moved_bytes(self) -> int:
        """Tell how many bytes of the stream this transfer moved."""
        return self.size_bytes - self.earlier_bytes

    @property
    def virtual_rate(self) -> float:
        """Tell how many MiB of the stream went by in a second, its zeros too, which is what a user waits for."""
        return self.moved_bytes / _MIB / self.seconds

    @property
    def data_rate(self) -> float | None:
        """Tell how many MiB were sent to the device in a second, which is what the storage sees."""
        return None if self.written_bytes is None else self.written_bytes / _MIB / self.seconds


class Bucket:
    """What transfers may move together in any time; those that take from one bucket share its rate."""

    def __init__(self, bytes_per_second: float, clock: Callable[[], float]) -> None:
        """Begin now.

        Args:
            bytes_per_second: of all transfers together.
            clock: counts seconds.
        """
        self._rate = bytes_per_second
        self._clock = clock
        self._due = clock()
        self._lock = lock()

    def take(self, size_bytes: int) -> float:
        """Take so many bytes, and tell how many seconds to wait before they are moved."""
        with self._lock:
            now = self._clock()
            self._due = max(self._due, now - _CREDIT_SECONDS) + size_bytes / self._rate
            return max(0.0, self._due - now)


@attrs.frozen(kw_only=True)
class Limits:
    """How fast transfers can go, and what ends them; transfers with the same object share its rate.

    Args:
        bytes_per_second: the highest rate at which the sources are read together; None for no limit.
        cancelled: set it from any thread: each transfer then ends with a `TransferCancelled` at its next part.
        stall_seconds: how long the source or the device may make no progress, before the transfer ends with a
            `TransferStalled`.  A pause for the rate does not count, and neither does a slow reader.
        clock: counts the seconds of the rate.
        shared: takes so many bytes of what other processes move too, and tells how many seconds to wait before they are
            moved, as `WorkerLimits.pace` gives it; None if no other process counts.

    Raises:
        InvalidFact: the rate or the deadline is not positive, or not finite.

    >>> Limits(bytes_per_second=100 * 2**20).cancelled.is_set()
    False
    """

    bytes_per_second: float | None = None
    cancelled: threading.Event = attrs.field(factory=threading.Event, repr=False)
    stall_seconds: float = STALL_SECONDS
    clock: Callable[[], float] = attrs.field(default=time.monotonic, repr=False, eq=False)
    shared: Callable[[int], float] | None = attrs.field(default=None, repr=False, eq=False)
    bucket: Bucket | None = attrs.field(init=False, repr=False, eq=False)

    @bucket.default
    def _new_bucket(self) -> Bucket | None:
        return None if self.bytes_per_second is None else Bucket(self.bytes_per_second, self.clock)

    def __attrs_post_init__(self) -> None:
        """Refuse a rate at which nothing would ever move, and a deadline that is none."""
        if self.bytes_per_second is not None and not 0 < self.bytes_per_second < math.inf:
            raise InvalidFact("bytes_per_second", f"{self.bytes_per_second} is no rate; give None for no limit")
        if not 0 < self.stall_seconds < math.inf:
            raise InvalidFact("stall_seconds", f"{self.stall_seconds} is no deadline; give seconds above 0")

    def sharing(self, shared: Callable[[int], float], *, cancelled: threading.Event | None = None) -> Limits:
        """Give limits that share the rate of these, but have a `shared` of their own.

        Args:
            shared: see `Limits`.
            cancelled: ends the transfers under the new limits; None for the event of these.

        >>> slow = Limits(bytes_per_second=2**20)
        >>> slow.sharing(lambda size_bytes: 0.0).bucket is slow.bucket
        True
        """
        others = attrs.evolve(self, shared=shared, cancelled=self.cancelled if cancelled is None else cancelled)
        object.__setattr__(others, "bucket", self.bucket)  # a new one would allow the rate once more
        return others

    def device_watch(self, device: Device) -> Watch:
        """Watch the calls of a device."""
        return device_watch(device, self.stall_seconds)

    def source_watch(self) -> Watch:
        """Watch a source that is asked for its next piece."""
        return Watch(self.stall_seconds, lambda what, seconds: SourceStalled(what, seconds=seconds))

    def part_bytes(self, most: int = PART_BYTES) -> int:
        """Give how large a part may be; a slow transfer has small ones."""
        if self.bytes_per_second is None:
            return most
        whole = int(self.bytes_per_second / _TURNS) // ALIGNMENT_BYTES * ALIGNMENT_BYTES
        return min(most, max(ALIGNMENT_BYTES, whole))


class Throttle:
    """Holds a transfer to its limits."""

    def __init__(self, limits: Limits, *, pause: Callable[[float, Callable[[], bool]], None] = pause) -> None:
        """Take the limits, which other transfers may have too."""
        self._limits = limits
        self._pause = pause

    def take(self, size_bytes: int, *, over: Callable[[], bool] = lambda: False) -> None:
        """Return when so many bytes more may be moved, or when it is over.

        Raises:
            TransferCancelled: the transfer must end.
        """
        bucket, shared, cancelled = self._limits.bucket, self._limits.shared, self._limits.cancelled
        seconds = 0.0 if bucket is None else bucket.take(size_bytes)
        if shared is not None:
            seconds = max(seconds, shared(size_bytes))
        if bucket is not None or shared is not None:
            # The event may be eventlet's, for which a real thread cannot wait.
            self._pause(seconds, lambda: cancelled.is_set() or over())
        self.check()

    def check(self) -> None:
        """Raise `TransferCancelled` if the transfer must end."""
        if self._limits.cancelled.is_set():
            raise TransferCancelled("the transfer was cancelled")

    def until(self, over: Callable[[], bool]) -> Pace:
        """Give what a thread asks before it does anything that takes long: it raises `Stopped` once it is over."""

        def pace(size_bytes: int) -> None:
            self.take(size_bytes, over=over)
            if over():
                raise Stopped

        return pace
