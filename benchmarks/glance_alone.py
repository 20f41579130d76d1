"""What Glance and its web server take for the data of an upload, with no store behind: CPU seconds for each GiB.

`python -m benchmarks.glance_alone PIECE_KIB KEEP` reads one request through gunicorn, WebOb, Glance's wrappers and the
inspection of formats, and drops the data.  A process each, because memory that was freed once is kept.
"""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from importlib import import_module
from typing import Any

from imagevol_adapters.freed_memory import keep_freed_memory

MIB = 1 << 20
SIZE_MIB = 512


def read(piece_bytes: int) -> float:
    """Read a request in pieces, and give the CPU seconds of that for each GiB."""
    body, unreader = (import_module(f"gunicorn.http.{name}") for name in ("body", "unreader"))
    limited: Any = import_module("webob.request").LimitedLengthFile
    wrapper: Any = import_module("oslo_utils.imageutils.format_inspector").InspectWrapper
    utils: Any = import_module("glance.common.utils")
    size_bytes = SIZE_MIB * MIB
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = subprocess.Popen([sys.executable, "-c", _CLIENT, str(server.getsockname()[1]), str(SIZE_MIB)])
        connection, _ = server.accept()
        with connection, client:
            request = body.Body(body.LengthReader(unreader.SocketUnreader(connection), size_bytes))
            data = wrapper(limited(request, size_bytes))
            image = utils.LimitingReader(utils.CooperativeReader(data), size_bytes)
            before = time.process_time()
            reader = threading.Thread(target=lambda: all(iter(lambda: image.read(piece_bytes), b"")))
            reader.start()
            reader.join()
            return (time.process_time() - before) * 1024 / SIZE_MIB


_CLIENT = """
import os, socket, sys
data = os.urandom(1 << 20)
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    for _ in range(int(sys.argv[2])):
        connection.sendall(data)
"""


def digest(name: str) -> float:
    """Give the CPU seconds of a digest for each GiB."""
    data = os.urandom(32 * MIB)
    make: Any = import_module("blake3").blake3 if name == "blake3" else getattr(hashlib, name)
    before = time.process_time()
    make(data)
    return (time.process_time() - before) * 32


def alone() -> dict[str, float]:
    """Measure each part by itself."""
    command = (sys.executable, "-W", "ignore", "-m", "benchmarks.glance_alone")
    reading = {
        name: float(subprocess.check_output([*command, *options], stderr=subprocess.DEVNULL, text=True))
        for name, options in {
            "a request, as imagevol reads it": ("1024", "keep"),
            "a request, as glance_store reads it": ("4096",),
        }.items()
    }
    found = {**{name: digest(name) for name in ("md5", "sha512", "blake3")}, **reading}
    return {name: round(seconds, 2) for name, seconds in found.items()}


if __name__ == "__main__":
    if "keep" in sys.argv:
        keep_freed_memory()
    print(read(int(sys.argv[1]) * 1024))
