"""Asks the code of the installed Cinder which way it goes between images and volumes: cache, creation, upload, headers.

What Cinder decides is Cinder's own code, its queries included.  What it would do to storage, to Glance and to its
quotas is noted instead; each answer is a list of these notes, with the exception that ended the request, if one did.
"""

from __future__ import annotations

import io
import logging
import tempfile
from contextlib import ExitStack, nullcontext
from datetime import UTC, datetime
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from unittest import mock

from tests.upstream.asking import serve
from tests.upstream.cinder_worker import (
    CONF,
    CONTEXT,
    ENCRYPTION_KEY,
    create_tables,
    create_volume,
    database,
    fill,
    fits,
    models,
    objects,
    volume_utils,
)

api_request = import_module("cinder.api.openstack.wsgi").Request
api_version = import_module("cinder.api.openstack.api_version_request").APIVersionRequest
api_volumes = import_module("cinder.api.v3.volumes")
cache = import_module("cinder.image.cache")
context = import_module("cinder.context")
coordination = import_module("cinder.coordination")
exception = import_module("cinder.exception")
glance = import_module("cinder.image.glance")
glance_errors = import_module("glanceclient.exc")
glance_schemas = import_module("glanceclient.v2.schemas")
image_utils = import_module("cinder.image.image_utils")
volume_manager = import_module("cinder.volume.manager")

Notes = list[list[Any]]


def instant(text: str | None) -> datetime | None:
    """A time as Glance's client gives it to Cinder."""
    return datetime.fromisoformat(text) if text else None


def in_database(text: str | None) -> datetime | None:
    """A time as Cinder keeps it."""
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None) if text else None


class VolumeApi:
    """Notes which volumes are deleted, and lets their cache entries go as Cinder's API does."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes

    def delete(self, _: Any, volume: Any) -> None:
        self.notes.append(["delete", volume.id])
        database.image_volume_cache_delete(CONTEXT, volume.id)


def image_volume_cache(notes: Notes, *, max_gib: int = 0, max_count: int = 0) -> Any:
    return cache.ImageVolumeCache(database, VolumeApi(notes), max_gib, max_count)


def fill_cache(entries: list[dict[str, Any]], volumes: list[dict[str, Any]]) -> None:
    """Let these be the entries, most recently used first, and let their volumes exist beside these."""
    fill([*volumes, *map(cached_volume, entries)])
    rows = [
        {
            "volume_id": entry["volume_id"],
            "image_id": entry["image_id"],
            "size": entry["size_gib"],
            "host": entry["host"] or "",
            "cluster_name": entry["cluster_name"],
            "image_updated_at": in_database(entry["image_updated_at"]),
            "last_used": datetime(2025, 1, 1, 0, 0, 59 - at),  # noqa: DTZ001 - the database keeps no zone
        }
        for at, entry in enumerate(entries)
    ]
    with database.get_engine().begin() as connection:
        connection.execute(models.ImageVolumeCacheEntry.__table__.delete())
        if rows:
            connection.execute(models.ImageVolumeCacheEntry.__table__.insert(), rows)


def cached_volume(entry: dict[str, Any]) -> dict[str, Any]:
    """The row of a cached volume."""
    return {
        "id": entry["volume_id"],
        "project_id": "internal",
        "host": entry["host"],
        "cluster_name": entry["cluster_name"],
        "size": entry["size_gib"],
        "status": "available",
        "migration_status": None,
        "metadata": {},
        "created_at": None,
    }


def target_volume(target: dict[str, Any]) -> Any:
    encrypted = target.pop("encrypted")
    return objects.Volume(CONTEXT, encryption_key_id=ENCRYPTION_KEY if encrypted else None, **target)


def fresh(image_updated_at: str | None, entry: dict[str, Any]) -> Any:
    """Ask whether an entry is still the image, as the lookup for a request does."""
    fill_cache([entry], [])
    notes: Notes = []
    volume = target_volume({"id": "t", "host": entry["host"] or "", "cluster_name": None, "encrypted": False})
    meta = {"updated_at": instant(image_updated_at)}
    found = image_volume_cache(notes).get_entry(CONTEXT, volume, entry["image_id"], meta)
    return {"fresh": found is not None, "notes": notes}


def evict(entries: list[dict[str, Any]], newcomer_gib: int, max_gib: int, max_count: int) -> Any:
    """Ask for room for a volume: its pool's entries are all that there are."""
    fill_cache([{**entry, "host": "here", "cluster_name": None} for entry in entries], [])
    notes: Notes = []
    volume = objects.Volume(CONTEXT, id="t", host="here", cluster_name=None, size=newcomer_gib)
    limited = image_volume_cache(notes, max_gib=max_gib, max_count=max_count)
    with mock.patch.object(objects.Volume, "get_by_id", lambda _, volume_id: SimpleNamespace(id=volume_id)):
        return {"admitted": limited.ensure_space(CONTEXT, volume), "notes": notes}


