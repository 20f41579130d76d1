"""An image is read into a file in steps: what was stopped goes on, and nothing that is not verified gets the name."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from imagevol_adapters import transfers
from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.devices.device import PathDevice
from imagevol_adapters.engine import POOL_BYTES
from imagevol_adapters.ports import Attachment, Device
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryImages
from imagevol_adapters.transfers import fetch_image
from imagevol_adapters.transfers.keeping import STEP_BYTES, UNKEPT_STEPS, Step
from imagevol_adapters.transfers.kept_part import PartFile
from imagevol_core import ContentMismatch, DeviceFailed, Digest, InUse, RequestRefused, ServiceFailed
from imagevol_core.resuming import ReadImage
from tests.adapters.commands import Ran, Run
from tests.adapters.test_cli import DATA, file, memory

__all__ = ["file", "memory"]

MIB = 1 << 18  # small, so that the tests are quick
STEP = MIB
CONTENT = random.Random(7).randbytes(9 * MIB) + bytes(4 * MIB) + random.Random(8).randbytes(3 * MIB + 123)


def image_of(content: bytes, source: str = "image 7") -> ReadImage:
    return ReadImage(
        source=source, size_bytes=len(content), digest=Digest("sha512", hashlib.sha512(content).hexdigest())
    )


IMAGE = image_of(CONTENT)


@attrs.define
class Source:
    """An image that breaks off once it has given so many bytes, and counts what it gives."""

    content: bytes = CONTENT
    breaks_at: int | None = None
    error: BaseException = attrs.field(factory=lambda: ServiceFailed("the network is down"))
    opened_at: list[int] = attrs.field(factory=list)
    given_bytes: int = 0

    @contextmanager
    def __call__(self, offset: int) -> Iterator[Iterable[bytes]]:
        self.opened_at.append(offset)
        yield self._parts(offset)

    def _parts(self, at: int) -> Iterator[bytes]:
        while at < len(self.content):
            end = min(len(self.content), at + 77_777)
            if self.breaks_at is not None:
                if at >= self.breaks_at:
                    raise self.error
                end = min(end, self.breaks_at)
            self.given_bytes += end - at
            yield self.content[at:end]
            at = end


def fetched(target: Path, source: Source, image: ReadImage = IMAGE, step_bytes: int = STEP) -> list[str]:
    """Read an image, and give what was told."""
    told: list[str] = []
    assert fetch_image(image, target, data=source, tell=told.append, step_bytes=step_bytes)
    return told


def stopped(target: Path, at: int) -> Source:
    """A command that the network stopped at a byte."""
    source = Source(breaks_at=at)
    with pytest.raises(ServiceFailed, match="the network is down"):
        fetched(target, source)
    return source


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "disk.raw"


def part_of(target: Path) -> Path:
    return target.with_name("disk.raw.imagevol-part")


def journal_of(target: Path) -> Path:
    return target.with_name("disk.raw.imagevol-journal")


class TestGoingOn:
    @pytest.mark.parametrize("at", sorted(random.Random(20).sample(range(len(CONTENT)), 20)))
    def test_an_image_that_is_cut_anywhere_is_whole_after_the_next_command(self, target: Path, at: int) -> None:
        before = stopped(target, at)
        assert not target.exists()
        after = Source()
        fetched(target, after)
        assert target.read_bytes() == CONTENT
        assert [path.name for path in target.parent.iterdir()] == ["disk.raw"]
        sent_again = before.given_bytes + after.given_bytes - len(CONTENT)
        assert 0 <= sent_again <= 2 * STEP

    def test_an_image_that_is_cut_again_and_again_is_whole_at_last(self, target: Path) -> None:
        given = 0
        for at in sorted(random.Random(21).sample(range(len(CONTENT)), 20)):
            given += stopped(target, at).given_bytes
        last = Source()
        fetched(target, last)
        assert target.read_bytes() == CONTENT
        assert given + last.given_bytes <= len(CONTENT) + 20 * 2 * STEP

    def test_the_source_is_read_while_a_step_is_written_down(
        self, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source, ahead = Source(), []
        keep = PartFile.keep

        def slowly(part: PartFile, step: Step) -> None:
            for _ in range(100):
                if source.given_bytes > min(step.position + STEP // 2, 15 * MIB):
                    break
                time.sleep(0.01)
            ahead.append(source.given_bytes - step.position)
            keep(part, step)

        monkeypatch.setattr(PartFile, "keep", slowly)
        fetched(target, source)
        assert target.read_bytes() == CONTENT
        assert ahead[0] > STEP // 2
        assert max(ahead) <= UNKEPT_STEPS * STEP + 77_777

    def test_at_most_64_mib_can_be_lost_with_what_is_read_ahead(self) -> None:
        assert UNKEPT_STEPS * STEP_BYTES + POOL_BYTES <= 64 << 20

    def test_what_the_source_gave_before_it_broke_off_is_kept(self, target: Path) -> None:
        stopped(target, 5 * MIB + 4711)
        source = Source()
        fetched(target, source)
        assert 5 * MIB <= source.opened_at[0] <= 5 * MIB + 4711

    def test_zeros_take_no_room(self, target: Path) -> None:
        stopped(target, 15 * MIB)
        fetched(target, Source())
        assert target.stat().st_blocks * 512 <= len(CONTENT) - 3 * MIB

    def test_a_command_that_was_stopped_at_the_very_end_reads_nothing_again(
        self, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "link", full)
            with pytest.raises(RequestRefused, match="No space left on device"):
                fetched(target, Source())
        source = Source()
        fetched(target, source)
        assert (target.read_bytes(), source.opened_at) == (CONTENT, [])

    @pytest.mark.parametrize("call", [(Path, "unlink"), (os, "fchmod")])
    def test_a_command_that_was_killed_once_the_file_had_its_name_only_cleans_up(
        self, target: Path, monkeypatch: pytest.MonkeyPatch, call: tuple[object, str]
    ) -> None:
        class Killed(BaseException):
            pass

        def killed(*_: object, **__: object) -> None:
            raise Killed

        with monkeypatch.context() as patched:
            patched.setattr(*call, killed)
            with pytest.raises(Killed):
                fetched(target, Source())
        assert part_of(target).exists()
        source = Source()
        assert (fetched(target, source), source.opened_at) == ([], [])
        assert [path.name for path in target.parent.iterdir()] == ["disk.raw"]
        assert target.read_bytes() == CONTENT
        assert not target.stat().st_mode & 0o111

    def test_an_empty_image_is_an_empty_file(self, target: Path) -> None:
        fetched(target, Source(b""), image_of(b""))
        assert target.read_bytes() == b""

    @pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o077, 0o600)])
    def test_what_is_kept_is_private_and_the_mode_of_the_file_follows_the_umask(
        self, target: Path, umask: int, mode: int
    ) -> None:
        before = os.umask(umask)
        try:
            stopped(target, 5 * MIB)
            kept = {stat.S_IMODE(path.stat().st_mode) for path in (part_of(target), journal_of(target))}
            fetched(target, Source())
        finally:
            os.umask(before)
        assert (kept, stat.S_IMODE(target.stat().st_mode)) == ({0o600}, mode)

    def test_a_file_system_without_hard_links_will_do(self, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_links(*_: object, **__: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", no_links)
        fetched(target, Source())
        assert target.read_bytes() == CONTENT
        assert [path.name for path in target.parent.iterdir()] == ["disk.raw"]

    def test_a_command_that_is_killed_goes_on(self, target: Path) -> None:
        program = f"""
