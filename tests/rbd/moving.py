"""What the tests of faults move, and how they look at it."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from tests.cloud.record import Cloud
from tests.cloud.test_command_line import CommandLine
from tests.rbd.faults import Fault

__all__ = [
    "DATA",
    "LATE_SECONDS",
    "MIB",
    "PATIENT_SECONDS",
    "RATE_MIB",
    "STALL_SECONDS",
    "assert_stalled",
    "content_of",
    "deadline",
    "logged",
]

MIB = 1 << 20
SIZE_BYTES = 192 * MIB
RATE_MIB = 16  # a second, so that there is a middle
STALL_SECONDS = 20
LATE_SECONDS = 60  # for what is cleaned up and closed, on a busy machine
PATIENT_SECONDS = 120  # the deadline of what must end well: an OSD takes its time to start
DATA = random.Random(18).randbytes(8 * MIB) * (SIZE_BYTES // (8 * MIB))


def deadline(fault: Fault) -> float:
    """The deadline of a command."""
    return PATIENT_SECONDS if fault.ends_well else STALL_SECONDS


def content_of(imagevol: CommandLine, volume_id: str) -> bytes:
    """What `imagevol get` gives."""
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "back"
        ran = imagevol.run("get", volume_id, target)
        assert ran.returncode == 0, ran.stderr
        return target.read_bytes()


def assert_stalled(said: str, *, names: str, seconds: float) -> None:
    """One line names the volume, the side and what to look at, in time."""
    (line,) = said.splitlines()
    assert names in line
    assert "stalled" in line
    assert "ceph health" in line
    assert "left behind" not in line
    assert seconds <= STALL_SECONDS + LATE_SECONDS


def logged(cloud: Cloud, service: str, *words: str) -> list[str]:
    """The lines of a service's logs that have all these words."""
    logs = (cloud.directory / "log").glob(f"{service}*.log")
    lines = (line for log in logs for line in log.read_text(errors="replace").splitlines())
    return [line for line in lines if all(word in line for word in words)]
