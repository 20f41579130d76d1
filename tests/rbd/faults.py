"""What happens to Ceph in the tests of faults, and what came of it."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import attrs

from tests.faults.recorded import Tally
from tests.rbd.ceph import Osd

__all__ = ["FAULTS", "Fault", "Tally", "files", "happened"]


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


def files() -> set[str]:
    """What os-brick keeps for a while."""
    return {each.name for each in Path(tempfile.gettempdir()).iterdir() if each.name.startswith("brickrbd_")}
