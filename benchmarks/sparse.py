"""Large disks that are nearly empty, of every format, onto a device that can hold old data; beside qemu-img alone.

qemu-img alone believes that what the kernel reports as cleared is zero.  A VMDK is left out on its side: it takes
minutes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.pairs import Measured, publish
from benchmarks.storage import GIB, LoopDevice, in_private, loop_device
from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.engine import Limits
from imagevol_adapters.qemu.converter import QemuConverter
from imagevol_adapters.transfers.checked_file import CheckedFile

ROUNDS = 5
DISK_GIB = 200
FORMATS = {"vhdx": "vhdx", "qcow2": "qcow2", "vdi": "vdi", "vhd": "vpc"}  # as qemu-img calls them


def main() -> None:
    """Measure each format, and keep the medians."""
    in_private("sparse")
    rows = []
    with (
        tempfile.TemporaryDirectory() as directory,
        loop_device(Path(directory), (DISK_GIB + 1) * GIB) as device,
    ):
        for name, theirs in FORMATS.items():
            image = _image(Path(directory) / name, theirs)
            command = ("qemu-img", "convert", "-f", theirs, "-O", "raw", "-n", "-t", "none", "-W", image, device.path)
            sides = (lambda: _ours(image, name, device), lambda: subprocess.run(command, check=True))  # noqa: B023
            rounds = [[_seconds(side, device) for side in sides] for _ in range(ROUNDS)]
            rows.append(
                Measured(
                    name=f"{DISK_GIB} GiB {name} with 9 MiB of data",
                    peer_name="qemu-img convert -n -W",
                    ours_us=round(statistics.median(ours for ours, _ in rounds) * 1e6),
                    peer_us=round(statistics.median(peer for _, peer in rounds) * 1e6),
                    ratio=round(statistics.median(peer / ours for ours, peer in rounds), 2),
                )
            )
    publish("sparse", rows, peers=())


def _image(path: Path, name: str) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", name, path, f"{DISK_GIB}G"], check=True)
    for place in (0, 10, 100):
        subprocess.run(["qemu-io", "-f", name, "-c", f"write -q -P 5 {place}G 3M", path], check=True)
    return path


def _ours(image: Path, name: str, device: LoopDevice) -> None:
    converter = QemuConverter()
    checked = CheckedFile.check(image, disk_format=name, converter=converter, digest=None, what=name)
    with checked as file, PathDevice.open(device.path, writable=True) as target:
        file.convert_onto(target, converter=converter, proof=None, limits=Limits())


def _seconds(side: Callable[[], object], device: LoopDevice) -> float:
    os.truncate(device.backing, 0)  # nothing is left of the round before
    os.truncate(device.backing, device.size_bytes)
    device.forget()
    started = time.monotonic()
    side()
    return time.monotonic() - started
