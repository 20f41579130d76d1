"""`python -m tests.san.prerequisites`: the Debian packages that make and run the machine."""

import os
import shlex
import shutil
import sys

from tests.cloud import prerequisites as debian
from tests.cloud.processes import SYSTEM_PATH

PROGRAMS = {
    "debootstrap": "debootstrap",
    "mkfs.ext4": "e2fsprogs",
    "qemu-system-x86_64": "qemu-system-x86",
}


def missing_packages() -> list[str]:
    """Debian packages of the programs that are not there."""
    return sorted({package for name, package in PROGRAMS.items() if shutil.which(name, path=SYSTEM_PATH) is None})


def problem() -> str | None:
    """What keeps the machine from being made here, in one line that says what to do; None where nothing does."""
    if os.geteuid() != 0:
        return "not root: debootstrap needs it, so run this as root"
    if packages := missing_packages():
        return f"Debian packages are missing: run `{shlex.join(debian.install_command(packages))}`"
    return None


def main() -> int:
    """Install what is missing, as root, and say what still is."""
    if os.geteuid() == 0 and (packages := missing_packages()):
        debian.install(packages)
    if reason := problem():
        print(reason, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
