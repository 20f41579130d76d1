"""The file that a command writes: it has its name only when it is whole."""

from __future__ import annotations

import errno
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagevol_adapters.cli.files import appearing
from imagevol_core import RequestRefused


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory of a file system that has files without a name: that of the tests may have none."""
    parent = Path("/dev/shm")
    if not parent.is_dir():
        pytest.skip("/dev/shm is not there: mount a tmpfs")
    with tempfile.TemporaryDirectory(dir=parent) as directory:
        yield Path(directory)


@pytest.fixture
def no_unnamed_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that has none, such as NFS."""
    opened = os.open

    def refusing(path: str, flags: int, mode: int = 0o777, **options: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return opened(path, flags, mode, **options)

    monkeypatch.setattr(os, "open", refusing)


def test_a_process_that_is_killed_leaves_no_file(memory: Path) -> None:
    child = os.fork()
    if not child:
        try:
            with appearing(memory / "disk.raw") as partial:
                partial.write_bytes(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert list(memory.iterdir()) == []


def failing(partial: Path) -> None:
    partial.write_bytes(b"half")
    raise ZeroDivisionError


def whole(directory: Path) -> None:
    """Hold what holds of every file system."""
    path = directory / "disk.raw"
    with appearing(path) as partial:
        partial.write_bytes(b"whole")
        assert not path.exists()
    assert [each.name for each in directory.iterdir()] == ["disk.raw"]
    assert path.read_bytes() == b"whole"
    assert path.stat().st_nlink == 1
    with pytest.raises(ZeroDivisionError), appearing(directory / "other.raw") as partial:
        failing(partial)
    with pytest.raises(RequestRefused), appearing(directory / "late.raw") as partial:
        (directory / "late.raw").write_bytes(b"theirs")
    assert (directory / "late.raw").read_bytes() == b"theirs"
    assert sorted(each.name for each in directory.iterdir()) == ["disk.raw", "late.raw"]


def test_a_file_appears_when_it_is_whole_or_not_at_all(memory: Path) -> None:
    whole(memory)


@pytest.mark.usefixtures("no_unnamed_files")
def test_on_a_file_system_without_unnamed_files_a_file_still_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    whole(tmp_path)
