"""Devices on this host: block devices, files and images of Ceph, and what they are made of."""

from typing import TYPE_CHECKING

from imagevol_adapters.lazy_imports import lazy_names

if TYPE_CHECKING:
    from imagevol_adapters.devices.block_stack import LONG_CLEAR_BYTES, takes_long_requests
    from imagevol_adapters.devices.device import PathDevice, RbdDevice, RbdImage
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "block_stack": (
                "LONG_CLEAR_BYTES",
                "takes_long_requests",
            ),
            "device": (
                "PathDevice",
                "RbdDevice",
                "RbdImage",
            ),
        },
    )

__all__ = ["LONG_CLEAR_BYTES", "PathDevice", "RbdDevice", "RbdImage", "takes_long_requests"]
