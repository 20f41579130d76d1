"""Asks the code of the installed Glance, and of the glance_store that it stands on.

Stores are real drivers where they have a part in the answer: the cinder driver says whether a volume is its own, by
what Cinder (which is not real) says of the volume; the schemes under which Glance finds a store are those of each
driver; and each says by glance_store's own check whether it can add.
"""

from __future__ import annotations

import logging
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from unittest import mock

from tests.upstream.asking import serve

# By name: where types are checked there is no Glance.
import_module("glance.common.config")
CONF = import_module("oslo_config.cfg").CONF
backend = import_module("glance_store.backend")
multi_backend = import_module("glance_store.multi_backend")
capabilities = import_module("glance_store.capabilities")
cinder_store = import_module("glance_store._drivers.cinder.store")
exceptions = import_module("glance_store.exceptions")
glance_store = import_module("glance_store")
image_data = import_module("glance.api.v2.image_data")
location = import_module("glance.location")
store_location = import_module("glance_store.location")
store_utils = import_module("glance.common.store_utils")
utils = import_module("glance.common.utils")
webob = import_module("webob")
ours = import_module("imagevol_adapters.store.driver")
RESERVED = import_module("glance.common.wsgi_app").RESERVED_STORES
CONF.register_opts(multi_backend._STORE_OPTS + backend._STORE_OPTS, group="glance_store")
CONF([], project="glance", default_config_files=[])  # after all imports, which register options of the command line

CONTEXT = SimpleNamespace(owner="ours", project_id="ours", read_only=False)
DRIVERS = {  # by kind; what the entry point of swift names chooses one of two classes
    "cinder": "cinder.store.Store",
    "file": "filesystem.Store",
    "http": "http.Store",
    "rbd": "rbd.Store",
    "s3": "s3.Store",
    "swift": "swift.store.BaseStore",
    "vmware": "vmware_datastore.Store",
}


def schemes(driver: str) -> tuple[str, ...]:
    """The schemes under which Glance finds a driver."""
    module, _, name = driver.rpartition(".")
    kind = getattr(import_module(f"glance_store._drivers.{module}"), name)
    return tuple(kind.__new__(kind).get_schemes())


SCHEMES = {kind: schemes(driver) for kind, driver in DRIVERS.items()}
SCHEMES["imagevol"] = ours.Store.__new__(ours.Store).get_schemes()


class Driver(import_module("glance_store.driver").Store):  # type: ignore[misc]
    """A driver that can do what it is told, and adds by saying so."""

    weight = 0

    def __init__(self, fact: dict[str, Any]) -> None:
        self.name = fact["name"]
        self.weight = fact.get("weight", 0)
        self._capabilities = capabilities.BitMasks.DRIVER_REUSABLE | capabilities.BitMasks.READ_ACCESS
        if fact["accepts"]:
            self._capabilities |= capabilities.BitMasks.WRITE_ACCESS

    @capabilities.check  # type: ignore[untyped-decorator]
    def add(self, *_: Any, **__: Any) -> Any:
        return self.name, 0, "", "", {}


class CinderDriver(Driver, cinder_store.Store):  # type: ignore[misc, name-defined]
    """The cinder driver, with a Cinder that gives the answers it is told to."""

    def __init__(self, fact: dict[str, Any], answers: dict[str, Any], default_volume_type: str | None) -> None:
        Driver.__init__(self, fact)
        self.backend_group = self.name
        self.store_conf = SimpleNamespace(cinder_volume_type=fact["volume_type"])
        self._answers = answers
        default = SimpleNamespace(name=default_volume_type) if default_volume_type is not None else None
        self._client = SimpleNamespace(volume_types=SimpleNamespace(default=lambda: found(default)))
        self.volume_api = SimpleNamespace(get=lambda _, volume_id: self._volume(volume_id))
        self._set_url_prefix()

    def get_cinderclient(self, *_: Any, **__: Any) -> Any:
        return self._client

    def _volume(self, volume_id: str) -> Any:
        answer = self._answers.get(volume_id, {"error": "timed out"})
        if "error" in answer:
            raise exceptions.BackendException(answer["error"])
        return SimpleNamespace(volume_type=answer["type"])


def found(thing: Any) -> Any:
    """The thing, or Cinder's error where there is none."""
    if thing is None:
        raise cinder_store.cinder_exception.NotFound(404)
    return thing


