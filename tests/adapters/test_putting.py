"""A file is stored in steps: what was stopped goes on in the same volume, and only if that is certainly the one."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from imagevol_adapters import transfers
from imagevol_adapters.attributes import ImageAttributes
from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.ports import AccessMode, Attachment, Device
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryImages, MemoryVolumes
from imagevol_adapters.transfers import (
    FileFacts,
    PutJournal,
    Registering,
    StoredImage,
    StoreSettings,
    open_image_volume,
    put_file,
    put_targets,
)
from imagevol_core import (
    ContentMismatch,
    DeviceFailed,
    Digest,
    FreshThin,
    HolderState,
    RequestRefused,
    parse_location,
)
from tests.adapters.commands import Ran, Run
from tests.adapters.test_cli import DATA, file, memory

__all__ = ["file", "memory"]

KIB = 1 << 10
STEP = 64 * KIB
TRIAL = 96 * KIB  # with so much data the engine tries at most whether a device really clears
CONTENT = random.Random(3).randbytes(600 * KIB) + bytes(300 * KIB) + random.Random(4).randbytes(100 * KIB + 123)
DIGEST = Digest("sha512", hashlib.sha512(CONTENT).hexdigest())
WISHES = {"--register": None}
SETTINGS = StoreSettings(checksum=False, blake3=False)


class Killed(BaseException):
    """The process ends here."""


class Host(MemoryAttacher):
    """A host whose devices count what is written, and end with an error after so many bytes."""

    def __init__(self, volumes: MemoryVolumes) -> None:
        super().__init__(volumes=volumes)
        self.written_bytes = 0
        self.room_bytes: int | None = None
        self.error: BaseException = DeviceFailed("the path to the volume is gone")

    def open(self, attachment: Attachment, *, mode: AccessMode, **more: Any) -> Any:
        @contextmanager
        def counting() -> Iterator[Any]:
            with super(Host, self).open(attachment, mode=mode, **more) as device:
                yield Counting(device, self)

        return counting()


@attrs.define
class Counting:
    """A device of such a host."""

    _device: Device
    _host: Host

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def write(self, offset: int, data: memoryview) -> int:
        host = self._host
        if host.room_bytes is not None:
            if not host.room_bytes:
                raise host.error
            data = data[: host.room_bytes]
            host.room_bytes -= len(data)
        host.written_bytes += len(data) - bytes(data).count(0)  # zeros may be written in place of being cleared
        return self._device.write(offset, data)


@attrs.define
class Cloud:
    """Cinder, Glance and this host, and a file."""

    volumes: MemoryVolumes
    images: MemoryImages
    host: Host
    path: Path
    journal: Path
    registering: Registering | None = None
    told: list[str] = attrs.field(factory=list)

    def put(
        self, *, resume: bool, wishes: dict[str, Any] = WISHES, settings: StoreSettings = SETTINGS, **more: Any
    ) -> tuple[str, StoredImage]:
        digest = more.get("digest")
        with self.path.open("rb") as file:
            facts = FileFacts.of(file)
        algorithms = dict.fromkeys([*settings.algorithms, *([digest.algorithm] if digest else [])])
        opened = (
            PutJournal.open(self.journal, cloud="here")
            if resume
            else PutJournal.create(self.journal, cloud="here", file=facts, wishes=wishes, algorithms=algorithms)
        )
        with opened as journal:
            return put_file(
                self.path,
                journal=journal,
                wishes=wishes,
                **{
                    "disk_format": "raw",
                    "image_id": "5f0a4ee8-6a4b-4c68-9c2e-6f8a2b1d3c47",
                    "image_owner": "p",
                    "volumes": self.volumes,
                    "attacher": self.host,
                    "tell": self.told.append,
                    "registering": self.registering,
                    "settings": settings,
                    "step_bytes": STEP,
                    **more,
                },
            )

    def stopped(self, after_bytes: int, *, resume: bool = False, **more: Any) -> None:
        """A call that the storage stopped after so many bytes."""
        self.host.room_bytes = after_bytes
        with pytest.raises(DeviceFailed, match="the path to the volume is gone"):
            self.put(resume=resume, **more)
        self.host.room_bytes = None

    def content(self) -> bytes:
        (volume_id,) = self.volumes.volumes
        with open_image_volume(volume_id, volumes=self.volumes, attacher=self.host) as content:
            return b"".join(content.parts)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journal.read_bytes().splitlines()]


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    volumes = MemoryVolumes(project_id="p")
    (tmp_path / "disk.raw").write_bytes(CONTENT)
    images = MemoryImages(volumes=volumes, project_id="p", stores=("fast",))
    return Cloud(volumes, images, Host(volumes), tmp_path / "disk.raw", tmp_path / "journal")


@pytest.fixture
def registered(cloud: Cloud) -> Cloud:
    cloud.registering = Registering(images=cloud.images, name="disk", store="fast")
    return cloud


DATA_BYTES = len(CONTENT) - 300 * KIB


class TestGoingOn:
    @pytest.mark.parametrize("after_bytes", sorted(random.Random(20).sample(range(DATA_BYTES - 10), 20)))
    def test_a_file_that_is_cut_anywhere_is_whole_after_the_next_call(self, cloud: Cloud, after_bytes: int) -> None:
        cloud.stopped(after_bytes)
        image_id, stored = cloud.put(resume=True)
        assert cloud.content() == CONTENT
        assert (stored.record.digest, stored.record.size_bytes) == (DIGEST, len(CONTENT))
        assert (stored.volume.readonly, stored.volume.metadata["image_id"]) == (True, image_id)
        assert stored.volume.metadata["imagevol_state"] == "finished"
        assert cloud.host.written_bytes <= DATA_BYTES + 2 * (STEP + TRIAL)

    def test_a_file_that_is_cut_again_and_again_is_whole_at_last(self, cloud: Cloud) -> None:
        cloud.stopped(100 * KIB)
        for _ in range(3):
            cloud.stopped(150 * KIB, resume=True)
        cloud.put(resume=True)
        assert cloud.content() == CONTENT
        assert cloud.host.written_bytes <= DATA_BYTES + 4 * (2 * STEP + TRIAL)

    def test_a_volume_that_reads_as_zeros_is_spared_the_zeros_and_right_all_the_same(self, cloud: Cloud) -> None:
        thin = replace_settings(zero_proof=lambda path: FreshThin(path=path))
        cloud.stopped(620 * KIB, settings=thin)
        cloud.put(resume=True, settings=thin)
        assert cloud.content() == CONTENT

    def test_what_was_changed_in_the_volume_is_written_again(self, cloud: Cloud) -> None:
        cloud.stopped(400 * KIB)
        (device,) = cloud.volumes.contents.values()
        device.write(10 * KIB, memoryview(b"changed"))
        device.write(700 * KIB, memoryview(b"changed"))
        cloud.put(resume=True, settings=replace_settings(zero_proof=lambda path: FreshThin(path=path)))
        assert cloud.content() == CONTENT
        assert cloud.told[-1] == f"Going on at byte 0 of {len(CONTENT)}."

    def test_what_was_changed_into_a_refused_image_is_written_again(self, cloud: Cloud) -> None:
        cloud.stopped(400 * KIB)
        (device,) = cloud.volumes.contents.values()
        device.write(0, memoryview(b"QFI\xfb\0\0\0\3" + bytes(500)))
        cloud.put(resume=True)
        assert cloud.content() == CONTENT

    def test_a_call_after_the_last_one_only_tells_what_is_there(self, cloud: Cloud) -> None:
        first = cloud.put(resume=False)
        again = cloud.put(resume=True)
        assert (again[0], again[1].volume, again[1].record.digest) == (first[0], first[1].volume, DIGEST)
        assert cloud.host.written_bytes <= DATA_BYTES + TRIAL


def replace_settings(**changes: Any) -> StoreSettings:
    return attrs.evolve(SETTINGS, **changes)


class TestKilledAtEveryStep:
    STEPS = ("create", "wait", "set_metadata", "set_readonly", "attach", "detach", "get")
    GLANCE = ("create", "wait", "add_location", "unset_properties", "protect", "with_properties")

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("number", range(14))
    def test_a_registration_that_was_killed_at_any_request_is_completed(
        self, registered: Cloud, number: int, after: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cloud = registered
        attributes = ImageAttributes(protected=True)
        cloud.registering = Registering(images=cloud.images, name="disk", store="fast", attributes=attributes)
        left = [number]

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def counting(*arguments: Any, **named: Any) -> Any:
                left[0] -= 1
                if left[0] < 0 and not after:
                    raise Killed
                answer = call(*arguments, **named)
                if left[0] < 0:
                    raise Killed
                return answer

            return counting

        with monkeypatch.context() as patched:
            # A process that is killed cleans nothing up.
            patched.setattr(MemoryVolumes, "delete", lambda *_, **__: None)
            for port, names in ((MemoryVolumes, self.STEPS), (MemoryImages, self.GLANCE)):
                for name in names:
                    patched.setattr(port, name, counted(getattr(port, name)))
            try:
                cloud.put(resume=False)
            except Killed:
                pass
            else:
                assert left[0] >= 0
        for attachment in list(cloud.volumes.attachments.values()):
            cloud.volumes.detach(attachment)  # the reclaiming of attachments has its own tests
        image_id, stored = cloud.put(resume=True)
        (image,) = cloud.images.images.values()
        assert (image.id, image.status, image.properties) == (image_id, "active", {})
        assert [parse_location(each.url).volume_id for each in image.locations] == [stored.volume.id]
        assert list(cloud.volumes.volumes) == [stored.volume.id]
        assert cloud.images.attributes[image_id].protected
        assert cloud.content() == CONTENT


class TestWhatIsRefused:
    def test_a_file_that_was_changed_is_not_mixed_with_what_was_stored(self, cloud: Cloud) -> None:
        cloud.stopped(300 * KIB)
        (volume_id,) = cloud.volumes.volumes
        cloud.path.write_bytes(CONTENT[::-1])
        os.utime(cloud.path, ns=(1, 1))
        with pytest.raises(RequestRefused, match=f"the file was changed since: .* and delete volume {volume_id}"):
            cloud.put(resume=True)
        assert list(cloud.volumes.volumes) == [volume_id]

    @pytest.mark.parametrize(
        "change, says",
        [
            (lambda volume: replace(volume, metadata={}), "it names journal not known"),
            (lambda volume: replace(volume, project_id="q"), "it lives in project q"),
            (lambda volume: replace(volume, source_volume_id="7"), "it is a clone of volume 7"),
            (lambda volume: replace(volume, size_gib=0), "it has 0 GiB, and 1 are needed"),
            (lambda volume: replace(volume, status="error"), "its status is error"),
            (
                lambda volume: replace(volume, metadata={**volume.metadata, "imagevol_image": "other"}),
                "it is for image other",
            ),
        ],
    )
    def test_a_volume_that_is_not_as_it_was_left_is_not_filled_and_stays(
        self, cloud: Cloud, change: Callable[[Any], Any], says: str
    ) -> None:
        cloud.volumes.administrator = True
        cloud.stopped(300 * KIB)
        ((volume_id, volume),) = cloud.volumes.volumes.items()
        cloud.volumes.volumes[volume_id] = changed = change(volume)
        written = cloud.host.written_bytes
        with pytest.raises(RequestRefused, match=f"volume {volume_id} is not filled on: .*{says}"):
            cloud.put(resume=True)
        assert (cloud.volumes.volumes, cloud.host.written_bytes) == ({volume_id: changed}, written)

    def test_a_volume_that_is_gone_is_said_to_be_gone(self, cloud: Cloud) -> None:
        cloud.stopped(300 * KIB)
        (volume_id,) = list(cloud.volumes.volumes)
        cloud.volumes.delete(volume_id)
        with pytest.raises(RequestRefused, match=f"volume {volume_id} is gone; begin anew, with another journal"):
            cloud.put(resume=True)

    def test_a_volume_that_a_running_process_fills_is_left_to_it(
        self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cloud.stopped(300 * KIB)
        monkeypatch.setattr(put_targets, "_process", lambda _: (HolderState.ALIVE, "its process 7 runs"))
        with pytest.raises(RequestRefused, match="its process 7 runs"):
            cloud.put(resume=True)

    @pytest.mark.parametrize("gone", [False, True])
    def test_an_image_that_is_gone_or_has_other_data_is_left_alone(self, registered: Cloud, gone: bool) -> None:
        cloud = registered
        cloud.stopped(300 * KIB)
        (image_id,) = list(cloud.images.images)
        if gone:
            cloud.images.delete(image_id)
        else:
            cloud.images.upload(image_id, [b"other"], size_bytes=5)
        says = "Glance shows no image" if gone else "has other data"
        with pytest.raises(RequestRefused, match=says):
            cloud.put(resume=True)
        assert len(cloud.volumes.volumes) == 1

    def test_other_options_than_before_are_refused(self, cloud: Cloud) -> None:
        cloud.stopped(300 * KIB)
        with pytest.raises(RequestRefused, match="was begun with another --register: give the same options as then"):
            cloud.put(resume=True, wishes={"--register": "disk"})

    def test_a_file_with_another_digest_than_given_leaves_nothing(self, registered: Cloud) -> None:
        cloud = registered
        wrong = Digest("sha256", "0" * 64)
        with pytest.raises(ContentMismatch):
            cloud.put(resume=False, digest=wrong)
        assert (cloud.volumes.volumes, cloud.images.images) == ({}, {})
        with pytest.raises(RequestRefused, match="what it created was deleted again"):
            cloud.put(resume=True, digest=wrong)

    def test_an_encrypted_volume_leaves_nothing(self, cloud: Cloud) -> None:
        cloud.volumes.volume_types = {"secret": True}
        with pytest.raises(RequestRefused, match="encrypted"):
            cloud.put(resume=False)
        assert cloud.volumes.volumes == {}

    def test_a_file_that_is_converted_is_refused(self, cloud: Cloud) -> None:
        with pytest.raises(RequestRefused, match="a file in qcow2 is converted in one go"):
            cloud.put(resume=False, disk_format="qcow2")

    def test_a_block_device_is_refused(self) -> None:
        with Path("/dev/null").open("rb") as device, pytest.raises(RequestRefused, match="does not tell whether"):
            FileFacts.of(device)

    @pytest.mark.parametrize(
        "line", ["{}", "[]", '{"journal":1,"kind":"get"}', '{"journal":1,"kind":"put","id":"7","cloud":"here"}']
    )
    def test_a_journal_of_something_else_is_refused_in_one_line(self, cloud: Cloud, line: str) -> None:
        cloud.journal.touch(0o600)
        cloud.journal.write_text(f"{line}\n")
        with pytest.raises(RequestRefused, match="line 1: it is no line of a journal"):
            cloud.put(resume=True)

    def test_a_journal_of_another_cloud_or_without_a_beginning_is_refused(self, cloud: Cloud) -> None:
        cloud.stopped(300 * KIB)
        with pytest.raises(RequestRefused, match="is of another cloud"):
            PutJournal.open(cloud.journal, cloud="elsewhere")
        cloud.journal.write_bytes(b"")
        with pytest.raises(RequestRefused, match="it has created nothing: delete it, and begin anew"):
            PutJournal.open(cloud.journal, cloud="here")


@pytest.mark.usefixtures("no_cloud", "memory")
class TestCommand:
    @pytest.fixture
    def host(self, monkeypatch: pytest.MonkeyPatch) -> Host:
        host = Host(Imagevol.volumes)  # type: ignore[arg-type]
        monkeypatch.setattr(Imagevol, "attacher", host)
        monkeypatch.setattr(MemoryImages, "service_id", lambda _: "here", raising=False)
        monkeypatch.setattr(Imagevol, "cinder_id", lambda _: "this Cinder")
        monkeypatch.setattr(transfers, "put_file", partial(put_file, step_bytes=STEP))
        return host

    @pytest.mark.parametrize("options", [(), ("--register", "disk", "--store", "fast", "--protected")])
    def test_a_command_that_broke_off_says_how_to_continue_and_the_next_one_does(
        self, run: Run, file: Path, host: Host, tmp_path: Path, options: tuple[str, ...]
    ) -> None:
        journal = tmp_path / "journal"
        host.room_bytes = 150 * KIB
        broken = run("put", file, *options, "--journal", journal)
        ((volume_id, _),) = host.volumes.volumes.items()
        assert broken.status == 1
        *_, kept, why = broken.err.splitlines()
        assert kept.startswith(f"Volume {volume_id} is kept. To continue, give the same command with --resume.")
        assert kept.endswith(f"delete it with `imagevol rm {volume_id}`.")
        assert why == "the path to the volume is gone"
        host.room_bytes = None
        metrics = tmp_path / "put.prom"
        done = run("put", file, *options, "--journal", journal, "--resume", "-f", "json", "--metrics", metrics)
        assert (done.status, done.json["volume_id"], done.json["size_bytes"]) == (0, volume_id, len(DATA))
        (said,) = done.err.splitlines()
        assert said in [f"Going on at byte {steps * STEP} of {len(DATA)}." for steps in range(3)]
        moved = len(DATA) - int(said.split()[4])
        assert f'transfer_bytes{{command="put"}} {moved}\n' in metrics.read_text()
        assert run("get", volume_id, tmp_path / "back").status == 0
        assert (tmp_path / "back").read_bytes() == DATA

    def test_a_command_that_is_not_stopped_does_as_without_a_journal(
        self, run: Run, file: Path, host: Host, tmp_path: Path
    ) -> None:
        put = run("put", file, "--journal", tmp_path / "journal", "-f", "json")
        assert (put.status, put.err) == (0, f"Storing the image in volume {put.json['volume_id']}.\n")
        assert put.json["digest"] == f"sha512:{hashlib.sha512(DATA).hexdigest()}"
        metrics = tmp_path / "put.prom"
        again = run("put", file, "--journal", tmp_path / "journal", "--resume", "-f", "json", "--metrics", metrics)
        assert again.json == {**put.json, "seconds": 0.0}
        assert 'transfer_bytes{command="put"} 0\n' in metrics.read_text()

    def test_wrong_data_leaves_no_journal(self, run: Run, file: Path, host: Host, tmp_path: Path) -> None:
        for wrong in ("sha256:" + "0" * 64,):
            put = run("-q", "put", file, "--journal", tmp_path / "journal", "--digest", wrong)
            assert (put.status, len(put.err.splitlines())) == (1, 1)
            assert not (tmp_path / "journal").exists()
        file.write_bytes(b"QFI\xfb\0\0\0\3" + bytes(500))
        put = run("put", file, "--journal", tmp_path / "journal")
        assert (put.status, len(put.err.splitlines())) == (1, 1)
        assert not (tmp_path / "journal").exists()

    @pytest.mark.parametrize(
        "arguments, says",
        [
            (("--resume",), "name the journal with --journal JOURNAL"),
            (("--journal", "j", "--disk-format", "qcow2"), "a file in qcow2 is converted in one go"),
        ],
    )
    def test_what_cannot_be_resumed_is_refused(
        self, run: Run, file: Path, host: Host, arguments: tuple[str, ...], says: str
    ) -> None:
        put = run("put", file, *arguments)
        assert (put.status, put.err.startswith(says), len(put.err.splitlines())) == (1, True, 1)
        assert not Path("j").exists()

    def test_the_standard_input_is_refused(self, run: Run, host: Host) -> None:
        says = "the standard input cannot be read a second time: give a file, or leave out --journal"
        assert run("put", "-", "--journal", "j") == Ran(1, "", f"{says}\n")

    def test_a_journal_of_another_cinder_at_the_same_glance_is_refused_and_creates_nothing(
        self, run: Run, file: Path, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        host.room_bytes = 150 * KIB
        run("put", file, "--journal", tmp_path / "journal")
        monkeypatch.setattr(Imagevol, "cinder_id", lambda _: "the Cinder of another region")
        put = run("put", file, "--journal", tmp_path / "journal", "--resume")
        assert (put.status, len(put.err.splitlines())) == (1, 1)
        assert (
            "is of another cloud: it names Glance here, Cinder this Cinder, project p, and the credentials lead to"
            in put.err
        )
        assert len(host.volumes.volumes) == 1

    def test_other_options_and_another_file_than_before_are_refused(
        self, run: Run, file: Path, host: Host, tmp_path: Path
    ) -> None:
        host.room_bytes = 150 * KIB
        run("put", file, "--journal", tmp_path / "journal")
        resume = ("--journal", tmp_path / "journal", "--resume")
        assert "was begun with another --owner" in run("put", file, *resume, "--owner", "q").err
        other = tmp_path / "other"
        other.write_bytes(DATA)
        assert "is of another file" in run("put", other, *resume).err
