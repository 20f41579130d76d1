"""Disconnecting a volume from this host by os-brick, and what os-brick leaves undone.

It does not close an image of Ceph that it cannot flush.

It finds a volume of NVMe-oF by the path of its device alone.  If it is given none, as for what a dead process left, or
if the kernel has removed the device, it does nothing and reports no error.  Then the controller would stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from os_brick.initiator.connector import InitiatorConnector

from imagevol_adapters.devices.ceph import closed_anyway

__all__ = ["disconnect_by_force"]


def disconnect_by_force(
    connector: InitiatorConnector,
    connection: Mapping[str, Any],
    device: Mapping[str, Any] | None = None,
    *,
    ignore_errors: bool = False,
) -> None:
    """Disconnect a volume, also if its device cannot be flushed.

    Once the attachment is gone, a device that is left can come to hold another tenant's volume.

    Args:
        connector: of the protocol.
        connection: what Cinder tells of the volume.
        device: what os-brick gave when it connected the volume; None if another process connected it.
        ignore_errors: whether an error of os-brick is only logged.

    Raises:
        Exception: whatever os-brick raises.
    """
    options = {"force": True, **({"ignore_errors": True} if ignore_errors else {})}  # few connectors know the second
    if not str(connection.get("driver_volume_type")).lower().startswith("nvme"):
        with closed_anyway((device or {}).get("path")):
            connector.disconnect_volume(connection, device or {}, **options)
        return
    from os_brick.initiator.connectors.nvmeof import NVMeOFConnector, NVMeOFConnProps  # noqa: PLC0415 - of these only

    def found() -> NVMeOFConnProps:
        return NVMeOFConnProps(dict(connection), find_controllers=True)  # a copy: it changes what it is given

    if not device:
        device = {"path": next(iter(found().get_devices()), None)}
    connector.disconnect_volume(connection, device, **options)
    if isinstance(connector, NVMeOFConnector):  # controllers that have no volume any more, or only this one
        connector._try_disconnect_all(found())
