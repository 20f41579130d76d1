"""Our store driver beside glance_store's own, each in an unmodified Glance under gunicorn, on real services.

Two Glances share Keystone, Cinder and the database.  They differ in the driver of their stores, and in nothing else.
Requests go to one and to the other in turns.  Data is dense, and is verified on both ways.

CPU seconds are those of Glance's processes alone, by `/proc`.  What privsep and rootwrap take is counted apart.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from glanceclient.v2.client import Client as GlanceClient

from benchmarks.glance_alone import alone
from benchmarks.machine import machine
from benchmarks.pairs import RESULTS
from imagevol_adapters.cinder.volumes import CinderVolumes
from tests.cloud import services
from tests.cloud.bringup import START_SECONDS, running
from tests.cloud.ports import ports, sign_in
from tests.cloud.processes import SYSTEM_PATH, Process, ticks, wait_until
from tests.cloud.record import Cloud
from tests.cloud.rest import answers
from tests.cloud.settings import REGION, Settings, reserve_ports

MIB = 1 << 20
STORE = "fast"
PAIRS = int(os.environ.get("IMAGEVOL_BENCH_PAIRS", "5"))
TICKS = os.sysconf("SC_CLK_TCK")
_DATA = random.Random(17).randbytes(16 * MIB)


@dataclass(frozen=True)
class Cpu:
    """What processes have used."""

    glance: float = 0.0
    helpers: float = 0.0
    faults: int = 0

    def __sub__(self, before: Cpu) -> Cpu:
        return Cpu(self.glance - before.glance, self.helpers - before.helpers, self.faults - before.faults)


@dataclass(frozen=True)
class Glance:
    """A Glance that runs.

    Attributes:
        driver: of its stores.
        url: where it answers.
        pid: of its first process.
    """

    driver: str
    url: str
    pid: int

    @property
    def cpu(self) -> Cpu:
        """What its processes have used so far; those that have ended are counted where they were waited for."""
        own, helpers, faults = 0.0, 0.0, 0
        for pid in _family(self.pid):
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                itself, ended = (sum(map(int, fields[at : at + 2])) / TICKS for at in (11, 13))
                helpers += ended
                if b"privsep" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    helpers += itself
                else:
                    own += itself
                    faults += int(fields[7])
        return Cpu(own, helpers, faults)


def _family(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in children.read_text().split():
                yield from _family(int(child))


@dataclass(kw_only=True)
class Side:
    """One driver's medians in a row.

    Attributes:
        mib_s: MiB of images that were moved whole, in a second.
        right: how many requests were answered rightly, of each round.
        cpu_s: CPU seconds of Glance for each GiB.
        helpers_s: those of privsep and rootwrap, which do not grow with the image.
        faults: page faults of Glance for each GiB.
    """

    mib_s: float
    right: float
    cpu_s: float
    helpers_s: float
    faults: int


@dataclass(kw_only=True)
class Row:
    """One kind of request, by both.

    Attributes:
        name: what was asked for.
        times: how many times glance_store's rate ours is, as the median of the rounds.
        wanted_times: how many it should be.
        sides: by driver.
    """

    name: str
    times: float
    wanted_times: float
    sides: dict[str, Side]


class Requests:
    """Requests of one user to two Glances."""

    def __init__(self, cloud: Cloud, size_mib: int) -> None:
        self._cloud = cloud
        self._session = sign_in(cloud, "demo")
        self._volumes: CinderVolumes = ports(cloud).volumes
        self.size_mib = size_mib
        self.size_bytes = size_mib * MIB
        self._parts = [_DATA[at : at + MIB] for at in range(0, len(_DATA), MIB)]

    @property
    def client(self) -> Any:
        return GlanceClient(session=self._session, region_name=REGION)

    def new(self) -> str:
        return str(self.client.images.create(disk_format="raw", container_format="bare")["id"])

    def put(self, glance: Glance, image_id: str) -> bool:
        """Upload, and tell whether it was taken."""
        with self._connection(glance) as connection:
            connection.putrequest("PUT", f"/v2/images/{image_id}/file")
            self._headers(connection, {"Content-Type": "application/octet-stream", "x-image-meta-store": STORE})
            for number in range(self.size_mib):
                connection.send(self._parts[number % len(self._parts)])
            return connection.getresponse().status == 204

    def get(self, glance: Glance, image_id: str) -> bool:
        """Download, and tell whether it is the whole image."""
        memory = bytearray(MIB)
        with self._connection(glance) as connection:
            connection.putrequest("GET", f"/v2/images/{image_id}/file")
            self._headers(connection, {})
            answer = connection.getresponse()
            right = answer.status == 200
            for number in range(self.size_mib if right else 0):
                filled = 0
                while filled < MIB and (count := answer.readinto(memoryview(memory)[filled:])):
                    filled += count
                right = right and memory == self._parts[number % len(self._parts)]
                if not right:
                    return False
            return right

    def settle(self, image_id: str) -> None:
        """Return when the image's volume is let go."""
        location = self.client.images.get(image_id)["locations"][0]["url"]
        for _ in ticks(60):
            if self._volumes.get(location.rpartition("/")[2]).status == "available":
                return

    def delete(self, image_ids: list[str]) -> None:
        """Delete images, and return when the storage is free again."""
        for image_id in image_ids:
            self.client.images.delete(image_id)
        directory = self._cloud.directory / "volumes"
        for _ in ticks(120):
            if not any((directory / STORE).glob("volume-*")):
                break
        subprocess.run(["fstrim", str(directory)], check=False, capture_output=True, env={"PATH": SYSTEM_PATH})

    @contextmanager
    def _connection(self, glance: Glance) -> Iterator[http.client.HTTPConnection]:
        where = urlsplit(glance.url)
        connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=600)
        try:
            yield connection
        finally:
            connection.close()

    def _headers(self, connection: http.client.HTTPConnection, headers: Mapping[str, str]) -> None:
        sent = {"X-Auth-Token": str(self._session.get_token()), "Connection": "close", **headers}
        if "Content-Type" in headers:
            sent["Content-Length"] = str(self.size_bytes)
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders()


