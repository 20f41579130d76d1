"""What others can change of a volume, a journal or a file before a put goes on: it is noticed, and not stored."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import attrs
import pytest

from imagevol_adapters.ports import AccessMode
from imagevol_adapters.processes import this_process
from imagevol_adapters.transfers import FileFacts, PutJournal, put_targets, putting
from imagevol_adapters.transfers.put_targets import mark_taken
from imagevol_core import (
    FINISHED,
    HolderState,
    ImagevolError,
    InUse,
    RequestRefused,
    ServiceFailed,
    VolumeBusy,
    VolumeOrigin,
)
from tests.adapters.lying import Multiattach
from tests.adapters.test_putting import CONTENT, DIGEST, KIB, Cloud, Host, Killed, cloud, registered

__all__ = ["cloud", "registered"]


def only_volume(cloud: Cloud) -> str:
    (volume_id,) = cloud.volumes.volumes
    return str(volume_id)


def change(cloud: Cloud, offset: int = 10 * KIB) -> None:
    (device,) = cloud.volumes.contents.values()
    device.write(offset, memoryview(b"changed"))


def killed_before(step: str, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(putting, step, die)
        with pytest.raises(Killed):
            cloud.put(resume=False, digest=DIGEST)


class TestAVolumeThatSaysThatItIsFilled:
    def test_half_of_a_file_is_not_taken_for_the_whole(self, registered: Cloud) -> None:
        registered.stopped(300 * KIB, digest=DIGEST)
        registered.volumes.set_metadata(only_volume(registered), FINISHED)
        with pytest.raises(RequestRefused, match="the journal does not say that the whole file was written to it"):
            registered.put(resume=True, digest=DIGEST)
        (image,) = registered.images.images.values()
        assert (image.status, len(registered.volumes.volumes)) == ("queued", 1)

    @pytest.mark.parametrize("offset", [0, 10 * KIB, 700 * KIB, len(CONTENT) - 7])
    def test_other_data_is_not_registered(
        self, registered: Cloud, offset: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        killed_before("register", registered, monkeypatch)
        change(registered, offset)
        with pytest.raises(RequestRefused, match=r"its data differs from the file after byte \d+: delete it with"):
            registered.put(resume=True, digest=DIGEST)
        (image,) = registered.images.images.values()
        assert image.status == "queued"

    def test_a_record_that_was_changed_is_mended_before_the_volume_is_registered(
        self, registered: Cloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        killed_before("register", registered, monkeypatch)
        volume_id = only_volume(registered)
        registered.volumes.set_metadata(volume_id, {"image_size": "1", "hash_value": "0" * 128})
        registered.volumes.set_readonly(volume_id, readonly=False)
        _, stored = registered.put(resume=True, digest=DIGEST)
        (image,) = registered.images.images.values()
        assert (image.status, image.digest, stored.record.digest) == ("active", DIGEST, DIGEST)
        assert (stored.volume.metadata["image_size"], stored.volume.readonly) == (str(len(CONTENT)), True)

    def test_a_volume_that_was_killed_between_its_last_steps_is_read_again_and_stays_read_only(
        self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        killed_before("finished", cloud, monkeypatch)
        written = cloud.host.written_bytes
        monkeypatch.setattr(type(cloud.volumes), "set_readonly", None)  # it is, and is never made writable again
        image_id, stored = cloud.put(resume=True, digest=DIGEST)
        assert (stored.volume.metadata["image_id"], stored.record.digest) == (image_id, DIGEST)
        assert (cloud.host.written_bytes, cloud.content()) == (written, CONTENT)

    def test_after_the_end_a_record_that_was_changed_is_not_told(self, cloud: Cloud) -> None:
        cloud.put(resume=False)
        cloud.volumes.set_metadata(only_volume(cloud), {"image_size": "1"})
        with pytest.raises(RequestRefused, match="its metadata has another record than the journal"):
            cloud.put(resume=True)


class TestTheMarkOfTheProcess:
    @pytest.fixture
    def elsewhere(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
        """A second host with a copy of the journal, while another process has the volume attached."""
        cloud.stopped(300 * KIB)

        def busy(_: object, volume_id: str, **__: object) -> None:
            raise VolumeBusy(volume_id, status="in-use", waited_seconds=1)

        monkeypatch.setattr(put_targets, "_process", lambda _: (HolderState.UNKNOWN, "it runs on another host"))
        monkeypatch.setattr(type(cloud.volumes), "attach", busy)
        second = VolumeOrigin(procedure="put", image_id="5f0a4ee8-6a4b-4c68-9c2e-6f8a2b1d3c47", host="second")
        monkeypatch.setattr(put_targets, "origin", lambda *_, **__: second)
        return cloud

    @pytest.mark.parametrize("readonly", [False, True])
    def test_a_volume_that_another_process_has_attached_stays_as_it_is(self, elsewhere: Cloud, readonly: bool) -> None:
        volume_id = only_volume(elsewhere)
        elsewhere.volumes.set_readonly(volume_id, readonly=readonly)
        before = elsewhere.volumes.get(volume_id)
        with pytest.raises(ImagevolError):
            elsewhere.put(resume=True)
        assert elsewhere.volumes.get(volume_id) == before

    def test_a_process_that_fills_on_is_named_while_it_does(
        self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cloud.stopped(300 * KIB)
        second = VolumeOrigin(procedure="put", image_id="5f0a4ee8-6a4b-4c68-9c2e-6f8a2b1d3c47", host="second")
        monkeypatch.setattr(put_targets, "origin", lambda *_, **__: second)
        cloud.stopped(100 * KIB, resume=True)
        origin = VolumeOrigin.from_volume(cloud.volumes.get(only_volume(cloud)).metadata)
        assert origin is not None
        assert origin.host == "second"


class TestAVolumeOfAMultiattachType:
    @pytest.fixture
    def shared(self, cloud: Cloud) -> Cloud:
        """A stopped command, whose volume can have several attachments."""
        volumes = Multiattach(project_id="p")
        cloud.volumes, cloud.host = volumes, Host(volumes)
        cloud.stopped(300 * KIB)
        return cloud

    def attach(self, cloud: Cloud, device: str | None) -> None:
        connector = {**cloud.host.connector(), **({"mountpoint": device} if device else {})}
        cloud.volumes.complete(cloud.volumes.attach(only_volume(cloud), connector=connector, mode=AccessMode.WRITE))

    def test_it_is_not_written_while_another_program_has_it_attached(self, shared: Cloud) -> None:
        self.attach(shared, None)
        written = shared.host.written_bytes
        with pytest.raises(RequestRefused, match="another program has it attached: attachment "):
            shared.put(resume=True)
        assert (shared.host.written_bytes, len(shared.volumes.attachments)) == (written, 1)

    def test_a_program_that_attaches_it_while_it_is_filled_ends_the_command_and_the_next_one_reads_all_again(
        self, shared: Cloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def taken(*taking: Any) -> None:
            mark_taken(*taking)
            self.attach(shared, None)

        with monkeypatch.context() as patched:
            patched.setattr(putting, "mark_taken", taken)
            with pytest.raises(InUse, match="was attached by another program while"):
                shared.put(resume=True, digest=DIGEST)
        volume = shared.volumes.get(only_volume(shared))
        assert not volume.readonly
        (other,) = shared.volumes.attachments.values()
        shared.volumes.detach(other)
        change(shared)
        shared.put(resume=True, digest=DIGEST)
        assert (shared.content(), shared.volumes.attachments) == (CONTENT, {})

    def test_what_a_dead_process_has_left_attached_is_taken_back(self, shared: Cloud) -> None:
        here = this_process()
        assert here
        self.attach(shared, replace(here, pid=2**22 + 1, started=1).to_text())
        shared.put(resume=True, digest=DIGEST)
        assert (shared.content(), shared.volumes.attachments) == (CONTENT, {})


def _other_owner(path: Path) -> None:
    os.chown(path, 1234, 1234)


def _writable(path: Path) -> None:
    path.chmod(0o622)


def _second_name(path: Path) -> None:
    path.with_name("second").hardlink_to(path)


def _link(path: Path) -> None:
    path.symlink_to(path.rename(path.with_name("elsewhere")))


class TestWhatIsOnThisHost:
    @pytest.mark.parametrize(
        "change, says",
        [
            pytest.param(
                _other_owner, "not yours alone", marks=pytest.mark.skipif(os.geteuid() != 0, reason="root gives away")
            ),
            (_writable, "not yours alone"),
            (_second_name, "not yours alone"),
            (_link, "it is a link: give the name of the file itself"),
        ],
    )
    def test_a_journal_that_another_user_could_have_written_is_not_believed(
        self, cloud: Cloud, change: Callable[[Path], None], says: str
    ) -> None:
        cloud.stopped(300 * KIB)
        written = cloud.host.written_bytes
        change(cloud.journal)
        with pytest.raises(RequestRefused, match=says):
            cloud.put(resume=True)
        assert cloud.host.written_bytes == written

    def test_a_file_whose_time_was_set_back_after_it_was_changed_is_not_mixed_with_what_was_stored(
        self, cloud: Cloud
    ) -> None:
        cloud.stopped(300 * KIB)
        before = cloud.path.stat()
        with cloud.path.open("r+b") as file:
            file.write(CONTENT[::-1])
        os.utime(cloud.path, ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises(RequestRefused, match="the file was changed since"):
            cloud.put(resume=True)

    @pytest.mark.parametrize("restarted", [False, True])
    def test_a_file_system_may_have_another_number_only_after_the_host_was_restarted(
        self, cloud: Cloud, restarted: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cloud.stopped(300 * KIB)
        with cloud.path.open("rb") as file:
            now = FileFacts.of(file)
        boot = "another" if restarted else now.boot
        monkeypatch.setattr(FileFacts, "of", lambda _: attrs.evolve(now, device=now.device + 1, boot=boot))
        if restarted:
            cloud.put(resume=True)
            assert cloud.content() == CONTENT
        else:
            with pytest.raises(RequestRefused, match="is of another file"):
                cloud.put(resume=True)

    @pytest.mark.parametrize("line", [b'{"cut":1e400}', b'{"at":1e999,"digests":{}}'])
    def test_a_number_that_is_none_is_refused_in_one_line(self, cloud: Cloud, line: bytes) -> None:
        cloud.stopped(300 * KIB)
        with cloud.journal.open("ab") as journal:
            journal.write(line + b"\n")
        with pytest.raises(RequestRefused, match="it is no line of a journal"):
            cloud.put(resume=True)


class TestAJournalThatCannotBeWritten:
    """What it does not name would be left behind, and no next call could be told of it."""

    @pytest.fixture(params=["image", "volume"])
    def full(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
        """The disk is full when this is noted."""
        record, line = PutJournal.record, str(request.param)

        def noted(journal: PutJournal, **what: object) -> None:
            if line in what:
                raise ServiceFailed("the disk is full")
            record(journal, **what)

        monkeypatch.setattr(PutJournal, "record", noted)
        return line

    def test_what_was_just_created_is_deleted_again(self, registered: Cloud, full: str) -> None:
        with pytest.raises(ServiceFailed, match="the disk is full"):
            registered.put(resume=False, digest=DIGEST)
        assert registered.volumes.volumes == {}
        assert len(registered.images.images) == (1 if full == "volume" else 0)  # the journal names the image

    def test_what_a_killed_call_has_created_is_named_if_it_stays(
        self, registered: Cloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(put_targets, "undone_on_failure", lambda *_: nullcontext())
            patched.setattr(PutJournal, "record", _killed_at_the_volume)
            with pytest.raises(Killed):
                registered.put(resume=False, digest=DIGEST)
            patched.setattr(PutJournal, "record", _full)
            with pytest.raises(ServiceFailed) as failed:
                registered.put(resume=True, digest=DIGEST)
        assert f"volume {only_volume(registered)}" in failed.value.leftovers


_record = PutJournal.record


def _killed_at_the_volume(journal: PutJournal, **line: object) -> None:
    if "volume" in line:
        raise Killed
    _record(journal, **line)


def _full(_: PutJournal, **__: object) -> None:
    raise ServiceFailed("the disk is full")