def configure(catalogue: dict[str, Any], answers: dict[str, Any] | None = None) -> None:
    """Let these be the stores of Glance."""
    multi, single = store_location.SCHEME_TO_CLS_BACKEND_MAP, store_location.SCHEME_TO_CLS_MAP
    multi.clear()
    single.clear()
    enabled = {fact["name"]: fact["kind"] for fact in catalogue["stores"]} if catalogue["multi"] else None
    CONF.set_override("enabled_backends", enabled)
    CONF.set_override("default_backend", catalogue["default"], group="glance_store")
    facts = list(catalogue["stores"])
    if catalogue["multi"]:
        CONF.enabled_backends.update(RESERVED)
        multi_backend._RESERVED_STORES.update(RESERVED)
        facts += [{"name": name, "kind": kind, "accepts": True, "url_prefix": None} for name, kind in RESERVED.items()]
    for fact in facts:
        if fact["kind"] not in SCHEMES:  # glance_store finds no driver, and goes on without
            continue
        if "cinder" in SCHEMES[fact["kind"]]:
            driver = CinderDriver(fact, answers or {}, catalogue["default_volume_type"])
            if fact["kind"] == "imagevol":
                driver._url_prefix = ours.StorePrefix(fact["name"])
        else:
            driver = Driver(fact)
            driver._url_prefix = fact["url_prefix"]
        for scheme in SCHEMES[fact["kind"]]:
            multi.setdefault(scheme, {})[fact["name"]] = {"store": driver, "store_entry": fact["kind"]}
            single[scheme] = {"store": driver, "store_entry": fact["kind"]}
    if not catalogue["multi"]:
        only = SCHEMES.get(facts[0]["kind"], ["file"])[0]
        CONF.set_override("default_store", only, group="glance_store")


def show(catalogue: dict[str, Any], answers: dict[str, Any], locations: list[dict[str, Any]]) -> Any:
    """Show an image: give its locations, and whether it was saved."""
    configure(catalogue, answers)
    image = SimpleNamespace(image_id="i", locations=locations)
    repository = mock.Mock()
    if catalogue["multi"]:
        store_utils.update_store_in_locations(CONTEXT, image, repository)
    else:
        location._update_s3_locations_for_single_store(image, repository)
    return {"locations": image.locations, "saved": repository.save.called}


def weighed(catalogue: dict[str, Any], answers: dict[str, Any], locations: list[dict[str, Any]]) -> Any:
    """Read an image from the database: give its locations in the order that Glance gives them."""
    configure(catalogue, answers)
    return utils.sort_image_locations(locations)


def add_location(catalogue: dict[str, Any], answers: dict[str, Any], location: dict[str, Any]) -> Any:
    """Add a location to an image: give what becomes of it."""
    configure(catalogue, answers)
    return store_utils.get_updated_store_location([location], CONTEXT)[0] if catalogue["multi"] else location


def store_of(catalogue: dict[str, Any], url: str) -> Any:
    """Give the store that Glance reads in a URL."""
    configure(catalogue)
    return store_utils._get_store_id_from_uri(url)


def associated(catalogue: dict[str, Any], answers: dict[str, Any], volume_id: str) -> Any:
    """Give the cinder stores that say that the volume is theirs."""
    configure(catalogue, answers)
    stores = store_location.SCHEME_TO_CLS_BACKEND_MAP.get("cinder", {})
    return [name for name, store in stores.items() if store["store"].is_image_associated_with_store(CONTEXT, volume_id)]


def stores_from_request(catalogue: dict[str, Any], header: str | None) -> Any:
    """Give the stores of a request that names at most one."""
    configure(catalogue)
    return utils.get_stores_from_request(request(header), {})


def upload(catalogue: dict[str, Any], header: str | None, base_image: bool) -> Any:
    """Upload an image: give the store that its data are added to."""
    configure(catalogue)
    image = Image()
    controller = image_data.ImageDataController.__new__(image_data.ImageDataController)
    controller.gateway = SimpleNamespace(get_repo=lambda _: mock.Mock(get=lambda _: image))
    controller.policy = None
    asked = request(header)
    if base_image:
        asked.headers["x-openstack-base-image-ref"] = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
    with mock.patch.multiple(image_data, ks_quota=mock.DEFAULT, api_policy=mock.DEFAULT):
        controller.upload(asked, "i", mock.Mock(), 0)
    return image.image.locations[0]["url"]


class Image:
    """An image that was queued; its data go the way that Glance's own takes."""

    def __init__(self) -> None:
        self.image_id, self.status, self.context, self.store_api = "i", "queued", CONTEXT, glance_store
        self.image = SimpleNamespace(image_id="i", os_hash_algo="sha512", locations=[])

    def set_data(self, data: Any, size: int, backend: str | None) -> None:
        location.ImageProxy._upload_to_store(self, data, None, backend, size)

    def _verify_signature(self, *_: Any) -> None:
        """Nothing is signed."""

    def _verify_uploaded_data(self, *_: Any) -> None:
        """Nothing was stored."""


def request(header: str | None) -> Any:
    """A request that names this store."""
    asked = webob.Request.blank("/")
    asked.context = CONTEXT
    if header is not None:
        asked.headers["x-image-meta-store"] = header
    return asked


if __name__ == "__main__":
    logging.disable()
    serve(
        {
            "show": show,
            "weighed": weighed,
            "add_location": add_location,
            "store_of": store_of,
            "associated": associated,
            "stores_from_request": stores_from_request,
            "upload": upload,
        }
    )
