"""As much of cinder-volume as clones a volume for itself; imported when Cinder's objects are registered."""

from __future__ import annotations

from typing import Any

from cinder import context as cinder_context
from cinder import objects
from cinder.db import api as db_api
from cinder.objects import fields
from cinder.volume import manager


class Manager(manager.VolumeManager):
    """Clones by a driver, as the image cache and an upload with the internal tenant do."""

    def __init__(self, driver: Any) -> None:
        self.driver, self.db = driver, db_api

    def create_volume(self, _context: Any, volume: Any, **_: Any) -> None:
        source = objects.Volume.get_by_id(cinder_context.get_admin_context(), volume.source_volid)
        volume.update(self.driver.create_cloned_volume(volume, source) or {})
        volume.update({"status": "available"})
        volume.save()


def migrated_record(admin: Any, volume: Any) -> Any:
    """Make the record of a migration's destination on the same host, of what Cinder copies."""
    left_out = {"host", "cluster_name", "availability_zone", "snapshot_id", "source_volid"}
    left_out |= manager.VolumeManager._VOLUME_CLONE_SKIP_PROPERTIES  # type: ignore[attr-defined]
    copied = set(volume.keys()) - left_out
    record = objects.Volume(
        context=admin,
        host=volume.host,
        cluster_name=None,
        availability_zone=volume.availability_zone,
        status="creating",
        attach_status=fields.VolumeAttachStatus.DETACHED,
        migration_status=f"target:{volume.id}",
        use_quota=False,
        **{key: volume[key] for key in copied},
    )
    record.create()
    return record
