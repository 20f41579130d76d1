"""A Cinder without its services: its database, configuration and locks are this process's, and its code is Cinder's.

Only what another service would do is done here: the images are in memory, and a volume that Cinder is told to delete is
deleted at once.  Cinder's configuration is one object for the whole process, so that no other service's code can be in
it.
"""

from __future__ import annotations

import configparser
import functools
import hashlib
import os
import sysconfig
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import os_brick
from cinder import context as cinder_context
from cinder import coordination, objects, rpc, version
from cinder.common import config as _registers_options  # noqa: F401
from cinder.db import api as database
from cinder.db import migration
from cinder.objects import fields
from oslo_config import cfg
from oslo_db.sqlalchemy import engines
from oslo_privsep import priv_context
from sqlalchemy import event

__all__ = ["INTERNAL", "SECTION", "SERVICE", "USER", "OfflineCinder", "OfflineImages"]

SECTION = "conformance"
"""The backend's section."""

USER, SERVICE, INTERNAL = "user-project", "service-project", "internal-project"
"""Who asks for volumes; where Glance's stores keep their volumes; Cinder's internal tenant."""


@attrs.define
class OfflineImages:
    """Glance's images, as Cinder hands them to a driver.

    Attributes:
        data: of each image, by its id; what is an error is raised after the first piece.
        downloads: the ids of the images whose data was asked for, in order.
        readers: the projects, other than the owner, that are given the data of an image, by its id.
    """

    data: dict[str, Any] = attrs.field(factory=dict)
    downloads: list[str] = attrs.field(factory=list)
    readers: dict[str, frozenset[str]] = attrs.field(factory=dict)

    def add(self, data: bytes, **wishes: Any) -> dict[str, Any]:
        """Give what Cinder knows of a new image: raw, of the user's, and with a multihash.

        Args:
            data: all of it.
            wishes: other values of these keys.
        """
        image_id = str(uuid.uuid4())
        self.data[image_id] = data
        return {
            "id": image_id,
            "name": "conformance",
            "status": "active",
            "owner": USER,
            "visibility": "private",
            "disk_format": "raw",
            "container_format": "bare",
            "size": len(data),
            "virtual_size": len(data),
            "min_disk": 0,
            "min_ram": 0,
            "updated_at": datetime.now(UTC),
            "os_hash_algo": "sha512",
            "os_hash_value": hashlib.sha512(data).hexdigest(),
            "properties": {},
            **wishes,
        }

    def gives_data(self, context: Any, image_id: str) -> bool:
        """Tell whether the requester of a context is given an image's data."""
        return bool(context.auth_token) and context.project_id in self.readers.get(image_id, ())

    def download(self, context: Any, image_id: str, data: Any = None) -> Iterator[bytes]:  # noqa: ARG002 - Cinder's
        """Give an image's data piece by piece, as Cinder's own does."""
        assert data is None, "the data must be asked for as a stream"  # noqa: S101
        self.downloads.append(image_id)
        return self._pieces(self.data[image_id])

    def range_of(self, context: Any, image_id: str, offset: int) -> Iterator[bytes]:  # noqa: ARG002 - as Glance's
        """Give an image's data from an offset on."""
        whole = self.data[image_id]
        return self._pieces(whole if isinstance(whole, Exception) else whole[offset:])

    @staticmethod
    def _pieces(whole: bytes | Exception) -> Iterator[bytes]:
        if isinstance(whole, Exception):
            yield bytes(65536)
            raise whole
        for at in range(0, len(whole), 65536):
            yield whole[at : at + 65536]


