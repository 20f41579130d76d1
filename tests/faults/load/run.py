"""One run: warm up, bring the load about, and look at what must hold."""

from __future__ import annotations

import gc
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import attrs

from imagevol_adapters.engine import read_device
from imagevol_adapters.ports import AccessMode
from imagevol_adapters.transfers import attached
from imagevol_adapters.transfers.attaching import delete_volume
from imagevol_core import ImagevolError, ResourceNotFound, VolumeOrigin, parse_location
from tests.faults.load import plan
from tests.faults.load.gauges import Gauge, gauge, locks_held
from tests.faults.load.plan import Data, Job, Source
from tests.faults.load.site import Site
from tests.faults.load.storm import Storm
from tests.faults.load.transfers import Made, source_of
from tests.faults.load.worker import Check, Transfer
from tests.faults.load.workers import KILLED, Task, Workers, workers

__all__ = ["Load", "Result", "Size"]

_MOST_TRIES = 12
_TRIES_WITHOUT_FAULTS = 4
_REPAIRS = 3
_SAMPLE = 10  # volumes of the storm that are read
_SETTLING_SECONDS = 60.0
_LOOKS = 3  # that see the same, so that something is settled
T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Size:
    """How much is done.

    Attributes:
        transfers: how many, of all kinds.
        workers: how many are carried out at once.
        processes: over how many processes the workers are spread.
        volumes: of the boot storm.
        sources: how many images are there to be read.
        least: bytes of the smallest image.
        most: bytes of the largest.
        killed_within_seconds: how long a transfer that is chosen for that can go on before its worker is killed.
    """

    transfers: int
    workers: int
    processes: int
    volumes: int
    sources: int
    least: int
    most: int
    killed_within_seconds: float


@attrs.define
class Result:
    """What came of a run.

    Attributes:
        outcomes: what came of each try, by the kind of the transfer.
        problems: what does not hold; nothing if all is well.
        left: what was there in the end that was not there at the beginning.
        gauges: what each process held before the load and after it, by what the page calls it.
        storm: how many volumes came to rest in which status.
        figures: what else was counted.
    """

    outcomes: dict[str, Counter[str]] = attrs.field(factory=dict)
    problems: list[str] = attrs.field(factory=list)
    left: list[str] = attrs.field(factory=list)
    gauges: dict[str, tuple[Gauge, Gauge]] = attrs.field(factory=dict)
    storm: Counter[str] = attrs.field(factory=Counter)
    figures: dict[str, float] = attrs.field(factory=dict)


