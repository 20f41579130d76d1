"""Asks the code of the installed Cinder.

The database is a real one, so that filters and order are those of Cinder's own queries: SQLite in memory, which is told
to compare text as MariaDB does, or the MariaDB that the environment names.  The driver is not: it notes which volume it
is told to clone.
"""

from __future__ import annotations

import logging
import os
from copy import copy
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any
from unittest import mock

from tests.upstream.asking import serve

# By name: where types are checked there is no Cinder.
objects = import_module("cinder.objects")
objects.register_all()  # before the configuration is read
CONF = import_module("oslo_config.cfg").CONF
CONF([], project="cinder", default_config_files=[])
DATABASE = os.environ.get("IMAGEVOL_TESTS_DATABASE", "sqlite://")
CONF.set_override("connection", DATABASE, group="database")

create_volume = import_module("cinder.volume.flows.manager.create_volume")
volume_utils = import_module("cinder.volume.volume_utils")
DATABASE_CODE = "cinder.db" if find_spec("cinder.db.models") else "cinder.db.sqlalchemy"  # where Cinder 28 had it
database = import_module(f"{DATABASE_CODE}.api")
models = import_module(f"{DATABASE_CODE}.models")
CONTEXT = import_module("cinder.context").get_admin_context()

ENCRYPTION_KEY = "6a1e0c2b-7d5f-4c3e-9b8a-0f1d2e3c4b5a"


class Task(create_volume.CreateVolumeFromSpecTask):  # type: ignore[misc, name-defined]
    """Cinder's own, which says that it would copy instead of copying."""

    def __init__(self, *, clone_across_pools: bool) -> None:
        driver = SimpleNamespace(
            capabilities={"clone_across_pools": clone_across_pools},
            clone_image=lambda *_: (None, False),
            create_cloned_volume=lambda _, source: {"cloned": source.id},
        )
        super().__init__(manager=mock.Mock(), db=database, driver=driver)

    def _create_from_image_cache_or_download(self, *_: Any) -> Any:
        return {"cloned": None}

    def _handle_bootable_volume_glance_meta(self, *_: Any, **__: Any) -> None:
        """Nothing is made bootable."""


def extract(url: str) -> Any:
    """Give the volume ids that Cinder reads in a location."""
    return create_volume.CreateVolumeFromSpecTask._extract_cinder_ids([url])


def fits(image: dict[str, Any], size_gib: int) -> Any:
    """Check an image as the API does."""
    volume_utils.check_image_metadata(image, size_gib)
    return True


def clone(
    image: dict[str, Any],
    urls: list[str],
    target: dict[str, Any],
    volumes: list[dict[str, Any]],
    schemes: list[str],
    clone_across_pools: bool,
) -> Any:
    """Create a volume from an image: give the volume that Cinder clones, if any."""
    fits(image, target["size"])
    fill(volumes)
    CONF.set_override("allowed_direct_url_schemes", schemes)
    encrypted = target.pop("encrypted")
    new = objects.Volume(CONTEXT, encryption_key_id=ENCRYPTION_KEY if encrypted else None, **target)
    locations = (None, [{"url": url} for url in urls])
    task = Task(clone_across_pools=clone_across_pools)
    return task._create_from_image(CONTEXT, new, locations, image["id"], image, None)


def fill(volumes: list[dict[str, Any]]) -> None:
    """Let these be the volumes that Cinder knows."""
    metadata = [
        {"volume_id": volume["id"], "key": key, "value": value, "deleted": False}
        for volume in volumes
        for key, value in volume.pop("metadata").items()
    ]
    for volume in volumes:
        created_at = volume.pop("created_at")
        in_utc = datetime.fromisoformat(created_at).astimezone(UTC).replace(tzinfo=None) if created_at else None
        volume.update(created_at=in_utc, volume_type_id=ENCRYPTION_KEY, deleted=False)
    with database.get_engine().begin() as connection:
        for model, rows in ((models.Volume, volumes), (models.VolumeMetadata, metadata)):
            connection.execute(model.__table__.delete())
            if rows:
                connection.execute(model.__table__.insert(), rows)


def create_tables() -> None:
    """Make the database; SQLite is told to compare as Cinder has MariaDB compare.

    That is without case, except where Cinder looks for the host or cluster of a volume (`_filter_host`).
    """
    if not DATABASE.startswith("sqlite:"):
        models.BASE.metadata.create_all(database.get_engine())
        return
    compare_as_mariadb()
    models.BASE.metadata.create_all(database.get_engine())
    with database.get_engine().begin() as only_connection:
        only_connection.exec_driver_sql("PRAGMA case_sensitive_like = ON")


def compare_as_mariadb() -> None:
    """Let SQLite's columns ignore case; before they are made."""
    exact = {models.Volume.__table__.columns[name] for name in ("host", "cluster_name")}
    for column in (column for table in models.BASE.metadata.sorted_tables for column in table.columns):
        if hasattr(column.type, "collation"):
            column.type = copy(column.type)
            column.type.collation = None if column in exact else "NOCASE"


if __name__ == "__main__":
    logging.disable()
    create_tables()
    serve({"extract": extract, "fits": fits, "clone": clone})
