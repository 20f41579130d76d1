"""Images into volumes on Ceph RBD and out of them, beside Cinder's own RBD driver, `rbd` and qemu-img.

All run on the same Ceph in user space, one after another, in turns: a monitor, a manager and one OSD whose disk is in
memory.  The OSD shares the processors with what is measured, so that the limit is what `rbd bench` reaches here.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.digests import digest_of
from benchmarks.machine import CORES, machine
from benchmarks.pairs import RESULTS
from benchmarks.peers import CONTEXT, Cinder, GlanceOfFile
from benchmarks.storage import GIB, MIB, Image
from benchmarks.transfers import PAIRS, Case, command, measure, run, show
from imagevol_adapters.brick_opening import open_device
from imagevol_adapters.engine import BLAKE3, pieces, verify_device, write_stream
from imagevol_adapters.ports import Device
from imagevol_adapters.qemu.converter import QemuConverter
from imagevol_adapters.transfers.filling import fill_device
from imagevol_core import Digest, ZeroHandling
from imagevol_core import Image as ImageFacts
from tests.rbd.ceph import ask, problem, running

POOL, VOLUME = "fast", "volume-7"
SIZE_GIB = 4
RAW_BYTES = GIB // 2
ONE_IN = 8  # parts of 1 MiB is data, in what is nearly empty
DISK_BYTES = 6 * GIB  # of the OSD, which keeps in memory what it has ever written


class RbdVolume:
    """A volume of the size of all: an image in a pool, which is renewed for each turn."""

    written_bytes = 0  # Ceph counts it some seconds later

    def __init__(self, configuration: Path) -> None:
        self.configuration = configuration
        self._rbd, self._linuxrbd = import_module("rbd"), import_module("os_brick.initiator.linuxrbd")
        self._create()

    def converted(self, image: Path, disk_format: str) -> dict[str, Callable[[], object]]:
        """qemu-img with its own driver for Ceph, if that is installed; it verifies nothing."""
        name = f"rbd:{POOL}/{VOLUME}:conf={self.configuration}"
        if subprocess.run(["qemu-img", "info", name], capture_output=True, check=False).returncode:
            print("qemu-img cannot open an image of Ceph (Debian's qemu-block-extra): left out", file=sys.stderr)
            return {}
        argv = ("qemu-img", "convert", "-f", disk_format, "-O", "raw", "-n", "-W", str(image), name)
        return {"qemu-img convert -n -W": command(*argv)}

    def renew(self) -> None:
        """Let it be as a volume that was just made."""
        with self._client() as client:
            self._rbd.RBD().remove(client.ioctx, VOLUME)
        self._create()

    def forget(self) -> None:
        """Nothing of it is kept on this side."""

    @contextmanager
    def open(self, *, writable: bool) -> Iterator[Device]:
        """Open it as os-brick's connector opens one."""
        with self._client() as client:
            image = self._linuxrbd.RBDVolume(client, VOLUME)
            metadata = self._linuxrbd.RBDImageMetadata(image, POOL, "admin", str(self.configuration))
            handle = self._linuxrbd.RBDVolumeIOWrapper(metadata)
            try:
                with open_device(handle, writable=writable, name=VOLUME) as device:
                    yield device
            finally:
                handle.close()

    def _create(self) -> None:
        with self._client() as client:
            self._rbd.RBD().create(client.ioctx, VOLUME, SIZE_GIB * GIB)

    def _client(self) -> Any:
        return self._linuxrbd.RBDClient("admin", POOL, conffile=str(self.configuration))


class CinderRbd:
    """Cinder's RBD driver itself: a temporary file, an inspection, `qemu-img convert` and `rbd import`."""

    def __init__(self, configuration: Path, directory: Path) -> None:
        Cinder(directory)  # which configures it
        module = import_module("cinder.volume.drivers.rbd")
        options = import_module("cinder.volume.driver").volume_opts
        settings = import_module("cinder.volume.configuration").Configuration(options, config_group="ceph")
        execute = import_module("cinder.utils").execute
        overrides = {"rbd_pool": POOL, "rbd_ceph_conf": str(configuration), "rbd_user": "admin"}
        for name, value in overrides.items():
            setattr(settings, name, value)
        self._driver = module.RBDDriver(execute=execute, configuration=settings, host="here@ceph")
        self._driver.do_setup(CONTEXT)
        self._volume = SimpleNamespace(name=VOLUME, id="7", size=SIZE_GIB, volume_type=None)

    def fetch(self, image: Path, disk_format: str) -> None:
        """Let it put an image file, as Glance would send it, into the volume."""
        self._driver.copy_image_to_volume(CONTEXT, self._volume, GlanceOfFile(image, disk_format), "i")


