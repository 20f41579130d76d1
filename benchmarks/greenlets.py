"""A timer while an image is written, digested and read back: without eventlet, and in a process that it has patched.

The two run in turns.  The timer sleeps for 10 ms at a time; how late it wakes is what any other greenlet has to wait.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks.machine import machine
from benchmarks.pairs import RESULTS, host

ROUNDS = 5
GIB = 1 << 30
FIGURES = ("mib_s", "late_median_ms", "late_95_ms")
MEASURE = """
import sys
if sys.argv[1] == "with eventlet":
    import eventlet
    eventlet.monkey_patch()
import hashlib, json, os, threading, time
from pathlib import Path
from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.qemu.converter import QemuConverter
from imagevol_adapters.transfers.filling import fill_device
from imagevol_core import Digest, Image

SIZE, PIECE = 1 << 30, 1 << 16
noise = os.urandom(8 << 20)

def source():
    for at in range(0, SIZE, PIECE):
        start = at % (7 << 20)
        yield noise[start : start + PIECE]

digest = hashlib.sha512()
for piece in source():
    digest.update(piece)
late, over = [], []

def tick():
    while not over:
        before = time.monotonic()
        time.sleep(0.01)
        late.append(1000 * (time.monotonic() - before - 0.01))

image = Image(id="7", disk_format="raw", size_bytes=SIZE, digest=Digest("sha512", digest.hexdigest()))
timer = threading.Thread(target=tick)
timer.start()
began = time.monotonic()
with PathDevice.open(Path(sys.argv[2]), writable=True) as device:
    fill_device(source(), device, image=image, converter=QemuConverter(), directory=Path(sys.argv[2]).parent)
seconds = time.monotonic() - began
over.append(True)
timer.join()
late.sort()
part = lambda share: round(late[int(share * (len(late) - 1))], 2)
print(json.dumps({"mib_s": round(SIZE / seconds / (1 << 20)), "late_median_ms": part(0.5), "late_95_ms": part(0.95)}))
"""


def main() -> None:
    """Measure, and keep the result."""
    modes: dict[str, list[dict[str, Any]]] = {"without eventlet": [], "with eventlet": []}
    with tempfile.NamedTemporaryFile(prefix="imagevol-greenlets-", dir="/dev/shm") as file:
        file.truncate(GIB)
        for _ in range(ROUNDS):
            for mode, rounds in modes.items():
                command = [sys.executable, "-W", "ignore", "-c", MEASURE, mode, file.name]
                rounds.append(json.loads(subprocess.check_output(command)))
    medians = {
        mode: {figure: statistics.median(each[figure] for each in rounds) for figure in FIGURES}
        for mode, rounds in modes.items()
    }
    for mode, figures in medians.items():
        print(f"{mode:20}{', '.join(f'{name} {value:,}' for name, value in figures.items())}")
    result = {"host": host(), "machine": machine(), "rounds": ROUNDS, **medians}
    (RESULTS / "greenlets.json").write_text(json.dumps(result, indent=2) + "\n")
