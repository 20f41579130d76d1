"""A client of Cinder's, and its errors and volumes as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from cinderclient import client as cinder_client
from cinderclient import exceptions as cinder_errors
from cinderclient.v3.client import Client
from keystoneauth1.session import Session

from imagevol_adapters.ids import can_be_id
from imagevol_adapters.keystone import KEYSTONE
from imagevol_adapters.translation import Table, translated
from imagevol_core import (
    AccessDenied,
    ImagevolError,
    InUse,
    OverQuota,
    RequestRefused,
    ResourceNotFound,
    ServiceFailed,
    ServiceUnreachable,
    Volume,
)

__all__ = ["CONFLICTS", "ERRORS", "connect", "newest_message", "said_as_ours", "volume_facts"]

_SERVICE = "block-storage"
# 3.54 attaches read-only, and is the least that does what is needed; 3.61 tells the cluster of a volume.
_LEAST = "3.54"
_WANTED = ("3.61", "3.54")

ERRORS: Table = (
    (cinder_errors.Unauthorized, AccessDenied, "check the credentials"),
    (cinder_errors.Forbidden, AccessDenied, "use credentials that may do this"),
    (cinder_errors.OverLimit, OverQuota, "free some space, or ask for a larger quota"),
    (cinder_errors.BadRequest, RequestRefused, ""),
    (cinder_errors.NotFound, RequestRefused, ""),
    (cinder_errors.ClientException, ServiceFailed, "see the log of cinder-api"),
    (cinder_errors.EndpointNotFound, ServiceUnreachable, "check region and interface, and the service catalogue"),
    (cinder_errors.ConnectionError, ServiceUnreachable, "check that the service runs"),
    *KEYSTONE,
)
"""What each of cinderclient's errors is here.

:meta hide-value:
"""

CONFLICTS: Table = ((cinder_errors.BadRequest, InUse, ""), *ERRORS)
"""The same, of a request that Cinder refuses only if something else has the volume.

:meta hide-value:
"""

_WITH_IDS = ("volume", "attachment")


def connect(
    session: Session,
    *,
    interface: str = "public",
    region_name: str | None = None,
    endpoint_override: str | None = None,
) -> Client:
    """Give a client with the highest of the wanted versions that Cinder has.

    Args:
        session: who asks.
        interface: which of the endpoints.
        region_name: which region's Cinder.
        endpoint_override: where it is, whatever the service catalogue says.

    Raises:
        ServiceFailed: Cinder is too old.
        ServiceError: it cannot be asked.
    """
    where: dict[str, Any] = {
        "service_type": _SERVICE,
        "interface": interface,
        "region_name": region_name,
        "endpoint_override": endpoint_override,
    }
    with translated(KEYSTONE, doing="Cinder"):
        highest = _highest_version(session, where)
    version = next((version for version in _WANTED if highest and highest >= _version(version)), None)
    if version is None:
        raise ServiceFailed(f"Cinder: it speaks API {_text(highest)} at most, and {_LEAST} is the least that is needed")
    with translated(ERRORS, doing="Cinder"):
        return cinder_client.Client(version, session=session, **where)


def _highest_version(session: Session, where: dict[str, Any]) -> tuple[float, ...] | None:
    """What Cinder tells, or why it tells nothing."""
    endpoint = session.get_endpoint_data(**where, min_version="3")
    if endpoint and endpoint.max_microversion:
        return endpoint.max_microversion
    catalogued = {key: value for key, value in where.items() if key != "endpoint_override"}
    url = where["endpoint_override"] or session.get_endpoint(**catalogued)
    if url is None:
        raise ServiceUnreachable("Cinder: the service catalogue has no block-storage endpoint for this region")
    session.get(url)  # the lookup passes over what is wrong there, and this raises it
    return None


def _text(version: tuple[float, ...] | None) -> str:
    return ".".join(map(str, version)) if version else "3.0"


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


@contextmanager
def said_as_ours(doing: str, missing: tuple[str, str] | None = None, table: Table = ERRORS) -> Iterator[None]:
    """Let cinderclient's errors be ours.

    Args:
        doing: what was asked for.
        missing: what does not exist when Cinder answers 404: its kind, and its name.
        table: what becomes of each error.

    Raises:
        ServiceError: what the table says.
        ResourceNotFound: what `missing` says; before anything is asked, if it is of a kind with ids and has none.
    """
    if missing and missing[0] in _WITH_IDS and not can_be_id(missing[1]):
        raise ResourceNotFound(*missing)
    try:
        with translated(table, doing=f"Cinder, {doing}"):
            yield
    except RequestRefused as error:
        if missing and isinstance(error.__cause__, cinder_errors.NotFound):
            raise ResourceNotFound(*missing) from error.__cause__
        raise


def newest_message(client: Client, volume_id: str) -> str | None:
    """Give the newest thing that Cinder says to users of a volume; None if it says nothing."""
    with suppress(ImagevolError), said_as_ours(f"messages of volume {volume_id}"):
        messages = client.messages.list(search_opts={"resource_uuid": volume_id})
        newest = max(messages, key=lambda message: str(message.created_at), default=None)
        return newest.user_message if newest else None
    return None


def volume_facts(volume: Any) -> Volume:
    """Give what cinderclient's volume says, as facts; what only an administrator sees is None for others."""
    shown = volume.to_dict()
    metadata = {key: str(value) for key, value in shown["metadata"].items()}
    readonly = metadata.pop("readonly", None)  # Cinder merges its own mark into the user's metadata
    return Volume(
        id=shown["id"],
        name=shown.get("name"),
        project_id=shown.get("os-vol-tenant-attr:tenant_id"),
        host=shown.get("os-vol-host-attr:host"),
        cluster_name=shown.get("cluster_name"),
        size_gib=shown["size"],
        status=shown["status"],
        volume_type=shown.get("volume_type"),
        encrypted=shown.get("encrypted"),
        migration_status=shown.get("os-vol-mig-status-attr:migstat"),
        readonly=str(readonly).lower() == "true",
        multiattach=shown.get("multiattach"),
        source_volume_id=shown.get("source_volid"),
        metadata=metadata,
        created_at=_instant(shown.get("created_at")),
        updated_at=_instant(shown.get("updated_at")),
    )


def _instant(text: str | None) -> datetime | None:
    """Cinder writes UTC and leaves the zone out."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None