def writes(volume: RbdVolume, directory: Path, cinder: CinderRbd) -> Iterator[Case]:
    """An image file into a volume."""
    data, raw = Image(RAW_BYTES), directory / "raw"
    data.write(raw)
    conf = ("-c", str(volume.configuration))
    sha512 = digest_of(data, "sha512")

    def ours() -> None:
        with raw.open("rb") as file, volume.open(writable=True) as device:
            report = write_stream(
                pieces(file), device, size_bytes=RAW_BYTES, zeros=ZeroHandling.SKIP, algorithms=("sha512",)
            )
        assert report.digests["sha512"] == sha512

    yield Case(
        name="raw image of 512 MiB into an RBD volume, verified by its sha512",
        moved_bytes=RAW_BYTES,
        ours=ours,
        peers={
            "Cinder's RBD driver": lambda: cinder.fetch(raw, "raw"),
            "rbd import of the file": lambda: imported(volume, conf, raw),
            **volume.converted(raw, "raw"),
        },
        at_least=2,
        fresh=True,
    )
    yield Case(
        name="template of the same, and read back",
        moved_bytes=RAW_BYTES,
        ours=lambda: filled(volume, raw, disk_format="raw", digest=sha512),
        peers={"Cinder's RBD driver": lambda: cinder.fetch(raw, "raw")},
        at_least=1,
        fresh=True,
    )
    raw.unlink()


def conversions(volume: RbdVolume, directory: Path, cinder: CinderRbd) -> Iterator[Case]:
    """A qcow2 into a volume."""
    raw, image, size_bytes = directory / "raw", directory / "qcow2", SIZE_GIB * GIB
    Image(size_bytes, one_in=ONE_IN).write(raw)
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image))
    raw.unlink()
    digest = Digest("sha512", run_for("sha512sum", str(image)).split()[0])
    yield Case(
        name=f"template of a qcow2 of {SIZE_GIB} GiB with {SIZE_GIB / ONE_IN:g} GiB data, which stays in Glance",
        moved_bytes=size_bytes,
        ours=lambda: filled(volume, image, disk_format="qcow2", digest=digest),
        peers={
            "Cinder's RBD driver": lambda: cinder.fetch(image, "qcow2"),
            **volume.converted(image, "qcow2"),
        },
        at_least=2,
        fresh=True,
    )
    image.unlink()


def reads(volume: RbdVolume, directory: Path) -> Iterator[Case]:
    """A volume of which a part was written, read and verified."""
    data, size_bytes, target = Image(SIZE_GIB * GIB, one_in=ONE_IN), SIZE_GIB * GIB, directory / "exported"
    volume.renew()
    with volume.open(writable=True) as device:
        write_stream(iter(data), device, size_bytes=size_bytes, zeros=ZeroHandling.SKIP, algorithms=())
    blake3, sha512 = digest_of(data, BLAKE3), digest_of(data, "sha512")
    export = ("rbd", "-c", str(volume.configuration), "export", "--no-progress", f"{POOL}/{VOLUME}")

    def verified(digest: Digest) -> None:
        with volume.open(writable=False) as device:
            verify_device(device, length=size_bytes, digest=digest, what="it")

    def exported() -> None:
        target.unlink(missing_ok=True)
        run(*export, str(target))
        assert run_for("sha512sum", str(target)).split()[0] == sha512.value
        target.unlink()

    yield Case(
        name=f"RBD volume of {SIZE_GIB} GiB with {SIZE_GIB / ONE_IN:g} GiB data, read and verified by its BLAKE3",
        moved_bytes=size_bytes,
        ours=lambda: verified(blake3),
        peers={
            "rbd export into a file, and sha512sum": exported,
            "rbd export into nothing": command("sh", "-c", f"{shlex.join(export)} - >/dev/null"),
            "verified by its sha512": lambda: verified(sha512),
        },
        at_least=2,
        reads=True,
    )


