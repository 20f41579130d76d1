"""Makes the machine that the tests run in: Debian's kernel, and a root file system with what storage hosts have.

Everything is from Debian's packages, but for the Python packages, which are those of this environment.  It is kept, and
made again only when what it is made of changes.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

RELEASE = "bookworm"
MIRROR = "http://deb.debian.org/debian"  # where apt does not say which it uses
PACKAGES = (
    *("busybox-static", "linux-image-amd64", "kmod", "udev", "iproute2", "procps", "util-linux"),
    *("lvm2", "thin-provisioning-tools", "open-iscsi", "nvme-cli", "multipath-tools", "lsscsi", "sg3-utils"),
    *("python3", "qemu-utils"),
)
ROOT_DISK_MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
OURS = (
    "imagevol",
    "imagevol_adapters",
    "imagevol_core",
)  # may change with every run, and go in by the shared directory
LEFT_OUT = ("pip", "setuptools")
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Machine:
    """What QEMU needs to start it.

    Attributes:
        directory: where it is kept.
    """

    directory: Path

    @property
    def kernel(self) -> Path:
        """As an ELF file, which boots faster than a compressed one."""
        return self.directory / "vmlinux"

    @property
    def initramfs(self) -> Path:
        """What finds the root disk."""
        return self.directory / "initramfs"

    @property
    def root(self) -> Path:
        """The disk with Debian."""
        return self.directory / "root.img"

    @property
    def site(self) -> Path:
        """The disk with Python packages."""
        return self.directory / "site.img"

    def make(self, site: Path) -> None:
        """Make what is missing or has changed; `site` is the directory with this environment's packages.

        Raises:
            subprocess.CalledProcessError: a command failed; what it says is on stderr.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self._made("root", "\n".join((RELEASE, *PACKAGES)), self._make_root)
        installed = sorted(f"{each.name} {each.version}" for each in distributions(path=[str(site)]))
        self._made("site", "\n".join(installed), lambda: self._make_site(site))
        self._make_initramfs()

    def _made(self, name: str, ingredients: str, make: Callable[[], None]) -> None:
        wanted = hashlib.sha256(ingredients.encode()).hexdigest()
        stamp = self.directory / f"{name}.stamp"
        if not stamp.exists() or stamp.read_text() != wanted:
            stamp.unlink(missing_ok=True)
            print(f"making the machine's {name} disk", flush=True)
            make()
            stamp.write_text(wanted)

    def _make_root(self) -> None:
        """Install Debian into a directory, and keep it as a disk, its kernel and the first modules."""
        tree = self.directory / "root"
        shutil.rmtree(tree, ignore_errors=True)
        private = (
            "unshare",
            "--mount",
            "--propagation=private",
        )  # what debootstrap mounts goes with it, however it ends
        options = ("--variant=minbase", f"--include={','.join(PACKAGES)}")
        command = [*private, "debootstrap", *options, RELEASE, str(tree), mirror()]
        log = self.directory / "debootstrap.log"
        with log.open("w") as file:  # no initramfs: the machine has its own
            done = subprocess.run(command, stdout=file, stderr=file, env={**os.environ, "INITRD": "No"}, check=False)
        if done.returncode:
            raise RuntimeError(f"debootstrap failed: {log.read_text()[-2000:]}")
        (packed,) = tree.glob("boot/vmlinuz-*")
        self.kernel.write_bytes(unpacked(packed.read_bytes()))
        kept = self.directory / "modules"
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        order = list(in_order(next(tree.glob("lib/modules/*/modules.dep")), ROOT_DISK_MODULES))
        for module in order:
            shutil.copy(module, kept)
        (kept / "order").write_text("".join(f"{module.name}\n" for module in order))
        shutil.copy(tree / "bin/busybox", self.directory)
        make_disk(self.root, tree, gib=3)
        shutil.rmtree(tree)

    def _make_site(self, site: Path) -> None:
        tree = self.directory / "site"
        shutil.rmtree(tree, ignore_errors=True)
        shutil.copytree(
            site, tree, symlinks=True, ignore=shutil.ignore_patterns(*(f"{name}*" for name in (*OURS, *LEFT_OUT)))
        )
        make_disk(self.site, tree, gib=1)
        shutil.rmtree(tree)

    def _make_initramfs(self) -> None:
        modules = sorted((self.directory / "modules").iterdir())
        applets = ("sh", "mount", "insmod", "cp", "switch_root")
        self.initramfs.write_bytes(
            cpio(
                *((name, 0o40755, b"") for name in ("bin", "dev", "modules", "root")),
                ("bin/busybox", 0o100755, (self.directory / "busybox").read_bytes()),
                *((f"bin/{applet}", 0o120777, b"busybox") for applet in applets),
                *((f"modules/{module.name}", 0o100644, module.read_bytes()) for module in modules),
                ("init", 0o100755, (HERE / "initramfs_init").read_bytes()),
                ("root_init", 0o100755, (HERE / "root_init").read_bytes()),
            )
        )


def mirror() -> str:
    """Give the mirror that apt uses here, or Debian's own."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", f"Codename: {RELEASE}", "Created-By: Packages"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return next(iter(found.stdout.split()), MIRROR)


def make_disk(path: Path, tree: Path, *, gib: int) -> None:
    """Make a file with an ext4 file system of what is in a directory; it takes no more space than it holds."""
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(gib << 30)
    command = ["mkfs.ext4", "-q", "-O", "^has_journal", "-E", "lazy_itable_init=1", "-d", str(tree), str(path)]
    subprocess.run(command, check=True)


def unpacked(kernel: bytes) -> bytes:
    """Give the ELF file in a kernel that boot loaders take (Documentation/x86/boot.rst)."""
    setup_sectors = kernel[0x1F1] or 4
    offset, length = struct.unpack_from("<II", kernel, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    return lzma.LZMADecompressor().decompress(kernel[start : start + length])


def in_order(modules_dep: Path, names: tuple[str, ...]) -> Iterator[Path]:
    """Give the files of modules, each after those that it needs."""
    needs = {}
    for line in modules_dep.read_text().splitlines():
        module, _, others = line.partition(":")
        needs[Path(module).stem] = [module, *others.split()]
    given: set[str] = set()
    for name in names:
        for module in reversed(needs.get(name, ())):  # one that is not there is built in
            if module not in given:
                given.add(module)
                yield modules_dep.parent / module


def cpio(*files: tuple[str, int, bytes]) -> bytes:
    """Give an archive as the kernel takes it, of names, modes and contents."""
    archive = bytearray()
    for number, (name, mode, content) in enumerate((*files, ("TRAILER!!!", 0, b"")), start=1):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        archive += bytes(-len(archive) % 4) + content
        archive += bytes(-len(archive) % 4)
    return bytes(archive)
