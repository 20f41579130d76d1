"""Devices on this host: block devices, files, images of Ceph, and a base class for your own."""

from typing import TYPE_CHECKING

from imagevol_adapters.lazy_imports import lazy_names

if TYPE_CHECKING:
    from imagevol_adapters.devices.block_stack import LONG_CLEAR_BYTES, takes_long_requests
    from imagevol_adapters.devices.ceph import RbdDevice, RbdImage
    from imagevol_adapters.devices.device import PathDevice
    from imagevol_adapters.devices.plain import PlainDevice
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "block_stack": (
                "LONG_CLEAR_BYTES",
                "takes_long_requests",
            ),
            "ceph": (
                "RbdDevice",
                "RbdImage",
            ),
            "device": ("PathDevice",),
            "plain": ("PlainDevice",),
        },
    )

__all__ = ["LONG_CLEAR_BYTES", "PathDevice", "PlainDevice", "RbdDevice", "RbdImage", "takes_long_requests"]
