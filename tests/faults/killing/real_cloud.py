"""Real Keystone, Cinder and Glance, and what is wrong in them after something was killed."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
from keystoneauth1.session import Session

from imagevol_adapters.attaching_records import LOCK_PATH
from imagevol_adapters.processes import running as running_process
from imagevol_core import ProcessRecord
from tests.cloud.bringup import running
from tests.cloud.ports import inventory, sign_in
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.settings import with_mixin
from tests.cloud.teardown import mount_points
from tests.cloud.users import User
from tests.faults.killing.commands import REPAIRS, said
from tests.faults.killing.tracing import Forks, Ran

__all__ = ["DATA", "PATIENCE_SECONDS", "SIZE", "RealCloud", "real_cloud", "repaired"]

SIZE = 3 * (1 << 20) + 77
DATA = random.Random(18).randbytes(SIZE)
PATIENCE_SECONDS = 60.0
REQUEST_SECONDS = 90.0  # a service may hang, of which a request takes a few seconds


@attrs.define(kw_only=True)
class RealCloud:
    """A running cloud, and what is in it beside what a command makes."""

    cloud: Cloud
    service: User
    admin: Session
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

    def inventory(self) -> set[str]:
        return inventory(self.cloud, self.admin)

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
        found = self.inventory()
        for image_id, image in self.images().items():
            if image["status"] != "active":
                found.add(f"image {image_id} is {image['status']}")
        for name in ("work", "tmp"):
            found |= {f"file {path}" for path in (self.directory / name).rglob("*")}
        for name in ("cinder/conversion", "glance/staging", "glance/mnt"):
            found |= {f"file {path}" for path in (self.cloud.directory / name).rglob("*")}
        noted = [*LOCK_PATH.glob("imagevol-attaching-*"), *LOCK_PATH.glob("imagevol-reserving-*")]
        found |= {f"file {path}" for path in noted if _is_of_a_dead_process(path)}
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
            extra = self.inventory() - self.clean
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
        raise AssertionError(f"the cloud cannot be brought back: {self.inventory() - self.clean}")

    clean: set[str] = attrs.field(factory=set)


def _is_of_a_dead_process(path: Path) -> bool:
    """Whether no program of this host, of this cloud or another, is about to delete it."""
    with suppress(FileNotFoundError):
        record = ProcessRecord.from_text(path.read_text())
        return record is None or not running_process(record.pid).exists
    return False


@contextmanager
def real_cloud(directory: Path, forks: Forks) -> Iterator[RealCloud]:
    """Start a cloud with our store and our mixin, and the settings that the how-to recommends."""
    for name in ("work", "tmp"):
        (directory / name).mkdir()
    settings = with_mixin({"image_template_enabled": "true"})
    with running(directory / "cloud", settings, keep_logs=True) as cloud, ExitStack() as undo:
        real = RealCloud(
            cloud=cloud,
            service=User(cloud, "service", undo),
            admin=sign_in(cloud, "admin"),
            forks=forks,
            directory=directory,
        )
        real.clean = real.things()
        for session in (real.service.session, real.admin):
            session.timeout = REQUEST_SECONDS
        yield real


def repaired(real: RealCloud) -> list[str]:
    """Repair until nothing is found, and give what is wrong."""
    problems = [f"after the second run: {each}" for each in real.lies()]
    for _ in range(REPAIRS):
        repaired = real.repair()
        if repaired.out.strip() in ("", "[]"):
            break
    if repaired.status != 0:
        problems.append(f"the repair ends with {repaired.status}: {said(repaired)}")
    return problems + [f"after the repair: {each}" for each in real.lies()]