# What Cinder's API makes of a request for a volume from an image.

SNAPSHOT_ID = "2f1c7a0e-5b3d-4c8f-9e6a-7d0b1c2e3f4a"


class ShownImage(dict[str, Any]):
    """An image as Glance's client gives it."""

    __getattr__ = dict.__getitem__


class ShowingClient:
    """Gives one image, and the schema by which Cinder tells its properties from the rest."""

    schema = glance_schemas.Schema({"name": "image", "properties": {"id": {}, "status": {}, "size": {}}})

    def __init__(self, image: dict[str, Any]) -> None:
        self.image = ShownImage(image)

    def call(self, _: Any, __: str, *___: Any, controller: str = "images", **____: Any) -> Any:
        return self.schema if controller == "schemas" else self.image


class Created(Exception):
    """What the API has decided."""


def source(mapping: str | None, image_id: str) -> Any:
    """Ask for a volume from an image: give the snapshot and the image that Cinder would create it from."""
    create_snapshot()
    image = {"id": image_id, "status": "queued", "size": 0}
    if mapping is not None:
        image["block_device_mapping"] = mapping
    request = api_request.blank("/v3/volumes", method="POST")
    request.environ["cinder.context"] = CONTEXT
    request.api_version_request = api_version("3.46")

    def made(*_: Any, **wishes: Any) -> None:
        snapshot = wishes["snapshot"]
        raise Created(snapshot.id if snapshot else None, wishes.get("image_id"))

    with mock.patch("cinder.rpc.get_client"):
        controller = api_volumes.VolumeController(None)
    service = glance.GlanceImageService(client=ShowingClient(image))
    body = {"volume": {"imageRef": image_id, "size": 1}}
    with (
        mock.patch.object(glance, "get_default_image_service", return_value=service),
        mock.patch.object(controller.volume_api, "create", made),
    ):
        try:
            controller.create(request, body=body)
        except Created as decided:
            return {"snapshot": decided.args[0], "image": decided.args[1]}


def create_snapshot() -> None:
    """Let there be one snapshot."""
    with database.get_engine().begin() as connection:
        connection.execute(models.Snapshot.__table__.delete())
        row = {"id": SNAPSHOT_ID, "volume_id": ENCRYPTION_KEY, "project_id": "p", "volume_size": 1, "deleted": False}
        connection.execute(
            models.Snapshot.__table__.insert(), [{**row, "volume_type_id": ENCRYPTION_KEY, "status": "available"}]
        )


# From an image to a volume.


class Driver:
    """Notes what it is told to clone; what is to fail fails."""

    initialized = True

    def __init__(self, notes: Notes, *, clone_across_pools: bool, clone_image: str, fails: list[str]) -> None:
        self.capabilities = {"clone_across_pools": clone_across_pools}
        self.notes, self.answer, self.fails = notes, clone_image, fails

    def clone_image(self, *_: Any) -> tuple[Any, bool]:
        if self.answer == "declines":
            return None, False
        if self.answer == "raises":
            self.notes.append(["driver"])
            raise KeyError("image_info")
        self.do("driver", "driver")
        return {}, True

    def create_cloned_volume(self, _: Any, source: Any) -> dict[str, Any]:
        self.do("cached" if source.project_id == "internal" else "image-volume", "clone", source.id)
        return {}

    def create_volume(self, _: Any) -> dict[str, Any]:
        return {}

    def extend_volume(self, *_: Any) -> None:
        """It has no size."""

    def do(self, what: str, *note: str) -> None:
        self.notes.append(list(note))
        if what in self.fails:
            raise exception.VolumeBackendAPIException(data=what)


class Manager:
    """The part of Cinder's manager that adds a new volume to the cache."""

    _create_image_cache_volume_entry = volume_manager.VolumeManager._create_image_cache_volume_entry

    def __init__(self, notes: Notes, limited: Any) -> None:
        self.notes, self.image_volume_cache = notes, limited

    def _clone_image_volume(self, _: Any, volume: Any, __: Any) -> Any:
        self.notes.append(["cache"])
        return SimpleNamespace(id="new", host=volume.host, cluster_name=None, size=volume.size, service_topic_queue="")