@dataclass
class Round:
    """What one side did in one round."""

    seconds: float
    right: int
    cpu: Cpu

    @classmethod
    def of(cls, glance: Glance, work: Callable[[], int], settle: Callable[[], object]) -> Self:
        before, started = glance.cpu, time.perf_counter()
        right = work()
        seconds = time.perf_counter() - started
        settle()
        return cls(seconds, right, glance.cpu - before)


def puts(requests: Requests, glance: Glance, count: int) -> Round:
    """Upload so many images at once."""
    images = [requests.new() for _ in range(count)]
    with ThreadPoolExecutor(count) as pool:
        found = Round.of(
            glance,
            lambda: sum(pool.map(lambda image: requests.put(glance, image), images)),
            lambda: None,
        )
    requests.delete(images)
    return found


def gets(requests: Requests, glance: Glance, image: str, count: int) -> Round:
    """Download an image so many times at once."""
    with ThreadPoolExecutor(count) as pool:
        return Round.of(
            glance,
            lambda: sum(pool.map(lambda _: requests.get(glance, image), range(count))),
            lambda: requests.settle(image),
        )


def summary(name: str, wanted: float, requests: Requests, rounds: Mapping[str, list[Round]], count: int) -> Row:
    """Give the medians of both, and of the rounds' ratios."""
    gib = requests.size_bytes * count / (1 << 30)
    ours, theirs = ([each.right * requests.size_mib / each.seconds for each in rounds[driver]] for driver in rounds)
    sides = {
        driver: Side(
            mib_s=round(statistics.median(each.right * requests.size_mib / each.seconds for each in found)),
            right=statistics.median(each.right for each in found),
            cpu_s=round(statistics.median(each.cpu.glance for each in found) / gib, 2),
            helpers_s=round(statistics.median(each.cpu.helpers for each in found), 2),
            faults=round(statistics.median(each.cpu.faults for each in found) / gib),
        )
        for driver, found in rounds.items()
    }
    times = statistics.median(mine / (other or 1) for mine, other in zip(ours, theirs, strict=True))
    return Row(name=name, times=round(times, 2), wanted_times=wanted, sides=sides)


