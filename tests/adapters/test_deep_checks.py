"""Image volumes read whole: the digest and the tail are told, several at once, and a journal spares a second time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagevol_adapters.engine import Digests, Limits
from imagevol_adapters.gathering import DeepJournal, DeepTarget, deep_checks, deep_targets
from imagevol_adapters.ports import AccessMode
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryVolumes
from imagevol_adapters.transfers import attached, check_image_volume
from imagevol_core import (
    GIB,
    DeepCheck,
    DeviceFailed,
    Digest,
    Image,
    ImageLocation,
    ImagevolError,
    InUse,
    InvalidFact,
    RequestRefused,
    ServiceFailed,
    TransferCancelled,
    Volume,
)

DATA = b"the image" * 1000
HEAD = '{"deep_checks": 2, "cloud": "here"}\n'
SHA512 = Digest("sha512", "ab")
BLAKE3 = Digest("blake3", "0b" * 32)


def volume_id(number: int) -> str:
    return f"9a1b6b0c-93e4-4a3c-a2a5-{number:012x}"


def digest_of(data: bytes) -> Digest:
    digests = Digests(["sha256"])
    digests.update(data)
    return digests.values()["sha256"]


class TestOneVolume:
    @pytest.fixture
    def volumes(self) -> MemoryVolumes:
        return MemoryVolumes()

    @pytest.fixture
    def attacher(self, volumes: MemoryVolumes) -> MemoryAttacher:
        return MemoryAttacher(volumes=volumes)

    @pytest.fixture
    def made(self, volumes: MemoryVolumes, attacher: MemoryAttacher) -> Iterator[str]:
        made = volumes.wait(volumes.create(size_gib=1, name="v").id).id
        self.write(made, 0, DATA, volumes, attacher)
        yield made
        assert volumes.attachments == {}

    def write(self, made: str, offset: int, data: bytes, volumes: MemoryVolumes, attacher: MemoryAttacher) -> None:
        with attached(made, mode=AccessMode.WRITE, volumes=volumes, attacher=attacher) as device:
            assert device.write(offset, memoryview(data)) == len(data)

    def check(self, made: str, volumes: MemoryVolumes, attacher: MemoryAttacher, **changes: object) -> DeepCheck:
        asked: dict[str, object] = {"size_bytes": len(DATA), "algorithm": "sha256", **changes}
        return check_image_volume(made, volumes=volumes, attacher=attacher, **asked)  # type: ignore[arg-type]

    def test_what_is_in_it_is_told(self, made: str, volumes: MemoryVolumes, attacher: MemoryAttacher) -> None:
        expected = DeepCheck(volume_id=made, size_bytes=len(DATA), digest=digest_of(DATA), tail_is_zero=True)
        assert self.check(made, volumes, attacher) == expected
        assert self.check(made, volumes, attacher, algorithm=None) == replace(expected, digest=None)

    @pytest.mark.parametrize("offset", [len(DATA), 5 << 20, GIB - 1])
    def test_a_byte_after_the_image_is_told(
        self, made: str, volumes: MemoryVolumes, attacher: MemoryAttacher, offset: int
    ) -> None:
        self.write(made, offset, b"x", volumes, attacher)
        assert self.check(made, volumes, attacher).tail_is_zero is False

    def test_what_was_altered_has_another_digest(
        self, made: str, volumes: MemoryVolumes, attacher: MemoryAttacher
    ) -> None:
        self.write(made, 7, b"x", volumes, attacher)
        assert self.check(made, volumes, attacher).digest == digest_of(DATA[:7] + b"x" + DATA[8:])

    def test_a_volume_without_an_image_in_it_is_all_tail(
        self, made: str, volumes: MemoryVolumes, attacher: MemoryAttacher
    ) -> None:
        found = self.check(made, volumes, attacher, size_bytes=0)
        assert (found.digest, found.tail_is_zero) == (digest_of(b""), False)

    @pytest.mark.parametrize(
        "changes, error",
        [({"size_bytes": GIB + 1}, DeviceFailed), ({"algorithm": "none such"}, InvalidFact)],
    )
    def test_what_cannot_be_checked_is_an_error(
        self,
        made: str,
        volumes: MemoryVolumes,
        attacher: MemoryAttacher,
        changes: dict[str, object],
        error: type[ImagevolError],
    ) -> None:
        with pytest.raises(error):
            self.check(made, volumes, attacher, **changes)

    def test_ciphertext_is_no_image(self, volumes: MemoryVolumes, attacher: MemoryAttacher) -> None:
        encrypted = volumes.wait(volumes.create(size_gib=1, name="v", volume_type="encrypted").id).id
        with pytest.raises(RequestRefused):
            self.check(encrypted, volumes, attacher)

    def test_the_check_of_a_volume_can_be_cancelled(
        self, made: str, volumes: MemoryVolumes, attacher: MemoryAttacher
    ) -> None:
        limits = Limits()
        limits.cancelled.set()
        with pytest.raises(TransferCancelled):
            self.check(made, volumes, attacher, limits=limits)


def image(number: int, **changes: object) -> Image:
    usual: dict[str, object] = {
        "id": f"image-{number}",
        "status": "active",
        "size_bytes": 7,
        "digest": SHA512,
        "locations": (ImageLocation(f"cinder://fast/{volume_id(number)}"), ImageLocation("file:///x")),
    }
    return Image(**{**usual, **changes})  # type: ignore[arg-type]


def target(number: int, algorithm: str | None = "sha512") -> DeepTarget:
    return DeepTarget(volume_id=volume_id(number), size_bytes=7, algorithm=algorithm)


def check(asked: DeepTarget) -> DeepCheck:
    return DeepCheck(volume_id=asked.volume_id, size_bytes=asked.size_bytes, digest=SHA512, tail_is_zero=True)


def test_each_volume_with_data_is_read_once() -> None:
    images = [
        image(1),
        image(2, status="deactivated", digest=None),
        image(3, status="queued"),
        image(4, size_bytes=None),
        image(5, locations=image(1).locations),
        image(6, locations=()),
    ]
    assert list(deep_targets(images)) == [target(1), target(2, None)]


def recorded(number: int, **changes: Any) -> Volume:
    record = {"image_id": f"image-{number}", "image_size": "7", "os_hash_algo": "sha512", "os_hash_value": "ab"}
    usual: dict[str, Any] = {"project_id": "stores", "size_gib": 1, "readonly": True, "metadata": record}
    return Volume(id=volume_id(number), **{**usual, **changes})


def test_a_volume_that_no_image_names_is_read_if_its_record_is_believed() -> None:
    volumes = [
        recorded(1),
        recorded(2),
        recorded(2),
        recorded(3, project_id="theirs"),
        recorded(4, readonly=False),
        recorded(5, metadata={"image_id": "image-5", "image_size": "7"}),
        recorded(6, metadata={"image_size": "lots"}),
        recorded(7, metadata={"image_id": "image-7", "os_hash_algo": "sha512", "os_hash_value": "ab"}),
    ]
    found = list(deep_targets([image(1)], volumes, trusted_projects={"stores"}))
    assert found == [target(1), target(2, None)]
    assert [each.image and each.image.id for each in found] == ["image-1", None]


class TestSeveral:
    def run(
        self, count: int, read: Callable[[DeepTarget], DeepCheck] = check, journal: DeepJournal | None = None
    ) -> tuple[list[str], list[str]]:
        failed: list[str] = []
        found = deep_checks(
            map(target, range(count)),
            check=read,
            journal=journal,
            jobs=3,
            limits=Limits(),
            failed=lambda each, error: failed.append(f"{each.volume_id}: {error}"),
        )
        return sorted(each.volume_id for each in found), failed

    def test_all_are_read_and_no_more_at_once_than_asked(self) -> None:
        most, running, lock = 0, 0, threading.Lock()

        def read(asked: DeepTarget) -> DeepCheck:
            nonlocal most, running
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.002)
            with lock:
                running -= 1
            return check(asked)

        assert self.run(20, read) == ([volume_id(number) for number in range(20)], [])
        assert 1 < most <= 3

    def test_a_volume_that_cannot_be_read_is_reported_and_the_others_are_read(self) -> None:
        def read(asked: DeepTarget) -> DeepCheck:
            if asked == target(1):
                raise InUse("another has it")
            return check(asked)

        assert self.run(3, read) == ([volume_id(0), volume_id(2)], [f"{volume_id(1)}: another has it"])

    def test_a_caller_that_stops_early_ends_the_reading_of_volumes(self) -> None:
        limits, ended = Limits(), []
        all_begun = threading.Barrier(3, timeout=20)

        def read(asked: DeepTarget) -> DeepCheck:
            all_begun.wait()
            if asked != target(0):
                assert limits.cancelled.wait(20)
                ended.append(asked)
                raise TransferCancelled("it was cancelled")
            return check(asked)

        found = deep_checks(
            map(target, range(9)), check=read, journal=None, jobs=3, limits=limits, failed=lambda *_: None
        )
        with closing(found):
            assert next(found).volume_id == volume_id(0)
        assert len(ended) == 2

    def test_what_is_in_the_journal_is_not_read_again(self, tmp_path: Path) -> None:
        read: list[DeepTarget] = []

        def noted(asked: DeepTarget) -> DeepCheck:
            read.append(asked)
            if asked == target(3) and len(read) < 9:
                raise ServiceFailed("it is down")
            return check(asked)

        with DeepJournal.create(tmp_path / "journal", cloud="here") as journal:
            assert len(self.run(6, noted, journal)[0]) == 5
        for _ in range(2):
            with DeepJournal.open(tmp_path / "journal", cloud="here") as journal:
                found, failed = self.run(6, noted, journal)
            assert len(found) + len(failed) == 6
        assert read[6:] == [target(3), target(3)]

    def test_a_check_by_a_record_counts_later_only_if_the_record_would_judge_again(self, tmp_path: Path) -> None:
        by_record = DeepCheck(volume_id=volume_id(1), size_bytes=7, digest=BLAKE3, recorded=BLAKE3, tail_is_zero=True)
        named = DeepTarget(volume_id=volume_id(1), size_bytes=7, algorithm="sha512", image=image(1))
        alone = DeepTarget(volume_id=volume_id(1), size_bytes=7, algorithm=None)
        with DeepJournal.create(tmp_path / "journal", cloud="here") as journal:
            for asked, trusting, given in (
                (named, True, by_record),
                (named, False, check(named)),
                (alone, False, by_record),
            ):
                journal.record(asked, by_record)
                found = deep_checks(
                    [asked],
                    check=check,
                    journal=journal,
                    jobs=1,
                    limits=Limits(),
                    failed=lambda *_: None,
                    trust_recorded=trusting,
                )
                assert list(found) == [given]

    def test_an_error_that_is_not_ours_ends_it(self) -> None:
        def read(asked: DeepTarget) -> DeepCheck:
            raise ZeroDivisionError(asked)

        with pytest.raises(ZeroDivisionError):
            self.run(2, read)


class TestJournal:
    def test_what_was_read_comes_back(self, tmp_path: Path) -> None:
        path = tmp_path / "journal"
        with DeepJournal.create(path, cloud="here") as journal:
            journal.record(target(1), check(target(1)))
            without = DeepCheck(volume_id=volume_id(2), size_bytes=7, tail_is_zero=False)
            journal.record(target(2, None), without)
            fast = DeepCheck(volume_id=volume_id(3), size_bytes=7, digest=BLAKE3, recorded=BLAKE3, tail_is_zero=True)
            journal.record(target(3), fast)
            slow = DeepCheck(
                volume_id=volume_id(4), size_bytes=7, digest=Digest("sha512", "cd"), recorded=SHA512, tail_is_zero=True
            )
            journal.record(target(4, None), slow)
        with path.open("a") as file:
            file.write('{"volume": "torn')
        later = {target(3): fast, target(4, None): slow}
        with DeepJournal.open(path, cloud="here") as journal:
            assert journal.checks == {target(1): check(target(1)), target(2, None): without, **later}

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "x\n",
            "{}\n",
            '{"deep_checks": 1, "cloud": "here"}\n',
            '{"deep_checks": 2, "cloud": "elsewhere"}\n',
            '{"deep_checks": 2, "cloud": 1}\n',
            '{"deep_checks": 2, "cloud": "here"}\n{"volume": 1}\n',
            f'{HEAD}{{"volume": "v", "size_bytes": "1", "algorithm": null, "digest": null, "tail_is_zero": true}}\n',
            f'{HEAD}{{"volume": "v", "size_bytes": 1, "algorithm": null, "digest": null, "tail_is_zero": 1}}\n',
        ],
    )
    def test_what_is_none_is_refused(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "journal"
        path.write_text(text)
        with pytest.raises(RequestRefused):
            DeepJournal.open(path, cloud="here")

    def test_a_journal_that_exists_is_not_begun_anew_and_one_that_is_open_is_not_shared(self, tmp_path: Path) -> None:
        path = tmp_path / "journal"
        with DeepJournal.create(path, cloud="here"):
            with pytest.raises(RequestRefused, match="go on with it by --resume"):
                DeepJournal.create(path, cloud="here")
            with pytest.raises(InUse):
                DeepJournal.open(path, cloud="here")
