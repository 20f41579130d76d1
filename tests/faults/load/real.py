"""The load on real Keystone, Cinder and Glance, with a proxy between them and the workers."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import attrs
from keystoneauth1.identity.v3 import Password
from keystoneauth1.session import Session

from imagevol_adapters.attaching_records import AttachingRecords
from imagevol_adapters.brick import BrickAttacher, become_privileged
from imagevol_adapters.cinder.volumes import CinderVolumes
from imagevol_adapters.configuration.stores import load
from imagevol_adapters.gathering import gather_catalogue
from imagevol_adapters.gathering.configured_stores import ConfiguredStores
from imagevol_adapters.glance.images import GlanceImages
from imagevol_core import StoreCatalogue
from tests.cloud.bringup import running
from tests.cloud.ports import inventory, sign_in
from tests.cloud.processes import COLLECT, MARK, SCRIPTS, environment
from tests.cloud.record import Cloud
from tests.cloud.settings import REGION, Settings, with_mixin
from tests.cloud.teardown import mount_points
from tests.cloud.templating import remove_templates, templates
from tests.faults.load.striking import RandomFaults
from tests.faults.load.transfers import Ports
from tests.faults.proxy.passing import proxies

__all__ = ["RealSite", "ports", "real_site"]

_WAIT_SECONDS = 300
_TIMEOUT_SECONDS = 90  # a silent service is given up after that


def settings() -> Settings:
    """A cloud with our store, and the mixin with templates; Glance reads no clone of a GiB for its digest."""
    mixin = with_mixin({"image_template_enabled": "true"})
    cinder = dict(mixin.overrides["cinder/cinder.conf"])
    # On a busy machine the answers to so many requests at once take their time.
    cinder["DEFAULT"] = {**cinder["DEFAULT"], "rpc_response_timeout": "600"}
    glance = {"DEFAULT": {"do_secure_hash": "false"}}
    settings = replace(mixin, overrides={"cinder/cinder.conf": cinder, "glance/glance-api.conf": glance})
    return replace(settings, capacity_gib=10_000)  # of sparse files: no transfer fails for room


def ports(variables: Mapping[str, str], _faulty: Callable[[], bool]) -> Ports:
    """Give a worker its ports: it reaches the services through the proxies."""
    cloud = Cloud.load(Path(variables[MARK]))
    return _ports(cloud, variables["IMAGEVOL_AUTH_URL"], timeout_seconds=_TIMEOUT_SECONDS)


def _ports(cloud: Cloud, auth_url: str, *, timeout_seconds: float) -> Ports:
    auth = json.loads(cloud.clouds_yaml.read_text())["clouds"]["service"]["auth"]
    session = Session(auth=Password(**{**auth, "auth_url": auth_url}), timeout=timeout_seconds)
    locks = cloud.directory / "locks"  # as those of glance-api and of the audit, which free what a killed worker has
    become_privileged(locks)
    records = AttachingRecords(lambda: locks)
    volumes = CinderVolumes(session=session, region_name=REGION, wait_seconds=_WAIT_SECONDS, records=records)

    def catalogue() -> StoreCatalogue:
        stores = ConfiguredStores(load([cloud.directory / "etc/glance/glance-api.conf"]))
        return gather_catalogue(stores, default_type=volumes.default_volume_type)

    return Ports(
        volumes=volumes,
        images=GlanceImages(session=session, region_name=REGION, wait_seconds=_WAIT_SECONDS),
        attacher=BrickAttacher(),
        catalogue=catalogue,
        volume_type="fast",
    )


@attrs.define
class RealSite:
    """A cloud; see `site.Site`."""

    cloud: Cloud
    faults: RandomFaults
    directory: Path
    ports: Ports
    demo: Any
    where: str = "tests.faults.load.real:ports"
    preloaded: Sequence[str] = (
        *("imagevol_adapters.engine.writing", "imagevol_adapters.transfers.registering"),
        *("imagevol_adapters.transfers.uploading", "tests.faults.load.real", "tests.faults.load.worker"),
    )
    storm_store: str = "local"
    settling_seconds: float = 2
    _runs: Iterator[int] = attrs.field(factory=itertools.count)

    @property
    def variables(self) -> Mapping[str, str]:
        return {
            MARK: str(self.cloud.directory),
            "IMAGEVOL_AUTH_URL": self.faults.urls["keystone"],
            "TMPDIR": str(self.directory / "tmp"),
            "PYTHONWARNINGS": "ignore",
        }

    def strike(self, *, active: bool) -> None:
        self.faults.active = active

    def calls(self) -> tuple[int, int]:
        return self.faults.passed, self.faults.brought.total()

    def services(self) -> Mapping[str, int]:
        pids = Cloud.load(self.cloud.directory).pids
        children = Path(f"/proc/{pids['glance']}/task/{pids['glance']}/children").read_text().split()
        glance = {f"glance-api {number}": int(pid) for number, pid in enumerate(children, 1)}
        found = {"Cinder": pids["cinder"], **(glance if len(glance) > 1 else {"glance-api": int(children[0])})}
        for pid in found.values():
            os.kill(pid, COLLECT)
        time.sleep(1)
        return found

    def lock_directories(self) -> Sequence[Path]:
        return [self.cloud.directory / name for name in ("locks", "cinder/coordination")]

    def inventory(self) -> set[str]:
        found = inventory(self.cloud)
        for name in ("cinder/conversion", "glance/staging", "glance/mnt"):
            found |= {f"file {path}" for path in (self.cloud.directory / name).rglob("*")}
        found |= {f"file {path}" for path in (self.directory / "tmp").rglob("*")}
        return found | {f"mount {path}" for path in mount_points(self.cloud.directory)}

    def templates(self) -> set[str]:
        return {f"volume {each.id}" for each in templates(self.cloud)}

    def remove_templates(self) -> None:
        remove_templates(self.cloud)

    def audit(self, *, repair: bool) -> list[Mapping[str, Any]]:
        journal = self.directory / f"repairs-{next(self._runs)}"
        repairs = ["--repair", "--yes", "--include-likely", "--repair-journal", str(journal)] if repair else []
        kept = [self.cloud.directory / "cinder/conversion", self.directory / "tmp"]
        command = [
            *(str(SCRIPTS / "imagevol"), "audit", *repairs, "--only-glance", "--stuck-after", "0", "-f", "json"),
            *("--trusted-project", self.cloud.project_ids["service"]),
            *("--config-file", str(self.cloud.directory / "etc/glance/glance-api.conf")),
            *(word for path in kept for word in ("--temporary-directory", str(path))),
        ]
        variables = {
            "OS_CLIENT_CONFIG_FILE": str(self.cloud.clouds_yaml),
            "OS_CLOUD": "service",
            "OSLO_LOCK_PATH": str(self.cloud.directory / "locks"),  # the lock_path of a process without a configuration
        }
        ran = subprocess.run(
            command, env=environment(self.cloud.directory) | variables, capture_output=True, text=True, check=False
        )
        if ran.returncode not in (0, 3):
            raise AssertionError(f"imagevol audit ends with {ran.returncode}: {ran.stderr.strip()[-900:]}")
        found: list[Mapping[str, Any]] = json.loads(ran.stdout)
        return found


@contextmanager
def real_site(directory: Path, *, seed: int, rate: float) -> Iterator[RealSite]:
    """Start a cloud, and proxies that let calls go wrong."""
    (directory / "tmp").mkdir()
    with ExitStack() as ends:
        cloud = ends.enter_context(running(directory / "cloud", settings(), keep_logs=True))
        services = {"keystone": cloud.auth_url, "cinder": cloud.volume_url, "glance": cloud.image_url}
        faults = RandomFaults(services, seed=seed, rate=rate)
        ends.enter_context(proxies(services, faults))
        demo = CinderVolumes(session=sign_in(cloud, "demo"), region_name=REGION, wait_seconds=_WAIT_SECONDS)
        own = _ports(cloud, cloud.auth_url, timeout_seconds=_WAIT_SECONDS)
        yield RealSite(cloud, faults, directory, own, demo)
