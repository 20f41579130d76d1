"""`python -m tests.rbd.prerequisites`: Debian's Ceph, and librbd's bindings in this environment."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.rbd.ceph import PACKAGES, problem

DEBIANS = Path("/usr/lib/python3/dist-packages")


def main() -> int:
    """Install what is missing, as root, unless `--installed` says to use only what is there; say what still is."""
    if os.geteuid() == 0 and problem() and "--installed" not in sys.argv[1:]:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        command = ["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES]
        if subprocess.run(command, env=environment, check=False).returncode:
            subprocess.run(["apt-get", "update"], env=environment, check=True)
            subprocess.run(command, env=environment, check=True)
    site = Path(sysconfig.get_path("platlib"))
    version = f"cpython-{sys.version_info.major}{sys.version_info.minor}-"
    for library in (*DEBIANS.glob(f"rbd.{version}*.so"), *DEBIANS.glob(f"rados.{version}*.so")):
        # They are Debian's for Debian's Python, and serve any CPython of the same version.
        (site / library.name).unlink(missing_ok=True)
        (site / library.name).symlink_to(library)
    if reason := problem():
        print(reason, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
