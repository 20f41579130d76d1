"""Asks SolidFire's driver of cinder 13.0.9, the last but one with templates, run under the installed Cinder.

Only the driver's own module is old; it is read from the directory into which `nox -s upstream` unpacks that release,
and what has since left Cinder is put back before.  The array behind it is a list of volumes that takes notes.
"""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack, nullcontext
from datetime import datetime
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

from tests.upstream.asking import SOLIDFIRE, serve

objects = import_module("cinder.objects")
objects.register_all()  # before the configuration is read
CONF = import_module("oslo_config.cfg").CONF
CONF([], project="cinder", default_config_files=[])

cinder_utils = import_module("cinder.utils")
exception = import_module("cinder.exception")
image_utils = import_module("cinder.image.image_utils")
lockutils = import_module("oslo_concurrency.lockutils")


def load() -> ModuleType:
    """Import the old module, among the names that it knows Cinder by."""
    sys.modules["cinder.volume.utils"] = import_module("cinder.volume.volume_utils")
    import_module("cinder.volume").utils = sys.modules["cinder.volume.utils"]  # type: ignore[attr-defined]
    for name in ("SolidFireAPIException", "SolidFireRetryableException"):
        setattr(exception, name, type(name, (exception.VolumeBackendAPIException,), {}))
    for name in ("SolidFireDriverException", "SolidFireAccountNotFound", "DuplicateSfVolumeNames"):
        setattr(exception, name, type(name, (exception.VolumeDriverException,), {}))
    setattr(cinder_utils, "synchronized", lockutils.synchronized)  # noqa: B010 - the types know no such name
    spec = spec_from_file_location("solidfire_of_13_0_9", SOLIDFIRE)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Array:
    """Answers the requests of the driver, and notes those that change something."""

    def __init__(self, template: dict[str, Any] | None, image_id: str) -> None:
        self.notes: list[list[Any]] = []
        self.volumes: list[dict[str, Any]] = []
        if template is not None:
            dated = {"image_info": {"image_updated_at": template["updated_at"]}} if template["updated_at"] else {}
            self.add(template["id"], f"OpenStackIMG-{image_id}", dated)

    def add(self, volume_id: str, name: str, attributes: dict[str, Any]) -> None:
        self.volumes.append({"volumeID": volume_id, "name": name, "attributes": attributes, "status": "active"})

    def __call__(self, method: str, params: dict[str, Any], **_: Any) -> Any:
        answers = {"ListVolumesForAccount": "volumes", "ListActiveVolumes": "volumes", "ListSnapshots": "snapshots"}
        if method in answers:
            return {"result": {answers[method]: self.volumes if answers[method] == "volumes" else []}}
        if method == "GetAccountByID":
            return {"result": {"account": {"accountID": 1}}}
        if method == "CreateVolume":
            self.notes.append(["create", params["totalSize"] >> 30])
            self.add("7", params["name"], params["attributes"])
            return {"result": {"volumeID": "7"}}
        if method == "DeleteVolume":
            self.notes.append(["delete", params["volumeID"]])
            self.volumes = [volume for volume in self.volumes if volume["volumeID"] != params["volumeID"]]
        if method == "CloneVolume":
            self.notes.append(["clone", str(params["volumeID"])])
        return {"result": {"volumeID": "8"}}


def clone_image(
    image: dict[str, Any], project_id: str | None, enabled: bool, template: dict[str, Any] | None, virtual_size: int
) -> Any:
    """Ask the driver to clone an image: give what it did to the array, and its answer."""
    driver = object.__new__(solidfire.SolidFireDriver)
    array = Array(template, image["id"])
    info = SimpleNamespace(file_format="raw", backing_file=None, virtual_size=virtual_size)
    located = {"provider_location": "", "provider_auth": ""}
    driver.__dict__.update(
        configuration=SimpleNamespace(sf_allow_template_caching=enabled, sf_emulate_512=True, sf_volume_prefix=""),
        template_account_id=1,
        target_driver=None,
        _issue_api_request=array,
        _get_create_account=lambda _: {"accountID": 2},
        _get_model_info=lambda *_, **__: located,
        _retrieve_qos_setting=lambda _: None,
        initialize_connection=lambda *_: None,
        _detach_volume=lambda *_: None,
    )
    dated = {name: image[name] for name in ("updated_at", "created_at")}
    times = {name: datetime.fromisoformat(text) if text else None for name, text in dated.items()}
    volume = {"id": "new", "project_id": project_id, "size": 9, "created_at": times["created_at"]}
    with ExitStack() as patched:
        for place, name, stand_in in (
            (image_utils.TemporaryImages, "fetch", lambda *_: nullcontext("image")),
            (image_utils, "qemu_img_info", lambda *_, **__: info),
            (image_utils, "convert_image", lambda *_, **__: None),
            (solidfire.san.SanISCSIDriver, "_connect_device", lambda *_: {"device": {"path": ""}}),
        ):
            patched.enter_context(mock.patch.object(place, name, stand_in))
        try:
            _, cloned = driver.clone_image(None, volume, None, {**image, **times}, None)
        except Exception as error:  # noqa: BLE001 - that it raises, and what, is the answer
            return {"notes": array.notes, "cloned": False, "raises": type(error).__name__}
    return {"notes": array.notes, "cloned": cloned, "raises": None}


if __name__ == "__main__":
    logging.disable()
    solidfire = load()
    serve({"clone_image": clone_image})
