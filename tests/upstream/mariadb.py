"""A MariaDB for the tests, as Cinder is run on: it compares text otherwise than SQLite.

It is found only where it is installed.  It listens on a Unix socket in a directory of its own, and has no accounts.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

__all__ = ["PACKAGE", "program", "running"]

PACKAGE = "mariadb-server-core"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # a login shell's may lack sbin
_SECONDS = 60


def program() -> str | None:
    """The server's program; None where it is not installed."""
    return shutil.which("mariadbd", path=_PATH)


@contextmanager
def running(directory: Path) -> Iterator[str]:
    """Run a server while the context lasts, and give the URL of an empty database on it.

    Args:
        directory: for its files.  The path must be short: it is part of the name of a socket.
    """
    socket, statements = directory / "sock", directory / "start.sql"
    statements.write_text("CREATE DATABASE cinder;\n")
    command = [
        program() or "mariadbd",
        "--no-defaults",
        "--user=root",
        f"--datadir={directory}/data",
        f"--tmpdir={directory}",
        f"--socket={socket}",
        f"--pid-file={directory}/pid",
        f"--init-file={statements}",
        "--skip-networking",
        "--skip-grant-tables",
        "--character-set-server=utf8",
        "--performance-schema=off",
        "--innodb-buffer-pool-size=64M",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-doublewrite=0",
    ]
    (directory / "data").mkdir()
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        until = time.monotonic() + _SECONDS
        while not socket.exists():
            assert server.poll() is None, (directory / "log").read_text(errors="replace")[-2000:]
            assert time.monotonic() < until, f"mariadbd has no socket after {_SECONDS} s"
            time.sleep(0.1)
        # The rows of the tests name types and images that are in no table.
        options = {"unix_socket": socket, "charset": "utf8", "init_command": "SET FOREIGN_KEY_CHECKS = 0"}
        yield f"mysql+pymysql://root@localhost/cinder?{urlencode(options)}"
    finally:
        server.terminate()
        server.wait(_SECONDS)
