"""Python's own threading, also in a process that eventlet has patched, for what stands in for a device."""

from __future__ import annotations

import sys
import threading as patched
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading
else:
    patcher = sys.modules.get("eventlet.patcher")
    green = patcher is not None and patcher.is_monkey_patched("thread")
    threading = patcher.original("threading") if green else patched

__all__ = ["threading"]
