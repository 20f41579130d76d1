"""The data plane: a stream into a device, and a device as a stream.

The engine calls no service and decides nothing.  The caller's thread reads the source, so that an interrupt reaches a
source that stalls; a second one writes, so that reading and hashing overlap with the device.  Between them is a queue
that is bounded in bytes and that either end can abort.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import BinaryIO

import attrs

from imagevol_adapters.ports import Device
from imagevol_core import ContentMismatch, DeviceFailed, Digest, ImagevolError, InvalidFact, SourceFailed, WrongLength

__all__ = ["Digests", "Progress", "TransferReport", "chunks", "read_device", "verified", "write_stream"]

CHUNK_BYTES = 4 << 20  # large enough that a call costs nothing beside its bytes, small enough to keep four in flight
QUEUE_BYTES = 4 * CHUNK_BYTES

Progress = Callable[[int], None]
"""Called with the number of bytes done since the last call."""


@attrs.frozen(kw_only=True)
class TransferReport:
    """What a transfer did.

    Attributes:
        written_bytes: how much went to the device.
        seconds: how long it took, with the flush.
        digests: of the whole stream, by algorithm.
    """

    written_bytes: int
    seconds: float
    digests: Mapping[str, Digest]


class Digests:
    """Several digests of one stream, such as the two that Glance keeps.

    >>> digests = Digests(["md5"])
    >>> digests.update(b"data")
    >>> str(digests.values()["md5"])
    'md5:8d777f385d3dfec8815d20f7496026dc'
    """

    def __init__(self, algorithms: Iterable[str]) -> None:
        """Take names that hashlib knows.

        Raises:
            InvalidFact: it does not know one, or that one has no fixed length.
        """
        self._hashes = {name: _hash(name) for name in algorithms}

    def update(self, data: bytes) -> None:
        """Take the next part of the stream."""
        for digest in self._hashes.values():
            digest.update(data)

    def values(self) -> dict[str, Digest]:
        """Give the digests of all that came so far."""
        return {name: Digest(name, digest.hexdigest()) for name, digest in self._hashes.items()}


def verified(data: Iterable[bytes], digest: Digest | None, what: str) -> Iterator[bytes]:
    """Give the same bytes, and at their end an error if they are not those of the digest.

    Args:
        data: the whole of what the digest was made of.
        digest: what was recorded; when None nothing is checked.
        what: whose data these are, for the error.

    Raises:
        ContentMismatch: the data are not what was recorded.
        InvalidFact: the digest's algorithm is not known here.

    >>> list(verified([b"da", b"ta"], Digest("md5", "8d777f385d3dfec8815d20f7496026dc"), "the image"))
    [b'da', b'ta']
    """
    if digest is None:
        yield from data
        return
    digests = Digests([digest.algorithm])
    for chunk in data:
        digests.update(chunk)
        yield chunk
    actual = digests.values()[digest.algorithm]
    if actual != digest:
        raise ContentMismatch(what, expected=str(digest), actual=str(actual))


def _hash(name: str) -> hashlib._Hash:
    try:
        digest = hashlib.new(name, usedforsecurity=False)  # no secret hangs on it: md5 works on a FIPS host
    except ValueError as error:
        raise InvalidFact("digest algorithm", f"{name!r} is not known here") from error
    if not digest.digest_size:
        raise InvalidFact("digest algorithm", f"{name!r} has no fixed length")
    return digest


def chunks(file: BinaryIO) -> Iterator[bytes]:
    """Give a file's bytes from where it stands, in chunks that the engine likes.

    >>> import io
    >>> list(chunks(io.BytesIO(b"data")))
    [b'data']
    """
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def write_stream(
    source: Iterable[bytes],
    device: Device,
    *,
    size_bytes: int,
    algorithms: Iterable[str] = ("md5", "sha512"),
    progress: Progress | None = None,
) -> TransferReport:
    """Write a stream of known length to the beginning of a device, and flush it.

    Args:
        source: the data, in parts of any length.
        device: not smaller than the data.
        size_bytes: how many bytes there are.
        algorithms: the digests wanted.
        progress: told of each part once it is written.

    Raises:
        WrongLength: the stream is shorter or longer; no byte beyond `size_bytes` was written.
        SourceFailed: the source could not be read to its end.
        DeviceFailed: the device is too small, or a write or the flush failed.
    """
    if device.size_bytes < size_bytes:
        raise DeviceFailed(f"the device has {device.size_bytes} bytes, and {size_bytes} are to be written")
    started = time.monotonic()
    digests = Digests(algorithms)
    queue = _ByteQueue(QUEUE_BYTES)
    writer = _Writer(queue, device, progress)
    writer.start()
    try:
        _feed(source, queue, digests, size_bytes)
        queue.end()
    except BaseException:
        queue.abort()
        raise
    finally:
        writer.join()
    if writer.error is not None:
        raise writer.error
    device.flush()
    return TransferReport(
        written_bytes=writer.written_bytes, seconds=time.monotonic() - started, digests=digests.values()
    )


def read_device(device: Device, *, offset: int = 0, length: int) -> Iterator[bytes]:
    """Give `length` bytes of a device from `offset` on: all of them, or an error.

    Raises:
        DeviceFailed: they could not be read, or the device ends before.
    """
    end = offset + length
    while offset < end:
        data = device.read(offset, min(CHUNK_BYTES, end - offset))
        if not data:
            raise DeviceFailed(f"the device ends at byte {offset}, and is to be read up to byte {end}")
        offset += len(data)
        yield data


def _feed(source: Iterable[bytes], queue: _ByteQueue, digests: Digests, size_bytes: int) -> None:
    """Read the source into the queue until it ends or nobody writes any more."""
    seen = 0
    for chunk in _guarded(source):
        seen += len(chunk)
        if seen > size_bytes:
            raise WrongLength(expected_bytes=size_bytes, actual_bytes=seen)
        digests.update(chunk)
        if not queue.put(chunk):
            return
    if seen < size_bytes:
        raise WrongLength(expected_bytes=size_bytes, actual_bytes=seen)


def _guarded(source: Iterable[bytes]) -> Iterator[bytes]:
    """The source's parts, with an error of the operating system or the network made one of ours."""
    try:
        yield from source
    except ImagevolError:
        raise
    except (OSError, EOFError) as error:
        raise SourceFailed(f"the data could not be read to their end: {error}") from error


