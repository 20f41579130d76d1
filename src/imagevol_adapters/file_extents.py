"""Where a file has data, and where holes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from errno import EINVAL, ENXIO

__all__ = ["extents"]


def extents(fd: int, at: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """Yield where the data and the holes of a file begin and end, but nothing beyond the end that it has by now.

    Where its file system does not tell, all is data.

    Raises:
        OSError: it cannot be asked.
    """
    while at < end:
        try:
            data = min(end, os.lseek(fd, at, os.SEEK_DATA))
            hole = min(end, os.lseek(fd, data, os.SEEK_HOLE))
        except OSError as error:
            if error.errno not in (ENXIO, EINVAL):
                raise
            if error.errno == ENXIO:  # there are no more data
                data = hole = end = min(end, os.lseek(fd, 0, os.SEEK_END))
            else:  # the file system does not tell
                data, hole = at, end
        if at < data:
            yield at, data, False
        if data < hole:
            yield data, hole, True
        at = hole
