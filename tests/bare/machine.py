"""A Debian 12 in a directory: made by debootstrap, entered with namespaces of its own, removed with all that it left.

Its mounts and processes are in namespaces that end with the command that was run in it, however that ends.  The network
is the host's.  Its root directory is a real one (`pivot_root`): in a `chroot` no user namespace can be made.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bare import host

PACKAGES = ("python3", "python3-venv", "git", "make", "ca-certificates")  # what the README asks for, and git and TLS
ON_HOST = {"debootstrap": "debootstrap", "git": "git", "tar": "tar", "unshare": "util-linux"}
ENVIRONMENT = {
    "HOME": "/root",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "TERM": "dumb",
}
# The first process of the machine: $1 is its root, the next ones until -- are mounted into it, the rest is the command.
# A shell that waits also waits for processes whose parent is gone, as an init does.
INIT = r"""
set -e
root=$1; shift
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /dev dev
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t tmpfs -o mode=755 run run
while [ "$1" != -- ]; do
    mkdir -p "./$1"
    mount --bind "$1" "./$1"
    mount -o remount,bind,ro "./$1"
    shift
done
shift
pivot_root . .
umount -l .
cd /root
set +e
"$@" &
wait $!
status=$?
for process in /proc/[0-9]*; do
    [ "$process" = /proc/$$ ] && continue
    line=$(tr '\0' ' ' < "$process/cmdline")
    [ -z "$line" ] || echo "left running: $line"
done 2>/dev/null
exit $status
"""


class Machine:
    """A bare Debian 12.

    Args:
        root: its root directory.
        mounts: directories of the host that it has at the same place, to read.
    """

    def __init__(self, root: Path, mounts: Sequence[Path]) -> None:
        self.root = root
        self.mounts = mounts

    def run(self, command: str, log: Path) -> int:
        """Run a command of its shell, write what it prints to a file, and give its exit status."""
        environment = ENVIRONMENT | host.variables()
        separate = ["unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "--propagation=private"]
        argv = [*separate, "sh", "-c", INIT, "init", str(self.root), *map(str, self.mounts), "--", "sh", "-c", command]
        with log.open("wb") as output:
            done = subprocess.run(
                argv, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False
            )
        return done.returncode


def missing() -> list[str]:
    """Give the Debian packages that this host lacks to make one."""
    return sorted(package for program, package in ON_HOST.items() if not shutil.which(program))


def install(packages: Sequence[str]) -> None:
    """Install Debian packages on this host."""
    command = ["apt-get", "install", "--yes", "-qq", "--no-install-recommends", *packages]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode:
        subprocess.run(["apt-get", "update", "-qq"], env=environment, check=True)
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)


@contextmanager
def machine(directory: Path, *, keep: bool) -> Iterator[Machine]:
    """Make one in a directory, and remove it at the end; what debootstrap made stays there, for the next one.

    Args:
        directory: for the root directory and what debootstrap made.
        keep: do not remove it.
    """
    root = directory / "root"
    directory.mkdir(parents=True, exist_ok=True)
    remove(root)
    try:
        unpack(root, made(directory))
        bare = Machine(root, host.give(root))
        if bare.run("update-ca-certificates", directory / "certificates.log"):
            raise OSError(f"Cannot add this host's certificates: see {directory / 'certificates.log'}")
        yield bare
    finally:
        free_loop_devices(root)
        if not keep:
            remove(root)


def made(directory: Path) -> Path:
    """Give the archive of a root directory as debootstrap makes it; it is made if it is not there yet."""
    key = hashlib.sha256(" ".join([host.SUITE, *PACKAGES]).encode()).hexdigest()[:8]
    archive = directory / f"{host.SUITE}-{key}.tar"
    if not archive.exists():
        fresh, log = directory / "debootstrap", directory / "debootstrap.log"
        remove(fresh)
        mirror = [line.split()[1] for line in host.sources() if line.split()[2] == host.SUITE][:1]
        command = [
            "debootstrap",
            "--variant=minbase",
            f"--include={','.join(PACKAGES)}",
            host.SUITE,
            str(fresh),
            *mirror,
        ]
        with log.open("wb") as output:
            environment = host.proxy() | os.environ
            done = subprocess.run(command, env=environment, stdout=output, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise OSError(f"Cannot make a Debian 12: debootstrap failed; see {log}")
        half = archive.with_suffix(".half")
        subprocess.run(["tar", "-C", str(fresh), "--numeric-owner", "-cf", str(half), "."], check=True)
        half.rename(archive)
        remove(fresh)
    return archive


def unpack(root: Path, archive: Path) -> None:
    """Make the root directory out of the archive."""
    root.mkdir()
    subprocess.run(["tar", "-C", str(root), "--numeric-owner", "-xpf", str(archive)], check=True)


def free_loop_devices(root: Path) -> None:
    """Detach the loop devices of files under a directory: unlike mounts, they outlive their namespace.

    Also those of files on a file system that lies on such a device, which keep that one attached.
    """
    command = ["losetup", "--list", "--json", "--output=NAME,MAJ:MIN,BACK-MAJ:MIN,BACK-INO,BACK-FILE"]
    listed = subprocess.run(command, capture_output=True, check=True).stdout
    loops = json.loads(listed)["loopdevices"] if listed else []
    ours = {loop["maj:min"].strip() for loop in loops if _is_under(root, loop)}
    for loop in loops:
        if loop["maj:min"].strip() in ours or loop["back-maj:min"].strip() in ours:
            print(f"left attached: {loop['name']} to {loop['back-file']}", flush=True)
            subprocess.run(["losetup", "--detach", loop["name"]], check=False)


def _is_under(root: Path, loop: Mapping[str, Any]) -> bool:
    """Whether the file of a loop device is under a directory; the kernel gives its path as it was seen inside."""
    path = root / str(loop["back-file"]).removeprefix("/")
    if not path.exists():
        return False
    device = path.stat().st_dev
    there = (f"{os.major(device)}:{os.minor(device)}", path.stat().st_ino)
    return there == (loop["back-maj:min"].strip(), int(loop["back-ino"]))


def remove(directory: Path) -> None:
    """Remove a machine's directory, and nothing that something is mounted on."""
    mounted = Path("/proc/self/mountinfo").read_text().splitlines()
    if any(line.split()[4].startswith(f"{directory}/") for line in mounted):
        raise OSError(f"Cannot remove {directory}: something is mounted in it; unmount it first")
    if directory.exists():
        shutil.rmtree(directory)
