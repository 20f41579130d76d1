"""Where a process is disturbed: the N-th call of a system call, and how; drawn from a seed."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import attrs

__all__ = ["ERRORS", "KILL", "Point", "counted", "drawn"]

KILL = "SIGKILL"
_STORAGE = ("EIO", "ENOSPC", "EINTR")
_NETWORK = ("ECONNRESET", "EINTR", "EIO")

ERRORS: Mapping[str, tuple[str, ...]] = {
    "write": _STORAGE,
    "pwrite64": _STORAGE,
    "fsync": _STORAGE,
    "fdatasync": _STORAGE,
    "fallocate": _STORAGE,
    "ioctl": ("EIO", "EINTR"),
    "rename": ("EIO", "ENOSPC"),
    "link": ("EIO", "ENOSPC"),
    "linkat": ("EIO", "ENOSPC"),
    "unlink": ("EIO",),
    "openat": ("EIO", "ENOSPC", "EMFILE"),
    "connect": _NETWORK,
    "sendto": _NETWORK,
    "close": ("EIO", "EINTR"),
    "clone3": (),
}
"""The system calls at which a process is disturbed, and the errors with which each of them can fail.

`strace` counts the calls of each thread.  What runs in a thread of its own, such as a write to a journal, is reached at
the start of that thread: `clone3`, at which a process is only killed.
"""


@attrs.frozen
class Point:
    """Where a process is disturbed.

    Attributes:
        call: the system call.
        number: which of its calls in one thread, from 1.
        fault: `SIGKILL`, or the name of the error with which the call fails.
    """

    call: str
    number: int
    fault: str

    @property
    def injection(self) -> str:
        """What `strace` is told."""
        how = f"signal={KILL}" if self.fault == KILL else f"error={self.fault}"
        return f"inject={self.call}:{how}:when={self.number}"

    def __str__(self) -> str:
        return f"{self.call}#{self.number}:{self.fault}"

    @classmethod
    def parse(cls, text: str) -> Point:
        """Give the point that a run has printed, such as `fsync#3:SIGKILL`."""
        call, _, rest = text.partition("#")
        number, _, fault = rest.partition(":")
        return cls(call, int(number), fault)


def counted(trace: Path) -> Counter[str]:
    """Count the calls of each system call in the trace of a process: the most that one thread made of it."""
    seen: dict[str, Counter[str]] = {}
    for line in trace.read_text(errors="replace").splitlines():
        if found := re.match(r"(\d+)\s+(\w+)\(", line):
            seen.setdefault(found[2], Counter())[found[1]] += 1
    return Counter({call: max(threads.values()) for call, threads in seen.items() if call in ERRORS})


def drawn(rng: random.Random, calls: Mapping[str, int], count: int, *, kills: float = 0.6) -> list[Point]:
    """Draw points, each once: a system call is as likely as another one, until it has no point that is not drawn.

    Args:
        rng: the source of what is drawn.
        calls: how often each system call is called.
        count: how many points; all that there are, if they are fewer.
        kills: the part of them that kills.
    """
    left = {
        (fault == KILL, call): rng.sample(points, len(points))
        for call in sorted(calls)
        for fault, points in (
            (KILL, [Point(call, number + 1, KILL) for number in range(calls[call])]),
            ("", [Point(call, number + 1, error) for number in range(calls[call]) for error in ERRORS[call]]),
        )
        if points
    }
    found: list[Point] = []
    while left and len(found) < count:
        is_kill = rng.random() < kills
        cell = rng.choice([each for each in left if each[0] == is_kill] or list(left))
        found.append(left[cell].pop())
        if not left[cell]:
            del left[cell]
    return found
