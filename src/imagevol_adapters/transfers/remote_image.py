"""An image that stays in Glance while it is converted: read at any place, and held to its digest.

One stream passes through the whole image in its order, once, and makes the digest.  What is asked for behind it, or far
ahead of it, comes by a range of its own.  Of each block a fingerprint is kept, so that a range can only give the bytes
that the digest was made of.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import BinaryIO, cast

from imagevol_adapters.closing import closing
from imagevol_adapters.disk_files import disk_file
from imagevol_adapters.engine import BLAKE3, Limits, has_blake3
from imagevol_adapters.engine.digests import Digests, compare
from imagevol_adapters.engine.limits import Throttle
from imagevol_adapters.engine.parts import PART_BYTES, Crew, Part
from imagevol_adapters.engine.sources import guarded
from imagevol_adapters.engine.starting import Thread
from imagevol_adapters.engine.threads import Stopped
from imagevol_adapters.error_text import one_line
from imagevol_core import ContentMismatch, Digest, SourceFailed, SourceStalled, TransferCancelled

__all__ = ["NoRanges", "Ranges", "RemoteImage"]

Ranges = Callable[[int], Iterable[bytes]]
"""Gives an image's data from an offset on, to its end; closed where it is not read to its end."""

BLOCK_BYTES = PART_BYTES
_CACHED_BLOCKS = 32
_AHEAD_BLOCKS = 8  # which are read while the blocks before them are used
_TURN_SECONDS = 0.05
_ENDING_SECONDS = 0.5  # for reads that are not wanted any more; those that hang are left to their threads
_NEAR_BLOCKS = 8  # which are read over rather than asking again
_LEAST_RANGES = 64  # that an image may need, however small
_BLOCKS_A_RANGE = 16  # and one more for so many of its blocks


class NoRanges(SourceFailed):
    """The image is better kept in a file: no ranges of it are given, or too many would be needed."""


