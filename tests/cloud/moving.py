"""What the tests of migration make: stores as an operator has them, and images with locations as history left them.

A Glance with one store takes any `cinder://` URL with any metadata, and keeps them: there the history is made.
"""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
from cinderclient import exceptions as cinder_errors
from cinderclient.client import Client as CinderClient

from imagevol_adapters.cinder.volumes import CinderVolumes
from imagevol_adapters.configuration.stores import load, read_catalogue
from imagevol_adapters.glance.images import GlanceImages
from imagevol_core import HOLD, Image, ImageLocation, StoreCatalogue
from tests.cloud import restarting
from tests.cloud.ports import PATIENCE_SECONDS, sign_in
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.settings import REGION, Sections

IMAGEVOL = Path(sysconfig.get_path("scripts")) / "imagevol"
TYPES = {"fast": "fast", "fast2": "fast", "twin": "slow", "lonely": "slow"}  # volume type to backend


@attrs.frozen
class Ran:
    """What a run of the command line did."""

    status: int
    out: str
    err: str

    @property
    def rows(self) -> Any:
        return json.loads(self.out)


@attrs.define
class Site:
    """A cloud whose stores are renamed, retired and split."""

    cloud: Cloud
    volumes: CinderVolumes
    images: GlanceImages
    made: list[str] = attrs.field(factory=list)

    @classmethod
    def of(cls, cloud: Cloud) -> Site:
        session = sign_in(cloud, "service")
        return cls(
            cloud,
            CinderVolumes(session=session, region_name=REGION, wait_seconds=PATIENCE_SECONDS),
            GlanceImages(session=session, region_name=REGION, wait_seconds=PATIENCE_SECONDS),
        )

    @property
    def cinder(self) -> Any:
        return CinderClient("3.60", session=sign_in(self.cloud, "service"), region_name=REGION)

    @property
    def configuration(self) -> Path:
        return restarting.configuration_file(self.cloud)

    @property
    def catalogue(self) -> StoreCatalogue:
        return read_catalogue(load([self.configuration]))

    def make_types(self) -> None:
        there = {volume_type.name for volume_type in self.cinder.volume_types.list()}
        for name, backend in TYPES.items():
            if name not in there:
                self.cinder.volume_types.create(name).set_keys({"volume_backend_name": backend})

    def volume(self, volume_type: str) -> str:
        volume = self.volumes.create(size_gib=1, name="image", volume_type=volume_type)
        self.volumes.wait(volume.id)
        # As our driver knows a volume that it may delete.
        self.volumes.set_metadata(volume.id, {"image_size": str(1 << 30)})
        self.made.append(volume.id)
        return volume.id

    def image(self, *locations: tuple[str, str | None], volume_type: str = "fast", **properties: Any) -> str:
        """An image with these locations, `V` in a URL for a volume of its own; Glance has one store."""
        volume_id = self.volume(volume_type)
        image = self.images.create(name="moving", disk_format="raw", **properties)
        for url, store in locations:
            value = {"url": url.replace("V", volume_id), "metadata": {"store": store} if store else {}}
            self.images.change_locations(image.id, [{"op": "add", "path": "/locations/-", "value": value}])
        self.made.append(image.id)
        return image.id

    def make(self, histories: Mapping[str, tuple[str, Sequence[tuple[str, str | None]]]]) -> dict[str, str]:
        """An image for each history, which is the type of its volume and its locations."""
        with ThreadPoolExecutor(4) as pool:
            made = pool.map(lambda history: self.image(*history[1], volume_type=history[0]), histories.values())
            return dict(zip(histories, made, strict=True))

    def saved(self, *image_ids: str) -> dict[str, Image]:
        """The images as Glance has saved them."""
        return {image.id: image for image in self.images.listed(image_ids or None)}

    def locations(self, image_id: str) -> list[tuple[str, str | None]]:
        """URL and store of each, as saved, `V` for the volume's id."""
        return [
            (location.url.rpartition("/")[0] + "/V", location.metadata.get("store"))
            for location in self.saved(image_id)[image_id].locations
        ]

    def holds(self) -> list[str]:
        """What is left of protection: marks, and attachments of any kind."""
        everybodys = {"all_tenants": 1}
        return [
            *(v.id for v in self.cinder.volumes.list(search_opts=everybodys) if HOLD in v.metadata),
            *(a.id for a in self.cinder.attachments.list(search_opts=everybodys)),
        ]

    def volume_ids(self) -> set[str]:
        return {volume.id for volume in self.cinder.volumes.list(search_opts={"all_tenants": 1})}

    def forget(self) -> None:
        """Delete what was made; Glance has one store."""
        images, volumes = (set(made) & set(self.made) for made in (self.saved(), self.volume_ids()))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self.images.delete, images))
            list(pool.map(self._force_delete, volumes))
        for _ in ticks(PATIENCE_SECONDS):
            if not self.volume_ids() & volumes:
                break
        self.made.clear()

    def _force_delete(self, volume_id: str) -> None:
        with suppress(cinder_errors.NotFound):
            self.cinder.volumes.force_delete(volume_id)

    def environment(self, user: str = "service") -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        return kept | {"OS_CLIENT_CONFIG_FILE": str(self.cloud.clouds_yaml), "OS_CLOUD": user}

    def command(self, what: str, *arguments: object, configuration: Path | None = None) -> list[str]:
        config_file = ("--config-file", configuration or self.configuration)
        return [str(each) for each in (IMAGEVOL, "locations", what, *config_file, *arguments)]

    def run(self, what: str, *arguments: object, user: str = "service", configuration: Path | None = None) -> Ran:
        command = self.command(what, *arguments, "-f", "json", configuration=configuration)
        ran = subprocess.run(
            command, env=self.environment(user), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    @contextmanager
    def with_stores(self, stores: Mapping[str, str], *, driver: str = "imagevol") -> Iterator[None]:
        """Glance with these stores, by name the volume type of each."""
        options = self._cinder_options()
        sections: dict[str, Mapping[str, str | None]] = {
            name: {**options, "cinder_volume_type": volume_type} for name, volume_type in stores.items()
        }
        enabled = [f"{name}:{driver}" for name in stores]
        sections["DEFAULT"] = {"enabled_backends": ",".join([*enabled, "local:file"])}
        sections["glance_store"] = {"default_backend": next(iter(stores))}
        with restarting.glance_with(self.cloud, sections):
            yield

    @contextmanager
    def with_one_store(self) -> Iterator[None]:
        """Glance with one store, as before there were several."""
        sections: Sections = {
            "DEFAULT": {"enabled_backends": None},
            "glance_store": {
                **self._cinder_options(),
                "cinder_volume_type": "fast",
                "default_backend": None,
                "stores": "imagevol,file",
                "default_store": "cinder",
            },
        }
        with restarting.glance_with(self.cloud, sections):
            yield

    def _cinder_options(self) -> dict[str, str | None]:
        parser = ConfigParser(interpolation=None, default_section="")
        parser.read(self.configuration)
        options = ("cinder_mount_point_base", "rootwrap_config")
        return {
            name: value for name, value in parser["fast"].items() if name in options or name.startswith("cinder_store_")
        }


def at(locations: Sequence[ImageLocation]) -> list[tuple[str, Mapping[str, str]]]:
    """As values that print well."""
    return [(location.url, location.metadata) for location in locations]
