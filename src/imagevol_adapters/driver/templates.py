"""The templates of a backend, as volumes of Cinder's internal tenant ([template]).

A template is `creating` as long as somebody makes it, and `available` once it holds its image.  Its metadata say which
image it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import attrs
from cinder import context as cinder_context
from cinder import objects, quota
from cinder.objects import fields
from cinder.volume import api as volume_api

from imagevol_adapters.driver.facts import volume_facts
from imagevol_adapters.templates import MAKING, template_of
from imagevol_core import TEMPLATE_KEY, Image, RequestRefused, Template, TemplateMetadata, is_template

__all__ = ["Templates", "removable", "template_facts"]

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

    def of(self, image_id: str) -> list[Any]:
        """Give the template of an image, and behind it those that it superseded and nobody has removed."""
        found = [volume for volume in self._all() if volume.metadata[TEMPLATE_KEY] == image_id]
        return sorted(found, key=lambda volume: volume.created_at, reverse=True)

    def others(self, image_id: str) -> dict[str, Any]:
        """Give the templates of all other images, by their ids."""
        return {volume.id: volume for volume in self._all() if volume.metadata[TEMPLATE_KEY] != image_id}

    def create(self, image: Image, size_gib: int) -> Any:
        """Make the record of a template that somebody is about to make, within the internal tenant's quota.

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
                display_name=f"template-{image.id}",
                metadata=TemplateMetadata(image_id=image.id).to_volume(),
                admin_metadata={"readonly": "True"},
                multiattach=False,
            )
            template.create()
        except BaseException:
            quota.QUOTAS.rollback(context, reserved)
            raise
        quota.QUOTAS.commit(context, reserved, project_id=context.project_id)
        return template

    def publish(self, template: Any, image: Image) -> None:
        """Say that a template holds its image: from now on it is cloned."""
        written = TemplateMetadata(
            image_id=image.id, image_updated_at=image.updated_at, digest=image.digest, last_used=datetime.now(UTC)
        )
        template.metadata = written.to_volume(template.metadata)
        template.status = "available"
        template.launched_at = datetime.now(UTC).replace(tzinfo=None)
        template.save()

    def touch(self, template: Any) -> None:
        """Say that it is being cloned."""
        written = TemplateMetadata.from_volume(template.metadata)
        if written:
            template.metadata = replace(written, last_used=datetime.now(UTC)).to_volume(template.metadata)
            template.save()

    def remove(self, template: Any) -> None:
        """Let Cinder delete a template, in the background; its clones are not touched."""
        template.refresh()
        if template.status in MAKING:  # which Cinder does not delete
            template.status = "error"
            template.save()
        volume_api.API().delete(self._internal(), template)

    def _all(self) -> Iterator[Any]:
        place = {"cluster_name": self.target.cluster_name} if self.target.cluster_name else {"host": self.target.host}
        project_id = self._internal().project_id
        admin = cinder_context.get_admin_context()
        for volume in objects.VolumeList.get_all(admin, filters={"project_id": project_id, **place}):
            if volume.status != "deleting" and is_template(volume_facts(volume)):
                yield volume

    @staticmethod
    def _internal() -> Any:
        context = cinder_context.get_internal_tenant_context()
        if context is None:
            raise RequestRefused(
                "templates need cinder_internal_tenant_project_id and cinder_internal_tenant_user_id: set them"
            )
        return context


def removable(volume: Any) -> bool:
    """Tell whether `Templates.remove` may succeed: not while somebody else does something to it, as an operator may."""
    return volume.status in ("available", "error", *MAKING)


def template_facts(volume: Any, *, now: datetime) -> Template:
    """Give what is known of a template by one who holds its lock: then whoever was making it makes it no more."""
    found = template_of(volume_facts(volume), now=now)
    return found if found.being_made_for is None else replace(found, maker_alive=False)
