"""What Glance and glanceclient raise, as our errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from glanceclient import exc as glance_errors
from keystoneauth1 import exceptions as keystone_errors

from imagevol_adapters.ids import can_be_id
from imagevol_adapters.keystone import KEYSTONE
from imagevol_adapters.translation import Table, translated
from imagevol_core import AccessDenied, OverQuota, RequestRefused, ResourceNotFound, ServiceFailed, ServiceUnreachable

__all__ = ["ERRORS", "MISSING", "asked"]

MISSING = (glance_errors.NotFound, keystone_errors.NotFound)
ERRORS: Table = (
    (glance_errors.Unauthorized, AccessDenied, "check the credentials"),
    (glance_errors.Forbidden, AccessDenied, "use credentials that may do this"),
    (glance_errors.OverLimit, OverQuota, "free some space, or ask for a larger quota"),
    (glance_errors.BadRequest, RequestRefused, ""),
    (glance_errors.Conflict, RequestRefused, ""),
    (glance_errors.NotFound, RequestRefused, ""),
    (glance_errors.CommunicationError, ServiceUnreachable, "check that the service runs"),
    (glance_errors.InvalidEndpoint, ServiceUnreachable, "check that the service runs"),
    (glance_errors.EndpointNotFound, ServiceUnreachable, "check region and interface, and the service catalogue"),
    (glance_errors.HTTPException, ServiceFailed, "see the log of glance-api"),
    (keystone_errors.NotFound, RequestRefused, ""),
    (keystone_errors.BadRequest, RequestRefused, ""),
    *KEYSTONE,
)


@contextmanager
def asked(doing: str, image_id: str | None = None, table: Table = ERRORS) -> Iterator[None]:
    """Ours for glanceclient's errors; `image_id` is what does not exist when Glance answers 404, or cannot be an id."""
    if image_id is not None and not can_be_id(image_id):
        raise ResourceNotFound("image", image_id)
    try:
        with translated(table, doing=f"Glance, {doing}"):
            yield
    except RequestRefused as error:
        if image_id and isinstance(error.__cause__, MISSING):
            raise ResourceNotFound("image", image_id) from error.__cause__
        raise
