"""What killed commands, and commands whose answer was lost, once left behind: each is mended, and stays so."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from errno import EIO
from pathlib import Path
from typing import Any

import pytest

from imagevol_adapters.attributes import ImageAttributes
from imagevol_adapters.cli import main
from imagevol_adapters.gathering.deep_reading import DeepJournal
from imagevol_adapters.journals import JournalFile
from imagevol_adapters.lost_answers import only_once
from imagevol_adapters.processes import origin, this_process
from imagevol_adapters.relocating import Journal
from imagevol_adapters.replacing import replace_file
from imagevol_adapters.store_copies import CopyJournal
from imagevol_adapters.testing.memory import MemoryImages, MemoryStoreCopies, MemoryVolumes
from imagevol_adapters.transfers import unmark_finished
from imagevol_core import Image, RequestRefused, ServiceUnreachable, StoreCatalogue, VolumeOrigin
from tests.adapters.commands import Run
from tests.adapters.conftest import run
from tests.adapters.test_cp_command import IDS, cp, site
from tests.adapters.test_store_copies import Site
from tests.adapters.test_transfers import World

__all__ = ["cp", "run", "site"]


def killed(work: Callable[[], object]) -> None:
    """Let a process do some work that kills it."""
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class TestRegistering:
    def test_the_marks_of_a_killed_process_go_from_an_image_that_is_whole(self) -> None:
        running = this_process()
        assert running
        process = replace(running, pid=(1 << 22) - 1)
        marks = {**VolumeOrigin(procedure="register", image_id=None, process=process).to_volume(), **only_once()}
        images, other = MemoryImages(volumes=MemoryVolumes()), {"os_distro": "debian"}
        for _ in range(2):
            made = images.create(name="disk", disk_format="raw", attributes=ImageAttributes(properties=marks | other))
        images.upload(made.id, [b"disk"], size_bytes=4)
        queued = next(each for each in images.images.values() if each.status == "queued")
        unmark_finished(images)
        assert images.get(made.id).properties == other
        assert images.get(queued.id).properties == marks | other

    def test_the_marks_of_a_process_that_runs_stay(self) -> None:
        images, marks = MemoryImages(volumes=MemoryVolumes()), origin("register", None).to_volume()
        made = images.create(name="disk", disk_format="raw", attributes=ImageAttributes(properties=marks))
        images.upload(made.id, [b"disk"], size_bytes=4)
        unmark_finished(images)
        assert images.get(made.id).properties == marks

    def test_a_volume_stays_if_its_image_cannot_be_deleted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def lost(*_: Any) -> Image:
            raise ServiceUnreachable("no answer came")

        world = World()
        monkeypatch.setattr(MemoryImages, "unset_properties", lost)
        monkeypatch.setattr(MemoryImages, "delete", lost)
        with pytest.raises(ServiceUnreachable) as caught:
            world.register()
        (shown,), (volume_id,) = world.memory_images.images.values(), world.memory.volumes
        assert shown.locations[0].url.endswith(volume_id)
        named = " ".join(caught.value.leftovers)
        assert shown.id in named
        assert volume_id in named


def test_an_installation_that_cannot_be_read_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object) -> None:
        raise OSError(EIO, os.strerror(EIO), "entry_points.txt")

    monkeypatch.setattr("imagevol_adapters.cli.app._Commands.load_commands", unreadable)
    assert main(["put", "--help"]) == 1
    assert capsys.readouterr().err == (
        "imagevol cannot start: entry_points.txt cannot be read: Input/output error. Check the disk, or install "
        "imagevol again.\n"
    )


class TestFiles:
    def test_what_a_killed_process_left_of_a_file_is_used_by_the_next(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "imagevol.prom"
        with monkeypatch.context() as dying:
            dying.setattr(Path, "replace", die)
            for _ in range(3):
                killed(lambda: replace_file(file, b"kind of an earlier, longer run", begins=b"kind"))
        assert len(list(tmp_path.iterdir())) == 1
        replace_file(file, b"kind", begins=b"kind")
        assert ([each.name for each in tmp_path.iterdir()], file.read_bytes()) == (["imagevol.prom"], b"kind")
        assert file.stat().st_mode & 0o777 == 0o666 & ~_umask()

    def test_a_file_that_is_not_ours_is_never_written_to(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file, other = tmp_path / "imagevol.prom", tmp_path / "other"
        with monkeypatch.context() as dying:
            dying.setattr(Path, "replace", die)
            killed(lambda: replace_file(file, b"kind", begins=b"kind"))
        (left,) = tmp_path.iterdir()
        other.write_bytes(b"precious")
        puts: list[Callable[[], None]] = [
            lambda: left.hardlink_to(other),
            lambda: left.symlink_to(other),
            lambda: os.mkfifo(left),
        ]
        for put in puts:
            left.unlink()
            put()
            replace_file(file, b"kind", begins=b"kind")
            assert (other.read_bytes(), file.read_bytes()) == (b"precious", b"kind")

    def test_two_processes_write_one_file_at_the_same_time(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file, replace, during = tmp_path / "imagevol.prom", Path.replace, [b"kind two"]

        def meanwhile(partial: Path, target: Path) -> None:
            while during:
                replace_file(file, during.pop(), begins=b"kind")
            replace(partial, target)

        monkeypatch.setattr(Path, "replace", meanwhile)
        replace_file(file, b"kind one", begins=b"kind")
        assert ([each.name for each in tmp_path.iterdir()], file.read_bytes()) == (["imagevol.prom"], b"kind one")


CATALOGUE = StoreCatalogue(stores=(), default=None)
JOURNALS: dict[str, Callable[[Path], JournalFile]] = {
    "locations": lambda path: Journal.create(path, cloud="a", catalogue=CATALOGUE, renames={}, changes=[]),
    "copies": lambda path: CopyJournal.create(path, cloud="a", entries=[]),
    "deep checks": lambda path: DeepJournal.create(path, cloud="a"),
}


@pytest.mark.parametrize("name", JOURNALS)
@pytest.mark.parametrize("dies_at", ["write", "fsync", "link"])
def test_a_journal_is_whole_or_not_there(
    name: str, dies_at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    with monkeypatch.context() as dying:
        dying.setattr(os, dies_at, die)
        killed(lambda: JOURNALS[name](path))
    assert list(tmp_path.iterdir()) == []
    JOURNALS[name](path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(RequestRefused, match="exists"):
        JOURNALS[name](path)


class TestCopying:
    """`cp` of one image without a journal, by a clone."""

    def test_a_clone_that_glance_was_not_told_of_is_gone(
        self, site: Site, cp: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lost(*_: object, **__: object) -> None:
            raise ServiceUnreachable("no answer came")

        monkeypatch.setattr(MemoryVolumes, "set_readonly", lost)
        before = set(site.volumes.volumes)
        copied = cp("image-1", "--to-store", "quick", "--yes")
        assert (copied.status, set(site.volumes.volumes)) == (1, before)

    def test_a_clone_that_glance_may_take_is_named(self, site: Site, cp: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        def lost(*_: object, **__: object) -> None:
            raise ServiceUnreachable("no answer came")

        monkeypatch.setattr(MemoryStoreCopies, "change_locations", lost)
        before = set(site.volumes.volumes)
        copied = cp("image-1", "--to-store", "quick", "--yes")
        (left,) = set(site.volumes.volumes) - before
        assert copied.status == 1
        assert copied.err.splitlines()[-1] == f"no answer came; left behind: volume {left}"

    def test_a_clone_of_a_journal_stays_for_its_next_run(
        self, site: Site, cp: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lost(*_: object, **__: object) -> None:
            raise ServiceUnreachable("no answer came")

        before, journal = set(site.volumes.volumes), tmp_path / "journal"
        with monkeypatch.context() as down:
            down.setattr(MemoryVolumes, "set_readonly", lost)
            assert cp("image-1", "--to-store", "quick", "--yes", "--journal", journal).status == 1
        (left,) = set(site.volumes.volumes) - before
        assert cp("--resume", "--journal", journal, "--yes").status == 0
        assert left in site.glance.images[IDS["image-1"]].locations[-1].url


def test_of_two_processes_that_begin_a_journal_one_has_it(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    first, second = (JournalFile(path, JournalFile.create_file(path)) for _ in range(2))
    first.begin(b"{}\n")
    with pytest.raises(RequestRefused, match="exists"):
        second.begin(b"{}\n")
    first.close()
    assert path.read_bytes() == b"{}\n"


def test_a_copy_without_a_journal_of_its_own_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with CopyJournal.create(None, cloud="a", entries=[]) as journal:
        assert list(tmp_path.iterdir()) == []
        assert journal.path.read_bytes().count(b"\n") == 2


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
