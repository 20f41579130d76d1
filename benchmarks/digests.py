"""What is verified, at the speed of what is not: BLAKE3 beside nbdcopy, which digests nothing, on the same devices.

nbdcopy is of the Debian package libnbd-bin.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import timeit
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from benchmarks.machine import CORES, machine
from benchmarks.pairs import RESULTS
from benchmarks.storage import GIB, MIB, ZEROS, Image, LoopDevice, in_private, loop_device, memory
from benchmarks.transfers import BOTH, PAIRS, Case, command, measure, put, show
from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.engine import BLAKE3, Digests, pieces, read_device, verify_device, write_stream
from imagevol_core import ContentMismatch, Digest, ZeroHandling

FLIPS = 1000
FLIPPED_BYTES = 16 * MIB
SPARSE_GIB = 100


def verified(path: Path, *, length: int, digest: Digest) -> None:
    """Read a device or a file, and compare its digest."""
    with PathDevice.open(path, writable=False) as device:
        verify_device(device, length=length, digest=digest, what=str(path))


def fetched(path: Path, target: Path, *, digest: Digest) -> None:
    """Read a device into a new file, as `imagevol get` does."""
    target.unlink(missing_ok=True)
    target.touch()
    os.truncate(target, GIB)
    with PathDevice.open(path, writable=False) as device, PathDevice.open(target, writable=True) as file:
        data = read_device(device, length=GIB, digest=digest)
        write_stream(data, file, size_bytes=GIB, zeros=ZeroHandling.SKIP, algorithms=())


def digest_of(data: Image, algorithm: str) -> Digest:
    digests = Digests([algorithm])
    for each in data:
        digests.update(each)
    return digests.values()[algorithm]


def reads(device: LoopDevice, directory: Path) -> Iterator[Case]:
    """A volume, read and verified."""
    image, target = Image(GIB), directory / "target"
    put(image, device, size_bytes=GIB, algorithms=())
    blake3, sha512 = digest_of(image, BLAKE3), digest_of(image, "sha512")
    yield Case(
        name="volume read and verified by its BLAKE3",
        moved_bytes=GIB,
        ours=lambda: verified(device.path, length=GIB, digest=blake3),
        peers={
            "nbdcopy into nothing": command("nbdcopy", str(device.path), "null:"),
            "dd bs=4M iflag=direct": command("dd", f"if={device.path}", "of=/dev/null", "bs=4M", "iflag=direct"),
            "verified by its sha512": lambda: verified(device.path, length=GIB, digest=sha512),
        },
        at_least=0.9,
        reads=True,
    )
    yield Case(
        name="volume read into a new file, verified by its BLAKE3",
        moved_bytes=GIB,
        ours=lambda: fetched(device.path, target, digest=blake3),
        peers={"nbdcopy": command("nbdcopy", str(device.path), str(target))},
        reads=True,
    )
    target.unlink()


def writes(device: LoopDevice, directory: Path) -> Iterator[Case]:
    """Data into a volume."""
    dense, raw = Image(GIB), directory / "raw"
    dense.write(raw)

    def stored() -> None:
        with raw.open("rb") as file:
            put(pieces(file), device, size_bytes=GIB, algorithms=(BLAKE3,))

    yield Case(
        name="raw image file into a volume, BLAKE3 alone",
        moved_bytes=GIB,
        ours=stored,
        peers={"nbdcopy": command("nbdcopy", "--flush", str(raw), str(device.path))},
        at_least=0.9,
    )
    yield Case(
        name="dense data into a volume, md5, sha512 and BLAKE3",
        moved_bytes=GIB,
        ours=lambda: put(dense, device, size_bytes=GIB, algorithms=(*BOTH, BLAKE3)),
        peers={"without BLAKE3": lambda: put(dense, device, size_bytes=GIB)},
        at_least=0.95,
    )
    raw.unlink()


def sparse(device: LoopDevice, directory: Path) -> Iterator[Case]:
    """A thin volume of which one in a hundred bytes is data, as a file system shows its holes."""
    path, size_bytes = directory / "thin", SPARSE_GIB * GIB
    data = Image(GIB)
    with path.open("wb") as file:
        file.truncate(size_bytes)
        for number, each in enumerate(data):  # in pieces that are spread over all of it
            file.seek(number * SPARSE_GIB * MIB)
            file.write(each)
    whole, dense = Digests([BLAKE3]), directory / "dense"
    for each in data:
        whole.update(each)
        for _ in range(SPARSE_GIB - 1):
            whole.update(ZEROS)
    data.write(dense)
    expected, of_data = whole.values()[BLAKE3], digest_of(data, BLAKE3)

    def parts() -> None:
        verified(dense, length=GIB, digest=of_data)
        zeros = Digests([BLAKE3])
        for _ in range((size_bytes - GIB) // MIB):
            zeros.update(ZEROS)

    yield Case(
        name=f"thin volume of {SPARSE_GIB} GiB with 1 GiB of data, verified",
        moved_bytes=size_bytes,
        ours=lambda: verified(path, length=size_bytes, digest=expected),
        peers={
            "its data, then its zeros": parts,
            "nbdcopy into nothing": command("nbdcopy", str(path), "null:"),
        },
        at_least=1 / 1.5,
        reads=True,
    )
    path.unlink()
    dense.unlink()


def flips(device: LoopDevice) -> dict[str, int]:
    """Flip bits of a device at random places, one at a time; say how many are found."""
    image, places, found = Image(FLIPPED_BYTES), random.Random(17), 0
    put(image, device, size_bytes=FLIPPED_BYTES, algorithms=())
    expected = digest_of(image, BLAKE3)
    with PathDevice.open(device.path, writable=True) as opened:
        for _ in range(FLIPS):
            at, byte = places.randrange(FLIPPED_BYTES), bytearray(1)
            opened.readinto(at, memoryview(byte))
            flipped = bytes([byte[0] ^ 1 << places.randrange(8)])
            opened.write(at, memoryview(flipped))
            opened.flush()
            try:
                verify_device(opened, length=FLIPPED_BYTES, digest=expected, what="it")
            except ContentMismatch:
                found += 1
            opened.write(at, memoryview(byte))
            opened.flush()
        verify_device(opened, length=FLIPPED_BYTES, digest=expected, what="it")
    return {"flipped": FLIPS, "found": found}


def speeds() -> dict[str, int]:
    """What the digests alone make in this process, in MiB a second, the best of a few tries."""
    data = os.urandom(64 * MIB)
    found = {}
    for name in ("md5", "sha512"):
        found[name] = 64 / min(timeit.repeat(lambda: hashlib.new(name, data), number=1, repeat=5))  # noqa: B023
    for name, step in (("blake3", MIB), ("blake3, 4 MiB at a time", 4 * MIB)):

        def digest() -> None:
            made = Digests([BLAKE3])
            for at in range(0, len(data), step):  # noqa: B023
                made.update(memoryview(data)[at : at + step])  # noqa: B023

        found[name] = 64 / min(timeit.repeat(digest, number=1, repeat=5))
    return {name: round(speed) for name, speed in found.items()}


@contextmanager
def holes(directory: Path) -> Iterator[Path]:
    """A directory in memory whose file system shows holes, as a ramfs does not."""
    place = directory / "holes"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={3 * GIB}", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def main() -> None:
    """Measure, print the table, and keep it with the host and the versions."""
    if shutil.which("nbdcopy") is None:
        print("nbdcopy is not installed (the Debian package is libnbd-bin): left out", file=sys.stderr)
        return
    in_private("digests")
    rows, load = [], os.getloadavg()[0]
    with memory() as directory, loop_device(directory, GIB) as device:
        alone = speeds()
        print("alone, MiB/s:", ", ".join(f"{name} {speed}" for name, speed in alone.items()))
        counted = flips(device)
        print("flips:", ", ".join(f"{name} {count}" for name, count in counted.items()))
        for cases in (reads(device, directory), writes(device, directory)):
            rows += [show(measure(case, device, {})) for case in cases]
        with holes(directory) as place:
            rows += [show(measure(case, device, {})) for case in sparse(device, place)]
    RESULTS.mkdir(exist_ok=True)
    nbdcopy = subprocess.run(["nbdcopy", "--version"], check=True, capture_output=True, text=True).stdout
    result = {
        "host": f"{platform.machine()}, {machine()['processor']}, {CORES} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}",
        "machine": machine(),
        "command": ["python", "-m", "benchmarks", "digests"],
        "versions": {"imagevol": version("imagevol"), "blake3": version("blake3"), "nbdcopy": nbdcopy.split()[1]},
        "load_before": round(load, 1),  # of other programs
        "pairs": PAIRS,
        "alone_mib_s": alone,
        "rows": [asdict(row) for row in rows],
        "counted": counted,
    }
    (RESULTS / "digests.json").write_text(json.dumps(result, indent=2) + "\n")
