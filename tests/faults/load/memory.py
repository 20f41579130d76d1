"""The load on services in memory, which the workers reach by a socket, and whose calls go wrong in the workers."""

from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import attrs

from imagevol_adapters.closing import closing
from imagevol_adapters.testing.fault_language import Call, Fault, Faults, fails, loses_answer, stalls
from imagevol_core import TEMPLATE_KEY, Digest, Image, ServiceUnreachable
from tests.faults.killing import memory
from tests.faults.killing.cloud import MemoryCloud
from tests.faults.killing.commands import repair as repair_arguments
from tests.faults.killing.forked import FileAttacher, RemoteImages, RemoteVolumes, set_up
from tests.faults.killing.memory import STORES, USERS, FileVolumes
from tests.faults.killing.preloaded import IN_MEMORY
from tests.faults.load.striking import drawn
from tests.faults.load.transfers import Ports

__all__ = ["MemorySite", "memory_site", "ports"]

_FAULTS: Mapping[str, Fault] = {
    "fails": fails(),
    "does not answer": fails(ServiceUnreachable),
    "stalls": stalls(),
    "is done, and its answer is lost": loses_answer(),
}
_STREAMED = {"upload": 1}


class Glance(memory.Glance):
    """A Glance in memory that takes data."""

    def upload(self, image_id: str, data: Iterable[bytes], **wishes: Any) -> Image:
        with closing(data):
            self.records._expect_queued(image_id)
            content = b"".join(data)
        image, digest = self.get(image_id), Digest("sha512", hashlib.sha512(content).hexdigest())
        known = replace(image, status="active", size_bytes=len(content), digest=digest)
        image = self._save(replace(known, locations=(self._written(known, wishes["store"], content),)))
        if image.locations[0].url.startswith("file:"):
            self.records.data[image_id] = content
        return image


def ports(variables: Mapping[str, str], faulty: Callable[[], bool]) -> Ports:
    """Give a worker its ports, whose calls go wrong while its thread says so."""
    directory, seed, rate = Path(variables["IMAGEVOL_KILLED"]), variables["SEED"], float(variables["RATE"])
    socket, lost = directory / "socket", ServiceUnreachable
    # A byte for each call, which is there also when the process is killed.
    counted = os.open(directory / "calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def plan(call: Call) -> Fault | None:
        if not faulty() or not call.name.startswith(("volumes.", "images.")):
            return None
        # A real port finds an attachment that was made without an answer, so none is made here.
        names = [*_FAULTS][: -1 if call.name == "volumes.attach" else None]
        name = drawn(f"{seed} {call.name} {call.nth}", rate, names, [1] * len(names))
        os.write(counted, b"." if name is None else b"!")
        return None if name is None else _FAULTS[name]

    faults = Faults(plan)
    cinder = RemoteVolumes(socket, "volumes", FileVolumes, lost=lost)
    images = faults.port(RemoteImages(socket, "images", Glance, streamed=_STREAMED, lost=lost), "images")
    return Ports(
        volumes=faults.volumes(cinder),
        images=images,
        copies=images,
        attacher=FileAttacher(volumes=cinder),
        catalogue=lambda: STORES,
        volume_type="ssd",
    )


@attrs.define
class MemorySite:
    """A cloud in memory; see `site.Site`."""

    cloud: MemoryCloud
    seed: int
    rate: float
    ports: Ports
    demo: Any
    where: str = "tests.faults.load.memory:ports"
    preloaded: Sequence[str] = (*IN_MEMORY, "tests.faults.load.memory", "tests.faults.load.worker")
    storm_store: str = "files"
    settling_seconds: float = 0.05
    _runs: Iterator[int] = attrs.field(factory=itertools.count)

    @property
    def variables(self) -> Mapping[str, str]:
        return {**self.cloud.variables, "SEED": str(self.seed), "RATE": str(self.rate)}

    def strike(self, *, active: bool) -> None:
        """Do nothing: the workers are told with each transfer."""

    def calls(self) -> tuple[int, int]:
        counted = (self.cloud.directory / "calls").read_bytes()
        return len(counted), counted.count(b"!")

    def services(self) -> Mapping[str, int]:
        return {}

    def lock_directories(self) -> Sequence[Path]:
        return [self.cloud.directory / "locks"]

    def inventory(self) -> set[str]:
        # Cinder finishes what it was asked for, whatever has become of the process that asked.
        self.cloud.go_on()
        found = {each for each in self.cloud._things() if not each.startswith("image ")}
        return found | {f"image {each}" for each in self.cloud.images.images}

    def templates(self) -> set[str]:
        volumes = list(self.cloud.volumes.volumes.values())
        return {f"volume {each.id}" for each in volumes if TEMPLATE_KEY in each.metadata}

    def remove_templates(self) -> None:
        for each in self.templates():
            self.cloud.volumes.delete(each.removeprefix("volume "))

    def audit(self, *, repair: bool) -> list[Mapping[str, Any]]:
        arguments = [str(each) for each in repair_arguments(self.cloud)]
        number = next(self._runs)
        out = self.cloud.directory / f"audit-{number}"
        if repair:
            arguments += ["--repair-journal", str(self.cloud.directory / f"repairs-{number}")]
        else:
            arguments = [each for each in arguments if each not in ("--repair", "--yes", "--include-likely")]
        context = multiprocessing.get_context("forkserver")
        process = context.Process(target=_command, args=(dict(self.variables), arguments, str(out)))
        process.start()
        process.join()
        if process.exitcode not in (0, 3):
            raise AssertionError(f"imagevol audit ends with {process.exitcode}: {out.with_suffix('.err').read_text()}")
        found: list[Mapping[str, Any]] = json.loads(out.read_text())
        return found


def _command(variables: Mapping[str, str], arguments: Sequence[str], out: str) -> None:
    for number, name in ((1, out), (2, f"{out}.err")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.environ.update(variables)
    sys.argv = ["imagevol", *arguments]
    sys.exit(set_up(variables)())


@contextmanager
def memory_site(directory: Path, *, seed: int, rate: float) -> Iterator[MemorySite]:
    """Let there be a cloud in memory, whose volumes are files."""
    cloud = MemoryCloud(directory)
    cloud.images = Glance(volumes=cloud.volumes, catalogue=STORES).prepare()
    cloud.volumes.images = cloud.images
    cloud.volumes.makes = True
    own = Ports(
        volumes=cloud.volumes,
        images=cloud.images,
        copies=cloud.images,
        attacher=FileAttacher(volumes=cloud.volumes),
        catalogue=lambda: STORES,
        volume_type="ssd",
    )
    with cloud.running():
        yield MemorySite(cloud, seed, rate, own, cloud.volumes.of_project(USERS))
