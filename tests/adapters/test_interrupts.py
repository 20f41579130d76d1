"""An interrupt ends a transfer at once, however long it would pause for its rate."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
