"""Our code in glance-api and cinder-volume: requests of users, whose faults are in the calls that the service makes."""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cinderclient import exceptions as cinder_errors
from glanceclient import exc as glance_errors
from keystoneauth1 import exceptions as keystone_errors
from requests import RequestException

from imagevol_adapters.error_text import one_line
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.restarting import cinder_with, glance_with
from tests.cloud.settings import BACKENDS
from tests.faults.proxy.forking import Ran
from tests.faults.proxy.passing import Proxies
from tests.faults.proxy.site import DATA, Site

__all__ = ["deleted", "downloaded", "led_through", "uploaded", "volume_created"]

_SECONDS = 400.0  # Cinder's own calls of a Glance that never answers end one after the other
_ERRORS = (
    glance_errors.BaseException,
    glance_errors.ClientException,
    cinder_errors.ClientException,
    keystone_errors.ClientException,
    RequestException,
    OSError,  # of data that is cut, or not what Glance has recorded
)
_OURS = re.compile(r"imagevol|[Ll]eft behind|BackendException|RemoteServiceUnavailable| ERROR | WARNING ")


@contextmanager
def led_through(cloud: Cloud, between: Proxies) -> Iterator[None]:
    """Have the stores of Glance, and Cinder, ask for other services through proxies while the context lasts."""
    keystone = between.urls["keystone"]
    cinder: dict[str, Mapping[str, str | None]] = {
        "DEFAULT": {"glance_api_servers": between.urls["glance"]},
        "glance": {"auth_url": keystone},
        "service_user": {"auth_url": keystone},
    }
    with (
        glance_with(cloud, {store: {"cinder_store_auth_address": keystone} for store in BACKENDS}),
        cinder_with(cloud, cinder),
    ):
        yield


def uploaded(site: Site, made: Mapping[str, str]) -> Ran:
    """Upload an image to our store."""

    def ask() -> str:
        site.glance.images.upload(made["own image"], io.BytesIO(DATA), image_size=len(DATA), backend="fast")
        return json.dumps({"image_id": made["own image"]})

    return _asked(site, "glance", ask)


def downloaded(site: Site, made: Mapping[str, str]) -> Ran:
    """Download an image of our store, and give the digest of what came."""

    def ask() -> str:
        data = site.glance.images.data(made["image"])
        if getattr(data, "wrapped", data) is None:  # Glance found no location that it can read, and answers 204
            raise OSError("Glance gives no data")
        return hashlib.sha256(b"".join(data)).hexdigest()

    return _asked(site, "glance", ask)


def deleted(site: Site, made: Mapping[str, str]) -> Ran:
    """Delete an image of our store."""

    def ask() -> str:
        site.glance.images.delete(made["own image"])
        return ""

    return _asked(site, "glance", ask)


def volume_created(site: Site, made: Mapping[str, str]) -> Ran:
    """Create a volume of an image that a template can serve, and give what became of it."""
    seen: dict[str, str] = {}

    def ask() -> str:
        volume = site.cinder_of_service.volumes.create(1, volume_type="fast", imageRef=made["own image"])
        seen["volume_id"] = volume.id
        for _ in ticks(_SECONDS, interval=0.1):
            volume = site.cinder.volumes.get(volume.id)
            if volume.status in ("available", "error"):
                break
        if volume.status != "available":
            raise OSError(f"volume {volume.id} is {volume.status}")
        return json.dumps(seen)

    return _asked(site, "cinder", ask)


def _asked(site: Site, service: str, ask: Callable[[], str]) -> Ran:
    """Ask, and give what came of it, with what the service has logged meanwhile; no status if no answer came."""
    log = site.cloud.log(service)
    begun = log.stat().st_size
    came: dict[str, Any] = {}

    def work() -> None:
        try:
            came["out"], came["status"] = ask(), 0
        except _ERRORS as error:
            came["err"], came["status"] = f"{type(error).__name__}: {one_line(error)}", 1

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(_SECONDS)
    with log.open(errors="replace") as file:
        file.seek(begun)
        said = [line.rstrip("\n") for line in file if _OURS.search(line)]
    err = "\n".join(filter(None, [came.get("err"), *said]))
    return Ran(status=came.get("status"), out=came.get("out", ""), err=err)
