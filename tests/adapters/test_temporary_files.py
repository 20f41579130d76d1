"""A temporary file that a killed process left is told from one that is used, and nothing else is deleted."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import gethostname
from unittest.mock import patch

import pytest

from imagevol_adapters.cli.files import appearing
from imagevol_adapters.left_files import delete_left_file, file_of_this_host, left_file, left_files
from imagevol_adapters.repairing import RepairState
from imagevol_adapters.temporary_files import in_use
from imagevol_core import InUse, RequestRefused
from tests.adapters.repairing_cloud import FAULTS, RepairCloud

NAME = "imagevol-abcd1234.qcow2"


@pytest.fixture
def left(tmp_path: Path) -> Path:
    file = tmp_path / NAME
    file.write_bytes(b"a part of an image")
    long_ago = (datetime.now(UTC) - timedelta(days=9)).timestamp()
    os.utime(file, (long_ago, long_ago))
    return file


@pytest.mark.parametrize(
    "name, ours",
    [
        (NAME, True),
        ("imagevol-a_b_c_d_", True),
        (".imagevol-0123456789abcdef", True),
        (".imagevol-abcd_123", True),
        ("imagevol-journal.jsonl", False),
        ("imagevol-ABCD1234.qcow2", False),
        (".imagevol-", False),
        ("disk.raw.imagevol-part", False),  # with which a command goes on
        ("tmpabcd1234", False),
        (f"{NAME}.mine.too", False),
    ],
)
def test_only_files_with_names_that_our_procedures_give_are_looked_at(tmp_path: Path, name: str, ours: bool) -> None:
    (tmp_path / name).touch()
    assert [Path(each.path).name for each in left_files([tmp_path, tmp_path])] == [name] * ours
    if not ours:
        with pytest.raises(RequestRefused):
            delete_left_file(tmp_path / name)
    assert (tmp_path / name).exists()


def test_links_directories_and_other_users_files_are_not_looked_at(tmp_path: Path, left: Path) -> None:
    link, directory = tmp_path / "imagevol-abcd1235.raw", tmp_path / "imagevol-abcd1236"
    link.symlink_to(left)
    directory.mkdir()
    assert [each.path for each in left_files([tmp_path, tmp_path / "nosuch"])] == [str(left)]
    with pytest.raises(RequestRefused):
        delete_left_file(link)
    found = os.lstat(left)
    with patch("os.lstat", return_value=os.stat_result((found.st_mode, 1, 1, 1, found.st_uid + 1, *found[5:10]))):
        assert left_file(left) is None


def test_a_file_is_in_use_as_long_as_a_process_has_it_locked(left: Path) -> None:
    program = "import sys; from pathlib import Path; from imagevol_adapters.temporary_files import in_use\n"
    program += "with in_use(Path(sys.argv[1])): print(1, flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(left)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        found = left_file(left)
        assert found is not None
        assert found.in_use is True
        with pytest.raises(InUse):
            delete_left_file(left)
        process.kill()
    found = left_file(left)
    assert found is not None
    assert found.in_use is False
    delete_left_file(left)
    assert not left.exists()
    delete_left_file(left)  # which is gone


def test_that_a_file_cannot_be_looked_into_is_not_that_nothing_uses_it(left: Path) -> None:
    with patch("imagevol_adapters.left_files.os.open", side_effect=PermissionError(13, "Permission denied")):
        found = left_file(left)
        with pytest.raises(RequestRefused, match="do it as root"):
            delete_left_file(left)
    assert found is not None
    assert found.in_use is None
    with patch("imagevol_adapters.left_files.fcntl.flock", side_effect=OSError(95, "not supported")):
        found = left_file(left)
        with in_use(left):  # as on a file system without locks
            pass
    assert found is not None
    assert found.in_use is None


def test_a_file_is_of_its_host_only(left: Path) -> None:
    assert file_of_this_host(f"{gethostname()}:{left}") is not None
    assert file_of_this_host(f"another-host:{left}") is None


def test_a_file_that_a_command_writes_is_in_use_until_it_has_its_name(tmp_path: Path) -> None:
    with patch("imagevol_adapters.cli.files._unnamed", return_value=None), appearing(tmp_path / "disk.raw"):
        assert [each.in_use for each in left_files([tmp_path])] == [True]
    assert [each.name for each in tmp_path.iterdir()] == ["disk.raw"]


class TestRepair:
    @pytest.fixture
    def cloud(self) -> RepairCloud:
        cloud = RepairCloud()
        FAULTS["temporary-file-left"](cloud)
        return cloud

    def test_a_file_that_a_process_uses_by_now_stays(self, cloud: RepairCloud, tmp_path: Path) -> None:
        journal = cloud.journal(tmp_path / "journal", cloud.audit())
        (left,) = cloud.directories[0].iterdir()
        with in_use(left), journal:
            assert [each.state for each in cloud.repairs(journal).apply()] == [RepairState.GONE]
        assert left.exists()
        assert [each.state for each in cloud.resume(tmp_path / "journal")] == [RepairState.DONE]
        assert not left.exists()

    def test_a_file_of_another_host_is_left_to_it(self, cloud: RepairCloud, tmp_path: Path) -> None:
        with patch("imagevol_adapters.left_files.socket.gethostname", return_value="another-host"):
            found = cloud.audit()
        journal = cloud.journal(tmp_path / "journal", found)
        with journal:
            (result,) = cloud.repairs(journal).apply()
        assert result.state is RepairState.LEFT
        assert "another-host" in str(result.reason)
        assert list(cloud.directories[0].iterdir())
