"""Connecting a volume to this host by os-brick, which opens each image of Ceph to be written.

To open an image to be written is itself a write to its pool, so it waits for as long as the pool is full.  An image
that will only be read is opened to be read only.  Then it can be read from a full pool, and no lock of it is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from os_brick.initiator.connector import InitiatorConnector

__all__ = ["connect"]


def connect(connector: InitiatorConnector, connection: dict[str, Any], *, writable: bool) -> Mapping[str, Any]:
    """Connect a volume.

    Args:
        connector: of the protocol.
        connection: what Cinder tells of the volume.
        writable: whether the volume will be written.

    Returns:
        What os-brick gives: the path of a device, or an open image of Ceph.

    Raises:
        Exception: whatever os-brick raises.
    """
    opened = None if writable else _opening_to_read(connector, connection)
    connected: Mapping[str, Any] = opened() if opened else connector.connect_volume(connection)
    return connected


def _opening_to_read(
    connector: InitiatorConnector, connection: dict[str, Any]
) -> Callable[[], Mapping[str, Any]] | None:
    """Give how os-brick opens an image of Ceph to be read, as its `extend_volume` does; None if it cannot."""
    if connection.get("driver_volume_type") != "rbd" or connection.get("do_local_attach"):
        return None
    opening = getattr(connector, "_get_rbd_handle", None)
    if opening is None or "read_only" not in signature(opening).parameters:
        return None
    return lambda: {"path": opening(connection, read_only=True)}
