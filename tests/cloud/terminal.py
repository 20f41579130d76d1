"""`python -m tests.cloud.terminal`: record the session of the home page anew, on real services.

Writes docs/_data/terminal.json and docs/_static/terminal.svg. A test compares the commands with what the programs take.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from imagevol_adapters.waiting import wait_until
from tests.cloud.bringup import running
from tests.cloud.disk_image import make_disk_image
from tests.cloud.processes import CHECKOUT
from tests.cloud.record import Cloud

# What each command is for, and the command.
SESSION = (
    (
        "Store a disk image in a volume, and register it in Glance",
        (
            "imagevol put disk.raw --register debian --store fast --volume-type fast"
            " -c volume_id -c image_id -c size_bytes -c digest --max-width 96"
        ),
    ),
    (
        "How will a new volume be created from it?",
        "imagevol explain debian --size 2 --host rig@fast#fast | head -n 4",
    ),
    (
        "And on another backend?",
        "imagevol explain debian --size 2 --host rig@slow#slow | head -n 6",
    ),
    (
        "Let Cinder create the volume",
        "openstack volume create --image debian --size 2 --type fast root-disk -f value -c status",
    ),
    (
        "A moment later",
        "openstack volume show root-disk -f value -c status -c size",
    ),
    (
        "Read the image back: imagevol compares it with its digest",
        "imagevol get debian back.raw && cmp disk.raw back.raw && echo 'the same, byte for byte'",
    ),
)
DOCS = CHECKOUT / "docs"


def main() -> int:
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with running(CHECKOUT / ".cloud") as cloud:
        work = cloud.directory / "terminal"
        work.mkdir()
        make_disk_image(work).raw.rename(work / "disk.raw")
        commands = [
            {"about": about, "typed": typed, "printed": printed(typed, cloud, work)} for about, typed in SESSION
        ]
    written = {"recorded_with": "python -m tests.cloud.terminal", "commands": commands}
    (DOCS / "_data" / "terminal.json").write_text(json.dumps(written, indent=2) + "\n")
    subprocess.run([sys.executable, DOCS / "_ext" / "terminal_picture.py"], check=True)
    return 0


def printed(typed: str, cloud: Cloud, work: Path) -> str:
    """Run one command as the project of the stores, and give what it prints."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    clouds = {"OS_CLIENT_CONFIG_FILE": str(cloud.clouds_yaml), "OS_CLOUD": "service"}
    environment = {**os.environ, **clouds, "PATH": programs, "COLUMNS": "100"}
    done = subprocess.run(["bash", "-c", typed], cwd=work, env=environment, capture_output=True, text=True, check=False)
    print(f"$ {typed}\n{done.stdout}{done.stderr}", flush=True)
    done.check_returncode()
    if "volume create" in typed:  # the next command is typed when the volume is there
        wait_until(
            lambda: status_of("root-disk", environment),
            lambda status: status == "available",
            what="the volume is not available",
            seconds=120,
        )
    return re.sub(r"[ \t]+$", "", done.stdout, flags=re.MULTILINE)


def status_of(volume: str, environment: dict[str, str]) -> str:
    """Ask Cinder for the status of a volume."""
    command = ["openstack", "volume", "show", volume, "-f", "value", "-c", "status"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
