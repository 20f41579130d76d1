"""What is kept for other clouds is of the releases that are installed, and of no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cloud import prepared

pytestmark = pytest.mark.smoke

MADE = {"project_ids": {"demo": "1"}, "user_ids": {"cinder": "2"}}


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment of its own, with a release of a service."""
    monkeypatch.setattr(prepared, "PLACE", tmp_path / "kept")
    monkeypatch.setattr(prepared, "INSTALLED", tmp_path / "installed")
    (tmp_path / "installed/keystone-30.0.0.dist-info").mkdir(parents=True)
    return tmp_path


def started(place: Path, name: str) -> bool:
    """Whether a cloud of this name had the databases made; it has them."""
    target, made = place / name, []
    target.mkdir()

    def make() -> prepared.Ids:
        made.append(name)
        (target / "rows").write_text("of a fresh cloud")
        return MADE

    assert prepared.copied(target, make) == MADE
    assert (target / "rows").read_text() == "of a fresh cloud"
    (target / "rows").write_text("changed by this cloud")
    return bool(made)


def test_databases_are_made_for_the_first_cloud_and_copied_for_the_others(place: Path, able_machine: None) -> None:
    assert [started(place, name) for name in ("first", "second", "third")] == [True, False, False]


def test_with_another_release_they_are_made_again_and_the_others_are_forgotten(place: Path, able_machine: None) -> None:
    assert started(place, "before")
    kept = prepared.key()
    (place / "installed/keystone-30.0.0.dist-info").rename(place / "installed/keystone-30.0.1.dist-info")
    assert started(place, "after")
    assert kept != prepared.key()
    assert sorted(entry.name for entry in (place / "kept").iterdir()) == sorted([prepared.key(), "lock"])


def test_what_was_being_forgotten_by_a_cloud_that_was_killed_is_made_again(
    place: Path, able_machine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    before, after = place / "installed/keystone-30.0.0.dist-info", place / "installed/keystone-30.0.1.dist-info"
    assert started(place, "first")
    before.rename(after)
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            started(place, "killed")
    after.rename(before)
    assert started(place, "next")


def test_what_could_not_be_made_is_not_kept(place: Path, able_machine: None) -> None:
    target = place / "failed"
    target.mkdir()

    def fail() -> prepared.Ids:
        (target / "rows").write_text("half of them")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepared.copied(target, fail)
    assert started(place, "next")
