"""A file on storage that fails, lies or hangs on command: nbdkit has its bytes, and qemu-storage-daemon shows them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

SECONDS = 30  # passed only when something hangs that must not
MISSING = [
    package
    for program, package in {"nbdkit": "nbdkit", "qemu-storage-daemon": "qemu-system-common"}.items()
    if shutil.which(program) is None
]
PLUGIN = """
case "$1" in
  get_size) stat -Lc %s '{file}' ;;
  can_write|can_flush) exit 0 ;;
  pread) dd if='{file}' skip=$4 count=$3 iflag=skip_bytes,count_bytes status=none | {flip} ;;
  pwrite) {flip} | dd of='{file}' seek=$4 oflag=seek_bytes conv=notrunc status=none ;;
  flush) exit 0 ;;
  *) exit 2 ;;
esac
"""


@attrs.define
class Served:
    """A file that can be broken.

    Attributes:
        path: where it is read and written.
        broken: a file; while it is there, every read and write fails, or has its bytes changed.
        nbdkit: the process that has the bytes.
    """

    path: Path
    broken: Path
    nbdkit: subprocess.Popen[bytes]

    def break_(self) -> None:
        """From now on every read and write fails, or lies."""
        self.broken.touch()

    def hang(self) -> None:
        """From now on no read and no write is answered."""
        self.nbdkit.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Answer again."""
        self.nbdkit.send_signal(signal.SIGCONT)


@contextmanager
def failing(file: Path) -> Iterator[Served]:
    """A file whose reads and writes fail once it is broken."""
    broken = file.with_name(f"{file.name}.broken")
    arguments = ["--filter=error", "file", str(file), "error=EIO", "error-rate=100%", f"error-file={broken}"]
    with _served(file, broken, arguments) as served:
        yield served


@contextmanager
def slow(file: Path, *, seconds: float) -> Iterator[Served]:
    """A file each of whose reads and writes takes so long."""
    delays = [f"{name}={int(seconds * 1000)}ms" for name in ("rdelay", "wdelay")]
    with _served(file, file.with_name(f"{file.name}.broken"), ["--filter=delay", "file", str(file), *delays]) as served:
        yield served


@contextmanager
def lying(file: Path) -> Iterator[Served]:
    """A file of whose reads and writes a byte is another once it is broken, as of nbdkit's filter `evil` (1.36)."""
    broken = file.with_name(f"{file.name}.broken")
    flip = f"(test -e '{broken}' && tr 'a' 'b' || cat)"
    script = file.with_name(f"{file.name}.sh")
    script.write_text("#!/bin/sh\n" + PLUGIN.format(file=file, flip=flip))
    script.chmod(0o700)
    with _served(file, broken, ["sh", str(script)]) as served:
        yield served


@contextmanager
def _served(file: Path, broken: Path, arguments: list[str]) -> Iterator[Served]:
    socket, mounted = file.with_name(f"{file.name}.sock"), file.with_name(f"{file.name}.served")
    size_bytes = file.stat().st_size
    mounted.touch()
    with ExitStack() as stack:
        nbdkit = subprocess.Popen(["nbdkit", "--foreground", "--exit-with-parent", "--unix", str(socket), *arguments])
        stack.callback(_end, nbdkit)
        _wait(socket.exists, nbdkit)
        shown = subprocess.Popen(
            [
                "qemu-storage-daemon",
                *("--blockdev", f"driver=nbd,node-name=nbd,server.type=unix,server.path={socket}"),
                *("--blockdev", "driver=raw,node-name=raw,file=nbd"),
                *("--export", f"type=fuse,id=export,node-name=raw,mountpoint={mounted},writable=on"),
            ]
        )
        stack.callback(_unmounted, mounted)
        stack.callback(_end, shown)
        stack.callback(nbdkit.send_signal, signal.SIGCONT)  # or the other process waits for it
        stack.callback(broken.unlink, missing_ok=True)
        _wait(lambda: mounted.stat().st_size == size_bytes, shown)
        yield Served(mounted, broken, nbdkit)


def _wait(holds: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + SECONDS
    while not holds():
        assert process.poll() is None, f"{process.args!r} ended"
        assert time.monotonic() < until
        time.sleep(0.01)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(SECONDS)


def _unmounted(path: Path) -> None:
    if os.path.ismount(path):
        subprocess.run(["umount", "--lazy", str(path)], check=False)
