"""What a stopped `get --resume` left is believed only as far as it is verified, of the image, and of this user."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from errno import EIO, EPERM
from pathlib import Path
from typing import Any

import pytest

from imagevol_adapters.journals import JournalFile
from imagevol_adapters.transfers import kept_part
from imagevol_core import ImagevolError, InUse, RequestRefused
from tests.adapters.test_fetching import CONTENT, IMAGE, Source, fetched, image_of, journal_of, part_of, stopped, target

__all__ = ["target"]

HALF = len(CONTENT) // 2
OTHER = random.Random(99).randbytes(1 << 16)


class Killed(BaseException):
    """A process that is killed: nothing more of it runs."""


def killed_with_the_name(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that was killed after its file had the wanted name."""

    def killed(_self: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(kept_part.PartFile, "discard", killed)
        with pytest.raises(Killed):
            fetched(target, Source())
    assert target.samefile(part_of(target))


def changed(target: Path) -> None:
    with target.open("r+b") as file:
        file.write(b"changed")


def replaced(target: Path) -> None:
    target.unlink()
    target.write_bytes(CONTENT)


class TestAFileWithTheName:
    @pytest.mark.parametrize("source", ["image 8", "image 7"])
    def test_the_file_of_another_image_is_not_said_to_be_the_wanted_one(
        self, target: Path, monkeypatch: pytest.MonkeyPatch, source: str
    ) -> None:
        killed_with_the_name(target, monkeypatch)
        with pytest.raises(RequestRefused, match=r"disk\.raw exists already"):
            fetched(target, Source(OTHER), image_of(OTHER, source))
        assert target.read_bytes() == CONTENT

    def test_a_part_that_was_linked_to_the_name_is_not_the_whole(self, target: Path) -> None:
        stopped(target, HALF)
        target.hardlink_to(part_of(target))
        source = Source()
        with pytest.raises(RequestRefused, match=r"disk\.raw exists already"):
            fetched(target, source)
        target.unlink()
        fetched(target, source)
        assert (target.read_bytes(), source.opened_at[0] > 0) == (CONTENT, True)

    @pytest.mark.parametrize(
        "meddle",
        [changed, replaced, lambda target: target.chmod(0o666), lambda target: os.truncate(target, len(CONTENT) + 1)],
        ids=["changed", "replaced", "writable", "longer"],
    )
    def test_a_file_that_is_not_as_it_was_verified_is_refused(
        self, target: Path, monkeypatch: pytest.MonkeyPatch, meddle: Callable[[Path], object]
    ) -> None:
        killed_with_the_name(target, monkeypatch)
        meddle(target)
        with pytest.raises(RequestRefused, match=r"disk\.raw exists already"):
            fetched(target, Source())
        assert part_of(target).exists()

    def test_the_file_of_another_user_with_the_inode_of_the_part_is_refused(
        self, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        killed_with_the_name(target, monkeypatch)
        theirs, inode = os.geteuid() + 1, target.stat().st_ino
        real = os.fstat

        def fstat(descriptor: int) -> os.stat_result:
            found = real(descriptor)
            if found.st_ino != inode:
                return found
            return os.stat_result((*found[:4], theirs, *found[5:]), {"st_mtime_ns": found.st_mtime_ns})

        monkeypatch.setattr(os, "fstat", fstat)
        with pytest.raises(RequestRefused, match=r"disk\.raw exists already"):
            fetched(target, Source())

    @pytest.mark.parametrize("mode", [0o600, None])
    def test_a_command_that_was_killed_before_it_deleted_the_journal_only_cleans_up(
        self, target: Path, monkeypatch: pytest.MonkeyPatch, mode: int | None
    ) -> None:
        killed_with_the_name(target, monkeypatch)
        part_of(target).unlink()
        public = target.stat().st_mode
        if mode is not None:
            target.chmod(mode)
        source = Source()
        fetched(target, source)
        assert (target.read_bytes(), target.stat().st_mode, source.opened_at) == (CONTENT, public, [])
        assert list(target.parent.iterdir()) == [target]


class TestWithoutHardLinks:
    @pytest.fixture(autouse=True)
    def no_links(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def link(*_: object, **__: object) -> None:
            raise OSError(EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", link)

    def test_a_command_that_was_killed_while_an_empty_file_had_the_name_goes_on(
        self, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def killed(*_: object, **__: object) -> None:
            raise Killed

        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", killed)
            patched.setattr(Path, "unlink", killed)
            with pytest.raises(Killed):
                fetched(target, Source())
        assert target.stat().st_size == 0
        source = Source()
        fetched(target, source)
        assert (target.read_bytes(), source.opened_at) == (CONTENT, [])
        assert list(target.parent.iterdir()) == [target]

    def test_an_error_leaves_no_empty_file_with_the_name(self, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fails(*_: object) -> None:
            raise OSError(EIO, "Input/output error")

        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", fails)
            with pytest.raises(RequestRefused, match="Input/output error"):
                fetched(target, Source())
        assert not target.exists()
        fetched(target, Source())
        assert target.read_bytes() == CONTENT

    @pytest.mark.parametrize("content", [b"", b"mine"])
    def test_a_file_that_the_user_made_keeps_the_name(self, target: Path, content: bytes) -> None:
        stopped(target, HALF)
        target.write_bytes(content)
        with pytest.raises(RequestRefused, match=r"disk\.raw exists already"):
            fetched(target, Source())
        assert target.read_bytes() == content

    def test_another_file_in_place_of_the_part_never_gets_the_name(self, target: Path) -> None:
        class Meddling(Source):
            def _parts(self, at: int) -> Any:
                yield from super()._parts(at)
                part_of(target).unlink()
                part_of(target).write_bytes(b"other")

        with pytest.raises(RequestRefused, match=r"imagevol-part is another file now: delete it"):
            fetched(target, Meddling())
        assert (target.exists(), part_of(target).read_bytes()) == (False, b"other")
        part_of(target).unlink()
        fetched(target, Source())
        assert target.read_bytes() == CONTENT


class TestTwoCommands:
    def test_one_that_takes_a_journal_before_its_lock_keeps_its_own(
        self, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begin, second = JournalFile.begin, kept_part.part_file(target, IMAGE, tell=print)
        entered: list[object] = []

        def begin_late(journal: JournalFile, data: bytes, *, named: bool) -> None:
            if not entered:
                entered.append("now")
                second.__enter__()  # as another process would, between the creation and the lock
            begin(journal, data, named=named)

        monkeypatch.setattr(JournalFile, "begin", begin_late)
        with pytest.raises(InUse, match="run the command again"), kept_part.part_file(target, IMAGE, tell=print):
            pass
        try:
            assert (journal_of(target).exists(), part_of(target).exists()) == (True, True)
        finally:
            second.__exit__(None, None, None)
        fetched(target, Source())
        assert target.read_bytes() == CONTENT

    def test_a_journal_whose_command_ended_before_it_was_locked_is_not_read(
        self, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stopped(target, HALF)
        read_opened = JournalFile.read_opened

        def ended_meanwhile(path: Path, *rest: Any) -> int:
            path.unlink()
            part_of(target).unlink()
            path.touch(0o600)  # of a command that begins
            return read_opened(path, *rest)

        monkeypatch.setattr(JournalFile, "read_opened", staticmethod(ended_meanwhile))
        with pytest.raises(InUse, match="run the command again"):
            fetched(target, Source())
        assert journal_of(target).exists()

    def test_a_part_that_is_deleted_while_it_is_written_is_named(self, target: Path) -> None:
        class Meddling(Source):
            def _parts(self, at: int) -> Any:
                yield from super()._parts(at)
                part_of(target).unlink()

        with pytest.raises(RequestRefused, match=r"imagevol-part was deleted while it was written"):
            fetched(target, Meddling())
        fetched(target, Source())
        assert target.read_bytes() == CONTENT

    def test_what_is_deleted_at_the_end_is_its_own(self, target: Path) -> None:
        class Meddling(Source):
            def _parts(self, at: int) -> Any:
                yield from super()._parts(at)
                for path in (part_of(target), journal_of(target)):
                    path.rename(f"{path}-away")
                    path.write_bytes(b"other")

        fetched(target, Meddling())
        assert target.read_bytes() == CONTENT
        assert [path.read_bytes() for path in (part_of(target), journal_of(target))] == [b"other"] * 2


@pytest.mark.parametrize("line", [b'{"cut":1e400}', b'{"inode":1e999}', b'{"inode":"x"}', b'{"at":1e400}', b"1e400"])
def test_a_line_that_no_command_writes_is_refused_in_one_line(target: Path, line: bytes) -> None:
    stopped(target, HALF)
    with journal_of(target).open("ab") as journal:
        journal.write(line + b"\n")
    with pytest.raises(ImagevolError, match="it is no line of a journal") as caught:
        fetched(target, Source())
    assert "\n" not in str(caught.value)
    assert not target.exists()