class Task(create_volume.CreateVolumeFromSpecTask):  # type: ignore[misc, name-defined]
    """Cinder's own."""

    message = mock.Mock()

    def _handle_bootable_volume_glance_meta(self, *_: Any, **__: Any) -> None:
        """Nothing is made bootable."""


class Database:
    """Cinder's own; the new volume is not in it, so that nobody asks for its image's metadata."""

    def __getattr__(self, name: str) -> Any:
        return getattr(database, name)

    def volume_glance_metadata_get(self, *_: Any) -> dict[str, Any]:
        return {}


def create(
    clone: dict[str, Any],
    updated_at: str | None,
    cached: dict[str, Any] | None,
    internal_tenant: bool,
    conversion_allowed: bool,
    free_bytes: int | None,
    clone_image: str,
    fails: list[str],
) -> Any:
    """Create a volume from an image: give what was tried, in order, and how it ended."""
    notes: Notes = []
    image, target = clone["image"], clone["target"]
    entries = cached["entries"] if cached else []
    fill_cache(entries, clone["volumes"])
    limited = image_volume_cache(notes, max_gib=cached["max_gib"], max_count=cached["max_count"]) if cached else None
    driver = Driver(notes, clone_across_pools=clone["clone_across_pools"], clone_image=clone_image, fails=fails)
    task = Task(Manager(notes, limited), Database(), driver, limited)
    CONF.set_override("allowed_direct_url_schemes", clone["schemes"])
    CONF.set_override("image_conversion_disable", not conversion_allowed)
    configure_internal_tenant(internal_tenant)
    virtual_size = measured(image, target["size"])

    def copy(_: Any, __: Any, ___: Any, meta: dict[str, Any], *____: Any) -> None:
        image_utils.check_image_conversion_disable(meta["disk_format"], "raw", meta["id"])
        driver.do("copy", "copy")

    with ExitStack() as patched:
        patch = patched.enter_context
        patch(mock.patch.object(objects.Volume, "save"))
        patch(mock.patch.object(image_utils.TemporaryImages, "fetch", return_value=nullcontext("image")))
        patch(mock.patch.object(image_utils, "qemu_img_info", return_value=SimpleNamespace(virtual_size=virtual_size)))
        patch(mock.patch.object(volume_utils, "copy_image_to_volume", copy))
        usage = SimpleNamespace(free=1 << 90 if free_bytes is None else free_bytes)
        patch(mock.patch.object(image_utils.shutil, "disk_usage", return_value=usage))
        patch(mock.patch.object(coordination.COORDINATOR, "get_lock", mock.Mock()))
        try:
            fits(image, target["size"])
            volume = target_volume(target)
            meta = {**image, "updated_at": instant(updated_at)}
            locations = (None, [{"url": url} for url in clone["urls"]])
            task._create_from_image(CONTEXT, volume, locations, image["id"], meta, None)
        except Exception as error:  # noqa: BLE001 - that it raises, and what, is the answer
            return {"notes": notes, "raises": type(error).__name__}
    return {"notes": notes, "raises": None}


