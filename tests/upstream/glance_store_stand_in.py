"""Our driver in the place of glance_store's, with the names of that one which its unit tests call or replace.

Importing this module puts it where the tests find their driver.  What a test puts in place of such a name stands
between our code and Cinder or the host, and our code does the rest: nothing here decides anything.
"""

from __future__ import annotations

import hashlib
import socket  # noqa: F401 - replaced by the tests
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from types import GeneratorType, SimpleNamespace
from typing import Any
from unittest import mock

import attrs
from cinderclient import exceptions as cinder_exception
from glance_store import exceptions

from imagevol_adapters import brick
from imagevol_adapters.addresses import address_of
from imagevol_adapters.cinder import client as cinder_client
from imagevol_adapters.cinder import service_user
from imagevol_adapters.cinder.volumes import CinderVolumes
from imagevol_adapters.engine import digests, reading
from imagevol_adapters.engine.sources import Hole
from imagevol_adapters.ports import CLEAR_BYTES, AccessMode, Attachment
from imagevol_adapters.store import attaching, driver, sessions, starting
from imagevol_adapters.store.driver import LOG  # noqa: F401 - used by the tests
from imagevol_adapters.store.errors import translated
from imagevol_adapters.store.locations import StoreLocation  # noqa: F401 - likewise
from imagevol_adapters.transfers import attached, open_image_volume, store_image
from imagevol_core import GIB, DeviceFailed, DeviceStalled

# By name: where types are checked there is no glance_store.
cinder_utils = import_module("glance_store.common.cinder_utils")
utils = import_module("glance_store.common.utils")
strutils = import_module("oslo_utils.strutils")  # replaced by the tests

# Where the tests replace a class of keystoneauth1, it is replaced where our code has it from.
ksa_session = ksa_identity = service_user
ksa_token_endpoint = keystone_sc = sessions
CinderVolumeIterator = GeneratorType  # what `get` gives

_PROJECT = "fake_project"  # of the requester in the tests; there is no Keystone to name another, nor a second one
_MODES = {AccessMode.READ: "rb", AccessMode.WRITE: "wb"}
_FACTS = ("id", "size", "status", "volume_type", "encrypted", "multiattach")
_has_service_user = sessions.has_service_user


def is_mock(thing: object) -> bool:
    """Whether a test has put it there."""
    return isinstance(thing, mock.NonCallableMock)


class Store(driver.Store):
    """Our driver."""

    def get_cinderclient(self, context: Any = None, version: str | None = None) -> Any:
        """Give what of a client can be seen before it asks anything."""
        volumes = super()._cloud(context).volumes
        session = volumes.session
        return SimpleNamespace(
            client=SimpleNamespace(auth=session.auth, session=session, region_name=volumes.region_name)
        )

    def is_user_overriden(self) -> bool:
        return _has_service_user(self.store_conf)

    def get_root_helper(self) -> str:
        return str(self._host(None).root_helper)

    def temporary_chown(self, path: str) -> AbstractContextManager[None]:
        return attrs.evolve(self._host(None), root_helper=self.get_root_helper()).opening(path)

    def _check_context(self, context: Any) -> None:
        self._cloud(context)

    def _get_host_ip(self, host: str) -> str:
        return address_of(host)

    def _wait_volume_status(self, volume: Any, before: str, after: str, client: Any) -> Any:
        with translated():
            self._given(client).wait(volume.id)
        return volume

    @contextmanager
    def _open_cinder_volume(self, client: Any, volume: Any, mode: str) -> Iterator[Any]:
        volumes = self._given(client)
        host = attrs.evolve(self._host(volumes), root_helper=self.get_root_helper())
        on: Mapping[str, Any] = {"volumes": volumes, "attacher": host}
        with translated():
            if mode == "rb":
                with open_image_volume(
                    volume.id, **on, attach=_attached, verify=False, permit=lambda _: None
                ) as content:
                    yield content
            else:
                with attached(volume.id, mode=AccessMode.WRITE, **on) as device:
                    yield device

    def _given(self, client: Any) -> _Volumes:
        nobody: Any = None
        return _Volumes(session=nobody, given=lambda: client, store=self)

    def configure_add(self) -> None:
        # The tests suppose a client for nobody in particular, which takes a service user.
        with mock.patch.object(Store, "is_user_overriden", self._has_client), self._asked_for_service_user():
            super().configure_add()

    def _has_client(self) -> bool:
        return is_mock(self.get_cinderclient) or _has_service_user(self.store_conf)

    def _asked_for_service_user(self) -> AbstractContextManager[Any]:
        """Let our code ask `is_user_overriden`, which the tests replace."""
        asked = mock.Mock(side_effect=lambda options: self.is_user_overriden())
        return mock.patch.object(sessions, "has_service_user", asked)

    def _cloud(self, context: Any) -> driver.Cloud:
        """Give what our driver gives, on top of what the tests put in place of Cinder and the host."""
        with self._asked_for_service_user():
            cloud = super()._cloud(context)
        volumes = _Volumes(
            session=cloud.volumes.session, given=lambda: self.get_cinderclient(context), store=self, attach_attempts=5
        )
        opened: Any = _Opened(self, volumes) if is_mock(self._open_cinder_volume) else self._host(volumes)
        return attrs.evolve(cloud, volumes=volumes, attacher=opened)

    def _host(self, volumes: Any) -> attaching.StoreAttacher:
        return attaching.attacher(self.store_conf, volumes)


