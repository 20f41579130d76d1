"""The lock of a temporary file, which tells that a process uses the file.

The kernel takes a lock away with the last process that has it.  So a file of which nothing has the lock is not in use,
also by a process in a container.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["LOOK", "in_use"]

LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""How a temporary file is opened to be locked, or to see whether it is."""


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Tell others that a process uses a temporary file, while the context lasts.

    Args:
        path: of the file, which exists.

    Raises:
        OSError: it cannot be opened; a file system without locks is no error.
    """
    descriptor = os.open(path, LOOK)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)
