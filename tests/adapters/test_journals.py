"""What a journal says is done, so no other user may have written it, and it is of one cloud."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.gathering import DeepJournal
from imagevol_adapters.relocating import Journal
from imagevol_adapters.repairing import RepairJournal
from imagevol_adapters.store_copies import CopyJournal
from imagevol_adapters.transfers import PutJournal
from imagevol_core import RequestRefused

ANOTHER_USER = 54321


def link(path: Path) -> None:
    path.rename(path.with_name("real"))
    path.symlink_to("real")


@pytest.mark.parametrize("kind", [DeepJournal, Journal, RepairJournal, CopyJournal, PutJournal])
@pytest.mark.parametrize(
    "hostile, reason",
    [
        (link, "it is a link: give the name of the file itself"),
        (lambda path: path.chmod(0o620), "its group or all users can write to it"),
        (lambda path: path.chmod(0o602), "its group or all users can write to it"),
        (lambda path: os.link(path, path.with_name("other")), "it has a second name"),
        pytest.param(
            lambda path: os.chown(path, ANOTHER_USER, -1),
            f"it belongs to user {ANOTHER_USER}",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away"),
        ),
    ],
)
def test_a_journal_that_another_user_could_have_written_is_refused_and_stays_as_it_is(
    kind: Any, hostile: Callable[[Path], object], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "journal"
    path.touch(mode=0o600)
    path.write_text("no journal\n")
    hostile(path)
    with pytest.raises(RequestRefused, match=reason):
        kind.open(path, cloud="here")
    assert path.read_text() == "no journal\n"


def test_a_journal_that_all_can_read_and_this_user_alone_can_write_is_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    DeepJournal.create(path, cloud="here").close()
    path.chmod(0o644)
    DeepJournal.open(path, cloud="here").close()


@pytest.mark.parametrize("change", [("glance", "other"), ("cinder", "other"), ("project", "other")])
def test_another_glance_another_cinder_and_another_project_are_another_cloud(
    change: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def name(known: dict[str, str]) -> str:
        monkeypatch.setattr(Imagevol, "images", SimpleNamespace(service_id=lambda: known["glance"]))
        monkeypatch.setattr(Imagevol, "cinder_id", lambda _: known["cinder"])
        monkeypatch.setattr(Imagevol, "project_id", known["project"])
        return Imagevol.cloud_id(Imagevol.__new__(Imagevol))

    known = {"glance": "g", "cinder": "c", "project": "p"}
    assert name(known) == "Glance g, Cinder c, project p"
    assert name(known | dict([change])) != name(known)
