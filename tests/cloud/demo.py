"""The main job, on real services: what `make demo` runs and the tutorial tells.

A disk image goes into a Cinder volume and comes back, becomes an image of Glance, and a volume made from that image is
a clone. Every step says what it does and how long it took; nothing is left running.
"""

import filecmp
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from keystoneauth1.session import Session
from openstack.config import OpenStackConfig

from imagevol_adapters.brick import BrickAttacher, become_privileged
from imagevol_adapters.cinder.volumes import CinderVolumes
from imagevol_adapters.engine import PART_BYTES, read_device
from imagevol_adapters.glance.images import GlanceImages
from imagevol_adapters.ports import AccessMode
from imagevol_adapters.transfers import attached
from imagevol_adapters.waiting import wait_until
from imagevol_core import ImagevolError, parse_location
from tests.cloud.bringup import running
from tests.cloud.disk_image import DiskImage, make_disk_image
from tests.cloud.processes import CHECKOUT, CloudError
from tests.cloud.record import Cloud
from tests.cloud.teardown import loop_devices

IMAGEVOL = Path(sys.executable).with_name("imagevol")


def main() -> int:
    started = time.monotonic()
    try:
        with ExitStack() as stack:
            with step("Start Keystone, Cinder (backends fast and slow) and Glance"):
                cloud = stack.enter_context(running(CHECKOUT / ".cloud", report=say_substep))
            Demo(cloud).run()
    except (CloudError, ImagevolError, subprocess.CalledProcessError) as error:
        print(f"The demo ended early: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; nothing is left running.", file=sys.stderr)
        return 130
    print(f"\nAll of it took {time.monotonic() - started:.0f} s, and nothing is left running.")
    return 0


@dataclass(frozen=True, kw_only=True)
class Services:
    """Cinder and Glance, as one of the cloud's users."""

    volumes: CinderVolumes
    images: GlanceImages

    @classmethod
    def of(cls, cloud: Cloud, name: str) -> "Services":
        config = OpenStackConfig(config_files=[str(cloud.clouds_yaml)], load_envvars=False)
        session: Session = config.get_one(name).get_session()
        return cls(volumes=CinderVolumes(session=session), images=GlanceImages(session=session))