@attrs.frozen(kw_only=True)
class OfflineCinder:
    """What Cinder knows, for as long as the context of `running` lasts.

    Attributes:
        host: of the backend, with its pool.
    """

    host: str
    _undo: ExitStack

    @classmethod
    @contextmanager
    def running(cls, directory: Path, *, options: Mapping[str, Any], pool: str) -> Iterator[OfflineCinder]:
        """Let Cinder's code work while the context lasts.

        Args:
            directory: is empty, and for it alone.
            options: of the backend's section.
            pool: of the backend, where the volumes are.
        """
        objects.register_all()
        file, url = directory / "cinder.sqlite", f"sqlite:///{directory}/cinder.sqlite"
        cfg.CONF(
            ["--config-file", str(_configure(directory, url, options))], "cinder", version=version.version_string()
        )
        file.write_bytes(_schema())
        _let_brick_connect()
        engine = engines.create_engine(url)
        event.listen(engine, "begin", _begin, insert=True)
        with ExitStack() as undo:
            undo.callback(cfg.CONF.clear)
            undo.callback(engine.dispose)
            undo.callback(database.main_context_manager.patch_engine(engine))
            rpc.init(cfg.CONF)
            undo.callback(rpc.cleanup)
            coordination.COORDINATOR.start()
            undo.callback(coordination.COORDINATOR.stop)
            yield cls(host=f"conformance@{SECTION}#{pool}", undo=undo)

    @property
    def admin(self) -> Any:
        """A context of an administrator."""
        return cinder_context.get_admin_context()

    def requester(self, project_id: str) -> Any:
        """A context of a request of a project's, as a driver is given it: with the user's token, and elevated."""
        return cinder_context.RequestContext("user", project_id, auth_token="a user's", is_admin=True)  # noqa: S106

    def set(self, name: str, value: Any, *, section: str | None = SECTION) -> None:
        """Set an option for the rest of the test.

        Args:
            name: of the option.
            value: its value.
            section: the backend's; None for Cinder's own.
        """
        cfg.CONF.set_override(name, value, group=section)
        self._undo.callback(cfg.CONF.clear_override, name, group=section)

    def volume(self, *, size_gib: int = 1, metadata: Mapping[str, str] | None = None, **wishes: Any) -> Any:
        """Make the record of a volume that Cinder is about to create; the storage knows nothing of it.

        Args:
            size_gib: its size.
            metadata: a user's.
            wishes: other fields of Cinder's object.
        """
        volume = objects.Volume(
            context=self.admin,
            **{
                "project_id": USER,
                "user_id": "user",
                "host": self.host,
                "size": size_gib,
                "status": "creating",
                "attach_status": fields.VolumeAttachStatus.DETACHED,
                "availability_zone": "nova",
                "metadata": dict(metadata or {}),
                "multiattach": False,
                **wishes,
            },
        )
        volume.create()
        return volume

    def volumes(self) -> dict[str, Any]:
        """Give all volumes that Cinder knows, by their ids."""
        return {volume.id: volume for volume in objects.VolumeList.get_all(self.admin)}

    def again(self, volume: Any) -> Any:
        """Give what Cinder knows of a volume by now."""
        return objects.Volume.get_by_id(self.admin, volume.id)


def _configure(directory: Path, url: str, options: Mapping[str, Any]) -> Path:
    """Write Cinder's configuration."""
    written = configparser.RawConfigParser(default_section="")
    written.read_dict(
        {
            "DEFAULT": {
                "state_path": directory,
                "image_conversion_dir": directory,
                "transport_url": "fake://",
                "cinder_internal_tenant_project_id": INTERNAL,
                "cinder_internal_tenant_user_id": "cinder",
                "quota_volumes": -1,
                "quota_gigabytes": -1,
            },
            "database": {"connection": url},
            "coordination": {"backend_url": f"file://{directory}"},
            "oslo_concurrency": {"lock_path": directory},
            SECTION: options,
        }
    )
    file = directory / "cinder.conf"
    with file.open("w") as text:
        written.write(text)
    return file


def _let_brick_connect() -> None:
    """Do for os-brick what cinder-volume does when it starts; a process of root needs neither sudo nor rootwrap."""
    if os.geteuid() == 0:
        scripts = sysconfig.get_path("scripts")  # where privsep-helper is, also if the environment is not activated
        priv_context.init(root_helper=["env", f"PATH={scripts}{os.pathsep}{os.environ.get('PATH', os.defpath)}"])
    os_brick.setup(cfg.CONF)


def _begin(connection: Any) -> None:
    """Begin as a writer: of two that read before they write, SQLite fails one and lets it not wait."""
    if "in_transaction" not in connection.info:  # by which oslo.db knows, which otherwise begins as a reader
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.info["in_transaction"] = True


@functools.cache
def _schema() -> bytes:
    """Give a database without volumes, made once a process, as `cinder-manage db sync` makes it."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "cinder.sqlite")
        engine = engines.create_engine(f"sqlite:///{file}")
        migration.db_sync(engine=engine)
        engine.dispose()
        return file.read_bytes()
