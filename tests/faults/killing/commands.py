"""Each command that is killed: what there is before it, how it is run, run again, and what must hold afterwards."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import attrs

from imagevol_core import ImageLocation
from tests.faults.killing.cloud import MemoryCloud
from tests.faults.killing.memory import INTERNAL, PROJECT
from tests.faults.killing.points import Point
from tests.faults.killing.tracing import Forks, Ran

__all__ = ["COMMANDS", "Command", "Tried", "try_command"]

SIZE = 300_000
DATA = random.Random(18).randbytes(SIZE)

REPAIRS = 3  # audits that repair: what a deletion uncovers, such as the volume of an image, is found by the next

Arguments = tuple[object, ...]


@attrs.frozen(kw_only=True)
class Command:
    """A command that is killed.

    Attributes:
        prepare: lets there be what it needs in a cloud, and gives its arguments.
        journal: the option of its journal, a file in the working directory that stays.
        resume: what is added to go on with the journal.
        result: looks at what a run that succeeded says that it did, and gives what is wrong.
        files: the names of files that stay in the working directory.
    """

    prepare: Callable[[MemoryCloud], Arguments]
    journal: str | None = None
    resume: Callable[[Arguments], Arguments] = lambda arguments: (*arguments, "--resume")
    result: Callable[[MemoryCloud, Ran], list[str]] = lambda _cloud, _ran: []
    files: tuple[str, ...] = ()


def _source(cloud: MemoryCloud) -> Path:
    path = cloud.directory / "disk.raw"
    path.write_bytes(DATA)
    return path


def _put(*more: object) -> Callable[[MemoryCloud], Arguments]:
    def prepare(cloud: MemoryCloud) -> Arguments:
        cloud.image()
        return ("put", _source(cloud), "--volume-type", "ssd", *more, "-f", "json")

    return prepare


def _is_stored(cloud: MemoryCloud, ran: Ran) -> list[str]:
    volume_id = json.loads(ran.out)["volume_id"]
    held = cloud.volumes.contents.get(volume_id)
    if held is None:
        return [f"volume {volume_id}, which the command names, is not there"]
    wrong = [] if held.read(0, SIZE) == DATA else [f"volume {volume_id} has other data"]
    return wrong + ([] if cloud.volumes.volumes[volume_id].readonly else [f"volume {volume_id} can be written"])


def _is_registered(cloud: MemoryCloud, ran: Ran) -> list[str]:
    image = cloud.images.images.get(json.loads(ran.out)["image_id"])
    if image is None or image.status != "active":
        return ["the image, which the command names, is not active"]
    return _is_stored(cloud, ran) + ([] if image.size_bytes == SIZE else ["the image has another size"])


def _get(*more: object) -> Callable[[MemoryCloud], Arguments]:
    def prepare(cloud: MemoryCloud) -> Arguments:
        return ("get", cloud.image().id, "got", *more)

    return prepare


def _is_got(cloud: MemoryCloud, _ran: Ran) -> list[str]:
    got = cloud.directory / "work/got"
    (whole,) = cloud.data.values()
    return [] if got.exists() and got.read_bytes() == whole else ["the file is not the image"]


def _copied(cloud: MemoryCloud) -> Arguments:
    image = cloud.image()
    return ("cp", image.id, "--to-store", "quick", "--yes", "-f", "json")


def _moved(cloud: MemoryCloud) -> Arguments:
    for seed in range(2):
        cloud.image(seed=seed)
    return ("cp", "--from-store", "fast", "--to-store", "quick", "--move", "--yes", "-f", "json")


def _going_on(arguments: Arguments) -> Arguments:
    at = arguments.index("--journal")
    return ("cp", "--resume", *arguments[at : at + 2], "--yes", "-f", "json")


def _is_in(*stores: str) -> Callable[[MemoryCloud, Ran], list[str]]:
    def result(cloud: MemoryCloud, _ran: Ran) -> list[str]:
        found = {image.id: cloud.images.stores_of(image.id) for image in cloud.images.images.values()}
        return [f"image {each} is in {where}" for each, where in found.items() if sorted(where) != sorted(stores)]

    return result


def _relocated(cloud: MemoryCloud) -> Arguments:
    for seed in range(3):
        image = cloud.image(seed=seed)
        volume_id = image.locations[0].url[-36:]
        cloud.relocate(image, *(ImageLocation(f"cinder://{name}{volume_id}", at) for name, at in (_HISTORY[seed],)))
    return ("locations", "apply", "--config-file", cloud.directory / "glance-api.conf", "--yes", "-f", "json")


_HISTORY: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("", {}),
    ("slow/", {"store": "fast"}),
    ("old/", {"store": "old"}),
)


def _warmed(cloud: MemoryCloud) -> Arguments:
    cloud.volumes.makes = True
    images = [cloud.image(seed=seed, size_bytes=5000).id for seed in range(2)]
    return (
        *("templates", "warm", "--internal-tenant", INTERNAL, *images),
        *("--volume-type", "ssd", "--yes", "-f", "json"),
    )


def _are_warm(cloud: MemoryCloud, _ran: Ran) -> list[str]:
    made = [volume.id for volume in cloud.volumes.volumes.values() if volume.project_id == INTERNAL]
    return [] if len(made) == 2 else [f"there are templates {made}"]


def _faulty(cloud: MemoryCloud) -> Arguments:
    for seed in range(2):
        cloud.image(seed=seed)
    image = cloud.image(seed=7)
    volume_id = image.locations[0].url[-36:]
    cloud.volumes.volumes[volume_id] = replace(cloud.volumes.volumes[volume_id], readonly=False)
    cloud.relocate(cloud.image(seed=8), ImageLocation(f"cinder://slow/{cloud_volume(cloud, 8)}", {"store": "fast"}))
    orphan = cloud.image(seed=9)
    del cloud.images.images[orphan.id], cloud.data[orphan.id]
    (cloud.directory / "tmp/imagevol-abcd1234.qcow2").write_bytes(b"a part of an image")
    return repair(cloud)


def cloud_volume(cloud: MemoryCloud, seed: int) -> str:
    (found,) = (
        image.locations[0].url[-36:]
        for image in cloud.images.images.values()
        if cloud.data.get(image.id) == random.Random(seed).randbytes(SIZE)
    )
    return found


def repair(cloud: MemoryCloud) -> Arguments:
    """The audit that repairs all that it finds."""
    return (
        *("audit", "--repair", "--yes", "--include-likely", "--only-glance", "--stuck-after", "0", "-f", "json"),
        *("--trusted-project", PROJECT, "--trusted-project", INTERNAL),
        *("--config-file", cloud.directory / "glance-api.conf"),
        *("--temporary-directory", cloud.directory / "tmp", "--temporary-directory", cloud.directory / "work"),
    )


def _repair_going_on(arguments: Arguments) -> Arguments:
    at = arguments.index("--repair-journal")
    kept = [each for each in arguments[:at] if each not in ("--repair", "--include-likely")]
    return (*kept, "--resume-repair", arguments[at + 1])


COMMANDS: Mapping[str, Command] = {
    "put": Command(prepare=_put(), result=_is_stored),
    "put --register": Command(prepare=_put("--register", "new", "--store", "fast", "--thin"), result=_is_registered),
    "put --journal": Command(
        prepare=_put("--register", "new", "--store", "fast", "--thin"), journal="--journal", result=_is_registered
    ),
    "get": Command(prepare=_get(), result=_is_got, files=("got",)),
    "get --resume": Command(prepare=_get("--resume"), result=_is_got, files=("got",)),
    "get --through-glance": Command(prepare=_get("--through-glance"), result=_is_got, files=("got",)),
    "cp": Command(prepare=_copied, result=_is_in("fast", "quick")),
    "cp --move": Command(prepare=_moved, journal="--journal", resume=_going_on, result=_is_in("quick")),
    "locations apply": Command(prepare=_relocated, journal="--journal", result=_is_in("fast")),
    "templates warm": Command(prepare=_warmed, result=_are_warm),
    "audit --repair": Command(prepare=_faulty, journal="--repair-journal", resume=_repair_going_on),
}


@attrs.frozen(kw_only=True)
class Tried:
    """What came of one point, or of several one after the other.

    Attributes:
        outcomes: of each point, right after it: `whole`, `absent` or `error`.
        killed: how often a process was killed.
        by_hand: how many things the next run could not clean up, and named with the command that does.
        problems: what does not hold, in sentences.
        seconds: how long all of it took.
    """

    outcomes: tuple[str, ...]
    killed: int
    by_hand: int
    problems: tuple[str, ...]
    seconds: float


@attrs.define(kw_only=True)
class _Trial:
    """A command on a cloud of its own."""

    command: Command
    cloud: MemoryCloud
    forks: Forks
    arguments: Arguments
    learns: bool = False
    problems: list[str] = attrs.field(factory=list)
    by_hand: int = 0
    seconds: float = 0

    @property
    def work(self) -> Path:
        return self.cloud.directory / "work"

    def run(self, *arguments: object, **options: Any) -> Ran:
        set_up, variables = "tests.faults.killing.forked:set_up", self.cloud.variables
        ran = self.forks.run(*arguments, set_up=set_up, variables=variables, learns=self.learns, **options)
        self.seconds += ran.seconds
        self.problems += [f"{each} goes on" for each in ran.left]
        return ran

    @property
    def is_done(self) -> bool:
        """Whether it cannot run again, because its file is there; what can be resumed can, until it succeeds."""
        there = any((self.work / each).exists() for each in self.command.files)
        kept = any((self.work / f"{each}.imagevol-journal").exists() for each in self.command.files)
        return there and not kept

    def next(self) -> Arguments:
        """The arguments of the next run."""
        begun = self.command.journal is not None and (self.work / "journal").exists()
        return self.command.resume(self.arguments) if begun else self.arguments

    def disturbed(self, **options: Any) -> tuple[Ran, str]:
        """Run it once; give what became of the image right after that."""
        before = set(self.cloud.left())
        ran = self.run(*self.next(), **options)
        self.cloud.go_on()
        self.look("after the fault")
        if (self.work / "got").exists():
            self.problems += [f"after the fault: {each}" for each in _is_got(self.cloud, ran)]
        if not ran.killed:
            journalled = self.command.journal is not None and (self.work / "journal").exists()  # which names it
            left = set() if journalled else set(self.cloud.left()) - before - self.stays()
            self.problems += _told(ran, left)
        done = ran.status in (0, 3) or self.is_done
        return ran, "whole" if done else "absent" if ran.killed else "error"

    def look(self, when: str) -> None:
        self.problems += [f"{when}: {each}" for each in self.cloud.lies()]

    def stays(self) -> set[str]:
        """What may be there at the end."""
        files = [*self.command.files, *(["journal"] if self.command.journal else [])]
        volumes = self.cloud.volumes.volumes.values()
        templates = {f"volume {each.id}" for each in volumes if each.project_id == INTERNAL}
        return {*(f"file {each}" for each in files), *templates}

    def end(self) -> None:
        """Run it to its end, repair, and look at what is left."""
        if not self.is_done:
            ran = self.run(*self.next())
            if by_hand := re.search(r"volume attachment delete ([0-9a-f-]{36})`", ran.err):
                self.by_hand += 1  # Cinder does not tell whose it is: a person does what the error says
                self.cloud.volumes.let_go(by_hand[1])
                ran = self.run(*self.next())
            if ran.status != 0:
                self.problems.append(f"run again, it ends with {ran.status}: {said(ran)[-900:]}")
            elif ran.out.strip() not in ("", "[]") or not self.command.journal:
                self.problems += [f"run again: {each}" for each in self.command.result(self.cloud, ran)]
        self.look("after the second run")
        for number in range(REPAIRS):
            repaired = self.run(*repair(self.cloud), "--repair-journal", self.cloud.directory / f"repairs-{number}")
            if repaired.out.strip() in ("", "[]"):
                break
        if repaired.status != 0:
            self.problems.append(f"the repair ends with {repaired.status}: {said(repaired)}")
        self.look("after the repair")
        self.problems += [f"left: {each}" for each in self.cloud.left(expected=self.stays())]


def try_command(
    name: str,
    forks: Forks,
    directory: Path,
    points: Sequence[Point],
    *,
    trace: Path | None = None,
    learns: bool = False,
) -> Tried:
    """Run a command on a cloud of its own in memory, disturbed at a point each time; then run it, repair, and look.

    Args:
        name: of the command.
        forks: starts it.
        directory: an empty one.
        points: where each run is disturbed; without any, one run is not.
        trace: keeps the trace of that run.
        learns: whether later commands find imported what it imports.
    """
    cloud, outcomes, killed = MemoryCloud(directory), list[str](), 0
    with cloud.running():
        command = COMMANDS[name]
        arguments = command.prepare(cloud)
        if command.journal:
            arguments = (*arguments, command.journal, "journal")
        trial = _Trial(command=command, cloud=cloud, forks=forks, arguments=arguments, learns=learns)
        cloud.remember()
        undisturbed: list[Point | None] = [None]
        for point in points or undisturbed:
            if trial.is_done:
                break
            ran, outcome = trial.disturbed(point=point, trace=trace)
            outcomes.append(outcome)
            killed += ran.killed
        trial.end()
    problems = tuple(dict.fromkeys(trial.problems))
    return Tried(
        outcomes=tuple(outcomes), killed=killed, by_hand=trial.by_hand, problems=problems, seconds=trial.seconds
    )


def said(ran: Ran) -> str:
    """What a repair says of what it leaves."""
    try:
        rows = json.loads(ran.out)
    except ValueError:
        rows = []
    reasons = [f"{row['rule']} {row['outcome']}: {row['reason']} ({row['text']})" for row in rows]
    return "; ".join([*reasons, *ran.err.strip().splitlines()[-1:]])


def _told(ran: Ran, left: Iterable[str]) -> list[str]:
    """What is wrong with the end of a command that was not killed: an error must be one, and name what it left."""
    if ran.status == 0:
        return []
    wrong = []
    if "Traceback" in ran.err or ran.status not in (1, 3):
        wrong = [f"it ends with {ran.status} and says {ran.err.strip()[-6000:]}"]
    for thing in left:
        kept = thing.endswith((".imagevol-part", ".imagevol-journal"))
        if not kept and not any(word in ran.err + ran.out for word in thing.split() if len(word) > 20):
            wrong.append(f"left after an error, and not named: {thing} ({ran.err.strip()[-500:]})")
    return wrong
