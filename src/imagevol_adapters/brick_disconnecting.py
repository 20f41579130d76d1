"""Disconnecting a volume from this host by os-brick, and what os-brick leaves undone.

It does not close an image of Ceph that it cannot flush.

It finds a volume of NVMe-oF by the path of its device alone.  If it is given none, as for what a dead process left, or
if the kernel has removed the device, it does nothing and reports no error.  Then the controller would stay.

Its error does not say whether the device is gone: it goes on after a flush that failed, and also reports a device that
it could not remove.  If it cannot ask which iSCSI sessions there are, because `iscsiadm` fails or is missing, it takes
that for no session, and reports no error.

If it cannot remove the multipath map of a volume, it goes on by force and removes the disks.  Then nothing tells any
more whose the map is, and it stays without paths.  So the map is removed here first, and if it cannot be removed,
nothing is disconnected: the disks still name it when it is tried again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from os_brick.exception import BrickException
from os_brick.initiator.connector import InitiatorConnector

from imagevol_adapters.devices.ceph import closed_anyway
from imagevol_adapters.devices.multipath import maps_over
from imagevol_adapters.error_text import one_line

__all__ = ["disconnect_by_force"]


def disconnect_by_force(
    connector: InitiatorConnector,
    connection: Mapping[str, Any],
    device: Mapping[str, Any] | None = None,
    *,
    still_connected: Callable[[], object] = lambda: None,
) -> None:
    """Disconnect a volume, also if its device cannot be flushed.

    Args:
        connector: of the protocol.
        connection: what Cinder tells of the volume.
        device: what os-brick gave when it connected the volume; None if another process connected it.
        still_connected: called before an error is raised, unless this host certainly has no device of the volume any
            more.  Then Cinder must keep the attachment: a device that is left can come to hold another tenant's volume.

    Raises:
        Exception: whatever os-brick raises.
    """
    path = (device or {}).get("path")
    before = None if _is_nvme(connector, connection) else _identity(path)
    try:
        if _is_nvme(connector, connection):
            _disconnect_nvme(connector, connection, device)
        else:
            with closed_anyway(path):
                _remove_maps(connector, connection, path)
                connector.disconnect_volume(connection, device or {}, force=True)
            if left := _disks(connector, connection):
                raise BrickException(f"this host still has {', '.join(left)}; look at iscsiadm and at the kernel's log")
    except Exception:
        if _has_device(connector, connection) or (before is not None and _identity(path) == before):
            still_connected()
        raise


def _disconnect_nvme(connector: Any, connection: Mapping[str, Any], device: Mapping[str, Any] | None) -> None:
    if not device:
        device = {"path": next(iter(_nvme_properties(connection).get_devices()), None)}
    try:
        connector.disconnect_volume(connection, device, force=True)
    finally:
        # The controllers that have no volume any more, or only this one; it only logs its errors.
        connector._try_disconnect_all(_nvme_properties(connection))
    if left := _own_controllers(connection):
        raise BrickException(f"the kernel still has {', '.join(sorted(left))}")


def _remove_maps(connector: Any, connection: Mapping[str, Any], path: object) -> None:
    """Remove the multipath maps of a volume.

    Raises:
        BrickException: one cannot be removed, mostly because something uses it.
    """
    disks = _disks(connector, connection)
    if _is_fibre_channel(connector):
        with suppress(Exception):  # connectors raise what they like; os-brick asks again, and says so
            disks = _volume_paths(connector, connection)
    for each in maps_over([*([path] if isinstance(path, str) else []), *disks]):
        try:
            connector._linuxscsi.flush_multipath_device(each.name)
        except Exception as error:
            if each.exists():
                look = f"look at `dmsetup info {each.name}` and `fuser -v /dev/mapper/{each.name}`"
                why = f"cannot be removed: {one_line(error)}"
                raise BrickException(f"its multipath map {each.name} {why}; {look}") from error


def _has_device(connector: Any, connection: Mapping[str, Any]) -> bool:
    """Tell whether this host has a device of the volume, or may have one."""
    try:
        if _is_nvme(connector, connection):
            return bool(_own_controllers(connection))
        return bool(_disks(connector, connection)) or any(map(os.path.exists, _volume_paths(connector, connection)))
    except Exception:  # noqa: BLE001 - connectors raise what they like
        return True


def _volume_paths(connector: Any, connection: Mapping[str, Any]) -> list[str]:
    """The paths that a volume can have; for Fibre Channel, once its targets are added, as os-brick does itself."""
    complete = connector._add_targets_to_connection_properties if _is_fibre_channel(connector) else dict
    found: list[str] = connector.get_volume_paths(complete(dict(connection)))
    return found


def _is_fibre_channel(connector: Any) -> bool:
    return hasattr(connector, "_add_targets_to_connection_properties")


def _disks(connector: Any, connection: Mapping[str, Any]) -> list[str]:
    """The disks of a volume of iSCSI, as udev names them by the target; none where os-brick cannot say the names."""
    if str(connection.get("driver_volume_type")).lower() not in {"iscsi", "iser"}:
        return []
    from os_brick.initiator.connectors.iscsi import ISCSIConnector  # noqa: PLC0415 - of these only

    if not isinstance(connector, ISCSIConnector):
        return []
    try:
        return [path for path in connector._get_device_path(dict(connection)) if os.path.exists(path)]  # noqa: PTH110
    except Exception:  # noqa: BLE001 - of a connection that lacks something
        return []


def _identity(path: object) -> tuple[int, ...] | None:
    """What tells a device from another one that comes to have its path; None if there is none."""
    if not isinstance(path, str):
        return None
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_rdev


def _is_nvme(connector: InitiatorConnector, connection: Mapping[str, Any]) -> bool:
    if not str(connection.get("driver_volume_type")).lower().startswith("nvme"):
        return False
    from os_brick.initiator.connectors.nvmeof import NVMeOFConnector  # noqa: PLC0415 - of these only

    return isinstance(connector, NVMeOFConnector)


def _nvme_properties(connection: Mapping[str, Any]) -> Any:
    from os_brick.initiator.connectors.nvmeof import NVMeOFConnProps  # noqa: PLC0415 - of these only

    return NVMeOFConnProps(dict(connection), find_controllers=True)  # a copy: it changes what it is given


def _own_controllers(connection: Mapping[str, Any]) -> set[str]:
    """The controllers of the volume that have no other volume.

    The device of a volume that shares its controllers goes when the target withdraws it, which it does when Cinder
    deletes the attachment.
    """
    portals = (portal for target in _nvme_properties(connection).targets for portal in target.portals)
    return {portal.controller for portal in portals if portal.controller and portal.can_disconnect()}
