"""Whether a process has ended that is nobody's child here."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

SECONDS = 30  # in which one that was killed ends on any machine


def wait_for_end(pid: int) -> None:
    """Return when it has, and fail if it goes on."""
    stat = Path("/proc", str(pid), "stat")
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            if ") Z " in stat.read_text():  # and whoever inherited it may not have noticed
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.01)
    pytest.fail(f"process {pid} goes on")
