"""Storage as Cinder has it: thin volumes of LVM, exported by iSCSI (LIO) and NVMe-TCP (nvmet) to this very host.

The targets are made through configfs, by what the kernel documents, and need no program.
"""

from __future__ import annotations

import mmap
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID, uuid5

MIB = 1 << 20
DISK = "/dev/vdc"
GROUP = "cinder-volumes"
CONFIG = Path("/sys/kernel/config")
ISCSI_NAME = "iqn.2010-10.org.openstack"
INITIATOR = "iqn.1993-08.org.debian:01:machine"
NAMESPACE = UUID("6f5a1f0e-3c0b-4e43-9b39-0f5b0b8f4d11")
ADDRESS = "127.0.0.1"
ISCSI_PORT, NVME_PORT = 3260, 4420
SECONDS = 60  # that a command may take


def command(*argv: str) -> str:
    """Run a command, which must succeed in time, and give what it says."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, f"{argv} ended with {done.returncode}: {done.stderr}"
    return done.stdout


class Volume:
    """A thin volume, as the host that has it sees it."""

    def __init__(self, name: str, size_bytes: int, *, pool: str = "pool") -> None:
        self.name = name
        self.size_bytes = size_bytes
        self.path = Path("/dev", GROUP, name)
        command("lvcreate", "--quiet", "--yes", "-V", f"{size_bytes}b", "-T", f"{GROUP}/{pool}", "-n", name)

    def fill(self, byte: bytes) -> None:
        """Let this be what another tenant left on it."""
        memory = mmap.mmap(-1, 4 * MIB)
        memory.write(byte * len(memory))
        fd = os.open(self.path, os.O_WRONLY | os.O_DIRECT)
        try:
            for at in range(0, self.size_bytes, len(memory)):
                assert os.pwrite(fd, memory, at) == len(memory)
        finally:
            os.close(fd)

    def parts(self) -> Iterator[bytes]:
        """Give all that is on the storage, in parts of 1 MiB."""
        memory = mmap.mmap(-1, MIB)
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECT)
        try:
            for at in range(0, self.size_bytes, len(memory)):
                assert os.preadv(fd, [memory], at) == len(memory)
                yield memory[:]
        finally:
            os.close(fd)

    def extend(self, size_bytes: int) -> None:
        """Make it larger."""
        command("lvextend", "--quiet", "-L", f"{size_bytes}b", f"{GROUP}/{self.name}")
        self.size_bytes = size_bytes

    def remove(self) -> None:
        """Give it back to the pool."""
        command("lvremove", "--quiet", "--yes", f"{GROUP}/{self.name}")


def write(path: Path, value: str) -> None:
    """Set an attribute of configfs."""
    path.write_text(value)


@contextmanager
def made(*directories: Path) -> Iterator[None]:
    """Make directories of configfs, and take them away in the opposite order."""
    with ExitStack() as stack:
        for directory in directories:
            directory.mkdir()
            stack.callback(directory.rmdir)
        yield


@contextmanager
def linked(link: Path, target: Path) -> Iterator[None]:
    """Make a link of configfs, and take it away."""
    link.symlink_to(target)
    try:
        yield
    finally:
        link.unlink()


@dataclass(frozen=True)
class Export:
    """A volume as a target has it.

    Attributes:
        information: Cinder's connection information.
        kill: ends the target, and every connection to it.
        restore: starts it again, if it was killed.
        resize: lets it see how large the volume is by now.
        withdraw: lets it show no volume any more, not even to a host that connects from now on.
        show: lets it show the volume again.
    """

    information: Mapping[str, Any]
    kill: Callable[[], object]
    restore: Callable[[], object]
    resize: Callable[[], object]
    withdraw: Callable[[], object]
    show: Callable[[], object]


class Exported(Protocol):
    """What a target exports."""

    name: str
    path: Path


@contextmanager
def iscsi(volume: Exported, *, addresses: Sequence[str] = (ADDRESS,), number: int = 1) -> Iterator[Export]:
    """Export a volume by LIO, at one address or at several."""
    iqn = f"{ISCSI_NAME}:{volume.name}"
    backstores, fabric = CONFIG / "target/core/iblock_0", CONFIG / "target/iscsi"
    for directory in (CONFIG / "target/core", fabric, backstores):
        directory.mkdir(exist_ok=True)  # the first two load the modules
    backstore, group = backstores / volume.name, fabric / iqn / "tpgt_1"
    portals = [group / f"np/{address}:{ISCSI_PORT}" for address in addresses]
    lun, acl = group / "lun/lun_0", group / "acls" / INITIATOR

    def enable(wanted: str) -> None:
        if (group / "enable").read_text().strip() != wanted:
            write(group / "enable", wanted)

    with made(backstore):
        write(backstore / "control", f"udev_path={volume.path}")
        write(backstore / "enable", "1")
        write(backstore / "wwn/vpd_unit_serial", str(uuid5(NAMESPACE, volume.name)))
        with (
            made(fabric / iqn, group, lun),
            linked(lun / volume.name, backstore),
            made(*portals, acl, acl / "lun_0"),
            linked(acl / "lun_0/lun_0", lun),
        ):
            seen = acl / "lun_0/lun_0"
            write(group / "attrib/authentication", "0")
            enable("1")
            information = {
                "driver_volume_type": "iscsi",
                "target_portal": f"{addresses[0]}:{ISCSI_PORT}",
                "target_iqn": iqn,
                "target_lun": 0,
                "target_discovered": False,
                "discard": True,
                "access_mode": "rw",
                "volume_id": volume.name,
            }
            if len(addresses) > 1:
                information |= {
                    "target_portals": [f"{address}:{ISCSI_PORT}" for address in addresses],
                    "target_iqns": [iqn] * len(addresses),
                    "target_luns": [0] * len(addresses),
                }
            try:
                yield Export(
                    information,
                    kill=lambda: enable("0"),
                    restore=lambda: enable("1"),
                    resize=lambda: None,
                    withdraw=seen.unlink,
                    show=lambda: seen.symlink_to(lun),
                )
            finally:
                enable("0")


@contextmanager
def nvme_tcp(volume: Exported, *, addresses: Sequence[str] = (ADDRESS,), number: int = 1) -> Iterator[Export]:
    """Export a volume by nvmet, at one address or at several; `number` is of the first port."""
    uuid = str(uuid5(NAMESPACE, volume.name))
    nqn = f"nqn.2014-08.org.nvmexpress:uuid:{uuid}"
    subsystem = CONFIG / "nvmet/subsystems" / nqn
    ports = [CONFIG / f"nvmet/ports/{number + place}" for place in range(len(addresses))]
    namespace, links = subsystem / "namespaces/1", [port / "subsystems" / nqn for port in ports]

    def kill() -> None:
        for link in links:
            link.unlink(missing_ok=True)

    def restore() -> None:
        for link in links:
            if not link.is_symlink():
                link.symlink_to(subsystem)

    with made(subsystem, namespace):
        write(subsystem / "attr_allow_any_host", "1")
        write(namespace / "device_uuid", uuid)
        write(namespace / "device_path", str(volume.path))
        write(namespace / "enable", "1")
        with made(*ports):
            for port, address in zip(ports, addresses, strict=True):
                values = {"trtype": "tcp", "adrfam": "ipv4", "traddr": address, "trsvcid": NVME_PORT}
                for name, value in values.items():
                    write(port / f"addr_{name}", str(value))
            restore()
            information = {
                "driver_volume_type": "nvmeof",
                "target_nqn": nqn,
                "vol_uuid": uuid,
                "portals": [(address, NVME_PORT, "tcp") for address in addresses],
                "ns_id": 1,
                "volume_nguid": None,
                "access_mode": "rw",
                "volume_id": volume.name,
            }
            try:
                yield Export(
                    information,
                    kill=kill,
                    restore=restore,
                    resize=lambda: write(namespace / "revalidate_size", "1"),
                    withdraw=lambda: write(namespace / "enable", "0"),
                    show=lambda: write(namespace / "enable", "1"),
                )
            finally:
                kill()


TARGETS = {"iscsi": iscsi, "nvme-tcp": nvme_tcp}


@contextmanager
def by_iscsi(volume: Volume) -> Iterator[Mapping[str, Any]]:
    """Export a volume by LIO, and give Cinder's connection information."""
    with iscsi(volume) as export:
        yield export.information


@contextmanager
def by_nvme_tcp(volume: Volume) -> Iterator[Mapping[str, Any]]:
    """Export a volume by nvmet, and give Cinder's connection information."""
    with nvme_tcp(volume) as export:
        yield export.information


EXPORTS = {"iscsi": by_iscsi, "nvme-tcp": by_nvme_tcp}