@contextmanager
def glances(cloud: Cloud) -> Iterator[dict[str, Glance]]:
    """The cloud's own Glance, and one beside it whose stores have glance_store's driver."""
    ours = Glance("imagevol", cloud.image_url, cloud.pids["glance"])
    port = _free_port()
    folder = cloud.directory / "etc/glance-beside"
    shutil.copytree(cloud.directory / "etc/glance", folder)
    path = folder / "glance-api.conf"
    text = path.read_text().replace(":imagevol", ":cinder")
    path.write_text(text.replace(ours.url, f"http://127.0.0.1:{port}"))
    process: Process = services.glance_beside(cloud.directory, port=port, folder=folder)
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: answers(url), process=process, seconds=START_SECONDS)
    yield {"imagevol": ours, "cinder": Glance("cinder", url, process.pid)}


def _free_port() -> int:
    with ExitStack() as held:
        return reserve_ports(("beside",), held)["beside"]


def in_turns(sides: Mapping[str, Glance], work: Callable[[Glance], Round], pairs: int) -> dict[str, list[Round]]:
    """Let one and the other work, in turns."""
    rounds: dict[str, list[Round]] = {driver: [] for driver in sides}
    for _ in range(pairs):
        for driver, glance in sides.items():
            rounds[driver].append(work(glance))
    return rounds


def measure(cloud: Cloud, sides: Mapping[str, Glance]) -> Iterator[Row]:
    """Measure each kind of request."""
    whole, small = Requests(cloud, 1024), Requests(cloud, 256)
    for glance in sides.values():  # what a process does once, it has done
        puts(small, glance, 1)
    rounds = in_turns(sides, lambda glance: puts(whole, glance, 1), PAIRS)
    yield summary("PUT of 1 GiB", 1.5, whole, rounds, 1)
    with image(whole, sides["cinder"]) as image_id:
        rounds = in_turns(sides, lambda glance: gets(whole, glance, image_id, 1), PAIRS)
        yield summary("GET of 1 GiB", 1.2, whole, rounds, 1)
    rounds = in_turns(sides, lambda glance: puts(small, glance, 8), min(PAIRS, 3))
    yield summary("8 PUTs of 256 MiB at once", 1.2, small, rounds, 8)
    with image(small, sides["cinder"]) as image_id:
        rounds = in_turns(sides, lambda glance: gets(small, glance, image_id, 16), min(PAIRS, 3))
        yield summary("16 GETs of one image of 256 MiB at once", 3, small, rounds, 16)


@contextmanager
def image(requests: Requests, glance: Glance) -> Iterator[str]:
    """An image, while the context lasts."""
    image_id = requests.new()
    requests.put(glance, image_id)
    yield image_id
    requests.delete([image_id])


def show(row: Row) -> None:
    """Print a row as it is known."""
    met = "met    " if row.times >= row.wanted_times else "NOT MET"
    print(f"{met} {row.name}: {row.times} times (wanted {row.wanted_times:g})", flush=True)
    for driver, side in row.sides.items():
        print(
            f"        {driver:9} {side.mib_s:6.0f} MiB/s, {side.right:g} right, CPU {side.cpu_s:.2f} s/GiB, "
            f"helpers {side.helpers_s:.2f} s, {side.faults:,} page faults/GiB",
            flush=True,
        )


def main() -> None:
    """Measure, print the rows, and keep them with the machine and the versions."""
    place, load = Path("/dev/shm"), os.getloadavg()[0]
    rows, parts = [], alone()
    print("alone, CPU s/GiB:", ", ".join(f"{name} {seconds}" for name, seconds in parts.items()), flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="in-glance-", dir=place if place.is_dir() else None) as directory,
        running(Path(directory), Settings(store_driver="imagevol")) as cloud,
        glances(cloud) as sides,
    ):
        for row in measure(cloud, sides):
            show(row)
            rows.append(row)
    result = {
        "machine": machine(),
        "command": ["python", "-m", "benchmarks", "in_glance"],
        "versions": {
            name: version(name) for name in ("imagevol", "glance_store", "glance", "cinder", "gunicorn", "oslo.utils")
        },
        "load_before": round(load, 1),
        "load_after": round(os.getloadavg()[0], 1),
        "pairs": PAIRS,
        "cpu_s_alone": parts,
        "rows": [asdict(row) for row in rows],
    }
    (RESULTS / "in_glance.json").write_text(json.dumps(result, indent=2) + "\n")
