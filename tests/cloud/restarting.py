"""Stop and start a service of a running cloud, and give Glance or Cinder another configuration for a while."""

import dataclasses
import os
import signal
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cinderclient.client import Client as CinderClient

from tests.cloud import services
from tests.cloud.bringup import START_SECONDS
from tests.cloud.ports import sign_in
from tests.cloud.processes import CloudError, Process, belongs_to, ticks, wait_until
from tests.cloud.record import Cloud
from tests.cloud.rest import answers
from tests.cloud.settings import REGION, Sections, Settings, Site


@contextmanager
def glance_with(cloud: Cloud, sections: Sections) -> Iterator[Cloud]:
    """Glance with these sections laid over its configuration, and afterwards as before; None takes an option away."""
    with _service_with(cloud, "glance", configuration_file(cloud), sections) as restarted:
        yield restarted


@contextmanager
def cinder_with(cloud: Cloud, sections: Sections) -> Iterator[Cloud]:
    """The same of a Cinder in one process, once its scheduler knows the backends; without sections it goes on."""
    if not sections:
        yield cloud
        return
    with _service_with(cloud, "cinder", cloud.directory / "etc/cinder/cinder.conf", sections) as restarted:
        _until_pools(cloud)
        yield restarted
    _until_pools(cloud)


def _until_pools(cloud: Cloud) -> None:
    cinder: Any = CinderClient("3.60", session=sign_in(cloud, "admin"), region_name=REGION)
    wanted = set(cloud.backend_hosts.values())
    for _ in ticks(START_SECONDS):
        if {pool.name for pool in cinder.pools.list(detailed=False)} >= wanted:
            return
    raise CloudError(f"Cinder's scheduler does not know its backends: see {cloud.log('cinder')}")


@contextmanager
def _service_with(cloud: Cloud, service: str, path: Path, sections: Sections) -> Iterator[Cloud]:
    before = path.read_text()
    parser = ConfigParser(interpolation=None, default_section="")
    parser.read_string(before)
    for section, options in sections.items():
        if not parser.has_section(section):
            parser.add_section(section)
        for option, value in options.items():
            if value is None:
                parser.remove_option(section, option)
            else:
                parser.set(section, option, value)
    stop(cloud, service)
    with path.open("w") as file:
        parser.write(file)
    try:
        yield start(cloud, service)
    finally:
        stop(cloud, service)
        path.write_text(before)
        start(cloud, service)


@contextmanager
def without(cloud: Cloud, service: str) -> Iterator[None]:
    """The cloud without one of its services."""
    stop(cloud, service)
    try:
        yield
    finally:
        start(cloud, service)


def configuration_file(cloud: Cloud) -> Path:
    return cloud.directory / "etc/glance/glance-api.conf"


def stop(cloud: Cloud, service: str) -> None:
    """End its process, which takes its children along."""
    pid = Cloud.load(cloud.directory).pids[service]
    if belongs_to(pid, cloud.directory):
        os.kill(pid, signal.SIGTERM)
    for _ in ticks(30):
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        if not belongs_to(pid, cloud.directory):
            return
    raise CloudError(f"{service} does not end: see {cloud.log(service)}")


def kill(cloud: Cloud, service: str) -> None:
    """End its process and all of its children by force, as a machine without memory does."""
    pid = Cloud.load(cloud.directory).pids[service]
    os.killpg(pid, signal.SIGKILL)
    for _ in ticks(30):
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        if not belongs_to(pid, cloud.directory):
            return
    raise CloudError(f"{service} cannot be killed")


def start(cloud: Cloud, service: str) -> Cloud:
    """Start it again, and write down its new process."""
    cloud = Cloud.load(cloud.directory)
    _, _, host = service.partition("cinder-volume-")
    process, url = _cinder_volume(cloud, host) if host else _STARTS[service](cloud)
    wait_until(lambda: answers(url), process=process, seconds=START_SECONDS)
    cloud = dataclasses.replace(cloud, pids={**cloud.pids, service: process.pid})
    cloud.save()
    return cloud


def _glance(cloud: Cloud) -> tuple[Process, str]:
    return services.glance(_site(cloud)), cloud.image_url


def _cinder(cloud: Cloud) -> tuple[Process, str]:
    return services.cinder(_site(cloud)), cloud.volume_url


def _cinder_volume(cloud: Cloud, host: str) -> tuple[Process, str]:
    return services.cinder_volume(cloud.directory, host), cloud.volume_url


_STARTS = {"cinder": _cinder, "glance": _glance}


def _site(cloud: Cloud) -> Site:
    """As much of it as it takes to start a service whose configuration is written."""
    ports = {"glance": int(cloud.image_url.rpartition(":")[2])}
    return Site(directory=cloud.directory, settings=Settings(), ports=ports, passwords={})
