"""A cloud leaves nothing behind, however its start or its owner ended."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cloud.bringup import up
from tests.cloud.processes import CHECKOUT, CloudError, marked, ticks
from tests.cloud.record import MARKER
from tests.cloud.settings import Settings
from tests.cloud.teardown import down, loop_devices, mount_points

pytestmark = pytest.mark.smoke

PATIENCE = 60.0
OWNER = """
import pathlib, sys, tests.cloud.bringup
with tests.cloud.bringup.running(pathlib.Path(sys.argv[1])):
    pass
"""


def left_behind(directory: Path) -> list[object]:
    """Processes, mounts and loop devices of this directory's cloud."""
    return [*marked(directory), *mount_points(directory), *loop_devices(directory)]


@contextmanager
def starter(*arguments: str, directory: Path, started: int) -> Iterator[None]:
    """A program that starts a cloud, killed as soon as so many processes of that cloud run."""
    program = subprocess.Popen([sys.executable, *arguments], cwd=CHECKOUT, stdout=subprocess.DEVNULL)
    with program:
        for _ in ticks(PATIENCE, interval=0.01):
            if len(marked(directory)) >= started and mount_points(directory):
                break
        program.send_signal(signal.SIGKILL)
    assert program.returncode == -signal.SIGKILL
    yield


@pytest.fixture
def directory(tmp_path: Path, able_machine: None) -> Iterator[Path]:
    directory = tmp_path / "cloud"
    yield directory
    if directory.exists():
        down(directory)


# One process: the database. Four: Keystone, its worker and Cinder, or what makes the databases the first time.
@pytest.mark.parametrize("started", [1, 4])
def test_down_removes_all_of_a_cloud_whose_starter_was_killed(directory: Path, started: int) -> None:
    command = ("-m", "tests.cloud", "--directory", str(directory), "up")
    with starter(*command, directory=directory, started=started):
        assert left_behind(directory)
        # -S: without anything that is installed.
        ended = [sys.executable, "-S", "-m", "tests.cloud", "--directory", str(directory), "down"]
        subprocess.run(ended, cwd=CHECKOUT, check=True, stdout=subprocess.DEVNULL)
    assert left_behind(directory) == []
    assert not directory.exists()


def test_a_cloud_goes_when_its_owner_is_killed(directory: Path) -> None:
    with starter("-c", OWNER, str(directory), directory=directory, started=4):
        for _ in ticks(PATIENCE):
            if not directory.exists() and not left_behind(directory):  # the watchdog itself goes last
                break
    assert left_behind(directory) == []
    assert not directory.exists()


def test_a_start_that_fails_names_the_service_and_leaves_only_logs(directory: Path) -> None:
    broken = Settings(overrides={"keystone/keystone.conf": {"token": {"provider": "nonsense"}}})
    with pytest.raises(CloudError, match=r"(?s)keystone(-setup)? .*ends:.*nonsense"):
        up(directory, broken)
    assert left_behind(directory) == []
    assert {entry.name for entry in directory.iterdir()} == {"log", MARKER}


def test_down_detaches_loop_devices_of_deleted_files_and_of_no_other_cloud(directory: Path, tmp_path: Path) -> None:
    # A name that begins like the other's: paths are compared whole.
    other = tmp_path / "cloud2"
    for place in (directory, other):
        place.mkdir()
        (place / MARKER).touch()
        (place / "volume").write_bytes(bytes(1 << 20))
        subprocess.run(["losetup", "--find", str(place / "volume")], check=True)
    (directory / "volume").unlink()
    assert down(directory)
    assert left_behind(directory) == []
    assert len(left_behind(other)) == 1
    assert down(other)


def test_down_does_nothing_twice(directory: Path) -> None:
    assert not down(directory)


def test_a_directory_of_somebody_else_is_left_alone(directory: Path) -> None:
    directory.mkdir()
    (directory / "thesis").touch()
    with pytest.raises(CloudError, match="left alone"):
        down(directory)
    with pytest.raises(CloudError, match="other files"):
        up(directory)
    assert [entry.name for entry in directory.iterdir()] == ["thesis"]
    (directory / "thesis").unlink()
    (directory / MARKER).touch()
