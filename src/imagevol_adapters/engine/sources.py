"""What can be written: bytes as they come, and holes, of which nobody needs the bytes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from io import UnsupportedOperation
from typing import BinaryIO

import attrs

from imagevol_adapters.devices import extents
from imagevol_adapters.engine.parts import PART_BYTES
from imagevol_core import ImagevolError, SourceFailed

__all__ = ["Hole", "Source", "pieces"]


@attrs.frozen
class Hole:
    """So many zeros, which are nowhere.

    Args:
        length: how many.
    """

    length: int


Source = Iterable[bytes | Hole]


def pieces(file: BinaryIO) -> Iterator[bytes | Hole]:
    """Give a file from where it stands: its data in pieces that the engine likes, and its holes unread.

    Of a file that cannot seek, such as a pipe, all are data.

    >>> import io
    >>> list(pieces(io.BytesIO(b"data")))
    [b'data']
    """
    if not file.seekable():
        yield from iter(lambda: file.read(PART_BYTES), b"")
        return
    for start, end, is_data in _extents(file):
        if not is_data:
            yield Hole(end - start)
            continue
        at = file.seek(start)
        while at < end:
            data = file.read(min(PART_BYTES, end - at))
            if not data:
                raise SourceFailed(f"the file ends at byte {at}; it was longer when it was opened")
            at += len(data)
            yield data


def _extents(file: BinaryIO) -> Iterator[tuple[int, int, bool]]:
    """Yield where data and holes begin and end; of a file that is not the system's all is data."""
    at, end = file.tell(), file.seek(0, os.SEEK_END)
    try:
        number = file.fileno()
    except UnsupportedOperation:
        return iter([(at, end, True)])
    return extents(number, at, end)


def guarded(source: Source) -> Iterator[bytes | Hole]:
    """Give the source's pieces, with an error of the operating system or the network made one of ours."""
    try:
        yield from source
    except ImagevolError:
        raise
    except (OSError, EOFError) as error:
        raise SourceFailed(f"the data could not be read to their end: {error}") from error
