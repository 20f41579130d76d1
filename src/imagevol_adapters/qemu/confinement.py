"""How a command that reads what strangers wrote is kept to the files that it is for.

Run as root, it gets a root directory of its own, in which nothing is but programs, libraries and those files at their
paths, no network, another user's id, and of root's capabilities the one to open the files of any owner.  All of
that is in a mount namespace and goes with the process: nothing can be left behind.  A command that does not run as root
has that user's rights, and no way to more.

A file that is open already is given by its descriptor.  A command that opened it by its path could get another file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["confined"]

_NOBODY = 65534  # the id that the kernel gives to who has none

# In a mount namespace: /sys is in every system, nothing that is copied is in it, and no other process sees it covered,
# also where all mounts are shared, or where the root of this process is a directory and no mount (chroot).
_ENTER = """
set -eu
root=/sys
mount --make-private "$root" 2>/dev/null || mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs "$root"
for name in bin lib lib32 lib64 usr/bin usr/lib usr/lib32 usr/lib64; do
    if [ -L "/$name" ]; then
        cp -P "/$name" "$root/$name"
    elif [ -d "/$name" ]; then
        mkdir -p "$root/$name"
        mount --bind -o ro "/$name" "$root/$name"
    fi
done
descriptors=$1
shift
while [ "$1" != -- ]; do
    if [ ! -e "$root$1" ]; then
        mkdir -p "$root${1%/*}"
        : >"$root$1"
        mount --bind "$1" "$root$1"
    fi
    shift
done
shift
if [ -n "$descriptors" ]; then
    mkdir "$root$descriptors"
    mount --bind "/proc/$$/fd" "$root$descriptors"  # this process becomes the command
fi
mount -o remount,ro "$root"
exec chroot "$root" "$@"
"""
_DESCRIPTORS = {False: "/proc/self/fd", True: "/fd"}  # where the command finds its own
_NAMESPACES = ("unshare", "--mount", "--net", "--ipc", "--propagation", "unchanged")
_ENDS_WITH_US = ("--pdeathsig", "KILL")  # also where the one who waits is killed and cannot end it
_NO_WAY_BACK = ("setpriv", "--no-new-privs", *_ENDS_WITH_US)
_NOT_ROOT = (
    *(*_NO_WAY_BACK, f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"),
    *(f"--{which}=-all,+dac_override" for which in ("inh-caps", "ambient-caps", "bounding-set")),
)


def confined(
    command: Sequence[str], *, files: Iterable[str], descriptors: Mapping[str, int] | None = None
) -> list[str]:
    """Give the command that runs this one with no more rights than it needs.

    Needed are util-linux and coreutils; of root, that it may mount, which it may not in an unprivileged container.

    Args:
        command: the command and its arguments.
        files: the absolute paths of all that it may open, and of its program if that is not in /usr/bin; they exist.
        descriptors: of those that are open already, their descriptors, which the command must inherit.  It reads these
            files, whatever is at their paths by then.

    >>> confined(["qemu-img", "--version"], files=[])[-3:]
    ['--', 'qemu-img', '--version']
    """
    root = os.geteuid() == 0
    opened = {path: f"{_DESCRIPTORS[root]}/{number}" for path, number in (descriptors or {}).items()}
    command = [opened.get(word, word) for word in command]
    if not root:
        return [*_NO_WAY_BACK, "--", *command]
    bound = [path for path in files if path not in opened]
    arguments = [_DESCRIPTORS[root] if opened else "", "/dev/null", *bound]
    return [*_NAMESPACES, "--", "sh", "-c", _ENTER, "sh", *arguments, "--", *_NOT_ROOT, "--", *command]
