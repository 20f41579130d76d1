"""Take a cloud down: processes, loop devices, mounts and files, whatever state it is in.

Nothing here needs a record of what was started, and nothing but the standard library: what is to
be removed is found by the cloud's mark and directory, so a cloud whose starter was killed half
way is taken down as well as a complete one. Nothing outside the directory is touched.
"""

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.cloud.processes import SYSTEM_PATH, CloudError, end, ticks
from tests.cloud.record import MARKER

LOCK_SECONDS = 60.0
RELEASE_SECONDS = 10.0


def down(directory: Path, *, keep_logs: bool = False) -> bool:
    """Take down the cloud in this directory. False if there was nothing to do."""
    directory = directory.resolve()
    if not directory.exists():
        return remove(directory, keep_logs=keep_logs)
    if not (directory / MARKER).exists():
        raise CloudError(f"{directory} was not made by `python -m tests.cloud up`: left alone")
    with locked(directory):
        return remove(directory, keep_logs=keep_logs)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the cloud's lock. The kernel releases it when its holder dies, even by SIGKILL."""
    with (directory / MARKER).open("a+") as marker:
        for _ in ticks(LOCK_SECONDS):
            try:
                fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                continue
        else:
            marker.seek(0)
            raise CloudError(
                f"process {marker.read().strip() or 'unknown'} has the cloud in {directory} in "
                "hand: wait for it, or end it"
            )
        marker.truncate(0)
        marker.write(f"{os.getpid()}\n")
        marker.flush()
        yield


def remove(directory: Path, *, keep_logs: bool) -> bool:
    """What `down` does, for one who holds the lock already."""
    found = end(directory) > 0
    found |= release(directory)
    if not directory.exists():
        return found
    for entry in directory.iterdir():
        if keep_logs and entry.name in ("log", MARKER):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    if not keep_logs:
        directory.rmdir()
    return True


def release(directory: Path) -> bool:
    """Detach loop devices and unmount, until none is left under the directory.

    In rounds, because each may hold another: volumes lie on a file system, which lies on a
    loop device of its own.
    """
    found = False
    for _ in ticks(RELEASE_SECONDS, interval=0.1):
        loops, mounts = loop_devices(directory), mount_points(directory)
        if not loops and not mounts:
            return found
        found = True
        # In vain for the device that is mounted: the kernel detaches that one after the umount.
        for device in loops:
            _command("losetup", "--detach", device)
        for mount in reversed(mounts):
            _command("umount", mount)
    holders = ", ".join(_holders(directory, loops)) or "the kernel, or a process of another container"
    busy = ", ".join([*loops, *mounts])
    raise CloudError(f"{busy} is still in use (by {holders}): end that first")


def loop_devices(directory: Path) -> list[str]:
    """Loop devices on files under the directory, also on files that were deleted since."""
    found = []
    for backing_file in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            path = backing_file.read_text().strip()
        except OSError:  # detached in this moment
            continue
        if path.startswith(f"{directory}/"):
            found.append(f"/dev/{backing_file.parents[1].name}")
    return found


def mount_points(directory: Path) -> list[str]:
    """Mounts under the directory, outer ones first."""
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        path = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), line.split(" ")[1])
        if path.startswith(f"{directory}/"):
            found.append(path)
    return found


def _command(*argv: str) -> None:
    # It may fail because another one is faster, or the device is busy: the next round looks again.
    environment = {"PATH": SYSTEM_PATH}
    subprocess.run(argv, check=False, capture_output=True, env=environment, timeout=60)


def _holders(directory: Path, loops: list[str]) -> Iterator[str]:
    """What has something there: devices on the loop devices, and processes.

    A process has a file there open, mapped, or as its program or directory; or it is in a mount namespace of its own,
    in which the file system is still mounted.
    """
    for loop in loops:
        for device in Path("/sys/block", Path(loop).name, "holders").iterdir():
            yield f"device {device.name}"
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it is gone, or not ours to look at
            name = (process / "comm").read_text().strip()
            if any(path in loops or path.startswith(f"{directory}/") for path in _paths(process)):
                yield f"{name} {process.name}"


def _paths(process: Path) -> Iterator[str]:
    for link in (process / "cwd", process / "root", process / "exe", *(process / "fd").iterdir()):
        with suppress(OSError):  # a file that was closed meanwhile hides no other
            yield str(link.readlink())
    for line in (process / "maps").read_text().splitlines():
        yield line.split(maxsplit=5)[-1]
    if (process / "ns/mnt").readlink() != Path("/proc/self/ns/mnt").readlink():
        for line in (process / "mounts").read_text().splitlines():
            yield from line.split(" ")[:2]
