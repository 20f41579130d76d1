"""What a block device is made of, as the kernel's sysfs says: the drivers at the bottom of its stack."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

__all__ = ["LONG_CLEAR_BYTES", "takes_long_requests"]

LONG_CLEAR_BYTES = 256 << 20
"""The most that one request clears of a device that is known to take long requests."""

_SYSFS = Path("/sys/dev/block")
# Drivers that split a long request by limits that the device itself reports, and send its length in 32 bits or more.
# NVMe is none of them: its count of blocks has 16 bits, and Linux 6.1 loses the bits above.
_LONG = re.compile(r"sd[a-z]+|vd[a-z]+|rbd\d+|loop\d+")


def takes_long_requests(number: int, *, sysfs: Path = _SYSFS) -> bool:
    """Tell whether one request may clear hundreds of MiB of a block device.

    Args:
        number: the device's number, as `st_rdev` of `os.stat` says.
        sysfs: the directory in which the kernel lists block devices by their numbers.

    Returns:
        True if all drivers at the bottom of the device's stack are known to take long requests.  False in doubt.
    """
    try:
        return _takes_long((sysfs / f"{os.major(number)}:{os.minor(number)}").resolve(strict=True))
    except OSError:
        return False


def _takes_long(device: Path) -> bool:
    """The answer for a device's directory in sysfs.

    Raises:
        OSError: sysfs does not tell.
    """
    if (device / "partition").exists():
        return _takes_long(device.parent)
    if below := list((device / "slaves").iterdir()):
        return all(_takes_long(each.resolve(strict=True)) for each in below)
    if not _LONG.fullmatch(device.name):
        return False
    return not device.name.startswith("loop") or _is_over_a_file(device)


def _is_over_a_file(loop: Path) -> bool:
    """Whether a loop device is over a file; the `slaves` of one over a block device do not say so."""
    return stat.S_ISREG(Path((loop / "loop" / "backing_file").read_text().rstrip("\n")).stat().st_mode)