def _attached(volume_id: str, *, size_bytes: int | None = None, **how: Any) -> AbstractContextManager[Any]:
    """Attach a volume, whatever its device's size: the tests' device is an empty file."""
    return attached(volume_id, **how)


@attrs.define(kw_only=True)
class _Volumes(CinderVolumes):
    """Our adapter, over the client that a test gives."""

    given: Callable[[], Any]
    store: Store

    def _cinder(self) -> Any:
        if self._client is None:
            client = self.given()
            volumes = _VolumeManager(client, self.store)
            self._client = SimpleNamespace(  # type: ignore[assignment]
                volumes=volumes,
                attachments=_AttachmentManager(client),
                volume_types=_TypeManager(client, self.store.store_conf.cinder_volume_type),
                messages=client.messages,
            )
        return self._client


class _VolumeManager:
    """Volumes that are mocks: what they do not say is as Cinder has it of a volume that is well.

    Mocks forget.  Here what was deleted is gone, and what was extended is larger.
    """

    def __init__(self, client: Any, store: Store) -> None:
        self._client, self._store = client, store
        self._made: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}
        self._deleted: set[str] = set()
        self._metadata: dict[str, str] = {}  # what is written later shows in the mock's call, as with glance_store's
        self._under_way: str | None = None

    def create(self, size: int, **said: Any) -> Any:
        said = {key: value for key, value in said.items() if value is not None}
        self._metadata.update(said.pop("metadata"))
        volume = self._client.volumes.create(size, **said, metadata=self._metadata)
        self._made[volume.id] = volume
        self._under_way = "creating"
        return _shown(volume)

    def get(self, volume_id: str) -> Any:
        if volume_id in self._deleted:
            raise cinder_exception.NotFound(404)
        volume = self._client.volumes.get(volume_id)
        facts: dict[str, Any] = {"size": self._sizes[volume_id]} if volume_id in self._sizes else {}
        before, self._under_way = self._under_way, None
        if before and is_mock(self._store._wait_volume_status):
            try:
                self._store._wait_volume_status(volume, before, "available", self._client)
            except exceptions.BackendException:
                facts["status"] = f"error_{before}"
        return _shown(volume, **facts)

    def list(self, **_: object) -> list[Any]:
        return []  # no process has left any

    def extend(self, volume_id: str, size: int) -> None:
        volume = self._made[volume_id]
        volume.extend(volume, size)
        self._sizes[volume_id] = size
        self._under_way = "extending"

    def delete(self, volume_id: str) -> None:
        if volume_id in self._made:  # through its object, as glance_store does there; it is the same request
            self._made[volume_id].delete()
        else:
            self._client.volumes.delete(volume_id)
        self._deleted.add(volume_id)

    def update_readonly_flag(self, volume_id: str, readonly: bool) -> None:
        self._client.volumes.update_readonly_flag(volume_id, readonly)

    def set_metadata(self, volume_id: str, metadata: dict[str, str]) -> None:
        self._client.volumes.set_metadata(volume_id, metadata)
        self._metadata.update(metadata)


def _shown(volume: Any, **more: Any) -> Any:
    said = {name: getattr(volume, name) for name in _FACTS}
    facts = {name: value for name, value in said.items() if not is_mock(value)} | more
    attachments = [] if is_mock(volume.attachments) else volume.attachments
    rest = {
        "size": 1,
        "status": "available",
        "metadata": {} if is_mock(volume.metadata) else volume.metadata,
        "os-vol-tenant-attr:tenant_id": _PROJECT,
        # The mocks have it in `id`, which in Cinder's answer is the volume's.
        "attachments": [{**each, "attachment_id": each["id"]} for each in attachments],
    }
    return SimpleNamespace(id=volume.id, to_dict=lambda: {"id": volume.id, **rest, **facts})


class _AttachmentManager:
    """Attachments, asked for through what the tests replace."""

    def __init__(self, client: Any) -> None:
        self._client, self._api = client, cinder_utils.API()

    def create(self, volume_id: str, connector: None, *, mode: str) -> Any:
        return self._api.attachment_create(self._client, volume_id, mode=mode)

    def update(self, attachment_id: str, connector: Mapping[str, Any]) -> Any:
        properties, mountpoint = connector["properties"], connector["mountpoint"]
        return self._api.attachment_update(self._client, attachment_id, properties, mountpoint=mountpoint)

    def show(self, attachment_id: str) -> Any:
        return self._api.attachment_get(self._client, attachment_id)

    def complete(self, attachment_id: str) -> None:
        self._api.attachment_complete(self._client, attachment_id)

    def delete(self, attachment_id: str) -> None:
        self._api.attachment_delete(self._client, attachment_id)