def filled(volume: RbdVolume, image: Path, *, disk_format: str, digest: Digest) -> None:
    """Fill a template, as the mixin does in cinder-volume."""
    facts = ImageFacts(
        id="7ad3",
        status="active",
        owner="p",
        disk_format=disk_format,
        container_format="bare",
        size_bytes=image.stat().st_size,
        digest=digest,
    )

    def ranges(offset: int) -> Iterator[bytes]:
        with image.open("rb") as file:
            file.seek(offset)
            while data := file.read(MIB):
                yield data

    with volume.open(writable=True) as device:
        fill_device(ranges, device, image=facts, converter=QemuConverter(), directory=image.parent)


def imported(volume: RbdVolume, conf: tuple[str, str], image: Path) -> None:
    """Let `rbd` do it alone; it makes the volume itself."""
    run("rbd", *conf, "rm", "--no-progress", f"{POOL}/{VOLUME}")
    run("rbd", *conf, "import", "--no-progress", str(image), f"{POOL}/{VOLUME}")


def run_for(*argv: str) -> str:
    """Give what a command says."""
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def limits(volume: RbdVolume) -> dict[str, float]:
    """What `rbd bench` reaches, in MiB a second: the best of three, on an image that was written before."""
    found = {}
    for kind in ("write", "read"):
        argv: list[str | Path] = [
            "rbd",
            "-c",
            volume.configuration,
            "bench",
            "--io-type",
            kind,
            "--io-size",
            "4M",
            "--io-threads",
            "16",
        ]
        tries = []
        for _ in range(3):
            said = ask(volume.configuration.parent, *argv, "--io-total", "512M", f"{POOL}/{VOLUME}")
            rate = re.search(r"ops/sec: *([\d.]+)", said)
            tries.append(4 * float(rate[1]) if rate else 0.0)
        found[f"rbd bench {kind}"] = max(tries)
    return found


def place() -> str | None:
    """Give a directory in memory, if Ceph can have its disk there; it needs direct I/O."""
    memory = Path("/dev/shm")
    try:
        with tempfile.NamedTemporaryFile(dir=memory) as file:
            os.close(os.open(file.name, os.O_RDWR | os.O_DIRECT))
    except OSError:
        return None
    return str(memory)


def main() -> None:
    """Measure, print the table, and keep it with the host and the versions."""
    if reason := problem():
        print(f"rbd: {reason}: left out", file=sys.stderr)
        return
    rows, load = [], os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="rbd-", dir=place()) as directory:
        here = Path(directory)
        with running(here / "ceph", disk_bytes=DISK_BYTES) as configuration:
            os.environ["PATH"] = f"{os.environ['PATH']}:/usr/sbin:/usr/bin:/sbin:/bin"
            volume, cinder = RbdVolume(configuration), CinderRbd(configuration, here)
            reached = limits(volume)
            print("limits, MiB/s:", ", ".join(f"{name} {speed:.0f}" for name, speed in reached.items()))
            for cases in (writes(volume, here, cinder), conversions(volume, here, cinder), reads(volume, here)):
                rows += [show(measure(case, volume, {})) for case in cases]
    RESULTS.mkdir(exist_ok=True)
    result = {
        "host": f"{platform.machine()}, {machine()['processor']}, {CORES} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}",
        "machine": machine(),
        "command": ["python", "-m", "benchmarks", "rbd"],
        "versions": {
            "imagevol": version("imagevol"),
            "cinder": version("cinder"),
            "Ceph": run_for("ceph", "--version").split()[2],
            "qemu-img": run_for("qemu-img", "--version").split()[2],
        },
        "load_before": round(load, 1),  # of other programs
        "pairs": PAIRS,
        "limits_mib_s": {name: round(speed) for name, speed in reached.items()},
        "rows": [asdict(row) for row in rows],
    }
    (RESULTS / "rbd.json").write_text(json.dumps(result, indent=2) + "\n")
