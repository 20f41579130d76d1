"""Boots the machine and runs tests in it: one boot for each file of tests, so that none sees what another left."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copy, copytree, rmtree
from typing import Any

from tests.san.machine import HERE, OURS, Machine

GUEST = HERE / "guest"
ROOT = HERE.parent.parent
PAGE = "docs/production/after-a-kill.md"  # of which a test runs commands
BOOT_SECONDS = 180  # emulated, on a busy host
DISK_GIB = 8  # of the disk that volumes are made on
MEMORY_MIB = 2048
KERNEL_ARGUMENTS = "console=ttyS0 quiet panic=-1 no_timer_check mitigations=off nokaslr audit=0 random.trust_cpu=on"
RUN = """
export PYTHONPATH=/host/site:/opt/site PYTHONDONTWRITEBYTECODE=1
export PYTEST_ADDOPTS='-o cache_dir=/tmp/pytest --color=no --junit-xml=/host/report.xml'
export IMAGEVOL_SEED={seed}
export CI=true  # pytest then does not cut the line of a failure to the width of the console, which takes minutes here
exec timeout --kill-after=10 {seconds} python3 -m pytest {arguments}
"""


@dataclass(frozen=True)
class Outcome:
    """How the tests of a file ended.

    Attributes:
        status: of pytest; None where the machine did not come to its end.
        report: the file in JUnit's format; None where there is none.
        tries: of faults: what was tried, and what came of it.
    """

    status: int | None
    report: Path | None
    tries: tuple[Mapping[str, Any], ...] = ()


def run(
    machine: Machine,
    tests: Path,
    *,
    site: Path,
    arguments: Sequence[str] = (),
    report: Path,
    seconds: int,
    seed: int = 1,
) -> Outcome:
    """Run a file of tests in the machine, with what it says on standard output.

    Args:
        machine: which is made.
        tests: a file of `guest`.
        site: the directory with the packages under test.
        arguments: more for pytest.
        report: where the results go.
        seconds: how long the tests may take.
        seed: what the tests draw from.
    """
    shared = machine.directory / "shared"
    rmtree(shared, ignore_errors=True)
    for name in OURS:
        for found in site.glob(f"{name}-*" if name == OURS[0] else name):
            copytree(found, shared / "site" / found.name)
    copytree(GUEST, shared / GUEST.relative_to(ROOT), ignore=lambda *_: ["__pycache__"])
    copy(ROOT / "pyproject.toml", shared)
    (shared / PAGE).parent.mkdir(parents=True)
    copy(ROOT / PAGE, shared / PAGE)
    words = [str(tests.relative_to(ROOT)), *arguments]
    (shared / "run").write_text(RUN.format(seconds=seconds, seed=seed, arguments=" ".join(map(quoted, words))))
    disk = machine.directory / "volumes.img"
    try:
        with disk.open("wb") as file:
            file.truncate(DISK_GIB << 30)
        boot(machine, shared, disk, seconds=seconds + BOOT_SECONDS)
    finally:
        disk.unlink(missing_ok=True)
    status, results = shared / "status", shared / "report.xml"
    if results.exists():
        copy(results, report)
    tries = shared / "tries.jsonl"
    return Outcome(
        status=int(status.read_text()) if status.exists() else None,
        report=report if results.exists() else None,
        tries=tuple(map(json.loads, tries.read_text().splitlines())) if tries.exists() else (),
    )


def boot(machine: Machine, shared: Path, disk: Path, *, seconds: int) -> None:
    """Start the machine, and return when it is off; what it writes to its own disks is forgotten then."""
    drives = [f"file={machine.root},snapshot=on", f"file={machine.site},readonly=on", f"file={disk}"]
    command = [
        *("setpriv", "--pdeathsig", "KILL", "--"),  # it ends with this process, however that ends
        *("qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"),
        *("-smp", "2", "-m", str(MEMORY_MIB), "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-kernel", str(machine.kernel), "-initrd", str(machine.initramfs), "-append", KERNEL_ARGUMENTS),
        *(word for drive in drives for word in ("-drive", f"{drive},format=raw,if=virtio,cache=unsafe")),
        *("-fsdev", f"local,id=host,path={shared},security_model=none,multidevs=remap"),
        *("-device", "virtio-9p-pci,fsdev=host,mount_tag=host", "-device", "virtio-rng-pci", "-serial", "stdio"),
    ]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            print(f"the machine is not off after {seconds} s", file=sys.stderr)
        finally:
            process.kill()


def quoted(word: str) -> str:
    """As a shell takes it."""
    return "'" + word.replace("'", "'\\''") + "'"
