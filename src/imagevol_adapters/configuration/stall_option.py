"""The option of the deadline for progress, which a backend's section and a store's section have alike."""

from __future__ import annotations

from oslo_config import cfg

from imagevol_core import STALL_SECONDS

__all__ = ["STALL_OPTION"]

STALL_OPTION = cfg.IntOpt(
    "image_clone_stall_seconds",
    default=int(STALL_SECONDS),
    min=1,
    help="Give up a transfer whose source, device or service makes no progress for this many seconds. The error names "
    "which one. A device that hangs stays attached, because its last write may still happen. Repair the storage, and "
    "restart the service.",
)
