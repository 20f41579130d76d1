"""Opening what os-brick connected, and closing it, in time.

A call that hangs in the kernel cannot be ended.  What it has opened or still uses is closed as soon as it returns, so
that a program that goes on does not hold the device of a volume for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from imagevol_adapters.cleanup import released, undone_on_failure
from imagevol_adapters.devices.ceph import RbdDevice, bound_requests
from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.engine.watching import bounded
from imagevol_core import STALL_SECONDS, DeviceFailed

__all__ = ["open_device"]


@contextmanager
def open_device(
    path: Any, *, writable: bool, name: str, seconds: float = STALL_SECONDS
) -> Iterator[PathDevice | RbdDevice]:
    """Open what os-brick connected: a path, or, of Ceph RBD, something that is used like a file.

    If a call of the device has not returned at the end of the context, the device stays open until it returns, and says
    so by `left_open`.  Then it must not be disconnected.

    Args:
        path: what os-brick gave.
        writable: whether it will be written.
        name: the ID of the volume, which errors name.
        seconds: how long opening and closing may take.

    Raises:
        OSError: it cannot be opened.
        DeviceStalled: opening or closing takes longer.
    """
    if not isinstance(path, str):  # os-brick closes it when it disconnects
        bound_requests(path.rbd_image, seconds)
        image = RbdDevice(
            image=path.rbd_image, path=f"/{name}", what=f"volume {name}", writable=writable, stall_seconds=seconds
        )
        with image:
            yield image
        return
    what = f"volume {name} at {path}"
    device = _opened(path, writable=writable, name=name, what=what, seconds=seconds)

    def close() -> None:
        bounded(device.close, what=what, doing="closing", seconds=seconds)

    with released(what, close):
        yield device


def _opened(path: str, *, writable: bool, name: str, what: str, seconds: float) -> PathDevice:
    """Open a path in time; if it is opened later, the thread that opened it closes it."""
    opened: list[PathDevice] = []
    over: list[bool] = []

    def close_late() -> None:
        with suppress(IndexError, DeviceFailed):  # of two threads, one finds it
            opened.pop().close()

    def opening() -> PathDevice:
        device = PathDevice.open(Path(path), writable=writable, volume_id=name)
        opened.append(device)
        if over:
            close_late()
        return device

    def give_up() -> None:
        over.append(True)
        if opened:
            bounded(close_late, what=what, doing="closing", seconds=seconds)

    with undone_on_failure(what, give_up):
        return bounded(opening, what=what, doing="opening", seconds=seconds, green=True)
