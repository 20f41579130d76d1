"""The machine that is measured on, as each result names it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

__all__ = ["CORES", "machine"]

CORES = os.cpu_count() or 1


def machine() -> dict[str, str | int]:
    """Name the processor, its cores, the kernel and Python."""
    return {
        "processor": _processor(),
        "cores": CORES,
        "kernel": f"Linux {platform.release()}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
