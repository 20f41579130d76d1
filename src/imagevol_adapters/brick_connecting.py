"""Connecting a volume to this host by os-brick, which opens each image of Ceph to be written.

To open an image to be written is itself a write to its pool, so it waits for as long as the pool is full.  An image
that will only be read is opened to be read only.  Then it can be read from a full pool, and no lock of it is taken.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from os_brick.initiator.connector import InitiatorConnector

__all__ = ["connect", "size_of"]


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


def size_of(path: Any) -> int:
    """Give how many bytes what os-brick gave has by now.

    A path is opened anew, or NFS tells what it knew before.
    """
    if not isinstance(path, str):
        return int(path.rbd_image.size())
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.lseek(fd, 0, os.SEEK_END)
    finally:
        os.close(fd)
