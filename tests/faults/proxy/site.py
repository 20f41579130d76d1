"""The cloud that is tried: what is in it beforehand, what a procedure leaves, and taking that away again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
from cinderclient import exceptions as cinder_errors
from cinderclient.client import Client as CinderClient
from glanceclient import exc as glance_errors
from glanceclient.v2.client import Client as GlanceClient
from keystoneauth1.session import Session

from imagevol_adapters.cinder.volumes import CinderVolumes
from imagevol_adapters.glance.images import GlanceImages
from imagevol_adapters.repeating import repeating
from tests.cloud.database import run_sql
from tests.cloud.ports import PATIENCE_SECONDS, sign_in
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.settings import REGION
from tests.cloud.teardown import loop_devices
from tests.cloud.test_command_line import passwords
from tests.cloud.test_credentials import TOKEN
from tests.faults.proxy.passing import Proxies

__all__ = ["DATA", "Site"]

DATA = os.urandom(3 << 20) + bytes(1 << 20) + b"end"
_SETTLING_SECONDS = 20.0


@attrs.define(slots=False)
class Site:
    """A cloud with proxies before its services.

    Attributes:
        cloud: which.
        proxies: before its services, for the commands.
        within: before its services, for what Glance and Cinder ask of each other.
        directory: for the files of the commands.
        kept: the images that no procedure changes, by store.
    """

    cloud: Cloud
    proxies: Proxies
    within: Proxies
    directory: Path
    kept: dict[str, str] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        """Write the disk, and credentials that lead through the proxies."""
        self.disk.write_bytes(DATA)
        self.temporary.mkdir()
        clouds = json.loads(self.cloud.clouds_yaml.read_text())
        for each in clouds["clouds"].values():
            each["auth"]["auth_url"] = self.proxies.urls["keystone"]
        self.clouds_yaml.touch(mode=0o600)
        self.clouds_yaml.write_text(json.dumps(clouds))

    @property
    def disk(self) -> Path:
        """A raw disk."""
        return self.directory / "disk.raw"

    @property
    def clouds_yaml(self) -> Path:
        """Credentials that lead through the proxies."""
        return self.directory / "clouds.yaml"

    @property
    def temporary(self) -> Path:
        """Where the commands have their files, and must leave none."""
        return self.directory / "tmp"

    @property
    def environment(self) -> Mapping[str, str]:
        """Of a command."""
        return {"OS_CLIENT_CONFIG_FILE": str(self.clouds_yaml), "OS_CLOUD": "service", "TMPDIR": str(self.temporary)}

    @cached_property
    def glance_conf(self) -> Path:
        """The configuration of Glance, whose stores are asked through the proxies of the commands."""
        return self._led_through("etc/glance/glance-api.conf")

    @cached_property
    def cinder_conf(self) -> Path:
        """The configuration of Cinder, in the same way."""
        return self._led_through("etc/cinder/cinder.conf")

    def _led_through(self, name: str) -> Path:
        text = (self.cloud.directory / name).read_text()
        for url in (self.cloud.auth_url, self.within.urls["keystone"]):
            text = text.replace(url, self.proxies.urls["keystone"])
        copy = self.directory / Path(name).name
        copy.touch(mode=0o600)
        copy.write_text(text)
        return copy

    def _signed_in(self, name: str) -> Session:
        """A session that asks again: services close connections that were idle for long."""
        return repeating(sign_in(self.cloud, name))

    @cached_property
    def cinder(self) -> Any:
        """Cinder, past the proxies."""
        return CinderClient("3.60", session=self._signed_in("admin"), region_name=REGION)

    @cached_property
    def cinder_of_service(self) -> Any:
        """The same, as the stores' user."""
        return CinderClient("3.60", session=self._signed_in("service"), region_name=REGION)

    @cached_property
    def glance(self) -> Any:
        """Glance, past the proxies."""
        return GlanceClient(session=self._signed_in("admin"), region_name=REGION)

    @cached_property
    def volumes(self) -> CinderVolumes:
        """Cinder, as the stores ask it."""
        session = sign_in(self.cloud, "service")
        return CinderVolumes(session=session, region_name=REGION, wait_seconds=PATIENCE_SECONDS)

    @cached_property
    def images(self) -> GlanceImages:
        """Glance, as the stores' user asks it."""
        session = sign_in(self.cloud, "service")
        return GlanceImages(session=session, region_name=REGION, wait_seconds=PATIENCE_SECONDS)

    def sql(self, database: str, statement: str, values: tuple[Any, ...]) -> None:
        """Change a row of a service's database."""
        run_sql(self.cloud, database, statement, values)

    def image(self, store: str = "fast", data: bytes = DATA, name: str = "an image") -> str:
        """An image in a store."""
        image = self.images.create(name=name, disk_format="raw")
        self.images.upload(image.id, [data], size_bytes=len(data), store=store)
        return image.id

    def volume_of(self, image_id: str) -> str:
        """The volume that an image is in."""
        return self.images.get(image_id).locations[0].url[-36:]

    def inventory(self) -> dict[str, str]:
        """All that a procedure could leave, with the state that it is in."""
        everybodys = {"all_tenants": 1}
        volumes = self.cinder.volumes.list(search_opts=everybodys)
        attachments = self.cinder.attachments.list(search_opts=everybodys)
        # The rig's driver counts exports: of an attachment that was exported twice, the device stays.
        attached = {each.volume_id for each in attachments}
        exported = [(_volume_behind(each), each) for each in loop_devices(self.cloud.directory)]
        # A file of the directory stays if it is a part that the user wants to go on with.
        files = [*self.temporary.rglob("*")]
        return {
            **{f"volume {each.id}": f"{each.status} {sorted(each.metadata)}" for each in volumes},
            **{f"attachment {each.id}": f"{each.status} of {each.volume_id}" for each in attachments},
            **{f"image {each['id']}": each["status"] for each in self.glance.images.list()},
            **{f"device {volume}": device for volume, device in exported if volume in attached},
            **{f"file {each}": "" for each in files if "/.privsep" not in str(each)},
        }

    def left(self, before: Mapping[str, str]) -> dict[str, str]:
        """What is there that was not, or is gone, once the services have settled.

        A volume that an image has its data in, as when Glance goes on with a copy, is the image's.
        """
        for _ in ticks(_SETTLING_SECONDS, interval=0.2):
            held = [location["url"] for image in self.glance.images.list() for location in image.get("locations") or ()]
            differs = {
                thing: state
                for thing, state in _differing(before, self.inventory()).items()
                if not any(url.endswith(thing.split()[1]) for url in held)
            }
            if not differs:
                break
        return differs

    def secrets_in(self, texts: Mapping[str, str]) -> list[str]:
        """Where a password or a token of these credentials is seen, and in which journal."""
        known = passwords(self.cloud)
        files = {str(path): path.read_text(errors="replace") for path in self.directory.glob("*journal*")}
        return [
            where
            for where, text in {**texts, **files}.items()
            if TOKEN.search(text) or any(each in text for each in known)
        ]

    def forget(self, things: Mapping[str, str]) -> None:
        """Take away what was left."""
        for thing in things:
            kind, _, name = thing.partition(" ")
            with suppress(cinder_errors.ClientException, glance_errors.HTTPException, OSError):
                if kind == "attachment":
                    self.cinder.attachments.delete(name)
                elif kind == "image":
                    self.glance.images.update(name, protected=False)
                    self.glance.images.delete(name)
                elif kind == "file":
                    Path(name).unlink()
        for thing in things:
            kind, _, name = thing.partition(" ")
            if kind == "volume":
                with suppress(cinder_errors.ClientException):
                    self.cinder.volumes.reset_state(name, "available", "detached")
                    self.cinder.volumes.force_delete(name)
        gone = {thing for thing in things if thing.startswith("volume ")}
        for _ in ticks(_SETTLING_SECONDS, interval=0.2):
            if not gone & self.inventory().keys():
                break


def _volume_behind(loop_device: str) -> str:
    """The id of the volume that Cinder has exported as a loop device."""
    with suppress(OSError):  # it is detached in this moment
        return Path(f"/sys/block/{Path(loop_device).name}/loop/backing_file").read_text().strip()[-36:]
    return loop_device


def _differing(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    new = {thing: state for thing, state in after.items() if before.get(thing) != state}
    # A template is its driver's to keep, and to delete.
    gone = {thing: "gone" for thing, state in before.items() if thing not in after and "imagevol_template" not in state}
    return new | gone
