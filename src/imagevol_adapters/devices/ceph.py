"""Images of Ceph, open in librbd.

A write to Ceph takes milliseconds, most of them on the network.  So what is written is gathered into whole objects, and
many of them are on their way at once.  An error of any of them ends the next call.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC, ETIMEDOUT
from typing import Any, Protocol, Self

import attrs

from imagevol_adapters.devices.calls import Calls
from imagevol_adapters.engine.threads import Inbox
from imagevol_adapters.error_text import one_line
from imagevol_adapters.ports import CLEAR_BYTES
from imagevol_core import STALL_SECONDS, DeviceFailed, DeviceStalled

__all__ = [
    "LOOK_AT",
    "RbdDevice",
    "RbdImage",
    "bound_requests",
    "closed_anyway",
    "connection_with_deadline",
    "is_timeout",
    "look_at_for",
]

_OBJECT_BYTES = 4 << 20  # of an image with Ceph's defaults, and Cinder's; others are cut there too
_MOST_BYTES = 32 << 20  # on their way
_HURRY_SECONDS = 1  # for each request that ends what has stalled
_MOMENT_SECONDS = 0.5
_OPTIONS = ("rados_osd_op_timeout", "rados_mon_op_timeout", "client_mount_timeout")
LOOK_AT = "look at `ceph health detail`: an OSD that is down stops all requests, and a pool that is full all writes"
"""What an operator looks at if Ceph does not answer."""

_FULL = "the pool is full; look at `ceph df` and `ceph osd pool get-quota POOL`, and add space or raise the quota"


class RbdImage(Protocol):
    """What an `RbdDevice` uses of an open image of librbd."""

    def size(self) -> int:
        """Tell how many bytes it has."""

    def read(self, offset: int, length: int, /) -> bytes:
        """Read; what was never written are zeros."""

    def aio_write(self, data: bytes | bytearray, offset: int, oncomplete: Callable[[Any], object], /) -> object:
        """Begin to write all of it, and call with a completion, in any thread, when it is done or has failed."""

    def aio_flush(self, oncomplete: Callable[[Any], object], /) -> object:
        """Begin to flush, and call with a completion, in any thread, when all is on the storage or that has failed."""

    def write_zeroes(self, offset: int, length: int, /) -> object:
        """Let a range read as zeros."""

    def flush(self) -> object:
        """Return when all is on the storage."""

    def diff_iterate(
        self,
        offset: int,
        length: int,
        from_snapshot: str | None,
        iterate_cb: Callable[[int, int, bool], object],
        include_parent: bool = True,
        whole_object: bool = False,
    ) -> object:
        """Call with offset, length and whether there are data, for all that was ever written."""


def bound_requests(image: Any, seconds: float) -> bool:
    """Let each request of an image that os-brick has opened end by itself when storage does not answer in time.

    Without that, librbd waits without end: a thread and a connection would be left.

    Args:
        image: os-brick's, which has the client of Ceph.
        seconds: the deadline for no progress.

    Returns:
        Whether it is so; if not, the engine alone notices that nothing moves.
    """
    timeout = _timeout(seconds)
    try:
        for option in _OPTIONS:
            image.client.client.conf_set(option, timeout)
    except Exception:  # noqa: BLE001 - of another library, or of another release
        return False
    return True


def connection_with_deadline(connection: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Give Cinder's connection to an image of Ceph, by which os-brick opens it with a deadline for each request.

    What os-brick takes for a keyring, it writes into the configuration that it makes for librados.  A path stands in it
    for the secret, unless Cinder gave the secret.
    """
    if connection.get("driver_volume_type") != "rbd" or connection.get("do_local_attach"):
        return dict(connection)
    user, cluster = connection.get("auth_username"), connection.get("cluster_name")
    own = f"keyring = /etc/ceph/{cluster}.client.{user}.keyring" if user else ""
    lines = [*(f"{option} = {_timeout(seconds)}" for option in _OPTIONS), connection.get("keyring") or own]
    return {**connection, "keyring": "\n".join(lines)}


def look_at_for(connection: Mapping[str, Any]) -> str:
    """Tell what an operator looks at if a volume with Cinder's connection does not answer.

    >>> look_at_for({"driver_volume_type": "iscsi"})
    "look at its storage and at the kernel's log"
    """
    return LOOK_AT if connection.get("driver_volume_type") == "rbd" else DeviceStalled.look_at


