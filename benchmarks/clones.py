"""Volumes from one image at once, on an array whose clone takes seconds: from a template, and from Cinder's own cache.

Real services, with two cinder-volume processes; the backend `fast` has templates, and `slow` Cinder's image cache.
Measured to the last volume, from the answer to the last request: the requests come one after the other.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.pairs import RESULTS
from imagevol_core import GIB
from tests.cloud.bringup import running
from tests.cloud.record import Cloud
from tests.cloud.settings import with_mixin
from tests.cloud.templating import slow_clones
from tests.cloud.users import DATA, User

ROUNDS = 3
VOLUMES = 50
CLONE_SECONDS = 3.0
PATIENCE_SECONDS = 1800
SIDES = {"fast": "imagevol, template", "slow": "Cinder, image cache"}
STATES = ("the first 50 of an image", "the next 50 of it")


@dataclass(frozen=True, kw_only=True)
class Run:
    """Volumes that were asked for one after the other, on one side.

    Attributes:
        side: whose way.
        state: whether the template or the cached volume was there already.
        requests_seconds: how long the requests took together.
        last_seconds: from the answer to the last request to the last volume.
        right: how many of the volumes hold the image, and nothing else.
        copied: how many of them were copied and not cloned.
    """

    side: str
    state: str
    requests_seconds: float
    last_seconds: float
    right: int
    copied: int


def main() -> None:
    """Measure both sides in turns, and write the result."""
    settings = with_mixin(
        volume_hosts=("one", "two"),
        fast={"image_template_enabled": "true", "reflinkfile_capacity_gb": "10000"},
        slow={"image_volume_cache_enabled": "true", "reflinkfile_capacity_gb": "10000"},
    )
    runs: list[Run] = []
    with ExitStack() as undo:
        directory = undo.enter_context(tempfile.TemporaryDirectory())
        cloud = undo.enter_context(running(Path(directory, "cloud"), settings))
        for backend in SIDES:
            undo.enter_context(slow_clones(cloud, backend, seconds=CLONE_SECONDS))
        for _ in range(ROUNDS):
            image_id = User(cloud, "demo", ExitStack()).image(DATA, store="local")
            for state in STATES:
                for backend in SIDES:
                    runs.append(_measured(cloud, image_id, backend, state))
                    print(runs[-1], flush=True)
    _publish(runs)


def _measured(cloud: Cloud, image_id: str, backend: str, state: str) -> Run:
    """What is made goes with the cloud."""
    user = User(cloud, "demo", ExitStack())
    began = time.monotonic()
    wanted = {user.asked(image_id, backend).id for _ in range(VOLUMES)}
    answered = time.monotonic()
    while any(_are(user, status) & wanted for status in ("creating", "downloading")):
        if time.monotonic() - answered > PATIENCE_SECONDS:
            sys.exit(f"after {PATIENCE_SECONDS} s there still are volumes in the making: see {cloud.directory}/log")
        time.sleep(0.1)
    ended = time.monotonic()
    made = _are(user, "available") & wanted
    return Run(
        side=SIDES[backend],
        state=state,
        requests_seconds=round(answered - began, 1),
        last_seconds=round(ended - answered, 1),
        right=sum(_is_the_image(cloud.directory / "volumes" / backend / f"volume-{each}") for each in made),
        copied=len(wanted - _cloned(cloud)),
    )


def _are(user: User, status: str) -> set[str]:
    return {volume.id for volume in user.cinder.volumes.list(detailed=False, search_opts={"status": status})}


def _is_the_image(file: Path) -> bool:
    """Whether a volume begins with the image, and is zeros after it: no more of its file is on the disk."""
    with file.open("rb") as volume:
        begins = volume.read(len(DATA)) == DATA and not any(volume.read(1 << 20))
        volume.seek(0, os.SEEK_END)
        return begins and volume.tell() == GIB and file.stat().st_blocks * 512 < 2 * len(DATA)


def _cloned(cloud: Cloud) -> set[str]:
    """The volumes that the storage has cloned of others."""
    logs = "".join(log.read_text(errors="replace") for log in (cloud.directory / "log").glob("cinder-volume-*.log"))
    return set(re.findall(r"reflink clone \S+ -> \S+/volume-(\S+)", logs))


def _publish(runs: list[Run]) -> None:
    rows = []
    for state in STATES:
        for side in SIDES.values():
            of_row = [run for run in runs if (run.side, run.state) == (side, state)]
            seconds = round(statistics.median(run.last_seconds for run in of_row), 1)
            row = {"side": side, "state": state, "median_seconds": seconds, "right": sum(run.right for run in of_row)}
            print(f"{state:26}{side:22}{seconds:>6.1f} s, {row['right']} of {VOLUMES * ROUNDS} right")
            rows.append(row)
    result = {
        "host": f"{platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}",
        "machine": machine(),
        "command": ["python", "-m", "benchmarks", *sys.argv[1:]],
        "versions": {package: version(package) for package in ("imagevol", "cinder")},
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "volumes": VOLUMES,
        "clone_seconds": CLONE_SECONDS,
        "rounds": ROUNDS,
        "rows": rows,
        "runs": [asdict(run) for run in runs],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "clones.json").write_text(json.dumps(result, indent=2) + "\n")