class RemoteImage:
    """An image whose blocks are fetched as they are needed, in memory that does not grow with it.

    What it holds are 32 MiB of blocks, and 16 bytes for each MiB of the image.  One thread at a time may use it.

    Attributes:
        what: names it in an error.
        size_bytes: how long it is.
        stall_seconds: how long no data may come.
    """

    def __init__(
        self, ranges: Ranges, *, size_bytes: int, digest: Digest | None, what: str, limits: Limits | None = None
    ) -> None:
        """Take what gives its data, and what is known of it; nothing is read yet.

        Args:
            ranges: gives the data from an offset on.
            size_bytes: how long the image is.
            digest: what it must have; when None only its length is compared.
            what: names it in an error.
            limits: how fast it may go, and what ends it.
        """
        self.what = what
        self.size_bytes = size_bytes
        self._ranges = ranges
        self._digest = digest
        self._limits = limits or Limits()
        self.stall_seconds = self._limits.stall_seconds
        self._throttle = Throttle(self._limits)
        self._through = False
        self._cached: OrderedDict[int, bytes] = OrderedDict()
        self._fingerprints: dict[int, bytes] = {}
        self._passing = _Blocks(ranges, 0, self)
        self._aside: _Blocks | None = None
        self._left = _LEAST_RANGES + size_bytes // BLOCK_BYTES // _BLOCKS_A_RANGE
        self._digests = Digests([digest.algorithm] if digest else [])
        self._crew = Crew([*self._digests.jobs(), self._note])

    @classmethod
    @contextmanager
    def open(
        cls, ranges: Ranges, *, size_bytes: int, digest: Digest | None, what: str, limits: Limits | None = None
    ) -> Iterator[RemoteImage]:
        """Give one while the context lasts; what it reads is closed then."""
        image = cls(ranges, size_bytes=size_bytes, digest=digest, what=what, limits=limits)
        try:
            image._crew.start()
            yield image
        except BaseException:
            image._crew.stop()
            raise
        finally:
            image._close()

    @property
    def file(self) -> BinaryIO:
        """The image as a file, of which a `Converter` knows that qemu-img asks for it in ranges."""
        return disk_file(self)

    def read_through(self) -> None:
        """Expect reads in about the order of the bytes from now on, and read ahead of them."""
        self._through = True
        self._passing.read_ahead()

    def refuse_changed(self) -> None:
        """Read what was not asked for yet, and refuse the image unless all of it has its digest.

        Raises:
            ContentMismatch: it has another one, or a range gave other bytes than the whole.
            SourceFailed: it could not be read to its end.
            TransferCancelled: it was.
        """
        while self._passing.place * BLOCK_BYTES < self.size_bytes:
            self._pass()
        self._passing.end()
        self._crew.end()
        if self._crew.error is not None:
            raise self._crew.error
        if self._digest is not None:
            compare(self._digests, self._digest, self.what)

    def read_at(self, offset: int, length: int) -> bytes:
        """Give these bytes.

        Raises:
            SourceFailed: the image cannot be read, or ends before.
            ContentMismatch: they are not those of the whole.
            NoRanges: it would take too many ranges.
            TransferCancelled: it was.
        """
        end = min(offset + length, self.size_bytes)
        pieces = []
        while offset < end:
            block, within = divmod(offset, BLOCK_BYTES)
            pieces.append(self._block(block)[within : within + end - offset])
            offset += len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def block_bytes(self, block: int) -> int:
        """Tell how long a block is: the last one is shorter."""
        return min(BLOCK_BYTES, self.size_bytes - block * BLOCK_BYTES)

    def is_cancelled(self) -> bool:
        """Tell whether the transfer must end."""
        return self._limits.cancelled.is_set()

    def _block(self, block: int) -> bytes:
        if block in self._cached:
            self._cached.move_to_end(block)
            return self._cached[block]
        ahead = block - self._passing.place
        if ahead >= 0 and (self._through or ahead < _NEAR_BLOCKS):
            for _ in range(ahead):
                self._pass()
            return self._pass()
        return self._fetched_aside(block)

    def _pass(self) -> bytes:
        """Take the next block of the stream through the whole image."""
        block = self._passing.place
        data = self._passing.next()
        try:
            memory = self._crew.memory()
        except Stopped:
            raise self._crew.error or TransferCancelled("the transfer was cancelled") from None
        memory[: len(data)] = data
        self._crew.hand_on(Part(block * BLOCK_BYTES, len(data), memory[: len(data)], memory))
        return self._kept(block, data)

    def _note(self, part: Part) -> None:
        """Fingerprint what passes, in a thread of its own."""
        if part.data is not None:
            self._compare(part.offset // BLOCK_BYTES, part.data)

    def _fetched_aside(self, block: int) -> bytes:
        """Take a block out of a range; one that ended a little before it goes on."""
        if self._aside is None or not 0 <= block - self._aside.place < _NEAR_BLOCKS:
            self._left -= 1
            if self._left < 0:
                raise NoRanges(f"{self.what} would have to be read in too many ranges")
            if self._aside is not None:
                _ended(self._aside)
            self._aside = _Blocks(self._ranges, block, self)
        while True:
            place, data = self._aside.place, self._aside.next()
            self._compare(place, data)
            self._kept(place, data)
            if place == block:
                return data

    def _kept(self, block: int, data: bytes) -> bytes:
        """Keep a block as long as there is room."""
        self._throttle.take(len(data))
        self._cached[block] = data
        self._cached.move_to_end(block)
        while len(self._cached) > _CACHED_BLOCKS:
            self._cached.popitem(last=False)
        return data

    def _compare(self, block: int, data: bytes | memoryview) -> None:
        """Hold a block to what was seen of it before."""
        seen = _fingerprint(data)
        before = self._fingerprints.setdefault(block, seen)
        if seen != before:
            raise ContentMismatch(
                f"block {block} of {self.what}",
                expected=f"fingerprint:{before.hex()}",
                actual=f"fingerprint:{seen.hex()}",
            )

    def _close(self) -> None:
        try:
            _ended(*(each for each in (self._passing, self._aside) if each is not None))
        finally:
            self._crew.end()


class _Blocks:
    """The data from one block on, block by block; nothing is asked for before the first one.

    A thread reads them, under eventlet a greenlet, whose hub the connection belongs to.  It closes them too, since a
    read that hangs can be ended by nothing.
    """

    def __init__(self, ranges: Ranges, block: int, image: RemoteImage) -> None:
        self.place = block
        self._image = image
        self._blocks = self._cut(ranges, block)
        self._wanted = threading.Semaphore(0)  # how many blocks may be read
        self._read: queue.Queue[bytes | BaseException | None] = queue.Queue()
        self._last: BaseException | None = None
        self._has_ended = False
        self._over = False
        self._came_bytes = 0
        self._thread: Thread | None = None

    def read_ahead(self) -> None:
        """Read so many blocks before they are asked for."""
        self._want(_AHEAD_BLOCKS)

    def next(self) -> bytes:
        """Give the block at `place`, which moves on."""
        data = self._next()
        if data is None:
            raise SourceFailed(f"{self._image.what} ends before byte {self._image.size_bytes}")
        self.place += 1
        return data

    def end(self) -> None:
        """Refuse data after the last block.

        Raises:
            SourceFailed: there is some.
        """
        if self._next() is not None:
            raise SourceFailed(f"{self._image.what} has more than its {self._image.size_bytes} bytes")

    def stop(self) -> None:
        """Let the thread close the data and end, as soon as a read that is under way has returned."""
        self._over = True
        self._wanted.release()

    def wait_ended(self, until: float) -> None:
        """Wait until the thread has ended, unless it hangs."""
        if self._thread is not None and not isinstance(self._last, SourceStalled):
            self._thread.join(max(0.0, until - time.monotonic()))

    def _want(self, blocks: int) -> None:
        self._wanted.release(blocks)
        if self._thread is None:
            self._thread = Thread(self._read_wanted, name="imagevol-ahead", green=True)
            self._thread.start()

    def _next(self) -> bytes | None:
        if not self._has_ended:  # what it ended with may be asked for again
            self._want(1)
            data = self._waited_for()
            if isinstance(data, bytes):
                return data
            self._has_ended, self._last = True, data
        if self._last is not None:
            raise self._last
        return None

    def _waited_for(self) -> bytes | BaseException | None:
        """Give the next block, unless no byte of it comes for too long, or it is not wanted any more."""
        seconds = self._image.stall_seconds
        came, since = self._came_bytes, time.monotonic()
        while True:
            with suppress(queue.Empty):
                return self._read.get(timeout=min(_TURN_SECONDS, seconds))
            if self._over or self._image.is_cancelled():
                return TransferCancelled("the transfer was cancelled")
            if self._came_bytes != came:
                came, since = self._came_bytes, time.monotonic()
            elif time.monotonic() - since >= seconds:
                return SourceStalled(self._image.what, seconds=seconds)

    def _read_wanted(self) -> None:
        try:
            with closing(self._blocks):
                while self._wanted.acquire() and not self._over:
                    data = next(self._blocks, None)
                    self._read.put(data)
                    if data is None:
                        return
        except BaseException as error:  # noqa: BLE001 - raised where the block is asked for
            self._read.put(self._named(error))

    def _named(self, error: BaseException) -> BaseException:
        """Let an error of what reads say which image cannot be read."""
        if not isinstance(error.__cause__, (OSError, EOFError)) or type(error) is not SourceFailed:
            return error
        named = SourceFailed(f"{self._image.what} cannot be read: {one_line(error.__cause__)}")
        named.__cause__ = error.__cause__
        return named

    def _cut(self, ranges: Ranges, block: int) -> Generator[bytes, None, None]:
        data = guarded(ranges(block * BLOCK_BYTES))
        with closing(data):
            held = bytearray()
            for chunk in data:
                if self._over:
                    return
                self._came_bytes += len(cast("bytes", chunk))
                held += cast("bytes", chunk)  # a service gives no holes
                while held and len(held) >= (wanted := max(1, self._image.block_bytes(block))):
                    with memoryview(held) as view:
                        whole = bytes(view[:wanted])
                    del held[:wanted]
                    yield whole
                    block += 1
            if block * BLOCK_BYTES < self._image.size_bytes:
                at = block * BLOCK_BYTES + len(held)
                raise SourceFailed(f"{self._image.what} ends at byte {at}, and has {self._image.size_bytes}")


def _ended(*reading: _Blocks) -> None:
    """Let their threads end, and wait a moment for them."""
    for each in reading:
        each.stop()
    until = time.monotonic() + _ENDING_SECONDS
    for each in reading:
        each.wait_ended(until)


def _fingerprint(data: bytes | memoryview) -> bytes:
    """Tell a block from any other, as cheaply as goes here."""
    if has_blake3():
        digest: bytes = import_module(BLAKE3).blake3(data).digest(length=16)
        return digest
    return hashlib.blake2b(data, digest_size=16).digest()