@attrs.define
class Load:
    """A run on a site."""

    site: Site
    seed: int
    size: Size
    directory: Path
    tell: Callable[[str], object] = print
    result: Result = attrs.field(factory=Result)
    sources: list[Source] = attrs.field(factory=list)
    images: dict[str, Data] = attrs.field(factory=dict)  # that transfers have made
    volumes: set[str] = attrs.field(factory=set)
    said: list[str] = attrs.field(factory=list)  # by errors, which name what they left
    lost: dict[str, Data] = attrs.field(factory=dict)  # of killed workers' tries, by the names that these gave

    def run(self) -> Result:
        """Do it all."""
        before = self.site.inventory()
        self.site.services()  # which collect their garbage from now on
        size = self.size
        with workers(
            self.site.where,
            self.site.preloaded,
            self.site.variables,
            self.directory,
            processes=size.processes,
            threads=size.workers // size.processes,
        ) as pool:
            self._warm_up(pool)
            gauges = self._gauges(pool)
            began = time.monotonic()
            storm = self._storm(size.volumes)
            storm.start()
            try:
                self._transfers(pool)
            finally:
                storm.wait()
            self.result.figures["seconds"] = time.monotonic() - began
            self.result.figures["workers killed"] = len(pool.killed)
            self.tell(f"the load is over after {self.result.figures['seconds']:.0f} s")
            self._look_at_storm(storm)
            self._clean_up(before, pool)
            self._check(pool)
            self._expect_rest()
            self._delete()
            after = self._gauges(pool)
        self.result.gauges = {name: (gauges[name], held) for name, held in after.items() if name in gauges}
        self._expect_nothing(before)
        return self.result

    # Before

    def _warm_up(self, pool: Workers) -> None:
        """Store what is read later, and do a transfer of each kind, so that every pool has what it keeps."""
        held = plan.sources(self.seed, self.size.sources, least=self.size.least, most=self.size.most)
        jobs = [Job(-1 - number, "put", data) for number, data in enumerate(held)]
        found: dict[int, Source] = {}
        for job, made in self._without_faults(pool, [Task(Transfer(job, None, "", False)) for job in jobs]):
            found[job.number] = source_of(self.site.ports.images.get(made.images[0]), job.data)
        self.sources = [found[job.number] for job in jobs]
        self.images = {each.image_id: each.data for each in self.sources}
        self.tell(f"{len(jobs)} images are stored, {sum(each.size_bytes for each in held):,} bytes")
        warming = plan.drawn(-1 - self.seed, max(self.size.workers, len(plan.KINDS)), held, **self._sizes)
        for job, made in self._without_faults(pool, self._tasks(warming, faulty=False)):
            self._keep(job, made)
        storm = self._storm(min(10, self.size.volumes))
        storm.start()
        storm.wait()
        self.volumes |= set(storm.statuses)
        self.images[storm.image_id] = storm.data

    def _without_faults(self, pool: Workers, tasks: Iterable[Task]) -> Iterator[tuple[Job, Made]]:
        """What transfers make in which no call goes wrong; Glance may have an image a while longer than its reader."""
        pending = deque(tasks)
        for task, answer in pool.answers(pending):
            job = task.request.job
            if answer.error is None:
                yield job, answer.result
            elif task.tries < _TRIES_WITHOUT_FAULTS:
                self.tell(f"{job.kind}, without a fault: {answer.error}")
                self.said.append(answer.error)
                pending.append(task)
            else:
                raise AssertionError(f"without a fault, {job} fails: {answer.error}")

    @property
    def _sizes(self) -> dict[str, int]:
        return {"least": self.size.least, "most": self.size.most}

    def _tasks(self, jobs: Iterable[Job], *, faulty: bool) -> Iterator[Task]:
        for job in jobs:
            source = None if job.source is None else self.sources[job.source]
            yield Task(Transfer(job, source, "", faulty))

    def _storm(self, count: int) -> Storm:
        """A storm of an image that only a template can serve."""
        data = Data(f"{self.seed} storm {count}", self.size.least * 4 + 77)
        images = self.site.ports.images
        image = images.create(name=f"storm-{count}", disk_format="raw", visibility="public")
        images.upload(image.id, data.pieces(), size_bytes=data.size_bytes, store=self.site.storm_store)
        return Storm(self.site.demo, image.id, data, count, self.site.ports.volume_type)

    def _gauges(self, pool: Workers) -> dict[str, Gauge]:
        """What the services hold, and the most that any worker holds."""

        def look() -> dict[str, Gauge]:
            gc.collect()  # the connections of this process, of which the services hold the other end
            found = {name: gauge(pid) for name, pid in self.site.services().items()}
            workers = pool.rested()
            most = {each.name: max(getattr(held, each.name) for held in workers) for each in attrs.fields(Gauge)}
            return {**found, "a worker": Gauge(**most)}

        *_, settled = self._settling(look)  # a service closes connections a moment after their use
        return settled

    def _settling(self, look: Callable[[], T]) -> Iterator[T]:
        """Look again and again, until nothing has changed for a while."""
        end, seen = time.monotonic() + _SETTLING_SECONDS, list[T]()
        while time.monotonic() < end and (len(seen) < _LOOKS or any(each != seen[-1] for each in seen[-_LOOKS:])):
            seen.append(look())
            yield seen[-1]
            time.sleep(self.site.settling_seconds / (_LOOKS - 1))

    # The load

    def _transfers(self, pool: Workers) -> None:
        size = self.size
        held = [source.data for source in self.sources]
        jobs = plan.drawn(self.seed, size.transfers, held, **self._sizes)
        self.result.outcomes = {kind: Counter() for kind in plan.KINDS}
        pending = deque(self._tasks(jobs, faulty=True))
        whole = 0
        self.site.strike(active=True)
        for task, answer in pool.answers(
            pending, kills=plan.kills(self.seed, size.transfers, within_seconds=size.killed_within_seconds)
        ):
            job = task.request.job
            if answer.error is None:
                self.result.outcomes[job.kind]["whole"] += 1
                self._keep(job, answer.result)
                whole += 1
                if whole % 20 == 0:
                    self.tell(f"{whole} of {size.transfers} transfers")
                continue
            outcome = "killed" if answer.error == KILLED else "error"
            self.result.outcomes[job.kind][outcome] += 1
            if answer.error == KILLED:
                self.lost[f"load-{task.request.tag}"] = job.data
            self.said.append(answer.error)
            self.tell(f"transfer {job.number}, {job.kind}: {outcome}: {answer.error}")
            if answer.fault:
                self._problem(f"transfer {job.number}, {job.kind}: {answer.fault}: {answer.error}")
            if task.tries < _MOST_TRIES:
                pending.append(task)
            else:
                self._problem(f"transfer {job.number}, {job.kind}, fails {task.tries} times: {answer.error}")
        self.site.strike(active=False)
        made, struck = self.site.calls()
        self.result.figures |= {"transfers": whole, "calls": made, "calls that went wrong": struck}
        self.result.figures["bytes"] = sum(job.data.size_bytes for job in jobs)

    def _keep(self, job: Job, made: Made) -> None:
        self.images |= dict.fromkeys(made.images, job.data)
        self.volumes |= set(made.volumes)

    def _problem(self, text: str) -> None:
        self.result.problems.append(text)
        self.tell(f"WRONG: {text}")

    # After

    def _look_at_storm(self, storm: Storm) -> None:
        """Every volume is there, and a sample has the data."""
        self.result.storm = Counter(str(each) for each in storm.statuses.values())
        self.result.figures["seconds of the storm"] = storm.seconds
        if storm.errors or self.result.storm != {"available": self.size.volumes}:
            self._problem(f"the storm ended with {dict(self.result.storm)} {storm.errors}")
        for volume_id in islice(sorted(storm.statuses), _SAMPLE):
            ports = self.site.ports
            with attached(volume_id, mode=AccessMode.READ, volumes=ports.volumes, attacher=ports.attacher) as device:
                if b"".join(read_device(device, length=storm.data.size_bytes)) != b"".join(storm.data.pieces()):
                    self._problem(f"volume {volume_id} of the storm has other data")
        self.images[storm.image_id] = storm.data
        self.volumes |= set(storm.statuses)

    def _clean_up(self, before: set[str], pool: Workers) -> None:
        """What is there and no error names is a killed worker's; two repairs delete it."""
        accounted = self._accounted()
        extra: set[str] = set()
        for extra in self._settling(lambda: self.site.inventory() - before - self.site.templates() - accounted):
            if not extra:
                break
        named = " ".join(self.said)
        unnamed = {each for each in extra if each.split()[1] not in named}
        self.result.figures["named by errors"] = len(extra) - len(unnamed)
        self.result.figures["left by killed workers"] = len(unnamed)
        for each in sorted(unnamed & self._made_by({*pool.pids} - pool.killed)):
            self._problem(f"{each} is left by a worker that lives, and no error names it")
        for each in sorted(extra):
            self.tell(f"before the repair: {each}")
        for _ in range(_REPAIRS):
            repaired = self.site.audit(repair=True)
            for row in repaired:
                self.tell(f"repair: {row}")
            if not repaired:
                break
        self._take_over()
        for row in self.site.audit(repair=False):
            self._problem(f"the audit finds {row}")

    def _made_by(self, pids: set[int]) -> set[str]:
        """What these processes say that they make, and what has the name of a try that was not killed."""
        volumes, images = self.site.ports.volumes, self.site.ports.images
        said = {f"image {each.id}": (each.properties, each.name) for each in images.listed()}
        for each in self.site.inventory():
            if each.startswith("volume "):
                for volume in volumes.find([each.removeprefix("volume ")]):
                    said[each] = (volume.metadata, volume.name)
        found = set()
        for each, (marks, name) in said.items():
            origin = VolumeOrigin.from_volume(marks)
            of_try = str(name).startswith("load-") and name not in self.lost
            if of_try or (origin and origin.process and origin.process.pid in pids):
                found.add(each)
        return found

    def _accounted(self) -> set[str]:
        found = {f"image {each}" for each in self.images} | {f"volume {each}" for each in self.volumes}
        for image_id in self.images:
            for location in self.site.ports.images.get(image_id).locations:
                if location.url.startswith("cinder://"):
                    found.add(f"volume {parse_location(location.url).volume_id}")
        return found

    def _take_over(self) -> None:
        """What a killed worker had asked for and got is its user's, who knows the names: an image must be whole."""
        images = [each for each in self.site.ports.images.listed() if each.name in self.lost]
        for image in images:
            if image.status == "active":
                self.images[image.id] = self.lost[image.name or ""]
        self.result.figures["whole images of killed workers"] = len(images)
        for name in self.lost:
            self.volumes |= {volume.id for volume in self.site.ports.volumes.named(name)}

    def _check(self, pool: Workers) -> None:
        """Every image has the data that was put in, in each of its volumes."""
        images = self.images
        wanted = {each: data.sha512() for each, data in images.items()}
        checked = 0
        for task, answer in pool.answers(deque(Task(Check(each, images[each].size_bytes)) for each in wanted)):
            image_id = task.request.image_id
            if answer.error:
                self._problem(f"image {image_id} cannot be read: {answer.error}")
            elif answer.result and answer.result != wanted[image_id]:
                self._problem(f"image {image_id} has other data")
            checked += bool(answer.result)
        self.result.figures["images read again"] = checked

    def _expect_rest(self) -> None:
        held: list[str] = []
        for held in self._settling(lambda: locks_held(self.site.lock_directories())):
            if not held:
                break
        for each in held:
            self._problem(f"lock {each} is held")
        self.result.figures["locks held"] = len(held)

    def _delete(self) -> None:
        ports = self.site.ports
        with ThreadPoolExecutor(4) as pool:
            for deletes, ids in (
                (ports.images.delete, self.images),
                (partial(delete_volume, ports.volumes), self.volumes),
            ):
                for done in [pool.submit(deletes, each) for each in ids]:
                    try:
                        done.result()
                    except ResourceNotFound:
                        continue
                    except ImagevolError as error:
                        self._problem(f"it cannot be deleted: {error}")
        self.site.remove_templates()

    def _expect_nothing(self, before: set[str]) -> None:
        left: set[str] = set()
        for left in self._settling(lambda: self.site.inventory() ^ before):
            if not left:
                break
        self.result.left = sorted(left)
        for each in self.result.left:
            self._problem(f"left behind: {each}")