def measured(image: dict[str, Any], size_gib: int) -> int:
    """What qemu-img makes of the image's file: of a raw one its size in whole blocks; of another as large as it may be.

    What Glance says of another is taken for the truth.
    """
    if image["virtual_size"] is not None:
        return int(image["virtual_size"])
    if image["disk_format"] == "raw" and image["size"] is not None:
        return -(-int(image["size"]) // 512) * 512
    return size_gib << 30


def configure_internal_tenant(known: bool) -> None:
    CONF.set_override("cinder_internal_tenant_project_id", "internal" if known else None)
    CONF.set_override("cinder_internal_tenant_user_id", "internal" if known else None)


# From a volume to an image.

REFUSALS = {
    "location-invalid": glance_errors.HTTPBadRequest,
    "image-not-found": glance_errors.HTTPNotFound,
    "not-allowed": glance_errors.HTTPForbidden,
    "conflict": glance_errors.HTTPConflict,
    "service-failed": glance_errors.HTTPInternalServerError,
}


class GlanceClient:
    """Notes what it is told to send, with the headers that go with it."""

    def __init__(self, notes: Notes, failure: str | None) -> None:
        self.notes, self.failure = notes, failure
        self.http_client = SimpleNamespace(additional_headers={})
        self.images = self

    def add_image_location(self, _: str, url: str, metadata: dict[str, str]) -> dict[str, str]:
        self.notes.append(["register", url, metadata])
        if self.failure in REFUSALS:
            raise REFUSALS[self.failure]
        return {"id": "i"}

    def upload(self, *_: Any) -> None:
        self.notes.append(["copy", self.http_client.additional_headers])

    def get(self, _: str) -> dict[str, str]:
        return {}


class UploadManager(volume_manager.VolumeManager):  # type: ignore[misc, name-defined]
    """Cinder's own, of which the storage and the database take notes."""

    def __init__(self, notes: Notes, failure: str | None, configuration: Any) -> None:
        self.notes, self.failure = notes, failure
        self.driver = SimpleNamespace(
            initialized=True, supported=True, configuration=configuration, copy_volume_to_image=self.copy_volume
        )
        self.db = SimpleNamespace(
            volume_admin_metadata_update=lambda *_: notes.append(["mark-read-only"]),
            volume_metadata_update=lambda _, __, metadata, ___: notes.append(["mark", dict(metadata)]),
            volume_update_status_based_on_attachment=lambda *_: None,
        )
        self.message_api = mock.Mock()

    def create_volume(self, ctx: Any, volume: Any, **_: Any) -> None:
        self.notes.append(["clone", ctx.project_id])
        if self.failure == "clone-failed":
            raise exception.VolumeBackendAPIException(data="clone")
        volume.status = "available"

    def delete_volume(self, *_: Any) -> None:
        self.notes.append(["delete"])

    def _delete_image(self, *_: Any) -> None:
        """Not asked: that the upload fails is the answer."""

    def copy_volume(self, ctx: Any, volume: Any, service: Any, meta: dict[str, Any]) -> None:
        plain = {**meta, "container_format": "bare"}
        upload_volume = volume_utils.upload_volume
        upload_volume(ctx, service, plain, "", volume, meta["disk_format"], volume_fd=io.BytesIO(b"data"))


def upload(
    image: dict[str, Any],
    store: dict[str, str] | None,
    base_image_id: str | None,
    project_id: str,
    use_cinder_backend: bool,
    use_internal_tenant: bool,
    internal_tenant: bool,
    failure: str | None,
) -> Any:
    """Upload a volume to an image: give what was done, in order, and how it ended."""
    notes: Notes = []
    configure_internal_tenant(internal_tenant)
    options = SimpleNamespace(
        image_upload_use_cinder_backend=use_cinder_backend, image_upload_use_internal_tenant=use_internal_tenant
    )
    volume = objects.Volume(CONTEXT, id=ENCRYPTION_KEY, size=1, volume_type_id=ENCRYPTION_KEY, project_id=project_id)
    volume.volume_type = None if store is None else objects.VolumeType(CONTEXT, extra_specs=store)
    volume.glance_metadata = {} if base_image_id is None else {"image_id": base_image_id}
    over = exception.OverQuota(overs=["volumes"]) if failure == "over-quota" else None
    ctx = context.RequestContext("user", project_id, is_admin=False)
    with ExitStack() as patched:
        patch = patched.enter_context
        patch(mock.patch.object(volume_manager, "QUOTAS", mock.Mock(reserve=mock.Mock(side_effect=over))))
        for method, stand_in in {
            "get_by_id": lambda *_: volume,
            "keys": lambda _: ["size", "project_id"],
            "create": lambda new: setattr(new, "id", "clone"),
            "refresh": lambda _: None,
        }.items():
            patch(mock.patch.object(objects.Volume, method, stand_in))
        client = GlanceClient(notes, failure)
        patch(mock.patch.object(glance.GlanceClientWrapper, "_create_onetime_client", return_value=client))
        patch(mock.patch.object(glance.GlanceImageService, "_translate_from_glance", return_value={}))
        patch(mock.patch.object(image_utils.tpool, "Proxy", lambda data: data))
        try:
            UploadManager(notes, failure, options).copy_volume_to_image(ctx, volume.id, image)
        except Exception as error:  # noqa: BLE001 - that it raises, and what, is the answer
            return {"notes": notes, "raises": type(error).__name__}
    return {"notes": notes, "raises": None}


if __name__ == "__main__":
    logging.disable()
    database.main_context_manager.configure(thread_checkin=False)  # there is but this thread: it need not yield
    create_tables()
    CONF.set_override("image_conversion_dir", tempfile.gettempdir())
    CONF.set_override("verify_glance_signatures", "disabled")
    with mock.patch("cinder.rpc.get_notifier"), mock.patch("cinder.utils.notifications_enabled", return_value=False):
        serve({"fresh": fresh, "evict": evict, "source": source, "create": create, "upload": upload})
