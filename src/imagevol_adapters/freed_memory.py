"""Memory that is freed and needed again for each piece of an image, kept for the next piece."""

from __future__ import annotations

__all__ = ["keep_freed_memory"]

_LONGEST_BYTES = 8 << 20


def keep_freed_memory() -> None:
    """Let glibc keep up to 16 MiB of freed memory for each of its arenas, as long as the process lives.

    Glance and its web server make several buffers for each piece of an image, and free them again.  At first, glibc
    returns such memory to the kernel each time, and the kernel clears each page before it gives it out again: in an
    upload that costs more than a digest.  glibc adapts to the longest block that was freed, up to 32 MiB, unless
    `MALLOC_MMAP_THRESHOLD_` or `MALLOC_TRIM_THRESHOLD_` are in the environment.  So one long block is freed.  Nothing
    writes to it, so it never takes any memory.

    >>> keep_freed_memory()
    """
    bytes(_LONGEST_BYTES)
