"""What a device holds, in one call."""

from __future__ import annotations

from imagevol_adapters.ports import Device


def read(device: Device, offset: int, length: int) -> bytes:
    """As much as it gives at once."""
    buffer = bytearray(length)
    return bytes(buffer[: device.readinto(offset, memoryview(buffer))])
