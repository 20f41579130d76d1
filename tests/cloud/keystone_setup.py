"""Create Keystone's schema and its first administrator: `python -m ... CONFIGURATION URL`.

In one process, because importing Keystone takes as long as the work. The password comes in
OS_BOOTSTRAP_PASSWORD.
"""

import os
import sys

from keystone.cmd import cli

from tests.cloud.settings import REGION


def main(configuration: str, url: str) -> None:
    interfaces = ("public", "internal", "admin")
    endpoints = [f"--bootstrap-{interface}-url={url}" for interface in interfaces]
    for command in (["db_sync"], ["bootstrap", f"--bootstrap-region-id={REGION}", *endpoints]):
        # Keystone's commands configure the process, which can be done only once.
        child = os.fork()
        if not child:
            cli.main(argv=["keystone-manage", "--config-file", configuration, *command])
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            raise SystemExit(f"keystone-manage {command[0]} failed")


if __name__ == "__main__":
    main(*sys.argv[1:])
