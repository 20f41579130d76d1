"""Moving images, beside what users have now, on the same devices and in turns; and beside what the machine can do.

A row is met where it reaches its factor times the peer, and its part of the limit: the slowest of one digest on one
core, the device alone, and the whole work (each digest, one copy in, one copy out) spread over all cores.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from benchmarks import machines
from benchmarks.machine import CORES, machine
from benchmarks.pairs import RESULTS
from benchmarks.peers import Cinder, GlanceStore
from benchmarks.plot import draw
from benchmarks.storage import GIB, MIB, Image, LoopDevice, in_private, loop_device, memory
from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.engine import Hole, pieces, read_device, write_stream
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryVolumes
from imagevol_adapters.transfers import StoreSettings, store_image
from imagevol_core import CopySource, CopyTarget, Digest, FreshThin, Volume, ZeroHandling, plan_copy

PAIRS = 5
BOTH = ("md5", "sha512")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing to be moved, by us and by a peer.

    Attributes:
        name: what is moved.
        moved_bytes: how much that is, zeros and all.
        ours: moves it.
        peers: the others that do, each by its name; the first is the one that counts.
        at_least: how many times the peer's speed it must have.
        of_limit: which part of the limit it must have.
        digests: what is digested on the way.
        most_bytes: how much may be written to the device.
        argv: what ours runs, where it runs a command.
        reads: whether it reads the device.
        fresh: whether the device must be zero before; if not, only what the page cache has of it goes.
    """

    name: str
    moved_bytes: int
    ours: Callable[[], object]
    peers: dict[str, Callable[[], object]]
    at_least: float | None = None
    of_limit: float | None = None
    digests: tuple[str, ...] = ()
    most_bytes: int | None = None
    argv: tuple[str, ...] = ()
    reads: bool = False
    fresh: bool = False


class Storage(Protocol):
    """What is written or read in turns."""

    @property
    def written_bytes(self) -> int:
        """How much was ever written to it."""

    def renew(self) -> None:
        """Let it be as a volume that was just made."""

    def forget(self) -> None:
        """Let nothing of it be in memory on this side."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured: medians in MiB a second of the whole image, ratios of each round's pair."""

    name: str
    met: bool
    ours_mib_s: float
    theirs_mib_s: dict[str, float]
    times: dict[str, float]
    wanted_times: float | None
    limit_mib_s: float | None
    part_of_limit: float | None
    wanted_part: float | None
    written_mib: float
    theirs_written_mib: dict[str, float]
    most_mib: float | None
    argv: tuple[str, ...] = field(default=())


def timed(move: Callable[[], object], device: Storage, *, fresh: bool) -> tuple[float, int]:
    """Run it on a device that is as new, or of which nothing is in memory; seconds, and bytes written to the device."""
    device.renew() if fresh else device.forget()
    before = device.written_bytes
    started = time.perf_counter()
    move()
    seconds = time.perf_counter() - started
    return seconds, device.written_bytes - before


def measure(case: Case, device: Storage, limits: dict[str, float]) -> Row:
    """Run all sides in turns."""
    sides = {"ours": case.ours, **case.peers}
    runs: dict[str, list[tuple[float, int]]] = {name: [] for name in sides}
    for _ in range(PAIRS):
        for name, side in sides.items():
            runs[name].append(timed(side, device, fresh=case.fresh))
    speeds = {name: [case.moved_bytes / MIB / seconds for seconds, _ in runs[name]] for name in sides}
    written = {name: statistics.median(count for _, count in runs[name]) / MIB for name in sides}
    times = {
        name: statistics.median(ours / theirs for ours, theirs in zip(speeds["ours"], speeds[name], strict=True))
        for name in case.peers
    }
    ours = statistics.median(speeds["ours"])
    limit = limit_of(case, limits) if case.of_limit else None
    part = ours / limit if limit else None
    most = case.most_bytes / MIB if case.most_bytes else None
    met = (
        (case.at_least is None or next(iter(times.values())) >= case.at_least)
        and (case.of_limit is None or (part or 0) >= case.of_limit)
        and (most is None or written["ours"] <= most)
    )
    return Row(
        name=case.name,
        met=met,
        ours_mib_s=round(ours),
        theirs_mib_s={name: round(statistics.median(speeds[name])) for name in case.peers},
        times={name: round(value, 2) for name, value in times.items()},
        wanted_times=case.at_least,
        limit_mib_s=round(limit) if limit else None,
        part_of_limit=round(part, 2) if part else None,
        wanted_part=case.of_limit,
        written_mib=round(written["ours"], 1),
        theirs_written_mib={name: round(written[name], 1) for name in case.peers},
        most_mib=round(most, 1) if most else None,
        argv=case.argv,
    )


