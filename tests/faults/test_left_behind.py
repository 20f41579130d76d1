"""What killed commands, and commands whose answer was lost, once left behind: each is mended, and stays so."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from errno import EIO
from pathlib import Path
from typing import Any

import pytest

from imagevol_adapters.cli import main
from imagevol_adapters.gathering.deep_reading import DeepJournal
from imagevol_adapters.journals import JournalFile
from imagevol_adapters.relocating import Journal
from imagevol_adapters.replacing import replace_file
from imagevol_adapters.store_copies import CopyJournal
from imagevol_adapters.testing.memory import MemoryImages, MemoryVolumes
from imagevol_core import Image, RequestRefused, ServiceUnreachable, StoreCatalogue, Volume
from tests.adapters.test_templates_commands import Templating, cinder, glance, image, run
from tests.adapters.test_transfers import World

__all__ = ["cinder", "glance", "image", "run"]


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
    def test_an_image_whose_creation_was_not_answered_is_gone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        create = MemoryImages.create

        def lost(images: MemoryImages, **wishes: Any) -> Image:
            create(images, **wishes)
            raise ServiceUnreachable("the answer was lost")

        world = World()
        other = world.memory_images.create(name="disk", disk_format="raw")
        monkeypatch.setattr(MemoryImages, "create", lost)
        with pytest.raises(ServiceUnreachable) as caught:
            world.register()
        assert (list(world.memory_images.images), caught.value.leftovers) == ([other.id], ())

    def test_an_image_is_never_shown_without_its_data(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its location was added, and the answer was lost; then its process is killed while it undoes that."""
        seen: list[str] = []

        def lost(*_: Any) -> Image:
            raise ServiceUnreachable("the answer was lost")

        def deleted(volumes: MemoryVolumes, volume_id: str, **wishes: Any) -> None:
            seen.extend(each.status or "" for each in world.memory_images.images.values())
            delete(volumes, volume_id, **wishes)

        delete, world = MemoryVolumes.delete, World()
        monkeypatch.setattr(MemoryImages, "unset_properties", lost)
        monkeypatch.setattr(MemoryVolumes, "delete", deleted)
        with pytest.raises(ServiceUnreachable):
            world.register()
        assert world.left == set()
        del seen[:1]  # Glance deletes the volume with the image
        assert "active" not in seen

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


def test_a_temporary_volume_whose_creation_was_not_answered_is_gone(
    run: Any, cinder: Templating, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = MemoryVolumes.create

    def lost(volumes: MemoryVolumes, **wishes: Any) -> Volume:
        create(volumes, **wishes)
        raise ServiceUnreachable("the answer was lost")

    monkeypatch.setattr(Templating, "create", lost)
    warmed = run("warm", "debian", "--yes", "-f", "json")
    assert (warmed.status, [row["outcome"] for row in warmed.json]) == (3, ["failed"])
    assert cinder.volumes == {}


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
