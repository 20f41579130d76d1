"""`python -m tests.cloud up | down | status | prerequisites`: a cloud by hand.

`down` and `prerequisites` run with any Python 3.11 or later and nothing installed.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from tests.cloud import bringup, prerequisites, teardown
from tests.cloud.processes import CHECKOUT, CloudError
from tests.cloud.record import Cloud

DEFAULT_DIRECTORY = CHECKOUT / ".cloud"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cloud", description=__doc__)
    parser.add_argument("--directory", type=Path, default=DEFAULT_DIRECTORY, help="where the cloud lives")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start a cloud and leave it running")
    ending = commands.add_parser("down", help="take it down, whatever state it is in")
    ending.add_argument("--keep-logs", action="store_true", help="keep its logs")
    commands.add_parser("status", help="say which services run")
    needs = commands.add_parser("prerequisites", help="say what is missing to start one")
    needs.add_argument("--install", action="store_true", help="install Debian packages, as root")
    needs.add_argument("--broker", action="store_true", help="for one with several cinder-volume processes, too")
    needs.add_argument("--faults", action="store_true", help="for failing storage and killed processes, too")
    arguments = parser.parse_args()
    # So that a terminated `up` takes down what it had started.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    directory = arguments.directory.resolve()
    try:
        match arguments.command:
            case "up":
                return _up(directory)
            case "down":
                return _down(directory, keep_logs=arguments.keep_logs)
            case "status":
                return _status(directory)
            case _:
                return _prerequisites(install=arguments.install, broker=arguments.broker, faults=arguments.faults)
    except (CloudError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    except PermissionError as error:
        print(f"{error}: run this as root", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: what was started is taken down", file=sys.stderr)
        return 130


def _up(directory: Path) -> int:
    if cloud := bringup.running_in(directory):
        print(f"a cloud runs in {directory} already")
    else:
        cloud = bringup.up(directory, report=_report)
    print(f"use it:  {cloud.usage()}")
    place = "" if directory == DEFAULT_DIRECTORY else f" --directory {directory}"
    print(f"end it:  python -m tests.cloud{place} down")
    return 0


def _report(step: str, seconds: float) -> None:
    print(f"{seconds:6.1f} s  {step}", flush=True)


def _down(directory: Path, *, keep_logs: bool) -> int:
    found = teardown.down(directory, keep_logs=keep_logs)
    print(f"{'taken down:' if found else 'nothing to take down in'} {directory}")
    return 0


def _status(directory: Path) -> int:
    cloud = Cloud.load(directory)
    services = cloud.services()
    for name, lives in services.items():
        print(f"{name:10} {'runs' if lives else 'STOPPED':8} log: {cloud.log(name)}")
    print(f"use it:  {cloud.usage()}")
    return 0 if all(services.values()) else 1


def _prerequisites(*, install: bool, broker: bool, faults: bool) -> int:
    packages = prerequisites.missing_packages(broker=broker, faults=faults)
    if not packages:
        print("every Debian package is there")
        return 0
    if install and os.geteuid() == 0:
        prerequisites.install(packages)
        return 0
    print(f"run as root: {shlex.join(prerequisites.install_command(packages))}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