def limit_of(case: Case, limits: dict[str, float]) -> float:
    """What no program could exceed on this machine."""
    device = limits["device read" if case.reads else "device write"]
    whole = CORES / (sum(1 / limits[name] for name in case.digests) + 2 / limits["copy"])
    return min(device, whole, *(limits[name] for name in case.digests))


def machine_limits(device: LoopDevice) -> dict[str, float]:
    """The speed of each thing that has to be done, alone, in MiB a second: the best of a few tries."""
    data = os.urandom(64 * MIB)
    aligned = memoryview(mmap.mmap(-1, MIB))
    aligned[:] = data[:MIB]
    other = memoryview(bytearray(64 * MIB))

    def digest(name: str) -> Callable[[], object]:
        return lambda: hashlib.new(name, data)

    def copy() -> None:
        other[:] = data

    def write() -> None:
        fd = os.open(device.path, os.O_WRONLY | os.O_DIRECT)
        for at in range(0, 64 * MIB, MIB):
            os.pwrite(fd, aligned, at)
        os.fsync(fd)
        os.close(fd)

    def read() -> None:
        fd = os.open(device.path, os.O_RDONLY | os.O_DIRECT)
        for at in range(0, 64 * MIB, MIB):
            os.preadv(fd, [aligned], at)
        os.close(fd)

    work = {
        **{name: digest(name) for name in BOTH},
        "copy": copy,
        "device write": write,
        "device read": read,
    }
    device.renew()
    speeds = {}
    for name, thing in work.items():
        tries = []
        for _ in range(7):
            started = time.perf_counter()
            thing()
            tries.append(64 / (time.perf_counter() - started))
        speeds[name] = max(tries)
    return speeds


# What is moved.


