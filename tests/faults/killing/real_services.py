"""Services that are killed: glance-api with the store, and Cinder with the mixin."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from tests.cloud import restarting
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.rest import answers
from tests.cloud.templating import templates
from tests.faults.killing.points import KILL, Point
from tests.faults.killing.real_cloud import DATA, PATIENCE_SECONDS, SIZE, RealCloud, repaired
from tests.faults.killing.running import Result
from tests.faults.killing.tracing import attached_to, hit_a_pipe

__all__ = ["SERVICES", "try_service"]


def _workers(cloud: Cloud, service: str) -> list[int]:
    """The processes of a service that do the work: gunicorn's workers, or Cinder itself."""
    pid = Cloud.load(cloud.directory).pids[service]
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children] if service == "glance" else [pid]


def _uploaded(real: RealCloud) -> str:
    """Upload an image to our store, and give its status."""
    try:
        image_id = real.service.glance.images.create(disk_format="raw", container_format="bare", name="new")["id"]
        real.service.glance.images.upload(image_id, io.BytesIO(DATA), image_size=SIZE, backend="fast")
    except Exception as error:  # noqa: BLE001 - libraries raise what they like
        return f"error: {type(error).__name__}"
    return "whole"


def _created(real: RealCloud) -> str:
    """Create a volume of an image that only a template can serve, and give what became of it."""
    image_id = real.made[0] if real.made else real.image(store="local")
    try:
        volume = real.service.cinder.volumes.create(1, volume_type="fast", imageRef=image_id, name="of a user")
    except Exception as error:  # noqa: BLE001 - libraries raise what they like
        return f"error: {type(error).__name__}"
    for _ in ticks(30, interval=0.2):
        with suppress(Exception):
            volume = real.service.cinder.volumes.get(volume.id)
            if volume.status in ("available", "error"):
                break
        if not _workers_live(real.cloud):
            return "absent"
    return "whole" if volume.status == "available" else "error"


def _workers_live(cloud: Cloud) -> bool:
    return Cloud.load(cloud.directory).services()["cinder"]


SERVICES: Mapping[str, tuple[str, Callable[[RealCloud], str]]] = {
    "glance-api, an upload": ("glance", _uploaded),
    "cinder-volume, a template": ("cinder", _created),
}


def try_service(name: str, real: RealCloud, point: Point | None, trace: Path) -> Result | None:
    """Disturb a service once while it works, start it again, ask again, repair, and look.

    None if the point was a call that cannot fail; see `hit_a_pipe`.
    """
    began = time.monotonic()
    service, ask = SERVICES[name]
    problems: list[str] = []
    if service == "cinder":
        real.image(store="local")
    real.before = real.clean
    before = _workers(real.cloud, service)
    with attached_to(before, trace, point):
        outcome = ask(real)
    if impossible := point is not None and point.fault != KILL and hit_a_pipe(trace):
        for pid in before:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    killed = _restarted(real, service, before)
    problems += [f"after the fault: {each}" for each in real.lies()]
    second = ask(real)
    if second != "whole":
        problems.append(f"asked again, it gives {second}")
    for volume in real.service.cinder.volumes.list(search_opts={"all_tenants": 1}):
        if volume.name == "of a user":
            with suppress(Exception):
                real.service.cinder.volumes.force_delete(volume.id)
    problems += repaired(real)
    made = [f"volume {each.id}" for each in templates(real.cloud) if each.status == "available"]
    problems += [f"left: {each}" for each in real.left(*made)]
    real.forget()
    if impossible:
        return None
    return Result(
        outcome="error" if outcome.startswith("error") else outcome,
        killed=killed,
        problems=tuple(dict.fromkeys(problems)),
        seconds=time.monotonic() - began,
    )


def _restarted(real: RealCloud, service: str, before: Iterable[int]) -> bool:
    """Start a service again if it was killed, or is about to end, and tell whether it was."""
    url = {"cinder": real.cloud.volume_url, "glance": real.cloud.image_url}[service]
    if all(_is_alive(pid) for pid in before) and any(answers(url) for _ in ticks(10)):
        return False
    for pid in before:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if service == "cinder":
        restarting.start(real.cloud, "cinder")
        restarting._until_pools(real.cloud)
    else:  # gunicorn starts another worker
        for _ in ticks(PATIENCE_SECONDS):
            with suppress(Exception):
                if _workers(real.cloud, service) and real.images() is not None:
                    break
    return True


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
