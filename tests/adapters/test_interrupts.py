"""An interrupt ends a transfer at once, however long it would pause for its rate, and no thread goes on after it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from imagevol_adapters.engine import digest_device, reading, write_stream, writing
from imagevol_adapters.engine.digests import Digests
from imagevol_adapters.engine.threads import Inbox
from imagevol_adapters.testing.memory import MemoryDevice

PATIENCE_SECONDS = 60  # the pauses are more than an hour

PROGRAM = """
import signal, sys
from pathlib import Path
from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.engine import Limits, pieces, read_device, write_stream
from imagevol_core import ZeroHandling

source, target, limited = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
size_bytes, slow = source.stat().st_size, Limits(bytes_per_second=1)
signal.signal(signal.SIGALRM, signal.default_int_handler)
with PathDevice.open(source, writable=False) as read, PathDevice.open(target, writable=True) as written:
    if limited == "reading":
        data, limits = read_device(read, length=size_bytes, limits=slow), Limits()
    else:
        data, limits = pieces(source.open("rb")), slow
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        write_stream(data, written, size_bytes=size_bytes, zeros=ZeroHandling.SKIP, limits=limits)
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.parametrize("limited", ["reading", "writing"])
def test_a_pause_of_an_hour_is_interrupted(tmp_path: Path, limited: str) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"x" * 100_000)
    target.write_bytes(bytes(100_000))
    command = [sys.executable, "-c", PROGRAM, str(source), str(target), limited]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


SIZE_BYTES = 1 << 16


class Slow(MemoryDevice):
    """A device that takes its time, and knows whether it is in use."""

    def __init__(self) -> None:
        super().__init__(SIZE_BYTES)
        self.in_use, self.used = False, threading.Event()

    def slowly(self, work: Callable[[], int]) -> int:
        self.in_use = True
        self.used.set()
        threading.Event().wait(0.05)
        self.in_use = False
        return work()

    def readinto(self, offset: int, memory: memoryview) -> int:
        return self.slowly(lambda: MemoryDevice.readinto(self, offset, memory))

    def write(self, offset: int, data: memoryview) -> int:
        return self.slowly(lambda: MemoryDevice.write(self, offset, data))


def read(device: MemoryDevice) -> None:
    digest_device(device, length=SIZE_BYTES, made=Digests(["sha256"]))


def write(device: MemoryDevice) -> None:
    write_stream([b"x" * SIZE_BYTES], device, size_bytes=SIZE_BYTES, algorithms=["sha256"])


def engines() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "imagevol-engine"]


@pytest.mark.parametrize("transfer", [read, write])
@pytest.mark.parametrize("thread", [1, 2, 3, 4])
@pytest.mark.parametrize("runs", [True, False])
def test_no_thread_uses_the_device_after_an_interrupt_in_the_start_of_a_thread(
    transfer: Callable[[MemoryDevice], None], thread: int, runs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, real, started = Slow(), threading.Thread.start, []

    def start(self: threading.Thread) -> None:
        started.append(self)
        if len(started) != thread:
            return real(self)
        if runs:
            real(self)
            device.used.wait(0.1)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", start)
    if thread <= (2 if transfer is read else 3):
        with pytest.raises(KeyboardInterrupt):
            transfer(device)
    else:
        with suppress(KeyboardInterrupt):
            transfer(device)
    assert (device.in_use, engines()) == (False, [])


@pytest.mark.parametrize("transfer, module", [(read, reading), (write, writing)])
def test_no_thread_is_left_by_an_interrupt_right_after_the_crew_was_made(
    transfer: Callable[[MemoryDevice], None], module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, real = [], module.Crew

    def crew(*jobs: Any, **wishes: Any) -> None:
        made.append(real(*jobs, **wishes))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "Crew", crew)
    with pytest.raises(KeyboardInterrupt):
        transfer(Slow())
    assert engines() == []


def test_a_queue_whose_making_was_interrupted_is_let_go_without_an_error() -> None:
    Inbox.__new__(Inbox).close()
