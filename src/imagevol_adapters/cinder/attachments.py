"""The attachments of a volume, as Cinder lists them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from imagevol_adapters.attaching_records import AttachingRecords
from imagevol_adapters.cinder.client import said_as_ours, volume_facts
from imagevol_adapters.ports import Attachment
from imagevol_core import AttachmentFacts
from imagevol_core.remains import reserver_of

if TYPE_CHECKING:
    import cinderclient.v3.client

__all__ = ["holders_of", "is_on_host", "reservations_of"]


def reservations_of(client: cinderclient.v3.client.Client, volume_id: str) -> tuple[Attachment, ...]:
    """Give the attachments of a volume that reserve it without a host.

    Args:
        client: of Cinder.
        volume_id: which volume.
    """
    with said_as_ours(f"attachments of volume {volume_id}"):
        return tuple(
            Attachment(id=each.id, volume_id=volume_id, connection={})
            for each in _listed(client, volume_id)
            if each.status == "reserved" and each.instance is None
        )


def holders_of(
    client: cinderclient.v3.client.Client, volume_id: str, *, records: AttachingRecords
) -> tuple[AttachmentFacts, ...]:
    """Give what is known of each attachment of a volume; where it is, Cinder tells with the volume only.

    Args:
        client: of Cinder.
        volume_id: which volume.
        records: tell the process of an attachment that is not complete, if it is one of this host.
    """
    with said_as_ours(f"attachments of volume {volume_id}", ("volume", volume_id)):
        volume = client.volumes.get(volume_id)
        shown = volume.to_dict()["attachments"]
        places = {each["attachment_id"]: (each.get("host_name"), each.get("device")) for each in shown}
        listed = _listed(client, volume_id)
        tries = records.tries(
            volume_id
        )  # before what is known by the id, which a process writes before it forgets this
        found = tuple(
            AttachmentFacts(
                id=each.id,
                status=each.status,
                instance_id=each.instance,
                host=host,
                device=device or records.read(each.id),
                volume_id=volume_id,
            )
            for each in listed
            for host, device in [places.get(each.id, (None, None))]
        )
        reserved = reserver_of(volume_facts(volume), found, tries) if tries else None
        if reserved is None:
            return found
        attachment, by = reserved
        return tuple(replace(each, device=by.device) if each is attachment else each for each in found)


def is_on_host(client: cinderclient.v3.client.Client, attachment: Attachment, *, host: str) -> bool:
    """Tell whether the volume of an attachment has another one to that host.

    Args:
        client: of Cinder.
        attachment: which one.
        host: its name, as connectors have it.
    """
    with said_as_ours(f"volume {attachment.volume_id}", ("volume", attachment.volume_id)):
        shown = client.volumes.get(attachment.volume_id).to_dict()
        others = [each for each in shown["attachments"] if each.get("attachment_id") != attachment.id]
        return any(other.get("host_name") == host for other in others)


def _listed(client: cinderclient.v3.client.Client, volume_id: str) -> list[Any]:
    """What Cinder lists; it may not know of the filter."""
    filters = {"all_tenants": 1, "volume_id": volume_id}
    listed = client.attachments.list(detailed=True, search_opts=filters)
    return [each for each in listed if each.volume_id == volume_id]