import time
from pathlib import Path
from tests.adapters.test_fetching import Source, fetched
class Slow(Source):
    def _parts(self, at):
        for part in super()._parts(at):
            time.sleep(0.01)
            yield part
print("ready", flush=True)
fetched(Path({str(target)!r}), Slow())
"""
        child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        with child:
            assert child.stdout
            assert child.stdout.readline() == "ready\n"
            time.sleep(0.1)  # somewhere in the middle of it
            child.send_signal(signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL
        fetched(target, Source())
        assert target.read_bytes() == CONTENT


class TestWhatIsNotUsed:
    def test_an_image_that_has_another_digest_than_before_is_read_anew(self, target: Path) -> None:
        stopped(target, 9 * MIB)
        other = CONTENT[::-1]
        source = Source(other)
        (told,) = fetched(target, source, image_of(other))
        assert told == "Reading the image anew: image 7 has another digest than before."
        assert (target.read_bytes(), source.opened_at) == (other, [0])

    def test_what_was_changed_in_the_file_counts_no_further_than_the_change(self, target: Path) -> None:
        stopped(target, 9 * MIB)
        with part_of(target).open("r+b") as kept:
            kept.seek(4 * MIB + 5)
            kept.write(b"changed")
        source = Source()
        fetched(target, source)
        assert target.read_bytes() == CONTENT
        assert 3 * MIB <= source.opened_at[0] <= 4 * MIB + 5

    def test_a_file_that_was_changed_and_stopped_again_goes_on(self, target: Path) -> None:
        stopped(target, 9 * MIB)
        with part_of(target).open("r+b") as kept:
            kept.seek(2 * MIB)
            kept.write(b"changed")
        stopped(target, 6 * MIB)
        source = Source()
        fetched(target, source)
        assert target.read_bytes() == CONTENT
        assert source.opened_at[0] >= 4 * MIB

    def test_data_that_is_not_the_images_gets_no_name_and_is_not_kept(self, target: Path) -> None:
        with pytest.raises(ContentMismatch, match="image 7 has been altered"):
            fetched(target, Source(CONTENT[:-1] + b"?"))
        assert list(target.parent.iterdir()) == []

    def test_a_part_whose_file_is_gone_is_read_anew(self, target: Path) -> None:
        stopped(target, 9 * MIB)
        part_of(target).unlink()
        (told,) = fetched(target, Source())
        assert told.startswith("Reading the image anew: ")
        assert target.read_bytes() == CONTENT

    def test_an_image_without_a_digest_is_not_kept(self, target: Path) -> None:
        told: list[str] = []
        image = ReadImage(source="volume 7", size_bytes=4, digest=None)
        assert not fetch_image(image, target, data=Source(), tell=told.append)
        assert told == [
            "This transfer cannot be resumed: volume 7 records no digest, so that a part of it cannot be verified."
        ]
        assert list(target.parent.iterdir()) == []

    def test_a_file_of_that_name_is_left_alone(self, target: Path) -> None:
        target.write_text("mine")
        with pytest.raises(RequestRefused, match=r"disk\.raw exists already: give the name of a new file"):
            fetched(target, Source())
        assert target.read_text() == "mine"

    def test_a_file_that_comes_meanwhile_keeps_the_name(self, target: Path) -> None:
        class Late(Source):
            def _parts(self, at: int) -> Iterator[bytes]:
                yield from super()._parts(at)
                target.write_text("mine")

        with pytest.raises(RequestRefused, match="exists already"):
            fetched(target, Late())
        assert target.read_text() == "mine"

    def test_two_commands_are_not_at_the_same_part(self, target: Path) -> None:
        class Meddling(Source):
            def _parts(self, at: int) -> Iterator[bytes]:
                with pytest.raises(InUse, match="in use by another process"):
                    fetched(target, Source())
                yield from super()._parts(at)

        fetched(target, Meddling())
        assert target.read_bytes() == CONTENT


def linked(path: Path) -> None:
    elsewhere = path.with_name("elsewhere")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def named_twice(path: Path) -> None:
    path.with_name("another").hardlink_to(path)


MADE_OPEN: dict[str, Callable[[Path], object]] = {
    "readable by others": lambda path: path.chmod(0o644),
    "writable by the group": lambda path: path.chmod(0o620),
    "a link": linked,
    "of several names": named_twice,
}


class TestWhatOthersCanWriteTo:
    @pytest.mark.parametrize("which", [part_of, journal_of])
    @pytest.mark.parametrize("make", MADE_OPEN.values(), ids=MADE_OPEN)
    def test_what_another_user_could_write_to_is_refused_and_stays(
        self, target: Path, which: Callable[[Path], Path], make: Callable[[Path], object]
    ) -> None:
        stopped(target, 9 * MIB)
        make(which(target))
        kept = which(target).read_bytes()
        source = Source()
        with pytest.raises(RequestRefused, match="another user owns what is kept, or can write to it: delete it"):
            fetched(target, source)
        assert (which(target).read_bytes(), source.opened_at, target.exists()) == (kept, [], False)

    def test_what_another_user_owns_is_refused(self, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        stopped(target, 9 * MIB)
        uid = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
        with pytest.raises(RequestRefused, match="another user owns what is kept"):
            fetched(target, Source())

    def test_a_file_that_no_journal_names_is_refused_and_stays(self, target: Path) -> None:
        part_of(target).write_text("mine")
        with pytest.raises(RequestRefused, match=r"disk\.raw\.imagevol-part exists already"):
            fetched(target, Source())
        assert part_of(target).read_text() == "mine"
        assert not journal_of(target).exists()

    def test_another_file_in_place_of_the_part_is_refused_and_stays(self, target: Path) -> None:
        stopped(target, 9 * MIB)
        part_of(target).rename(target.with_name("away"))
        part_of(target).touch(0o600)
        part_of(target).write_text("mine")
        with pytest.raises(RequestRefused, match=r"disk\.raw\.imagevol-part exists already"):
            fetched(target, Source())
        assert part_of(target).read_text() == "mine"

    @pytest.mark.parametrize(
        "line", ['{"journal":1,"kind":"store-copies"}', "[]", '{"journal":1,"kind":"get","size":""}']
    )
    def test_a_journal_of_something_else_is_refused_in_one_line(self, target: Path, line: str) -> None:
        journal_of(target).touch(0o600)
        journal_of(target).write_text(f"{line}\n")
        with pytest.raises(RequestRefused, match="line 1: it is no line of a journal") as caught:
            fetched(target, Source())
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("kept_lines", [0, 1])
    def test_a_command_that_was_killed_while_it_began_is_begun_anew(self, target: Path, kept_lines: int) -> None:
        stopped(target, 1)
        lines = journal_of(target).read_bytes().splitlines(keepends=True)
        journal_of(target).write_bytes(b"".join(lines[:kept_lines]))
        os.truncate(part_of(target), 0)
        fetched(target, Source())
        assert target.read_bytes() == CONTENT


class Breaking(MemoryAttacher):
    """A host whose devices end with an error once so many bytes were read."""

    breaks_at: int | None = None

    def open(self, attachment: Attachment, **how: Any) -> Any:
        connection = super().open(attachment, **how)
        breaks_at = self.breaks_at

        @contextmanager
        def breaking() -> Iterator[Device]:
            with connection as device:
                yield Broken(device, breaks_at)

        return breaking()


class Broken:
    """A device that ends with an error once so many bytes were read."""

    def __init__(self, device: Device, breaks_at: int | None) -> None:
        self._device = device
        self._breaks_at = breaks_at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def readinto(self, offset: int, buffer: memoryview) -> int:
        if self._breaks_at is not None and offset >= self._breaks_at:
            raise DeviceFailed("the path to the volume is gone")
        return self._device.readinto(offset, buffer[: 1 << 16])


@pytest.mark.usefixtures("no_cloud", "memory")
class TestCommand:
    @pytest.fixture
    def small_steps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transfers, "fetch_image", partial(fetch_image, step_bytes=1 << 16))

    def test_an_image_is_read_out_of_its_volume_and_through_glance(self, run: Run, file: Path, target: Path) -> None:
        put = run("put", file, "--register", "disk", "-f", "json").json
        got = target.with_name("got")
        for arguments in (
            *((put["volume_id"], "--resume"), (put["image_id"], "--resume"), ("disk", "--resume")),
            *((name, "--through-glance", "--resume") for name in ("disk", put["image_id"])),
            *(("disk", "--through-glance"), ("disk",)),
        ):
            assert run("get", arguments[0], got, *arguments[1:]) == Ran(0, "", "")
            assert got.read_bytes() == DATA
            got.unlink()
        assert [path.name for path in file.parent.iterdir()] == ["disk.raw"]

    def test_an_image_is_read_through_glance_from_a_preferred_store(
        self, run: Run, file: Path, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run("put", file, "--register", "disk")
        got, wanted = target.with_name("got"), ("--through-glance", "--prefer-store", "fast")
        for more in ((), ("--resume",)):
            assert run("get", "disk", got, *wanted, *more) == Ran(0, "", "")
            assert got.read_bytes() == DATA
            got.unlink()
        monkeypatch.setattr(MemoryImages, "takes_preference", lambda *_: False)
        ran = run("get", "disk", got, *wanted)
        assert (ran.status, got.read_bytes()) == (0, DATA)
        assert "--prefer-store has no effect" in ran.err
        got.unlink()
        ran = run("get", "disk", got, "--through-glance", "--prefer-store", "none")
        assert (ran.status, ran.err) == (1, "--prefer-store: Glance has no store none; its stores are fast\n")
        assert "--through-glance" in run("get", "disk", got, "--prefer-store", "fast").err

    def test_a_part_is_read_through_glance(self, run: Run, file: Path, target: Path) -> None:
        run("put", file, "--register", "disk")
        got = target.with_name("got")
        assert run("get", "disk", got, "--through-glance", "--offset", 100, "--length", 500) == Ran(0, "", "")
        assert got.read_bytes() == DATA[100:600]
        beyond = run("get", "disk", target.with_name("no"), "--through-glance", "--offset", len(DATA))
        assert beyond.err.endswith(f"ends before byte {len(DATA)}: give a smaller --offset\n")
        negative = run("get", "disk", target.with_name("no"), "--through-glance", "--offset", -1)
        assert negative == Ran(1, "", "--offset and --length are 0 or more\n")

    def test_a_command_that_broke_off_says_how_to_continue_and_the_next_one_does(
        self, run: Run, file: Path, target: Path, small_steps: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        volumes: Any = Imagevol.volumes
        host = Breaking(volumes=volumes)
        monkeypatch.setattr(Imagevol, "attacher", host)
        volume_id = run("put", file, "-f", "json").json["volume_id"]
        got = target.with_name("got")
        host.breaks_at = 150_000
        broken = run("get", volume_id, got, "--resume")
        assert broken.status == 1
        assert broken.err.splitlines()[-2:] == [
            f"What was read is kept beside {got}. To continue, run the same command again.",
            "the path to the volume is gone",
        ]
        host.breaks_at = None
        metrics = target.with_name("get.prom")
        after = run("get", volume_id, got, "--resume", "--metrics", metrics)
        assert after == Ran(0, "", f"Going on at byte {3 << 16} of {len(DATA)}.\n")
        assert f'transfer_bytes{{command="get"}} {len(DATA) - (3 << 16)}\n' in metrics.read_text()
        assert got.read_bytes() == DATA

    def test_an_image_without_a_digest_is_read_anew_each_time(self, run: Run, file: Path, target: Path) -> None:
        volume_id = run("put", file, "-f", "json").json["volume_id"]
        volumes: Any = Imagevol.volumes
        metadata = {"image_size": str(len(DATA))}
        volumes.volumes[volume_id] = replace(volumes.volumes[volume_id], metadata=metadata)
        got = run("get", volume_id, target.with_name("got"), "--resume")
        assert (got.status, target.with_name("got").read_bytes()) == (0, DATA)
        first, second = got.err.splitlines()
        assert first.startswith("This transfer cannot be resumed: ")
        assert second.startswith("Not verified: ")

    @pytest.mark.parametrize(
        "arguments, says",
        [
            (("-",), "--resume cannot continue a stream: give a file, and not the standard output"),
            (("got", "--offset", "1"), "--resume reads a whole image: leave out --offset and --length"),
            (("got", "--length", "0"), "--resume reads a whole image: leave out --offset and --length"),
        ],
    )
    def test_what_cannot_be_resumed_is_refused(self, run: Run, arguments: tuple[str, ...], says: str) -> None:
        assert run("get", "disk", *arguments, "--resume") == Ran(1, "", f"{says}\n")

    def test_an_image_that_glance_does_not_have_or_that_has_no_data_is_named(self, run: Run, target: Path) -> None:
        images: Any = Imagevol.images
        image = images.create(name="queued", disk_format="raw")
        assert run("get", "nosuch", target, "--through-glance").err == (
            "no image has the name or id 'nosuch': check it with `openstack image list`\n"
        )
        queued = run("get", "queued", target, "--through-glance")
        assert queued.err == f"image {image.id} is 'queued' and has no data\n"

    def test_a_disk_without_room_is_named(
        self, run: Run, file: Path, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> int:
            raise DeviceFailed("writing at byte 0 failed") from OSError(28, "No space left on device")

        volume_id = run("put", file, "-f", "json").json["volume_id"]
        monkeypatch.setattr(PathDevice, "write", full)
        got = target.with_name("got")
        ran = run("-q", "get", volume_id, got, "--resume")
        says = f"{got} cannot be written: No space left on device; free space, or give another file\n"
        assert ran == Ran(1, "", says)
