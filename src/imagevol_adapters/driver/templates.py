"""The templates of a backend, as volumes of Cinder's internal tenant ([template]).

A template is `creating` while a process makes it, and `available` once it holds its image.  Its metadata says which
image it is, and its admin metadata proves that a driver made it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import attrs
from cinder import context as cinder_context
from cinder import exception, objects, quota
from cinder.db import api as database
from cinder.objects import fields
from cinder.volume import api as volume_api

from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.driver.facts import volume_facts
from imagevol_adapters.processes import origin
from imagevol_adapters.tending.templates import MAKING
from imagevol_core import (
    FINISHED,
    TEMPLATE_KEY,
    Digest,
    Image,
    InUse,
    RequestRefused,
    TemplateMetadata,
    is_proven_template,
    template_name,
    template_proof,
)

__all__ = ["Templates", "image_of", "removable"]

_SOURCE = "imagevol_cloned_from"  # among the new volume's admin metadata, which users do not see
_DELETABLE = ("available", "error", "error_extending", "error_managing", "error_restoring")  # to Cinder's API
_COPIED = ("host", "cluster_name", "availability_zone", "service_uuid", "volume_type_id", "shared_targets")


@attrs.frozen
class Templates:
    """The templates where a volume will be.

    Args:
        target: a volume there; of its host, or of its cluster, are the templates.
    """

    target: Any

    @property
    def place(self) -> str:
        """Names the backend in a lock, and in a log."""
        return str(self.target.cluster_name or self.target.host)

    def lock_name(self, image_id: str) -> str:
        """Name the lock that excludes making and removing the template of an image."""
        return f"imagevol-template-{self.place}-{image_id}"

    def all(self) -> list[Any]:
        """Give all templates, the newest first; none without an internal tenant, whose they are."""
        if cinder_context.get_internal_tenant_context() is None:
            return []
        return sorted(self._all(), key=lambda volume: volume.created_at, reverse=True)

    def of(self, image_id: str) -> list[Any]:
        """Give the template of an image, and after it those that it superseded and that are still there."""
        named = self._all(metadata={TEMPLATE_KEY: image_id})  # without case, to MariaDB
        found = [volume for volume in named if image_of(volume) == image_id]
        return sorted(found, key=lambda volume: volume.created_at, reverse=True)

    def get(self, template_id: str | None) -> Any:
        """Give one template by its id; None if it is gone."""
        return next((volume for volume in self.all() if volume.id == template_id), None)

    def being_cloned(self) -> frozenset[str]:
        """Give the ids of the templates that a volume is being cloned from, by whatever process.

        A volume that a killed process was making counts until Cinder has set it to `error`, as it does when the service
        starts again.
        """
        admin = cinder_context.get_admin_context()
        being_made = objects.VolumeList.get_all(admin, filters={"status": ("creating", "downloading"), **self._where()})
        return frozenset(each.admin_metadata[_SOURCE] for each in being_made if _SOURCE in each.admin_metadata)

    def reserve(self, template: Any) -> None:
        """Say that the target is cloned from a template: then the template is not removed.

        It is said on the new volume, which one process alone writes, and where its user does not see it. It counts
        until that volume is no longer `creating`.
        """
        admin = cinder_context.get_admin_context()
        database.volume_admin_metadata_update(admin, self.target.id, {_SOURCE: template.id}, delete=False)

    def release(self) -> None:
        """Say that the target is cloned from no template."""
        database.volume_admin_metadata_delete(cinder_context.get_admin_context(), self.target.id, _SOURCE)

    def has(self, template: Any) -> bool:
        """Ask Cinder whether a template is still there: where not, a clone of it may be of something half deleted."""
        try:
            now = objects.Volume.get_by_id(cinder_context.get_admin_context(), template.id)
        except exception.VolumeNotFound:
            return False
        return now.status in ("available", "in-use")

    def create(self, image: Image, size_gib: int) -> Any:
        """Make the record of a template that is about to be made, within the quota of the internal tenant.

        Raises:
            RequestRefused: there is no internal tenant.
        """
        context = self._internal()
        wanted = {"volumes": 1, "gigabytes": size_gib}
        quota.QUOTAS.add_volume_type_opts(context, wanted, self.target.volume_type_id)
        reserved = quota.QUOTAS.reserve(context, **wanted)
        try:
            template = objects.Volume(
                context=context,
                **{name: getattr(self.target, name) for name in _COPIED},
                project_id=context.project_id,
                user_id=context.user_id,
                size=size_gib,
                status="creating",
                attach_status=fields.VolumeAttachStatus.DETACHED,
                display_name=template_name(image.id),
                metadata=TemplateMetadata(image_id=image.id).to_volume(origin("template", image.id).to_volume()),
                multiattach=False,
            )
            template.create()  # which gives it its id
            with undone_on_failure(f"the record of template {template.id}", template.destroy):
                _prove(template, image)
                template.save()
        except BaseException:
            quota.QUOTAS.rollback(context, reserved)
            raise
        quota.QUOTAS.commit(context, reserved, project_id=context.project_id)
        return template

    def publish(self, template: Any, image: Image, *, blake3: Digest | None = None) -> None:
        """Say that a template holds its image: from now on it is cloned.

        Args:
            template: the volume.
            image: what it holds.
            blake3: of the image's bytes.

        Raises:
            InUse: another process took it for abandoned, and is removing it.
        """
        written = TemplateMetadata(
            image_id=image.id,
            image_updated_at=image.updated_at,
            digest=image.digest,
            last_used=datetime.now(UTC),
            blake3=blake3,
        )
        template.metadata = written.to_volume({**template.metadata, **FINISHED})
        _prove(template, image)  # again: the driver may have replaced the admin metadata
        template.save()
        ready = {"status": "available", "launched_at": datetime.now(UTC).replace(tzinfo=None)}
        if not template.conditional_update(ready, {"status": MAKING}):
            raise InUse(f"template {template.id} is being removed: another process took it for abandoned")

    def touch(self, template: Any) -> None:
        """Say that it is being cloned."""
        self._note(template, last_used=datetime.now(UTC))

    def retire(self, template: Any) -> None:
        """Say that the storage allows no more clones of it."""
        self._note(template, exhausted=True)

    def stall(self, template: Any) -> None:
        """Say that a call of its device has not returned, so that it is not deleted while this process runs."""
        self._note(template, stalled=True)

    @staticmethod
    def _note(template: Any, **changes: Any) -> None:
        """Change these values and no other: several requests may write at once."""
        written = TemplateMetadata.from_volume(template.metadata)
        if written:
            noted = replace(written, **changes).to_volume().items() - template.metadata.items()
            admin = cinder_context.get_admin_context()
            database.volume_metadata_update(admin, template.id, dict(noted), delete=False)

    def remove(self, template: Any) -> None:
        """Let Cinder delete a template, in the background; its clones are not touched."""
        template.conditional_update({"status": "error"}, {"status": MAKING})  # which Cinder does not delete
        try:
            template.refresh()
        except exception.VolumeNotFound:
            return
        if template.status != "deleting":
            volume_api.API().delete(self._internal(), template)

    def _where(self) -> dict[str, Any]:
        cluster_name = self.target.cluster_name
        return {"cluster_name": cluster_name} if cluster_name else {"host": self.target.host}

    def _all(self, **filters: Any) -> Iterator[Any]:
        project_id = self._internal().project_id
        admin = cinder_context.get_admin_context()
        for volume in objects.VolumeList.get_all(admin, filters={"project_id": project_id, **self._where(), **filters}):
            if volume.status != "deleting" and is_proven_template(
                volume_facts(volume), admin_metadata=volume.admin_metadata
            ):
                yield volume

    @staticmethod
    def _internal() -> Any:
        context = cinder_context.get_internal_tenant_context()
        if context is None:
            raise RequestRefused(
                "templates need cinder_internal_tenant_project_id and cinder_internal_tenant_user_id: set them"
            )
        return context


def _prove(template: Any, image: Image) -> None:
    """Write what no user can write, and what counts for this volume alone."""
    proof = template_proof(volume_id=template.id, image_id=image.id)
    template.admin_metadata = {**template.admin_metadata, "readonly": "True", **proof}


def removable(volume: Any) -> bool:
    """Tell whether `Templates.remove` may succeed: not while something else is done to it."""
    return volume.status in (*_DELETABLE, *MAKING)


def image_of(volume: Any) -> str:
    """Give the id of the image that a template is of."""
    return str(volume.metadata[TEMPLATE_KEY])
