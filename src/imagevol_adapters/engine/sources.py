"""What can be written: bytes as they come, and holes, whose bytes need not be sent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from io import FileIO
from typing import BinaryIO

import attrs

from imagevol_adapters.closing import Closeable, close
from imagevol_adapters.engine.parts import PART_BYTES, Crew
from imagevol_adapters.engine.threads import GivingWay, Stopped, lock
from imagevol_adapters.engine.watching import Watch
from imagevol_adapters.error_text import one_line
from imagevol_adapters.file_extents import extents
from imagevol_core import ImagevolError, InvalidSize, SourceFailed

__all__ = ["CallersOwn", "Hole", "Source", "SourceReader", "guarded", "pieces"]


@attrs.frozen
class Hole:
    """So many zeros, which are nowhere.

    Args:
        length: how many.

    Raises:
        InvalidSize: it is negative.
    """

    length: int

    def __attrs_post_init__(self) -> None:
        """Refuse what no hole can be."""
        if self.length < 0:
            raise InvalidSize("Hole.length", self.length, "give 0 or more")


Source = Iterable[bytes | Hole]
"""The function that takes a source closes it, if it can be closed, however the transfer ends."""


def pieces(file: BinaryIO) -> Iterator[bytes | Hole]:
    """Give a file from where it stands: its data in pieces that the engine likes, and its holes unread.

    The file is not closed: its caller has opened it.

    Of what is no file of the system's own, such as a pipe or a `GzipFile`, all are data.

    >>> import io
    >>> list(pieces(io.BytesIO(b"data")))
    [b'data']
    """
    number = _descriptor(file)
    if number is None:
        read = getattr(file, "read1", file.read)  # what there is: to wait for a whole piece would look like a stall
        yield from iter(lambda: read(PART_BYTES), b"")
        return
    at, end = file.tell(), file.seek(0, os.SEEK_END)
    for start, stop, is_data in extents(number, at, end):
        if not is_data:
            yield Hole(stop - start)
        at = start
        while at < stop and is_data:
            # Not through the file object: it does not know that its descriptor was asked for holes.
            data = os.pread(number, min(PART_BYTES, stop - at), at)
            if not data:
                break
            at += len(data)
            yield data
        at = at if is_data else stop
        if at < stop:
            break
    if at < end:
        raise SourceFailed(f"the file ends at byte {at}; it was longer when it was opened")


def _descriptor(file: BinaryIO) -> int | None:
    """Give the descriptor of a file that is the system's own: that of a `GzipFile` is of what it reads itself."""
    plain = file if isinstance(file, FileIO) else getattr(file, "raw", None)
    return plain.fileno() if isinstance(plain, FileIO) and plain.seekable() else None


class CallersOwn(Closeable[bytes]):
    """A source that only the thread of the caller may read, as a request of uWSGI, and that has a deadline of its own.

    >>> list(CallersOwn([b"data"], None))
    [b'data']
    """


class SourceReader:
    """Reads a source piece by piece, and closes it once no thread reads it.

    Attributes:
        watch: measures how long the source takes.
        callers_own: whether only the caller's thread may read it.
    """

    def __init__(self, source: Source, watch: Watch) -> None:
        """Take the source, and what measures it."""
        self.watch = watch
        self.callers_own = isinstance(source, CallersOwn)
        self._items = guarded(source)
        self._give_way = GivingWay()
        self._lock = lock()
        self._readers = 0
        self._unwanted = False

    def next(self, end: memoryview) -> bytes | Hole | memoryview:
        """Give the next piece, or `end`."""
        if self.callers_own:
            return next(self._items, end)
        with self.watch.during("the source"):
            while True:
                piece = next(self._items, end)
                if piece is end or isinstance(piece, Hole) or piece:  # one without a byte is no progress
                    return piece
                if self.watch.over:
                    raise Stopped
                self._give_way()

    def read_by(self, feed: Callable[[Crew], None], crew: Crew) -> None:
        """Let a thread read; if it hangs, and the source is closed meanwhile, it closes the source at its end."""
        with self._lock:
            self._readers += 1
        try:
            feed(crew)
        finally:
            with self._lock:
                self._readers -= 1
                unwanted = self._unwanted
            if unwanted:
                with suppress(Exception):
                    self._items.close()

    def close(self) -> None:
        """Close the source, unless a thread hangs in it."""
        with self._lock:
            if self._readers:
                self._unwanted = True
                return
        self._items.close()


def guarded(source: Source) -> Closeable[bytes | Hole]:
    """Give the source's pieces, with an error of the operating system or the network made one of ours.

    Closing them closes the source, also before the first of them.
    """
    return Closeable(_translated(source), source)


def _translated(source: Source) -> Iterator[bytes | Hole]:
    try:
        yield from source
        close(source)  # here, so that an error of it is one of ours too
    except ImagevolError:
        raise
    except (OSError, EOFError) as error:
        raise SourceFailed(f"the data could not be read to its end: {one_line(error)}") from error
