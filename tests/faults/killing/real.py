"""The same commands on real Keystone, Cinder and Glance."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from tests.cloud.database import run_sql
from tests.cloud.templating import templates
from tests.faults.killing.points import Point
from tests.faults.killing.real_cloud import DATA, RealCloud, repaired
from tests.faults.killing.running import Result

__all__ = ["COMMANDS", "set_up", "try_command"]

Arguments = tuple[object, ...]


def set_up(variables: Mapping[str, str]) -> Callable[[], int]:
    """Give the command line, in a directory of its own."""
    import tempfile  # noqa: PLC0415 - in the fork

    from imagevol_adapters.cli import main  # noqa: PLC0415 - in the fork

    os.chdir(variables["IMAGEVOL_WORK"])
    tempfile.tempdir = None
    return main


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
) -> Result:
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
    problems += repaired(real)
    stay = [f"file {real.work / each}" for each in (*command.files, "journal")]
    made = [f"volume {each.id}" for each in templates(real.cloud)] if name == "templates warm" else []
    problems += [f"left: {each}" for each in real.left(*stay, *made)]
    for pid in first.left:
        problems.append(f"{pid} goes on")
    real.forget()
    return Result(
        outcome=outcome,
        killed=first.killed,
        problems=tuple(dict.fromkeys(problems)),
        seconds=time.monotonic() - began,
    )