class _ByteQueue:
    """A queue bounded in bytes, which either end can abort."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._chunks: deque[bytes] = deque()
        self._bytes = 0
        self._ended = False
        self._aborted = False
        self._changed = threading.Condition()

    def put(self, chunk: bytes) -> bool:
        """Add a chunk once there is room; False when nobody will take it."""
        with self._changed:
            self._changed.wait_for(lambda: self._aborted or self._bytes < self._limit_bytes)
            if self._aborted:
                return False
            self._chunks.append(chunk)
            self._bytes += len(chunk)
            self._changed.notify_all()
            return True

    def get(self) -> bytes | None:
        """Take the next chunk once there is one; None when none will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._aborted or self._ended or bool(self._chunks))
            if self._aborted or not self._chunks:
                return None
            chunk = self._chunks.popleft()
            self._bytes -= len(chunk)
            self._changed.notify_all()
            return chunk

    def end(self) -> None:
        """Say that nothing more comes; what is in the queue is still taken."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def abort(self) -> None:
        """Drop what is in the queue, and let go whoever waits at either end."""
        with self._changed:
            self._aborted = True
            self._changed.notify_all()


class _Writer(threading.Thread):
    """Writes what comes out of the queue to the device, one chunk behind the other."""

    def __init__(self, queue: _ByteQueue, device: Device, progress: Progress | None) -> None:
        super().__init__(name="imagevol-writer", daemon=True)
        self._queue = queue
        self._device = device
        self._progress = progress
        self.written_bytes = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while (chunk := self._queue.get()) is not None:
                self._write(memoryview(chunk))
                if self._progress is not None:
                    self._progress(len(chunk))
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            self.error = error
            self._queue.abort()

    def _write(self, data: memoryview) -> None:
        while data:
            written = self._device.write(self.written_bytes, data)
            if written <= 0:
                raise DeviceFailed(f"the device takes no more data at byte {self.written_bytes}")
            self.written_bytes += written
            data = data[written:]
