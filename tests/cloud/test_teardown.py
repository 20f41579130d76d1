"""A cloud that cannot be taken down says what holds it."""

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cloud import teardown
from tests.cloud.processes import CloudError

MIB = 1 << 20
HOLD = {
    "an open file": "file = open('FILE'); ",
    "a mapped file": "import mmap; file = open('FILE'); held = mmap.mmap(file.fileno(), 0, prot=1); file.close(); ",
    "a working directory": "import os; os.chdir('DIRECTORY'); ",
    "a mount namespace of its own": "",
}
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/loop-control").exists(), reason="loop devices and mounts need root"
)


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system on a loop device, as a cloud has them for its volumes."""
    monkeypatch.setattr(teardown, "RELEASE_SECONDS", 0.5)
    disk, mount = tmp_path / "disk", tmp_path / "mount"
    with disk.open("wb") as file:
        file.truncate(32 * MIB)
    mount.mkdir()
    subprocess.run(["mkfs.ext4", "-q", disk], check=True)
    subprocess.run(["mount", "-o", "loop", disk, mount], check=True)
    (mount / "file").write_bytes(bytes(mmap.PAGESIZE))
    yield mount
    teardown.release(tmp_path)


@pytest.mark.parametrize("how", HOLD)
def test_the_process_that_holds_it_is_named(mounted: Path, how: str) -> None:
    program = HOLD[how].replace("FILE", str(mounted / "file")).replace("DIRECTORY", str(mounted))
    command = [sys.executable, "-c", f"{program}print('ready', flush=True); input()"]
    if how == "a mount namespace of its own":
        command = ["unshare", "--mount", "--propagation=private", *command]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            with pytest.raises(CloudError, match=rf"still in use \(by .*\b{process.pid}\b.*\): end that first"):
                teardown.release(mounted.parent)
        finally:
            process.kill()
