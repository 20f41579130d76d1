"""What the rig needs of the machine, which of it is missing, and how to get it."""

import importlib.util
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cloud.processes import SYSTEM_PATH

# Program to the Debian package that brings it. mariadb-server-core and not mariadb-server, which
# would start a service of the system's.
PROGRAMS = {
    "blockdev": "util-linux",
    "cryptsetup": "cryptsetup-bin",
    "losetup": "mount",
    "mariadbd": "mariadb-server-core",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mount": "mount",
    "qemu-img": "qemu-utils",
    "sfdisk": "fdisk",
    "umount": "mount",
}
# Only for a cloud with several cinder-volume processes. Its package would start a service of the system's, on all
# addresses: see `install`.
BROKER = {"/usr/lib/rabbitmq/bin/rabbitmq-server": "rabbitmq-server"}
# Only for the tests that kill processes at a system call, and for those of storage that fails.
FAULTS = {"nbdkit": "nbdkit", "qemu-storage-daemon": "qemu-system-common", "strace": "strace"}
SYSTEM_SERVICES = {"rabbitmq-server": ["rabbitmq-server.service", "epmd.service", "epmd.socket"]}
POLICY = Path("/usr/sbin/policy-rc.d")
# Distribution's module to what it is called in a sentence.
SERVICES = {"cinder": "Cinder", "glance": "Glance", "keystone": "Keystone", "gunicorn": "gunicorn"}


def problems(*, broker: bool = False) -> list[str]:
    """What keeps a cloud, with or without a message broker, from being started here.

    Each in one line that says what to do.
    """
    return [*_services(), *_machine(), *_packages(broker=broker)]


def missing_packages(*, broker: bool = False, faults: bool = False) -> list[str]:
    """Debian packages of the programs that are not there, however others may have come."""
    programs = PROGRAMS | (BROKER if broker else {}) | (FAULTS if faults else {})
    missing = {package for program, package in programs.items() if shutil.which(program, path=SYSTEM_PATH) is None}
    return sorted(missing)


def install_command(packages: Iterable[str]) -> list[str]:
    return ["apt-get", "install", "--yes", "--no-install-recommends", *packages]


def install(packages: Sequence[str]) -> None:
    """Install packages, as root, by apt-get, and let none of them start a service, now or later."""
    command = install_command(packages)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _starting_nothing():
        if subprocess.run(command, env=environment, check=False).returncode:
            # Package lists may be missing (a fresh container) or name versions that are gone.
            subprocess.run(["apt-get", "update"], env=environment, check=True)
            subprocess.run(command, env=environment, check=True)
    for service in SYSTEM_SERVICES.keys() & set(packages) if Path("/run/systemd/system").exists() else ():
        subprocess.run(["systemctl", "disable", "--quiet", *SYSTEM_SERVICES[service]], check=True)


@contextmanager
def _starting_nothing() -> Iterator[None]:
    """Debian's policy-rc.d, which is asked before a package starts a service; one that is there is left alone."""
    try:
        with POLICY.open("x") as file:
            file.write("#!/bin/sh\nexit 101\n")
            POLICY.chmod(0o755)
    except FileExistsError:
        yield
        return
    try:
        yield
    finally:
        POLICY.unlink()


def _services() -> Iterable[str]:
    missing = [name for name in SERVICES if importlib.util.find_spec(name) is None]
    if missing:
        yield (
            f"{sys.executable} has no {', '.join(SERVICES[name] for name in missing)}: run "
            "`make demo` once, then `.nox/cloud/bin/python -m tests.cloud up`"
        )


def _machine() -> Iterable[str]:
    if os.geteuid() != 0:
        yield "not root: loop devices and mounts need it, so run this as root"
    if not Path("/dev/loop-control").exists():
        yield "no loop devices: run `modprobe loop`, or give the container /dev/loop-control"
    try:
        socket.getaddrinfo(socket.gethostname(), None)
    except OSError:
        yield (
            "the host name has no address, which Glance needs: run "
            f"`echo 127.0.1.1 {socket.gethostname()} >> /etc/hosts`"
        )


def _packages(*, broker: bool) -> Iterable[str]:
    packages = missing_packages(broker=broker)
    if packages:
        command = shlex.join(install_command(packages))
        yield f"Debian packages are missing: run `{command}`"
