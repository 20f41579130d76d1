"""A volume read into a file on a disk: in steps that are kept for `get --resume`, beside one that keeps nothing."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from benchmarks.digests import digest_of, fetched
from benchmarks.machine import machine
from benchmarks.pairs import RESULTS
from benchmarks.storage import GIB, Image, LoopDevice, in_private, loop_device, memory
from benchmarks.transfers import PAIRS, Case, measure, put, show
from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.engine import read_device
from imagevol_adapters.transfers import fetch_image
from imagevol_core import Digest
from imagevol_core.resuming import ReadImage


def in_steps(device: LoopDevice, target: Path, digest: Digest) -> None:
    """Read a device as `imagevol get --resume` does."""
    target.unlink(missing_ok=True)

    @contextmanager
    def data(offset: int) -> Iterator[Iterable[bytes]]:
        with PathDevice.open(device.path, writable=False) as opened:
            parts = read_device(opened, offset=offset, length=GIB - offset)
            with closing(parts):
                yield parts

    image = ReadImage(source="volume 7", size_bytes=GIB, digest=digest)
    assert fetch_image(image, target, data=data, tell=print)


def main() -> None:
    """Measure, print the row, and keep it with the machine and the versions."""
    in_private("resuming")
    load, image = os.getloadavg()[0], Image(GIB)
    digest = digest_of(image, "sha512")
    with tempfile.TemporaryDirectory(prefix="resuming-") as disk, memory() as directory:
        target = Path(disk, "target")
        with loop_device(directory, GIB) as device:
            put(image, device, size_bytes=GIB, algorithms=())
            case = Case(
                name="volume read into a file on a disk, in steps that are kept",
                moved_bytes=GIB,
                ours=lambda: in_steps(device, target, digest),
                peers={"keeping nothing": lambda: fetched(device.path, target, digest=digest)},
                at_least=0.9,
                reads=True,
            )
            row = show(measure(case, device, {}))
    result = {
        "machine": machine(),
        "command": ["python", "-m", "benchmarks", "resuming"],
        "versions": {"imagevol": version("imagevol")},
        "load_before": round(load, 1),
        "pairs": PAIRS,
        "rows": [asdict(row)],
    }
    (RESULTS / "resuming.json").write_text(json.dumps(result, indent=2) + "\n")
