"""Storage as Cinder has it: thin volumes of LVM, exported by iSCSI (LIO) and NVMe-TCP (nvmet) to this very host.

The targets are made through configfs, by what the kernel documents, and need no program.
"""

from __future__ import annotations

import mmap
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
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

    def __init__(self, name: str, size_bytes: int) -> None:
        self.name = name
        self.size_bytes = size_bytes
        self.path = Path("/dev", GROUP, name)
        command("lvcreate", "--quiet", "--yes", "-V", f"{size_bytes}b", "-T", f"{GROUP}/pool", "-n", name)

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

    def remove(self) -> None:
        """Give it back to the pool."""
        command("lvremove", "--quiet", "--yes", f"{GROUP}/{self.name}")


def write(path: Path, value: str) -> None:
    """Set an attribute of configfs."""
    path.write_text(value)


@contextmanager
def made(*directories: Path) -> Iterator[None]:
    """Make directories of configfs, and take them away in the opposite order."""
    for directory in directories:
        directory.mkdir()
    yield
    for directory in reversed(directories):
        directory.rmdir()


@contextmanager
def linked(link: Path, target: Path) -> Iterator[None]:
    """Make a link of configfs, and take it away."""
    link.symlink_to(target)
    yield
    link.unlink()


@contextmanager
def by_iscsi(volume: Volume) -> Iterator[Mapping[str, Any]]:
    """Export a volume by LIO, and give Cinder's connection information."""
    iqn = f"{ISCSI_NAME}:{volume.name}"
    backstores, fabric = CONFIG / "target/core/iblock_0", CONFIG / "target/iscsi"
    for directory in (CONFIG / "target/core", fabric, backstores):
        directory.mkdir(exist_ok=True)  # the first two load the modules
    backstore, group = backstores / volume.name, fabric / iqn / "tpgt_1"
    lun, portal, acl = group / "lun/lun_0", group / f"np/{ADDRESS}:{ISCSI_PORT}", group / "acls" / INITIATOR
    with made(backstore):
        write(backstore / "control", f"udev_path={volume.path}")
        write(backstore / "enable", "1")
        write(backstore / "wwn/vpd_unit_serial", str(uuid5(NAMESPACE, volume.name)))
        with (
            made(fabric / iqn, group, lun),
            linked(lun / volume.name, backstore),
            made(portal, acl, acl / "lun_0"),
            linked(acl / "lun_0/lun_0", lun),
        ):
            write(group / "attrib/authentication", "0")
            write(group / "enable", "1")
            yield {
                "driver_volume_type": "iscsi",
                "target_portal": f"{ADDRESS}:{ISCSI_PORT}",
                "target_iqn": iqn,
                "target_lun": 0,
                "target_discovered": False,
                "discard": True,
                "access_mode": "rw",
                "volume_id": volume.name,
            }
            write(group / "enable", "0")


@contextmanager
def by_nvme_tcp(volume: Volume) -> Iterator[Mapping[str, Any]]:
    """Export a volume by nvmet, and give Cinder's connection information."""
    uuid = str(uuid5(NAMESPACE, volume.name))
    nqn = f"nqn.2014-08.org.nvmexpress:uuid:{uuid}"
    subsystem, port = CONFIG / "nvmet/subsystems" / nqn, CONFIG / "nvmet/ports/1"
    namespace = subsystem / "namespaces/1"
    with made(subsystem, namespace):
        write(subsystem / "attr_allow_any_host", "1")
        write(namespace / "device_uuid", uuid)
        write(namespace / "device_path", str(volume.path))
        write(namespace / "enable", "1")
        with made(port):
            for name, value in {"trtype": "tcp", "adrfam": "ipv4", "traddr": ADDRESS, "trsvcid": NVME_PORT}.items():
                write(port / f"addr_{name}", str(value))
            with linked(port / "subsystems" / nqn, subsystem):
                yield {
                    "driver_volume_type": "nvmeof",
                    "target_nqn": nqn,
                    "vol_uuid": uuid,
                    "portals": [(ADDRESS, NVME_PORT, "tcp")],
                    "ns_id": 1,
                    "volume_nguid": None,
                    "access_mode": "rw",
                    "volume_id": volume.name,
                }


EXPORTS = {"iscsi": by_iscsi, "nvme-tcp": by_nvme_tcp}
