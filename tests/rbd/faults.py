"""What happens to Ceph in the tests of faults, and what came of it."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.cloud.processes import ticks
from tests.faults.recorded import Tally
from tests.rbd.ceph import POOLS, Osd, ask, objects_of

__all__ = [
    "FAULTS",
    "FULL",
    "Fault",
    "Full",
    "Tally",
    "files",
    "happened",
    "happening",
    "objects",
    "rbd",
    "until",
    "watched",
]


@attrs.frozen
class Fault:
    """Something that happens to Ceph, and whether a transfer ends well all the same."""

    name: str
    begins: Callable[[Osd], None]
    ends_well: bool
    seconds: float | None = None  # None for longer than the deadline


FAULTS = [
    Fault("the OSD hangs for 2 s", Osd.pause, ends_well=True, seconds=2),
    Fault("the OSD is killed and started again", Osd.kill, ends_well=True, seconds=0),
    Fault("the OSD hangs past the deadline", Osd.pause, ends_well=False),
    Fault("the OSD is killed and stays away past the deadline", Osd.kill, ends_well=False),
]


def happened(fault: Fault, osd: Osd, over: threading.Event) -> threading.Thread:
    """Let it happen, and end after its time, or once it is over, while the transfer goes on."""

    def end() -> None:
        over.wait(fault.seconds)
        osd.resume()

    fault.begins(osd)
    thread = threading.Thread(target=end)
    thread.start()
    return thread


@contextmanager
def happening(fault: Fault, osd: Osd) -> Iterator[None]:
    """Let it happen, and end after its time, or else with the block, however that ends.

    While an OSD hangs, a call of Cinder's driver for Ceph does not return, and no other call of its service does.
    """
    over = threading.Event()
    ending = happened(fault, osd, over)
    try:
        yield
    finally:
        over.set()
        ending.join()


def files() -> set[str]:
    """What os-brick keeps for a while."""
    return {each.name for each in Path(tempfile.gettempdir()).iterdir() if each.name.startswith("brickrbd_")}


@attrs.frozen
class Full:
    """A way in which there is no more space, and how there is space again."""

    name: str
    begins: tuple[str, ...]
    ends: tuple[str, ...]

    @contextmanager
    def __call__(self, ceph: Path) -> Iterator[None]:
        """Let there be no space while the context lasts."""
        try:
            self._done(ceph, self.begins, full=True)
            yield
        finally:
            self._done(ceph, self.ends, full=False)

    def _done(self, ceph: Path, commands: tuple[str, ...], *, full: bool) -> None:
        for command in commands:
            ask(ceph.parent, "ceph", "-c", ceph, "osd", *command.split())

        def is_full() -> bool:
            pools = ask(ceph.parent, "ceph", "-c", ceph, "osd", "pool", "ls", "detail", "--format", "json")
            return any("full" in pool["flags_names"].split(",") for pool in json.loads(pools))

        until(lambda: is_full() is full)


FULL = [
    Full("the pool is at its quota", ("pool set-quota fast max_bytes 1048576",), ("pool set-quota fast max_bytes 0",)),
    Full(
        "the OSD is full",
        ("set-nearfull-ratio 0.0001", "set-backfillfull-ratio 0.0002", "set-full-ratio 0.0003"),
        ("set-full-ratio 0.95", "set-backfillfull-ratio 0.90", "set-nearfull-ratio 0.85"),
    ),
]


def until(holds: Callable[[], bool], *, seconds: float = 60) -> None:
    """Return as soon as something holds."""
    for _ in ticks(seconds):
        if holds():
            return
    raise AssertionError("not in time")


def rbd(ceph: Path, *arguments: str) -> str:
    """Give what `rbd` says."""
    return ask(ceph.parent, "rbd", "-c", ceph, *arguments)


def objects(ceph: Path, pool: str) -> int:
    """How many objects hold data in a pool."""
    with objects_of(ceph, pool) as found:
        return sum(each.key.startswith("rbd_data") for each in found.list_objects())


def watched(ceph: Path) -> list[str]:
    """The images that a client has open, or holds a lock of."""
    names = [f"{pool}/{name}" for pool in POOLS for name in rbd(ceph, "ls", pool).split()]
    return [
        name
        for name in names
        if json.loads(rbd(ceph, "status", "--format", "json", name) or "{}").get("watchers")
        or json.loads(rbd(ceph, "lock", "ls", "--format", "json", name) or "[]")
    ]
