"""The same on real Keystone, Cinder and Glance: commands, glance-api with the store, and Cinder with the mixin."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

from tests.cloud import restarting
from tests.cloud.bringup import running
from tests.cloud.database import run_sql
from tests.cloud.ports import inventory
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.settings import with_mixin
from tests.cloud.teardown import mount_points
from tests.cloud.templating import templates
from tests.cloud.users import User
from tests.faults.killing.commands import REPAIRS, said
from tests.faults.killing.points import Point
from tests.faults.killing.tracing import Forks, Ran, attached_to

__all__ = ["COMMANDS", "SERVICES", "RealCloud", "Tried", "real_cloud", "set_up"]

SIZE = 3 * (1 << 20) + 77
DATA = random.Random(18).randbytes(SIZE)
PATIENCE_SECONDS = 60.0
Arguments = tuple[object, ...]


def set_up(variables: Mapping[str, str]) -> Callable[[], int]:
    """Give the command line, in a directory of its own."""
    import tempfile  # noqa: PLC0415 - in the fork

    from imagevol_adapters.cli import main  # noqa: PLC0415 - in the fork

    os.chdir(variables["IMAGEVOL_WORK"])
    tempfile.tempdir = None
    return main


@attrs.frozen(kw_only=True)
class Tried:
    """What came of a point: as `commands.Tried`."""

    point: Point | None
    outcome: str
    killed: bool
    problems: tuple[str, ...]
    seconds: float


@attrs.define(kw_only=True)
class RealCloud:
    """A running cloud, and what is in it beside what a command makes."""

    cloud: Cloud
    service: User
    forks: Forks
    directory: Path
    made: list[str] = attrs.field(factory=list)  # images that a point has made
    before: set[str] = attrs.field(factory=set)
    mounts: set[str] = attrs.field(factory=set)
    runs: int = 0

    @property
    def work(self) -> Path:
        return self.directory / "work"

    @property
    def variables(self) -> dict[str, str]:
        return {
            "OS_CLIENT_CONFIG_FILE": str(self.cloud.clouds_yaml),
            "OS_CLOUD": "service",
            "IMAGEVOL_WORK": str(self.work),
            "TMPDIR": str(self.directory / "tmp"),
        }

    def run(self, *arguments: object, **options: Any) -> Ran:
        where = "tests.faults.killing.real:set_up"
        return self.forks.run(*arguments, set_up=where, variables=self.variables, **options)

    def repair(self) -> Ran:
        self.runs += 1
        return self.run(
            *("audit", "--repair", "--yes", "--include-likely", "--only-glance", "--stuck-after", "0", "-f", "json"),
            *("--trusted-project", self.cloud.project_ids["service"]),
            *("--config-file", self.cloud.directory / "etc/glance/glance-api.conf"),
            *("--temporary-directory", self.cloud.directory / "cinder/conversion"),
            *("--temporary-directory", self.directory / "tmp", "--temporary-directory", self.work),
            *("--repair-journal", self.directory / f"repairs-{self.runs}"),
        )

    # What there is

    def image(self, data: bytes = DATA, *, store: str = "fast") -> str:
        """An image that a point needs; it goes at its end."""
        with ExitStack() as kept:
            image_id: str = User(self.cloud, "service", kept).image(data, store=store)
            kept.pop_all()
        self.made.append(image_id)
        return image_id

    def images(self) -> dict[str, Any]:
        return {image["id"]: image for image in self.service.glance.images.list()}

    def files(self, image: Any) -> Iterator[Path]:
        """The file in which each volume of an image is, on the backend."""
        for location in image.get("locations") or ():
            volume_id = location["url"].rpartition("/")[2]
            if location["url"].startswith("file://"):
                yield Path(location["url"].removeprefix("file://"))
                continue
            found = list((self.cloud.directory / "volumes").glob(f"*/volume-{volume_id}"))
            yield from found or [Path("/nowhere") / volume_id]

    def lies(self) -> list[str]:
        """Images that look whole and are not."""
        wrong = []
        for image_id, image in self.images().items():
            if image["status"] != "active":
                continue
            if not image.get("locations"):
                wrong.append(f"image {image_id} has no location")
            for path in self.files(image):
                try:
                    with path.open("rb") as file:
                        held = file.read(image["size"] or 0)
                except OSError:
                    wrong.append(f"image {image_id} is not in {path}")
                    continue
                digest = image.get("os_hash_value")
                if held != DATA and digest != hashlib.sha512(held).hexdigest():
                    wrong.append(f"image {image_id} has other data in {path}")
        return wrong

    def things(self) -> set[str]:
        found = inventory(self.cloud)
        for image_id, image in self.images().items():
            if image["status"] != "active":
                found.add(f"image {image_id} is {image['status']}")
        for name in ("work", "tmp"):
            found |= {f"file {path}" for path in (self.directory / name).rglob("*")}
        for name in ("cinder/conversion", "glance/staging", "glance/mnt"):
            found |= {f"file {path}" for path in (self.cloud.directory / name).rglob("*")}
        found |= {f"mount {path}" for path in mount_points(self.cloud.directory)}
        return found

    def remember(self) -> None:
        self.before = self.things()

    def left(self, *expected: str) -> list[str]:
        """What there is more than before, once Cinder has deleted what it is deleting."""
        for _ in ticks(15, interval=0.2):
            shown = self.images()
            used = {
                f"volume {location['url'].rpartition('/')[2]}"
                for image in shown.values()
                if image["status"] == "active"
                for location in image.get("locations") or ()
            }
            whole = {f"image {image_id}" for image_id, image in shown.items() if image["status"] == "active"}
            left = sorted(self.things() - self.before - used - whole - set(expected))
            if not left:
                break
        return left

    def forget(self) -> None:
        """Delete what a point has made, and what it left."""
        for directory in (self.work, self.directory / "tmp"):
            shutil.rmtree(directory)
            directory.mkdir()
        for path in self.directory.glob("repairs-*"):
            path.unlink()
        known = {each.removeprefix("image ") for each in self.clean if each.startswith("image ")}
        for image_id in self.images().keys() - known:
            with suppress(Exception):
                self.service.glance.images.delete(image_id)
        self.made.clear()
        for _ in ticks(PATIENCE_SECONDS, interval=0.2):
            extra = inventory(self.cloud) - self.clean
            if not extra:
                return
            for each in extra:
                kind, _, name = each.partition(" ")
                with suppress(Exception):
                    if kind == "attachment":
                        self.service.cinder.attachments.delete(name)
                    elif kind == "volume" and self.service.cinder.volumes.get(name).status != "deleting":
                        self.service.cinder.volumes.reset_state(name, "available")
                        self.service.cinder.volumes.force_delete(name)
        raise AssertionError(f"the cloud cannot be brought back: {inventory(self.cloud) - self.clean}")

    clean: set[str] = attrs.field(factory=set)


@contextmanager
def real_cloud(directory: Path, forks: Forks) -> Iterator[RealCloud]:
    """Start a cloud with our store and our mixin, and the settings that the how-to recommends."""
    for name in ("work", "tmp"):
        (directory / name).mkdir()
    settings = with_mixin({"image_template_enabled": "true"})
    with running(directory / "cloud", settings, keep_logs=True) as cloud, ExitStack() as undo:
        real = RealCloud(cloud=cloud, service=User(cloud, "service", undo), forks=forks, directory=directory)
        real.clean = real.things()
        yield real


@attrs.frozen(kw_only=True)
class Command:
    """A command that is killed; as `commands.Command`."""

    prepare: Callable[[RealCloud], Arguments]
    journal: str | None = None
    resume: Callable[[Arguments], Arguments] = lambda arguments: (*arguments, "--resume")
    files: tuple[str, ...] = ()


def _put(*more: object) -> Callable[[RealCloud], Arguments]:
    def prepare(real: RealCloud) -> Arguments:
        source = real.directory / "disk.raw"
        source.write_bytes(DATA)
        return ("put", source, "--volume-type", "fast", "--register", "new", "--store", "fast", *more, "-f", "json")

    return prepare


def _get(*more: object) -> Callable[[RealCloud], Arguments]:
    return lambda real: ("get", real.image(), "got", *more)


def _moved(real: RealCloud) -> Arguments:
    conf = real.cloud.directory / "etc/glance/glance-api.conf"
    wish = ("--from-store", "fast", "--to-store", "slow", "--move", "--yes", "-f", "json")
    return ("cp", real.image(), *wish, "--config-file", conf)


def _going_on(arguments: Arguments) -> Arguments:
    at = arguments.index("--journal")
    return ("cp", "--resume", *arguments[at - 2 : at + 2], "--yes", "-f", "json")


def _relocated(real: RealCloud) -> Arguments:
    for before in ("cinder://{}", "cinder://slow/{}"):
        image_id = real.image()
        (location,) = real.service.glance.images.get(image_id)["locations"]
        url = before.format(location["url"].rpartition("/")[2])
        run_sql(real.cloud, "glance", "UPDATE image_locations SET value = %s WHERE image_id = %s", (url, image_id))
    conf = real.cloud.directory / "etc/glance/glance-api.conf"
    return ("locations", "apply", "--config-file", conf, "--yes", "-f", "json")


def _warmed(real: RealCloud) -> Arguments:
    conf = real.cloud.directory / "etc/cinder/cinder.conf"
    return (
        *("templates", "warm", real.image(store="local"), "--volume-type", "fast", "--yes"),
        *("--config-file", conf, "-f", "json"),
    )


def _faulty(real: RealCloud) -> Arguments:
    from imagevol_core import VolumeOrigin  # noqa: PLC0415 - in the fork

    volumes = real.service.real.volumes
    image_id = real.image()
    (location,) = real.service.glance.images.get(image_id)["locations"]
    volumes.set_readonly(location["url"].rpartition("/")[2], readonly=False)
    for metadata in (
        {"image_id": "7a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1", "image_owner": "x", "image_size": "5"},
        VolumeOrigin(procedure="add", image_id="8a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1").to_volume(),
    ):
        made = volumes.create(size_gib=1, name="planted", volume_type="fast", metadata=metadata)
        volumes.wait(made.id)
    real.service.glance.images.create(disk_format="raw", container_format="bare", name="stuck")
    return (
        *("audit", "--repair", "--yes", "--include-likely", "--only-glance", "--stuck-after", "0", "-f", "json"),
        *("--trusted-project", real.cloud.project_ids["service"]),
        *("--config-file", real.cloud.directory / "etc/glance/glance-api.conf"),
    )


def _repair_going_on(arguments: Arguments) -> Arguments:
    at = arguments.index("--repair-journal")
    kept = [each for each in arguments[:at] if each not in ("--repair", "--include-likely")]
    return (*kept, "--resume-repair", arguments[at + 1])


COMMANDS: Mapping[str, Command] = {
    "put --register": Command(prepare=_put()),
    "put --journal": Command(prepare=_put(), journal="--journal"),
    "get": Command(prepare=_get(), files=("got",)),
    "get --resume": Command(prepare=_get("--resume"), files=("got",)),
    "get --through-glance": Command(prepare=_get("--through-glance"), files=("got",)),
    "cp --move": Command(prepare=_moved, journal="--journal", resume=_going_on),
    "locations apply": Command(prepare=_relocated, journal="--journal"),
    "templates warm": Command(prepare=_warmed),
    "audit --repair": Command(prepare=_faulty, journal="--repair-journal", resume=_repair_going_on),
}


def try_command(
    name: str, real: RealCloud, point: Point | None, trace: Path | None = None, *, learns: bool = False
) -> Tried:
    """Disturb a command once, run it again, repair, and look; the cloud is as before at the end."""
    began = time.monotonic()
    command = COMMANDS[name]
    problems: list[str] = []
    arguments = command.prepare(real)
    if command.journal:
        arguments = (*arguments, command.journal, "journal")
    real.before = real.clean
    got = real.work / "got"
    first = real.run(*arguments, point=point, trace=trace, learns=learns)
    problems += [f"after the fault: {each}" for each in real.lies()]
    if got.exists() and got.read_bytes() != DATA:
        problems.append("after the fault: the file is not the image")
    if not first.killed and first.status != 0 and ("Traceback" in first.err or first.status not in (1, 3)):
        problems.append(f"it ends with {first.status} and says {first.err.strip()[-900:]}")
    whole = first.status in (0, 3) or got.exists()
    outcome = "whole" if whole else "absent" if first.killed else "error"
    if not got.exists() or (real.work / "got.imagevol-journal").exists():
        again = arguments
        if command.journal and (real.work / "journal").exists():
            again = command.resume(arguments)
        second = real.run(*again)
        if second.status != 0:
            problems.append(f"run again, it ends with {second.status}: {second.err.strip()[-600:]}")
        elif command.files and got.read_bytes() != DATA:
            problems.append("run again: the file is not the image")
    problems += _repaired(real)
    stay = [f"file {real.work / each}" for each in (*command.files, "journal")]
    made = [f"volume {each.id}" for each in templates(real.cloud)] if name == "templates warm" else []
    problems += [f"left: {each}" for each in real.left(*stay, *made)]
    for pid in first.left:
        problems.append(f"{pid} goes on")
    real.forget()
    return Tried(
        point=point,
        outcome=outcome,
        killed=first.killed,
        problems=tuple(dict.fromkeys(problems)),
        seconds=time.monotonic() - began,
    )


def _repaired(real: RealCloud) -> list[str]:
    problems = [f"after the second run: {each}" for each in real.lies()]
    for _ in range(REPAIRS):
        repaired = real.repair()
        if repaired.out.strip() in ("", "[]"):
            break
    if repaired.status != 0:
        problems.append(f"the repair ends with {repaired.status}: {said(repaired)}")
    return problems + [f"after the repair: {each}" for each in real.lies()]


# The services


def _workers(cloud: Cloud, service: str) -> list[int]:
    """The processes of a service that do the work: gunicorn's workers, or Cinder itself."""
    pid = Cloud.load(cloud.directory).pids[service]
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children] if service == "glance" else [pid]


