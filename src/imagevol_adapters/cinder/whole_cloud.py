"""All volumes and attachments of a Cinder, as an administrator sees them, a page at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import attrs
from cinderclient.v3.client import Client

from imagevol_adapters.cinder.client import connect, said_as_ours, volume_facts
from imagevol_adapters.cinder.volume_pages import attachment_pages, listed_volumes, volume_pages
from imagevol_adapters.cinder.volumes import CinderVolumes
from imagevol_core import AttachmentFacts, ResourceNotFound, Volume, recorded_image

__all__ = ["WholeCinder"]

_ALL = {"all_tenants": 1}


@attrs.define
class WholeCinder:
    """Everything that a Cinder has: an `AuditedVolumes`.  Nothing that is given is kept.

    Args:
        volumes: the same Cinder, with credentials of an administrator.
    """

    volumes: CinderVolumes
    _client: Client | None = attrs.field(default=None, init=False, repr=False)

    @property
    def sees_all(self) -> bool:
        """Whether Cinder shows these credentials the volumes of all projects, which needs a volume to be shown."""
        with said_as_ours("the list of volumes"):
            first = self._cinder().volumes.list(search_opts=dict(_ALL), limit=1)
            return bool(first) and all("os-vol-tenant-attr:tenant_id" in shown.to_dict() for shown in first)

    def all_volumes(self) -> Iterator[Volume]:
        """Give every volume; one that comes again is given again."""
        with said_as_ours("the list of volumes"):
            for page in volume_pages(self._cinder(), _ALL):
                yield from map(volume_facts, page)

    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        """Give those of the volumes that exist, in the order asked."""
        return self.volumes.find(volume_ids)

    def recording(self, image_id: str) -> tuple[Volume, ...]:
        """Give the volumes of all projects that say that they hold an image, whichever driver wrote them."""
        found: dict[str, Volume] = {}
        with said_as_ours("the list of volumes"):
            for key in ("glance_image_id", "image_id"):
                for shown in listed_volumes(self._cinder(), {**_ALL, "metadata": {key: image_id}}):
                    found[shown.id] = volume_facts(shown)
        return tuple(volume for volume in found.values() if recorded_image(volume) == image_id)

    def all_attachments(self) -> Iterator[AttachmentFacts]:
        """Give every attachment, without host and device; one that comes again is given again."""
        with said_as_ours("the list of attachments"):
            for page in attachment_pages(self._cinder()):
                for shown in page:
                    yield AttachmentFacts(
                        id=shown.id, status=shown.status, instance_id=shown.instance, volume_id=shown.volume_id
                    )

    def attachment_now(self, attachment_id: str) -> tuple[AttachmentFacts, datetime | None] | None:
        """Give what is known of an attachment, and when it was made, at the latest; None if it is gone.

        Cinder does not tell when an attachment was made that is not complete.  The volume has not changed since.
        """
        with suppress(ResourceNotFound), said_as_ours(f"attachment {attachment_id}", ("attachment", attachment_id)):
            shown = self._cinder().attachments.show(attachment_id)
            facts = AttachmentFacts(
                id=attachment_id, status=shown.status, instance_id=shown.instance, volume_id=shown.volume_id
            )
            volume = self._shown_volume(shown.volume_id)
            made = _instant(shown.attached_at) or _instant(volume.get("updated_at"))
            for holder in self.volumes.holders(shown.volume_id) if volume else ():
                if holder.id == attachment_id:
                    facts = holder
            return facts, made
        return None

    def _shown_volume(self, volume_id: str) -> dict[str, Any]:
        with suppress(ResourceNotFound), said_as_ours(f"volume {volume_id}", ("volume", volume_id)):
            shown: dict[str, Any] = self._cinder().volumes.get(volume_id).to_dict()
            return shown
        return {}

    def _cinder(self) -> Client:
        if self._client is None:
            known = self.volumes
            self._client = connect(
                known.session,
                interface=known.interface,
                region_name=known.region_name,
                endpoint_override=known.endpoint_override,
            )
        return self._client


def _instant(text: str | None) -> datetime | None:
    """Cinder writes UTC, with the zone or without."""
    if not text:
        return None
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