def streams(device: LoopDevice) -> Iterator[Case]:
    """Streams into a volume."""
    dense, sparse = Image(GIB), Image(2 * GIB, one_in=10)
    store = GlanceStore(device.path)
    yield Case(
        name="dense data into a volume, both digests",
        moved_bytes=dense.size_bytes,
        ours=lambda: put(dense, device, size_bytes=dense.size_bytes),
        peers={"glance_store": lambda: store.put(dense)},
        at_least=2,
        of_limit=0.8,
        digests=BOTH,
    )
    yield Case(
        name="90 % zeros into a fresh thin volume, both digests",
        moved_bytes=sparse.size_bytes,
        ours=lambda: put(sparse, device, size_bytes=sparse.size_bytes),
        peers={"glance_store": lambda: store.put(sparse)},
        at_least=2.5,
        digests=BOTH,
        most_bytes=int(-(-sparse.size_bytes // MIB // 10) * MIB * 1.01),
        fresh=True,
    )


def put(
    source: Iterable[bytes | Hole], device: LoopDevice, *, size_bytes: int, algorithms: tuple[str, ...] = BOTH
) -> None:
    """Write a stream to a device that is proven to be zero."""
    with PathDevice.open(device.path, writable=True) as opened:
        write_stream(source, opened, size_bytes=size_bytes, zeros=ZeroHandling.SKIP, algorithms=algorithms)


def reads(device: LoopDevice) -> Iterator[Case]:
    """A volume, read; what is on it was just written by `prepare`."""
    image = Image(GIB)
    put(image, device, size_bytes=GIB)
    digest = hashlib.sha512()
    for data in image:
        digest.update(data)
    store = GlanceStore(device.path)

    def ours(recorded: Digest | None) -> None:
        with PathDevice.open(device.path, writable=False) as opened:
            assert sum(map(len, read_device(opened, length=GIB, digest=recorded))) == GIB

    def theirs() -> None:
        assert sum(map(len, store.chunks(GIB))) == GIB

    def theirs_verified() -> None:
        sha512 = hashlib.sha512()
        for data in store.chunks(GIB):
            sha512.update(data)
        assert sha512.digest() == digest.digest()

    yield Case(
        name="volume read whole and verified",
        moved_bytes=GIB,
        ours=lambda: ours(Digest("sha512", digest.hexdigest())),
        peers={"glance_store and a digest": theirs_verified},
        of_limit=0.85,
        digests=("sha512",),
        reads=True,
    )
    yield Case(
        name="volume read as the store driver serves it",
        moved_bytes=GIB,
        ours=lambda: ours(None),
        peers={"glance_store": theirs},
        at_least=1.0,
        reads=True,
    )


def raw_files(device: LoopDevice, directory: Path) -> Iterator[Case]:
    """A raw image file into a volume, as Cinder does for every volume from an image."""
    image, cinder = directory / "raw", Cinder(directory)
    Image(GIB).write(image)

    def ours() -> None:
        with image.open("rb") as file:
            put(pieces(file), device, size_bytes=GIB, algorithms=("sha512",))

    yield Case(
        name="raw image file into a volume, verified",
        moved_bytes=GIB,
        ours=ours,
        peers={
            "Cinder": lambda: cinder.fetch(image, device.path, disk_format="raw", size_gib=device.size_bytes // GIB),
            "dd bs=1M conv=fdatasync": command("dd", f"if={image}", f"of={device.path}", "bs=1M", "conv=fdatasync"),
            **nbdcopy(image, device),
        },
        at_least=1.8,
    )


def conversions(device: LoopDevice, directory: Path) -> Iterator[Case]:
    """A qcow2 of which a tenth is data, into a device without write-zeroes."""
    raw, image = directory / "raw", directory / "qcow2"
    Image(device.size_bytes, one_in=10).write(raw)
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image))
    raw.unlink()
    plan = plan_copy(
        CopySource(
            path=str(image), format="qcow2", size_bytes=image.stat().st_size, virtual_size_bytes=device.size_bytes
        ),
        target=CopyTarget(
            path=str(device.path),
            size_bytes=device.size_bytes,
            block_device=True,
            direct_io=True,
            zero=FreshThin(path=str(device.path)),
        ),
    )
    yield Case(
        name="10 GiB qcow2 with 1 GiB data into a fresh device with no write-zeroes",
        moved_bytes=device.size_bytes,
        ours=command(*plan.argv),
        peers={
            "Cinder's command": command(
                *("qemu-img", "convert", "-O", "raw", "-t", "none", "-f", "qcow2", str(image), str(device.path))
            ),
            "qemu-img convert -n -W": command(
                *("qemu-img", "convert", "-n", "-W", "-O", "raw", "-f", "qcow2", str(image), str(device.path))
            ),
        },
        at_least=8,
        most_bytes=int(device.size_bytes / 10 * 1.01),
        fresh=True,
        argv=plan.argv,
    )


def command(*argv: str) -> Callable[[], object]:
    """Run a command, which must succeed."""
    return lambda: run(*argv)


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


def nbdcopy(image: Path, device: LoopDevice) -> dict[str, Callable[[], object]]:
    """Nbdcopy, where it is installed."""
    if shutil.which("nbdcopy") is None:
        print("nbdcopy is not installed (the Debian package is libnbd-bin): left out", file=sys.stderr)
        return {}
    return {"nbdcopy": command("nbdcopy", "--flush", str(image), str(device.path))}


# What is counted instead of timed.


def unknown_length() -> dict[str, float]:
    """A stream of 100 GiB of which nobody says the length, into a simulated Cinder."""
    extends = []

    class Counting(MemoryVolumes):
        def extend(self, volume_id: str, *, size_gib: int) -> Volume:
            extends.append(size_gib)
            return super().extend(volume_id, size_gib=size_gib)

    volumes = Counting(capacity_gib=1000)
    stored = store_image(
        [Hole(100 * GIB)],
        image_id="i",
        image_owner="p",
        size_bytes=None,
        volumes=volumes,
        attacher=MemoryAttacher(volumes=volumes),
        settings=StoreSettings(hash_algorithm="sha1", checksum=False),
    )
    return {
        "extends": len(extends),
        "extends_of_glance_store": 99,
        "above_the_content": round(stored.volume.size_gib / 100 - 1, 3),
    }


def peak() -> dict[str, float]:
    """How much the process grows under a transfer, in MiB, for images of two sizes."""
    program = (
        "import sys; from benchmarks import transfers, storage; from pathlib import Path\n"
        "with storage.memory() as place, storage.loop_device(place, 8 << 30) as device:\n"
        "    transfers.put(storage.Image(1 << 20), device, size_bytes=1 << 20)\n"
        "    def peak():\n"
        "        return int(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])\n"
        "    Path('/proc/self/clear_refs').write_text('5')  # the peak is from now on\n"
        "    before, size = peak(), int(sys.argv[1]) << 30\n"
        "    transfers.put(storage.Image(size), device, size_bytes=size)\n"
        "    print((peak() - before) / 1024)\n"
    )
    grown = {}
    for size_gib in (1, 8):
        done = subprocess.run(
            [sys.executable, "-c", program, str(size_gib)], check=True, capture_output=True, text=True
        )
        grown[f"growth_mib_{size_gib}_gib"] = round(float(done.stdout.split()[-1]), 1)
    return grown


def main() -> None:
    """Measure, print the table, and keep it with the host and the versions."""
    in_private("transfers")
    rows: list[Row] = []
    load = os.getloadavg()[0]
    with memory() as directory:
        with loop_device(directory, 3 * GIB) as device:
            limits = machine_limits(device)
            for cases in (streams(device), reads(device), raw_files(device, directory)):
                rows += [show(measure(case, device, limits)) for case in cases]
        (directory / "raw").unlink()
        with loop_device(directory, 10 * GIB) as device:
            rows += [show(measure(case, device, limits)) for case in conversions(device, directory)]
    counted = {"unknown length, 100 GiB": unknown_length(), "memory": peak()}
    print("limits, MiB/s:", ", ".join(f"{name} {speed:.0f}" for name, speed in limits.items()))
    for name, figures in counted.items():
        print(f"{name}: {', '.join(f'{key} {value}' for key, value in figures.items())}")
    RESULTS.mkdir(exist_ok=True)
    result = {
        "host": f"{platform.machine()}, {CORES} cores, Linux {platform.release()}, Python {platform.python_version()}",
        "machine": machine(),
        "load_before": round(load, 1),  # of other programs
        "command": ["python", "-m", "benchmarks", "transfers"],
        "versions": {
            **{name: version(name) for name in ("imagevol", "glance_store", "cinder")},
            "qemu-img": subprocess.run(
                ["qemu-img", "--version"], check=True, capture_output=True, text=True
            ).stdout.split("\n")[0],
        },
        "pairs": PAIRS,
        "limits_mib_s": {name: round(speed) for name, speed in limits.items()},
        "rows": [asdict(row) for row in rows],
        "counted": counted,
    }
    (RESULTS / "transfers.json").write_text(json.dumps(result, indent=2) + "\n")
    machines.keep({name: round(limits[name]) for name in BOTH}, {row.name: row.times for row in rows})
    draw()


def show(row: Row) -> Row:
    """Print a row as it is known."""
    name, theirs = next(iter(row.theirs_mib_s.items()))
    wanted = f" (wanted {row.wanted_times:g})" if row.wanted_times else ""
    limit = (
        f", {row.part_of_limit:.0%} of {row.limit_mib_s} (wanted {row.wanted_part:.0%})" if row.part_of_limit else ""
    )
    written = f", {row.written_mib:g} MiB written (most {row.most_mib:g})" if row.most_mib else ""
    print(
        f"{'met    ' if row.met else 'NOT MET'} {row.name}: {row.ours_mib_s:.0f} MiB/s, {name} {theirs:.0f}: "
        f"{row.times[name]} times{wanted}{limit}{written}",
        flush=True,
    )
    return row
