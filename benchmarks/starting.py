"""CPU seconds of whole commands, beside python-openstackclient: what an operator waits for before anything happens.

The two sides run in turns.  `openstack` runs without the plug-in of this project, but for the row that is about it.
`explain`, `get` and the list of volumes ask a real Keystone, Cinder and Glance, which are started for it.  CPU seconds
of the process and its children are counted, so that waiting for a service is not.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import distribution
from pathlib import Path

from benchmarks.pairs import Measured, publish
from tests.cloud.bringup import running

ROUNDS = 11
COMMANDS = Path(sys.executable).parent
HELP = "openstack --help"
LIST = "openstack volume list"

Side = tuple[Sequence[str], Mapping[str, str]]
"""A command, and its environment."""


def main() -> None:
    """Measure, and keep the result."""
    with (
        tempfile.TemporaryDirectory(prefix="imagevol-starting-") as directory,
        running(Path(directory, "cloud")) as cloud,
    ):
        environment = {"OS_CLIENT_CONFIG_FILE": str(cloud.clouds_yaml), "OS_CLOUD": "service"}
        measured = list(_measured(Path(directory), environment, cloud.backend_hosts["fast"]))
    publish("starting", measured, peers=("python-openstackclient", "python-cinderclient", "python-glanceclient"))


def _measured(directory: Path, environment: Mapping[str, str], host: str) -> list[Measured]:
    disk, back = directory / "disk.raw", directory / "back.raw"
    disk.write_bytes(os.urandom(1 << 20))
    where = ("--volume-type", "fast", "--register", "disk", "--store", "fast", "-f", "value", "-c", "volume_id")
    volume_id = _run(["put", str(disk), *where], environment).strip()
    rows: tuple[tuple[str, list[str], str], ...] = (
        ("imagevol --help", ["imagevol", "--help"], HELP),
        ("imagevol --version", ["imagevol", "--version"], HELP),
        ("imagevol put --nonsense", ["imagevol", "put", "--nonsense"], HELP),
        ("import imagevol_core", ["python", "-c", "import imagevol_core"], HELP),
        ("from imagevol_core import *", ["python", "-c", "from imagevol_core import *"], HELP),
        ("imagevol explain", ["imagevol", "explain", "disk", "--size", "1", "--host", host], LIST),
        ("imagevol get", ["imagevol", "get", volume_id, str(back)], LIST),
    )
    without = {**environment, "PYTHONPATH": str(_without_plug_in(directory))}
    measured = [_in_turns(name, (ours, environment), (theirs.split(), without), back) for name, ours, theirs in rows]
    listing, peer = LIST.split(), f"{LIST} without it"
    plug_in = _in_turns(f"{LIST} with the plug-in", (listing, environment), (listing, without), back, peer=peer)
    return [*measured, plug_in]


def _without_plug_in(directory: Path) -> Path:
    """Make a directory that is searched first, and has this distribution without any entry point."""
    ours = distribution("imagevol")
    found = directory / "without" / f"imagevol-{ours.version}.dist-info"
    found.mkdir(parents=True)
    (found / "METADATA").write_text(ours.read_text("METADATA") or "")
    (found / "entry_points.txt").touch()
    return found.parent


def _in_turns(name: str, ours: Side, theirs: Side, back: Path, *, peer: str | None = None) -> Measured:
    rounds = []
    for _ in range(ROUNDS):
        back.unlink(missing_ok=True)
        rounds.append((_cpu_seconds(*ours), _cpu_seconds(*theirs)))
    return Measured(
        name=name,
        peer_name=peer or " ".join(theirs[0]),
        ours_us=round(statistics.median(mine for mine, _ in rounds) * 1e6),
        peer_us=round(statistics.median(peer for _, peer in rounds) * 1e6),
        ratio=round(statistics.median(peer / mine for mine, peer in rounds), 2),
    )


def _cpu_seconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    program, *arguments = command
    process = subprocess.Popen(
        [COMMANDS / program, *arguments],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0  # it is waited for already
    return usage.ru_utime + usage.ru_stime


def _run(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    command = [str(COMMANDS / "imagevol"), *arguments]
    return subprocess.check_output(command, env={**os.environ, **environment}, text=True)
