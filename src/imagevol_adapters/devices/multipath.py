"""The multipath maps over the disks of a volume, as the kernel's sysfs says."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import attrs

__all__ = ["MultipathMap", "maps_over"]

_SYSFS = Path("/sys/dev/block")
_UUID = "mpath-"  # how device-mapper's UUID of a map of multipath begins


@attrs.frozen
class MultipathMap:
    """A map of multipath.

    Attributes:
        name: by which `multipath` and `dmsetup` know it.
        uuid: of device-mapper; a map that comes to have the same number has another one.
    """

    name: str
    uuid: str
    _directory: Path = attrs.field(repr=False)

    def exists(self) -> bool:
        """Tell whether the kernel still has it, with paths or without."""
        return _text(self._directory / "dm" / "uuid") == self.uuid


def maps_over(paths: Iterable[str], *, sysfs: Path = _SYSFS) -> list[MultipathMap]:
    """Give the multipath maps that are over disks, or that are among the paths themselves.

    Args:
        paths: of block devices; one that is not there, or is no block device, is left out.
        sysfs: the directory in which the kernel lists block devices by their numbers.

    Returns:
        Each map once, by its name.
    """
    found = dict[str, MultipathMap]()
    for path in paths:
        try:
            number = os.stat(path).st_rdev  # noqa: PTH116 - what os-brick gives is a text
            device = (sysfs / f"{os.major(number)}:{os.minor(number)}").resolve(strict=True)
        except OSError:
            continue
        for each in (device, *(holder.resolve() for holder in (device / "holders").glob("*"))):
            uuid = _text(each / "dm" / "uuid")
            if uuid.startswith(_UUID):
                name = _text(each / "dm" / "name")
                found[name] = MultipathMap(name, uuid, each)
    return [found[name] for name in sorted(found)]


def _text(path: Path) -> str:
    """What a file of sysfs says; nothing if the device is gone."""
    try:
        return path.read_text().rstrip("\n")
    except OSError:
        return ""