def _uploaded(real: RealCloud) -> str:
    """Upload an image to our store, and give its status."""
    image_id = real.service.glance.images.create(disk_format="raw", container_format="bare", name="new")["id"]
    try:
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


def try_service(name: str, real: RealCloud, point: Point | None, trace: Path) -> Tried:
    """Disturb a service once while it works, start it again, ask again, repair, and look."""
    began = time.monotonic()
    service, ask = SERVICES[name]
    problems: list[str] = []
    if service == "cinder":
        real.image(store="local")
    real.before = real.clean
    before = _workers(real.cloud, service)
    with attached_to(before, trace, point):
        outcome = ask(real)
    killed = _restarted(real, service, before)
    problems += [f"after the fault: {each}" for each in real.lies()]
    second = ask(real)
    if second != "whole":
        problems.append(f"asked again, it gives {second}")
    for volume in real.service.cinder.volumes.list(search_opts={"all_tenants": 1}):
        if volume.name == "of a user":
            with suppress(Exception):
                real.service.cinder.volumes.force_delete(volume.id)
    problems += _repaired(real)
    made = [f"volume {each.id}" for each in templates(real.cloud) if each.status == "available"]
    problems += [f"left: {each}" for each in real.left(*made)]
    real.forget()
    return Tried(
        point=point,
        outcome="error" if outcome.startswith("error") else outcome,
        killed=killed,
        problems=tuple(dict.fromkeys(problems)),
        seconds=time.monotonic() - began,
    )


def _restarted(real: RealCloud, service: str, before: Iterable[int]) -> bool:
    """Start a service again if it was killed, and tell whether it was."""
    if all(Path(f"/proc/{pid}").exists() and _is_alive(pid) for pid in before):
        return False
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


def seen(result: Any) -> str:
    """An answer as a line, for a log."""
    return json.dumps(attrs.asdict(result), default=str)