def is_timeout(error: BaseException | None) -> bool:
    """Tell whether an error, or one that it came of, says that Ceph did not answer in time."""
    while error is not None:
        if getattr(error, "errno", None) == ETIMEDOUT or type(error).__name__ == "TimedOut":
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def closed_anyway(handle: object) -> Iterator[None]:
    """Close an image of Ceph also if os-brick, which flushes before, fails to.

    Ceph that did not answer in time is no error here: all that must be on the storage was flushed before.

    Args:
        handle: what os-brick gave when it connected the volume; a path is left alone.
    """
    try:
        yield
    except Exception as error:
        image = getattr(handle, "rbd_image", None)
        if image is None:
            raise
        try:
            image.close()
        except Exception as second:
            if not is_timeout(second):
                raise
        if not is_timeout(error):
            raise


def _timeout(seconds: float) -> str:
    """Some moments before the deadline, so that a write has ended when it is over.  Ceph takes whole seconds only.

    A write can be several requests, one after another, of which each has this deadline; see `RbdDevice._in_a_hurry`.
    """
    return str(max(1, int(seconds - min(3, seconds / 3))))


@attrs.define(kw_only=True)
class RbdDevice:
    """An image of Ceph, open in librbd: a `Device`.

    librbd raises its own errors, which are not of the operating system's; all are translated here.  One thread at a
    time may write.
    """

    image: RbdImage
    path: str
    what: str = attrs.field(default=attrs.Factory(lambda self: f"device {self.path}", True))
    guarantee: str | None = "rbd"
    writable: bool = True
    stall_seconds: float = STALL_SECONDS
    block_device: None = attrs.field(default=None, init=False)
    direct_io: bool = attrs.field(default=True, init=False)
    look_at: str = attrs.field(default=LOOK_AT, init=False, repr=False)
    can_clear: bool = attrs.field(default=attrs.Factory(lambda self: self.writable, True), init=False)
    clear_bytes: int = attrs.field(default=CLEAR_BYTES, init=False)
    _calls: Calls = attrs.field(factory=Calls, init=False, repr=False)
    _gathered: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    _gathered_at: int = attrs.field(default=0, init=False)
    _begun: Inbox[tuple[int, str, int]] = attrs.field(factory=Inbox, init=False, repr=False)
    _on_their_way: int = attrs.field(default=0, init=False)
    _bytes_on_their_way: int = attrs.field(default=0, init=False)
    _since: deque[float] = attrs.field(factory=deque, init=False, repr=False)  # about those that are on their way
    _failure: DeviceFailed | None = attrs.field(default=None, init=False, repr=False)
    _unflushed: int | None = attrs.field(default=None, init=False)
    _hurried: bool = attrs.field(default=False, init=False)
    left_open: bool = attrs.field(default=False, init=False)

    def __enter__(self) -> Self:
        """It is open already."""
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        """Note whether a call has not returned; os-brick closes the image when it disconnects."""
        # To close it takes several requests more. After an error nothing needs what is still on its way, and the whole
        # of a service can wait for os-brick here.
        if self._hurried or (failed and self._on_their_way):
            bound_requests(self.image, _HURRY_SECONDS)
        self.left_open = self.left_open or bool(self._calls)

    def leave_open(self) -> None:
        """Stay open: another program uses it, and cannot be ended."""
        self.left_open = True

    @property
    def size_bytes(self) -> int:
        """How many bytes there are."""
        with self._translated("asking for the size"):
            return self.image.size()

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer; librbd refuses to read beyond the end."""
        length = max(0, min(len(buffer), self.size_bytes - offset))
        self._settle()
        with self._translated(f"reading at byte {offset}"):
            data = self.image.read(offset, length) if length else b""
        buffer[: len(data)] = data
        return len(data)

    def write(self, offset: int, data: memoryview) -> int:
        """Take what there is room for, up to the end of an object; it is on the storage after `flush`."""
        self._refuse_reader(offset)
        room = self.size_bytes - offset
        if room <= 0 and data:
            raise DeviceFailed(f"{self.what}: writing at byte {offset} failed: it ends at byte {self.size_bytes}")
        if self._gathered and offset != self._gathered_at + len(self._gathered):
            self._send()
        if not self._gathered:
            self._gathered_at = offset
        taken = min(len(data), room, _OBJECT_BYTES - offset % _OBJECT_BYTES)
        self._gathered += data[:taken]
        if (offset + taken) % _OBJECT_BYTES == 0:
            self._send()
        return taken

    def clear(self, offset: int, length: int) -> bool:
        """Let a range read as zeros; the objects that are zero as a whole are given back."""
        if not (self.writable and self.can_clear):
            return False
        self._settle()
        with self._translated(f"zeroing at byte {offset}"):
            self.image.write_zeroes(offset, min(length, self.image.size() - offset))
        return True

    def _refuse_reader(self, offset: int) -> None:
        """Refuse to write what was opened to be read: os-brick opens every image to be written."""
        if not self.writable:
            raise DeviceFailed(f"{self.what}: writing at byte {offset} failed: it is open for reading only")

    def distrust(self) -> None:
        """Clear nothing again."""
        self.can_clear = False

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        """Yield what was ever written, of the image or of what it was cloned from."""
        data: list[tuple[int, int]] = []

        def found(start: int, count: int, exists: bool) -> None:
            if exists:
                data.append((start, start + count))

        self._settle()
        with self._translated("asking for the extents"):
            self.image.diff_iterate(offset, length, None, found, include_parent=True)
        yield from _and_holes(data, offset, offset + length)

    def flush(self) -> None:
        """Return when all is on the storage."""
        self._settle()
        with self._translated("flushing"):
            self.image.flush()
        self._unflushed = 0

    def _send(self) -> None:
        """Begin to write what was gathered."""
        data, offset = self._gathered, self._gathered_at
        self._gathered = bytearray()
        if not data:
            return
        doing, image = f"writing at byte {offset}", self.image
        self._begin(len(data), doing, lambda done: image.aio_write(data, offset, done))
        if self._unflushed is None:
            return
        # After its first flush, librbd calls a write done before it is. What it fails with then, the next flush tells.
        self._unflushed += len(data)
        if self._unflushed >= _MOST_BYTES:
            self._unflushed = 0
            self._begin(0, doing, image.aio_flush)

    def _begin(self, length: int, doing: str, request: Callable[[Callable[[Any], object]], object]) -> None:
        """Begin a request as soon as no more than so many bytes are on their way."""
        while self._on_their_way and (not self._begun.empty() or self._bytes_on_their_way + length > _MOST_BYTES):
            self._end_one()
        begun = self._begun

        def done(completion: Any) -> None:  # in a thread of librbd's; it keeps the data until then
            begun.put((length, doing, completion.get_return_value()))

        with self._translated(doing):
            request(done)
        self._since.append(time.monotonic())
        self._on_their_way += 1
        self._bytes_on_their_way += length

    def _end_one(self) -> None:
        """Wait until one of the requests that are on their way has ended.

        Raises:
            DeviceFailed: it has failed, or one before it.
        """
        with self._calls:
            length, doing, result = self._begun.get(self._in_a_hurry)
        self._since.popleft()
        # After its first flush, librbd calls a write done that is only in its cache: Ceph has not answered.
        if self._hurried and not result and (self._unflushed is None or not length):
            self._hurried = not bound_requests(self.image, self.stall_seconds)
        self._on_their_way -= 1
        self._bytes_on_their_way -= length
        if result < 0 and self._failure is None:
            try:
                raise OSError(-result, os.strerror(-result))
            except OSError as error:
                self._failure = self._failed(doing, error)
                self._failure.__cause__ = error
        if self._failure is not None:
            raise self._failure

    def _in_a_hurry(self) -> float:
        """Give no more time to what follows the request that Ceph has not answered: a write updates a map before.

        Returns:
            After how many seconds to look again.
        """
        left = self._since[0] + int(_timeout(self.stall_seconds)) - _MOMENT_SECONDS - time.monotonic()
        if left <= 0 and not self._hurried:
            self._hurried = bound_requests(self.image, _HURRY_SECONDS)
        return max(left, _MOMENT_SECONDS)

    def _settle(self) -> None:
        """Return when nothing is on its way; any number of readers may call it at once, if nothing is written."""
        if not self.writable:
            return
        if self._failure is not None:
            raise self._failure
        self._send()
        while self._on_their_way:
            self._end_one()

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            with self._calls:
                yield
        except Exception as error:
            raise self._failed(doing, error) from error

    def _failed(self, doing: str, error: Exception) -> DeviceFailed:
        """Say what an error of librbd's means."""
        number = getattr(error, "errno", None)
        if number == ETIMEDOUT:
            self._hurried = True
            return DeviceStalled(self.what, doing=doing, seconds=self.stall_seconds, look_at=self.look_at)
        if number in (ENOSPC, EDQUOT):
            return DeviceFailed(f"{self.what}: {doing} failed: {_FULL}")
        return DeviceFailed(f"{self.what}: {doing} failed: {one_line(error)}")


def _and_holes(data: Iterable[tuple[int, int]], at: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """Give the data of a range, those that touch as one, and the holes between them."""
    start = at
    for first, last in sorted(data):
        if first > at:
            if start < at:
                yield start, at, True
            yield at, first, False
            start = first
        at = max(at, min(end, last))
    if start < at:
        yield start, at, True
    if at < end:
        yield at, end, False