class Demo:
    """The steps, on a cloud that runs."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.host = cloud.backend_hosts["fast"]
        self.demo_project = cloud.project_ids["demo"]
        self.work = cloud.directory / "demo"
        self.work.mkdir()
        logging.getLogger("os_brick").setLevel(logging.CRITICAL)  # it misses the initiators of other protocols
        become_privileged(cloud.directory / "locks" / "demo")
        self.operator = Services.of(cloud, "service")
        self.user = Services.of(cloud, "demo")

    def run(self) -> None:
        with step("Make a disk: GPT, one ext4 file system with files in it"):
            disk = make_disk_image(self.work)
            print(f"  {disk.size_bytes >> 20} MiB, {disk.written_bytes >> 20} MiB of it data, the rest holes")
        self.round_trip(disk)
        image_id = self.register(disk)
        self.explain("demo-disk", self.host)
        volume_id = self.clone(image_id, disk)
        qcow2_id = self.not_eligible(disk)
        self.delete(volume_id, image_id, qcow2_id)

    def round_trip(self, disk: DiskImage) -> None:
        with step("Put it into a volume, read it back, compare"):
            volume_id = self.imagevol(
                "put", disk.raw, "--volume-type", "fast", "-f", "value", "-c", "volume_id"
            ).strip()
            back = self.work / "back.raw"
            self.imagevol("get", volume_id, back)
            same = filecmp.cmp(disk.raw, back, shallow=False)
            print(f"  {disk.raw.name} and {back.name} are {'the same, byte for byte' if same else 'DIFFERENT'}")
            back.unlink()
            self.imagevol("rm", volume_id)
        if not same:
            raise CloudError("what came back is not what went in")

    def register(self, disk: DiskImage) -> str:
        with step("Make it an image of Glance, whose data are the volume's: nothing is sent through Glance"):
            where = ("--max-width", "100", "--store", "fast", "--volume-type", "fast", "--owner", self.demo_project)
            self.imagevol("put", disk.raw, "--register", "demo-disk", *where)
            image = self.operator.images.find("demo-disk")
            print(f"  Glance says: {image.status}, {image.size_bytes} bytes, at {image.locations[0].url}")
        return image.id

    def explain(self, image: str, host: str) -> None:
        with step(f"Ask whether a volume on {host} would be cloned from {image}"):
            trusted = self.cloud.project_ids["service"]
            whose = ("--project", self.demo_project, "--trusted-project", trusted)
            self.imagevol("explain", image, "--size", "2", "--host", host, *whose)

    def clone(self, image_id: str, disk: DiskImage) -> str:
        log = self.cloud.log("cinder")
        seen = log.stat().st_size
        with step("Let Cinder make a volume of 2 GiB from the image, for the user demo"):
            volume = self.user.volumes.create(size_gib=2, name="from-image", volume_type="fast", image_id=image_id)
            volume = self.user.volumes.wait(volume.id)
        with log.open() as text:
            text.seek(seen)
            clones = re.findall(rf"reflink clone .*{volume.id}.*|Will clone a volume .*", text.read())
        for line in clones:
            print(f"  Cinder's log: {line}")
        with step("Compare the clone with the disk"):
            same = self.holds(volume.id, disk.raw)
            print(f"  the first {disk.size_bytes >> 20} MiB are {'the same' if same else 'DIFFERENT'}")
        if not clones or not same:
            raise CloudError(f"volume {volume.id} is not a clone of the image: see {log}")
        return volume.id

    def holds(self, volume_id: str, file: Path) -> bool:
        """Whether the volume begins with the file's bytes."""
        with (
            file.open("rb") as wanted,
            attached(
                volume_id, mode=AccessMode.READ, volumes=self.operator.volumes, attacher=BrickAttacher()
            ) as device,
        ):
            return all(part == wanted.read(len(part)) for part in read_device(device, length=file.stat().st_size))

    def not_eligible(self, disk: DiskImage) -> str:
        with step("Upload the same disk as qcow2 to Glance's file store: an image that cannot be cloned"):
            image = self.user.images.create(name="demo-qcow2", disk_format="qcow2")
            with disk.qcow2.open("rb") as file:
                size = disk.qcow2.stat().st_size
                self.user.images.upload(
                    image.id, iter(lambda: file.read(PART_BYTES), b""), size_bytes=size, store="local"
                )
        self.explain("demo-qcow2", self.host)
        self.explain("demo-disk", self.cloud.backend_hosts["slow"])
        return image.id

    def delete(self, volume_id: str, *image_ids: str) -> None:
        with step("Delete the volume and the images, and look for what is left"):
            self.user.volumes.delete(volume_id)
            named = [location.url for location in self.operator.images.get(image_ids[0]).locations]
            for image_id in image_ids:
                self.user.images.delete(image_id)
            volume_ids = [volume_id, *(parse_location(url).volume_id for url in named)]
            wait_until(  # Glance asks Cinder to delete the image volume, and does not wait for it
                lambda: self.operator.volumes.find(volume_ids),
                lambda volumes: not volumes,
                what=f"of volumes {', '.join(volume_ids)} some are not gone",
                seconds=60,
            )
            left = loop_devices(self.cloud.directory / "volumes")
            print("  no volume and no image is left, and no device attached")
        if left:
            raise CloudError(f"still attached: {', '.join(left)}")

    def imagevol(self, *arguments: str | Path) -> str:
        """Run the command line as the operator of the stores, and show it."""
        shown = [argument.name if isinstance(argument, Path) else argument for argument in arguments]
        print("  $ imagevol", *shown, flush=True)
        environment = {
            **os.environ,
            "OS_CLIENT_CONFIG_FILE": str(self.cloud.clouds_yaml),
            "OS_CLOUD": "service",
        }
        command = [IMAGEVOL, *arguments]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        for line in done.stdout.splitlines():
            print(f"    {line}")
        return done.stdout


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is done, and afterwards how long it took."""
    print(f"\n{what}", flush=True)
    started = time.monotonic()
    yield
    print(f"  ({time.monotonic() - started:.1f} s)", flush=True)


def say_substep(what: str, seconds: float) -> None:
    print(f"  {what}: {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    # So that a terminated demo, too, takes down what it has started.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sys.exit(main())
