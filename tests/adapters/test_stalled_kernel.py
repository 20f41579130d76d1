"""A write that hangs in the kernel, where no signal ends it: a loop device over a file whose program was stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SIZE_BYTES = 8 << 20
PATIENCE_SECONDS = 30  # passed only when something hangs that must not

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0
    or not Path("/dev/loop-control").exists()
    or not Path("/dev/fuse").exists()
    or shutil.which("qemu-storage-daemon") is None,
    reason="needs root, loop devices, FUSE and qemu-storage-daemon",
)

PROGRAM = """
import os, signal, sys
from pathlib import Path
from imagevol_adapters import cli
from imagevol_adapters.brick import BrickAttacher, become_privileged
from imagevol_adapters.engine import Limits, write_stream
from imagevol_adapters.ports import AccessMode, Attachment
from imagevol_core import DeviceStalled

path, locks, storage = sys.argv[1:]
become_privileged(Path(locks))
attacher = BrickAttacher(stall_seconds=0.5)
connection = {"driver_volume_type": "local", "device_path": path}
attachment = Attachment(id="a", volume_id="7", connection=connection)
try:
    with attacher.open(attachment, mode=AccessMode.WRITE) as device:
        os.kill(int(storage), signal.SIGSTOP)
        write_stream([b"x" * (4 << 20)], device, size_bytes=4 << 20, limits=Limits(stall_seconds=0.5))
except DeviceStalled as error:
    print(error)
with attacher.leaving("7"):
    print("is left" if attacher.is_left(attachment) else "is not left")
cli._leave_threads(7)
"""


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program that stores the bytes of the file `mounted`."""
    image, mounted, running = tmp_path / "image", tmp_path / "mounted", tmp_path / "pid"
    image.touch()
    os.truncate(image, SIZE_BYTES)
    mounted.touch()
    program = subprocess.Popen(
        [
            *("qemu-storage-daemon", "--pidfile", running),
            *("--blockdev", f"driver=file,node-name=file,filename={image}"),
            *("--blockdev", "driver=raw,node-name=raw,file=file"),
            *("--export", f"type=fuse,id=export,node-name=raw,mountpoint={mounted},writable=on"),
        ]
    )
    try:
        until = time.monotonic() + PATIENCE_SECONDS
        while not running.exists() and program.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        if mounted.stat().st_size != SIZE_BYTES:
            pytest.skip("FUSE cannot be mounted on this machine")
        yield program
    finally:
        program.send_signal(signal.SIGCONT)
        program.terminate()
        program.wait(PATIENCE_SECONDS)


@pytest.fixture
def device(tmp_path: Path, storage: subprocess.Popen[bytes]) -> Iterator[str]:
    command = ["losetup", "--find", "--show", str(tmp_path / "mounted")]
    path = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield path
    finally:
        storage.send_signal(signal.SIGCONT)
        subprocess.run(["losetup", "--detach", path], check=True)


def test_a_write_that_no_signal_ends_is_named_and_holds_up_nothing_but_its_thread(
    device: str, storage: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, device, str(tmp_path / "locks"), str(storage.pid)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            told, left = program.stdout.readline(), program.stdout.readline()
            hanging = program.poll() is None
        finally:
            storage.send_signal(signal.SIGCONT)  # until then the kernel keeps the process
        status = program.wait(PATIENCE_SECONDS)
    assert f"volume 7 at {device} stalled: writing at byte 0 made no progress for 0.5 seconds" in told
    assert f"left behind: device {device} on" in told
    assert (left, hanging, status) == ("is left\n", True, 7)