class _TypeManager:
    """The volume types: those that a mock finds when it is asked by name."""

    def __init__(self, client: Any, name: str | None) -> None:
        self._client, self._name = client, name

    def list(self, search_opts: Mapping[str, object]) -> list[Any]:
        if "marker" in search_opts:
            return []
        try:
            self._client.volume_types.find(name=self._name)
        except cinder_exception.NotFound:
            return []
        return [SimpleNamespace(id=self._name, name=self._name)]

    def default(self) -> Any:
        default = self._client.volume_types.default()
        return SimpleNamespace(**default) if isinstance(default, dict) else default


@attrs.frozen
class _Opened:
    """An `Attacher` that opens the file which a test gives in place of an attached volume."""

    store: Store
    volumes: _Volumes

    def connector(self) -> Mapping[str, Any]:
        return {"host": "here", "properties": {}, "mountpoint": None}

    @contextmanager
    def open(
        self, attachment: Attachment, *, mode: AccessMode, keep: Callable[[], bool] | None = None
    ) -> Iterator[_File]:
        volume = self.volumes.get(attachment.volume_id)
        with self.store._open_cinder_volume(None, volume, _MODES[mode]) as file:
            yield _File(file, volume.size_gib * GIB)

    def is_left(self, attachment: Attachment) -> bool:
        return False

    def leaving(self, volume_id: str) -> AbstractContextManager[object]:
        return nullcontext()


@attrs.frozen
class _File:
    """A `Device` that is a file in memory, as long as it has to be, and zero where nothing was written."""

    file: Any
    size_bytes: int
    path: str = "/volume"
    what: str = "volume"
    look_at: str = DeviceStalled.look_at
    block_device: bool = False
    direct_io: bool = False
    can_clear: bool = False
    clear_bytes: int = CLEAR_BYTES
    guarantee: str | None = "memory"

    def readinto(self, offset: int, buffer: memoryview) -> int:
        self.file.seek(offset)
        return int(self.file.readinto(buffer))

    def write(self, offset: int, data: memoryview) -> int:
        try:
            self.file.seek(offset)
            self.file.write(data)
        except OSError as error:
            raise DeviceFailed(str(error)) from error
        return len(data)

    def clear(self, offset: int, length: int) -> bool:
        return False

    def distrust(self) -> None:
        """It clears nothing."""

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        yield offset, offset + length, True

    def flush(self) -> None:
        """It is in memory."""

    def leave_open(self) -> None:
        """Nothing else uses it."""


def get_cinder_session(options: Any) -> Any:
    return sessions.service_volumes(options).session


def _reset_cinder_session() -> None:
    """There is none that is shared."""


def _properties(*said: Any, host: str) -> dict[str, Any]:
    """Give what os-brick, or what a test put in its place, says of the host; a mock is no mapping."""
    properties = import_module("os_brick.initiator.connector").get_connector_properties(*said, host=host)
    return {"host": host, "properties": properties}


def _store_image(source: Any, **how: Any) -> Any:
    """Store an image; data that are a mock have a length only, and are a hole of it."""
    return store_image((Hole(len(piece)) if is_mock(piece) else piece for piece in source), **how)


def _hash(name: str) -> Any:
    """Give the hash that glance_store would; where a test replaced it, one that is fed nothing."""
    made = utils.get_hasher(name, False)
    return SimpleNamespace(update=lambda data: None, hexdigest=hashlib.new(name).hexdigest) if is_mock(made) else made


def _path(base: str | None, *rest: str) -> Path:
    """Give a path; the tests of one store have no `cinder_mount_point_base`, which no file can bring about."""
    return Path(base or "/", *rest)


class _Log:
    """The log, which the tests replace."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.modules[__name__].LOG, name)


_REPLACED: tuple[tuple[Any, str, Any], ...] = (
    (cinder_client, "can_be_id", lambda _: True),  # the tests have mocks and words for ids
    (service_user.__dict__["Session"], "get_project_id", lambda *_: _PROJECT),
    (attaching, "Path", _path),
    (brick, "get_connector_properties", _properties),
    (driver, "store_image", _store_image),
    (driver, "LOG", _Log()),
    (starting, "LOG", _Log()),
    (starting, "check_host", lambda *_, **__: ()),  # the machine of the tests need not be one for Glance
    (digests, "_hash", _hash),
    (reading, "PART_BYTES", 4096),  # what the tests set READ_CHUNKSIZE to
)
for _module, _name, _stand_in in _REPLACED:
    setattr(_module, _name, _stand_in)
package: Any = import_module("glance_store._drivers.cinder")
package.Store, package.store = Store, sys.modules[__name__]
sys.modules["glance_store._drivers.cinder.store"] = sys.modules[__name__]
