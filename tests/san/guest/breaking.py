"""Ways to break the storage under a volume, and what this host still has of it afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.san.guest.storage import Volume, command

SECTOR = 512
WAIT_SECONDS = 90  # in which a connection must be gone
_LINK = "lo"


class Layer:
    """A device of device-mapper over a volume, whose table can be changed while it is used."""

    def __init__(self, volume: Volume) -> None:
        self.name = volume.name
        self.path = Path("/dev/mapper", f"layer-{volume.name}")
        self._volume = volume
        self._device = self.path.name
        command("dmsetup", "create", self._device, "--table", self._whole("linear", f"{volume.path} 0"))

    def _whole(self, kind: str, *arguments: str) -> str:
        return " ".join(("0", str(self._volume.size_bytes // SECTOR), kind, *arguments))

    def _become(self, kind: str, *arguments: str) -> None:
        command("dmsetup", "suspend", "--noflush", "--nolockfs", self._device)
        command("dmsetup", "load", self._device, "--table", self._whole(kind, *arguments))
        command("dmsetup", "resume", self._device)

    def whole(self) -> None:
        """Work, with all of the volume."""
        self._become("linear", f"{self._volume.path} 0")

    def fail(self) -> None:
        """Fail every read and write (dm-error)."""
        self._become("error")

    def flip(self) -> None:
        """Change a byte of everything that is written (dm-flakey)."""
        self._become("flakey", f"{self._volume.path} 0", "0 600", "5 corrupt_bio_byte 32 w 1 0")

    def drop(self) -> None:
        """Say that everything is written, and write nothing (dm-flakey)."""
        self._become("flakey", f"{self._volume.path} 0", "0 600", "1 drop_writes")

    def hang(self) -> None:
        """Answer nothing."""
        command("dmsetup", "suspend", "--noflush", "--nolockfs", self._device)

    def go_on(self) -> None:
        """Answer what was not answered."""
        command("dmsetup", "resume", self._device)

    def remove(self) -> None:
        """Take it away."""
        command("dmsetup", "remove", "--retry", self._device)


def drop_packets(address: str) -> None:
    """Lose every packet from and to an address of this host."""
    command(*f"tc qdisc replace dev {_LINK} root handle 1: prio bands 4".split())
    command(*f"tc qdisc replace dev {_LINK} parent 1:4 handle 40: netem loss 100%".split())
    for end in ("dst", "src"):
        match = f"u32 match ip {end} {address}/32 flowid 1:4"
        command(*f"tc filter add dev {_LINK} protocol ip parent 1:0 {match}".split())


def restore_packets() -> None:
    """Lose no packet any more."""
    if "prio" in command("tc", "qdisc", "show", "dev", _LINK):
        command("tc", "qdisc", "del", "dev", _LINK, "root")


def connections() -> set[str]:
    """Everything by which this host is connected to a target."""
    found = {
        f"{kind} {each.name}"
        for kind in ("iscsi_session", "nvme", "scsi_disk")
        for each in Path("/sys/class", kind).glob("*")
    }
    nodes = [each for top in ("/etc/iscsi", "/var/lib/iscsi") for each in Path(top, "nodes").glob("*")]
    maps = command("dmsetup", "info", "--columns", "--noheadings", "-o", "name,uuid").splitlines()
    return found | {f"node {each.name}" for each in nodes} | {f"map {line}" for line in maps if "mpath-" in line}


def waited(holds: Callable[[], bool], *, seconds: float = WAIT_SECONDS) -> bool:
    """Tell whether something comes true in time."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() >= until:
            return False
        time.sleep(0.5)
    return True


def remaining(before: set[str]) -> set[str]:
    """What is still there that was not there before, once the kernel has had time to remove it."""
    waited(lambda: not connections() - before)
    return connections() - before


@contextmanager
def always(undo: Callable[[], object]) -> Iterator[None]:
    """Mend what a test has broken, also if it fails."""
    try:
        yield
    finally:
        undo()
