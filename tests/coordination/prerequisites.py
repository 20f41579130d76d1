"""`python -m tests.coordination.prerequisites`: Debian's lock services, unpacked beside and not installed.

A package that is installed starts its service on the machine; one that is unpacked starts nothing and needs no root.
"""

import os
import subprocess
import sys

from tests.coordination.services import PROGRAMS, UNPACKED, problem

PACKAGES = (
    *("etcd-server", "memcached", "redis-server", "redis-tools"),
    *("libevent-2.1-7", "libjemalloc2", "liblzf1", "libsasl2-2"),  # what they need and a bare Debian has not
)


def main() -> int:
    """Fetch and unpack what is missing, and say what still is."""
    if any(program.missing() for program in PROGRAMS.values()):
        fetch = ["apt-get", "download", "--quiet", *PACKAGES]
        UNPACKED.mkdir(parents=True, exist_ok=True)
        if subprocess.run(fetch, cwd=UNPACKED, check=False).returncode and os.geteuid() == 0:
            subprocess.run(["apt-get", "update"], check=True)
            subprocess.run(fetch, cwd=UNPACKED, check=False)
        for package in UNPACKED.glob("*.deb"):
            subprocess.run(["dpkg-deb", "--extract", package, UNPACKED], check=True)
            package.unlink()
    reasons = [reason for name in PROGRAMS if (reason := problem(name))]
    print(*reasons, sep="\n", end="\n" if reasons else "", file=sys.stderr)
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
