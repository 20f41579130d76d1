"""What Nova's snapshot images say of the boot device ([clone]).

Nova's image of a server that boots from a volume has no data.  Its property `block_device_mapping` names the volume
snapshots instead, and from API microversion 3.46 on Cinder creates the volume from the snapshot of the boot device.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from imagevol_core.facts import Image
from imagevol_core.sentences import said

__all__ = ["BootMapping", "boot_mapping"]

_KEY = "block_device_mapping"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootMapping:
    """What the property `block_device_mapping` of an image says.

    Attributes:
        snapshot_id: the snapshot that the volume is created from; None if it is created from the image's data.
        fault: why Cinder can do neither; empty if it can.
        text: the facts, as a sentence.
    """

    snapshot_id: str | None = None
    fault: str = ""
    text: str


def boot_mapping(image: Image) -> BootMapping:
    """Read the property `block_device_mapping` of an image as Cinder's API reads it, whatever it holds.

    >>> mapping = '[{"source_type": "snapshot", "boot_index": 0, "snapshot_id": "5f0a"}]'
    >>> boot_mapping(Image(id="i", properties={"block_device_mapping": mapping})).snapshot_id
    '5f0a'
    >>> boot_mapping(Image(id="i", properties={"block_device_mapping": "lots"})).fault
    'Cinder answers 500: the property block_device_mapping is not JSON'
    """
    text = image.properties.get(_KEY)
    if text is None:
        return BootMapping(text=f"the image has no {_KEY}")
    try:
        devices = json.loads(text)
    except (ValueError, RecursionError):
        return _broken(500, "is not JSON")
    if not devices:
        return BootMapping(text=f"{_KEY} is empty")
    if not isinstance(devices, list) or not all(isinstance(device, dict) for device in devices):
        return _broken(500, "is not a list of objects")
    boot: list[dict[str, Any]] = [
        device for device in devices if device.get("source_type") == "snapshot" and device.get("boot_index") == 0
    ]
    if not boot:
        return BootMapping(text=f"{_KEY} has no snapshot at boot index 0")
    snapshot_id = boot[0].get("snapshot_id")
    if isinstance(snapshot_id, list | dict):
        return _broken(500, "has a snapshot whose id is no text at boot index 0")
    if not isinstance(snapshot_id, str) or not snapshot_id:
        return _broken(404, "has a snapshot without an id at boot index 0")
    return BootMapping(snapshot_id=snapshot_id, text=f"{_KEY} has snapshot {said(snapshot_id)} at boot index 0")


def _broken(status: int, what: str) -> BootMapping:
    fault = f"Cinder answers {status}: the property {_KEY} {what}"
    return BootMapping(fault=fault, text=fault)
