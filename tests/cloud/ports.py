"""The library's real ports on a running cloud, as one of its users; and all that is in the cloud."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
from cinderclient.client import Client as CinderClient
from glanceclient.v2.client import Client as GlanceClient
from keystoneauth1.identity.v3 import Password
from keystoneauth1.session import Session

from imagevol_adapters.brick import BrickAttacher, become_privileged
from imagevol_adapters.cinder.volumes import CinderVolumes
from imagevol_adapters.glance.images import GlanceImages
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.settings import REGION
from tests.cloud.teardown import loop_devices

PATIENCE_SECONDS = 60


@attrs.frozen
class Ports:
    """Cinder, Glance and this host."""

    volumes: CinderVolumes
    images: GlanceImages
    attacher: BrickAttacher


def sign_in(cloud: Cloud, name: str) -> Session:
    """A session of one of the clouds in `clouds.yaml`; Keystone is asked when it is first used."""
    return Session(auth=Password(**json.loads(cloud.clouds_yaml.read_text())["clouds"][name]["auth"]))


def ports(cloud: Cloud, name: str = "service") -> Ports:
    """The ports as a store has them: of the services' project, with the role that the Location API asks for."""
    session = sign_in(cloud, name)
    become_privileged(cloud.directory / "locks")
    return Ports(
        CinderVolumes(session=session, region_name=REGION, wait_seconds=PATIENCE_SECONDS),
        GlanceImages(session=session, region_name=REGION, wait_seconds=PATIENCE_SECONDS),
        BrickAttacher(),
    )


def inventory(cloud: Cloud, session: Session | None = None) -> set[str]:
    """All that a procedure could leave in the cloud, whoever's it is: each thing by its kind and id."""
    session = session or sign_in(cloud, "admin")
    cinder = CinderClient("3.60", session=session, region_name=REGION)
    glance = GlanceClient(session=session, region_name=REGION)
    everybodys = {"all_tenants": 1}
    return {
        *(f"volume {volume.id}" for volume in cinder.volumes.list(search_opts=everybodys)),
        *(f"attachment {attachment.id}" for attachment in cinder.attachments.list(search_opts=everybodys)),
        *(f"image {image['id']}" for image in glance.images.list()),
        *(f"loop device {device}" for device in loop_devices(cloud.directory)),
    }


@contextmanager
def nothing_left(cloud: Cloud) -> Iterator[None]:
    """Hold that at the end of the context the cloud has in it what it had; Glance deletes volumes in the background."""
    before = inventory(cloud)
    yield
    for _ in ticks(PATIENCE_SECONDS):
        if (after := inventory(cloud)) == before:
            return
    assert after == before
