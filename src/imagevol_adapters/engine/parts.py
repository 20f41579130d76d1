"""The memory that the data passes through, and the threads that each do one thing with it.

A stream is cut into parts.  The memory of a part is aligned as direct I/O wants it, and is used again as soon as every
thread is done with it: however long the stream, the same few mebibytes.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import attrs

from imagevol_adapters.engine.threads import GivingWay, Inbox, Patience, Stopped, Workers, forever, lock
from imagevol_adapters.engine.watching import elsewhere
from imagevol_core import Digest, TransferStalled

__all__ = ["ALIGNED_ZEROS", "ALIGNMENT_BYTES", "PART_BYTES", "POOL_BYTES", "ZEROS", "Crew", "Job", "Part"]

ALIGNMENT_BYTES = 4096  # of memory, offset and length, enough for direct I/O on any disk of today
PART_BYTES = 1 << 20  # large enough that a call costs nothing beside its bytes, small enough to stay in a cache
POOL_BYTES = 16 * PART_BYTES
ZEROS = bytes(PART_BYTES)
ALIGNED_ZEROS = memoryview(mmap.mmap(-1, PART_BYTES, prot=mmap.PROT_READ))  # that direct I/O can take


@attrs.define(eq=False)
class Part:
    """A piece of a stream.

    Attributes:
        offset: where in the stream it begins.
        length: how many bytes it has.
        data: the bytes; None where all are zero and were never read.
        memory: what they are in.
        digests: of all that comes before; not None for a mark, which has no bytes, and each digest writes itself there.
    """

    offset: int
    length: int
    data: memoryview | None
    memory: memoryview
    waiting: int = 0
    digests: dict[str, Digest] | None = None


Job = Callable[[Part], None]


class Crew:
    """Threads that each do one job with every part of a stream, in its order.

    The feeder fills the memory that the crew gives, and hands it on; if none is free, it waits for the slowest thread.
    When a job fails, the others stop too, and the feeder is told at the next turn.
    """

    error: BaseException | None
    """What a job raised first, or what was given to `stop`."""

    def __init__(
        self,
        jobs: Iterable[Job],
        *,
        part_bytes: int = PART_BYTES,
        feeder: Callable[[Crew], None] | None = None,
        patience: Patience = forever,
        unwanted: Callable[[], object] = lambda: None,
    ) -> None:
        """Take what the threads will do; `start` starts them.

        Args:
            jobs: what is done with each part, at the same time.
            part_bytes: how large a part is at most.
            feeder: hands on parts in a thread of its own, where the caller's takes them from `parts`.
            patience: of the caller with the threads.
            unwanted: called when the stream is not wanted any more, as after an interrupt.
        """
        self.error = None
        self.over = False
        self._patience = patience
        self._unwanted = unwanted
        self._lock = lock()
        self._free: Inbox[memoryview] = Inbox()
        self._part_bytes = part_bytes
        self._unmade = POOL_BYTES // max(part_bytes, PART_BYTES)
        self._followed: Inbox[Part | None] = Inbox()
        self._todo, self._feeder = tuple(jobs), feeder
        self._jobs: list[Inbox[Part | None]] = []
        self._followers = [self._followed] if feeder else []
        self._workers = Workers(self._thread_failed)
        self._give_way = GivingWay()

    def start(self) -> None:
        """Start a thread for each job, and one for the feeder.

        Call it where `end` is called whatever happens: an interrupt can come as soon as the first thread runs.

        Raises:
            ThreadFailed: a thread could not begin.
        """
        for job in self._todo:
            queue: Inbox[Part | None] = Inbox()
            self._jobs.append(queue)
            self._workers.start(partial(self._work, job, queue))
        if self._feeder:
            self._workers.start(partial(self._feed, self._feeder))

    def memory(self, patience: Patience = forever) -> memoryview:
        """Give free memory for a part, once there is some.

        Raises:
            imagevol_adapters.engine.threads.Stopped: nothing more is wanted; `error` is the reason, if a job failed.
            TransferStalled: the patience is over.
        """
        if self._unmade and self._free.empty():
            self._unmade -= 1
            self._free.put(memoryview(mmap.mmap(-1, self._part_bytes)))
        memory = self._free.get(patience)
        if self.over:
            raise Stopped
        return memory

    def hand_on(self, part: Part) -> None:
        """Let every thread do its job with a part."""
        queues = [*self._followers, *self._jobs]
        part.waiting = len(queues)
        for queue in queues:
            queue.put(part)

    def mark(self, offset: int) -> None:
        """Let every thread come to a mark between two parts; the caller's thread is given it once all have."""
        mark = Part(offset, 0, None, memoryview(b""), waiting=len(self._jobs), digests={})
        for queue in self._jobs:
            queue.put(mark)

    def marked(self, patience: Patience = forever) -> Part:
        """Give the mark once all threads have come to it, to a feeder in the caller's thread.

        Raises:
            imagevol_adapters.engine.threads.Stopped: nothing more is wanted.
            TransferStalled: the patience is over.
        """
        mark = self._followed.get(patience)
        if mark is None or self.over:
            raise Stopped
        return mark

    def parts(self) -> Iterator[Part]:
        """Give each part that the feeder hands on to the caller's thread, and each mark that all others have come to.

        Raises:
            TransferStalled: the patience with the threads is over.
        """
        while (part := self._next()) is not None:
            yield part
            if part.digests is None:
                self._done(part)
            self._give_way()

    def stop(self, error: BaseException | None = None) -> None:
        """Let no job begin any more, and let go the feeder."""
        with self._lock:
            self.error = self.error or error
            self.over = True
        self._free.put(memoryview(b""))
        if error is None:
            self._unwanted()

    def end(self) -> None:
        """Say that nothing more comes, and return when every thread is done with what was handed on, whatever happens.

        An interrupt meanwhile stops what has not begun, and is raised when what has begun is done.  A thread that hangs
        is left to itself; `error` says so.
        """
        try:
            with elsewhere():
                self._workers.end(close=self._close, stop=self.stop, patience=self._patience)
        except TransferStalled as error:
            self.stop(error)
        finally:
            if self._workers.ended:
                self._free.close()
                self._followed.close()

    def _next(self) -> Part | None:
        with elsewhere(self.stop):
            part = self._followed.get(self._patience)
        if part is None and self.over and self.error is None:  # by who waits for the caller of this
            raise Stopped
        return part

    def _close(self) -> None:
        for queue in (*self._followers, *self._jobs):
            queue.put(None)

    def _thread_failed(self, error: BaseException) -> None:
        """Let no other thread wait for one that ended with what it was doing, as by an error raised from outside."""
        self.stop(error)
        self._followed.put(None)

    def _feed(self, feeder: Callable[[Crew], None]) -> None:
        try:
            feeder(self)
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            self.stop(error)
        finally:
            self._close()

    def _work(self, job: Job, queue: Inbox[Part | None]) -> None:
        while (part := queue.get()) is not None:
            if not self.over:
                try:
                    job(part)
                except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
                    self.stop(error)
            self._done(part)

    def _done(self, part: Part) -> None:
        with self._lock:
            part.waiting -= 1
            free = part.waiting == 0
        if free and part.digests is not None:
            self._followed.put(part)
        elif free:
            self._free.put(part.memory)
