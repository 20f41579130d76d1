"""Make a disk image as real ones are: partitioned, with a file system, mostly holes.

GPT, and one ext4 file system with files in it, some of them text and some incompressible; as raw
and as qcow2. Nothing is mounted, so it takes no root. The same seed gives the same files.
"""

import random
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.cloud.processes import SYSTEM_PATH

MIB = 1 << 20
GIB = 1 << 30
# Where partitioning tools begin; and after the last partition the table is kept a second time.
FILE_SYSTEM_OFFSET = MIB
SECOND_TABLE = MIB

PROGRAMS, PROGRAM_BYTES = 48, 3 * MIB
DOCUMENTS, DOCUMENT_BYTES = 400, 128 * 1024
LOG_BYTES = 24 * MIB


@dataclass(frozen=True, kw_only=True)
class DiskImage:
    """One disk in two formats."""

    raw: Path
    qcow2: Path
    size_bytes: int
    #: What the raw file takes on its file system; the rest are holes.
    written_bytes: int
    #: Where in the disk its ext4 file system begins.
    file_system_offset: int = FILE_SYSTEM_OFFSET


def make_disk_image(directory: Path, *, size_gib: int = 1, seed: int = 1) -> DiskImage:
    """Make `disk.raw` and `disk.qcow2` in this directory."""
    raw, qcow2 = directory / "disk.raw", directory / "disk.qcow2"
    size = size_gib * GIB
    file_system_size = size - FILE_SYSTEM_OFFSET - SECOND_TABLE
    with raw.open("wb") as file:
        file.truncate(size)
    table = f"label: gpt\nstart=1MiB, size={file_system_size // 512}, type=linux, name=root\n"
    _run("sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", raw, stdin=table)
    with tempfile.TemporaryDirectory(dir=directory) as tree:
        _write_files(Path(tree), random.Random(seed))
        at = f"offset={FILE_SYSTEM_OFFSET},root_owner=0:0"
        blocks = f"{file_system_size // 1024}k"
        _run("mkfs.ext4", "-q", "-L", "root", "-E", at, "-d", tree, raw, blocks)
    _run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2)
    written = raw.stat().st_blocks * 512
    return DiskImage(raw=raw, qcow2=qcow2, size_bytes=size, written_bytes=written)


def _write_files(tree: Path, randomness: random.Random) -> None:
    words = [randomness.randbytes(randomness.randint(1, 5)).hex() for _ in range(2000)]

    def text(size: int) -> bytes:
        # A page drawn once and repeated: drawing all of it would take seconds.
        page = (" ".join(randomness.choices(words, k=2000)) + "\n").encode()
        return (page * (size // len(page) + 1))[:size]

    files = {"etc/hostname": b"demo\n", "var/log/syslog": text(LOG_BYTES)}
    files |= {f"usr/bin/program{n}": randomness.randbytes(PROGRAM_BYTES) for n in range(PROGRAMS)}
    files |= {f"usr/share/doc/{n}.txt": text(DOCUMENT_BYTES) for n in range(DOCUMENTS)}
    for name, content in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _run(program: str, *arguments: str | Path, stdin: str = "") -> None:
    found = shutil.which(program, path=SYSTEM_PATH) or program
    subprocess.run([found, *arguments], input=stdin, text=True, check=True)
