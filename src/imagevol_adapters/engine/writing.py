"""A stream into a device: read, digested and written at the same time.

A thread reads the source, and there is one for each digest and one for the device.  The caller's thread waits for them,
so that an interrupt reaches it, and so that a source or a device that hangs holds up nothing but its thread.  Under
eventlet the source is read by the caller's greenlet: what it reads from is eventlet's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import partial
from typing import Self

from imagevol_adapters.closing import closed_on_failure
from imagevol_adapters.engine.clearing import Believed, Clearing, requests, write_all
from imagevol_adapters.engine.digests import Digests
from imagevol_adapters.engine.limits import Limits, Pace, Progress, Throttle, TransferProgress, TransferReport
from imagevol_adapters.engine.parts import ALIGNED_ZEROS, ALIGNMENT_BYTES, PART_BYTES, ZEROS, Crew, Part
from imagevol_adapters.engine.sources import Hole, Source, SourceReader
from imagevol_adapters.engine.steps import Stepping, Steps
from imagevol_adapters.engine.threads import (
    GivingWay,
    Patience,
    Stopped,
    forever,
    green_timer,
    in_thread,
    is_patched,
)
from imagevol_adapters.engine.watching import all_of, size_in_time, watched_device
from imagevol_adapters.engine.zeros import runs
from imagevol_adapters.ports import Device
from imagevol_core import DeviceFailed, ImagevolError, InvalidFact, WrongLength, ZeroHandling
from imagevol_core.sentences import amount

__all__ = ["Observer", "StreamWriter", "clear_rest", "write_stream"]

Observer = Callable[[memoryview], None]
"""Is shown the pieces of a stream in their order, and may keep none of them."""


def write_stream(
    source: Source,
    device: Device,
    *,
    size_bytes: int,
    zeros: ZeroHandling = ZeroHandling.PUNCH,
    algorithms: Iterable[str] = ("md5", "sha512"),
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> TransferReport:
    """Write a stream of known length to the beginning of a device, let the rest read as zeros, and flush it.

    Args:
        source: the data, in pieces of any length, and holes; closed at the end, if it can be closed.
        device: not smaller than the data.
        size_bytes: how many bytes there are.
        zeros: what becomes of zeros, as `plan_copy` says: `SKIP` only where the whole device is proven to be zero.
        algorithms: the digests wanted.
        progress: told how far it is.
        limits: how fast it may go, and what ends it.

    Raises:
        WrongLength: the stream is shorter or longer; no byte of it beyond `size_bytes` was written.
        SourceFailed: the source could not be read to its end.
        SourceStalled: no data came for too long.  A thread may still read the source, and closes it.
        DeviceFailed: the device is too small, or a write or the flush failed.
        DeviceStalled: the device has not answered in time.  A thread may still use it: do not close it.
        TransferCancelled: it was.
    """
    with StreamWriter(source, size_bytes=size_bytes, algorithms=algorithms, progress=progress, limits=limits) as writer:
        writer.write(device, zeros=zeros)
        return writer.report()


class StreamWriter:
    """One stream on its way to a device, or, where its length is not known, to one after the other that is larger.

    The source is closed as soon as the stream ends or a write fails, and at the end of the writer's context.
    """

    def __init__(
        self,
        source: Source,
        *,
        size_bytes: int | None = None,
        algorithms: Iterable[str] = ("md5", "sha512"),
        observe: Observer | None = None,
        progress: Progress | None = None,
        limits: Limits | None = None,
        begun: Digests | None = None,
        position: int = 0,
    ) -> None:
        """Take what `write_stream` takes; a length that is None is found out.

        `observe` is given the stream, piece by piece and before it is written; what it raises ends the transfer.  A
        stream that was written in part before goes on at `position`, with the digests `begun` of what comes before it.
        """
        self._started = time.monotonic()
        self._limits = limits or Limits()
        self._source = SourceReader(source, self._limits.source_watch())
        self._piece: memoryview | Hole = memoryview(b"")
        self._size_bytes = size_bytes
        with closed_on_failure(self):
            self._digests = begun or Digests(algorithms)
        self._observe = observe
        self._progress = progress
        self._throttle = Throttle(self._limits)
        self._give_way = GivingWay()
        self._believed = Believed()  # kept from device to device: the next one holds the same bytes
        self._broken = False
        self._read_bytes, self._position, self._begun_at = 0, position, position
        self._written = self._zeroed = self._skipped = 0

    def __enter__(self) -> Self:
        """Nothing is done yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the source."""
        self.close()

    def close(self) -> None:
        """Close the source, if that has not been done."""
        self._source.close()

    @property
    def position(self) -> int:
        """How many bytes of the stream were taken."""
        return self._position

    def write(
        self,
        device: Device,
        *,
        zeros: ZeroHandling = ZeroHandling.PUNCH,
        data_bytes: int | None = None,
        steps: Steps | None = None,
    ) -> bool:
        """Write on to a device that has what was written before, until the stream ends or the device does.

        Args:
            device: which one.
            zeros: what becomes of zeros on it.
            data_bytes: return after so many bytes that are no holes, when they are on the storage; None for no limit.
            steps: told how far the stream is on the storage; not told of where this returns.

        Returns:
            Whether the stream has ended; if not, give a larger device, or call again after `data_bytes`.

        Raises:
            ImagevolError: as `write_stream`.
        """
        if self._broken:
            raise InvalidFact("StreamWriter", "a write failed before; begin again, with the source from its beginning")
        wanted = max(self._size_bytes or 0, self._position)
        size_bytes = size_in_time(device, self._limits.stall_seconds)
        if size_bytes < wanted:
            raise DeviceFailed(f"{device.what} has {amount(size_bytes, 'byte')}, and {wanted} must be written")
        self._broken = True
        with closed_on_failure(self):
            ended = self._written_onto(device, zeros, data_bytes, Stepping(steps) if steps else None)
        self._broken = False
        return ended

    def _written_onto(
        self, device: Device, zeros: ZeroHandling, data_bytes: int | None, steps: Stepping | None
    ) -> bool:
        watch = self._limits.device_watch(device)
        patience = all_of(watch, self._source.watch)
        device = watched_device(device, watch)
        sink = _Sink(device, zeros, self._position, pace=self._throttle.take, believed=self._believed)
        here = self._source.callers_own or is_patched()
        end, ended, context = device.size_bytes, list[bool](), copy_context()

        def feed(crew: Crew) -> None:
            sink.pace = self._throttle.until(lambda: crew.over)
            waiting = patience if here else forever
            try:
                ended.append(self._feed(crew, sink, end, data_bytes, steps, waiting))
            except ImagevolError:  # of the source
                if steps:
                    steps.settle(crew, self._position, waiting)
                raise

        crew = Crew(
            [*self._digests.jobs(), sink.take],
            part_bytes=self._limits.part_bytes(self._digests.part_bytes),
            feeder=None if here else partial(self._source.read_by, lambda crew: context.run(feed, crew)),
            patience=patience,
            unwanted=self._source.watch.hurry,
        )
        try:
            crew.start()
            if here:
                with green_timer(patience):
                    feed(crew)
            else:
                for part in crew.parts():
                    if steps and part.digests is not None and not crew.over:
                        steps.keep(part)
                    self._tell(sink.done_bytes, sink.skipped_bytes)
                    self._throttle.check()
        except Stopped:  # by an error, which is raised below
            pass
        except Exception as error:  # noqa: BLE001 - raised below, unless another one came before it
            crew.stop(error)
        except BaseException:
            crew.stop()
            raise
        finally:
            try:
                crew.end()
            except BaseException:  # also an interrupt right as it is called, before it can wait
                crew.stop()
                crew.end()
                raise
        if crew.error is not None:
            raise crew.error
        in_thread(sink.end, stop=crew.stop, patience=watch.patience)
        self._tell(self._position, sink.skipped_bytes)
        in_thread(lambda: sink.finish(whole=ended == [True]), stop=crew.stop, patience=watch.patience)
        self._written += sink.written_bytes
        self._zeroed += sink.zeroed_bytes
        self._skipped += sink.skipped_bytes
        return ended == [True]

    def report(self) -> TransferReport:
        """Say what was done so far."""
        return TransferReport(
            read_bytes=self._read_bytes,
            written_bytes=self._written,
            zeroed_bytes=self._zeroed,
            skipped_bytes=self._skipped,
            size_bytes=self._position,
            seconds=time.monotonic() - self._started,
            digests=self._digests.values(),
            earlier_bytes=self._begun_at,
        )

    def _feed(
        self,
        crew: Crew,
        sink: _Sink,
        end: int,
        data_bytes: int | None,
        steps: Stepping | None,
        patience: Patience,
    ) -> bool:
        """Cut the source into parts until it ends, or the device does, or so many bytes of data were taken.

        Returns:
            Whether the source has ended.
        """
        here = patience is not forever
        most = None if data_bytes is None else self._read_bytes + data_bytes
        while most is None or self._read_bytes < most:
            memory = crew.memory(patience)
            longest = min(len(memory), steps.left_bytes) if steps else len(memory)
            longest = longest if most is None else min(longest, most - self._read_bytes)
            part = self._part(memory, end - self._position, longest)
            if part is None:
                return self._piece is _END
            self._throttle.take(0 if part.data is None else part.length, over=lambda: crew.over)
            self._show(part)
            self._position += part.length
            crew.hand_on(part)
            if steps and steps.due(0 if part.data is None else part.length):
                steps.mark(crew, self._position, patience)
            if here:
                self._tell(sink.done_bytes, sink.skipped_bytes)
        return False

    def _part(self, memory: memoryview, room: int, longest: int) -> Part | None:
        """Give the next part: bytes or a hole, never both; None where the stream ends or there is no room for more."""
        filled = 0
        while filled < longest and (piece := self._next_piece(filled)) is not _END:
            if isinstance(piece, Hole):
                length = min(piece.length, room, _LONGEST_HOLE)
                if filled or not length:
                    break
                self._piece = Hole(piece.length - length)
                return Part(self._position, length, None, memory)
            taken = min(len(piece), longest - filled, room - filled)
            if not taken:
                break
            memory[filled : filled + taken] = piece[:taken]
            self._piece = piece[taken:]
            filled += taken
        self._read_bytes += filled
        return Part(self._position, filled, memory[:filled], memory) if filled else None

    def _next_piece(self, ahead: int) -> memoryview | Hole:
        """Give what is left of the last piece, or the next one that is not empty, and hold them to the stream's length.

        Raises:
            WrongLength: it is shorter than it was said to be, or longer.
        """
        while self._piece is not _END and not _length(self._piece):
            piece = self._source.next(_END)
            self._give_way()
            self._piece = piece if isinstance(piece, Hole) or piece is _END else memoryview(piece)
        seen = self._position + ahead + _length(self._piece)
        wanted = self._size_bytes
        if wanted is not None and (seen > wanted or (self._piece is _END and seen < wanted)):
            raise WrongLength(expected_bytes=wanted, actual_bytes=seen)
        return self._piece

    def _show(self, part: Part) -> None:
        if self._observe is None:
            return
        if part.data is not None:
            self._observe(part.data)
            return
        for at in range(0, part.length, PART_BYTES):
            self._observe(memoryview(ZEROS)[: min(PART_BYTES, part.length - at)])

    def _tell(self, done_bytes: int, skipped_bytes: int) -> None:
        if self._progress is not None:
            skipped = self._skipped + skipped_bytes
            self._progress(TransferProgress(done_bytes=done_bytes, skipped_bytes=skipped, total_bytes=self._size_bytes))


def clear_rest(device: Device, *, offset: int, zeros: ZeroHandling, limits: Limits | None = None) -> int:
    """Let all of a device from `offset` on read as zeros, as `plan_copy` says, and flush it.

    Returns:
        How many zeros had to be sent.

    Raises:
        DeviceFailed: it could not be done.
        DeviceStalled: the device has not answered in time.
    """
    over: list[bool] = []
    limited = limits or Limits()
    watch = limited.device_watch(device)
    pace = Throttle(limited).until(lambda: bool(over))
    sink = _Sink(watched_device(device, watch), zeros, offset, pace=pace)
    in_thread(lambda: sink.finish(whole=True), stop=lambda: over.append(True), patience=watch.patience)
    return sink.written_bytes


class _Sink:
    """Writes parts to a device, in order, and deals with the zeros in them."""

    def __init__(
        self, device: Device, zeros: ZeroHandling, offset: int, *, pace: Pace, believed: Believed | None = None
    ) -> None:
        self.pace = pace
        self._device = device
        self._zeros = zeros
        self._clearing = Clearing(device, believed)
        self._pending = 0  # zeros before `done_bytes` that nothing was done about yet
        self.done_bytes = offset
        self.written_bytes = self.zeroed_bytes = self.skipped_bytes = 0
        self._unflushed = 0  # bytes that may be in a page cache

    def take(self, part: Part) -> None:
        """Write one part, or bring all before a mark to the storage."""
        if part.digests is not None:
            self._clear()
            self._device.flush()
        elif part.data is None:
            self._zero(part.length)
        elif self._zeros is ZeroHandling.WRITE:
            self._write(part.data)
        else:
            for start, end, is_data in runs(part.data):
                if is_data:
                    self._write(part.data[start:end])
                else:
                    self._zero(end - start)

    def end(self) -> None:
        """Do what is left to do."""
        self._clear()

    def clear_rest(self) -> None:
        """Let all after the last part read as zeros."""
        self._zero(self._device.size_bytes - self.done_bytes)
        self._clear()

    def finish(self, *, whole: bool) -> None:
        """Flush the device, and let the rest of it read as zeros before if the stream has ended."""
        if whole:
            self.clear_rest()
        self._device.flush()

    def _zero(self, length: int) -> None:
        self._pending += length
        self.done_bytes += length

    def _write(self, data: memoryview) -> None:
        self._clear()
        self._send(self.done_bytes, data)
        self.done_bytes += len(data)

    def _clear(self) -> None:
        """Let the zeros before this place be zeros: in one go, however many parts they were in."""
        start, length = self.done_bytes - self._pending, self._pending
        self._pending = 0
        if self._zeros is ZeroHandling.SKIP:
            self.skipped_bytes += length
            return
        first = min(length, -start % ALIGNMENT_BYTES)
        whole = (length - first) // ALIGNMENT_BYTES * ALIGNMENT_BYTES
        self._send_zeros(start, first)
        for at, count in requests(start + first, start + first + whole, longest=self._device.clear_bytes):
            self._clear_whole(at, count)
        self._send_zeros(start + first + whole, length - first - whole)

    def _clear_whole(self, offset: int, length: int) -> None:
        self.pace(0)
        if self._zeros is ZeroHandling.PUNCH and self._clearing.clear(offset, length):
            self.zeroed_bytes += length
            return
        self._send_zeros(offset, length)
        for at, count in self._clearing.disbelieved():
            self.zeroed_bytes -= count
            self._send_zeros(at, count)

    def _send_zeros(self, offset: int, length: int) -> None:
        for at in range(0, length, PART_BYTES):
            count = min(PART_BYTES, length - at)
            self.pace(count)
            self._send(offset + at, ALIGNED_ZEROS[:count])

    def _send(self, offset: int, data: memoryview) -> None:
        self.written_bytes += len(data)
        write_all(self._device, offset, data)
        if not self._device.direct_io:
            self._unflushed += len(data)
            if self._unflushed >= _UNFLUSHED_BYTES:
                self._unflushed = 0
                self._device.flush()


def _length(piece: memoryview | Hole) -> int:
    return piece.length if isinstance(piece, Hole) else len(piece)


_END = memoryview(b"")  # known by its identity
_UNFLUSHED_BYTES = 1 << 30  # so that no flush takes so long that it looks like a stall
_LONGEST_HOLE = 64 * PART_BYTES  # so that a transfer of holes can be cancelled too
