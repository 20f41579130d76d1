"""Root keeps its locks only where no other user can lead it elsewhere."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from imagevol_adapters.brick import become_privileged
from imagevol_adapters.lock_directory import lock_directory
from imagevol_core import AttachFailed

ANOTHER = 12345  # a user's ID

Change = Callable[[Path], object]


def to_another(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("not root: only root gives a directory away")
    os.chown(path, ANOTHER, ANOTHER)


def with_link(path: Path) -> None:
    (path / "os-brick-connect").symlink_to("/etc/passwd")


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    path = tmp_path / "parent"
    path.mkdir(mode=0o755)
    return path


@pytest.mark.parametrize("depth", [(), ("a",), ("a", "b")])
def test_a_lock_directory_is_created_for_root_alone_and_used_again(parent: Path, depth: tuple[str, ...]) -> None:
    path = parent.joinpath(*depth, "locks")
    before = os.umask(0)
    try:
        assert lock_directory(path) == path
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(each.stat().st_mode) == 0o755 for each in path.parents[: len(depth)])
    (path / "os-brick-connect").touch()
    assert lock_directory(path) == path


@pytest.mark.parametrize(
    "change, reason",
    [
        (to_another, f"belongs to user {ANOTHER}"),
        (lambda path: path.chmod(0o777), r"users other than its owner can write to .* \(mode 0777\)"),
        (lambda path: path.chmod(0o770), "users other than its owner can write"),
        (lambda path: path.chmod(0o1777), "users other than its owner can write"),
        (with_link, "contains the symbolic link 'os-brick-connect'"),
    ],
)
def test_a_lock_directory_where_others_can_write_or_have_written_is_refused(
    parent: Path, change: Change, reason: str
) -> None:
    path = parent / "locks"
    path.mkdir(mode=0o700)
    change(path)
    with pytest.raises(AttachFailed, match=rf"{reason}.* Choose a directory that only root can write to"):
        lock_directory(path)


@pytest.mark.parametrize("change", [to_another, lambda path: path.chmod(0o777), lambda path: path.chmod(0o775)])
def test_a_lock_directory_that_others_can_exchange_is_refused(parent: Path, change: Change) -> None:
    path = parent / "below" / "locks"
    lock_directory(path)
    change(parent)
    with pytest.raises(AttachFailed, match=str(parent)):
        lock_directory(path)
    with pytest.raises(AttachFailed, match=str(parent)):
        lock_directory(parent / "new" / "locks")
    assert not (parent / "new").exists()


def test_a_sticky_directory_above_the_lock_directory_is_accepted(parent: Path) -> None:
    """As in /run/lock of some systems."""
    parent.chmod(0o1777)
    assert lock_directory(parent / "locks") == parent / "locks"


def test_a_link_is_refused_as_the_directory_whoever_made_it(parent: Path) -> None:
    (parent / "real").mkdir(mode=0o700)
    (parent / "locks").symlink_to(parent / "real")
    with pytest.raises(AttachFailed, match="is a symbolic link"):
        lock_directory(parent / "locks")


@pytest.mark.parametrize("target", ["{}/real", "real", "../parent/real"])
def test_a_link_of_root_on_the_way_leads_to_where_no_link_is(parent: Path, target: str) -> None:
    """As /var/run leads to /run."""
    (parent / "real").mkdir()
    (parent / "var").symlink_to(target.format(parent))
    assert lock_directory(parent / "var" / "locks") == parent / "real" / "locks"


def test_a_link_of_another_user_on_the_way_is_refused(parent: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("not root: only root gives a link away")
    (parent / "real").mkdir()
    (parent / "var").symlink_to("real")
    os.lchown(parent / "var", ANOTHER, ANOTHER)
    with pytest.raises(AttachFailed, match=f"belongs to user {ANOTHER}"):
        lock_directory(parent / "var" / "locks")
    assert not (parent / "real" / "locks").exists()


def test_links_in_a_circle_are_refused(parent: Path) -> None:
    (parent / "one").symlink_to("two")
    (parent / "two").symlink_to("one")
    with pytest.raises(AttachFailed, match="too many symbolic links"):
        lock_directory(parent / "one" / "locks")


def test_what_is_no_directory_is_refused(parent: Path) -> None:
    (parent / "file").touch()
    for path in (parent / "file", parent / "file" / "locks"):
        with pytest.raises(AttachFailed, match="is not a directory"):
            lock_directory(path)
    with pytest.raises(AttachFailed, match="is not an absolute path"):
        lock_directory(Path("locks"))


def test_os_brick_is_not_set_up_with_a_refused_lock_directory(parent: Path) -> None:
    parent.chmod(0o777)
    with pytest.raises(AttachFailed, match="os-brick cannot keep its locks in"):
        become_privileged(parent / "locks")
