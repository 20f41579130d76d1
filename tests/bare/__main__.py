"""`python -m tests.bare`: what a newcomer sees who runs `make demo` and `make test` on a bare Debian 12.

Makes a bare Debian 12 with debootstrap, clones the committed tree into it, runs make there and removes it. Needs root.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.bare import machine

CHECKOUT = Path(__file__).parents[2]
DIRECTORY = CHECKOUT / ".nox" / "bare"
LAST_LINES = 12


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bare", description=__doc__)
    parser.add_argument(
        "targets", nargs="*", default=["demo", "test"], help="Run these targets of make (default: demo test)"
    )
    parser.add_argument("--keep", action="store_true", help="Keep the machine's root directory")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("Cannot make a bare Debian 12: debootstrap and mounts need root. Run this as root.", file=sys.stderr)
        return 1
    # So that what is terminated removes what it had made.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        if packages := machine.missing():
            machine.install(packages)
        return newcomer(arguments.targets, keep=arguments.keep)
    except (OSError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted: the machine is removed.", file=sys.stderr)
        return 130


def newcomer(targets: list[str], *, keep: bool) -> int:
    """Clone the committed tree into a new machine and run make: give the first exit status that is not 0."""
    failed = 0
    with machine.machine(DIRECTORY, keep=keep) as bare:
        bundle = bare.root / "root" / "imagevol.bundle"
        git = ["git", "-c", "safe.directory=*", "-C", str(CHECKOUT)]
        subprocess.run([*git, "bundle", "create", "--quiet", str(bundle), "HEAD"], check=True)
        commands = [
            "git clone --quiet --config advice.detachedHead=false imagevol.bundle imagevol",
            *(f"make -C imagevol {target}" for target in targets),
        ]
        for number, command in enumerate(commands):
            log = DIRECTORY / f"{number}-{command.split()[-1]}.log"
            start = time.monotonic()
            status = bare.run(command, log)
            print(f"$ {command}", *last_lines(log), sep="\n")
            print(
                f"exit status {status} after {time.monotonic() - start:.0f} s; all of its output: {log}\n", flush=True
            )
            failed = failed or status
        reports = bare.root / "root" / "imagevol" / ".nox" / "reports"
        if reports.is_dir():  # how long each test took
            shutil.copytree(reports, DIRECTORY / "reports", dirs_exist_ok=True)
        if keep:
            print(f"The machine is kept in {bare.root}. Remove it with: rm -rf {bare.root}")
    return failed


def last_lines(log: Path) -> list[str]:
    """Give the last lines of what was printed; of a line that was printed over, what was printed last."""
    lines = log.read_text(errors="replace").splitlines()
    return [line.rpartition("\r")[2] for line in lines[-LAST_LINES:]]


if __name__ == "__main__":
    sys.exit(main())
