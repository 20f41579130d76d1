"""The headers that a program sends with an upload ([base])."""

from __future__ import annotations

from imagevol_core.errors import InvalidFact, InvalidSize
from imagevol_core.verdicts import Policy, table_of

__all__ = ["upload_headers"]


def upload_headers(
    *, store: str | None, base_image_id: str | None, size_bytes: int | None, policy: Policy = Policy.STRICT
) -> dict[str, str]:
    """Give the headers of an upload to Glance ([base]).

    Both the store and the base image are sent where both are known: that the store then decides alone is the
    receiver's rule.

    Args:
        store: of the volume's type; None or empty leaves the choice to Glance.
        base_image_id: the image that the volume was created from; None or empty if it was not.
        size_bytes: how much is sent, in bytes; None if that is not known beforehand.
        policy: whose headers.  Under `UPSTREAM` the size is not sent, as Cinder 29.0.0 does not
            (`GlanceClientWrapper.call`), so that a cinder store takes the image for one of unknown length.

    Raises:
        InvalidFact: a value cannot stand in a header.
        InvalidSize: the size is negative.

    >>> upload_headers(store="fast", base_image_id=None, size_bytes=17)
    {'x-image-meta-store': 'fast', 'x-openstack-image-size': '17'}
    """
    if size_bytes is not None and size_bytes < 0:
        raise InvalidSize("size_bytes", size_bytes, "give a size of 0 or more, or None where it is not known")
    for name, value in (("store", store), ("base_image_id", base_image_id)):
        if value and not (value.isascii() and value.isprintable()):
            raise InvalidFact(name, f"{value!a} cannot stand in a header; give printable ASCII")
    values = {
        "x-image-meta-store": store,
        "x-openstack-base-image-ref": base_image_id,
        "x-openstack-image-size": None if size_bytes is None else str(size_bytes),
    }
    return {name: value for name, value in values.items() if value and name in table_of(_SENT, policy)}


_SENT = {
    Policy.STRICT: frozenset({"x-image-meta-store", "x-openstack-base-image-ref", "x-openstack-image-size"}),
    Policy.UPSTREAM: frozenset({"x-image-meta-store", "x-openstack-base-image-ref"}),
}
